"""``photic compress``: raw files and photographs to .phc files, sizes, folders, what is there already, what cannot be."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.compressing.compress_command import default_for, opened
from photic.apps.rawnind.compressing.compress_command import main as compress
from photic.apps.rawnind.compressing.container import read_header
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor, prepare
from photic.apps.rawnind.compressing.file_model import CompressionOptions
from photic.apps.rawnind.files.developing import Development, develop
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.files.photographs import read_photograph
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.cli.main import main as photic
from photic.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from photic.functional.cfa import BAYER, XTRANS

from .compressor_files import RGB, SIZE, names, write_model, write_photograph, write_sources
from .compressors import TINY
from .denoisers import noisy

NOISE = (1e-3, 1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model for mosaics, one for RGB, raw files and a photograph."""
    made = tmp_path_factory.mktemp("compressing")
    write_model(made / "tiny.photic")
    write_model(made / "rgb.photic", RGB)
    write_model(made / "single.photic", TINY.replace(num_qualities=1))
    write_sources(made / "raws")
    write_photograph(made / "photo.png")
    return made


def run(folder, *words, model="tiny.photic"):
    return compress([*map(str, words), "--model", str(folder / model), "--quiet", "--device", "cpu"])


def bpp_of(path):
    return 8 * path.stat().st_size / (SIZE[0] * SIZE[1])


def test_a_file_is_what_the_function_makes_and_the_summary_says_how_large_it_is(folder, tmp_path, capsys):
    source, out = folder / "raws" / "a.dng", tmp_path / "a.phc"
    words = [str(source), "-o", str(out), "--model", str(folder / "tiny.photic"), "--quality", "2.25", "--noise", "1e-3,1e-6"]
    assert photic(["compress", *words, "--quiet", "--device", "cpu"]) == 0
    model = load_compressor(folder / "tiny.photic", "cpu")
    assert out.read_bytes() == compress_picture(model, read_raw(source), quality=2.25, noise=NOISE)
    text = capsys.readouterr().out
    size = out.stat().st_size
    assert f"{size:,} bytes, {bpp_of(out):.4f} bits per sensor pixel, 1/{source.stat().st_size / size:.1f} of a.dng; quality 2.25" in text
    assert "noise as given" in text


def test_the_same_through_predict(folder, tmp_path):
    source = str(folder / "raws" / "a.dng")
    assert photic(["predict", str(folder / "tiny.photic"), source, "-o", str(tmp_path / "p.phc"), "--quiet", "--device", "cpu"]) == 0
    assert run(folder, source, "-o", tmp_path / "c.phc") == 0
    assert (tmp_path / "p.phc").read_bytes() == (tmp_path / "c.phc").read_bytes()


def test_without_a_quality_it_is_the_best(folder, tmp_path):
    assert run(folder, folder / "raws" / "a.dng", "-o", tmp_path / "a.phc") == 0
    assert read_header(tmp_path / "a.phc").quality == 3


def test_a_folder_keeps_names_and_names_what_cannot_be_read(folder, tmp_path, capsys):
    assert run(folder, folder / "raws", "-o", tmp_path / "out") == 1
    text = capsys.readouterr().out
    assert "2 files written" in text
    assert "1 SKIPPED" in text
    assert "bad.dng" in text
    assert "bits per sensor pixel on average; quality 3" in text
    assert names(tmp_path / "out") == ["a.phc", "trip/b.phc"]
    header = read_header(tmp_path / "out" / "trip" / "b.phc")
    assert (header.layout.original, header.facts.orientation, header.model_name) == ("GBRG", 6, "tiny")


