"""Compressed raw pictures: the format, coding and decoding, commands."""
