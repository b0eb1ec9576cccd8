"""Registration: against scikit-image, and known shifts, ramps, offsets and scales got back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import fourier_shift as scipy_fourier_shift
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation

from photic.core.errors import ConfigError, DataError
from photic.functional.registration import align, fourier_shift, register

SHAPE = (56, 64)


def smooth(seed, shape=SHAPE, sigma=1.5):
    noise = np.random.default_rng(seed).normal(size=shape)
    made = gaussian_filter(noise, sigma, mode="wrap")
    return made / made.std()


def specimen(seed=0, contrast=0.4, shape=SHAPE):
    return (1 + 0.1 * smooth(seed, shape)) * np.exp(1j * contrast * smooth(seed + 1, shape))


def ramp(kx, ky, shape=SHAPE):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.exp(1j * (kx * columns + ky * rows))


@pytest.mark.parametrize("shift", [(0, 0), (1.0, -2.0), (0.3, 0.75), (-7.6, 11.25)])
@pytest.mark.parametrize("shape", [(16, 16), (15, 20), (21, 17)])
def test_fourier_shift_equals_scipy_on_band_limited_pictures(shift, shape):
    picture = smooth(0, shape)
    expected = np.fft.ifft2(scipy_fourier_shift(np.fft.fft2(picture), shift[::-1])).real
    np.testing.assert_allclose(fourier_shift(picture, shift), expected, atol=1e-4)
    assert fourier_shift(picture, shift).dtype == np.float64
    assert fourier_shift(picture + 0j, shift).dtype == np.complex128


def test_fourier_shift_by_whole_pixels_rolls_and_there_and_back_is_the_same():
    picture = np.random.default_rng(0).normal(size=(9, 11)) + 1j
    np.testing.assert_allclose(fourier_shift(picture, (3, -2)), np.roll(picture, (-2, 3), (0, 1)), atol=1e-12)
    np.testing.assert_allclose(fourier_shift(fourier_shift(picture, (0.4, 1.7)), (-0.4, -1.7)), picture, atol=1e-12)


@pytest.mark.parametrize("whitened", [False, True])
@pytest.mark.parametrize("upsampling", [1, 10, 100])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -5.0), (2.37, -1.62), (-20.11, 13.48)])
def test_register_equals_scikit_image(shift, upsampling, whitened):
    reference = specimen() - 1
    picture = fourier_shift(reference, shift) + 0.05 * (smooth(7, sigma=0.5) + 1j * smooth(8, sigma=0.5))
    found = register(picture, reference, upsampling=upsampling, whitened=whitened)
    expected, _, _ = phase_cross_correlation(reference, picture, upsample_factor=upsampling, normalization="phase" if whitened else None)
    np.testing.assert_allclose(found, expected[::-1], atol=1.001 / upsampling if upsampling > 1 else 0)
    if not whitened:
        np.testing.assert_allclose(found, (-shift[0], -shift[1]), atol=0.51 if upsampling == 1 else 0.1)


def test_register_takes_no_peak_further_off_than_allowed():
    reference = specimen() - 1
    picture = fourier_shift(reference, (-12, 3))
    assert register(picture, reference) == (12.0, -3.0)
    found = register(picture, reference, max_shift_px=5)
    assert max(np.abs(found)) <= 5
    assert register(np.zeros((8, 8)), np.ones((8, 8))) == (0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(
    shift=st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    slopes=st.tuples(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2)),
    phase=st.floats(-3.1, 3.1),
    scale=st.floats(0.05, 20),
    seed=st.integers(0, 50),
)
def test_known_shift_ramp_offset_and_scale_are_got_back(shift, slopes, phase, scale, seed):
    whole = specimen(seed, shape=(96, 104))
    reference = whole[20:-20, 20:-20]
    picture = fourier_shift(whole, (-shift[0], -shift[1]))[20:-20, 20:-20] * ramp(-slopes[0], -slopes[1]) * np.exp(-1j * phase) / scale
    weight = np.zeros(SHAPE)
    weight[10:-10, 10:-10] = 1
    aligned, found = align(picture, reference, weight=weight)
    np.testing.assert_allclose(found.shift_px, shift, atol=0.02)
    np.testing.assert_allclose(found.ramp_rad, slopes, atol=2e-3)
    assert abs(found.scale) == pytest.approx(scale, rel=0.01)
    inside = weight > 0
    assert np.abs(aligned - reference)[inside].max() < 0.1 and found.residual < 0.02
    np.testing.assert_allclose(found.apply(picture), aligned, atol=1e-12)


@pytest.mark.parametrize("shape", [(40, 40), (33, 48)])
def test_without_a_shift_it_is_exact(shape):
    reference = specimen(3, 1.0, shape)
    picture = reference * ramp(2.9, -1.7, shape) * (0.3 - 0.4j)
    aligned, found = align(picture, reference, shift=False)
    np.testing.assert_allclose(aligned, reference, atol=1e-6)
    assert found.shift_px == (0.0, 0.0) and abs(found.scale) == pytest.approx(2.0)
    aligned, found = align(reference * (0.3 - 0.4j), reference, shift=False, ramp=False)
    np.testing.assert_allclose(found.scale, 1 / (0.3 - 0.4j), atol=1e-12)
    assert found.ramp_rad == (0.0, 0.0) and found.residual < 1e-12


def test_noise_does_not_mislead_it_and_does_not_shrink_the_amplitude():
    rng = np.random.default_rng(0)
    whole = specimen(5, 0.6, (96, 104))
    reference = whole[20:-20, 20:-20]
    noise = 0.3 * (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE))
    picture = (fourier_shift(whole, (1.3, -2.6))[20:-20, 20:-20] + noise) * ramp(0.05, -0.02)
    aligned, found = align(picture, reference)
    np.testing.assert_allclose(found.shift_px, (-1.3, 2.6), atol=0.1)
    np.testing.assert_allclose(found.ramp_rad, (-0.05, 0.02), atol=3e-3)
    inner = (slice(8, -8), slice(8, -8))
    best = (np.abs(reference) * np.abs(aligned))[inner].sum() / (np.abs(aligned) ** 2)[inner].sum()
    assert best == pytest.approx(1.0, abs=0.01)


def test_what_has_no_weight_does_not_count():
    reference = specimen(2)
    picture = reference * ramp(0.1, 0.03) * 2j
    picture[:, 40:] = 7 * specimen(9)[:, 40:]
    mask = np.zeros(SHAPE, bool)
    mask[:, :40] = True
    aligned, found = align(picture, reference, weight=mask, shift=False)
    np.testing.assert_allclose(aligned[mask], reference[mask], atol=1e-6)
    np.testing.assert_allclose(found.ramp_rad, (-0.1, -0.03), atol=1e-7)


def test_flat_pictures_are_not_moved():
    _, found = align(np.full((20, 20), 2j), np.ones((20, 20)))
    assert np.abs(found.shift_px).max() < 1e-6 and found.scale == pytest.approx(-0.5j) and found.residual < 1e-9


def test_the_largest_shift_holds():
    reference = specimen(1)
    picture = fourier_shift(reference, (9, 0))
    _, found = align(picture, reference, max_shift_px=4)
    assert max(np.abs(found.shift_px)) <= 4


@pytest.mark.parametrize(
    ("picture", "reference", "weight", "words"),
    [
        (np.ones((4, 5)), np.ones((5, 4)), None, r"shape of the reference, \(5, 4\), got \(4, 5\)"),
        (np.ones(4), np.ones(4), None, r"\(H, W\)"),
        (np.full((4, 4), np.nan), np.ones((4, 4)), None, "picture: expected finite"),
        (np.ones((4, 4)), np.full((4, 4), np.inf), None, "reference: expected finite"),
        (np.ones((4, 4)), np.ones((4, 4)), np.ones((4, 3)), "weight"),
        (np.ones((4, 4)), np.ones((4, 4)), -np.ones((4, 4)), "weight"),
        (np.zeros((4, 4)), np.ones((4, 4)), None, "other than zero"),
        (np.ones((4, 4)), np.ones((4, 4)), np.zeros((4, 4)), "other than zero"),
        (np.array([["a"]]), np.ones((1, 1)), None, "numbers"),
    ],
)  # fmt: skip
def test_wrong_pictures_are_refused(picture, reference, weight, words):
    with pytest.raises(DataError, match=words):
        align(picture, reference, weight=weight)


def test_wrong_settings_are_refused():
    for change in ({"upsampling": 0}, {"max_shift_px": -1}):
        with pytest.raises(ConfigError, match="upsampling >= 1 and max_shift_px >= 0"):
            register(np.ones((4, 4)), np.ones((4, 4)), **change)


@pytest.mark.parametrize(("x", "y"), [*itertools.product((-1, 0, 1), (-2, 2))])
def test_the_shift_is_the_way_the_content_moves(x, y):
    reference = np.zeros((16, 18))
    reference[8, 9] = 1
    picture = np.zeros((16, 18))
    picture[8 - y, 9 - x] = 1
    assert register(picture, reference) == (x, y)
