"""How two raw pictures of one scene lie on each other: a shift by whole cells of the mosaic, and what it leaves.

Pictures are compared as green planes at half resolution, both greens averaged, so that a shift by whole pixels there keeps the phase of
the mosaic: ``(dy, dx)`` means ``other[y + dy, x + dx] <-> anchor[y, x]``. Phase correlation of the square roots (which makes
photon noise even) proposes shifts, the mean absolute difference decides between them and their neighbours.

Measured on the exposure bracket of ``../shared/data/raw``: (-1, -2), with -0.3 px left vertically; its third picture, which is turned, lies
differently from part to part by 2 px.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from photic.apps.rawnind.pairs.gain import matching_gain
from photic.core.errors import DataError
from photic.functional.registration import correlation_peaks

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
_CANDIDATES, _CUTOFF = 4, 0.1
_MOST_STEPS = 12  # of the descent around the best candidate
_SMOOTHING_PX = 1.0
_PARTS = (3, 4)
_LEAST_SIDE_PX = 16
_SURE_PX = 0.1  # standard error below which a part's residual counts
_COARSE_PX = 8
_LEAST_SHARE = 0.01  # of a mean square, to which taking off noise may reduce it


@dataclass(frozen=True)
class PairAlignment:
    """How a picture lies on its anchor, in pixels of the half resolution (cells of 2 x 2 of the mosaic)."""

    shift: tuple[int, int]
    """``(dy, dx)``: other[y + dy, x + dx] <-> anchor[y, x]."""
    residual_px: tuple[float, float]
    """``(dy, dx)`` left beside it, a fraction of a pixel, over the whole picture; (nan, nan) where nothing in it tells."""
    drift_px: float
    """By how much what is left differs from part to part of the picture, at most: a turned camera, moved things. 0 where too little is
    known."""
    gain: float
    """By which the other picture was multiplied to compare them."""
    l1: float
    """Mean absolute difference of green over valid pixels, in the anchor's scale."""
    psnr: float
    """PSNR of green over valid pixels, in the scale of the brighter picture (1 is its white), in dB. Noise counts."""
    coarse_psnr: float
    """The same of means over 8 x 8 pixels, less what white noise leaves in them (a 64th of its variance): how far the content differs."""


