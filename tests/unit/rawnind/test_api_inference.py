"""Denoisers from Python: shapes, colours, tiles, precision, files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch

from photic.apps.rawnind import InferenceConfig, create_bayer_denoiser, create_rgb_denoiser
from photic.apps.rawnind.files.developing import Development, develop
from photic.apps.rawnind.files.reading import read_raw
from photic.core.errors import ConfigError, DataError
from photic.data.photo.files import Photo, read_photo, write_photo

from .api_batches import MATRIX, in_rec2020, packed
from .raws_on_disk import drawn_light, mosaic_of, with_noise, write_dng

NOISE = (1e-3, 1e-5)


def picture(channels: int, height: int = 30, width: int = 44, seed: int = 0) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("unet", {"filter_units": 2}),
        ("utnet2", {"filter_units": 2, "activation": "prelu"}),
        ("utnet3", {"filter_units": 1}),
        ("standard", {"size": "tiny"}),
        ("autoencoder", {"filter_units": 1, "num_latents": 8}),
        ("identity", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_architecture_makes_three_colours_at_each_pixel_of_any_size(architecture, options):
    bayer, rgb = create_bayer_denoiser(architecture, **options), create_rgb_denoiser(architecture, **options)
    for height, width in ((17, 9), (30, 44)):
        assert bayer.denoise(picture(4, height, width)).shape == (3, 2 * height, 2 * width)
        assert rgb.denoise(picture(3, height, width)).shape == (3, height, width)
    many = bayer.denoise_batch(torch.stack([picture(4, seed=1), picture(4, seed=2)]))
    assert many.shape == (2, 3, 60, 88)
    torch.testing.assert_close(many[1], bayer.denoise(picture(4, seed=2)))  # as if it were alone
    assert [len(made) for made in rgb.denoise_batch([picture(3), picture(3, 20, 20)])] == [3, 3]


def test_arrays_give_arrays_tensors_give_tensors():
    denoiser = create_rgb_denoiser("unet", filter_units=2)
    given = picture(3)
    made = denoiser.denoise(given.numpy())
    assert isinstance(made, np.ndarray)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, denoiser.denoise(given.double()).numpy())
    assert isinstance(denoiser.denoise_batch(given.numpy()[None]), np.ndarray)


def test_a_config_object_makes_the_same_as_arguments():
    config = InferenceConfig(architecture="unet", filter_units=4, enable_preupsampling=True, options={"activation": "prelu"})
    made, same = create_bayer_denoiser(config), create_bayer_denoiser("unet", None, "cpu", 4, True, activation="prelu")
    assert {n: p.shape for n, p in made.model.named_parameters()} == {n: p.shape for n, p in same.model.named_parameters()}
    assert made.model.preupsample
    assert same.config == config
    assert create_rgb_denoiser(InferenceConfig(architecture="identity")).architecture == "identity"
    with pytest.raises(ConfigError, match="filter_units: give it in the InferenceConfig"):
        create_bayer_denoiser(config, filter_units=8)


def test_what_cannot_be_had_is_refused():
    with pytest.raises(ConfigError, match="unknown option 'activatio'; did you mean 'activation'"):
        create_bayer_denoiser("unet", activatio="prelu")
    with pytest.raises(ConfigError, match="enable_preupsampling: 'standard' has no pre-upsampling"):
        create_bayer_denoiser("standard", enable_preupsampling=True)
    with pytest.raises(ConfigError, match="unknown architecture 'utnet4'; did you mean"):
        create_rgb_denoiser("utnet4")
    denoiser = create_bayer_denoiser("identity")
    with pytest.raises(DataError, match=r"expected a picture \(4, H, W\), got \(3, 30, 44\)"):
        denoiser.denoise(picture(3))
    with pytest.raises(DataError, match="expected finite values"):
        denoiser.denoise(torch.full((4, 8, 8), math.nan))
    with pytest.raises(DataError, match="expected floats, black at 0 and white at 1, got uint16"):
        denoiser.denoise(np.zeros((4, 8, 8), np.uint16))
    with pytest.raises(DataError, match="got none"):
        denoiser.denoise_batch([])
    with pytest.raises(ConfigError, match="balance: expected three finite factors above 0"):
        denoiser.denoise(picture(4), balance=(1, 1, -1))


def test_denoise_bayer_gives_linear_rec2020_by_the_inverse_of_the_matrix():
    denoiser = create_bayer_denoiser("standard", size="tiny")
    bayer = picture(4)
    white = MATRIX.double().numpy() @ np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    camera = denoiser.denoise(bayer, noise=NOISE, balance=white[1] / white)
    made = denoiser.denoise_bayer(bayer, MATRIX, noise=NOISE)
    torch.testing.assert_close(made.double(), in_rec2020(camera[None], MATRIX[None])[0], rtol=2e-4, atol=2e-4)
    four = torch.cat([MATRIX, torch.zeros(1, 3)])  # as LibRaw has it
    np.testing.assert_allclose(denoiser.denoise_bayer(bayer.numpy(), four.numpy(), noise=NOISE), made.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="invertible"):
        denoiser.denoise_bayer(bayer, np.zeros((3, 3)))


def test_demosaic_fn_fills_in_what_the_sensor_did_not_see_and_keeps_what_it_saw():
    smooth = torch.linspace(0.1, 0.8, 40).view(1, 1, 1, 40).expand(1, 3, 24, 40) * torch.tensor([0.6, 1.0, 0.8]).view(1, 3, 1, 1)
    denoiser = create_bayer_denoiser("identity")
    made = denoiser.demosaic_fn(packed(smooth)[0])
    assert made.shape == (3, 24, 40)
    torch.testing.assert_close(packed(made[None]), packed(smooth))
    torch.testing.assert_close(made[:, 4:-4, 4:-4], smooth[0, :, 4:-4, 4:-4], atol=0.03, rtol=0)
    torch.testing.assert_close(denoiser.denoise(packed(smooth)[0]), made)  # what identity leaves
    assert denoiser.demosaic_fn(packed(smooth).numpy()).shape == (1, 3, 24, 40)


@pytest.mark.parametrize(
    ("architecture", "options", "overlap"),
    [("standard", {"size": "tiny"}, None), ("unet", {"filter_units": 2}, 460)],  # a U-Net's reach, since its weights are drawn here
    ids=["standard", "unet"],
)
def test_tiles_make_no_difference(architecture, options, overlap):
    whole = create_bayer_denoiser(architecture, **options)
    bayer = picture(4, 60, 500)
    tiled = create_bayer_denoiser(architecture, **options, tile_size=64, tile_overlap=overlap)
    tiled.model.load_state_dict(whole.model.state_dict())
    assert tiled._tile_px(tiled._picture(bayer.numpy())) < 1000  # several tiles, and as large as the network needs
    torch.testing.assert_close(tiled.denoise(bayer, noise=NOISE), whole.denoise(bayer, noise=NOISE), atol=1e-3, rtol=0)


def test_half_precision_is_near_and_fp16_is_for_gpus():
    torch.manual_seed(0)
    full = create_rgb_denoiser("unet", filter_units=2)
    half = create_rgb_denoiser("unet", filter_units=2, precision="bfloat16")
    half.model.load_state_dict(full.model.state_dict())
    exact = full.denoise(picture(3))
    difference = (exact - half.denoise(picture(3))).abs().max()
    assert 0 < difference < 0.05 * exact.abs().max()  # eight bits, through twenty layers
    with pytest.raises(ConfigError, match="fp16 is for GPUs"):
        create_rgb_denoiser("unet", filter_units=2, precision="float16").denoise(picture(3))


def test_noise_is_told_estimated_or_not_heeded():
    clean = torch.linspace(0.1, 0.8, 256).view(1, 1, 256).expand(4, 256, 256)
    noisy = clean + torch.sqrt(1e-3 * clean + 1e-5) * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    denoiser = create_bayer_denoiser("standard", size="tiny")
    denoiser.denoise(noisy)
    assert denoiser.noise_used is not None
    assert denoiser.noise_used.a == pytest.approx(1e-3, rel=0.15)
    given = denoiser.denoise(noisy, noise=(0.5, 0.1))
    assert denoiser.noise_used.values == (0.5, 0.1)
    assert not torch.equal(given, denoiser.denoise(noisy))
    denoiser.denoise(picture(4, 4, 4))
    assert "ISO 1600" in denoiser.noise_used.origin  # too small to tell
    blind = create_bayer_denoiser("unet", filter_units=2)
    blind.denoise(noisy)
    assert blind.noise_used is None
    assert torch.equal(denoiser.denoise(noisy, strength=0.0), denoiser.demosaic_fn(noisy))


@pytest.fixture(scope="module")
def raw_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mosaic = with_noise(mosaic_of(drawn_light(0, 96, 128), "GBRG"), 1, 1e-4, 1e-6)
    return write_dng(tmp_path_factory.mktemp("raw") / "photo.dng", mosaic, order="GBRG")


def test_a_raw_file_is_developed_and_written(raw_file, tmp_path):
    denoiser = create_bayer_denoiser("identity")
    made = denoiser.denoise_from_file(raw_file, tmp_path / "out.exr")
    assert made.shape == (3, 96, 128)
    expected = develop(read_raw(raw_file), Development(demosaic="malvar"))
    np.testing.assert_allclose(made.permute(1, 2, 0).numpy(), expected, atol=2e-3)
    with OpenEXR.File(str(tmp_path / "out.exr")) as file:
        np.testing.assert_allclose(file.channels()["RGB"].pixels, made.permute(1, 2, 0).numpy(), atol=1e-3)
    denoiser.denoise_from_file(raw_file, tmp_path / "out.dng")
    again = read_raw(tmp_path / "out.dng")
    assert again.pattern is None
    with pytest.raises(ConfigError, match="is there already"):
        denoiser.denoise_from_file(raw_file, tmp_path / "out.exr")
    rgb = create_rgb_denoiser("identity").denoise_from_file(raw_file)  # demosaiced, then denoised
    torch.testing.assert_close(rgb, made, atol=1e-3, rtol=0)


def test_a_photograph_keeps_its_kind(tmp_path):
    pixels = (255 * drawn_light(1, 40, 50)).astype(np.uint8)
    write_photo(tmp_path / "photo.png", Photo(pixels))
    denoiser = create_rgb_denoiser("identity")
    made = denoiser.denoise_from_file(tmp_path / "photo.png", tmp_path / "out.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png").pixels, pixels)
    np.testing.assert_allclose(made.permute(1, 2, 0).numpy(), pixels / 255, atol=1e-3)
    with pytest.raises(DataError, match="three colours at each pixel"):
        create_bayer_denoiser("identity").denoise_from_file(tmp_path / "photo.png")
    with pytest.raises(DataError, match=r"missing.png"):
        denoiser.denoise_from_file(tmp_path / "missing.png")
