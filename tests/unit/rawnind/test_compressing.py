"""Raw pictures into .phc files and back: every order of mosaics, any size, windows, bands, regions, and what cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from photic.apps.rawnind.compressing import decoding, encoding
from photic.apps.rawnind.compressing.container import read_header
from photic.apps.rawnind.compressing.decoding import Decoder, decoded_latents, decompress_picture, decompressed_bands
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor, prepare
from photic.apps.rawnind.compressing.picture_facts import picture_of
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import camera_bands, full_level
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.files.writing import write_developed
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import BitstreamError, ConfigError, DataError
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag
from photic.functional.cfa import BAYER, XTRANS
from photic.inference.bundle import write_bundle
from photic.inference.description import describe

from .compressors import DEMOSAICED, FACTORIZED, PRIORS, TINY, TINY_RGB, TWO_STEPS, loaded_compressor, whole
from .denoisers import NOISE, loaded, noisy, without_colour

SAME = 1e-6  # of white


@pytest.fixture(scope="module")
def model():
    return loaded_compressor()


@pytest.fixture(scope="module")
def rgb_model():
    return loaded_compressor(TINY_RGB)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    assert first.shape == second.shape
    return float(np.abs(first - second).max())


@pytest.mark.parametrize(
    ("order", "size", "quality"), [("RGGB", (64, 96), 3), ("GBRG", (70, 91), 1), ("GRBG", (31, 50), 2.25), ("BGGR", (8, 9), 3)]
)
def test_decompressed_is_the_networks_own_reconstruction_of_the_whole_picture(model, order, size, quality):
    picture = noisy(*size, BAYER[order])
    data = compress_picture(model, picture, quality=quality, noise=NOISE)
    decompressed = decompress_picture(model, data)
    expected, coded = whole(model.task.network, picture, quality)
    assert decompressed.size == picture.size
    assert decompressed.pattern is None
    assert difference(decompressed.values, expected) <= SAME
    assert torch.equal(decoded_latents(model, data), coded.latents[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (33, 1)])
def test_tiny_pictures_keep_their_size(model, size):
    values = np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(size)
    for pattern in BAYER.values():
        data = compress_picture(model, RawPicture(values, pattern), noise=NOISE)
        assert decompress_picture(model, data).size == size == read_header(data).size


def test_rgb_pictures(rgb_model):
    picture = noisy(45, 60, None)
    data = compress_picture(rgb_model, picture)
    expected, _ = whole(rgb_model.task.network, picture, 1)
    assert difference(decompress_picture(rgb_model, data).values, expected) <= SAME
    assert read_header(data).layout.original == "RGB"
    assert read_header(data).layout.lead == (0, 0)


@pytest.mark.parametrize("pattern", [BAYER["GRBG"], XTRANS])
def test_mosaics_are_demosaiced_for_a_network_of_rgb(rgb_model, pattern, monkeypatch):
    monkeypatch.setattr(encoding, "WINDOW_PX", 32)  # demosaiced window by window
    picture = noisy(70, 54, pattern)
    data = compress_picture(rgb_model, picture, noise=NOISE)
    plain = gathered(camera_bands(picture), picture.size)
    expected, _ = whole(rgb_model.task.network, replace(picture, values=plain, pattern=None), 1)
    decompressed = decompress_picture(rgb_model, data)
    assert difference(decompressed.values, expected) <= 1e-5
    assert "demosaiced" in decompressed.notes[0]
    header = read_header(data)
    assert header.layout.demosaiced
    assert header.layout.original == ("GRBG" if pattern is not XTRANS else "mosaic")


def test_windows_and_blocks_give_what_the_whole_gives(model, monkeypatch):
    picture = noisy(150, 170, BAYER["GBRG"])
    data = compress_picture(model, picture, quality=3, noise=NOISE, tile=5)
    decompressed = decompress_picture(model, data).values
    done = []
    monkeypatch.setattr(encoding, "WINDOW_PX", 32)
    in_windows = prepare(model, picture, noise=NOISE).latents(3, done.append)
    assert sum(done) == 150 * 170
    assert len(done) > 20
    assert torch.allclose(in_windows, whole(model.task.network, picture, 3)[1].analysed[0], atol=1e-4)
    monkeypatch.setattr(decoding, "BLOCK_PX", 24)
    assert difference(decompress_picture(model, data).values, decompressed) <= SAME


@pytest.mark.parametrize("config", [FACTORIZED, PRIORS, TWO_STEPS, DEMOSAICED], ids=lambda config: type(config).__name__)
def test_every_kind_of_network_makes_files(config, monkeypatch):
    model, picture = loaded_compressor(config), noisy(90, 110, BAYER["GBRG"])
    data = compress_picture(model, picture, noise=NOISE, tile=4)
    expected, coded = whole(model.task.network, picture, 1)
    assert difference(decompress_picture(model, data).values, expected) <= SAME * max(1, np.abs(expected).max())
    assert torch.equal(decoded_latents(model, data), coded.latents[0])
    assert read_header(data).bits["side"] == 0 or config in (TWO_STEPS, DEMOSAICED)
    monkeypatch.setattr(encoding, "WINDOW_PX", 32)
    assert torch.allclose(prepare(model, picture, noise=NOISE).latents(1), coded.analysed[0], atol=1e-3)


@pytest.mark.parametrize("tile", [1, 7, 32, 256])
def test_latents_do_not_depend_on_tiles(model, tile):
    picture = noisy(70, 90)
    expected = whole(model.task.network, picture, 2)[1].latents[0]
    assert torch.equal(decoded_latents(model, compress_picture(model, picture, quality=2, noise=NOISE, tile=tile)), expected)


def test_bands_make_the_picture_and_count_its_pixels(model, monkeypatch):
    picture = noisy(100, 60, BAYER["BGGR"])
    data = compress_picture(model, picture, noise=NOISE)
    expected = decompress_picture(model, data).values
    monkeypatch.setattr(decoding, "BLOCK_PX", 16)
    done, tops = [], []

    def seen():
        for top, band in decompressed_bands(model, data, advance=done.append):
            tops.append(top)
            yield top, band

    assert difference(gathered(seen(), picture.size), expected) <= SAME
    assert len(tops) > 5
    assert sum(done) == 100 * 60


@pytest.mark.parametrize("region", [(0, 0, 100, 130), (0, 0, 1, 1), (99, 129, 1, 1), (13, 77, 40, 31), (64, 0, 36, 130)])
def test_regions_are_cut_from_the_picture(model, region):
    picture = noisy(100, 130, BAYER["GBRG"])
    data = compress_picture(model, picture, noise=NOISE, tile=3)
    top, left, height, width = region
    expected = decompress_picture(model, data).values[top : top + height, left : left + width]
    done = []
    part = decompress_picture(model, data, region=region, advance=done.append)
    assert difference(part.values, expected) <= SAME
    assert sum(done) == height * width
    assert part.camera == picture.camera


def test_a_region_needs_no_tiles_but_its_own(model):
    data = bytearray(compress_picture(model, noisy(160, 160), noise=NOISE, tile=4))
    whole_one = decompress_picture(model, bytes(data)).values
    data[-1] ^= 1  # in the last tile
    part = decompress_picture(model, bytes(data), region=(0, 0, 100, 60))
    assert difference(part.values, whole_one[:100, :60]) <= SAME
    with pytest.raises(BitstreamError, match="tile 24"):
        decompress_picture(model, bytes(data))
    with pytest.raises(BitstreamError, match="tile 24"):
        decompress_picture(model, bytes(data), region=(150, 150, 5, 5))


@pytest.mark.parametrize("region", [(0, 0, 33, 32), (-1, 0, 4, 4), (0, 30, 2, 3), (0, 0, 0, 4)])
def test_regions_beyond_the_picture_are_refused(model, region):
    data = compress_picture(model, noisy(32, 32), noise=NOISE)
    with pytest.raises(ConfigError, match="region: .*picture of 32 x 32"):
        decompressed_bands(model, data, region=region)


@pytest.mark.parametrize(
    ("config", "picture", "slack"), [(TINY, noisy(40, 50), 64), (TINY, noisy(300, 260), 64), (TINY_RGB, noisy(90, 90, None), 64)]
)
def test_files_are_as_large_as_the_network_estimates(config, picture, slack):
    made = loaded_compressor(config)
    for quality in range(1, config.num_qualities + 1):
        data = compress_picture(made, picture, quality=quality, noise=NOISE)
        estimated = sum(float(bits) for bits in whole(made.task.network, picture, quality)[1].bits.values()) / 8
        actual = len(data) - read_header(data).bits["metadata"] / 8
        assert abs(actual - estimated) <= 0.01 * estimated + slack


def test_what_is_known_of_the_picture_comes_back(model, tmp_path):
    block = exif.pack(Directory("<", tags={0x010F: Tag(2, 6, b"Maker\0"), 0x0110: Tag(2, 2, b"5\0")}))
    picture = replace(
        noisy(40, 50),
        exif=block,
        orientation=6,
        exposure_s=1 / 160,
        aperture=6.3,
        black_levels=(127.0, 128.0, 128.0, 128.0),
        white_level=4095.0,
        baseline_exposure_ev=0.35,
        noise=(1e-3, 1e-5),
    )
    picture.values[:8, :8] = 0.91  # full pixels, below white
    data = compress_picture(model, picture, quality=1.23456)
    found = decompress_picture(model, data)
    for name in ("exif", "orientation", "exposure_s", "aperture", "black_levels", "white_level", "baseline_exposure_ev", "camera", "iso"):
        assert getattr(found, name) == getattr(picture, name), name
    assert np.array_equal(found.white_balance, picture.white_balance)
    assert np.allclose(found.xyz_to_camera, picture.xyz_to_camera, rtol=1e-7)
    assert full_level(found) == pytest.approx(full_level(picture), rel=1e-6) == pytest.approx(0.91)
    assert found.noise is None  # that of the original is gone
    header = read_header(data)
    assert header.quality == 1.235
    assert header.facts.noise == (np.float32(1e-3), np.float32(1e-5))
    assert header.model_name == "tiny-0"
    # bands and the header alone are enough for a file, written as the whole picture would be
    for bands, told, name in ((decompressed_bands(model, data), picture_of(header), "bands"), ([(0, found.values)], found, "whole")):
        write_developed(tmp_path / f"{name}.png", (40, 50), bands, told)
    assert (tmp_path / "bands.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_the_network_gets_the_balance_and_noise_of_the_file(model):
    picture = noisy(40, 50)
    assert read_header(compress_picture(model, picture, noise=NOISE)).facts.balance == (2.0, 1.0, 1.5)
    unknown = read_header(compress_picture(model, without_colour(picture), noise=NOISE)).facts
    assert (unknown.balance, unknown.white_balance, unknown.xyz_to_camera) == ((1.0, 1.0, 1.0), None, None)
    daylight = read_header(compress_picture(model, replace(picture, white_balance=None), noise=NOISE)).facts
    assert daylight.white_balance is None
    assert daylight.balance == pytest.approx((2.0, 1.0, 1.5), rel=1e-3)
    assert read_header(compress_picture(model, replace(picture, noise=(0.25, 0.125)))).facts.noise == (0.25, 0.125)


def test_noise_that_nobody_looks_at_is_not_searched_for(rgb_model, model):
    flat = RawPicture(np.full((20, 20, 3), 0.5, np.float32), None)
    assert read_header(compress_picture(rgb_model, flat)).facts.noise == (0.0, 0.0)
    with pytest.raises(DataError, match="--noise"):
        compress_picture(model, RawPicture(np.full((20, 20), 0.5, np.float32), BAYER["RGGB"]))


@pytest.mark.parametrize(
    ("picture", "message"),
    [(noisy(24, 24, XTRANS), "X-Trans.*measurement=rgb"), (noisy(24, 24, None), "three colours at each pixel.*measurement=rgb")],
)
def test_pictures_that_are_none_for_the_network(model, picture, message):
    with pytest.raises(DataError, match=message):
        compress_picture(model, picture, noise=NOISE)


def test_values_and_balances_that_cannot_be(model):
    broken = noisy(24, 24)
    broken.values[3, 3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        compress_picture(model, broken, noise=NOISE)
    with pytest.raises(DataError, match="white balance"):
        compress_picture(model, replace(noisy(24, 24), white_balance=np.array([0.0, 1, 1])), noise=NOISE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 0.5}, "quality: expected 1 .* to 3"),
        ({"quality": 3.1}, "quality"),
        ({"quality": float("nan")}, "quality"),
        ({"tile": 0}, "tile: expected 1 to 256"),
        ({"tile": 257}, "tile"),
        ({"noise": (-1.0, 0.0)}, "noise"),
    ],
)
def test_options_that_cannot_be(model, options, message):
    with pytest.raises(ConfigError, match=message):
        compress_picture(model, noisy(24, 24), **{"noise": NOISE, **options})


def test_a_model_of_one_quality_says_so(rgb_model):
    with pytest.raises(ConfigError, match="one quality"):
        compress_picture(rgb_model, noisy(24, 24, None), quality=2)


def test_another_models_file_names_the_model_it_wants(model, rgb_model):
    data = compress_picture(model, noisy(24, 24), noise=NOISE)
    for other in (loaded_compressor(seed=1), rgb_model):
        with pytest.raises(BitstreamError, match=r"photo\.phc: .*'tiny-0' .[0-9a-f]{24}., this one is 'tiny-.*--model"):
            decompress_picture(other, data, where="photo.phc")


def test_a_model_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a model that compresses"):
        compress_picture(loaded(), noisy(24, 24))
    with pytest.raises(ConfigError, match="expected a model that compresses"):
        load_compressor("rawdenoise", "cpu")


def test_a_bundle_is_loaded_with_its_name_and_tables(model, tmp_path):
    facts = describe({"task": model.task.config.to_dict(), "model": TINY.to_dict(), "data": {"name": "made"}}, {}, "a name")
    path = write_bundle(tmp_path / "tiny.photic", model.task, {**facts, "created": "", "photic": "", "card": ""})
    again = load_compressor(path, "cpu")
    picture = noisy(40, 50)
    data = compress_picture(again, picture, noise=NOISE)
    assert read_header(data).model_name == "a name"
    assert np.array_equal(decompress_picture(model, data).values, decompress_picture(again, data).values)


def test_limits_hold_before_anything_is_made(model):
    data = compress_picture(model, noisy(40, 50), noise=NOISE)
    with pytest.raises(BitstreamError, match="more than the limit"):
        decompress_picture(model, data, max_pixels=1000)


def test_a_decoder_opens_one_file_after_the_other(model):
    decoder = Decoder(model)
    for size in ((24, 24), (30, 41)):
        data = compress_picture(model, noisy(*size), noise=NOISE)
        assert gathered(decoder.open(data).bands(), size).shape == (*size, 3)


@pytest.mark.real
def test_a_camera_file(real_data, model):
    picture = read_raw(real_data / "raw" / "camera" / "canon_kissx4_colorchart.dng").cropped(301, 400, 333, 512)
    data = compress_picture(model, picture, quality=3)
    expected, coded = whole(model.task.network, picture, 3, noise=read_header(data).facts.noise)
    assert difference(decompress_picture(model, data).values, expected) <= SAME
    estimated = sum(float(bits) for bits in coded.bits.values()) / 8
    assert abs(len(data) - read_header(data).bits["metadata"] / 8 - estimated) <= 0.01 * estimated + 64