def overlap(size: tuple[int, int], shift: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return what two pictures of one size share, as slices of rows and columns of the anchor and of the other one.

    >>> overlap((10, 20), (-1, 2))
    ((slice(1, 10, None), slice(0, 18, None)), (slice(0, 9, None), slice(2, 20, None)))
    """
    ours, theirs = [], []
    for side, moved in zip(size, shift, strict=True):
        first, last = max(0, -moved), min(side, side - moved)
        ours.append(slice(first, last))
        theirs.append(slice(first + moved, last + moved))
    return (ours[0], ours[1]), (theirs[0], theirs[1])


def green_of(packed: NDArray[np.float32]) -> Plane:
    """Return the mean of both greens ``(H, W)`` of a packed picture ``(4, H, W)``."""
    made: Plane = (packed[1] + packed[2]) / 2
    return made


def align_pair(anchor: Plane, other: Plane, valid_anchor: Mask, valid_other: Mask, *, max_shift_px: int = 128) -> PairAlignment:
    """Find the shift by whole pixels that lays a picture on its anchor.

    Args:
        anchor: ``(H, W)`` linear green at half resolution.
        other: the same shape; its exposure may differ.
        valid_anchor: where the anchor tells something: neither clipped nor a border.
        valid_other: the same of the other picture.
        max_shift_px: largest shift looked for, in y and x.

    Raises:
        DataError: shapes differ or are too small, or hardly anything is valid in both.
    """
    if (
        anchor.ndim != 2
        or len({anchor.shape, other.shape, valid_anchor.shape, valid_other.shape}) > 1
        or min(anchor.shape) < _LEAST_SIDE_PX
    ):
        raise DataError(
            f"alignment: expected two pictures of one size, {_LEAST_SIDE_PX} pixels and more, got {anchor.shape} and {other.shape} with "
            f"masks of {valid_anchor.shape} and {valid_other.shape}"
        )
    largest = min(max_shift_px, min(anchor.shape) // 4)
    pair = _Pair(anchor, other, valid_anchor, valid_other)
    shift = pair.descend(_candidates(anchor, other, largest), largest)
    (ours, theirs), gain = overlap(pair.size, shift), pair.judged[shift][1]
    valid = valid_anchor[ours] & valid_other[theirs]
    reference, moved = anchor[ours], other[theirs] * np.float32(gain)
    brighter = min(1.0, gain)  # of the anchor's white, the white of the brighter picture
    difference = np.where(valid, reference - moved, 0.0)
    mse = float(np.mean(np.square(difference[valid], dtype=np.float64)))
    residual, drift = _residuals(reference, moved, valid)
    return PairAlignment(
        shift=shift,
        residual_px=residual,
        drift_px=drift,
        gain=gain,
        l1=pair.judged[shift][0],
        psnr=_psnr(mse, brighter),
        coarse_psnr=_psnr(_coarse_mse(difference, valid, mse), brighter),
    )


class _Pair:
    """Two pictures, and what was found at the shifts that were tried."""

    def __init__(self, anchor: Plane, other: Plane, valid_anchor: Mask, valid_other: Mask) -> None:
        self.anchor, self.other, self.valid_anchor, self.valid_other = anchor, other, valid_anchor, valid_other
        self.size = (anchor.shape[0], anchor.shape[1])
        self.judged: dict[tuple[int, int], tuple[float, float]] = {}
        """Mean absolute difference and gain at a shift."""

    def descend(self, candidates: list[tuple[int, int]], largest: int) -> tuple[int, int]:
        """Return the best of the candidates, or of their neighbours, and theirs in turn."""
        best = min(dict.fromkeys(candidates), key=self.difference)
        for _ in range(_MOST_STEPS):
            around = [(best[0] + dy, best[1] + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            found = min((shift for shift in around if max(map(abs, shift)) <= largest), key=self.difference)
            if self.difference(found) >= self.difference(best):
                break
            best = found
        return best

    def difference(self, shift: tuple[int, int]) -> float:
        """Return the mean absolute difference over what is valid in both at a shift, gains matched."""
        if shift not in self.judged:
            ours, theirs = overlap(self.size, shift)
            valid = self.valid_anchor[ours] & self.valid_other[theirs]
            reference, moved = self.anchor[ours][valid], self.other[theirs][valid]
            gain = matching_gain(reference, moved)
            self.judged[shift] = float(np.abs(reference - np.float32(gain) * moved).mean(dtype=np.float64)), gain
        return self.judged[shift][0]


def _candidates(anchor: Plane, other: Plane, largest: int) -> list[tuple[int, int]]:
    window = np.outer(*(np.hanning(side + 2)[1:-1].astype(np.float32) for side in anchor.shape))
    structures = []
    for picture in (other, anchor):
        even = np.sqrt(np.clip(picture, 0, 1))
        structures.append((even - even.mean()) * window)
    moves = [(0, 0)]
    for cutoff in (None, _CUTOFF):
        moves += correlation_peaks(*structures, num=_CANDIDATES, max_shift_px=largest, cutoff=cutoff)
    return [(-y, -x) for x, y in moves]


def _residuals(reference: Plane, moved: Plane, valid: Mask) -> tuple[tuple[float, float], float]:
    """Return the sub-pixel shift of the whole, and the largest difference to it of the parts that tell theirs."""
    sure = binary_erosion(valid, iterations=math.ceil(2 * _SMOOTHING_PX))
    fixed, moving = (gaussian_filter(np.where(valid, picture, 0), _SMOOTHING_PX) for picture in (reference, moved))
    slopes = np.gradient(fixed)
    rest = fixed - moving
    whole = _least_squares(slopes, rest, sure)
    if whole is None:
        return (math.nan, math.nan), 0.0
    drift = 0.0
    borders = [np.linspace(0, side, num + 1).astype(int) for side, num in zip(rest.shape, _PARTS, strict=True)]
    for top, bottom in zip(borders[0], borders[0][1:], strict=False):
        for left, right in zip(borders[1], borders[1][1:], strict=False):
            part = (slice(top, bottom), slice(left, right))
            found = _least_squares([slope[part] for slope in slopes], rest[part], sure[part])
            if found is not None:
                drift = max(drift, math.dist(found, whole))
    return whole, drift


def _least_squares(slopes: list[Plane], rest: Plane, sure: Mask) -> tuple[float, float] | None:
    """Return the (dy, dx) by which the other picture lies off, from anchor - other = slope of the anchor x shift; None if unsure.

    The slopes are the anchor's alone, which has little noise: slopes of noise would make every shift shorter.
    """
    rows = np.stack([slope[sure] for slope in slopes], axis=1).astype(np.float64)
    if len(rows) < _LEAST_SIDE_PX**2:
        return None
    matrix = rows.T @ rows
    if np.linalg.cond(matrix) > 1e8:
        return None
    values = rest[sure].astype(np.float64)
    found = np.linalg.solve(matrix, rows.T @ values)
    independent = len(rows) / (4 * math.pi * _SMOOTHING_PX**2)  # smoothing leaves so few
    variance = float(np.mean(np.square(values - rows @ found)))
    errors = np.sqrt(np.diag(np.linalg.inv(matrix)) * variance * len(rows) / max(independent, 1.0))
    return (float(found[0]), float(found[1])) if errors.max() < _SURE_PX else None


def _coarse_mse(difference: NDArray[np.floating], valid: Mask, mse: float) -> float:
    """Return the mean square of means over cells of 8 x 8, less that of noise; nan where no cell is valid as a whole."""
    height, width = (side // _COARSE_PX * _COARSE_PX for side in valid.shape)
    cells = (height // _COARSE_PX, _COARSE_PX, width // _COARSE_PX, _COARSE_PX)
    whole = valid[:height, :width].reshape(cells).all(axis=(1, 3))
    means = difference[:height, :width].reshape(cells).mean(axis=(1, 3), dtype=np.float64)[whole]
    if not means.size:
        return math.nan
    coarse = float(np.mean(np.square(means)))
    return max(coarse - mse / _COARSE_PX**2, _LEAST_SHARE * coarse)


def _psnr(mse: float, brighter: float) -> float:
    if math.isnan(mse):
        return math.nan
    return math.inf if mse == 0 else -10 * math.log10(mse / brighter**2)
