"""``photic decompress``: formats, regions, models found by files, folders, damage."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from photic.apps.rawnind.compressing.container import read_header
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.decompress_command import main as decompress
from photic.apps.rawnind.compressing.decompress_command import on_sensor, region_argument
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor
from photic.apps.rawnind.compressing.picture_facts import picture_of
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import Developer, Development, camera_bands, develop, encoded
from photic.apps.rawnind.files.reading import read_raw
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError
from photic.core.plugins import Plugin, installed_plugins
from photic.data.photo.files import read_photo, turned
from photic.functional.cfa import BAYER

from .compressor_files import SIZE, names, write_model, write_sources
from .denoisers import noisy

NOISE = (1e-3, 1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model, another one, and compressed pictures."""
    made = tmp_path_factory.mktemp("decompressing")
    write_model(made / "tiny.photic")
    write_model(made / "other.photic", seed=1)
    write_sources(made / "raws")
    (made / "small" / "trip").mkdir(parents=True)
    model = load_compressor(made / "tiny.photic", "cpu")
    for name in ("a", "trip/b"):
        data = compress_picture(model, read_raw(made / "raws" / f"{name}.dng"), quality=2.5, noise=NOISE)
        (made / "small" / f"{name}.phc").write_bytes(data)
    return made


@pytest.fixture
def shipped(folder, tmp_path, monkeypatch):
    """Let both models come with an installed plug-in, and be the only ones that do."""
    package = tmp_path / "packages" / "tiny_codecs"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name in ("other", "tiny"):
        (package / "weights" / f"{name}.photic").write_bytes((folder / f"{name}.photic").read_bytes())
    monkeypatch.syspath_prepend(str(package.parent))
    plugins = {name: replace(plugin, weights="none") for name, plugin in installed_plugins().items()}
    plugins["codecs"] = Plugin(name="codecs", package="tiny_codecs", summary="ours", default_models={"compression": "tiny"})
    monkeypatch.setattr("photic.core.plugins.installed_plugins", lambda: plugins)
    return plugins


def run(folder, *words, model="tiny.photic"):
    return decompress([*map(str, words), "--model", str(folder / model), "--quiet", "--device", "cpu"])


def decoded(folder, name="a", **more):
    model = load_compressor(folder / "tiny.photic", "cpu")
    return decompress_picture(model, (folder / "small" / f"{name}.phc").read_bytes(), **more)


def test_a_dng_reads_back_with_what_the_camera_said(folder, tmp_path, capsys):
    out = tmp_path / "a.dng"
    words = [str(folder / "small" / "a.phc"), "-o", str(out), "--model", str(folder / "tiny.photic"), "--quiet", "--device", "cpu"]
    assert photic(["decompress", *words]) == 0
    assert str(out) in capsys.readouterr().out
    again, original = read_raw(out), read_raw(folder / "raws" / "a.dng")
    assert again.pattern is None
    np.testing.assert_allclose(again.values, decoded(folder).values.clip(-0.001, 1), atol=2e-4)
    np.testing.assert_allclose(again.white_balance, original.white_balance, rtol=1e-3)
    np.testing.assert_allclose(again.xyz_to_camera, original.xyz_to_camera, atol=1e-3)


def test_every_format_is_the_development_of_what_the_function_gives(folder, tmp_path):
    source, picture = folder / "small" / "trip" / "b.phc", decoded(folder, "trip/b")
    assert picture.orientation == 6
    assert run(folder, source, "-o", tmp_path / "b.png", "--exposure", 0.5, "--white-balance", "1.8,1,1.4") == 0
    how = Development(space="srgb", exposure_ev=0.5, white_balance=(1.8, 1.0, 1.4))
    np.testing.assert_array_equal(read_photo(tmp_path / "b.png").pixels, turned(encoded(develop(picture, how), np.uint8), 6))
    assert run(folder, source, "-o", tmp_path / "b.exr", "--bits", 32) == 0
    pixels = OpenEXR.File(str(tmp_path / "b.exr")).channels()["RGB"].pixels
    np.testing.assert_allclose(pixels, turned(develop(picture), 6), atol=1e-6)
    assert run(folder, source, "-o", tmp_path / "b.tif") == 0
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif").pixels, turned(encoded(develop(picture), np.uint16), 6))
    assert run(folder, source, "-o", tmp_path / "b.jpg", "--quality", 90) == 0
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == SIZE  # turned: height and width change places


