"""``photic data check ptycho``: what it says about good and bad files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photic.apps.ptycho import check
from photic.apps.ptycho.inspection import inspect_scan, probe_diameter_px
from photic.core.errors import ConfigError
from photic.core.plugins import get_plugin, load_reference

_SPEC = importlib.util.spec_from_file_location("ptycho_scan_files", Path(__file__).with_name("scan_files.py"))
files = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = files
_SPEC.loader.exec_module(files)
N = files.N


@pytest.fixture(scope="module")
def scan():
    return files.make_scan()


def test_the_plug_in_names_the_command():
    assert load_reference(get_plugin("ptycho").data_commands["check"].target) is check.main


def test_a_good_raw_file(tmp_path, scan, capsys):
    path = files.write_raw(tmp_path / "a.npz", scan, objectGuess=scan.truth)
    assert check.main([str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "a.npz raw NPZ",
        "diffraction float32 (20, 16, 16)",
        "xcoords float64 (20,)",
        "probeGuess complex64 (16, 16) magnitude",
        "patterns: 20 of 16 x 16, read as amplitude",
        "photons per pattern: mean",
        "probe: 1 mode",
        "not in the file: mask, metadata, pixel_size_m in the metadata",
        "no problems",
    ):
        assert part in text


def test_the_numbers_are_those_of_the_data(tmp_path, scan):
    report = inspect_scan(files.write_raw(tmp_path / "a.npz", scan))
    sums = scan.counts.sum(axis=(1, 2))
    assert report.patterns["photons_mean"] == pytest.approx(sums.mean(), rel=1e-5)
    assert report.patterns["photons_min"] == pytest.approx(sums.min(), rel=1e-5)
    assert report.patterns["photons_max"] == pytest.approx(sums.max(), rel=1e-5)
    assert report.patterns["brightest_pixel"] == pytest.approx(scan.counts.max(), rel=1e-5)
    assert report.patterns["zero_share"] == pytest.approx((scan.counts == 0).mean())
    np.testing.assert_allclose(report.mean_counts, scan.counts.mean(axis=0), rtol=1e-4)
    distance = np.linalg.norm(scan.positions[:, None] - scan.positions[None], axis=2) + np.diag(np.full(20, np.inf))
    assert report.positions["neighbour_px_median"] == pytest.approx(np.median(distance.min(axis=1)))
    assert report.positions["neighbour_px_max"] == pytest.approx(distance.min(axis=1).max())
    assert report.positions["overlap"] == pytest.approx(1 - np.median(distance.min(axis=1)) / report.probe["diameter_px"])
    assert report.probe["energy"] == pytest.approx(2e4, rel=1e-5)
    shape = (int(np.ptp(scan.positions[:, 1])) + N, int(np.ptp(scan.positions[:, 0])) + N)
    assert tuple(report.positions["canvas_px"]) == shape
    ranges = {row["key"]: (row["min"], row["max"]) for row in report.keys if "min" in row}
    assert ranges["xcoords"] == (scan.positions[:, 0].min(), scan.positions[:, 0].max())
    assert ranges["diffraction"] == pytest.approx((np.sqrt(scan.counts.min()), np.sqrt(scan.counts.max())), rel=1e-5)


def test_the_diameter_holds_nine_tenths_of_the_energy():
    rows, columns = np.mgrid[:64, :64]
    for radius in (5, 12, 20):
        disc = (np.hypot(rows - 30, columns - 33) <= radius).astype(np.complex64)
        assert probe_diameter_px(disc[None]) == pytest.approx(2 * radius * np.sqrt(0.9), abs=1.1)
    modes = np.stack([disc, disc * 1j])
    assert probe_diameter_px(modes) == probe_diameter_px(disc[None])


def bad_patterns(value):
    def change(scan):
        data = np.sqrt(scan.counts)
        data[3, 1, 2] = data[9, 0, 0] = value
        return {"diffraction": data}

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (bad_patterns(-1.0), "2 negative or non-finite values in 2 of 20 patterns, the first in pattern 3"),
        (bad_patterns(np.nan), "2 negative or non-finite values in 2 of 20 patterns"),
        (
            lambda scan: {"diffraction": np.sqrt(scan.counts) * (np.arange(20) != 4)[:, None, None]},
            "1 patterns are empty, the first is pattern 4",
        ),
        (lambda scan: {"probeGuess": None}, "key 'probeGuess' is missing"),
        (lambda scan: {"probeGuess": np.ones((4, 4))}, "'probeGuess' has shape"),
        (lambda scan: {"diffraction": np.sqrt(scan.counts).transpose(1, 0, 2)}, "are the axes swapped"),
        (lambda scan: {"objectGuess": scan.truth[:20]}, "stick out"),
        (lambda scan: {"_metadata": np.array({"a": 1}, object)}, "pickled Python objects"),
    ],
)
def test_problems_are_named_and_counted(tmp_path, scan, capsys, change, words):
    path = files.write_raw(tmp_path / "a.npz", scan, **change(scan))
    assert check.main([str(path)]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert words in text and "problem: " in text and "no problems" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scan: {"diffraction": scan.counts}, "whole numbers"),
        (lambda scan: {"xcoords": np.full(20, 30.0), "ycoords": np.full(20, 30.0)}, "19 of 20 positions occur twice"),
        (lambda scan: {"probeGuess": scan.probe * 3}, "a factor of"),
        (lambda scan: {"xcoords": scan.positions[:, 0] * 30, "ycoords": scan.positions[:, 1] * 30}, "ptychography wants 60 % and more"),
        (lambda scan: {"diffraction": np.roll(np.sqrt(scan.counts), 4, axis=2)}, "columns from [8, 8]"),
    ],
)
def test_doubts_are_notes(tmp_path, scan, capsys, change, words):
    assert check.main([str(files.write_raw(tmp_path / "a.npz", scan, **change(scan)))]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert words in text and "note: " in text


def test_damage_that_a_map_would_not_show_is_found(tmp_path, scan):
    path = files.write_raw(tmp_path / "a.npz", scan)
    content = bytearray(path.read_bytes())
    start = content.index(b"diffraction.npy") + 4000
    content[start : start + 4] = np.float32(2.0).tobytes()
    path.write_bytes(content)
    report = inspect_scan(path)
    assert any("checksum of 'diffraction.npy'" in problem for problem in report.problems)


def test_other_formats_say_what_they_lack(tmp_path, scan, capsys):
    assert check.main([str(files.write_cxi(tmp_path / "a.cxi", scan))]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "a.cxi CXI" in text and "not in the file: probe" in text and "unknown without a probe" in text and "read as counts" in text
    assert "pixel_size_m 2.5e-07" in text
    product = files.write_ptychodus(tmp_path / "product.h5", tmp_path / "dp.h5", scan)
    assert check.main([str(product)]) == 1
    assert "has no patterns" in capsys.readouterr().out
    assert check.main([str(product), "--diffraction", str(tmp_path / "dp.h5")]) == 0
    assert check.main([str(files.write_ptylab(tmp_path / "a.hdf5", scan, zo=None))]) == 1
    assert "has no distance to the detector" in capsys.readouterr().out


def test_near_field_can_be_looked_at_but_is_a_problem(tmp_path, capsys):
    assert check.main([str(files.write_shadows(tmp_path / "near.cxi"))]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "measured in the near field" in text and "patterns: 40 of 32 x 32" in text


def test_json_and_pictures(tmp_path, scan, capsys):
    one = files.write_raw(tmp_path / "one.npz", scan, objectGuess=scan.truth)
    two = files.write_cxi(tmp_path / "two.cxi", scan)
    arguments = [str(one), str(two), "--json", str(tmp_path / "check.json"), "-o", str(tmp_path / "pictures")]
    assert check.main(arguments) == 0
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["schema"] == 1 and [file["format"] for file in found["files"]] == ["raw NPZ", "CXI"]
    assert found["files"][0]["problems"] == [] and found["files"][0]["num_patterns"] == 20
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["one_mean_pattern.png", "one_positions.png", "two_mean_pattern.png", "two_positions.png"]
    for name in names:
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert min(picture.size) > 300 and np.asarray(picture.convert("L")).std() > 5
    with pytest.raises(ConfigError, match="force"):
        check.main(arguments)
    assert check.main([*arguments, "--force"]) == 0
    capsys.readouterr()


def test_unknown_and_missing_files_are_problems_not_crashes(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("hello")
    assert check.main([str(tmp_path / "a.txt"), str(tmp_path / "none.npz")]) == 1
    text = capsys.readouterr().out
    assert "no reader fits" in text and "no such file" in text
    with pytest.raises(ConfigError, match="one by one"):
        check.main(["a/x.npz", "b/x.npz", "-o", str(tmp_path)])
    with pytest.raises(ConfigError, match="belongs to one file"):
        check.main(["a.h5", "b.h5", "--diffraction", "c.h5"])
