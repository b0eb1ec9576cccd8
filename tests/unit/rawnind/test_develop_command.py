"""``photic develop``: files, folders, globs, what is there already, what cannot be read, options that do not go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from photic.apps.rawnind.develop import main as develop_command
from photic.apps.rawnind.files.developing import Development, develop, encoded
from photic.apps.rawnind.files.reading import read_raw
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError
from photic.data.photo.files import read_photo
from photic.functional.cfa import BAYER

from .dng_files import mosaicked, scene, stored, write_raw


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    """Return a folder with two raw files, one of them in a folder below."""
    values = stored(mosaicked(scene(40, 50), BAYER["RGGB"]))
    write_raw(tmp_path / "raws" / "a.dng", values)
    write_raw(tmp_path / "raws" / "trip" / "b.DNG", values, tags={50728: None})
    (tmp_path / "raws" / "notes.txt").write_text("no picture")
    return tmp_path / "raws"


def run(*words: object) -> int:
    return develop_command([*map(str, words), "--quiet"])


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_one_file_through_the_command_line(raws, tmp_path, capsys):
    words = ["--exposure", "-0.5", "--white-balance", "1.8,1,1.5", "--demosaic", "malvar", "--space", "srgb"]
    assert photic(["develop", str(raws / "a.dng"), "-o", str(tmp_path / "o.tif"), *words, "--quiet"]) == 0
    assert str(tmp_path / "o.tif") in capsys.readouterr().out
    how = Development(exposure_ev=-0.5, white_balance=(1.8, 1.0, 1.5), demosaic="malvar", space="srgb")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), encoded(develop(read_raw(raws / "a.dng"), how), np.uint16))


def test_a_folder_a_bad_file_and_going_on(raws, tmp_path, capsys):
    (raws / "bad.cr2").write_bytes(b"nothing" * 100)
    out = tmp_path / "out"
    assert run(raws, "-o", out, "--format", "jpg", "--quality", 80) == 1
    text = capsys.readouterr().out
    assert "1 SKIPPED" in text
    assert "bad.cr2" in text
    assert "b.DNG: developed with the white balance of daylight" in text
    assert names(out) == ["a.jpg", "trip/b.jpg"]
    (raws / "bad.cr2").unlink()
    (out / "a.jpg").unlink()
    (out / "trip" / "b.jpg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="--skip-existing leaves them"):
        run(raws, "-o", out, "--format", "jpg")
    assert run(raws, "-o", out, "--format", "jpg", "--skip-existing") == 0
    assert (out / "trip" / "b.jpg").read_bytes() == b"mine"
    assert read_photo(out / "a.jpg").size == (40, 50)
    assert run(raws, "-o", out, "--format", "jpg", "--force", "--skip-existing") == 0


def test_without_an_output_results_lie_beside(raws):
    assert run(raws / "a.dng", "--format", "png", "--bits", 16) == 0
    assert read_photo(raws / "a_developed.png").bits == 16
    assert run(raws / "a.dng", "--format", "dng", "--mosaic") == 0
    np.testing.assert_array_equal(read_raw(raws / "a_developed.dng").values, read_raw(raws / "a.dng").values)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "dng", "--exposure", "1"], "exposure: a DNG is not developed"),
        (["--format", "tif", "--quality", "90"], "quality: is for JPEG"),
        (["--format", "tif", "--mosaic"], "--mosaic: only a DNG"),
        (["--format", "dng", "--mosaic", "--demosaic", "menon"], "give one of them"),
        (["--format", "jpg", "--space", "rec2020"], "space: PNG"),
        (["--format", "exr", "--bits", "8"], "16 or 32"),
        (["--exposure", "40"], "exposure_ev"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_done(raws, tmp_path, words, message):
    with pytest.raises(ConfigError, match=message):
        run(raws, "-o", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_inputs_and_outputs_that_cannot_be_are_refused(raws, tmp_path):
    with pytest.raises(DataError, match="no raw files"):
        run(f"{raws}/*.txt", "-o", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"cannot write raw files with the ending '\.gif'"):
        run(raws / "a.dng", "-o", tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="one of the inputs"):
        run(raws / "a.dng", "-o", raws / "a.dng", "--force")
    with pytest.raises(SystemExit):
        run(raws / "a.dng", "-o", tmp_path / "a.tif", "--white-balance", "2,1")
