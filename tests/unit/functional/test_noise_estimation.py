"""Noise from the picture alone: known noise on pictures with texture, all patterns and sizes, clipping, and honest doubts."""

from __future__ import annotations

import tracemalloc
from functools import cache

import numpy as np
import pytest

from photic.core.errors import DataError
from photic.functional.cfa import BAYER, RGGB, XTRANS, shifted
from photic.functional.noise_estimation import estimate_noise


@cache
def scene(height, width, seed=0):
    """Discs of many sizes and brightnesses over each other, a third of them with texture: like photographs; ``(H, W, 3)``."""
    rng = np.random.default_rng(seed)
    picture = np.broadcast_to(0.1 + 0.5 * np.arange(width) / width, (height, width)).copy()
    grain = rng.normal(size=(height // 2 + 1, width // 2 + 1)).repeat(2, 0).repeat(2, 1)
    for _ in range(90):
        radius = min(max(height, width) * 0.02 / rng.uniform(0.08, 1), 120)
        y0, x0 = rng.uniform(0, height), rng.uniform(0, width)
        rows, columns = (slice(max(0, int(middle - radius)), int(middle + radius) + 1) for middle in (y0, x0))
        part = picture[rows, columns]
        y, x = np.mgrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
        level = rng.uniform(0.01, 0.95) ** 1.5
        own = 0.15 * grain[: part.shape[0], : part.shape[1]] if rng.uniform() < 0.33 else 0.1 * np.sin((y + 2 * x) / radius)
        part[...] = np.where(np.hypot(y - y0, x - x0) < radius, level * (1 + own), part)
    tint = np.array([0.55, 1.0, 0.7]) * (1 + 0.1 * rng.normal(size=3))
    return np.clip(picture[..., None] * tint, 0, 1)


def seen(picture, pattern, a, b, seed=1):
    height, width = picture.shape[:2]
    if pattern is not None:
        table = np.array(pattern)
        rows, columns = np.arange(height)[:, None] % len(table), np.arange(width) % len(table[0])
        picture = np.take_along_axis(picture, table[rows, columns][..., None], 2)[..., 0]
    noisy = picture + np.sqrt(a * picture + b) * np.random.default_rng(seed).normal(size=picture.shape)
    return np.clip(noisy, -0.03, 1).astype(np.float32), picture


def off(found, true, picture):
    """Largest ratio of standard deviations, either way, between dark and bright places of the picture."""
    levels = np.quantile(picture, [0.1, 0.5, 0.9])
    ratio = np.sqrt((found.a * levels + found.b) / (true[0] * levels + true[1]))
    return float(np.maximum(ratio, 1 / ratio).max())


@pytest.mark.parametrize("pattern", [RGGB, BAYER["GBRG"], None])
@pytest.mark.parametrize(("a", "b"), [(1e-5, 1e-9), (1e-4, 1e-5), (1e-3, 1e-7), (1e-2, 1e-3)])
def test_known_noise_over_three_decades_is_found(pattern, a, b):
    noisy, clean = seen(scene(384, 416), pattern, a, b)
    found = estimate_noise(noisy, pattern)
    assert off(found, (a, b), clean) < 1.2
    assert found.reliable and not found.note and found.num_blocks > 50
    assert tuple(found) == (found.a, found.b)


@pytest.mark.parametrize("phase", [(0, 0), (1, 4), (2, 3)])
@pytest.mark.parametrize("a", [1e-4, 1e-3, 1e-2])
def test_x_trans_at_any_phase(phase, a):
    pattern = shifted(XTRANS, *phase)
    noisy, clean = seen(scene(512, 512, 2), pattern, a, a * 0.01)
    assert off(estimate_noise(noisy, pattern), (a, a * 0.01), clean) < 1.3


@pytest.mark.parametrize("seed", range(4))
def test_a_small_picture_is_enough(seed):
    noisy, clean = seen(scene(256, 256, seed), RGGB, 1e-3, 1e-5)
    assert off(estimate_noise(noisy, RGGB), (1e-3, 1e-5), clean) < 1.25


def test_noise_of_electronics_alone_and_of_light_alone():
    for a, b in ((0.0, 1e-4), (2e-3, 0.0)):
        noisy, clean = seen(scene(384, 384, 1), RGGB, a, b)
        assert off(estimate_noise(noisy, RGGB), (a, b + 1e-12), clean) < 1.2


def test_what_is_clipped_does_not_count():
    """Half the picture blown out, a quarter cut off at black: both look noiseless."""
    picture = scene(384, 512, 3).copy()
    picture[:, :200] = 1.5
    picture[:100, 200:] = 0
    noisy = seen(picture, RGGB, 1e-3, 1e-4)[0].clip(0, 1)
    found = estimate_noise(noisy, RGGB)
    assert off(found, (1e-3, 1e-4), scene(384, 512, 3)) < 1.25


def test_a_few_dead_and_hot_pixels_change_nothing():
    noisy, _ = seen(scene(384, 384), RGGB, 1e-3, 1e-5)
    bad = noisy.copy()
    places = np.random.default_rng(5).integers(0, 384, (2, 60))
    bad[tuple(places)] = np.repeat([-0.03, 0.9], 30)
    before, after = estimate_noise(noisy, RGGB), estimate_noise(bad, RGGB)
    assert after.a == pytest.approx(before.a, rel=0.1)


def test_texture_everywhere_is_said_to_be_an_upper_bound():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    fy, fx, strength = (rng.uniform(*ends, (11, 11)).repeat(24, 0).repeat(24, 1)[:256, :256] for ends in ((0, 3), (0, 3), (0.05, 0.3)))
    texture = (0.5 + 0.4 * np.sin(x / 50)) * (1 + strength * np.sin(fy * y + fx * x))
    with pytest.warns(UserWarning, match="uncertain: hardly any place is flat.*upper bound; give the noise yourself"):
        found = estimate_noise(texture.astype(np.float32), RGGB)
    assert not found.reliable and "upper bound" in found.note


def test_one_brightness_cannot_tell_light_from_electronics_but_its_noise_is_right():
    noisy, _ = seen(np.full((256, 256, 3), 0.4), RGGB, 1e-3, 1e-5)
    with pytest.warns(UserWarning, match="equally bright"):
        found = estimate_noise(noisy, RGGB)
    assert not found.reliable
    assert np.sqrt(found.a * 0.4 + found.b) == pytest.approx(np.sqrt(4.1e-4), rel=0.05)


def test_rounding_to_steps_is_part_of_the_noise():
    noisy, clean = seen(scene(384, 384), RGGB, 1e-4, 1e-6)
    steps = np.round(noisy * 1023) / 1023
    assert off(estimate_noise(steps.astype(np.float32), RGGB), (1e-4, 1e-6 + 1 / 12 / 1023**2), clean) < 1.2


def test_a_large_picture_is_sampled_not_copied():
    tile = seen(scene(384, 384), RGGB, 1e-3, 1e-5)[0]
    large = np.tile(tile, (12, 12))
    tracemalloc.start()
    found = estimate_noise(large, RGGB)
    assert tracemalloc.get_traced_memory()[1] < 90e6  # the blocks it looks at as float64 and their transform; the picture has 85 MB
    tracemalloc.stop()
    assert off(found, (1e-3, 1e-5), tile) < 1.2


def test_what_has_no_estimate_is_refused():
    with pytest.raises(DataError, match="at least 40 blocks.*found 0 of"):
        estimate_noise(np.zeros((256, 256), np.float32), RGGB)
    with pytest.raises(DataError, match="over-exposed"):
        estimate_noise(np.ones((256, 256), np.float32), RGGB)
    for pattern in (RGGB, XTRANS):
        with pytest.raises(DataError, match="too small"):
            estimate_noise(np.full((20, 20), 0.3, np.float32), pattern)
    with pytest.raises(DataError, match="finite"):
        estimate_noise(np.full((256, 256), np.nan, np.float32), RGGB)
    for values, pattern in ((np.zeros((8, 8, 3), np.float32), RGGB), (np.zeros((8, 8), np.float32), None), (np.zeros((8, 8), int), RGGB)):
        with pytest.raises(DataError, match="floats, got"):
            estimate_noise(values, pattern)
    with pytest.raises(DataError, match="Bayer or X-Trans"):
        estimate_noise(np.zeros((90, 90), np.float32), ((0, 1, 2), (1, 2, 0), (2, 0, 1)))
