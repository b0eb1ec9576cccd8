"""Fourier ring correlation: against a slow reference, and what is known about noise and blur."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from photic.core.errors import ConfigError, DataError
from photic.functional.frc import THRESHOLDS, RingCorrelation, fourier_ring_correlation

rng = np.random.default_rng(0)


def noise(*shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def slow(first, second, window):
    height, width = first.shape
    side = min(height, width)
    first, second = ((p - (p * window).sum() / window.sum()) * window for p in (first, second))
    f, g = np.fft.fftshift(np.fft.fft2(first)), np.fft.fftshift(np.fft.fft2(second))
    sums = np.zeros((side // 2 + 1, 4))
    for i in range(height):
        for j in range(width):
            radius = np.hypot((i - height // 2) / height, (j - width // 2) / width)
            ring = round(radius * side)
            if ring <= side // 2:
                sums[ring] += ((f[i, j] * np.conj(g[i, j])).real, abs(f[i, j]) ** 2, abs(g[i, j]) ** 2, 1)
    return sums[1:, 0] / np.sqrt(sums[1:, 1] * sums[1:, 2]), sums[1:, 3]


@pytest.mark.parametrize("shape", [(16, 16), (15, 15), (12, 20), (21, 13)])
@pytest.mark.parametrize("window", ["hann", None])
def test_it_equals_a_loop_over_all_frequencies(shape, window):
    first = noise(*shape)
    second = first + 0.8 * noise(*shape)
    faded = np.ones(shape) if window is None else np.outer(*(np.hanning(side + 2)[1:-1] for side in shape))
    expected, num = slow(first, second, faded)
    found = fourier_ring_correlation(first, second, window=window)
    np.testing.assert_allclose(found.correlation, expected, atol=1e-9)
    assert found.num_samples.tolist() == num.tolist()
    assert (np.diff(found.frequency) > 0).all() and found.frequency[0] > 0 and found.frequency[-1] <= 0.5


def test_equal_pictures_correlate_everywhere_and_have_no_resolution():
    for picture in (noise(32, 32), noise(32, 40).real):
        curve = fourier_ring_correlation(picture, 3 * picture)
        np.testing.assert_allclose(curve.correlation, 1, atol=1e-9)
        assert [curve.crossing(threshold) for threshold in THRESHOLDS] == [None, None]
        assert curve.resolution_px() is None and curve.resolution_m(1e-9) is None


def test_pure_noise_has_no_resolution_either():
    curve = fourier_ring_correlation(noise(64, 64), noise(64, 64))
    assert curve.crossing(0.5) is None
    assert np.abs(curve.correlation[8:]).mean() < 0.1


def test_a_turned_phase_must_be_aligned_first():
    picture = noise(32, 32)
    np.testing.assert_allclose(fourier_ring_correlation(picture, 1j * picture).correlation, 0, atol=1e-6)
    np.testing.assert_allclose(fourier_ring_correlation(picture, -picture).correlation, -1, atol=1e-6)


def test_white_signal_in_white_noise_correlates_by_its_share():
    signal = noise(128, 128)
    curve = fourier_ring_correlation(signal + noise(128, 128), signal + noise(128, 128), window=None)
    weighted = np.average(curve.correlation, weights=curve.num_samples)
    assert weighted == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("window", ["hann", "tukey"])
def test_the_crossing_lies_where_signal_and_noise_are_equal(window):
    # Gaussian blur leaves exp(-(2 pi f sigma)^2) of the power; noise of 10 % of amplitude crosses where they are equal.
    sigma, level = 1.6, 0.1
    found = []
    for _ in range(3):
        signal = noise(160, 160)
        signal = gaussian_filter(signal.real, sigma, mode="wrap") + 1j * gaussian_filter(signal.imag, sigma, mode="wrap")
        halves = [signal + level * noise(160, 160) for _ in range(2)]
        found.append(fourier_ring_correlation(*halves, window=window).crossing(0.5))
    expected = np.sqrt(-np.log(level**2)) / (2 * np.pi * sigma)
    assert np.mean(found) == pytest.approx(expected, rel=0.05)


def curve(*values):
    return RingCorrelation(
        frequency=np.linspace(0.1, 0.5, len(values)), correlation=np.array(values, float), num_samples=np.ones(len(values), np.int64)
    )


def test_the_crossing_is_interpolated_and_is_the_first():
    falling = curve(1.0, 0.8, 0.4, 0.9, 0.0)
    assert falling.crossing(0.5) == pytest.approx(0.2 + 0.75 * 0.1)
    assert falling.resolution_px(0.5) == pytest.approx(1 / 0.275) and falling.resolution_m(2e-8, 0.5) == pytest.approx(2e-8 / 0.275)
    assert falling.crossing(1 / 7) == pytest.approx(0.4 + (0.9 - 1 / 7) / 0.9 * 0.1)


@pytest.mark.parametrize("values", [(1, 0.9, 0.8), (0.3, 0.9, 0.2), (1, np.nan, 0.1), (np.nan, 0.9, 0.1), (0.9,)])
def test_an_undefined_crossing_is_none(values):
    assert curve(*values).crossing(0.5) is None


def test_nothing_in_a_ring_is_undefined_not_a_number():
    flat = fourier_ring_correlation(np.ones((16, 16)), noise(16, 16))
    assert np.isnan(flat.correlation).all() and flat.crossing() is None


def test_a_gradient_across_the_borders_does_not_correlate_with_a_window():
    plane = np.broadcast_to(np.linspace(0, 30, 64), (64, 64))
    bare = fourier_ring_correlation(plane + noise(64, 64), plane + noise(64, 64), window=None).correlation[10:20].mean()
    faded = fourier_ring_correlation(plane + noise(64, 64), plane + noise(64, 64)).correlation[10:20].mean()
    assert abs(faded) < 0.1 < bare


def test_wrong_input_is_refused():
    good = noise(8, 8)
    for other in (noise(8, 9), noise(8), noise(1, 8, 8)):
        with pytest.raises(DataError, match="one shape"):
            fourier_ring_correlation(good, other)
    with pytest.raises(DataError, match="4 x 4"):
        fourier_ring_correlation(good[:3], good[:3])
    with pytest.raises(DataError, match="finite"):
        fourier_ring_correlation(good, np.where(good.real > 0, np.nan, good))
    for settings, word in (({"window": "box"}, "window"), ({"window": "tukey", "tukey_share": 1.5}, "tukey_share")):
        with pytest.raises(ConfigError, match=word):
            fourier_ring_correlation(good, good, **settings)
    for threshold in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="threshold"):
            curve(1, 0).crossing(threshold)
