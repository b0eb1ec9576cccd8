"""``photic data convert ptycho`` through its command line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from photic.apps.ptycho import convert
from photic.apps.ptycho.raw import load_raw_npz
from photic.apps.ptycho.stores import MappedStore, MemoryStore
from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.plugins import get_plugin, load_reference

_SPEC = importlib.util.spec_from_file_location("ptycho_scan_files", Path(__file__).with_name("scan_files.py"))
files = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = files
_SPEC.loader.exec_module(files)


@pytest.fixture(scope="module")
def scan():
    return files.make_scan()


def test_the_plug_in_names_the_command():
    assert load_reference(get_plugin("ptycho").data_commands["convert"].target) is convert.main


@pytest.mark.parametrize("compressed", [False, True])
def test_a_cxi_file_becomes_a_raw_file(tmp_path, scan, capsys, compressed):
    path = files.write_cxi(tmp_path / "a.cxi", scan)
    np.save(tmp_path / "probe.npy", scan.probe)
    out = tmp_path / "deep" / "a.npz"
    arguments = [str(path), "-o", str(out), "--probe", str(tmp_path / "probe.npy")]
    assert convert.main(arguments + ["--compressed"] * compressed) == 0
    assert "20 patterns of 16 x 16, object pixels of 250 nm" in capsys.readouterr().out
    raw = load_raw_npz(out)
    np.testing.assert_allclose(np.asarray(raw.diffraction) ** 2, scan.counts, rtol=1e-5)
    np.testing.assert_allclose(raw.positions_px, scan.positions - scan.positions.min(axis=0) + 8, atol=1e-3)
    assert raw.physics_parameters["pixel_size_m"] == pytest.approx(files.PIXEL_M, rel=1e-5)
    assert raw.metadata["source"] == str(path)
    assert isinstance(raw.diffraction._store, MemoryStore if compressed else MappedStore)


def test_every_option_reaches_the_conversion(tmp_path, scan):
    product = files.write_ptychodus(tmp_path / "product.h5", tmp_path / "dp.h5", scan)
    out = tmp_path / "a.npz"
    assert convert.main([str(product), "--diffraction", str(tmp_path / "dp.h5"), "-o", str(out)]) == 0
    assert load_raw_npz(out).objectGuess is not None
    cxi = files.write_cxi(tmp_path / "a.cxi", scan)
    options = "--reader cxi --domain counts --distance-m 4 --energy-ev 8000 --crop 8 --center 9,7 --probe mean-pattern --far-field --force"
    assert convert.main([str(cxi), "-o", str(out), *options.split()]) == 0
    raw = load_raw_npz(out)
    np.testing.assert_allclose(np.asarray(raw.diffraction) ** 2, scan.counts[:, 5:13, 3:11], rtol=1e-5)
    wavelength = 1.239841984e-6 / 8000
    assert raw.physics_parameters["pixel_size_m"] == pytest.approx(wavelength * 4 / (8 * files.DETECTOR_PIXEL_M), rel=1e-5)
    np.savez(tmp_path / "probe.npz", probeGuess=scan.probe[None])
    assert convert.main([str(cxi), "-o", str(out), "--probe", str(tmp_path / "probe.npz"), "--force"]) == 0
    np.testing.assert_array_equal(load_raw_npz(out).probe_modes[0], scan.probe)


def test_raw_files_are_made_readable_piece_by_piece(tmp_path, scan):
    """A compressed file is converted into one that is mapped."""
    path = files.write_raw(tmp_path / "a.npz", scan, scan_index=np.arange(20) // 10)
    assert convert.main([str(path), "-o", str(tmp_path / "b.npz")]) == 0
    raw = load_raw_npz(tmp_path / "b.npz")
    np.testing.assert_array_equal(raw.diffraction, load_raw_npz(path).diffraction)
    assert raw.scan_index.tolist() == [0] * 10 + [1] * 10


def test_what_is_there_stays_unless_forced_and_failures_leave_nothing(tmp_path, scan):
    path = files.write_raw(tmp_path / "a.npz", scan)
    out = tmp_path / "out.npz"
    out.write_text("mine")
    with pytest.raises(StorageError, match="such a file already.*--force"):
        convert.main([str(path), "-o", str(out)])
    counts = scan.counts.copy()
    counts[5, 5, 5] = -1
    bad = files.write_cxi(tmp_path / "bad.cxi", files.Scan(scan.truth, scan.probe, scan.positions, counts), probe=scan.probe)
    with pytest.raises(DataError, match="negative value -1 in pattern 5"):
        convert.main([str(bad), "-o", str(out), "--force", "--far-field"])
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "bad.cxi", "out.npz"]


def test_near_field_is_refused_with_the_reason(tmp_path):
    path = files.write_shadows(tmp_path / "near.cxi")
    with pytest.raises(DataError, match="near field.*magnified shadows"):
        convert.main([str(path), "-o", str(tmp_path / "a.npz"), "--probe", "mean-pattern"])
    assert not (tmp_path / "a.npz").exists()


def test_bad_arguments_say_what_is_expected(tmp_path, scan, capsys):
    path = files.write_cxi(tmp_path / "a.cxi", scan)
    out = ["-o", str(tmp_path / "a.npz")]
    with pytest.raises(SystemExit):
        convert.main([str(path), *out, "--center", "5"])
    assert "expected ROW,COL" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        convert.main([str(path), *out, "--domain", "intensity"])
    (tmp_path / "probe.npy").write_bytes(b"\x93NUMPY nothing")
    with pytest.raises(DataError, match="no readable probe"):
        convert.main([str(path), *out, "--probe", str(tmp_path / "probe.npy")])
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    with pytest.raises(DataError, match="no readable probe .*allow_pickle"):
        convert.main([str(path), *out, "--probe", str(tmp_path / "objects.npy")])
    with pytest.raises(DataError, match="no such file"):
        convert.main([str(path), *out, "--probe", "nowhere.npy"])
    np.save(tmp_path / "small.npy", np.ones((4, 4), complex))
    with pytest.raises(DataError, match=r"'probeGuess' has shape \(4, 4\)"):
        convert.main([str(path), *out, "--probe", str(tmp_path / "small.npy")])
    with pytest.raises(ConfigError, match="energy_ev"):
        convert.main([str(path), *out, "--energy-ev", "0"])
