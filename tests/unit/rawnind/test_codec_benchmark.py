"""What a benchmark of codecs measures: codecs at their settings, pictures at levels of noise, points of rate and quality."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from photic.apps.rawnind.codec_benchmark.codecs import ANCHOR, CODECS, USUAL, codecs_of
from photic.apps.rawnind.codec_benchmark.rate_distortion import measure, methods_of, num_codings, sources_of
from photic.apps.rawnind.codec_benchmark.scenes import CLASSICAL, SceneMaker, level_of_iso, level_of_noise
from photic.apps.rawnind.files.developing import Development, develop
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.core.errors import DataError, UnknownNameError
from photic.functional.colour import linear_to_srgb
from photic.functional.ssim import ms_ssim

from .denoisers import network
from .raws_on_disk import drawn_light, mosaic_of, with_noise, write_dng


def srgb(height=176, width=192, seed=3):
    """A drawn scene as it is shown, ``(H, W, 3)``."""
    return linear_to_srgb(torch.from_numpy(draw_scene(seed, 0, height, width))).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photograph without loss and a raw file."""
    place = tmp_path_factory.mktemp("pictures")
    Image.fromarray((srgb() * 255).round().astype(np.uint8)).save(place / "drawn.png")
    write_dng(place / "raw.dng", with_noise(mosaic_of(drawn_light(1, 344, 352), "GBRG"), 0, 1e-5, 1e-8), order="GBRG")
    return place


class HalfSize:
    """A compressor for tests: cells of the mosaic as one pixel, rounded to steps, deflated."""

    label, how, qualities = "half size", "cells, deflated", (1.0, 2.0, 3.0)

    def __init__(self):
        self.told = []

    def coded(self, picture, quality, noise):
        self.told.append(noise)
        cells = picture.in_rggb_order().values
        colours = np.stack([cells[::2, ::2], (cells[::2, 1::2] + cells[1::2, ::2]) / 2, cells[1::2, 1::2]], axis=-1)
        whole = np.round(np.clip(colours, 0, 1) ** 0.5 * 16 * 2**quality).astype(np.uint8)
        grown = np.repeat(np.repeat((whole / (16 * 2**quality)) ** 2, 2, axis=0), 2, axis=1)
        return len(zlib.compress(whole.tobytes())), grown.astype(np.float32)


