"""Lazy patterns hold what an array holds, read only what is indexed, and refuse what cannot be measured."""

from __future__ import annotations

import multiprocessing
import pickle
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photic.apps.ptycho.npz import NpzFile
from photic.apps.ptycho.patterns import CroppedPatterns, JoinedPatterns, MeasuredPatterns, as_patterns, mean_energy
from photic.apps.ptycho.stores import Hdf5Store, MappedStore, MemoryStore
from photic.core.errors import DataError

M, N = 7, 6


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(0).poisson(5.0, (M, N, N)).astype(np.uint16)


@pytest.fixture(scope="module")
def sources(counts, tmp_path_factory):
    """The same amplitudes behind every kind of storage."""
    folder = tmp_path_factory.mktemp("stores")
    amplitude = np.sqrt(counts.astype(np.float64)).astype(np.float32)
    np.savez(folder / "plain.npz", diffraction=amplitude, other=np.arange(3))
    np.savez(folder / "fortran.npz", diffraction=np.asfortranarray(amplitude))
    np.savez_compressed(folder / "small.npz", diffraction=amplitude)
    np.savez(folder / "hwm.npz", diffraction=np.ascontiguousarray(counts.transpose(1, 2, 0)))
    np.savez(folder / "shifted.npz", diffraction=np.fft.ifftshift(amplitude, axes=(1, 2)))
    with h5py.File(folder / "counts.h5", "w") as file:
        file.create_dataset("deep/data", data=counts, chunks=(3, N, N), compression="gzip")
    return {
        "memory": MeasuredPatterns(MemoryStore(counts), domain="counts"),
        "mapped": MeasuredPatterns(NpzFile(folder / "plain.npz").store("diffraction")),
        "fortran": MeasuredPatterns(NpzFile(folder / "fortran.npz").store("diffraction")),
        "compressed": MeasuredPatterns(NpzFile(folder / "small.npz").store("diffraction")),
        "old layout": MeasuredPatterns(NpzFile(folder / "hwm.npz").store("diffraction"), domain="counts", layout="hwm"),
        "corner": MeasuredPatterns(NpzFile(folder / "shifted.npz").store("diffraction"), is_dc_centred=False),
        "hdf5": MeasuredPatterns(Hdf5Store(folder / "counts.h5", "deep/data"), domain="counts"),
        "joined": JoinedPatterns([as_patterns(amplitude[:3]), as_patterns(amplitude[3:])]),
        "taken": as_patterns(amplitude[::-1]).take(np.arange(M)[::-1]),
    }


