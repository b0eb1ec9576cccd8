"""``photic predict`` with a denoiser: raw files to every format, folders, what is there already, what cannot be read."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.denoising import denoise, load_denoiser, network_of
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import camera_bands
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.noise_choice import choose_noise
from photic.apps.rawnind.noise_options import noise_argument
from photic.apps.rawnind.predict import main as predict
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError
from photic.data.photo.files import read_photo
from photic.functional.cfa import BAYER, XTRANS

from .denoisers import noisy
from .dng_files import write_raw

SIZE = (74, 91)


@pytest.fixture(scope="module")
def raws(tmp_path_factory):
    """Return a folder with raw files of two orders and X-Trans, a broken one, and one that is none."""
    folder = tmp_path_factory.mktemp("raws")
    (folder / "trip").mkdir()
    for name, pattern in {"a": BAYER["RGGB"], "trip/b": BAYER["GBRG"], "c": XTRANS}.items():
        write_mosaic_dng(folder / f"{name}.dng", replace(noisy(*SIZE, pattern), noise=None))
    (folder / "bad.dng").write_bytes((folder / "a.dng").read_bytes()[:2000])
    (folder / "notes.txt").write_text("no raw file")
    return folder


def run(model, *words):
    return predict([str(model), *map(str, words), "--quiet", "--device", "cpu"])


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def denoised(model, source, **options):
    """Return what the command should write, from Python: upright or not does not matter here."""
    picture = read_raw(source)
    network = network_of(load_denoiser(model, "cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        noise = choose_noise(picture).values
    return denoise(network, picture, noise, **options)


def test_a_raw_file_becomes_a_linear_dng_that_reads_back(raw_run, raws, tmp_path, capsys):
    out = tmp_path / "clean.dng"
    assert photic(["predict", str(raw_run), str(raws / "a.dng"), "--strength", "0.8", "-o", str(out), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert str(out) in text
    assert "noise estimated from the picture" in text
    again = read_raw(out)
    assert again.pattern is None
    expected = denoised(raw_run, raws / "a.dng", strength=0.8).clip(-0.001, 1)
    np.testing.assert_allclose(again.values, expected, atol=2e-4)
    before = read_raw(raws / "a.dng")
    np.testing.assert_allclose(again.white_balance, before.white_balance, rtol=1e-3)
    np.testing.assert_allclose(again.xyz_to_camera, before.xyz_to_camera, atol=1e-3)
    colours = [before.values[::2, ::2], before.values[1::2, 1::2]]
    for place, values in zip((0, 2), colours, strict=True):
        assert again.values[..., place].mean() == pytest.approx(values.mean(), rel=0.02)


def test_strength_0_demosaics_alone_and_asks_for_no_noise(raw_run, raws, tmp_path, capsys):
    assert run(raw_run, raws / "trip" / "b.dng", "-o", tmp_path / "b.dng", "--strength", 0) == 0
    assert "noise" not in capsys.readouterr().out
    before = read_raw(raws / "trip" / "b.dng")
    classical = gathered(camera_bands(before, "malvar"), before.size)
    np.testing.assert_allclose(read_raw(tmp_path / "b.dng").values, classical.clip(-0.001, 1), atol=2e-4)


def test_a_folder_keeps_names_and_names_what_cannot_be_read(raw_run, raws, tmp_path, capsys):
    assert run(raw_run, raws, "-o", tmp_path / "out", "--noise", "1e-3,1e-6") == 1
    text = capsys.readouterr().out
    assert "1 SKIPPED" in text
    assert "bad.dng" in text
    assert names(tmp_path / "out") == ["a.dng", "c.dng", "trip/b.dng"]
    assert (tmp_path / "out" / "a.dng").stat().st_size > 3 * SIZE[0] * SIZE[1]


def test_what_is_there_is_replaced_only_when_asked(raw_run, raws, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    words = (raws / "a.dng", raws / "c.dng", "-o", out, "--format", "png", "--noise", "1e-3,1e-6")
    with pytest.raises(ConfigError, match="--skip-existing leaves them"):
        run(raw_run, *words)
    assert run(raw_run, *words, "--skip-existing") == 0
    assert "1 were there already" in capsys.readouterr().out
    assert (out / "a.png").read_bytes() == b"mine"
    assert run(raw_run, *words, "--force") == 0
    assert read_photo(out / "a.png").size == SIZE
    with pytest.raises(ConfigError, match="one of the inputs"):
        run(raw_run, raws / "a.dng", "-o", raws / "a.dng", "--force")


@pytest.mark.parametrize(
    ("suffix", "more"), [(".exr", ()), (".tif", ("--bits", 32)), (".png", ("--exposure", 1)), (".jpg", ("--quality", 80))]
)
def test_every_format(raw_run, raws, tmp_path, suffix, more):
    out = tmp_path / f"a{suffix}"
    assert run(raw_run, raws / "a.dng", "-o", out, "--noise", "1e-3,1e-6", *more) == 0
    assert out.stat().st_size > 1000


def test_exposure_brightens_developed_pictures_and_a_dng_is_not_developed(raw_run, raws, tmp_path):
    means = []
    for number, more in enumerate(((), ("--exposure", 1))):
        path = tmp_path / f"{number}.png"
        run(raw_run, raws / "a.dng", "-o", path, "--noise", "1e-3,1e-6", *more)
        means.append(read_photo(path).pixels.mean())
    assert means[1] > 1.2 * means[0]
    for words in (("--exposure", 1), ("--white-balance", "daylight"), ("--bits", 16)):
        with pytest.raises(ConfigError, match="is not developed"):
            run(raw_run, raws / "a.dng", "-o", tmp_path / "a.dng", *words)
    with pytest.raises(ConfigError, match="JPEG"):
        run(raw_run, raws / "a.dng", "-o", tmp_path / "a.png", "--quality", 80)
    with pytest.raises(ConfigError, match="sRGB"):
        run(raw_run, raws / "a.dng", "-o", tmp_path / "a.png", "--space", "rec2020")


def test_before_and_after_side_by_side(raw_run, raws, tmp_path):
    assert run(raw_run, raws / "trip" / "b.dng", "-o", tmp_path / "b.jpg", "--compare", "--noise", "1e-2,1e-4") == 0
    with Image.open(tmp_path / "b_compare.png") as image:
        both = np.asarray(image.convert("RGB")).astype(float)
    assert both.shape == (SIZE[0], 2 * SIZE[1] + 8, 3)
    before, after = both[:, : SIZE[1]], both[:, -SIZE[1] :]
    assert np.abs(before - after).mean() > 0.5
    assert before.mean() == pytest.approx(after.mean(), rel=0.05)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(ConfigError, match="b_compare"):
        run(raw_run, raws / "trip" / "b.dng", "-o", tmp_path / "b.jpg", "--compare")


def test_pictures_without_a_colour_matrix_are_said(raw_run, tmp_path, capsys):
    values = np.random.default_rng(0).integers(600, 9000, SIZE).astype(np.uint16)
    source = write_raw(tmp_path / "in" / "unknown.dng", values, tags={50721: None})
    assert run(raw_run, source, "-o", tmp_path / "a.png", "--noise", "1e-3,1e-6", "--compare") == 1
    assert "no colour matrix" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_wrong_words_are_refused_before_anything_is_read(raw_run, raws, tmp_path):
    with pytest.raises(ConfigError, match="strength"):
        run(raw_run, raws / "a.dng", "-o", tmp_path / "o.dng", "--strength", 3)
    with pytest.raises(ConfigError, match="tile"):
        run(raw_run, raws / "a.dng", "-o", tmp_path / "o.dng", "--tile", 64)
    with pytest.raises(DataError, match="no such file"):
        run(raw_run, tmp_path / "none.CR2")
    with pytest.raises(ConfigError, match=r"cannot write.*\.webp"):
        run(raw_run, raws / "a.dng", "-o", tmp_path / "o.webp")
    for word in ("1e-3", "a,b", "-1,0", "2,0"):
        with pytest.raises(SystemExit):
            run(raw_run, raws / "a.dng", f"--noise={word}")
    assert noise_argument("1e-3, 2e-6") == (1e-3, 2e-6)