@pytest.mark.parametrize("name", list(CODECS))
def test_more_bits_give_a_better_picture(name):
    codec, picture = CODECS[name], srgb()
    rates, qualities = [], []
    for setting in (codec.ladder[0], codec.ladder[len(codec.ladder) // 2], codec.ladder[-1]):
        data, made = codec.coded(picture, setting)
        assert made.shape == picture.shape and made.dtype == np.float32 and made.min() >= 0 and made.max() <= 1
        rates.append(len(data))
        qualities.append(peak_signal_noise_ratio(picture, made, data_range=1))
    assert rates == sorted(rates) and qualities == sorted(qualities)
    assert qualities[0] > 15 and qualities[-1] > 33 and rates[-1] > 3 * rates[0]


def test_ladders_rise_in_rate():
    picture = srgb()
    for name in USUAL:
        codec = CODECS[name]
        sizes = [len(codec.coded(picture, setting)[0]) for setting in codec.ladder]
        assert sizes[-1] == max(sizes) and sizes[0] <= sizes[len(sizes) // 2], (name, sizes)
        assert len(codec.ladder) >= 8


def test_a_file_is_what_another_program_reads():
    data, made = CODECS["webp"].coded(srgb(), 70.0)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "WEBP"
        assert np.array_equal(np.asarray(image.convert("RGB")) / np.float32(255), made)
    with Image.open(io.BytesIO(CODECS["jpeg"].coded(srgb(), 50.0)[0])) as image:
        assert image.layer[0][1:3] == (2, 2)  # 4:2:0
        assert "exif" not in image.info and "icc_profile" not in image.info


def test_sixteen_bits_are_more_than_eight():
    ramp = np.repeat(np.linspace(0.2, 0.21, 256, dtype=np.float32)[None, :, None], 64, axis=0).repeat(3, axis=2)
    errors = [np.abs(CODECS[name].coded(ramp, 0.5)[1] - ramp).mean() for name in ("jpegxl16", "jpegxl")]
    assert errors[0] < errors[1]


def test_names_of_codecs():
    assert [codec.label for codec in codecs_of(["avif", "jpegxl", "avif"])] == ["AVIF", ANCHOR]
    with pytest.raises(UnknownNameError, match="did you mean 'webp'"):
        codecs_of(["wepb"])


def test_a_picture_too_wide_for_a_codec_is_said():
    with pytest.raises(DataError, match=r"WebP at quality 50 cannot code 16400 x 16 pixels.*--max-side"):
        CODECS["webp"].coded(np.zeros((16, 16400, 3), np.float32), 50.0)


def test_raw_files_as_they_are_are_compared_with_their_own_development(folder):
    (scene,) = SceneMaker(max_side_px=256).scenes(folder / "raw.dng", 0)
    assert scene.size == (256, 256) and scene.raw.pattern == ((0, 1), (1, 2)) and scene.raw.exif is None
    whole = linear_to_srgb(torch.from_numpy(develop(read_raw(folder / "raw.dng"), Development(space="srgb"))).clamp(0, 1)).numpy()
    inner = scene.reference[0].permute(1, 2, 0).numpy()[16:-16, 16:-16]
    places = [(top, left) for top in range(30, 80) for left in range(30, 80)]
    errors = [np.abs(whole[top + 16 : top + 240, left + 16 : left + 240] - inner).max() for top, left in places]
    assert min(errors) < 1e-5  # some part of the whole picture, to the pixel
    assert np.array_equal(scene.versions[""], scene.reference[0].permute(1, 2, 0).numpy())
    assert list(scene.versions) == [""]


def test_photographs_as_they_are(folder):
    (scene,) = SceneMaker().scenes(folder / "drawn.png", 0)
    assert scene.size == (176, 192) and scene.raw.is_bayer
    assert np.abs(scene.versions[""] - (srgb() * 255).round() / 255).max() < 0.004
    assert scene.noise is not None and scene.noise[0] < 1e-4
    assert scene.raw.white_balance[0] > 1.3 and scene.raw.white_balance[2] > 1.1  # red and blue are weaker than green on a sensor


def test_noisy_pictures_are_given_to_everybody_alike(folder):
    levels = (level_of_iso(100), level_of_iso(25600), level_of_noise(0.01, 1e-3))
    few, many, given = SceneMaker(levels=levels, denoisers={"net": network()}).scenes(folder / "drawn.png", 0)
    assert [scene.level.name for scene in (few, many, given)] == ["ISO 100", "ISO 25600", "noise 0.01,0.001"]
    assert torch.equal(few.reference, many.reference)
    assert list(many.versions) == ["", CLASSICAL, "net"]
    true = many.reference[0].permute(1, 2, 0).numpy()

    def error(scene, version):
        return np.square(scene.versions[version] - true).mean()

    assert error(few, "") < error(many, "") / 4
    assert error(many, CLASSICAL) < error(many, "") / 2
    assert given.noise == pytest.approx((0.01, 1e-3))
    # what compressors get is what was developed for the others
    shown = many.develop(np.repeat(many.raw.values[..., None], 3, axis=2))
    assert shown.shape == many.reference.shape


def test_against_what_was_measured(folder):
    (scene,) = SceneMaker(levels=(level_of_iso(6400),), against="noisy", classical=False).scenes(folder / "drawn.png", 0)
    assert np.array_equal(scene.reference[0].permute(1, 2, 0).numpy(), scene.versions[""])


def test_pictures_too_small_for_ms_ssim_are_refused(tmp_path):
    Image.fromarray(np.full((160, 400, 3), 90, np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(DataError, match=r"flat.png: 400 x 160 pixels are left.*161"):
        list(SceneMaker().scenes(tmp_path / "flat.png", 0))


def test_points_are_bytes_and_qualities_of_what_was_coded(folder, tmp_path):
    maker = SceneMaker(levels=(level_of_iso(400), level_of_iso(12800)))
    codecs, own, counted, kept = codecs_of(["jpeg", "webp"]), HalfSize(), [], []
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    paths = [folder / "drawn.png", broken]
    found = measure(sources_of(paths, maker, [own], codecs), [own], codecs, workers=2, keep=kept.append, advance=counted.append)
    assert sum(counted) == 2 * num_codings([own], codecs, maker)
    assert [path.name for path, _ in found.failed] == ["broken.png"] and [seen.name for seen in found.pictures] == ["drawn.png"]
    labels = [method.label for method in methods_of([own], codecs, maker)]
    assert labels == ["half size", "JPEG", "WebP", f"{CLASSICAL}, then JPEG"]
    assert list(dict.fromkeys(point.method for point in found.points)) == labels
    assert len(own.told) == 6 and own.told[0][0] < own.told[-1][0]
    noisy = [point for point in found.points if point.level == "ISO 12800" and point.method == "JPEG"]
    assert [point.setting for point in noisy] == list(CODECS["jpeg"].ladder)
    (scene,) = SceneMaker(levels=(level_of_iso(400),)).scenes(paths[0], 0)
    point = next(point for point in found.points if point.level == "ISO 400" and point.method == "JPEG" and point.setting == 80)
    data, made = CODECS["jpeg"].coded(scene.versions[""], 80.0)
    true = scene.reference[0].permute(1, 2, 0).numpy()
    assert (point.num_bytes, point.bpp) == (len(data), 8 * len(data) / (176 * 192))
    assert point.psnr == pytest.approx(peak_signal_noise_ratio(true, made, data_range=1), abs=1e-3)
    tensor = torch.from_numpy(made).permute(2, 0, 1)[None]
    assert point.ms_ssim == pytest.approx(float(ms_ssim(tensor, scene.reference, 1.0)), abs=1e-5)
    first = kept[0]
    assert first.true.shape == (128, 128, 3) and set(first.parts) == {(one.method, one.setting) for one in first.points}
    error = np.square(first.parts["JPEG", 96.0].astype(float) - first.true).mean()
    assert error < np.square(first.parts["JPEG", 4.0].astype(float) - first.true).mean()
    assert all(math.isfinite(point.psnr) for point in found.points)


def test_no_usable_file_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"(?s)no picture could be used.*a.png"):
        measure(sources_of([tmp_path / "a.png"], SceneMaker(), [], codecs_of(["jpeg"])), [], codecs_of(["jpeg"]))


def test_pictures_of_one_name_are_told_apart(folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.png").write_bytes((folder / "drawn.png").read_bytes())
    found = measure(sources_of(sorted(tmp_path.glob("*/same.png")), SceneMaker(), [HalfSize()], []), [HalfSize()], [])
    assert len({seen.name for seen in found.pictures}) == 2
