"""Where a scan has seen the object well: for colour limits, for cropping pictures, for comparisons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError

Region = tuple[slice, slice]
"""Rows and columns of a rectangle, as slices of an array."""

_MAX_SIDE = 512


def typical_coverage(coverage: NDArray[np.floating]) -> float:
    """Return the coverage that half of all light fell on less of, and half on more.

    It is the median weighted by the coverage itself, so the wide, weak tails of the probe around the scan do
    not pull it down as they do the plain median.

    Args:
        coverage: ``(H, W)`` summed weights, 0 = never seen.

    Raises:
        DataError: not a picture, not finite, negative, or zero everywhere.

    >>> typical_coverage(np.array([[0.0, 1e-6, 1e-6, 1e-6], [1.0, 1.0, 1.0, 0.0]]))
    1.0
    """
    values = np.asarray(coverage, dtype=np.float64)
    if values.ndim != 2:
        raise DataError(f"coverage: expected shape (H, W), got {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError("coverage: expected finite values >= 0")
    ordered = np.sort(values[values > 0])
    if not ordered.size:
        raise DataError("coverage: zero everywhere; no position of the scan lies on the object's grid")
    below = np.cumsum(ordered)
    return float(ordered[np.searchsorted(below, below[-1] / 2)])


def well_covered(coverage: NDArray[np.floating], share: float = 0.1) -> NDArray[np.bool_]:
    """Return where the coverage is at least ``share`` of :func:`typical_coverage`.

    Args:
        coverage: ``(H, W)`` summed weights, 0 = never seen.
        share: in (0, 1].

    Returns:
        ``(H, W)``.

    Raises:
        DataError: the coverage cannot be used, or the share is out of range.

    >>> well_covered(np.array([[0.0, 0.05, 1.0, 2.0]])).tolist()
    [[False, False, True, True]]
    """
    if not 0 < share <= 1:
        raise DataError(f"share: expected a value above 0 and at most 1, got {share!r}")
    mask: NDArray[np.bool_] = np.asarray(coverage) >= share * typical_coverage(coverage)
    return mask


def bounding_box(mask: NDArray[np.bool_]) -> Region:
    """Return the smallest rectangle around all True pixels.

    Raises:
        DataError: no pixel is True.

    >>> bounding_box(np.array([[False, False, False], [False, True, True]]))
    (slice(1, 2, None), slice(1, 3, None))
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise DataError("mask: no pixel is True, so there is no rectangle around them")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def largest_rectangle(mask: NDArray[np.bool_]) -> Region:
    """Return the rectangle of largest area that holds True pixels only.

    Masks of more than 512 pixels a side are searched in blocks, all of whose pixels must be True.

    Args:
        mask: ``(H, W)``.

    Raises:
        DataError: no pixel is True (or no whole block of a large mask is).

    >>> largest_rectangle(np.array([[True, True, False], [True, True, True]]))
    (slice(0, 2, None), slice(0, 2, None))
    """
    factor = -(-max(mask.shape) // _MAX_SIDE)
    height, width = mask.shape[0] // factor, mask.shape[1] // factor
    coarse: NDArray[np.bool_] = mask[: height * factor, : width * factor].reshape(height, factor, width, factor).min(axis=(1, 3))
    best, box = 0, (0, 0, 0, 0)
    heights = np.zeros(width, dtype=np.int64)
    for row in range(height):
        heights = np.where(coarse[row], heights + 1, 0)
        area, start, stop, tall = _largest_under(heights.tolist())
        if area > best:
            best, box = area, (row + 1 - tall, row + 1, start, stop)
    if not best:
        raise DataError("mask: there is no rectangle of True pixels in it")
    top, bottom, left, right = (factor * edge for edge in box)
    return slice(top, bottom), slice(left, right)


def _largest_under(heights: list[int]) -> tuple[int, int, int, int]:
    """Area, first and last + 1 column, and height of the largest rectangle under a row of columns."""
    best = (0, 0, 0, 0)
    rising: list[tuple[int, int]] = []  # (where it starts, height), heights rising
    for column, height in enumerate([*heights, 0]):
        start = column
        while rising and rising[-1][1] >= height:
            start, tall = rising.pop()
            best = max(best, (tall * (column - start), start, column, tall))
        rising.append((start, height))
    return best
