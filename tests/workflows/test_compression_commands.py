"""Compression from end to end as a user does it: train, bundle, compress, look, decompress; and the help of the commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photic.apps.rawnind.files.developing import camera_bands
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.cli.main import main as photic
from photic.data.photo.files import read_photo
from photic.functional.cfa import BAYER
from photic.functional.raw_colour import XYZ_TO_SRGB
from photic.workflows.recipes import recipe
from photic.workflows.train import train

BALANCE = np.array([2.0, 1.0, 1.5])
SIZE = (150, 171)
SMALL = {
    "data.num_samples": 12,
    "data.val_fraction": 0.2,
    "data.test_fraction": 0.2,
    "data.crops_per_picture": 4,
    "training.num_epochs": 1,
    "model.start": "wavelet",  # a codec before it has learnt anything; one short epoch must leave it one
    "optimizer.lr": 1.0e-5,
}
QUIET = ["--quiet", "--device", "cpu"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Return the bundle of a short training on drawn scenes."""
    folder = tmp_path_factory.mktemp("runs")
    run = train(recipe("quick_compress", {**SMALL, "output_dir": str(folder)}), quiet=True).run
    assert photic(["bundle", str(run), "-o", str(folder / "model.photic"), "--name", "quick"]) == 0
    return folder / "model.photic"


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Return a raw file whose mosaic begins with green and red, with odd sides."""
    scene = (draw_scene(3, 1, *SIZE) / BALANCE).astype(np.float32)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    seen = np.take_along_axis(scene, np.array(BAYER["GRBG"])[rows % 2, columns % 2][..., None], axis=2)[..., 0]
    noisy = seen + np.sqrt(1e-3 * seen + 1e-5) * np.random.default_rng(0).normal(size=SIZE)
    path = tmp_path_factory.mktemp("photo") / "photo.dng"
    picture = RawPicture(noisy.astype(np.float32), BAYER["GRBG"], xyz_to_camera=XYZ_TO_SRGB / BALANCE[:, None], white_balance=BALANCE)
    write_mosaic_dng(path, picture)
    return path


def test_a_trained_model_makes_small_files_that_look_like_the_original(bundle, photo, tmp_path, capsys):
    small = tmp_path / "photo.phc"
    assert photic(["compress", str(photo), "--model", str(bundle), "-o", str(small), *QUIET]) == 0
    assert photic(["info", str(small), "--json"]) == 0
    text = capsys.readouterr().out
    facts = json.loads(text[text.index("{\n") :])
    assert facts["model"]["name"] == "quick"
    assert facts["bytes"] == small.stat().st_size < photo.stat().st_size / 4
    assert photic(["decompress", str(small), "--model", str(bundle), "-o", str(tmp_path / "back.dng"), *QUIET]) == 0
    original, back = read_raw(photo), read_raw(tmp_path / "back.dng")
    expected = np.concatenate([band for _, band in camera_bands(original)])
    assert back.values.mean((0, 1)) == pytest.approx(expected.mean((0, 1)), rel=0.03)
    correlation = np.corrcoef(back.values.mean(2).ravel(), expected.mean(2).ravel())[0, 1]
    assert correlation > 0.95


def test_lower_qualities_are_smaller(bundle, photo, tmp_path):
    sizes = []
    for quality in ("1", "2.5", "4"):
        path = tmp_path / f"{quality}.phc"
        assert photic(["compress", str(photo), "--model", str(bundle), "-o", str(path), "--quality", quality, *QUIET]) == 0
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


def test_a_region_and_a_developed_picture(bundle, photo, tmp_path):
    small = tmp_path / "photo.phc"
    assert photic(["compress", str(photo), "--model", str(bundle), "-o", str(small), *QUIET]) == 0
    for name, more in (("whole.png", []), ("part.png", ["--region", "20,60,50,80"])):
        assert photic(["decompress", str(small), "--model", str(bundle), "-o", str(tmp_path / name), *more, *QUIET]) == 0
    whole, part = (read_photo(tmp_path / name).pixels.astype(int) for name in ("whole.png", "part.png"))
    assert whole.shape == (*SIZE, 3)
    assert np.abs(part - whole[20:70, 60:140]).max() <= 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("compress", ("--target-bpp", "--quality", "--skip-existing", "--noise-profiles", "photo.phc")),
        ("decompress", ("--region", "--exposure", "--white-balance", "--model", "photo.exr")),
    ],
)
def test_help_has_examples_and_every_option(command, words, capsys):
    assert photic([command, "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("examples:", f"photic {command} ", *words):
        assert word in text
    assert photic(["--help"]) == 0
    assert f"  {command} " in capsys.readouterr().out


def test_what_is_no_compressed_picture_is_one_line_and_status_2_or_1(bundle, photo, tmp_path, capsys):
    (tmp_path / "photo.phc").write_bytes(b"\xff\xd8\xff\xe0 a photograph with another name")
    assert photic(["info", str(tmp_path / "photo.phc")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("photic: error: ")
    assert "not a picture compressed by Photic" in error
    assert photic(["decompress", str(tmp_path / "photo.phc"), "--model", str(bundle), "-o", str(tmp_path / "o.png"), *QUIET]) == 1
    assert "not a picture compressed by Photic" in capsys.readouterr().out
    assert photic(["decompress", str(photo), "--model", str(bundle), "-o", str(tmp_path / "o.png"), *QUIET]) == 1
    assert "not a picture compressed by Photic" in capsys.readouterr().out
    assert photic(["compress", str(tmp_path), "--model", str(bundle), *QUIET]) == 2
    assert "no raw files" in capsys.readouterr().err