KINDS = ["memory", "mapped", "fortran", "compressed", "old layout", "corner", "hdf5", "joined", "taken"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_is_the_same_array(sources, counts, kind):
    patterns = sources[kind]
    expected = np.sqrt(counts.astype(np.float64)).astype(np.float32)
    assert patterns.shape == (M, N, N) and len(patterns) == M and patterns.ndim == 3 and patterns.dtype == np.float32
    np.testing.assert_allclose(np.asarray(patterns), expected, rtol=1e-6)
    assert np.asarray(patterns, dtype=np.float64).dtype == np.float64
    for key in (
        0,
        -1,
        slice(1, 5),
        slice(None, None, -2),
        [3, 1, 1],
        np.array([], int),
        np.arange(M) % 2 == 0,
        (2, 1),
        (slice(0, 2), 3),
        ...,
    ):
        found = patterns[key]
        np.testing.assert_allclose(found, expected[key], rtol=1e-6)
        assert found.dtype == np.float32
    assert patterns[np.array([[0, 1], [2, 3]])].shape == (2, 2, N, N)
    np.testing.assert_allclose(np.stack(list(patterns)), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_pickled_and_what_lies_in_a_file_stays_there(sources, kind):
    patterns = sources[kind]
    first = patterns[2]
    text = pickle.dumps(patterns)
    np.testing.assert_array_equal(pickle.loads(text)[2], first)
    if kind in ("mapped", "fortran", "old layout", "corner", "hdf5"):
        assert len(text) < 1000


def read_row(patterns, row, queue):
    queue.put(patterns[row])


@pytest.mark.parametrize("kind", ["mapped", "hdf5"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_the_file_again(sources, kind, method):
    patterns = sources[kind]
    here = patterns[4]  # opened in this process first
    if method == "spawn":
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(patterns))[4], here)
        return
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=read_row, args=(patterns, 4, queue))
    child.start()
    there = queue.get()
    child.join()
    np.testing.assert_array_equal(there, here)
    np.testing.assert_array_equal(patterns[4], here)


@given(st.lists(st.integers(-M, M - 1), max_size=12), st.sampled_from(KINDS))
@settings(max_examples=60, deadline=None)
def test_any_rows_in_any_order(sources, counts, rows, kind):
    np.testing.assert_allclose(sources[kind][rows], np.sqrt(counts.astype(np.float32))[rows], rtol=1e-6)


@pytest.mark.parametrize("key", [M, -M - 1, [0, M], 1.5, np.ones(3, bool)])
def test_indices_that_are_none_raise(sources, key):
    with pytest.raises(IndexError):
        sources["mapped"][key]


def test_uncompressed_patterns_are_mapped_and_compressed_ones_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", diffraction=np.ones((2, 4, 4)))
    np.savez_compressed(tmp_path / "b.npz", diffraction=np.ones((2, 4, 4)))
    assert isinstance(NpzFile(tmp_path / "a.npz").store("diffraction"), MappedStore)
    assert isinstance(NpzFile(tmp_path / "b.npz").store("diffraction"), MemoryStore)


@pytest.mark.parametrize("layout", ["mhw", "hwm", "fortran"])
def test_taking_a_few_patterns_does_not_copy_all(tmp_path, layout):
    data = np.arange(2000 * 16 * 16, dtype=np.float32).reshape(2000, 16, 16)
    stored = {"mhw": data, "hwm": np.ascontiguousarray(data.transpose(1, 2, 0)), "fortran": np.asfortranarray(data)}[layout]
    np.savez(tmp_path / "a.npz", odd=np.zeros(3, np.uint8), diffraction=stored)
    patterns = MeasuredPatterns(NpzFile(tmp_path / "a.npz").store("diffraction"), layout="hwm" if layout == "hwm" else "mhw")
    tracemalloc.start()
    found = patterns[[5, 1900, 7]]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, data[[5, 1900, 7]])
    assert peak < data.nbytes / 20


def test_counts_become_amplitudes_and_integers_are_cast_first():
    counts = np.array([[[200, 4], [0, 255]]], np.uint8)
    patterns = as_patterns(counts, domain="counts")
    np.testing.assert_allclose(patterns[0], np.sqrt([[200.0, 4], [0, 255]]), rtol=1e-6)
    amplitudes = as_patterns(counts, domain="amplitude")
    assert mean_energy(amplitudes) == 200**2 + 4**2 + 255**2  # would be 224 if uint8 were squared
    assert np.asarray(as_patterns(np.full((1, 2, 2), 2**31, np.uint32), domain="counts")).max() == np.float32(np.sqrt(2.0**31))


@pytest.mark.parametrize(
    ("value", "word"), [(-1.0, "negative"), (np.nan, "non-finite"), (np.inf, "non-finite"), (-np.inf, "non-finite"), (1e60, "non-finite")]
)
@pytest.mark.parametrize("domain", ["amplitude", "counts"])
def test_impossible_values_are_refused_where_they_are_gathered(value, word, domain):
    data = np.ones((4, 4, 4))
    data[2, 1, 3] = value
    patterns = as_patterns(data, domain=domain, where="scan.npz: key 'diffraction'")
    assert patterns[:2].shape == (2, 4, 4)  # the others can be used
    with pytest.raises(DataError, match=rf"scan.npz: key 'diffraction': {word} value .* in pattern 2 at pixel \[1, 3\].*mask") as error:
        patterns[[0, 2]]
    assert f"{domain} >= 0" in str(error.value)


