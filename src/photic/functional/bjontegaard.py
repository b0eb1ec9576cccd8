"""Rate-distortion curves compared by their mean distance: how much less rate for the same quality, how much better at the same rate.

A curve is what a codec reaches at its settings: rates and qualities. Of its points only those count that somebody would choose, which is
where quality rises with rate (:func:`frontier`); codecs that are given noise to code do not always get better with more bits. Between
the points the logarithm of the rate is interpolated by monotone cubics, and nothing is ever extrapolated: where two curves have no
quality in common there is no such number, and it is said why.

Source: Bjontegaard 2001, Calculation of average PSNR differences between RD-curves (VCEG-M33), with piecewise cubics (PCHIP, Fritsch
and Carlson 1980) in place of one polynomial, as is usual since.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from photic.core.errors import DataError

Floats = NDArray[np.float64]
_MOST_DECIBELS = 150.0


@dataclass(frozen=True)
class Difference:
    """A mean distance between two curves."""

    value: float
    """NaN where there is none."""
    low: float = math.nan
    """Where the interval begins over which it is a mean: a quality, or a rate."""
    high: float = math.nan
    """Where it ends."""
    share: float = 0.0
    """How much of what both curves span together is that interval, 0 to 1 (of rates, by their logarithms)."""
    reason: str = ""
    """Why there is none; empty where there is."""

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)


def frontier(rates: ArrayLike, qualities: ArrayLike) -> tuple[Floats, Floats]:
    """Return the points of a curve that somebody would choose, by rising rate: none costs more than another and is no better.

    Args:
        rates: above 0, in any order.
        qualities: of the same points, larger is better.

    Raises:
        DataError: lengths differ, there are no points, a rate is not above 0, or values are not finite.

    >>> frontier([1.0, 2.0, 4.0, 8.0], [30.0, 33.0, 32.0, 35.0])
    (array([1., 2., 8.]), array([30., 33., 35.]))
    """
    rate, quality = np.asarray(rates, np.float64), np.asarray(qualities, np.float64)
    if rate.ndim != 1 or rate.shape != quality.shape or not rate.size:
        raise DataError(f"curve: expected as many rates as qualities, one at least, got shapes {rate.shape} and {quality.shape}")
    if not (np.isfinite(rate) & (rate > 0) & np.isfinite(quality)).all():
        raise DataError(
            f"curve: expected finite qualities at finite rates above 0, got rates {rate.tolist()}, qualities {quality.tolist()}"
        )
    order = np.lexsort((-quality, rate))  # of equal rates the best first
    rate, quality = rate[order], quality[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(quality)[:-1]])
    kept = quality > best_before
    return rate[kept], quality[kept]


def rate_at(rates: ArrayLike, qualities: ArrayLike) -> Callable[[ArrayLike], Floats]:
    """Return the function from a quality to the rate that reaches it; NaN outside the curve's qualities.

    >>> bool(np.isclose(rate_at([1.0, 4.0], [30.0, 34.0])(32.0), 2.0))
    True
    """
    rate, quality = frontier(rates, qualities)
    logarithm = _interpolated(quality, np.log(rate))
    return lambda wanted: np.asarray(np.exp(logarithm(wanted)), np.float64)


def best_within(rates: ArrayLike, qualities: ArrayLike) -> Callable[[ArrayLike], Floats]:
    """Return the function from a rate to the best quality of a curve that needs no more than it.

    Below the curve's lowest rate that is NaN, beyond its best point the quality of that: nobody has to spend all he may.

    >>> best_within([1.0, 4.0], [30.0, 34.0])([0.5, 4.0, 9.0]).tolist()
    [nan, 34.0, 34.0]
    """
    rate, quality = frontier(rates, qualities)
    curve = _interpolated(np.log(rate), quality)
    return lambda allowed: np.asarray(curve(np.minimum(np.log(np.asarray(allowed, np.float64)), np.log(rate[-1]))), np.float64)


def bd_rate(anchor_rates: ArrayLike, anchor_qualities: ArrayLike, test_rates: ArrayLike, test_qualities: ArrayLike) -> Difference:
    """Return by how many percent the rate of a test's curve differs from an anchor's at the same quality, -50 being half of it.

    It is the mean of the logarithm of the ratio over the qualities that both reach, as a percentage.

    Args:
        anchor_rates: above 0, in any order; bits per pixel, say.
        anchor_qualities: of these points, larger is better; dB, say.
        test_rates: likewise.
        test_qualities: likewise.

    Raises:
        DataError: as :func:`frontier`.

    >>> round(bd_rate([1, 2, 4], [30, 33, 36], [0.5, 1, 2], [30, 33, 36]).value, 6)
    -50.0
    """
    anchor, test = frontier(anchor_rates, anchor_qualities), frontier(test_rates, test_qualities)
    low, high = _common(anchor[1], test[1])
    if not high > low:
        return Difference(math.nan, reason=_apart(anchor, test, "quality"))
    mean = (_area(test[1], np.log(test[0]), low, high) - _area(anchor[1], np.log(anchor[0]), low, high)) / (high - low)
    return Difference(100 * math.expm1(mean), low, high, _share(anchor[1], test[1], low, high))


def bd_quality(anchor_rates: ArrayLike, anchor_qualities: ArrayLike, test_rates: ArrayLike, test_qualities: ArrayLike) -> Difference:
    """Return by how much the quality of a test's curve is above an anchor's at the same rate, in the unit of quality.

    It is the mean over the logarithms of the rates that both have.

    Args:
        anchor_rates: as of :func:`bd_rate`.
        anchor_qualities: likewise.
        test_rates: likewise.
        test_qualities: likewise.

    Raises:
        DataError: as :func:`frontier`.

    >>> round(bd_quality([1, 2, 4], [30, 33, 36], [1, 2, 4], [31, 34, 37]).value, 6)
    1.0
    """
    anchor, test = frontier(anchor_rates, anchor_qualities), frontier(test_rates, test_qualities)
    logarithms = np.log(anchor[0]), np.log(test[0])
    low, high = _common(*logarithms)
    if not high > low:
        return Difference(math.nan, reason=_apart(anchor, test, "rate"))
    mean = (_area(logarithms[1], test[1], low, high) - _area(logarithms[0], anchor[1], low, high)) / (high - low)
    return Difference(mean, math.exp(low), math.exp(high), _share(*logarithms, low, high))


def similarity_decibels(similarity: ArrayLike) -> Floats:
    """Return similarities such as MS-SSIM, at most 1, in dB, -10 log10(1 - s), in which curves are compared; 150 dB at most.

    >>> similarity_decibels([0.9, 0.99]).round(6).tolist()
    [10.0, 20.0]
    """
    rest = np.maximum(1 - np.asarray(similarity, np.float64), 10 ** (-_MOST_DECIBELS / 10))
    return np.asarray(-10 * np.log10(rest), np.float64)


def _interpolated(x: Floats, y: Floats) -> Callable[[ArrayLike], Floats]:
    """Return the monotone cubic through points, NaN outside them; a single point is a curve that consists of it."""
    if len(x) > 1:
        return PchipInterpolator(x, y, extrapolate=False)  # type: ignore[no-any-return]
    return lambda places: np.where(np.asarray(places, np.float64) == x[0], y[0], np.nan)


def _area(x: Floats, y: Floats, low: float, high: float) -> float:
    return float(PchipInterpolator(x, y, extrapolate=False).integrate(low, high))


def _common(one: Floats, other: Floats) -> tuple[float, float]:
    return max(float(one[0]), float(other[0])), min(float(one[-1]), float(other[-1]))


def _share(one: Floats, other: Floats, low: float, high: float) -> float:
    return (high - low) / (max(float(one[-1]), float(other[-1])) - min(float(one[0]), float(other[0])))


def _apart(anchor: tuple[Floats, Floats], test: tuple[Floats, Floats], what: str) -> str:
    """Return why two curves have no interval of quality or rate in common."""
    place = 1 if what == "quality" else 0
    words = ("better", "worse") if what == "quality" else ("of more rate", "of less rate")
    if test[place][0] > anchor[place][-1]:
        return f"every point of the test is {words[0]} than every point of the anchor"
    if test[place][-1] < anchor[place][0]:
        return f"every point of the test is {words[1]} than every point of the anchor"
    single = [name for name, curve in (("test", test), ("anchor", anchor)) if len(curve[0]) == 1]
    if single:
        return f"the {' and the '.join(single)} {'has' if len(single) == 1 else 'have'} a single point that anybody would choose"
    return f"both have no more than one {what} in common"
