"""Raw pictures through a denoiser: every pattern, any size, tiles, strength, precision, and what cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from photic.apps.rawnind.denoising import balance_for, denoise, denoised_bands, heeds_noise, layout_of, load_denoiser
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import camera_bands
from photic.core.errors import ConfigError, DataError, UnknownNameError
from photic.functional.cfa import BAYER, RGGB, XTRANS, shifted
from photic.functional.raw_colour import XYZ_TO_SRGB
from photic.models.raw_autoencoder import RawAutoencoderConfig
from photic.models.raw_identity import RawIdentity
from photic.models.standard import StandardConfig
from photic.models.utnet import UTNet2Config

from .denoisers import BALANCE, NOISE, network, noisy, sampled, without_colour

PATTERNS = {**BAYER, "X-Trans": XTRANS, "X-Trans from (2, 3)": shifted(XTRANS, 2, 3)}


@pytest.fixture(scope="module")
def standard():
    return network()


@pytest.fixture(scope="module")
def unet():
    return network(UTNet2Config(width=4))


def reference(net, picture, noise=NOISE):
    """What the network makes of the mosaic continued by NumPy until it begins as networks know it, far enough from the border."""
    period = len(picture.pattern)
    rows, columns = next(
        (y, x) for y in range(period) for x in range(period) if shifted(RGGB if period == 2 else XTRANS, y, x) == picture.pattern
    )
    more = 2 if period == 2 else 6
    top, left = rows and rows + more, columns and columns + more
    values = np.pad(picture.values, ((top, 0), (left, 0)), mode="reflect")
    one_hot = np.eye(3, dtype=np.float32)
    height, width = picture.size
    seen = sampled(np.broadcast_to(np.arange(3), (height, width, 3)), picture.pattern)
    planes = np.pad(one_hot[seen], ((top, 0), (left, 0), (0, 0)), mode="reflect")
    with torch.inference_mode():
        made = net(
            torch.from_numpy(values)[None, None],
            torch.from_numpy(planes).permute(2, 0, 1)[None],
            torch.tensor([noise]),
            torch.from_numpy(BALANCE).float()[None],
        )
    return made[0, :, top:, left:].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_reaches_the_network_in_the_phase_it_knows(standard, name):
    picture = noisy(60, 75, PATTERNS[name])
    made = denoise(standard, picture, NOISE)
    assert made.shape == (60, 75, 3)
    np.testing.assert_allclose(made, reference(standard, picture), atol=1e-6)


@pytest.mark.parametrize("name", BAYER)
def test_networks_of_packed_planes_get_every_order(unet, name):
    picture = noisy(50, 61, BAYER[name])
    np.testing.assert_allclose(denoise(unet, picture, NOISE), reference(unet, picture), atol=1e-6)


@pytest.mark.parametrize("name", PATTERNS)
def test_strength_0_is_the_classical_demosaicer_to_the_bit(standard, name):
    picture = noisy(41, 53, PATTERNS[name])
    classical = gathered(camera_bands(picture, "malvar" if picture.is_bayer else "normalised"), picture.size)
    np.testing.assert_allclose(denoise(standard, picture, NOISE, strength=0), classical, atol=0 if picture.is_bayer else 1e-6)


def test_strengths_between_lie_between_and_grow_evenly(standard):
    picture = noisy()
    plain, half, full = (denoise(standard, picture, NOISE, strength=strength) for strength in (0, 0.5, 1))
    np.testing.assert_allclose(half, (plain + full) / 2, atol=1e-6)
    np.testing.assert_allclose(denoise(standard, picture, NOISE, strength=0.9), plain + 0.9 * (full - plain), atol=1e-6)


def test_above_1_the_network_is_told_more_noise(standard):
    picture = noisy()
    told = denoise(standard, picture, (4 * NOISE[0], 4 * NOISE[1]))
    np.testing.assert_array_equal(denoise(standard, picture, NOISE, strength=2), told)
    assert np.abs(told - denoise(standard, picture, NOISE)).max() > 1e-4


def test_a_network_that_is_not_told_the_noise_cannot_do_more(standard, unet):
    assert heeds_noise(standard)
    assert not heeds_noise(unet)
    with pytest.raises(ConfigError, match="at most 1"):
        denoise(unet, noisy(), NOISE, strength=1.2)
    for strength in (-0.1, 2.1, float("nan")):
        with pytest.raises(ConfigError, match="strength"):
            denoise(standard, noisy(), NOISE, strength=strength)


@pytest.mark.parametrize("name", ["RGGB", "BGGR", "X-Trans from (2, 3)"])
def test_tiles_equal_the_whole(standard, name):
    picture = noisy(290, 330, PATTERNS[name])
    whole = denoise(standard, picture, NOISE, tile_px=2000)
    bands = list(denoised_bands(standard, picture, NOISE, tile_px=192))
    tiled = gathered(bands, picture.size)
    assert len(bands) > 2
    assert np.abs(tiled - whole).max() < 1e-4
    noise = np.abs(whole - denoise(standard, picture, NOISE, strength=0)).max()
    assert noise > 0.01  # there is something to differ


def test_tiles_of_demosaicing_alone_are_exact_for_every_pattern():
    for pattern in PATTERNS.values():
        picture = noisy(100, 90, pattern)
        whole = denoise(RawIdentity(), picture, NOISE, tile_px=500)
        np.testing.assert_allclose(denoise(RawIdentity(), picture, NOISE, tile_px=48), whole, atol=1e-6)


def test_networks_of_which_nothing_is_known_get_all_they_look_at():
    net = RawAutoencoderConfig(width=4, num_latents=4).build()
    layout = layout_of(net, RGGB)
    assert layout.margin == net.margin_px
    assert layout.overlap >= 2 * net.margin_px
    assert layout.tile % layout.align == layout.overlap % layout.align == 0


def test_tiles_start_in_phase_with_strides_and_mosaic(standard, unet):
    assert layout_of(standard, XTRANS).align == 48
    assert layout_of(unet, RGGB).align == 32
    assert layout_of(RawIdentity(), XTRANS).align == 6
    with pytest.raises(ConfigError, match="at least"):
        layout_of(standard, RGGB, 100)


def test_progress_counts_every_pixel_once(standard):
    counted = []
    denoise(standard, noisy(290, 95, BAYER["GBRG"]), NOISE, tile_px=192, advance=counted.append)
    assert sum(counted) == 290 * 95
    assert len(counted) > 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (9, 5)])
@pytest.mark.parametrize("name", ["RGGB", "BGGR", "X-Trans from (2, 3)"])
def test_sensors_smaller_than_anything(standard, size, name):
    made = denoise(standard, noisy(*size, PATTERNS[name]), NOISE)
    assert made.shape == (*size, 3)
    assert np.isfinite(made).all()


def test_linear_rgb_for_networks_of_rgb_and_mosaics_demosaiced():
    net = network(StandardConfig(size="tiny", measurement="rgb"))
    made = denoise(net, noisy(60, 50, None), NOISE)
    assert made.shape == (60, 50, 3)
    picture = noisy(60, 50, BAYER["GRBG"])
    plain = denoise(net, picture, NOISE, strength=0)
    np.testing.assert_allclose(denoise(net, picture, NOISE), denoise(net, replace(picture, values=plain, pattern=None), NOISE), atol=1e-5)


def test_pictures_that_a_network_cannot_take_are_refused(standard, unet):
    with pytest.raises(DataError, match=r"X-Trans.*Bayer mosaics only"):
        denoise(unet, noisy(30, 30, XTRANS), NOISE)
    with pytest.raises(DataError, match="measurement=rgb"):
        denoise(standard, noisy(30, 30, None), NOISE)
    for noise in ((-1e-3, 0.0), (float("nan"), 0.0)):
        with pytest.raises(ConfigError, match="noise"):
            denoise(standard, noisy(), noise)


def test_values_that_are_not_finite_are_named(standard):
    picture = noisy()
    picture.values[3, 4] = np.nan
    with pytest.raises(DataError, match="not finite"):
        denoise(standard, picture, NOISE)


def test_all_black_and_all_clipped_pictures_stay_as_they_are(standard):
    for level in (0.0, 1.0):
        picture = replace(noisy(), values=np.full((70, 90), level, np.float32))
        made = denoise(standard, picture, NOISE)
        assert np.abs(made - level).max() < 0.05
        assert np.abs(made.mean((0, 1)) - level).max() < 2e-3


def test_half_precision_is_near_and_refused_where_it_is_slow(standard):
    picture = noisy()
    full, half = (denoise(standard, picture, NOISE, precision=kind) for kind in ("fp32", "bf16"))
    assert 0 < np.abs(full - half).max() < 5e-3
    with pytest.raises(ConfigError, match="bf16"):
        denoise(standard, picture, NOISE, precision="fp16")


class _Overflowing(RawIdentity):
    def restore(self, measurement, planes, noise, balance):
        made = super().restore(measurement, planes, noise, balance)
        return made * float("inf") if torch.is_autocast_enabled("cpu") else made


def test_tiles_that_overflow_in_half_precision_are_made_again():
    picture = noisy()
    with pytest.warns(UserWarning, match="fp32"):
        made = denoise(_Overflowing(), picture, NOISE, precision="bf16")
    np.testing.assert_array_equal(made, denoise(RawIdentity(), picture, NOISE))


def test_balance_is_the_cameras_else_daylights_else_none():
    picture = noisy()
    np.testing.assert_array_equal(balance_for(picture), BALANCE)
    np.testing.assert_allclose(balance_for(replace(picture, white_balance=None)), BALANCE, rtol=1e-9)  # the matrix is sRGB's over it
    np.testing.assert_array_equal(balance_for(without_colour(picture)), np.ones(3))
    assert XYZ_TO_SRGB.shape == (3, 3)


def test_models_that_are_not_there_are_said():
    with pytest.raises(UnknownNameError, match="no such"):
        load_denoiser("nothing-of-this-name")
