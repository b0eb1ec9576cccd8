"""Photographs on disk: read and written with depth, EXIF, colour profile and transparency kept."""
