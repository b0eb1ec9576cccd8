"""The ptychography application's readers on the real scans."""

from __future__ import annotations

import time

import numpy as np
import pytest

from photic.apps.ptycho import check, convert
from photic.apps.ptycho.geometry import find_projection
from photic.apps.ptycho.grouping import group_raw_npz
from photic.apps.ptycho.inspection import inspect_scan
from photic.apps.ptycho.patterns import mean_energy
from photic.apps.ptycho.raw import load_raw_npz, load_scans, save_raw_npz
from photic.apps.ptycho.readers import load_scan, open_scan
from photic.core.errors import DataError

pytestmark = pytest.mark.real

SCANS = ("siemens_train", "siemens_test", "run1084_sim_1e4", "run1084_sim_1e6")


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "ptycho"


@pytest.mark.parametrize("name", SCANS)
def test_the_scans_are_read_without_a_doubt(folder, name):
    raw = load_raw_npz(folder / f"{name}.npz")
    shape = (258, 128, 128) if name.startswith("siemens") else (1087, 64, 64)
    assert raw.diffraction.shape == shape
    assert raw.probe_modes.shape == (1, *shape[1:])
    assert (raw.objectGuess is None) == name.startswith("siemens")
    assert find_projection(raw.diffraction, raw.positions_px) is None  # far field
    with np.load(folder / f"{name}.npz", allow_pickle=False) as plain:
        np.testing.assert_array_equal(raw.diffraction, plain["diffraction"])
        np.testing.assert_array_equal(raw.positions_px[:, 0], plain["xcoords"])


@pytest.mark.parametrize("name", SCANS)
def test_photons_are_what_the_metadata_say(folder, name):
    raw = load_raw_npz(folder / f"{name}.npz")
    said = raw.metadata.get("nphotons") or raw.metadata["photons_per_pattern"]
    assert mean_energy(raw.diffraction) == pytest.approx(said, rel=0.01)


def test_counts_declared_as_amplitudes_and_the_reverse_are_noticed(folder, tmp_path):
    path = folder / "siemens_train.npz"
    with pytest.warns(UserWarning, match="squares are whole numbers"):
        load_raw_npz(path, domain="counts")
    with np.load(path, allow_pickle=False) as plain:
        arrays = dict(plain)
    arrays["diffraction"] = np.round(arrays["diffraction"] ** 2).astype(np.uint32)
    np.savez(tmp_path / "counts.npz", **arrays)
    with pytest.warns(UserWarning, match="whole numbers"):
        load_raw_npz(tmp_path / "counts.npz")
    right = load_raw_npz(tmp_path / "counts.npz", domain="counts")
    np.testing.assert_allclose(right.diffraction, load_raw_npz(path).diffraction, atol=1e-3)


def test_swapped_axes_are_detected(folder, tmp_path):
    with np.load(folder / "siemens_train.npz", allow_pickle=False) as plain:
        arrays = dict(plain)
    np.savez(tmp_path / "swapped.npz", **{**arrays, "diffraction": arrays["diffraction"].transpose(1, 0, 2)})
    with pytest.raises(DataError, match=r"\(128, 258, 128\), expected \(258, N, N\).*swapped"):
        load_raw_npz(tmp_path / "swapped.npz")
    old = arrays["diffraction"].transpose(1, 2, 0)
    np.savez(tmp_path / "old.npz", **{key: value for key, value in arrays.items() if key != "diffraction"}, diff3d=old)
    np.testing.assert_array_equal(load_raw_npz(tmp_path / "old.npz").diffraction[:5], arrays["diffraction"][:5])


def test_two_files_of_one_scan_are_joined_and_never_grouped_across(folder):
    scans = load_scans([folder / "siemens_train.npz", folder / "siemens_test.npz"])
    whole = scans.as_one()
    assert whole.diffraction.shape == (516, 128, 128)
    groups = group_raw_npz(whole, N=128, gridsize=2, neighbor_count=6)
    assert groups["diffraction"].shape == (516, 128, 128, 4)
    files = scans.file_index[groups["nn_indices"]]
    assert (files == files[:, :1]).all()


def test_uncompressed_copies_open_at_once(folder, tmp_path):
    raw = load_raw_npz(folder / "run1084_sim_1e6.npz")
    path = save_raw_npz(tmp_path / "copy.npz", raw)
    start = time.perf_counter()
    again = load_raw_npz(path)
    assert time.perf_counter() - start < 1.0
    np.testing.assert_array_equal(again.diffraction[1000:], raw.diffraction[1000:])


def test_the_near_field_file_is_read_and_its_conversion_refused(folder, tmp_path):
    path = folder / "PETRAIII_P25_Near_Field_Ptycho.cxi"
    name, record = open_scan(path)
    assert name == "cxi"
    assert record.store.shape == (200, 100, 100) and record.positions_m.shape == (200, 2)
    assert record.missing() == ["probe"]
    assert record.wavelength_m == pytest.approx(9.794912e-11, rel=1e-6)
    assert int((~record.mask).sum()) == 5
    np.testing.assert_allclose(np.ptp(record.positions_m, axis=0), [2.0157637e-05, 1.9047111e-05], rtol=1e-5)
    with pytest.raises(DataError, match="100% of neighbouring pairs agree"):
        load_scan(path, probe="mean-pattern")
    with pytest.raises(DataError, match="near field"):
        convert.main([str(path), "-o", str(tmp_path / "a.npz"), "--probe", "mean-pattern"])
    report = inspect_scan(path)
    assert report.num_patterns == 200 and any("near field" in problem for problem in report.problems)


def test_shadows_tell_the_magnification_that_the_beamline_states(folder):
    """Focus to specimen 3.65 mm, specimen to detector 1.12 m: an effective pixel of 179 nm."""
    raw = load_scan(folder / "PETRAIII_P25_Near_Field_Ptycho.cxi", probe="mean-pattern", far_field=True)
    found = find_projection(raw.diffraction, raw.positions_px)
    patch_m = raw.physics_parameters["pixel_size_m"] * raw.size_px
    assert patch_m / found.shift_px == pytest.approx(55e-6 * 3.65e-3 / 1.12, rel=0.05)


@pytest.mark.parametrize("name", SCANS)
def test_check_finds_no_problem(folder, tmp_path, name, capsys):
    assert check.main([str(folder / f"{name}.npz"), "-o", str(tmp_path)]) == 0
    assert "no problems" in capsys.readouterr().out
    assert (tmp_path / f"{name}_positions.png").stat().st_size > 5000
