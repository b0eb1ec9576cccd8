"""``photic benchmark-codec``: files, options that contradict each other, folders in use, files that cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.codec_benchmark.benchmark_codec import main
from photic.core.errors import ConfigError, DataError, UnknownNameError
from photic.core.plugins import get_plugin, load_reference

from .test_codec_benchmark import srgb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("set") / "photos"
    place.mkdir()
    for number in range(3):
        Image.fromarray((srgb(seed=number) * 255).round().astype(np.uint8)).save(place / f"drawn_{'abc'[number]}.png")
    return place


def test_codecs_with_made_noise(folder, tmp_path, capsys):
    options = ["--no-model", "--codecs", "jpeg", "jpeg444", "--limit", "2", "--quiet", "--workers", "1"]
    assert main([str(folder), "--iso", "25600", "400", "--no-classical", "-o", str(tmp_path / "out"), *options]) == 0
    said = capsys.readouterr().out
    content = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert content["levels"] == ["ISO 400", "ISO 25600"]  # by rising noise
    assert [one["name"] for one in content["pictures"]] == ["drawn_a.png", "drawn_c.png"]
    assert content["anchor"] == "JPEG" and "against JPEG:" in said and "JPEG 4:4:4" in said
    assert "the pictures are small" in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"benchmark.json", "points.csv", "plot.png", "report.html", "crops", "crops_iso_400.png", "crops_iso_25600.png"}
    with pytest.raises(ConfigError, match="has something in it already"):
        main([str(folder), "-o", str(tmp_path / "out"), *options])
    (folder / "broken.png").write_bytes(b"no picture")
    try:
        forced = ["--no-model", "--codecs", "jpeg", "--quiet", "--force", "-o", str(tmp_path / "out")]
        assert main([str(folder / "drawn_a.png"), str(folder / "broken.png"), *forced]) == 1
    finally:
        (folder / "broken.png").unlink()
    assert "left out" in capsys.readouterr().out
    left = {path.name for path in (tmp_path / "out").glob("crops_*")}
    assert left == {"crops_no_noise_made.png"}


def test_other_folders_are_not_replaced(folder, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds no benchmark of codecs"):
        main([str(folder), "--no-model", "--force", "-o", str(tmp_path)])
    with pytest.raises(ConfigError, match=r"letters.txt: is a file"):
        main([str(folder), "--no-model", "-o", str(tmp_path / "letters.txt")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "noisy"], "--against noisy: is about pictures with made noise"),
        (["--denoiser", "rawdenoise"], "--denoiser: is about"),
        (["--no-classical"], "--no-classical: is about"),
        (["--iso", "100", "100.0"], "each level once"),
        (["--model", "x"], "--no-model: leaves models out"),
    ],
)
def test_options_that_contradict_each_other(options, message, folder, tmp_path):
    with pytest.raises(ConfigError, match=message):
        main([str(folder), "--no-model", "-o", str(tmp_path / "out"), *options])


@pytest.mark.parametrize(
    "options", [["--iso", "0"], ["--iso", "x"], ["--noise", "1"], ["--noise", "0,0"], ["--noise=-1,1"], ["--max-side", "161"]]
)
def test_values_that_are_not_possible(options, folder, capsys):
    with pytest.raises(SystemExit):
        main([str(folder), "--no-model", *options])
    assert "expected" in capsys.readouterr().err


def test_places_and_names_that_are_none(folder, tmp_path):
    with pytest.raises(ConfigError, match="-o: say into which folder"):
        main([str(folder / "drawn_a.png"), "--no-model"])
    with pytest.raises(UnknownNameError, match="unknown codec 'jxl'"):
        main([str(folder), "--no-model", "--codecs", "jxl"])
    with pytest.raises(DataError, match="no raw files or photographs"):
        main([str(tmp_path), "--no-model"])


def test_it_is_a_command_of_the_application():
    assert load_reference(get_plugin("rawnind").commands["benchmark-codec"].target) is main
