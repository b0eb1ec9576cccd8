"""Sharpness from a slanted edge: the modulation transfer function (MTF) of whatever made a picture of one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from photic.core.errors import DataError

Values = NDArray[np.float64]

_BINS_PER_PX = 4
"""Samples of the edge's profile per pixel, as ISO 12233 takes them."""
_SMALLEST_PX = 16
_LEAST_SLANT = math.radians(1)
_MOST_SLANT = math.radians(44)


@dataclass(frozen=True)
class EdgeResponse:
    """What a slanted edge says about sharpness."""

    frequency: Values
    """``(F,)`` cycles per pixel across the edge, from 0 up to 1."""
    mtf: Values
    """``(F,)`` modulation, 1 at frequency 0."""
    angle_deg: float
    """Angle between the edge and the picture's columns (or rows, whichever is nearer), degrees."""
    contrast: float
    """Difference of both sides' levels."""

    @property
    def mtf50(self) -> float:
        """Lowest frequency, cycles per pixel, at which half the modulation is left; infinite where it never falls that low."""
        below = np.flatnonzero(self.mtf < 0.5)
        if not below.size:
            return math.inf
        right = int(below[0])
        (f0, f1), (m0, m1) = self.frequency[right - 1 : right + 1], self.mtf[right - 1 : right + 1]
        return float(f0 + (m0 - 0.5) / (m0 - m1) * (f1 - f0))


def mtf50(picture: ArrayLike) -> float:
    """Return the frequency in cycles per pixel at which a slanted edge has lost half its modulation, see :func:`edge_response`.

    Raises:
        DataError: no picture of a slanted edge.

    >>> round(mtf50(slanted_edge((64, 48), 5, 0.6)), 2)
    0.28
    """
    return edge_response(picture).mtf50


def edge_response(picture: ArrayLike) -> EdgeResponse:
    """Return the modulation transfer function of a slanted edge.

    The edge's place is found in each row, a line is put through all, and every pixel's distance from it taken: together they sample the
    profile of the edge at four places per pixel. Its derivative is windowed (Hamming, around the edge) and transformed; what differences of
    samples and their gathering in bins take away is given back.

    Source: ISO 12233:2017, edge-based spatial frequency response.

    Args:
        picture: ``(H, W)`` linear values around one straight edge, bright on one side and dark on the other, 1 to 44 degrees off the
            columns or rows, at least 16 pixels each way, the edge at least 5 pixels away from the sides that it does not cross.

    Raises:
        DataError: another shape, values that are not finite, no edge, or one that is not slanted.
    """
    values = _checked(picture)
    # Where the picture changes most along rows, the edge runs along columns.
    if abs(np.diff(values, axis=1).mean()) < abs(np.diff(values, axis=0).mean()):
        values = values.T
    line = _line(values)
    angle = math.atan(line[0])
    if not _LEAST_SLANT <= abs(angle) <= _MOST_SLANT:
        raise DataError(
            f"edge: expected one 1 to 44 degrees off the columns or rows, got {math.degrees(angle):.2f} degrees; without a slant, its "
            "pixels see it at the same few places only"
        )
    profile = _profile(values, line, angle)
    spread = np.zeros_like(profile)
    spread[1:-1] = (profile[2:] - profile[:-2]) / 2
    centre = _centre(spread)
    reach = min(centre, len(spread) - 1 - centre)
    places = np.arange(len(spread)) - centre
    window = np.where(np.abs(places) <= reach, 0.54 + 0.46 * np.cos(np.pi * places / max(reach, 1)), 0.0)
    spectrum = np.abs(np.fft.rfft(spread * window))
    frequency = np.fft.rfftfreq(len(spread), 1 / _BINS_PER_PX).astype(np.float64)
    wanted = frequency <= 1
    frequency = frequency[wanted]
    # A central difference of samples at a distance of h lets sin(w h) / (w h) of a derivative through, a bin of width h its own share.
    lost = np.sinc(2 * frequency / _BINS_PER_PX) * np.sinc(frequency / _BINS_PER_PX)
    modulation = spectrum[wanted] / spectrum[0] / lost
    contrast = float(abs(profile[-8:].mean() - profile[:8].mean()))
    return EdgeResponse(frequency, modulation, math.degrees(abs(angle)), contrast)


