"""Compression held against JPEG XL, JPEG, WebP and AVIF on the same developed pictures."""
