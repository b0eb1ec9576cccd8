"""Clean pictures turned back into raw, with made noise."""
