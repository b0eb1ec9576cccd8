"""Development: white balance, colour, highlights, bands; against plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from photic.apps.rawnind.files.bands import bands_of, checked, gathered, regrouped, upright
from photic.apps.rawnind.files.developing import Developer, Development, balance_of, camera_bands, develop, encoded, full_level
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import BAYER, XTRANS, cfa_planes
from photic.functional.demosaic import malvar
from photic.functional.raw_colour import REC2020_TO_SRGB, REC2020_TO_XYZ
from photic.functional.ssim import ssim

from .dng_files import MATRIX, mosaicked, scene

BALANCE = np.array([2.0, 1.0, 1.6])


def raw(values: np.ndarray, pattern: object = None, **more: object) -> RawPicture:
    known = {"xyz_to_camera": MATRIX, "white_balance": BALANCE} | more
    return RawPicture(values.astype(np.float32), pattern, **known)


def by_hand(camera: np.ndarray, balance: np.ndarray) -> np.ndarray:
    """White balance, then the matrix whose rows, from Rec.2020 to the camera, sum to one, inverted; in float64."""
    to_camera = MATRIX @ REC2020_TO_XYZ
    to_camera = to_camera / to_camera.sum(axis=1, keepdims=True)
    return np.minimum(camera * balance / balance.min(), 1) @ np.linalg.inv(to_camera).T


def test_colours_are_those_of_a_plain_calculation():
    camera = scene(20, 30)
    np.testing.assert_allclose(develop(raw(camera)), by_hand(camera, BALANCE), atol=2e-6)
    srgb = develop(raw(camera), Development(space="srgb", exposure_ev=-1))
    np.testing.assert_allclose(srgb, 0.5 * by_hand(camera, BALANCE) @ REC2020_TO_SRGB.T, atol=2e-6)


@pytest.mark.parametrize("balance", [(2.0, 1.0, 1.6), (0.8, 1.0, 3.0)])
@pytest.mark.parametrize("space", ["rec2020", "srgb"])
def test_what_the_balance_makes_equal_is_grey_and_full_pixels_are_white(balance, space):
    camera = np.linspace(0.01, 0.3, 12)[:, None, None] / np.array(balance)
    made = develop(raw(np.broadcast_to(camera, (12, 4, 3))), Development(space=space, white_balance=balance))
    assert np.ptp(made, axis=2).max() < 1e-6
    full = develop(raw(np.full((2, 2, 3), 1.05)), Development(space=space, white_balance=balance))
    np.testing.assert_allclose(full, 1, atol=1e-6)


def test_daylight_is_grey_by_the_matrix():
    white = MATRIX @ np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    for picture in (raw(np.tile(0.2 * white, (2, 2, 1)), white_balance=None), raw(np.tile(0.2 * white, (2, 2, 1)))):
        made = develop(picture, Development(white_balance="daylight"))
        assert np.ptp(made, axis=2).max() < 1e-6
    np.testing.assert_allclose(balance_of(raw(np.zeros((2, 2, 3)), white_balance=None), "as-shot"), white[1] / white)


def test_clipped_highlights_are_neutral_unless_they_are_kept():
    camera = np.ones((4, 4, 3))
    assert np.ptp(develop(raw(camera)), axis=2).max() < 1e-6
    kept = develop(raw(camera), Development(highlights="keep"))
    assert kept[0, 0, 0] > 1.2 > kept[0, 0, 1]  # magenta, as measured


def test_a_sensor_that_is_full_below_white_still_makes_white():
    generator = np.random.default_rng(0)
    light = np.clip(mosaicked(scene(60, 60) * 3, BAYER["RGGB"]), 0, 0.85) + generator.normal(0, 1e-4, (60, 60))
    picture = raw(light, BAYER["RGGB"])
    assert full_level(picture) == pytest.approx(0.84, abs=0.012)  # nearly all full pixels count
    assert full_level(raw(mosaicked(scene(60, 60), BAYER["RGGB"]), BAYER["RGGB"])) == 1
    made = develop(picture, Development(demosaic="malvar"))
    full = (light > 0.84).reshape(30, 2, 30, 2).all((1, 3)).repeat(2, 0).repeat(2, 1)
    inner = full[2:-2, 2:-2] & full[4:, 2:-2] & full[:-4, 2:-2] & full[2:-2, 4:] & full[2:-2, :-4]
    assert inner.sum() > 50
    np.testing.assert_allclose(made[2:-2, 2:-2][inner], 1, atol=2e-3)


def test_values_below_black_stay_negative():
    made = develop(raw(np.full((4, 4, 3), -0.01)))
    assert (made < 0).all()


@pytest.mark.parametrize("name", list(BAYER))
def test_every_order_of_a_mosaic_gives_the_same_picture(name):
    light = scene(64, 72)
    made = develop(raw(mosaicked(light, BAYER[name]), BAYER[name]), Development(demosaic="malvar"))
    error = (made - by_hand(light, BALANCE))[3:-3, 3:-3]  # colours in wrong places make errors of 0.1 and more
    assert np.abs(error).max() < 8e-3
    assert np.sqrt(np.mean(error**2)) < 1e-3


def test_an_x_trans_mosaic_made_of_a_developed_picture_gives_it_back():
    light = scene(66, 78)
    reference = by_hand(light, BALANCE)
    made = develop(raw(mosaicked(light, XTRANS), XTRANS))
    error = np.sqrt(np.mean((made - reference)[6:-6, 6:-6] ** 2))
    assert error < 3e-3
    pair = [torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None].clamp(0, 1) for picture in (made, reference)]
    assert float(ssim(*pair, data_range=1.0).mean()) > 0.99


def test_bands_are_the_whole(monkeypatch):
    light = scene(401, 30)
    picture = raw(mosaicked(light, BAYER["GRBG"]), BAYER["GRBG"])
    factors = torch.tensor(BALANCE, dtype=torch.float32).view(1, 3, 1, 1)
    planes = cfa_planes(BAYER["GRBG"], 401, 30)[None]
    whole = malvar(torch.from_numpy(picture.values)[None, None] * (planes * factors).sum(1, keepdim=True), planes) / factors
    made = gathered(camera_bands(picture, "malvar"), picture.size)
    np.testing.assert_allclose(made, whole[0].permute(1, 2, 0), atol=1e-6)
    sharp, normal = (gathered(camera_bands(picture, method), picture.size) for method in ("menon", "normalised"))
    assert sharp.shape == normal.shape == (401, 30, 3)
    assert np.abs(sharp - light)[8:-8, 8:-8].mean() < 2e-3


def test_what_cannot_be_is_said():
    light = scene(20, 20)
    with pytest.raises(DataError, match="no colour matrix"):
        develop(raw(light, xyz_to_camera=None))
    with pytest.raises(DataError, match="Bayer patterns only"):
        develop(raw(mosaicked(light, XTRANS), XTRANS), Development(demosaic="menon"))
    with pytest.raises(ConfigError, match="white_balance"):
        Development(white_balance=(1.0, 0.0, 1.0))
    with pytest.raises(ConfigError, match="exposure_ev"):
        Development(exposure_ev=20.0)
    with pytest.raises(ConfigError, match="demosaic"):
        next(camera_bands(raw(mosaicked(light, XTRANS), XTRANS), "magic"))


def test_every_pixel_is_developed_from_itself_alone():
    light = scene(30, 20)
    developer = Developer(raw(light), Development())
    np.testing.assert_allclose(developer.rows(light[10:13].astype(np.float32)), develop(raw(light))[10:13], atol=1e-7)
    assert Developer(replace(raw(light), white_balance=None), Development()).factors[1] == 1


def test_encoding_is_srgb_s_curve_rounded():
    light = np.array([[-0.5, 0.0, 0.002, 0.2140, 1.0, 3.0]], np.float32)
    assert encoded(light, np.uint8).tolist() == [[0, 0, 7, 127, 255, 255]]
    assert encoded(light, np.uint16)[0, 3] == pytest.approx(0.5 * 65535, abs=5)


def test_bands_are_regrouped_turned_and_checked():
    picture = np.arange(7 * 5 * 3).reshape(7, 5, 3)
    assert [len(rows) for rows in regrouped(bands_of(picture, 3), 2)] == [2, 2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(list(regrouped(bands_of(picture, 3), 2))), picture)
    turned = gathered(upright(bands_of(picture, 2), (7, 5), 6), (5, 7))
    np.testing.assert_array_equal(turned, np.rot90(picture, 3))
    for wrong in ([(1, picture)], [(0, picture[:3])], [(0, picture[:, :4])], [(0, picture), (7, picture)]):
        with pytest.raises(DataError, match="bands: expected"):
            list(checked(wrong, (7, 5)))
    with pytest.raises(DataError, match="not finite"):
        list(checked([(0, np.full((7, 5, 3), np.nan))], (7, 5)))
