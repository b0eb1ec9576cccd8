"""Exposures of a pair brought together by one factor for the whole picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError

_BORDER_SHARE = 0.05  # of the mean level: rows and columns at the edges below it are borders
_MOST_BORDER = 0.25  # of a side


def matching_gain(anchor: NDArray[np.float32], other: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> float:
    """Return the factor mean(anchor) / mean(other) over valid pixels, by which the other picture has the anchor's exposure.

    Call it once for a picture, never for a tile: the factor belongs to the exposures.

    Args:
        anchor: any shape, linear, black at 0.
        other: the same shape.
        valid: where both tell something, neither clipped nor a border; broadcast over leading axes (colours); None: everywhere.

    Raises:
        DataError: shapes differ, nothing is valid, or one of the means is not above 0, so that there is no such factor.

    >>> matching_gain(np.array([2, 4, 1], np.float32), np.array([1, 2, 1], np.float32), np.array([True, True, False]))
    2.0
    """
    if anchor.shape != other.shape:
        raise DataError(f"gain: expected two pictures of one shape, got {anchor.shape} and {other.shape}")
    where = np.ones(anchor.shape, dtype=bool) if valid is None else np.broadcast_to(valid, anchor.shape)
    count = int(where.sum())
    if not count:
        raise DataError(
            "gain: no pixel is valid in both pictures (clipped, or outside of what they share), so their exposures cannot be compared"
        )
    means = [float(np.sum(picture, where=where, dtype=np.float64)) / count for picture in (anchor, other)]
    if not all(np.isfinite(mean) and mean > 0 for mean in means):
        raise DataError(
            f"gain: the means over {count} valid pixels are {means[0]:.3g} (anchor) and {means[1]:.3g} (other), expected both above "
            "black (0); one of the pictures is black or its black level is wrong"
        )
    return means[0] / means[1]


def without_borders(packed: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a packed picture ``(4, H, W)`` is no black border: rows and columns from the edges in as long as they are dark.

    A picture that is dark throughout has no borders.
    """
    level = packed.mean(axis=0)
    inside = np.ones(level.shape, dtype=bool)
    for axis in (0, 1):
        means = level.mean(axis=1 - axis)
        dark = means < _BORDER_SHARE * max(float(level.mean()), 0.0)
        most = int(_MOST_BORDER * len(means))
        first = _leading(dark[:most])
        last = _leading(dark[::-1][:most])
        rows = np.moveaxis(inside, axis, 0)
        rows[:first] = False
        rows[len(means) - last :] = False
    return inside


def _leading(flags: NDArray[np.bool_]) -> int:
    """Return how many flags at the beginning are set."""
    return int(np.argmin(flags)) if not flags.all() else len(flags)
