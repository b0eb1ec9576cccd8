"""Whether a dark picture and its true one lie on each other, however little the dark one shows.

Both are reduced to what exposure does not change: the logarithm of the luma, slightly smoothed against noise, less its surroundings, over
the local contrast. Phase correlation gives the shift, and it counts only if the two agree better after it than before.

Measured on the 95 LOL pairs: none is found more than 1.0 pixels off. With the truth moved by 2 pixels, to the right or up, 187 of 190 are
found more than 1.5 pixels off; moved by (25, -18) all, to within 1 pixel. Pairs agree to 0.61 at least, of 285 wrong ones two to more than
0.23, in which most things on the table are the same. It takes 0.15 s per pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from photic.core.errors import DataError
from photic.data.photo.depth import Pixels, as_kind
from photic.functional.registration import fourier_shift, register

LARGEST_SHIFT_PX = 1.5
"""From here on a pair counts as misaligned."""
LEAST_AGREEMENT = 0.25
"""Below this, wherever they are laid, two pictures do not show one scene (or the dark one shows nothing)."""
_LUMA = np.array([0.299, 0.587, 0.114])
_LEAST_GAIN = 0.02  # of agreement, for a shift to be believed
_FINE_PX, _COARSE_PX, _CONTRAST_PX = 1.5, 8.0, 16.0
_FLOOR = 2 / 255  # of the luma, below which its logarithm is noise
_LONGEST_SIDE_PX = 1024  # the middle of larger pictures is enough
_SEARCH = (0.25, 64)  # largest shift: share of the shorter side, pixels
_LEAST_SIDE_PX = 32
_FLAT = 1e-9  # of the logarithm of the luma; a picture that varies less has no structure


@dataclass(frozen=True)
class Agreement:
    """How two pictures of one size lie on each other."""

    shift_px: tuple[float, float]
    """``(x, y)`` by which the dark picture has to be moved; (0, 0) if no shift lays it better."""
    correlation: float
    """Of the two after that, 1 at most."""

    @property
    def distance_px(self) -> float:
        """Return the length of the shift."""
        return math.hypot(*self.shift_px)


def agreement(low: Pixels, high: Pixels) -> Agreement | None:
    """Return how a dark and a true picture ``(H, W, 3)`` lie on each other; None if they are too small to tell.

    Raises:
        DataError: their sizes differ.
    """
    if low.shape != high.shape:
        raise DataError(f"alignment: expected pictures of one size, got {low.shape[:2]} and {high.shape[:2]}")
    if min(low.shape[:2]) < _LEAST_SIDE_PX:
        return None
    moving, fixed = _structure(low), _structure(high)
    if not moving.any() or not fixed.any():
        return Agreement((0.0, 0.0), 0.0)
    largest = min(_SEARCH[0] * min(moving.shape), _SEARCH[1])
    shift = register(moving, fixed, upsampling=10, whitened=True, max_shift_px=largest)
    there = float(np.sum(moving * fixed))
    moved = float(np.sum(fourier_shift(moving, shift) * fixed))
    return Agreement(shift, moved) if moved > there + _LEAST_GAIN else Agreement((0.0, 0.0), there)


def _structure(pixels: Pixels) -> NDArray[np.float64]:
    """Return the structure of the middle of a picture, faded out at the borders, of unit length (or zero)."""
    height, width = pixels.shape[:2]
    top, left = (max(0, side - _LONGEST_SIDE_PX) // 2 for side in (height, width))
    middle = as_kind(pixels[top : top + _LONGEST_SIDE_PX, left : left + _LONGEST_SIDE_PX], np.float32)
    luma: NDArray[Any] = middle.astype(np.float64) @ _LUMA
    level = gaussian_filter(np.log(luma + _FLOOR), _FINE_PX)
    detail = level - gaussian_filter(level, _COARSE_PX)
    spread = float(detail.std())
    if spread < _FLAT:
        return np.zeros_like(detail)
    detail /= np.sqrt(gaussian_filter(detail**2, _CONTRAST_PX)) + 0.5 * spread
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in detail.shape))
    detail = (detail - np.average(detail, weights=window)) * window
    made: NDArray[np.float64] = detail / max(float(np.linalg.norm(detail)), 1e-300)
    return made
