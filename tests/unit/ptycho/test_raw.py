"""The contract of raw NPZ files: what is read, what is refused and in which words; nothing in a file is ever executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
import zipfile
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from photic.apps.ptycho.patterns import MeasuredPatterns
from photic.apps.ptycho.raw import RawNPZData, load_raw_npz, load_scans, save_raw_npz
from photic.apps.ptycho.stores import MappedStore
from photic.core.errors import ConfigError, DataError, StorageError

M, N = 9, 8


def keys(**changes):
    """Return the arrays of a valid file; None leaves a key out."""
    generator = np.random.default_rng(0)
    probe = generator.normal(size=(N, N)) + 1j * generator.normal(size=(N, N))
    probe *= np.sqrt(400 / np.sum(np.abs(probe) ** 2))
    arrays = {
        "xcoords": 10.0 + np.arange(M) * 1.5,
        "ycoords": 10.0 + np.arange(M) * 0.5,
        "diffraction": np.sqrt(generator.poisson(6.0, (M, N, N))).astype(np.float32),
        "probeGuess": probe.astype(np.complex64),
        **changes,
    }
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def write(name="scan.npz", **changes):
        np.savez(tmp_path / name, **keys(**changes))
        return tmp_path / name

    return write


def test_a_file_with_the_least_is_read(write):
    raw = load_raw_npz(write())
    expected = keys()
    assert (raw.num_patterns, raw.size_px) == (M, N)
    np.testing.assert_array_equal(raw.diffraction, expected["diffraction"])
    np.testing.assert_array_equal(raw.positions_px, np.stack([expected["xcoords"], expected["ycoords"]], axis=1))
    assert raw.positions_px.dtype == np.float64
    assert raw.probe_modes.shape == (1, N, N) and raw.probe_modes.dtype == np.complex64
    assert raw.objectGuess is None and raw.mask is None and raw.metadata == {} and raw.xcoords_start is None
    assert raw.scan_index.tolist() == [0] * M
    assert isinstance(raw.diffraction._store, MappedStore)
    with pytest.raises(FrozenInstanceError):
        raw.xcoords = None


def test_a_file_with_everything_is_read(write):
    metadata = {"schema_version": 1, "physics_parameters": {"nphotons": 400.0}, "note": "größer"}
    raw = load_raw_npz(
        write(
            objectGuess=np.ones((30, 40), np.complex128),
            scan_index=np.arange(M, dtype=np.int16) // 5,
            xcoords_start=np.zeros(M),
            ycoords_start=np.ones(M),
            mask=np.eye(N) == 0,
            _metadata=np.array(json.dumps(metadata, ensure_ascii=False)),
        )
    )
    assert raw.objectGuess.dtype == np.complex64 and raw.objectGuess.shape == (30, 40)
    assert raw.scan_index.tolist() == [0] * 5 + [1] * 4
    assert raw.metadata == metadata and raw.physics_parameters == {"nphotons": 400.0}
    assert raw.xcoords_start.sum() == 0 and raw.ycoords_start.sum() == M
    assert np.trace(raw.diffraction[0]) == 0 and raw.diffraction[0].sum() > 0


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_saved_is_loaded_again(write, tmp_path, compressed):
    raw = load_raw_npz(
        write(
            objectGuess=np.full((30, 40), 1j),
            mask=np.eye(N) == 0,
            scan_index=np.arange(M) % 2,
            xcoords_start=np.arange(M) * 1.0,
            _metadata=np.array('{"a": [1, 2.5, "ü"]}'),
        )
    )
    path = save_raw_npz(tmp_path / "again.npz", raw, compressed=compressed)
    again = load_raw_npz(path)
    for name in ("xcoords", "ycoords", "probeGuess", "objectGuess", "scan_index", "mask", "xcoords_start"):
        np.testing.assert_array_equal(getattr(again, name), getattr(raw, name))
    np.testing.assert_array_equal(again.diffraction, raw.diffraction)
    assert again.metadata == {"schema_version": 1, **raw.metadata} and again.ycoords_start is None
    assert isinstance(again.diffraction._store, MappedStore) is not compressed
    with np.load(path, allow_pickle=False) as plain:  # NumPy reads the same
        np.testing.assert_array_equal(plain["diffraction"], raw.diffraction)
        assert json.loads(str(plain["_metadata"]))["schema_version"] == 1
    first = path.read_bytes()
    save_raw_npz(path, raw, compressed=compressed, force=True)
    assert path.read_bytes() == first  # the same content, the same file


def test_saving_replaces_only_by_force_and_leaves_nothing_half(write, tmp_path):
    raw = load_raw_npz(write())
    target = tmp_path / "out.npz"
    target.write_text("mine")
    with pytest.raises(StorageError, match="such a file already"):
        save_raw_npz(target, raw)
    bad = keys()["diffraction"]
    bad[3, 0, 0] = np.nan
    broken = RawNPZData(raw.xcoords, raw.ycoords, bad, raw.probeGuess)
    with pytest.raises(DataError, match="non-finite"):
        save_raw_npz(target, broken, force=True)
    unsayable = RawNPZData(raw.xcoords, raw.ycoords, raw.diffraction, raw.probeGuess, metadata={"a": {1, 2}})
    with pytest.raises(DataError, match="metadata cannot be written as JSON"):
        save_raw_npz(target, unsayable, force=True)
    assert target.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "scan.npz"]


@pytest.mark.parametrize("shape", [(N, N), (N, N, 1), (1, N, N), (3, N, N)])
def test_probes_of_every_allowed_rank(write, shape):
    probe = np.arange(np.prod(shape), dtype=np.float64).reshape(shape) * (1 + 1j)
    raw = load_raw_npz(write(probeGuess=probe))
    modes = raw.probe_modes
    assert modes.shape == (shape[0] if len(shape) == 3 and shape[2] != 1 else 1, N, N)
    np.testing.assert_array_equal(modes.reshape(-1), probe.reshape(-1).astype(np.complex64))


@pytest.mark.parametrize("shape", [(N,), (N, N + 2), (N + 2, N + 2), (N, N, 2), (2, N, N + 2), (0, N, N), (1, 1, N, N), (1, 1, 1, N, N)])
def test_probes_of_wrong_size_or_rank_are_refused(write, shape):
    with pytest.raises(DataError, match="scan.npz: key 'probeGuess' has shape") as error:
        load_raw_npz(write(probeGuess=np.ones(shape, np.complex64)))
    assert f"({N}, {N})" in str(error.value) and f"(P, {N}, {N})" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf])
def test_empty_and_non_finite_probes_are_refused(write, value):
    with pytest.raises(DataError, match="'probeGuess' is zero everywhere or has non-finite"):
        load_raw_npz(write(probeGuess=np.full((N, N), value, complex)))


@pytest.mark.parametrize("key", ["xcoords", "ycoords", "probeGuess", "diffraction"])
def test_a_missing_key_is_named_with_what_is_there(write, key):
    with pytest.raises(DataError, match=f"scan.npz: key '{key}' is missing; found .*coords") as error:
        load_raw_npz(write(**{key: None}))
    assert "(9, 8, 8)" in str(error.value) or key == "diffraction"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("xcoords", np.zeros(M - 1), "expected"),
        ("ycoords", np.zeros(M + 1), r"'ycoords' is float64 of shape \(10,\), expected real numbers of shape \(9,\)"),
        ("ycoords", np.zeros((M, 1)), r"shape \(9, 1\), expected"),
        ("ycoords", np.zeros(M, complex), "complex128"),
        ("ycoords", np.array([np.nan] + [0.0] * 8), "non-finite positions, the first in row 0"),
        ("scan_index", np.zeros(M), "'scan_index' is float64"),
        ("scan_index", np.zeros(3, int), r"\(3,\), expected integers of shape \(9,\)"),
        ("objectGuess", np.ones((2, 30, 40)), r"'objectGuess' .* expected complex numbers of shape \(H, W\)"),
        ("mask", np.ones((N, N + 1), bool), r"'mask' .* expected booleans of shape \(8, 8\)"),
        ("mask", np.full((N, N), 0.5), "'mask' is float64"),
        ("mask", np.zeros((N, N), bool), "marks no pixel as valid"),
        ("xcoords_start", np.zeros(2), "'xcoords_start'"),
        ("probeGuess", np.full((N, N), "x"), "'probeGuess' is <U1"),
    ],
)
def test_misshaped_keys_name_key_found_and_expected(write, key, value, words):
    with pytest.raises(DataError, match=words) as error:
        load_raw_npz(write(**{key: value}))
    assert "scan.npz" in str(error.value)


def test_the_old_layout_is_transposed_and_the_old_key_is_read(write):
    data = keys()["diffraction"]
    raw = load_raw_npz(write(diffraction=None, diff3d=data.transpose(1, 2, 0)))
    assert raw.diffraction.shape == (M, N, N)
    np.testing.assert_array_equal(raw.diffraction, data)
    np.testing.assert_array_equal(load_raw_npz(write(diffraction=data.transpose(1, 2, 0)), layout="hwm").diffraction, data)
    with pytest.warns(UserWarning, match="both 'diffraction' and 'diff3d'"):
        load_raw_npz(write(diff3d=data))


def test_as_many_patterns_as_pixels_is_read_one_way_with_a_warning(write):
    data = np.sqrt(np.random.default_rng(0).poisson(6.0, (N, N, N)))
    path = write(xcoords=np.arange(N) * 1.0, ycoords=np.zeros(N), diffraction=data)
    with pytest.warns(UserWarning, match=r"\(8, 8, 8\).*layout='hwm'"):
        raw = load_raw_npz(path)
    np.testing.assert_array_equal(raw.diffraction, data.astype(np.float32))
    np.testing.assert_array_equal(load_raw_npz(path, layout="mhw").diffraction, data.astype(np.float32))
    np.testing.assert_array_equal(load_raw_npz(path, layout="hwm").diffraction, data.transpose(2, 0, 1).astype(np.float32))


def test_swapped_axes_are_told_with_the_shape_expected(write):
    path = write(diffraction=keys()["diffraction"].transpose(1, 0, 2))
    with pytest.raises(
        DataError, match=r"'diffraction' has shape \(8, 9, 8\), expected \(9, N, N\).* Axis 1 has 9 entries: are the axes swapped"
    ):
        load_raw_npz(path)
    with pytest.raises(DataError, match=r"expected \(N, N, 9\)"):
        load_raw_npz(write(), layout="hwm")
    with pytest.raises(ConfigError, match="layout"):
        load_raw_npz(write(), layout="nhw")
    with pytest.raises(DataError, match="expected N = 16"):
        load_raw_npz(write(), N=16)
    with pytest.raises(DataError, match="N even"):
        load_raw_npz(write(diffraction=np.sqrt(np.random.default_rng(0).poisson(6.0, (M, 7, 7))), probeGuess=np.ones((7, 7))))


def test_positions_outside_the_object_are_refused_only_where_there_is_one(write):
    load_raw_npz(write(xcoords=np.arange(M) * -100.0))
    inside = np.ones((16, 30), np.complex64)
    load_raw_npz(write(ycoords=np.linspace(4, 12, M), objectGuess=inside))  # both edges exactly
    with pytest.raises(DataError, match=r"'objectGuess' of shape \(16, 30\); the first is row 8 .*y = 12.1.*4 <= y <= 12"):
        load_raw_npz(write(ycoords=np.linspace(4, 12.1, M), objectGuess=inside))
    with pytest.raises(DataError, match="With x and y swapped all would fit"):
        load_raw_npz(write(ycoords=np.linspace(4, 26, M), xcoords=np.linspace(4, 12, M), objectGuess=inside))


def test_positions_that_occur_twice_are_told(write):
    x = np.array([1.0, 2, 3, 1, 1, 2, 7, 8, 9])
    path = write(xcoords=x, ycoords=np.zeros(M))
    with pytest.warns(UserWarning, match="3 of 9 positions occur twice or more"):
        load_raw_npz(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_raw_npz(write(xcoords=np.arange(M) // 2 * 1.0, ycoords=np.zeros(M), scan_index=np.arange(M) % 2))


@pytest.mark.parametrize(
    ("values", "domain", "words"),
    [
        (lambda counts: counts, "amplitude", "whole numbers.*domain='counts'"),
        (lambda counts: counts.astype(np.int32), "amplitude", "whole numbers"),
        (np.sqrt, "counts", "squares are whole numbers.*domain='amplitude'"),
        (lambda counts: np.sqrt(counts).astype(np.float32), "counts", "squares are whole numbers"),
        (lambda counts: counts * 1e4 + 0.3, "amplitude", "photons in one pixel"),
        (lambda counts: counts / counts.max() / 1.1, "counts", "less than one photon"),
        (lambda counts: counts * 1.003 + 0.002, "amplitude", "the probe's energy"),
        (lambda counts: np.sqrt(counts * 1.003 + 0.002), "counts", "the probe's energy"),
    ],
)
def test_the_other_domain_is_noticed_and_nothing_is_changed(write, values, domain, words):
    counts = np.random.default_rng(3).poisson(6.0, (M, N, N)).astype(np.float64)
    data = values(counts)
    path = write(diffraction=data)
    with pytest.warns(UserWarning, match=words) as caught:
        raw = load_raw_npz(path, domain=domain)
    assert "scan.npz: key 'diffraction'" in str(caught[0].message)
    expected = np.sqrt(data) if domain == "counts" else data
    np.testing.assert_allclose(raw.diffraction, expected, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.02, 1.0, 30.0, 3000.0, 1e6])
@pytest.mark.parametrize("domain", ["amplitude", "counts"])
def test_right_declarations_raise_no_doubt_at_any_brightness(write, rate, domain):
    counts = np.random.default_rng(5).poisson(rate, (M, N, N)).astype(np.float64)
    probe = keys()["probeGuess"] * np.sqrt(rate * N * N / 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = load_raw_npz(
            write(diffraction=counts if domain == "counts" else np.sqrt(counts).astype(np.float32), probeGuess=probe), domain=domain
        )
    np.testing.assert_allclose(np.asarray(raw.diffraction, np.float64) ** 2, counts, rtol=1e-6)


class Bomb:
    """Would make a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("key", ["_metadata", "diffraction", "xcoords", "scan_index", "unused"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pickled_content_is_refused_and_not_executed(write, tmp_path, key):
    bomb = np.empty((), object)
    bomb[()] = Bomb(str(tmp_path / "exploded"))
    path = write(**{key: bomb})
    with pytest.raises(DataError, match=f"key '{key}' holds pickled Python objects .* refused"):
        load_raw_npz(path)
    assert not (tmp_path / "exploded").exists()


def test_a_bare_pickle_is_refused_and_not_executed(tmp_path):
    path = tmp_path / "scan.npz"
    path.write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    with pytest.raises(DataError, match="cannot be read as NPZ"):
        load_raw_npz(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.array(b"{}"), "'_metadata' is .*S2.*unicode"),
        (np.array(["{}"]), r"\(1,\), expected a 0-d unicode"),
        (np.array(3.0), "float64"),
        (np.array("{'a': 1}"), "is no JSON"),
        (np.array("[1, 2]"), "holds a list, expected a JSON object"),
        (np.array("[" * 5000), "JSON|nested"),
    ],
)
def test_metadata_must_be_json_text(write, value, words):
    with pytest.raises(DataError, match=words):
        load_raw_npz(write(_metadata=value))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused_at_once(tmp_path, compressed, share):
    path = tmp_path / "scan.npz"
    (np.savez_compressed if compressed else np.savez)(path, **keys())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="scan.npz: cannot be read as NPZ.*whole"):
        load_raw_npz(path)


