"""Self-contained HTML pages: building blocks and charts, for any application."""
