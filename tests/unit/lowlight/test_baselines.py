"""Classical enhancers: what they do to pictures whose result is known."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.lowlight.baselines import (
    Clahe,
    Gamma,
    HistogramEqualisation,
    HistogramMatchDenoised,
    Identity,
    LogMap,
    fitted,
    untrained,
)
from photic.apps.lowlight.tone_curve import MeanHistogram, ToneCurve
from photic.core.errors import ConfigError, DataError


def dark_picture(seed: int = 0, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0.01, 0.2, size[1], dtype=np.float32)[None, :, None]
    return np.clip(ramp + generator.normal(0, 0.01, (*size, 3)), 0, 1).astype(np.float32)


def all_baselines() -> list:
    pairs = [(dark_picture(seed), np.sqrt(dark_picture(seed))) for seed in range(3)]
    return untrained() + fitted(pairs)


def test_names_are_told_apart_and_identity_is_first():
    names = [one.name for one in all_baselines()]
    assert names == ["identity", "gamma", "CLAHE", "histogram equalisation", "log map", "fitted tone curve", "histogram match + NLM"]


@pytest.mark.parametrize("baseline", all_baselines(), ids=lambda one: one.name)
def test_pictures_keep_form_and_range_and_the_input_is_left_alone(baseline):
    image = dark_picture(7, (33, 41))
    before = image.copy()
    made = baseline(image)
    assert made.shape == image.shape
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 1
    np.testing.assert_array_equal(image, before)
    if baseline.name != "identity":
        assert made.mean() > image.mean() + 0.05


@pytest.mark.parametrize("baseline", all_baselines(), ids=lambda one: one.name)
def test_black_white_and_single_pixels_are_no_trouble(baseline):
    for image in (np.zeros((12, 9, 3), np.float32), np.ones((12, 9, 3), np.float32), np.full((1, 1, 3), 0.1, np.float32)):
        made = baseline(image)
        assert made.shape == image.shape
        assert np.isfinite(made).all()
        assert 0 <= made.min() <= made.max() <= 1


@pytest.mark.parametrize("baseline", all_baselines(), ids=lambda one: one.name)
def test_what_is_no_such_picture_is_refused(baseline):
    for wrong in (np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 3), np.float32)):
        with pytest.raises(DataError, match="expected"):
            baseline(wrong)


def test_the_formulas():
    image = dark_picture()
    np.testing.assert_array_equal(Identity()(image), image)
    np.testing.assert_allclose(Gamma(0.5)(image), np.sqrt(image.astype(np.float64)), atol=1e-6)
    expected = np.log1p(200 * image.astype(np.float64)) / np.log(201)
    np.testing.assert_allclose(LogMap()(image), expected, atol=1e-6)
    assert LogMap()(np.ones((1, 1, 3), np.float32)).max() == pytest.approx(1)


@pytest.mark.parametrize("wrong", [lambda: Gamma(0), lambda: LogMap(-1), lambda: Clahe(0), lambda: Clahe(2, 0)])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        wrong()


def test_equalisation_spreads_lightness_over_its_whole_range():
    from skimage.color import rgb2lab

    made = HistogramEqualisation()(np.repeat(dark_picture()[..., :1], 3, axis=2))
    lightness = rgb2lab(made)[..., 0]
    found = np.quantile(lightness, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found, [0, 25, 50, 75, 100], atol=1.5)


def test_a_tone_curve_is_the_best_rising_curve():
    levels = np.arange(256) / 255
    truth = np.clip(1.5 * levels**0.6, 0, 1)
    generator = np.random.default_rng(0)
    dark = (generator.integers(0, 120, (30, 40, 3)) / 255).astype(np.float32)
    noise = generator.normal(0, 0.05, dark.shape)
    true = (truth[np.rint(dark * 255).astype(int)] + noise).astype(np.float32)
    curve = ToneCurve.fit([(dark, true)])
    assert (np.diff(curve.levels[0]) >= 0).all()
    np.testing.assert_allclose(curve.levels[0, :118], np.minimum(truth[:118], 1), atol=0.05)
    assert curve.levels[0, 255] == 1
    own = ((curve(dark) - true) ** 2).mean()
    for other in (
        np.clip(truth, 0, 1),
        levels**0.5,
        np.maximum.accumulate(np.clip(curve.levels[0] + generator.normal(0, 0.01, 256), 0, 1)),
    ):
        assert own <= ((ToneCurve(other[None])(dark) - true) ** 2).mean()


def test_a_curve_for_each_channel_learns_a_cast_that_a_common_one_cannot():
    dark = dark_picture()
    true = np.clip(dark * np.array([4, 3, 2], np.float32), 0, 1)
    common, each = ToneCurve.fit([(dark, true)]), ToneCurve.fit([(dark, true)], per_channel=True)
    assert common.levels.shape == (1, 256)
    assert each.levels.shape == (3, 256)
    assert ((each(dark) - true) ** 2).mean() < 0.05 * ((common(dark) - true) ** 2).mean()
    grey = np.full((2, 2, 3), 0.1, np.float32)
    assert np.ptp(common(grey), axis=-1).max() == 0


def test_the_curve_has_no_steps_of_eight_bits():
    fine = np.linspace(0.1, 0.11, 300, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    assert len(np.unique(ToneCurve(np.linspace(0, 1, 256)[None] ** 0.4)(fine))) > 290


def test_curve_and_histogram_come_back_from_their_files(tmp_path):
    pair = (dark_picture(), np.sqrt(dark_picture()))
    curve = ToneCurve.fit([pair, pair], per_channel=True)
    again = ToneCurve.load(curve.save(tmp_path / "curve.json"))
    np.testing.assert_allclose(again.levels, curve.levels, atol=1e-6)
    assert again.num_pairs == 2
    histogram = MeanHistogram.of([pair[1]])
    np.testing.assert_allclose(MeanHistogram.load(histogram.save(tmp_path / "h.json")).shares, histogram.shares, atol=1e-7)


def test_what_is_no_curve_is_refused(tmp_path):
    with pytest.raises(DataError, match="never fall"):
        ToneCurve(np.linspace(1, 0, 256)[None])
    with pytest.raises(DataError, match="expected levels"):
        ToneCurve(np.zeros((2, 256)))
    with pytest.raises(DataError, match="no pairs"):
        ToneCurve.fit([])
    with pytest.raises(DataError, match="one size"):
        ToneCurve.fit([(dark_picture(), dark_picture(size=(20, 20)))])
    with pytest.raises(DataError, match="no such file"):
        ToneCurve.load(tmp_path / "absent.json")
    for text, message in (("{", "JSON"), ("{}", "is no"), ('{"format": "photic tone curve"}', "levels")):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(DataError, match=message):
            ToneCurve.load(tmp_path / "wrong.json")
    with pytest.raises(DataError, match="no pictures"):
        MeanHistogram.of([])


def test_matching_gives_a_picture_the_histogram_it_is_asked_for():
    generator = np.random.default_rng(1)
    target = generator.beta(2, 2, (60, 60, 3)).astype(np.float32)
    made = MeanHistogram.of([target]).matched((generator.random((60, 60, 3)) ** 2).astype(np.float32))
    for channel in range(3):
        shares = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(np.quantile(made[..., channel], shares), np.quantile(target[..., channel], shares), atol=0.02)


def test_matching_and_denoising_leaves_less_noise_than_matching():
    target = np.random.default_rng(1).random((60, 60, 3)).astype(np.float32)
    histogram = MeanHistogram.of([target])
    flat = (0.1 + np.random.default_rng(2).normal(0, 0.004, (40, 40, 3))).astype(np.float32)
    halves = np.concatenate([flat, flat + 0.1], axis=1)
    rough = histogram.matched(halves)
    clean = HistogramMatchDenoised(histogram, strength=30, colour_strength=30)(halves)
    assert clean[5:35, 5:35].std() < 0.8 * rough[5:35, 5:35].std()