def slanted_edge(
    size: tuple[int, int] = (128, 128), angle_deg: float = 5.0, blur_px: float = 0.0, *, low: float = 0.1, high: float = 0.8
) -> NDArray[np.float64]:
    """Return a picture ``(H, W)`` of an edge through its middle, dark at the left, as square pixels see it; exact, not rendered.

    Args:
        size: height and width in pixels.
        angle_deg: between edge and columns, degrees; 0 < angle < 90.
        blur_px: standard deviation of a Gaussian blur before the pixels, pixels; 0: none, only the pixels themselves.
        low: level of the dark side.
        high: level of the bright side.

    Raises:
        DataError: an angle or blur out of range.

    >>> slanted_edge((3, 4), 10.0).round(2)[1].tolist()
    [0.1, 0.12, 0.78, 0.8]
    """
    if not 0 < angle_deg < 90 or not blur_px >= 0 or min(size) < 1:
        raise DataError(f"slanted_edge: expected 0 < angle < 90 and blur >= 0, got size {size}, angle {angle_deg} and blur {blur_px}")
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    y, x = np.mgrid[: size[0], : size[1]]
    distance = (x - (size[1] - 1) / 2) * cos + (y - (size[0] - 1) / 2) * sin
    # A square pixel averages over a box of width cos and one of width sin across the edge: second differences of the twofold integral.
    wide, narrow = (cos + sin) / 2, (cos - sin) / 2
    share = [_twice_integrated(distance + offset, blur_px) for offset in (wide, narrow, -narrow, -wide)]
    covered = (share[0] - share[1] - share[2] + share[3]) / (cos * sin)
    picture: Values = low + (high - low) * np.clip(covered, 0, 1)
    return picture


def edge_mtf(frequency: ArrayLike, angle_deg: float, blur_px: float) -> Values:
    """Return the modulation that :func:`slanted_edge` has at frequencies across the edge, cycles per pixel: blur times pixel.

    >>> edge_mtf([0.0, 0.5], 5.0, 0.0).round(3).tolist()
    [1.0, 0.637]
    """
    cycles = np.asarray(frequency, np.float64)
    angle = math.radians(angle_deg)
    pixel = np.sinc(cycles * math.cos(angle)) * np.sinc(cycles * math.sin(angle))
    modulation: Values = pixel * np.exp(-2 * (np.pi * blur_px * cycles) ** 2)
    return modulation


def _twice_integrated(x: Values, blur: float) -> Values:
    """Integral of the integral of a step blurred by a Gaussian."""
    if blur == 0:
        return np.maximum(x, 0) ** 2 / 2
    bell = np.exp(-((x / blur) ** 2) / 2) / math.sqrt(2 * math.pi)
    integral: Values = ((x**2 + blur**2) * ndtr(x / blur) + x * blur * bell) / 2
    return integral


def _checked(picture: ArrayLike) -> Values:
    values = np.asarray(picture, np.float64)
    if values.ndim != 2 or min(values.shape) < _SMALLEST_PX:
        raise DataError(f"edge: expected a picture (H, W) of at least {_SMALLEST_PX} x {_SMALLEST_PX} pixels, got {values.shape}")
    if not np.isfinite(values).all():
        raise DataError("edge: expected finite values, some are NaN or infinite")
    return values


def _line(values: Values) -> tuple[float, float]:
    """Slope and place of the edge: column = slope * row + place; found twice, the second time around the first line."""
    changes = np.diff(values, axis=1)
    if values[:, -3:].mean() < values[:, :3].mean():
        changes = -changes
    rows, columns = np.arange(values.shape[0]), np.arange(changes.shape[1]) + 0.5
    centres = np.full(len(rows), (values.shape[1] - 1) / 2)
    width = float(values.shape[1])
    fit = (0.0, 0.0)
    for _ in range(3):
        near = np.abs(columns[None] - centres[:, None]) / width
        weights = changes * np.where(near < 1, 0.54 + 0.46 * np.cos(np.pi * near), 0.0)
        sums = weights.sum(axis=1)
        if not (sums > 0).all():
            raise DataError(
                "edge: expected a bright and a dark side in every row across the edge, found rows without any; cut the picture out "
                "around one straight edge"
            )
        slope, place = np.polyfit(rows, (weights * columns).sum(axis=1) / sums, 1)
        fit = (float(slope), float(place))
        centres, width = slope * rows + place, max(8.0, values.shape[1] / 4)
    return fit


def _profile(values: Values, line: tuple[float, float], angle: float) -> Values:
    """Mean values by distance from the edge, a quarter pixel per bin.

    Distances do not fill a bin evenly, at most slants: a bin's value counts at its pixels' mean distance, and is moved to the middle.
    """
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    distance = (x - line[0] * y - line[1]) * math.cos(angle)
    reach = min(-distance[:, 0].max(), distance[:, -1].min())  # so far every row has pixels
    if reach < 4:
        raise DataError("edge: expected it at least 5 pixels away from the sides that it does not cross; cut the picture out wider")
    half = int(reach * _BINS_PER_PX)
    bins = np.floor(distance * _BINS_PER_PX + 0.5).astype(np.int64) + half
    inside = (bins >= 0) & (bins <= 2 * half)
    count = np.bincount(bins[inside], minlength=2 * half + 1)
    total = np.bincount(bins[inside], values[inside], minlength=2 * half + 1)
    where = np.bincount(bins[inside], distance[inside] * _BINS_PER_PX + half, minlength=2 * half + 1)
    full = np.flatnonzero(count)
    return np.interp(np.arange(2 * half + 1), where[full] / count[full], total[full] / count[full])


def _centre(spread: Values) -> int:
    """Where the edge is: the middle of mass of the largest changes."""
    size = np.abs(spread)
    strong = np.where(size > 0.5 * size.max(), size, 0.0)
    return round(float((strong * np.arange(len(spread))).sum() / strong.sum()))