def test_masked_pixels_read_as_zero_whatever_they_hold():
    data = np.full((2, 4, 4), 9.0)
    data[:, 0, 1], data[1, 2, 2] = -1, np.nan
    mask = np.ones((4, 4), bool)
    mask[0, 1] = mask[2, 2] = False
    patterns = as_patterns(data, domain="counts", mask=mask)
    np.testing.assert_array_equal(np.asarray(patterns), np.where(mask, 3.0, 0.0)[None].repeat(2, 0))
    further = patterns.masked(np.arange(16).reshape(4, 4) != 5)
    assert further[0][1, 1] == 0 and further[0][0, 1] == 0 and patterns[0][1, 1] == 3
    with pytest.raises(DataError, match="mask has shape"):
        patterns.masked(np.ones((3, 3), bool))


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("orientation", [(t, r, c) for t in (False, True) for r in (False, True) for c in (False, True)])
def test_turning_keeps_the_zero_frequency_where_it_is(size, orientation):
    field = np.random.default_rng(1).normal(size=(size, size))
    field[0] = field[:, 0] = 0  # so that the index without a partner does not matter
    frame = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(field)))) ** 2
    found = MeasuredPatterns(MemoryStore(frame[None]), orientation=orientation)[0]
    turned = field.T if orientation[0] else field
    for axis in (0, 1):
        if orientation[axis + 1]:
            index = -np.arange(size) % size if size % 2 == 0 else np.arange(size)[::-1]
            turned = np.take(turned, index, axis)
    np.testing.assert_allclose(found, np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(turned)))) ** 2, rtol=1e-4, atol=1e-4)
    assert found[size // 2, size // 2] == pytest.approx(frame[size // 2, size // 2])


def test_frames_are_cropped_around_the_zero_frequency():
    frames = np.zeros((1, 10, 12))
    frames[0, 5, 6] = 1.0
    assert MeasuredPatterns(MemoryStore(frames), crop_px=4)[0][2, 2] == 1
    frames[0, 5, 6], frames[0, 4, 8] = 0.0, 1.0
    assert MeasuredPatterns(MemoryStore(frames), crop_px=4, center_px=(4, 8))[0][2, 2] == 1
    square = as_patterns(np.pad(frames[:, :, 1:11], 0))
    assert CroppedPatterns(square, 4).shape == (1, 4, 4)
    np.testing.assert_array_equal(CroppedPatterns(square, 4)[0], square[0][3:7, 3:7])
    with pytest.raises(DataError, match="10 x 12 pixels are not square"):
        MeasuredPatterns(MemoryStore(frames))
    with pytest.raises(DataError, match="not inside"):
        MeasuredPatterns(MemoryStore(frames), crop_px=8, center_px=(1, 6))


@pytest.mark.parametrize("data", [np.ones((4, 4)), np.ones((2, 4, 4), complex), np.full((2, 4, 4), "a"), np.ones((2, 4, 4), bool)])
def test_other_things_than_stacks_of_real_numbers_are_refused(data):
    with pytest.raises(DataError, match=r"expected real numbers of shape \(M, N, N\)"):
        as_patterns(data)


def test_unknown_domains_and_sizes_that_differ_are_refused():
    with pytest.raises(DataError, match="domain 'intensity' is unknown"):
        as_patterns(np.ones((1, 2, 2)), domain="intensity")
    with pytest.raises(DataError, match="expected one size"):
        JoinedPatterns([as_patterns(np.ones((1, 2, 2))), as_patterns(np.ones((1, 4, 4)))])


def test_chunks_are_bounded_and_complete(counts):
    patterns = as_patterns(counts, domain="counts")
    pieces = list(patterns.chunks(max_bytes=3 * N * N * 4))
    assert [(start, len(piece)) for start, piece in pieces] == [(0, 3), (3, 3), (6, 1)]
    np.testing.assert_array_equal(np.concatenate([piece for _, piece in pieces]), np.asarray(patterns))
    assert mean_energy(patterns) == pytest.approx(counts.sum(dtype=np.int64) / M, rel=1e-6)


def test_a_file_that_shrinks_or_goes_is_an_error(tmp_path):
    np.savez(tmp_path / "a.npz", diffraction=np.ones((20, 16, 16)))
    patterns = MeasuredPatterns(NpzFile(tmp_path / "a.npz").store("diffraction"))
    (tmp_path / "a.npz").unlink()
    with pytest.raises(DataError, match="changed or removed"):
        patterns[0]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"] = np.ones((3, 4, 4))
    patterns = pickle.loads(pickle.dumps(MeasuredPatterns(Hdf5Store(tmp_path / "b.h5", "data"))))
    (tmp_path / "b.h5").unlink()
    with pytest.raises(DataError, match="patterns cannot be read"):
        patterns[0]
