"""Which pixels of a pair count in a loss: those that are not clipped, and where both pictures show the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, uniform_filter

from photic.core.errors import DataError
from photic.functional.transfer import encode

LARGEST_DIFFERENCE, QUANTILE = 0.4, 0.9999
"""Bounds of the difference of two pixels that show the same: sum over three colours after gamma 2.2, and quantile over the picture."""
OVEREXPOSURE = 0.99
"""Share of the level at which a picture clips, above which a pixel counts as over-exposed."""
_PLATEAU_SHARE = 1e-4  # of a colour's pixels at its largest value, from which on that is where it clips
_PLATEAU, _LEAST_PLATEAU = 0.999, 16
_UNDEREXPOSED = 5e-4
_WINDOWS = (1, 3, 5, 7, 9)
_NOISE_SHARE = 0.25  # of the bound: what noise alone may make of the typical difference


@dataclass(frozen=True)
class LossMask:
    """Where a pair counts, and how that was decided."""

    mask: NDArray[np.bool_]
    """``(H, W)``, one value per 2 x 2 cell of the mosaic."""
    bound: float
    """Differences below it count."""
    window_cells: int
    """The pictures were compared by their means over windows of so many cells; more than 1 where noise alone would reach the bound."""


def overexposure_bound(packed: NDArray[np.float32]) -> float:
    """Return the level from which a packed picture ``(4, H, W)`` counts as over-exposed: 0.99 of white, or of where it clips before.

    A colour clips where more than one in 10,000 of its pixels share its largest value.

    >>> overexposure_bound(np.minimum(np.linspace(0, 1, 400, dtype=np.float32).reshape(4, 10, 10), 0.9))
    0.891
    """
    level = 1.0
    for plane in packed:
        most = float(plane.max())
        if 0 < most < level and np.count_nonzero(plane >= _PLATEAU * most) > max(_LEAST_PLATEAU, _PLATEAU_SHARE * plane.size):
            level = most
    return round(OVEREXPOSURE * level, 6)


def exposure_shares(packed: NDArray[np.float32], bound: float) -> tuple[float, float]:
    """Return the shares of values of a packed picture that are over-exposed, and that are black."""
    return float(np.mean(packed >= bound)), float(np.mean(packed <= _UNDEREXPOSED))


def loss_mask(anchor: NDArray[np.float32], other: NDArray[np.float32], valid: NDArray[np.bool_]) -> LossMask:
    """Return where two aligned pictures of matched exposure show the same.

    The difference is the sum over red, green (mean of both) and blue of |gamma(anchor) - gamma(other)|; what is below 0.4 and the 99.99 %
    quantile counts, opened with a cross of 3 x 3 cells. Where noise alone would be taken for another content, which masks the noisiest
    pixels and so changes the noise that is learnt, means over small windows are compared instead.

    Args:
        anchor: ``(4, H, W)`` packed, linear.
        other: the same shape, multiplied by the gain.
        valid: ``(H, W)``: not clipped, no border, part of both pictures.

    Raises:
        DataError: shapes do not belong together, or nothing is valid.
    """
    if anchor.shape != other.shape or anchor.ndim != 3 or len(anchor) != 4 or valid.shape != anchor.shape[1:]:
        raise DataError(f"mask: expected packed pictures (4, H, W) and a mask (H, W), got {anchor.shape}, {other.shape} and {valid.shape}")
    if not valid.any():
        raise DataError("mask: no pixel is valid in both pictures; there is nothing to compare")
    for window in _WINDOWS:
        difference = sum(
            np.abs(_seen(first, window) - _seen(second, window)) for first, second in zip(_colours(anchor), _colours(other), strict=True)
        )
        assert isinstance(difference, np.ndarray)
        counted = difference[valid]
        if float(np.median(counted)) <= _NOISE_SHARE * LARGEST_DIFFERENCE:
            break
    quantile = float(np.quantile(counted, QUANTILE))
    bound = min(LARGEST_DIFFERENCE, quantile) if quantile > 0 else LARGEST_DIFFERENCE
    same = binary_opening(valid & (difference < bound))
    return LossMask(np.asarray(same & valid), round(bound, 6), window)


def _colours(packed: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    return packed[0], (packed[1] + packed[2]) / 2, packed[3]


def _seen(plane: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    made: NDArray[np.float32] = uniform_filter(plane, window, mode="nearest") if window > 1 else plane
    encoded: NDArray[np.float32] = encode(torch.from_numpy(np.ascontiguousarray(made)), "gamma22").numpy()
    return encoded