def test_damaged_members_are_refused(tmp_path):
    path = tmp_path / "scan.npz"
    buffer = io.BytesIO()
    np.save(buffer, keys()["diffraction"])
    np.savez(path, **keys(diffraction=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("diffraction.npy", buffer.getvalue()[:-100])
    with pytest.raises(DataError, match="key 'diffraction' .* should have 2432 bytes, has 2332"):
        load_raw_npz(path)
    np.savez(path, **keys(diffraction=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("diffraction.npy", b"not an array")
    with pytest.raises(DataError, match="key 'diffraction' is no .npy array"):
        load_raw_npz(path)
    np.savez_compressed(path, **keys())
    content = bytearray(path.read_bytes())
    start = content.index(b"xcoords.npy") + 80
    content[start : start + 10] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(DataError, match="scan.npz"):
        load_raw_npz(path)


def test_a_missing_file_is_told_with_its_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_raw_npz(tmp_path / "none.npz")


def test_negative_and_non_finite_patterns_do_not_delay_opening_but_stop_their_use(write):
    data = keys()["diffraction"]
    data[4, 2, 2] = -3.0
    raw = load_raw_npz(write(diffraction=data))
    assert raw.diffraction[:4].shape == (4, N, N)
    with pytest.raises(DataError, match=r"scan.npz: key 'diffraction': negative value -3 in pattern 4 at pixel \[2, 2\]"):
        raw.diffraction[:]


def test_a_subset_keeps_everything_that_belongs_to_it(write):
    raw = load_raw_npz(write(scan_index=np.arange(M) % 3, xcoords_start=np.arange(M) * 1.0, objectGuess=np.ones((40, 40))))
    part = raw.take(np.array([7, 2]))
    assert part.num_patterns == 2 and part.xcoords.tolist() == raw.xcoords[[7, 2]].tolist()
    assert part.scan_index.tolist() == [1, 2] and part.xcoords_start.tolist() == [7, 2] and part.objectGuess.shape == (40, 40)
    np.testing.assert_array_equal(part.diffraction, raw.diffraction[[7, 2]])
    np.testing.assert_array_equal(part.take(np.array([1])).diffraction[0], raw.diffraction[2])
    np.testing.assert_array_equal(raw.take(np.arange(M)[:0:-1]).diffraction, raw.diffraction[:0:-1])


def test_several_files_are_one_set_with_distinct_scans(write):
    one = write("one.npz", scan_index=np.array([5] * 4 + [2] * 5))
    two = write("two.npz", probeGuess=np.ones((2, N, N)) * 5)
    scans = load_scans([one, two])
    assert scans.num_patterns == 2 * M and scans.size_px == N
    assert scans.scan_index.tolist() == [1] * 4 + [0] * 5 + [2] * M
    assert scans.file_index.tolist() == [0] * M + [1] * M
    assert [scan.probe_modes.shape[0] for scan in scans.scans] == [1, 2]
    np.testing.assert_array_equal(scans.diffraction, np.concatenate([scan.diffraction for scan in scans.scans]))
    assert scans.positions_px.shape == (2 * M, 2)
    with pytest.warns(UserWarning, match="two.npz has another probe than .*one.npz"):
        whole = scans.as_one()
    assert whole.num_patterns == 2 * M and whole.scan_index.tolist() == scans.scan_index.tolist()
    assert isinstance(whole, RawNPZData) and load_scans([one]).as_one().num_patterns == M


def test_sets_that_do_not_go_together_are_refused(write):
    with pytest.raises(DataError, match="at least one"):
        load_scans([])
    small = write("small.npz", diffraction=np.sqrt(np.random.default_rng(0).poisson(5, (M, 4, 4))), probeGuess=np.ones((4, 4)) * 5)
    with pytest.raises(DataError, match="one size.*N = 8.*N = 4"):
        load_scans([write(), small])
    with pytest.raises(DataError, match="different masks"):
        load_scans([write(), write("masked.npz", mask=np.eye(N) == 0)]).as_one()


def test_arrays_in_memory_make_a_scan_too():
    arrays = keys()
    raw = RawNPZData(arrays["xcoords"].tolist(), arrays["ycoords"], arrays["diffraction"], arrays["probeGuess"])
    assert isinstance(raw.diffraction, MeasuredPatterns) and raw.num_patterns == M
    with pytest.raises(DataError, match="raw data: key 'xcoords'"):
        RawNPZData(arrays["xcoords"][:3], arrays["ycoords"], arrays["diffraction"], arrays["probeGuess"])
    with pytest.raises(DataError, match="metadata are a list"):
        RawNPZData(arrays["xcoords"], arrays["ycoords"], arrays["diffraction"], arrays["probeGuess"], metadata=[])