def test_brightness_colour_and_highlights_are_those_of_the_original_however_its_sensor_is_full(folder, tmp_path):
    """A decoded picture with the very pixels that a demosaicer makes develops to the very same picture."""
    seen = noisy(*SIZE, BAYER["GRBG"], seed=4)
    values = np.where(seen.values > 0.25, np.float32(0.94), seen.values)  # a sensor that is full at 94 %, in all colours at once
    source = replace(seen, values=values.astype(np.float32), noise=None)
    model = load_compressor(folder / "tiny.photic", "cpu")
    data = compress_picture(model, source, noise=NOISE)
    exact = picture_of(read_header(data), gathered(camera_bands(source), source.size))
    assert Developer(source, Development()).full == pytest.approx(0.94, abs=1e-3)
    np.testing.assert_allclose(develop(exact), develop(source), atol=2e-6)
    (tmp_path / "a.phc").write_bytes(data)
    assert run(folder, tmp_path / "a.phc", "-o", tmp_path / "a.png") == 0
    made = decompress_picture(model, data)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels, encoded(develop(made, Development(space="srgb")), np.uint8))
    assert Developer(made, Development()).full == pytest.approx(0.94, abs=1e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_of_the_picture_as_it_is_seen(orientation):
    sensor = np.arange(7 * 11).reshape(7, 11)
    seen = turned(sensor, orientation)
    region = (1, 2, 3, 4)
    top, left, height, width = on_sensor(region, sensor.shape, orientation)
    part = turned(sensor[top : top + height, left : left + width], orientation)
    np.testing.assert_array_equal(part, seen[1:4, 2:6])


def test_a_region_is_that_part_of_the_whole(folder, tmp_path):
    for name, region in (("a", (5, 40, 30, 22)), ("trip/b", (60, 3, 20, 41))):
        source = folder / "small" / f"{name}.phc"
        assert run(folder, source, "-o", tmp_path / "whole.png", "--force") == 0
        assert run(folder, source, "-o", tmp_path / "part.png", "--region", ",".join(map(str, region)), "--force") == 0
        whole, part = (read_photo(tmp_path / f"{which}.png").pixels.astype(int) for which in ("whole", "part"))
        top, left, height, width = region
        assert part.shape == (height, width, 3)
        assert np.abs(part - whole[top : top + height, left : left + width]).max() <= 1


def test_a_region_beyond_the_picture_says_its_size(folder, tmp_path, capsys):
    assert run(folder, folder / "small" / "trip" / "b.phc", "-o", tmp_path / "b.png", "--region", "80,0,20,20") == 1
    text = capsys.readouterr().out
    assert "--region: 20 x 20 pixels (height x width) at (80, 0) reach beyond the picture, which has 91 x 74" in text
    assert region_argument("0, 1,2,3") == (0, 1, 2, 3)
    for word in ("1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5", "1e3,0,5,5", "²,0,5,5"):
        with pytest.raises(SystemExit):
            run(folder, folder / "small" / "a.phc", f"--region={word}")


def test_a_folder_names_what_cannot_be_decoded_and_does_the_others(folder, tmp_path, capsys):
    source = tmp_path / "in"
    for name in ("a", "trip/b"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.phc").write_bytes((folder / "small" / f"{name}.phc").read_bytes())
    whole = (source / "a.phc").read_bytes()
    (source / "cut.phc").write_bytes(whole[:-7])
    (source / "flipped.phc").write_bytes(whole[:-3] + bytes([whole[-3] ^ 4]) + whole[-2:])
    Image.new("RGB", (20, 20)).save(source / "photo.jpg")
    (source / "photo.jpg").rename(source / "photo.phc")
    (source / "empty.phc").write_bytes(b"")
    assert run(folder, source, "-o", tmp_path / "out", "--format", "jpg") == 1
    text = capsys.readouterr().out
    assert "4 SKIPPED" in text
    for name, reason in (("cut", "truncated"), ("flipped", "checksum"), ("photo", "not a picture compressed by Photic"), ("empty", "phc")):
        assert any(f"{name}.phc" in line and reason in line for line in text.splitlines()), name
    assert names(tmp_path / "out") == ["a.jpg", "trip/b.jpg"]


def test_what_is_there_is_replaced_only_when_asked(folder, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "trip").mkdir(parents=True)
    (out / "a.jpg").write_bytes(b"mine")
    words = (folder / "small", "-o", out, "--format", "jpg")
    with pytest.raises(ConfigError, match="--skip-existing leaves them"):
        run(folder, *words)
    assert run(folder, *words, "--skip-existing") == 0
    assert "1 were there already" in capsys.readouterr().out
    assert (out / "a.jpg").read_bytes() == b"mine"
    assert run(folder, *words, "--force") == 0
    assert read_photo(out / "a.jpg").size == SIZE


def test_without_an_output_a_dng_lies_beside(folder, tmp_path):
    (tmp_path / "a.phc").write_bytes((folder / "small" / "a.phc").read_bytes())
    assert run(folder, tmp_path / "a.phc") == 0
    assert names(tmp_path) == ["a.phc", "a_decompressed.dng"]


def test_the_wrong_model_says_which_it_should_be(folder, tmp_path, capsys):
    assert run(folder, folder / "small" / "a.phc", "-o", tmp_path / "a.png", model="other.photic") == 1
    text = capsys.readouterr().out
    assert "was compressed with the model 'tiny'" in text
    assert "'other'" in text
    assert names(tmp_path) == []


def test_without_a_model_the_file_chooses_among_those_that_come_along(folder, shipped, tmp_path, capsys):
    words = [str(folder / "small" / "a.phc"), "--quiet", "--device", "cpu"]
    assert decompress([*words, "-o", str(tmp_path / "a.png")]) == 0
    assert run(folder, folder / "small" / "a.phc", "-o", tmp_path / "b.png") == 0
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels, read_photo(tmp_path / "b.png").pixels)
    assert photic(["compress", str(folder / "raws" / "a.dng"), "-o", str(tmp_path / "c.phc"), "--quiet", "--device", "cpu"]) == 0
    assert decompress([str(tmp_path / "c.phc"), "-o", str(tmp_path / "c.png"), "--quiet"]) == 0
    del shipped["codecs"]
    capsys.readouterr()
    assert decompress([*words, "-o", str(tmp_path / "d.png")]) == 1
    text = capsys.readouterr().out
    assert "was compressed with the model 'tiny'" in text
    assert "which neither comes with Photic (that do: none) nor is a bundle in a folder of yours (photic models)" in text
    assert photic(["compress", str(folder / "raws" / "a.dng"), "-o", str(tmp_path / "d.phc"), "--quiet"]) == 2
    assert "no model for the task 'compression' comes with this installation; name one with --model" in capsys.readouterr().err


def test_without_a_model_the_file_finds_a_bundle_of_the_users(folder, tmp_path, capsys, monkeypatch):
    words = [str(folder / "small" / "a.phc"), "--quiet", "--device", "cpu"]
    mine = tmp_path / "models"
    mine.mkdir()
    whole = (folder / "tiny.photic").read_bytes()
    (mine / "damaged.photic").write_bytes(whole[:-9] + bytes(9))
    monkeypatch.setenv("PHOTIC_MODELS", str(mine))
    assert decompress([*words, "-o", str(tmp_path / "a.png")]) == 1
    text = capsys.readouterr().out
    assert "name it with --model" in text and "damaged.photic" in text, "it could be that one"
    (mine / "called_otherwise.photic").write_bytes(whole)
    assert decompress([*words, "-o", str(tmp_path / "a.png")]) == 0
    assert run(folder, folder / "small" / "a.phc", "-o", tmp_path / "b.png") == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_inputs_and_outputs_that_cannot_be_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"no compressed pictures \(\.phc\) in this folder"):
        run(folder, folder / "raws", "-o", tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(folder, tmp_path / "none.phc")
    with pytest.raises(ConfigError, match=r"cannot write decompressed pictures with the ending '\.webp'"):
        run(folder, folder / "small" / "a.phc", "-o", tmp_path / "a.webp")
    for words, message in ((("--exposure", 1), "is not developed"), (("--quality", 80), "JPEG")):
        with pytest.raises(ConfigError, match=message):
            run(folder, folder / "small" / "a.phc", "-o", tmp_path / "a.dng", *words)
    with pytest.raises(ConfigError, match="16 or 32"):
        run(folder, folder / "small" / "a.phc", "-o", tmp_path / "a.exr", "--bits", 8)


def test_large_pictures_are_refused_by_their_header(folder, tmp_path, capsys):
    data = bytearray((folder / "small" / "a.phc").read_bytes())
    struct.pack_into("<I", data, 8, 90_000)  # the height; then the header's own checksum
    struct.pack_into("<I", data, 36, zlib.crc32(data[:36]))
    (tmp_path / "high.phc").write_bytes(data)
    assert run(folder, tmp_path / "high.phc", "-o", tmp_path / "high.png", "--max-megapixels", 8) == 1
    assert "more than the limit of 8 megapixels" in capsys.readouterr().out
    assert run(folder, tmp_path / "high.phc", "-o", tmp_path / "high.png") == 1
    assert "damaged" in capsys.readouterr().out
    assert names(tmp_path) == ["high.phc"]
