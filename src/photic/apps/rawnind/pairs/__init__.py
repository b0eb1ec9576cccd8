"""Pairs of raw pictures: found, fetched, aligned, masked, cut into tiles, and learnt from."""
