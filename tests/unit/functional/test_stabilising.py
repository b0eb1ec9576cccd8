"""Noise made alike everywhere and back: variance 1, means without a bias from black to white, also where there are hardly photons."""

from __future__ import annotations

import numpy as np
import pytest

from photic.core.errors import DataError
from photic.functional.stabilising import Stabiliser

NOISES = [(2e-5, 1e-8), (1e-3, 1e-6), (1e-2, 1e-4), (5e-2, 5e-3), (1e-3, 1e-2), (0.0, 1e-4), (1e-6, 1e-2), (1e-2, 0.0)]
LEVELS = (0.0, 0.002, 0.01, 0.05, 0.18, 0.5, 1.0)


def seen(level, a, b, number=200_000):
    rng = np.random.default_rng(0)
    light = a * rng.poisson(level / a, number) if a else np.full(number, level)
    return light + np.sqrt(b) * rng.normal(size=number)


@pytest.mark.parametrize(("a", "b"), NOISES)
def test_variance_is_one_and_the_mean_comes_back_at_every_level(a, b):
    stabiliser = Stabiliser(a, b)
    for level in LEVELS:
        values = seen(level, a, b)
        made = stabiliser.forward(values)
        if a == 0 or level / a + b / a**2 > 2:  # fewer photons than that have no Gaussian noise to be made
            assert made.std() == pytest.approx(1, abs=0.08)
        error = abs(float(stabiliser.inverse(made.mean())) - level)
        assert error < 0.002 * level + 4 * np.sqrt((a * level + b) / len(values)) + 1e-9


def test_the_algebraic_inverse_would_be_too_dark():
    stabiliser = Stabiliser(1e-2, 1e-4)
    mean = stabiliser.forward(seen(0.02, 1e-2, 1e-4)).mean()
    algebraic = 1e-2 * (((mean + stabiliser._zero) / 2) ** 2 - stabiliser._added)
    assert algebraic < 0.02 * 0.95 and float(stabiliser.inverse(mean)) == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize(("a", "b"), NOISES)
def test_both_ways_rise_and_the_way_back_goes_on_below_black_and_above_white(a, b):
    stabiliser = Stabiliser(a, b)
    values = np.concatenate([np.linspace(0, 1.3, 4000)])
    there = stabiliser.forward(values)
    assert (np.diff(there) > 0).all()
    back = stabiliser.inverse(np.linspace(there[0] - 3, there[-1], 20000))
    assert (np.diff(back) > 0).all() and np.isfinite(back).all() and back[0] < 0
    # Without noise left, it is the value up to what noise does to the curve: a quarter of a photon.
    np.testing.assert_allclose(stabiliser.inverse(there), values, atol=0.6 * a + 1e-9)
    assert np.isfinite(stabiliser.forward(np.array([-10.0]))).all()


def test_the_mean_of_stabilised_values_is_that_of_summed_chances():
    """E of the transform at 3 photons and variance 2, integrated bluntly."""
    a, photons, variance = 0.01, 3.0, 2.0
    stabiliser = Stabiliser(a, variance * a**2)
    n = np.linspace(-8, 8, 20001) * np.sqrt(variance)
    bell = np.exp(-(n**2) / 2 / variance)
    chance, total = np.exp(-photons), 0.0
    for count in range(60):
        curve = 2 * np.sqrt(np.maximum(count + n + 3 / 8 + variance, 0))
        total += chance * (curve * bell).sum() / bell.sum()
        chance *= photons / (count + 1)
    assert float(stabiliser.inverse(total - stabiliser._zero)) == pytest.approx(a * photons, rel=3e-4)


def test_noise_that_cannot_be_is_refused():
    for a, b in ((0, 0), (-1e-3, 1e-3), (1e-3, -1e-3), (float("nan"), 1), (1, float("inf"))):
        with pytest.raises(DataError, match="a and b >= 0"):
            Stabiliser(a, b)
