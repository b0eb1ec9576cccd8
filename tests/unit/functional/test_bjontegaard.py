"""Bjontegaard's differences: hand-made curves, a slow computation beside, no number where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from photic.core.errors import DataError
from photic.functional.bjontegaard import bd_quality, bd_rate, best_within, frontier, rate_at, similarity_decibels

RATES, QUALITIES = np.array([0.1, 0.25, 0.5, 1.1, 2.0]), np.array([28.0, 31.5, 34.0, 37.2, 39.0])


def _slopes(x: list[float], y: list[float]) -> list[float]:
    """Slopes of Fritsch and Carlson's monotone cubic, as published: weighted harmonic means, one-sided at the ends."""
    steps = [x[i + 1] - x[i] for i in range(len(x) - 1)]
    rises = [(y[i + 1] - y[i]) / steps[i] for i in range(len(steps))]
    if len(rises) == 1:
        return [rises[0], rises[0]]

    def end(h0: float, h1: float, d0: float, d1: float) -> float:
        slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
        if slope * d0 <= 0:
            return 0.0
        return 3 * d0 if d0 * d1 <= 0 and abs(slope) > abs(3 * d0) else slope

    inner = []
    for i in range(1, len(x) - 1):
        first, second = 2 * steps[i] + steps[i - 1], steps[i] + 2 * steps[i - 1]
        inner.append((first + second) / (first / rises[i - 1] + second / rises[i]) if rises[i - 1] * rises[i] > 0 else 0.0)
    return [end(steps[0], steps[1], rises[0], rises[1]), *inner, end(steps[-1], steps[-2], rises[-1], rises[-2])]


def _value(x: list[float], y: list[float], slopes: list[float], at: float) -> float:
    i = min(max(j for j in range(len(x)) if x[j] <= at), len(x) - 2)
    h = x[i + 1] - x[i]
    t = (at - x[i]) / h
    return (
        (1 + 2 * t) * (1 - t) ** 2 * y[i]
        + t * (1 - t) ** 2 * h * slopes[i]
        + t * t * (3 - 2 * t) * y[i + 1]
        + t * t * (t - 1) * h * slopes[i + 1]
    )


def _slow_mean(x: np.ndarray, y: np.ndarray, low: float, high: float, count: int = 20_000) -> float:
    points, values = [float(v) for v in x], [float(v) for v in y]
    slopes = _slopes(points, values)
    return math.fsum(_value(points, values, slopes, low + (high - low) * (k + 0.5) / count) for k in range(count)) / count


def test_half_the_rate_is_minus_fifty_percent():
    found = bd_rate(RATES, QUALITIES, RATES / 2, QUALITIES)
    assert found.value == pytest.approx(-50)
    assert (found.low, found.high, found.share) == (28.0, 39.0, 1.0)
    assert bd_rate(RATES, QUALITIES, RATES * 1.3, QUALITIES).value == pytest.approx(30)
    assert bd_rate(RATES, QUALITIES, RATES, QUALITIES).value == 0


def test_a_decibel_more_is_a_decibel():
    found = bd_quality(RATES, QUALITIES, RATES, QUALITIES + 1.25)
    assert found.value == pytest.approx(1.25)
    assert (found.low, found.high) == pytest.approx((0.1, 2.0))


def test_the_order_of_points_does_not_matter():
    turned = [3, 0, 4, 1, 2]
    assert bd_rate(RATES[turned], QUALITIES[turned], RATES / 2, QUALITIES).value == pytest.approx(-50)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_slow_computation(seed):
    rng = np.random.default_rng(seed)
    curves = []
    for count in (4, 7):
        rates = np.cumprod(rng.uniform(1.2, 2.5, count)) * rng.uniform(0.05, 0.15)
        curves.append((rates, 27 + np.cumsum(rng.uniform(0.4, 3.0, count))))
    (ra, qa), (rb, qb) = curves
    low, high = max(qa[0], qb[0]), min(qa[-1], qb[-1])
    rate = bd_rate(ra, qa, rb, qb)
    expected = _slow_mean(qb, np.log(rb), low, high) - _slow_mean(qa, np.log(ra), low, high)
    assert rate.value == pytest.approx(100 * (math.exp(expected) - 1), rel=1e-5, abs=1e-4)
    assert (rate.low, rate.high) == (low, high)
    assert rate.share == pytest.approx((high - low) / (max(qa[-1], qb[-1]) - min(qa[0], qb[0])))
    left, right = max(math.log(ra[0]), math.log(rb[0])), min(math.log(ra[-1]), math.log(rb[-1]))
    quality = bd_quality(ra, qa, rb, qb)
    expected = _slow_mean(np.log(rb), qb, left, right) - _slow_mean(np.log(ra), qa, left, right)
    assert quality.value == pytest.approx(expected, abs=1e-4)


