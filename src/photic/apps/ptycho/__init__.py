"""Ptychography: from a raw scan to a stitched complex object, learned and iterative."""
