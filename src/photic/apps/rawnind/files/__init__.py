"""Raw files read, developed and written."""