def test_what_is_there_is_replaced_only_when_asked(folder, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.phc").write_bytes(b"mine")
    words = (folder / "raws" / "a.dng", folder / "raws" / "trip" / "b.dng", "-o", out)
    with pytest.raises(ConfigError, match="--skip-existing leaves them"):
        run(folder, *words)
    assert run(folder, *words, "--skip-existing") == 0
    assert "1 were there already" in capsys.readouterr().out
    assert (out / "a.phc").read_bytes() == b"mine"
    assert run(folder, *words, "--force") == 0
    assert read_header(out / "a.phc").size == SIZE


def test_without_an_output_files_lie_beside(folder, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dng").write_bytes((folder / "raws" / "a.dng").read_bytes())
    assert run(folder, tmp_path / "in" / "a.dng") == 0
    assert names(tmp_path) == ["in/a.dng", "in/a.phc"]
    assert run(folder, f"{tmp_path}/in/*.dng", "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["a.phc"]


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_size_is_met_from_below(folder, tmp_path, capsys, share):
    source, ends = folder / "raws" / "a.dng", []
    for quality in (1, 3):
        run(folder, source, "-o", tmp_path / f"{quality}.phc", "--quality", quality)
        ends.append(bpp_of(tmp_path / f"{quality}.phc"))
    target = ends[0] + share * (ends[1] - ends[0])
    capsys.readouterr()
    assert run(folder, source, "-o", tmp_path / "t.phc", "--target-bpp", target) == 0
    assert target * 0.98 <= bpp_of(tmp_path / "t.phc") <= target
    assert f"bits per pixel met with {bpp_of(tmp_path / 't.phc'):.4f}" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["tiny.photic", "rgb.photic", "single.photic"])
def test_one_analysis_serves_all_qualities(folder, model):
    picture = noisy(*SIZE, None if model == "rgb.photic" else BAYER["GRBG"])
    loaded = load_compressor(folder / model, "cpu")
    kept, fresh = (prepare(loaded, picture, noise=NOISE) for _ in range(2))
    seen = []
    kept.analyse(seen.append)
    assert sum(seen) == SIZE[0] * SIZE[1]
    for quality in (1.0, 1.7) if model != "single.photic" else (1.0,):
        np.testing.assert_allclose(kept.latents(quality), fresh.latents(quality), rtol=1e-5, atol=1e-5)
        assert abs(len(kept.coded(quality)) - len(fresh.coded(quality))) <= 4


@pytest.mark.parametrize(("target", "quality"), [(0.01, 1), (30.0, 3)])
def test_a_size_out_of_reach_says_the_range_and_takes_the_nearest_end(folder, tmp_path, capsys, target, quality):
    assert run(folder, folder / "raws" / "a.dng", "-o", tmp_path / "t.phc", "--target-bpp", target) == 0
    text = capsys.readouterr().out
    assert "cannot be reached: qualities 1 to 3 of this model give" in text
    assert f"made with {bpp_of(tmp_path / 't.phc'):.4f}" in text
    assert read_header(tmp_path / "t.phc").quality == quality


def test_a_size_out_of_reach_is_left_to_the_model_for_smaller_files(folder, tmp_path):
    source, (plain, both) = folder / "raws" / "a.dng", (tmp_path / "plain.phc", tmp_path / "both.phc")
    write_model(tmp_path / "other.photic", TINY.replace(num_qualities=2), seed=5)
    models = [str(folder / "tiny.photic"), str(tmp_path / "other.photic")]
    alone, paired = opened(models[1], "cpu"), opened(models[0], "cpu", smaller=models[1])
    small = CompressionOptions(target_bpp=0.01, noise=NOISE)
    with pytest.warns(UserWarning, match="cannot be reached: qualities 1 to 2"):
        alone.apply(source, plain, small)
    done = []
    with pytest.warns(UserWarning, match="cannot be reached: qualities 1 to 2"):
        answer = paired.apply(source, both, small, advance=done.append)
    assert both.read_bytes() == plain.read_bytes()
    assert re.fullmatch(
        r"0.01 bits per pixel are out of reach of tiny \(at least \d+\.\d{4} for this picture\); made with other", answer.notes[0]
    )
    assert sum(done) == pytest.approx(1)
    usual = CompressionOptions(target_bpp=30, noise=NOISE)
    with pytest.warns(UserWarning, match="cannot be reached: qualities 1 to 3"):
        paired.apply(source, both, usual, force=True)
    assert read_header(both).model != read_header(plain).model


def test_another_model_that_comes_along_is_taken_for_small_files_unless_one_was_named(tmp_path, capsys):
    source, out = tmp_path / "a.dng", tmp_path / "small.phc"
    write_mosaic_dng(source, noisy(256, 320, BAYER["RGGB"]))
    words = [str(source), "-o", str(out), "--target-bpp", "0.3", "--quiet", "--device", "cpu"]
    assert compress(words) == 0
    text = capsys.readouterr().out
    assert "out of reach of rawcompress " in text and "made with rawcompress_low" in text
    assert 8 * out.stat().st_size / (256 * 320) <= 0.3
    assert compress([*words, "--model", "rawcompress", "--force"]) == 0
    assert "cannot be reached" in capsys.readouterr().out


def test_noise_is_told_by_the_user_profiles_or_the_file(folder, tmp_path, capsys):
    source = folder / "raws" / "a.dng"
    for words, expected, said in (
        (("--iso", 3200), (noise_at(3200).shot, noise_at(3200).read), "typical camera at ISO 3200"),
        (("--noise", "2e-3,1e-5"), (2e-3, 1e-5), "as given"),
        ((), None, "estimated from the picture"),
    ):
        assert run(folder, source, "-o", tmp_path / "n.phc", "--force", *words) == 0
        assert said in capsys.readouterr().out
        if expected is not None:
            np.testing.assert_allclose(read_header(tmp_path / "n.phc").facts.noise, expected, rtol=1e-6)


def test_a_photograph_comes_back_in_its_own_colours(folder, tmp_path, capsys):
    source, out = folder / "photo.png", tmp_path / "photo.phc"
    assert run(folder, source, "-o", out, model="rgb.photic") == 0
    text = capsys.readouterr().out
    assert "bits per pixel" in text
    assert "noise" not in text  # this network does not ask
    model = load_compressor(folder / "rgb.photic", "cpu")
    made = decompress_picture(model, out.read_bytes())
    assert made.white_balance.tolist() == [1, 1, 1]
    assert made.camera == "Photic Made Camera"
    before = read_photograph(source)
    np.testing.assert_allclose(made.xyz_to_camera, before.xyz_to_camera, atol=1e-6)
    exact = replace(made, values=before.values)
    with Image.open(source) as image:
        pixels = np.asarray(image) / 255
    shown = develop(exact, Development(space="srgb"))
    np.testing.assert_allclose(np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown.clip(0) ** (1 / 2.4) - 0.055), pixels, atol=1e-4)


def test_mosaics_are_demosaiced_for_a_model_of_rgb_and_photographs_are_none_for_mosaics(folder, tmp_path, capsys):
    assert run(folder, folder / "raws" / "a.dng", "-o", tmp_path / "a.phc", model="rgb.photic") == 0
    assert read_header(tmp_path / "a.phc").layout.demosaiced
    assert run(folder, folder / "photo.png", "-o", tmp_path / "p.phc") == 1
    text = capsys.readouterr().out
    assert "photo.png: a developed picture" in text
    assert "--model" in text
    write_mosaic_dng(tmp_path / "x.dng", replace(noisy(60, 60, XTRANS), noise=None))
    assert run(folder, tmp_path / "x.dng", "-o", tmp_path / "x.phc") == 1
    assert "X-Trans" in capsys.readouterr().out
    assert names(tmp_path) == ["a.phc", "x.dng"]


def test_a_photograph_takes_no_iso_and_one_too_small_for_an_estimate_is_taken_for_clean(folder, tmp_path, capsys):
    write_model(tmp_path / "heeds.photic", RGB.replace(noise_map=True))
    words = ("--model", tmp_path / "heeds.photic", "--quiet", "--device", "cpu")
    assert compress([*map(str, (folder / "photo.png", "-o", tmp_path / "a.phc", "--iso", 800, *words))]) == 1
    assert "--iso tells the noise of raw files" in capsys.readouterr().out
    Image.fromarray(np.full((9, 9, 3), 100, np.uint8)).save(tmp_path / "small.png")
    assert compress([*map(str, (tmp_path / "small.png", "-o", tmp_path / "b.phc", *words))]) == 0
    assert "taken for clean" in capsys.readouterr().out
    assert read_header(tmp_path / "b.phc").facts.noise == (0, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quality", "3.01"], r"quality: expected 1 \(smallest file\) to 3 \(best picture\); got 3.01"),
        (["--quality", "0"], "quality: expected"),
        (["--quality", "nan"], "quality: expected a value"),
        (["--quality", "2", "--target-bpp", "0.1"], "give one of them"),
        (["--target-bpp", "0"], "target_bpp: expected a value > 0"),
        (["--target-bpp", "inf"], "target_bpp: expected a value > 0"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_read(folder, tmp_path, words, message):
    with pytest.raises(ConfigError, match=message):
        run(folder, folder / "raws", "-o", tmp_path / "out", *words)
    assert names(tmp_path) == []


def test_models_that_cannot_be_are_refused(folder, tmp_path):
    source = folder / "raws" / "a.dng"
    with pytest.raises(ConfigError, match="single quality"):
        run(folder, source, "-o", tmp_path / "a.phc", "--target-bpp", 0.5, model="single.photic")
    with pytest.raises(ConfigError, match="expected a model that compresses raw pictures, this is a RawDenoisingTask"):
        compress([str(source), "--model", "rawdenoise", "--quiet"])
    with pytest.raises(UnknownNameError, match="no such bundle, run or checkpoint"):
        compress([str(source), "--model", "nothing", "--quiet"])
    (tmp_path / "cut.photic").write_bytes((folder / "tiny.photic").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"cut\.photic"):
        compress([str(source), "--model", str(tmp_path / "cut.photic"), "--quiet"])


def test_inputs_and_outputs_that_cannot_be_are_refused(folder, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"no raw files \(this model takes mosaics"):
        run(folder, tmp_path / "in", "-o", tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(folder, tmp_path / "none.CR2")
    with pytest.raises(ConfigError, match=r"cannot write results with the ending '\.jpg'; use one of \.phc"):
        run(folder, folder / "raws" / "a.dng", "-o", tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match="is the name of a single file"):
        run(folder, folder / "raws", "-o", tmp_path / "a.phc")


def test_a_damaged_photograph_and_a_full_name_are_told(folder, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert run(folder, tmp_path / "bad.jpg", "-o", tmp_path / "b.phc", model="rgb.photic") == 1
    assert "bad.jpg" in capsys.readouterr().out
    assert names(tmp_path) == ["bad.jpg"]


@pytest.mark.parametrize(
    ("files", "given", "expected"),
    [
        (["a.jpg"], ["a.jpg"], "rgbcompress"),
        (["a.CR2"], ["a.CR2"], "rawcompress"),
        (["a.jpg", "b.dng"], ["a.jpg", "b.dng"], "rawcompress"),
        (["deep/a.TIF", "deep/notes.txt"], ["."], "rgbcompress"),
        (["a.png", "deep/b.NEF"], ["."], "rawcompress"),
        ([], ["photos/*.webp"], "rgbcompress"),
        ([], ["-"], "rawcompress"),
    ],
)
def test_developed_pictures_without_raw_files_get_the_model_for_pictures(tmp_path, monkeypatch, files, given, expected):
    monkeypatch.chdir(tmp_path)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert default_for(given).stem == expected
