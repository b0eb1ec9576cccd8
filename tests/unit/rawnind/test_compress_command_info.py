"""``photic info`` of compressed pictures: what it says, for people and programs, without torch; and of files that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from photic.apps.rawnind.compressing.encoding import compress_picture
from photic.apps.rawnind.compressing.phc_info import describe, exposure
from photic.cli.main import main as photic
from photic.core.errors import DataError, PhoticError
from photic.core.plugins import describer_of, installed_plugins
from photic.functional.cfa import BAYER
from photic.workflows.info import file_info

from .compressors import TINY_RGB, loaded_compressor
from .denoisers import NOISE, noisy


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a compressed picture."""
    picture = replace(noisy(70, 90, BAYER["GBRG"]), orientation=6, exposure_s=0.005, aperture=5.6)
    made = tmp_path_factory.mktemp("info") / "photo.phc"
    made.write_bytes(compress_picture(loaded_compressor(), picture, quality=1.5, noise=NOISE))
    return made


def test_it_says_everything_to_people(path, capsys):
    assert photic(["info", str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    bpp = 8 * path.stat().st_size / 6300
    for words in (
        "compressed picture photo.phc",
        f"{path.stat().st_size:,} bytes, {bpp:.4f} bits per sensor pixel",
        "90 x 70 pixels",
        "Bayer mosaic (GBRG), to be shown turned by 90",
        "tiny-0 (id ",
        "quality 1.5",
        "ISO 6400, 1/200 s, f/5.6",
        "Made Camera",
        "2, 1, 1.5 (red, green, blue)",
        "EXIF none",
    ):
        assert words in text


def test_it_says_everything_to_programs_and_parts_add_up(path, capsys):
    assert photic(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "compressed picture"
    assert facts["bytes"] == path.stat().st_size
    assert facts["picture"] == {"height": 70, "width": 90, "original": "GBRG", "demosaiced": False, "orientation": 6}
    assert facts["quality"] == 1.5
    assert set(facts["parts"]) == {"header", "metadata", "side", "tiles"}
    assert sum(part["bits"] for part in facts["parts"].values()) == 8 * facts["bytes"]
    assert sum(part["bpp"] for part in facts["parts"].values()) == pytest.approx(facts["bpp"])
    assert facts["metadata"]["white_balance"] == [2.0, 1.0, 1.5]
    assert facts["metadata"]["noise"] == pytest.approx(list(NOISE))


def test_torch_is_not_imported(path):
    code = f"import sys; from photic.cli.main import main; main(['info', {str(path)!r}]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_pictures_of_three_colours_are_counted_by_pixel(tmp_path):
    model = loaded_compressor(TINY_RGB)
    for name, pattern, words in (
        ("rgb", None, "three colours at each pixel"),
        ("made", BAYER["RGGB"], "demosaiced before it was compressed"),
    ):
        (tmp_path / f"{name}.phc").write_bytes(compress_picture(model, noisy(40, 44, pattern), noise=NOISE))
        rows = dict(describe(tmp_path / f"{name}.phc").rows)
        assert words in rows["picture"]
        assert rows["file"].endswith("bits per pixel" if pattern is None else "bits per sensor pixel")


def test_files_that_are_none_and_a_card_that_is_none(path, tmp_path, capsys):
    data = path.read_bytes()
    (tmp_path / "cut.phc").write_bytes(data[:-1])
    (tmp_path / "photo.phc").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    for name, reason in (("cut.phc", "truncated"), ("photo.phc", "not a picture compressed by Photic"), ("none.phc", "no such file")):
        assert photic(["info", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert name in error
        assert reason in error
    assert photic(["info", str(path), "--card"]) == 2
    assert "has no card" in capsys.readouterr().err


def test_a_plug_in_describes_by_endings_and_no_two_may_do_so(tmp_path, monkeypatch):
    assert describer_of("x.PHC") == describer_of("x.phc")
    assert describer_of("x.photic") is None
    assert file_info(tmp_path) is None
    (tmp_path / "folder.phc").mkdir()
    assert file_info(tmp_path / "folder.phc") is None
    with pytest.raises(DataError, match="no such file"):
        file_info(tmp_path / "x.phc")
    twice = {**installed_plugins(), "other": replace(installed_plugins()["rawnind"], name="other")}
    monkeypatch.setattr("photic.core.plugins.installed_plugins", lambda: twice)
    with pytest.raises(PhoticError, match=r"\.phc files are described by several plug-ins: .*rawnind.*other|other.*rawnind"):
        describer_of("x.phc")


def test_exposures_are_written_as_photographers_do():
    assert [exposure(seconds) for seconds in (0.001, 1 / 3, 2.5, 30)] == ["1/1000 s", "0.333333 s", "2.5 s", "30 s"]