def test_swapping_inverts():
    other = (RATES**1.1 * 0.7, QUALITIES + np.array([0.2, 0.1, 0.4, 0.3, 0.5]))
    one, back = bd_rate(RATES, QUALITIES, *other).value, bd_rate(*other, RATES, QUALITIES).value
    assert (1 + one / 100) * (1 + back / 100) == pytest.approx(1)
    assert bd_quality(RATES, QUALITIES, *other).value == pytest.approx(-bd_quality(*other, RATES, QUALITIES).value)


def test_no_quality_in_common_is_no_number_but_a_reason():
    above = bd_rate(RATES, QUALITIES, RATES, QUALITIES + 20)
    assert math.isnan(above.value) and not above.known and math.isnan(above.low)
    assert above.reason == "every point of the test is better than every point of the anchor"
    assert bd_rate(RATES, QUALITIES + 20, RATES, QUALITIES).reason == "every point of the test is worse than every point of the anchor"
    assert bd_quality(RATES, QUALITIES, RATES * 100, QUALITIES).reason == (
        "every point of the test is of more rate than every point of the anchor"
    )
    assert bd_quality(RATES * 100, QUALITIES, RATES, QUALITIES).reason.endswith("of less rate than every point of the anchor")
    assert bd_rate(RATES, QUALITIES, [0.3], [33.0]).reason == "the test has a single point that anybody would choose"
    assert bd_rate([0.5], [33.0], [0.3], [33.0]).reason.startswith("the test and the anchor have a single")
    assert bd_rate(RATES, QUALITIES, RATES, QUALITIES + 11).reason == "both have no more than one quality in common"


def test_points_that_cost_more_and_are_no_better_do_not_count():
    rates, qualities = frontier([0.1, 0.2, 0.4, 0.8, 0.8], [20.0, 24.0, 23.0, 24.0, 22.0])
    assert rates.tolist() == [0.1, 0.2] and qualities.tolist() == [20.0, 24.0]
    worse = bd_rate([*RATES, 4.0, 8.0], [*QUALITIES, 38.0, 30.0], RATES / 2, QUALITIES)
    assert worse.value == pytest.approx(-50)


def test_best_quality_within_a_rate():
    best = best_within(RATES, QUALITIES)
    assert np.isnan(best(0.09))
    assert best(RATES) == pytest.approx(QUALITIES)
    assert best(50.0) == pytest.approx(39.0)
    assert bool((np.diff(best(np.geomspace(0.1, 4, 200))) >= 0).all())
    assert best_within([0.2], [30.0])([0.1, 0.2, 0.3]).tolist()[1:] == [30.0, 30.0]


def test_rate_for_a_quality():
    rate = rate_at(RATES, QUALITIES)
    assert rate(QUALITIES) == pytest.approx(RATES)
    assert np.isnan(rate([27.9, 39.1])).all()


def test_similarity_in_decibels():
    assert similarity_decibels([0.0, 0.9, 0.999]) == pytest.approx([0, 10, 30])
    assert similarity_decibels(1.0) == pytest.approx(150)


@pytest.mark.parametrize(
    ("rates", "qualities"), [([], []), ([1.0], [1.0, 2.0]), ([0.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0, math.nan]), ([[1.0]], [[1.0]])]
)
def test_curves_that_are_none(rates, qualities):
    with pytest.raises(DataError, match="curve: expected"):
        frontier(rates, qualities)
