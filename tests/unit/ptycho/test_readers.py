"""Readers of other programs' files, written here in their layouts from one simulated scan, give that scan back."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from photic.apps.ptycho import readers
from photic.apps.ptycho.patterns import MeasuredPatterns
from photic.apps.ptycho.readers import load_scan, open_scan, reader_references
from photic.core.errors import ConfigError, DataError, UnknownNameError
from photic.core.plugins import Plugin, installed_plugins

_SPEC = importlib.util.spec_from_file_location("ptycho_scan_files", Path(__file__).with_name("scan_files.py"))
files = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = files
_SPEC.loader.exec_module(files)
N = files.N
OTHER_BASES = [[[0, 1, 0], [1, 0, 0]], [[0, -1, 0], [1, 0, 0]], [[1, 0, 0], [0, -1, 0]]]


@pytest.fixture(scope="module")
def scan():
    return files.make_scan()


def assert_same(raw, scan, *, on_truth=False):
    np.testing.assert_allclose(np.asarray(raw.diffraction) ** 2, scan.counts, rtol=1e-5)
    expected = scan.positions if on_truth else scan.positions - scan.positions.min(axis=0) + N // 2
    np.testing.assert_allclose(raw.positions_px, expected, atol=1e-3)
    assert raw.physics_parameters["pixel_size_m"] == pytest.approx(files.PIXEL_M, rel=1e-5)


@pytest.mark.parametrize("place", ["entry_1/data_1/translation", "entry_1/sample_1/geometry_1/translation"])
@pytest.mark.parametrize("basis", [None, *OTHER_BASES])
def test_cxi_with_both_places_of_translations_and_any_detector_axes(tmp_path, scan, place, basis):
    path = files.write_cxi(tmp_path / "a.cxi", scan, translation=place, basis=basis, probe=scan.probe)
    raw = load_scan(path)
    assert_same(raw, scan)
    np.testing.assert_array_equal(raw.probe_modes[0], scan.probe)
    physics = raw.physics_parameters
    assert physics["wavelength_m"] == pytest.approx(files.WAVELENGTH_M, rel=1e-6)
    assert physics["energy_ev"] == pytest.approx(files.ENERGY_EV, rel=1e-6)
    assert physics["distance_m"] == 2.0 and physics["detector_pixel_size_m"] == pytest.approx(75e-6)
    assert raw.metadata["format"] == "CXI" and raw.source == str(path)
    assert (
        load_scan(files.write_cxi(tmp_path / "b.cxi", scan, wavelength=True), probe=scan.probe).physics_parameters["wavelength_m"]
        == files.WAVELENGTH_M
    )


def test_every_patch_lies_inside_the_canvas(tmp_path, scan):
    raw = load_scan(files.write_cxi(tmp_path / "a.cxi", scan), probe="mean-pattern")
    np.testing.assert_allclose(raw.positions_px.min(axis=0), [N // 2, N // 2], atol=1e-9)
    energy = scan.counts.sum(axis=(1, 2)).mean()
    assert np.sum(np.abs(raw.probe_modes) ** 2) == pytest.approx(energy, rel=1e-5)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(raw.probe_modes[0]), norm="ortho"))) ** 2
    np.testing.assert_allclose(spectrum, scan.counts.mean(axis=0), rtol=1e-3, atol=1e-2)


def test_cxi_masks_say_which_pixels_are_bad(tmp_path, scan):
    bits = np.zeros((N, N), np.uint32)
    bits[0, 3], bits[5, 5], bits[2, 2] = 1, 0x100, 0x1000  # bad, hot, has signal
    counts = scan.counts.copy()
    counts[:, 0, 3] = -1
    path = files.write_cxi(tmp_path / "a.cxi", files.Scan(scan.truth, scan.probe, scan.positions, counts), mask=bits, probe=scan.probe)
    raw = load_scan(path)
    assert np.argwhere(~raw.mask).tolist() == [[0, 3], [5, 5]]
    assert np.asarray(raw.diffraction)[:, ~raw.mask].max() == 0
    assert load_scan(path, crop=8).mask.shape == (8, 8)


def test_a_crop_makes_pixels_coarser_and_probe_and_positions_follow(tmp_path, scan):
    path = files.write_cxi(tmp_path / "a.cxi", scan, probe=scan.probe)
    raw = load_scan(path, crop=8)
    np.testing.assert_allclose(np.asarray(raw.diffraction) ** 2, scan.counts[:, 4:12, 4:12], rtol=1e-5)
    assert raw.physics_parameters["pixel_size_m"] == pytest.approx(2 * files.PIXEL_M, rel=1e-5)
    np.testing.assert_allclose(raw.positions_px, (scan.positions - scan.positions.min(axis=0)) / 2 + 4, atol=1e-3)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(scan.probe), norm="ortho"))[4:12, 4:12]
    found = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(raw.probe_modes[0]), norm="ortho"))
    np.testing.assert_allclose(found, spectrum, atol=1e-4)
    moved = load_scan(path, crop=8, center_px=(9, 7))
    np.testing.assert_allclose(np.asarray(moved.diffraction) ** 2, scan.counts[:, 5:13, 3:11], rtol=1e-5)


def test_the_caller_s_geometry_counts_before_the_file_s(tmp_path, scan):
    raw = load_scan(files.write_cxi(tmp_path / "a.cxi", scan, probe=scan.probe), distance_m=4.0, energy_ev=files.ENERGY_EV / 2)
    assert raw.physics_parameters["pixel_size_m"] == pytest.approx(4 * files.PIXEL_M, rel=1e-5)
    assert raw.physics_parameters["distance_m"] == 4.0
    with pytest.raises(ConfigError, match="distance_m"):
        load_scan(tmp_path / "a.cxi", distance_m=-1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entry_1/instrument_1/detector_1/data": None}, "has no patterns in entry_1/data_1/data"),
        ({"entry_1/sample_1/geometry_1/translation": None}, "holds no positions.*found"),
        (
            {"entry_1/sample_1/geometry_1/translation": np.zeros((20, 4))},
            r"shape \(20, 4\), expected real numbers of shape \(M, 2\) or \(M, 3\)",
        ),
        ({"entry_1/sample_1/geometry_1/translation": np.zeros((19, 3))}, "has 20 patterns, expected 19"),
        ({"entry_1/sample_1/geometry_1/translation": np.full((20, 3), np.nan)}, "non-finite"),
        ({"entry_1/instrument_1/detector_1/distance": None}, "without distance to the detector"),
        ({"entry_1/instrument_1/source_1/energy": None}, "without wavelength or energy"),
        ({"entry_1/instrument_1/source_1/energy": 8265.0}, "expected joules"),
        ({"entry_1/instrument_1/detector_1/x_pixel_size": None}, "without detector pixel size"),
        ({"entry_1/instrument_1/detector_1/x_pixel_size": np.ones(3)}, "expected one finite number"),
        ({"entry_1/instrument_1/detector_1/mask": np.zeros((4, 4), int)}, r"'entry_1/instrument_1/detector_1/mask' .* shape \(16, 16\)"),
        ({"entry_1/instrument_1/detector_1/basis_vectors": np.zeros((3, 2))}, "two non-zero vectors"),
        ({"entry_1/instrument_1/source_1/illumination": np.ones((N, N))}, "expected a complex probe"),
        ({"entry_1/instrument_1/source_1/illumination": np.ones((8, 8), complex)}, "'probeGuess' has shape"),
    ],
)
def test_broken_cxi_files_say_what_is_wrong(tmp_path, scan, changes, words):
    path = files.write_cxi(tmp_path / "a.cxi", scan, **changes)
    with pytest.raises(DataError, match=words) as error:
        load_scan(path, probe=None if any("illumination" in key for key in changes) else scan.probe)
    assert "a.cxi" in str(error.value)


def test_no_probe_is_made_up(tmp_path, scan):
    with pytest.raises(DataError, match="holds no probe .*mean-pattern"):
        load_scan(files.write_cxi(tmp_path / "a.cxi", scan))
    with pytest.raises(ConfigError, match="probe: expected an array"):
        load_scan(tmp_path / "a.cxi", probe="guess")


def test_shadows_are_refused_as_near_field_unless_the_user_knows_better(tmp_path):
    path = files.write_shadows(tmp_path / "near.cxi")
    name, record = open_scan(path)  # it can be looked at
    assert name == "cxi" and record.missing() == ["probe"]
    with pytest.raises(
        DataError, match="near field, and only the far field can be converted.*1[12]\\.. detector pixels per far-field patch"
    ):
        load_scan(path, probe="mean-pattern")
    assert load_scan(path, probe="mean-pattern", far_field=True).num_patterns == 40


def test_ptychodus_product_and_patterns(tmp_path, scan):
    product = files.write_ptychodus(tmp_path / "product.h5", tmp_path / "dp.h5", scan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = load_scan(product, diffraction=tmp_path / "dp.h5")
    assert_same(raw, scan, on_truth=True)
    np.testing.assert_allclose(raw.objectGuess, scan.truth, rtol=1e-6)
    np.testing.assert_array_equal(raw.probe_modes, scan.probe[None])
    assert raw.physics_parameters["nphotons"] == 2e4
    # The truth, the probe and the positions explain the patterns: the frames agree.
    for row in (0, 7):
        x, y = np.round(raw.positions_px[row]).astype(int)
        patch = raw.objectGuess[y - N // 2 : y + N // 2, x - N // 2 : x + N // 2]
        model = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(patch * raw.probe_modes[0]), norm="ortho")))
        assert np.abs(model - raw.diffraction[row]).sum() / model.sum() < 0.2


def test_ptychodus_patterns_are_found_by_their_number(tmp_path, scan):
    order = np.array([5, 0, 19, 7, 2])
    product = files.write_ptychodus(tmp_path / "product.h5", tmp_path / "dp.h5", scan, order=order)
    raw = load_scan(product, diffraction=tmp_path / "dp.h5")
    assert raw.num_patterns == 5
    np.testing.assert_allclose(np.asarray(raw.diffraction) ** 2, scan.counts[order], rtol=1e-5)
    np.testing.assert_allclose(raw.positions_px, scan.positions[order], atol=1e-3)
    files.write_ptychodus(product, None, scan, probe_position_indexes=np.arange(20) + 5)
    with pytest.raises(DataError, match="dp.h5.* has 20 patterns, but positions .* belong to number 24"):
        load_scan(product, diffraction=tmp_path / "dp.h5")


@pytest.mark.parametrize(
    ("changes", "attributes", "words"),
    [
        ({}, {"far_field": False}, "measured in the near field"),
        ({"probe_position_x_m": np.zeros(3)}, {}, r"have shapes \(3,\) and \(20,\)"),
        ({"probe_position_indexes": np.zeros(20)}, {}, "'probe_position_indexes' is float64"),
        ({"probe": np.ones(N, complex)}, {}, "'probe' is complex128"),
        ({"object": np.ones(5, complex)}, {}, "'object' has shape"),
        ({"probe": None}, {}, "holds no probe"),
        ({"object": None}, {}, "without detector pixel size"),
    ],
)
def test_broken_products_say_what_is_wrong(tmp_path, scan, changes, attributes, words):
    product = files.write_ptychodus(tmp_path / "product.h5", tmp_path / "dp.h5", scan, attributes=attributes, **changes)
    with pytest.raises(DataError, match=words):
        load_scan(product, diffraction=tmp_path / "dp.h5")


def test_a_product_alone_says_how_to_name_its_patterns(tmp_path, scan):
    product = files.write_ptychodus(tmp_path / "product.h5", None, scan)
    with pytest.raises(DataError, match="holds no patterns .*--diffraction FILE"):
        load_scan(product)
    with pytest.raises(DataError, match="no such file"):
        load_scan(product, diffraction=tmp_path / "none.h5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["stuff"] = 1
    with pytest.raises(DataError, match="has no patterns in dp .*found stuff"):
        load_scan(product, diffraction=tmp_path / "empty.h5")


def test_layers_and_varying_probes_are_left_out_and_told(tmp_path, scan):
    product = files.write_ptychodus(
        tmp_path / "product.h5", tmp_path / "dp.h5", scan, object=np.stack([scan.truth] * 2), probe=np.stack([scan.probe[None]] * 3)
    )
    _, record = open_scan(product, diffraction=tmp_path / "dp.h5")
    assert record.truth is None and record.probe.shape == (1, N, N)
    assert "2 layers" in record.notes[0] and "3 components" in record.notes[1]


def test_ptylab(tmp_path, scan):
    raw = load_scan(files.write_ptylab(tmp_path / "a.hdf5", scan), probe=scan.probe)
    assert_same(raw, scan)
    assert raw.physics_parameters["probe_diameter_m"] == pytest.approx(5e-6)
    as_matlab = files.write_ptylab(tmp_path / "b.hdf5", scan, encoder=(scan.positions * files.PIXEL_M)[:, ::-1].T)
    assert_same(load_scan(as_matlab, probe=scan.probe), scan)


@pytest.mark.parametrize("code", range(8))
def test_ptylab_orientations(tmp_path, scan, code):
    """The frames are stored so that the orientation brings them back."""
    stored = scan.counts.astype(np.float32)
    back = -np.arange(N) % N
    if code & 1:
        stored = stored[:, :, back]
    if code & 2:
        stored = stored[:, back]
    if code & 4:
        stored = stored.transpose(0, 2, 1)
    raw = load_scan(files.write_ptylab(tmp_path / "a.hdf5", scan, ptychogram=stored, orientation=code), probe=scan.probe)
    assert_same(raw, scan)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": None}, "holds no positions"),
        ({"encoder": np.zeros((20, 3))}, r"'encoder' is float64 of shape \(20, 3\)"),
        ({"zo": None}, "without distance"),
        ({"zo": None, "zled": 0.1}, "Fourier ptychography"),
        ({"orientation": 9}, "from 0 to 7"),
        ({"ptychogram": np.ones((20, N, N + 2))}, "not square; crop"),
    ],
)
def test_broken_ptylab_files_say_what_is_wrong(tmp_path, scan, changes, words):
    with pytest.raises(DataError, match=words):
        load_scan(files.write_ptylab(tmp_path / "a.hdf5", scan, **changes), probe=scan.probe)


def test_negative_counts_are_refused_when_gathered(tmp_path, scan):
    counts = scan.counts.copy()
    counts[3, 1, 2] = -4
    path = files.write_cxi(tmp_path / "a.cxi", files.Scan(scan.truth, scan.probe, scan.positions, counts), probe=scan.probe)
    raw = load_scan(path, far_field=True)
    with pytest.raises(DataError, match=r"a.cxi: key 'entry_1/data_1/data': negative value -4 in pattern 3 at pixel \[1, 2\]"):
        raw.diffraction[:]


def test_a_wrong_domain_is_noticed_in_any_format(tmp_path, scan):
    path = files.write_ptylab(tmp_path / "a.hdf5", scan, ptychogram=np.sqrt(scan.counts).astype(np.float32))
    with pytest.warns(UserWarning, match="squares are whole numbers.*domain='amplitude'"):
        load_scan(path, probe=scan.probe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(load_scan(path, probe=scan.probe, domain="amplitude"), scan)


def test_raw_files_are_read_as_they_are_and_can_be_cropped(tmp_path, scan):
    path = files.write_raw(tmp_path / "a.npz", scan, objectGuess=scan.truth)
    raw = load_scan(path)
    np.testing.assert_array_equal(raw.positions_px, scan.positions)
    with pytest.warns(UserWarning, match="objectGuess lies on finer pixels"):
        small = load_scan(path, crop=8)
    np.testing.assert_allclose(small.positions_px, scan.positions / 2)
    np.testing.assert_allclose(np.asarray(small.diffraction) ** 2, scan.counts[:, 4:12, 4:12], rtol=1e-5)
    assert small.probe_modes.shape == (1, 8, 8) and load_scan(path, crop=N).size_px == N
    with pytest.raises(ConfigError, match="crop: expected an even number"):
        load_scan(path, crop=20)
    with pytest.raises(ConfigError, match="distance_m, probe cannot be used with reader 'raw_npz'"):
        load_scan(path, distance_m=1.0, probe=scan.probe)


def test_files_that_no_reader_knows_say_who_tried(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(
        DataError, match="no reader fits. Tried raw_npz: it is no NPZ file; cxi: it is no HDF5 file; ptychodus: .*; ptylab: "
    ):
        load_scan(tmp_path / "a.txt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stuff"] = 1
    with pytest.raises(DataError, match="cxi: it has no group 'entry_1'.*ptylab: it has no 'ptychogram'"):
        load_scan(tmp_path / "a.h5")
    with pytest.raises(DataError, match="no such file"):
        load_scan(tmp_path / "none.cxi")
    with pytest.raises(UnknownNameError, match="unknown reader 'cxy'; did you mean 'cxi'"):
        load_scan(tmp_path / "a.h5", reader="cxy")
    with pytest.raises(DataError, match="no reader fits. Tried ptylab: it has no 'ptychogram'$"):
        load_scan(tmp_path / "a.h5", reader="ptylab")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_truncated_hdf5_files_are_refused(tmp_path, scan, share):
    path = files.write_cxi(tmp_path / "a.cxi", scan, probe=scan.probe)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="a.cxi: cannot be read as HDF5.*whole"):
        load_scan(path)


def test_patterns_stay_in_their_file(tmp_path, scan):
    raw = load_scan(files.write_cxi(tmp_path / "a.cxi", scan, probe=scan.probe))
    assert isinstance(raw.diffraction, MeasuredPatterns)
    assert raw.diffraction[[2]].shape == (1, N, N)


def lab_reader(path, *, domain=None, diffraction=None):
    """Read files of a laboratory: a line of text."""
    if path.suffix != ".lab":
        raise readers.OtherFormatError("its name does not end in .lab")
    scan = files.make_scan(5)
    return readers.base.RawNPZData(scan.positions[:, 0], scan.positions[:, 1], np.sqrt(scan.counts), scan.probe)


def test_a_plug_in_brings_a_reader(tmp_path, monkeypatch):
    module = "ptycho_lab_reader"
    monkeypatch.setitem(sys.modules, module, sys.modules[__name__])
    plugin = Plugin(name="lab", package="lab", summary="ours", readers={"lab": f"{module}:lab_reader"})
    plugins = {**installed_plugins(), "lab": plugin}
    monkeypatch.setattr(readers, "installed_plugins", lambda: plugins)
    assert list(reader_references()) == ["raw_npz", "cxi", "ptychodus", "ptylab", "lab"]
    (tmp_path / "a.lab").write_text("")
    assert load_scan(tmp_path / "a.lab").num_patterns == 5
    clash = Plugin(name="other", package="other", summary="theirs", readers={"cxi": "other:read"})
    monkeypatch.setattr(readers, "installed_plugins", lambda: {**plugins, "other": clash})
    with pytest.raises(ConfigError, match="two plug-ins have a reader called 'cxi'"):
        reader_references()
