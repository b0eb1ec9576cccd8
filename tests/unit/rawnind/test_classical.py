"""The classical chain: better than demosaicing alone where there is noise, no worse where there is none; every pattern, size and band."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.apps.rawnind.evaluating import classical
from photic.apps.rawnind.evaluating.classical import METHODS, classical_denoise
from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes, shifted
from photic.functional.menon import menon

BALANCE = np.array([2.0, 1.0, 1.6])
LOW, MIDDLE, HIGH = (2e-5, 1e-8), (1e-3, 1e-6), (1.5e-2, 3e-4)


def photograph(height=112, width=120):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(float)
    light = 0.35 + 0.2 * np.sin(x / 21) * np.cos(y / 17) + 0.2 / (1 + np.exp(-(0.9 * x + 0.4 * y - 70) / 0.6))
    light += 0.12 * np.sin(2 * np.pi * (x + 0.3 * y) / 6.5) * (y > 70)
    for _ in range(12):
        light += rng.uniform(-0.15, 0.15) / (1 + np.exp((np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height)) - 8) / 0.5))
    tint = np.stack([1 + 0.1 * np.sin(x / 31), np.ones_like(x), 1 + 0.1 * np.cos(y / 29)], axis=-1)
    return np.clip(light[..., None] * tint, 0.01, 0.98) / BALANCE


def measured(picture, pattern, noise, seed=0):
    rng = np.random.default_rng(seed)
    if pattern is not None:
        planes = cfa_planes(pattern, *picture.shape[:2]).numpy()
        picture = (picture * np.moveaxis(planes, 0, -1)).sum(axis=-1)
    return (picture + np.sqrt(noise[0] * picture + noise[1]) * rng.normal(size=picture.shape)).astype(np.float32)


def psnr(found, true):
    inner = (slice(8, -8), slice(8, -8))
    return -10 * np.log10(np.mean(((found - true) * BALANCE)[inner] ** 2))


def denoised(values, pattern, noise, method="both", **more):
    return classical_denoise(values, pattern, noise, method, balance=BALANCE, **more)


@pytest.mark.parametrize(("noise", "gain"), [(LOW, -0.01), (MIDDLE, 2.0), (HIGH, 5.0)])
@pytest.mark.parametrize("method", ["nlm", "dct", "both"])
def test_it_gains_where_there_is_noise_and_loses_nothing_where_there_is_none(noise, gain, method):
    picture = photograph()
    noisy = measured(picture, RGGB, noise)
    plain = denoised(noisy, RGGB, noise, "none")
    assert psnr(denoised(noisy, RGGB, noise, method), picture) > psnr(plain, picture) + gain


def test_without_a_method_or_noise_it_is_the_demosaicer():
    noisy = measured(photograph(), RGGB, MIDDLE)
    planes = cfa_planes(RGGB, *noisy.shape)[None]
    weights = torch.tensor(BALANCE, dtype=torch.float32).view(1, 3, 1, 1)
    expected = menon(torch.from_numpy(noisy)[None, None] * (planes * weights).sum(1, keepdim=True), planes) / weights
    for found in (denoised(noisy, RGGB, MIDDLE, "none"), denoised(noisy, RGGB, (0.0, 0.0))):
        np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), atol=1e-6)
    with_malvar = denoised(noisy, RGGB, MIDDLE, "none", demosaic="malvar")
    assert np.abs(with_malvar - expected[0].permute(1, 2, 0).numpy()).max() > 0.01


@pytest.mark.parametrize("name", BAYER)
def test_every_order_and_odd_sizes(name):
    picture = photograph(71, 83)
    noisy = measured(picture, BAYER[name], HIGH)
    found = denoised(noisy, BAYER[name], HIGH, "dct")
    assert found.shape == (71, 83, 3) and found.dtype == np.float32
    assert psnr(found, picture) > psnr(denoised(noisy, BAYER[name], HIGH, "none"), picture) + 5


@pytest.mark.parametrize("pattern", [XTRANS, shifted(XTRANS, 1, 2), None])
def test_x_trans_and_rgb(pattern):
    picture = photograph()
    noisy = measured(picture, pattern, HIGH)
    assert psnr(denoised(noisy, pattern, HIGH), picture) > psnr(denoised(noisy, pattern, HIGH, "none"), picture) + 4


@pytest.mark.parametrize("pattern", [BAYER["GBRG"], XTRANS, None])
def test_bands_show_nowhere_and_progress_adds_up(pattern, monkeypatch):
    noisy = measured(np.tile(photograph(), (2, 1, 1))[:211], pattern, MIDDLE)
    whole = denoised(noisy, pattern, MIDDLE)
    monkeypatch.setattr(classical, "_BAND_PX", 120 * 50)
    done = []
    banded = denoised(noisy, pattern, MIDDLE, advance=done.append)
    assert len(done) > 3 and sum(done) == 211 * 120
    np.testing.assert_allclose(banded, whole, atol=2e-4)


@pytest.mark.parametrize("level", [0.0, 0.003, 0.05, 0.4, 0.8])
@pytest.mark.parametrize("noise", [MIDDLE, HIGH])
def test_flat_patches_keep_their_level_in_every_channel(level, noise):
    colour = level * np.array([0.5, 1.0, 0.7])
    rng = np.random.default_rng(3)
    planes = np.moveaxis(cfa_planes(RGGB, 192, 192).numpy(), 0, -1)
    mosaic = (planes * colour).sum(-1)
    noisy = noise[0] * rng.poisson(mosaic / noise[0]) + np.sqrt(noise[1]) * rng.normal(size=mosaic.shape)
    found = classical_denoise(noisy.astype(np.float32), RGGB, noise, "dct").mean(axis=(0, 1))
    # The level of what was measured itself is only known to its standard error.
    error = np.sqrt((noise[0] * colour + noise[1]) / (192 * 192 / 4))
    assert (np.abs(found - colour) < 0.01 * colour + 4 * error).all()


def test_what_is_not_possible_is_refused():
    noisy = measured(photograph(32, 32), RGGB, MIDDLE)
    with pytest.raises(ConfigError, match="none, nlm, dct, both.*'bm3d'"):
        denoised(noisy, RGGB, MIDDLE, "bm3d")
    with pytest.raises(ConfigError, match="menon or malvar"):
        denoised(noisy, RGGB, MIDDLE, demosaic="vng")
    for values, pattern in ((noisy, None), (np.zeros((32, 32, 3), np.float32), RGGB), (noisy[:12], RGGB), (noisy.astype(int), RGGB)):
        with pytest.raises(DataError, match="at least 16 x 16"):
            denoised(values, pattern, MIDDLE)
    with pytest.raises(DataError, match="a and b >= 0"):
        denoised(noisy, RGGB, (-1.0, 0.0))
    with pytest.raises(DataError, match="white balance"):
        classical_denoise(noisy, RGGB, MIDDLE, balance=np.array([1.0, 0, 1]))
    noisy[3, 4] = np.nan
    with pytest.raises(DataError, match="finite"):
        denoised(noisy, RGGB, MIDDLE)
    assert set(METHODS) == {"none", "nlm", "dct", "both"}
