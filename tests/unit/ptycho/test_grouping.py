"""Groups against a slow reference: brute-force distances, loops, no tree."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photic.apps.ptycho.grouping import bilinear_patches, group_coordinates, group_indices, group_raw_npz, normalization_of
from photic.apps.ptycho.patterns import LazyArray, Patterns, as_patterns
from photic.apps.ptycho.raw import RawNPZData, Scans
from photic.core.errors import ConfigError, DataError

N = 8


def scan(count=30, seed=0, **changes):
    generator = np.random.default_rng(seed)
    positions = generator.random((count, 2)) * 20 + N
    truth = generator.normal(size=(40, 44)) + 1j * generator.normal(size=(40, 44))
    return RawNPZData(
        **{
            "xcoords": positions[:, 0],
            "ycoords": positions[:, 1],
            "diffraction": np.sqrt(generator.poisson(4.0, (count, N, N))),
            "probeGuess": np.ones((N, N)),
            "objectGuess": truth,
            **changes,
        }
    )


def allowed_neighbours(positions, scan_index, row, neighbor_count):
    """Rows that may be in the group of a row, with ties."""
    here = np.flatnonzero((scan_index == scan_index[row]) & (np.arange(len(positions)) != row))
    distance = np.linalg.norm(positions[here] - positions[row], axis=1)
    nearest = min(neighbor_count, len(here))
    return set(here[distance <= np.sort(distance)[nearest - 1] + 1e-9].tolist())


@given(
    count=st.integers(4, 40),
    gridsize=st.sampled_from([1, 2]),
    extra=st.integers(0, 6),
    seed=st.integers(0, 5),
    is_grid=st.booleans(),
    num_scans=st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
def test_groups_are_the_seed_and_near_others_of_its_own_scan(*, count, gridsize, extra, seed, is_grid, num_scans):
    generator = np.random.default_rng(seed)
    positions = np.stack(np.divmod(np.arange(count), 6), axis=1).astype(float) if is_grid else generator.random((count, 2))
    scan_index = np.sort(generator.integers(0, num_scans, count))[generator.permutation(count)]
    group_size = gridsize**2
    if min(np.bincount(scan_index)[np.unique(scan_index)]) < group_size:
        return
    groups = group_indices(positions, scan_index, gridsize=gridsize, neighbor_count=group_size + extra, seed=seed)
    assert groups.shape == (count, group_size) and groups.dtype == np.int64
    assert groups[:, 0].tolist() == list(range(count))
    for row, group in enumerate(groups.tolist()):
        assert len(set(group)) == group_size
        if group_size > 1:
            assert set(group[1:]) <= allowed_neighbours(positions, scan_index, row, group_size + extra)


def test_all_neighbours_are_taken_where_there_is_no_choice_and_drawn_evenly_where_there_is():
    positions = np.random.default_rng(0).random((400, 2))
    assert group_indices(np.array([[0.0, 0], [1, 0], [3, 0], [9, 0]]), gridsize=2, neighbor_count=9).tolist() == [
        [0, 1, 2, 3],
        [1, 0, 2, 3],
        [2, 1, 0, 3],
        [3, 2, 1, 0],
    ]
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    ranks = np.argsort(np.argsort(distance, axis=1), axis=1)
    drawn = np.concatenate(
        [np.take_along_axis(ranks, group_indices(positions, gridsize=2, neighbor_count=6, seed=seed), axis=1)[:, 1:] for seed in range(20)]
    )
    assert set(drawn.reshape(-1).tolist()) == set(range(1, 7))
    share = np.bincount(drawn.reshape(-1), minlength=7)[1:] / drawn.size
    assert np.abs(share - 1 / 6).max() < 0.01
    assert (np.diff(drawn, axis=1) > 0).all()  # from near to far


def test_the_same_seed_gives_the_same_groups_and_global_generators_do_not_matter():
    positions = np.random.default_rng(0).random((300, 2))
    options = {"gridsize": 2, "neighbor_count": 8, "n_groups": 100}
    np.random.seed(1)
    first = group_indices(positions, seed=3, **options)
    np.random.seed(2)
    np.testing.assert_array_equal(group_indices(positions, seed=3, **options), first)
    assert not np.array_equal(group_indices(positions, seed=4, **options), first)


def test_more_groups_than_a_chunk_are_the_same_groups(monkeypatch):
    positions = np.random.default_rng(0).random((500, 2))
    monkeypatch.setattr("photic.apps.ptycho.grouping._CHUNK", 64)
    groups = group_indices(positions, gridsize=2, neighbor_count=5)
    for row, group in enumerate(groups.tolist()):
        assert group[0] == row and set(group[1:]) <= allowed_neighbours(positions, np.zeros(500), row, 5) and len(set(group)) == 4


def test_seeds_are_drawn_without_replacement_and_repeat_only_when_oversampled():
    positions = np.random.default_rng(0).random((50, 2))
    some = group_indices(positions, n_groups=20, seed=1)[:, 0]
    assert len(set(some.tolist())) == 20 and (np.diff(some) > 0).all()
    with pytest.warns(UserWarning, match="asked for 70 groups of 50 patterns, made 50; oversample=True"):
        assert len(group_indices(positions, n_groups=70)) == 50
    more = group_indices(positions, gridsize=2, neighbor_count=6, n_groups=120, oversample=True)
    times = np.bincount(more[:, 0])
    assert len(more) == 120 and set(times.tolist()) == {2, 3}
    twice = more[more[:, 0] == more[0, 0]]
    assert len({tuple(group) for group in twice.tolist()}) > 1  # the same seed with other neighbours
    assert group_indices(positions, seeds=np.array([7, 7, 3]))[:, 0].tolist() == [7, 7, 3]


def test_positions_that_repeat_keep_the_seed_in_its_group_once():
    positions = np.repeat(np.random.default_rng(0).random((5, 2)), 20, axis=0)
    groups = group_indices(positions, gridsize=2, neighbor_count=6)
    assert groups[:, 0].tolist() == list(range(100))
    assert all(len(set(group)) == 4 for group in groups.tolist())
    same = np.zeros((30, 2))
    assert all(len(set(group)) == 4 for group in group_indices(same, gridsize=2, neighbor_count=6).tolist())


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"gridsize": 2, "neighbor_count": 3}, ConfigError, r"4 patterns \(C\), expected K >= C, got 3"),
        ({"gridsize": 0}, ConfigError, "gridsize"),
        ({"neighbor_count": 0}, ConfigError, "neighbor_count"),
        ({"n_groups": 0}, ConfigError, "n_groups"),
        ({"gridsize": 4, "neighbor_count": 16}, DataError, "M = 10 patterns, fewer than the C = 16"),
        ({"gridsize": 2, "neighbor_count": 4, "scan_index": np.array([0] * 7 + [5] * 3)}, DataError, "scan 5 has M = 3 patterns"),
        ({"seeds": np.array([10])}, DataError, "from 0 to 9"),
        ({"seeds": np.array([0.5])}, DataError, "float64"),
        ({"scan_index": np.zeros(3)}, DataError, r"expected shape \(10,\)"),
    ],
)
def test_impossible_groups_are_refused(changes, error, words):
    with pytest.raises(ValueError, match=words) as caught:
        group_indices(np.random.default_rng(0).random((10, 2)), **changes)
    assert isinstance(caught.value, error)


def test_positions_must_be_finite_pairs():
    for positions in (np.zeros((3, 3)), np.zeros(3), np.full((3, 2), np.nan)):
        with pytest.raises(DataError, match=r"finite numbers of shape \(M, 2\)"):
            group_indices(positions)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_dictionary_keeps_the_design_page(gridsize):
    raw = scan()
    size = gridsize**2
    found = group_raw_npz(raw, N=N, gridsize=gridsize, neighbor_count=6, n_groups=12, seed=2)
    indices = found["nn_indices"]
    assert indices.shape == (12, size)
    assert found["diffraction"].shape == found["X_full"].shape == found["Y"].shape == (12, N, N, size)
    assert isinstance(found["diffraction"], LazyArray) and isinstance(found["X_full"], LazyArray)
    whole = np.asarray(raw.diffraction)
    expected = np.empty((12, N, N, size), np.float32)
    coords = np.empty((12, 1, 2, size))
    for b in range(12):
        for c in range(size):
            expected[b, :, :, c] = whole[indices[b, c]]
            coords[b, 0, 0, c], coords[b, 0, 1, c] = raw.xcoords[indices[b, c]], raw.ycoords[indices[b, c]]
    np.testing.assert_array_equal(found["diffraction"], expected)
    np.testing.assert_array_equal(found["diffraction"][3:7], expected[3:7])
    np.testing.assert_array_equal(found["diffraction"][-1], expected[-1])
    np.testing.assert_array_equal(found["coords_nn"], coords)
    np.testing.assert_allclose(found["coords_offsets"], coords.mean(axis=3, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(found["coords_relative"], -(coords - coords.mean(axis=3, keepdims=True)), atol=1e-12)
    scale = np.sqrt((N / 2) ** 2 / np.mean((whole.astype(np.float64) ** 2).sum(axis=(1, 2))))
    assert found["normalization"] == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(found["X_full"], expected * scale, rtol=1e-5)
    assert found["objectGuess"] is raw.objectGuess


def test_the_sign_of_relative_coordinates_points_from_the_pattern_to_the_middle():
    _, offsets, relative = group_coordinates(np.array([[10.0, 20.0], [14.0, 20.0]]), np.array([[0, 1]]))
    assert offsets.reshape(-1).tolist() == [12.0, 20.0]
    assert relative[0, 0].tolist() == [[2.0, -2.0], [0.0, 0.0]]


def test_a_test_set_uses_the_training_set_s_scalar():
    train, test = scan(), scan(seed=1, diffraction=np.full((30, N, N), 7.0))
    scale = group_raw_npz(train, gridsize=1)["normalization"]
    found = group_raw_npz(test, gridsize=1, normalization=scale)
    assert found["normalization"] == scale == normalization_of(train.diffraction)
    np.testing.assert_allclose(found["X_full"][0], 7.0 * scale, rtol=1e-6)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ConfigError, match="normalization"):
            group_raw_npz(test, gridsize=1, normalization=wrong)
    with pytest.raises(DataError, match="zero"):
        normalization_of(as_patterns(np.zeros((2, 4, 4))))
    with pytest.raises(DataError, match="expected N = 16"):
        group_raw_npz(train, N=16)


def slow_patch(truth, x, y, size):
    found = np.empty((size, size), complex)
    for i in range(size):
        for j in range(size):
            row, column = y - size // 2 + i, x - size // 2 + j
            r, c = int(np.floor(row)), int(np.floor(column))
            value = 0
            for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (row - r if dr else 1 - row + r) * (column - c if dc else 1 - column + c)
                value += weight * truth[min(r + dr, truth.shape[0] - 1), min(c + dc, truth.shape[1] - 1)] if weight else 0
            found[i, j] = value
    return found


def test_patches_of_the_truth_lie_at_the_positions():
    raw = scan()
    found = group_raw_npz(raw, gridsize=2, neighbor_count=5)
    for b, c in ((0, 0), (3, 2), (29, 3)):
        row = found["nn_indices"][b, c]
        expected = slow_patch(raw.objectGuess, raw.xcoords[row], raw.ycoords[row], N)
        np.testing.assert_allclose(found["Y"][b][:, :, c], expected, atol=1e-5)
    edge = np.array([[4.0, 4.0], [44 - 4, 40 - 4]])
    patches = bilinear_patches(raw.objectGuess, edge, N)
    np.testing.assert_array_equal(patches[0], raw.objectGuess[:N, :N])
    np.testing.assert_array_equal(patches[1], raw.objectGuess[-N:, -N:])
    assert group_raw_npz(scan(objectGuess=None), gridsize=1)["Y"] is None


def test_files_are_never_mixed_and_keep_their_truth():
    one, two = scan(20, 0), scan(25, 1)
    found = group_raw_npz(Scans((one, two)), gridsize=2, neighbor_count=8)
    files = np.array([0] * 20 + [1] * 25)[found["nn_indices"]]
    assert (files == files[:, :1]).all() and len(files) == 45
    assert found["objectGuess"] == (one.objectGuess, two.objectGuess)
    row = found["nn_indices"][30, 1] - 20
    np.testing.assert_allclose(found["Y"][30][:, :, 1], slow_patch(two.objectGuess, two.xcoords[row], two.ycoords[row], N), atol=1e-5)
    np.testing.assert_array_equal(found["diffraction"][30][:, :, 1], two.diffraction[row])
    mixed = group_raw_npz(Scans((one, scan(25, 1, objectGuess=None))), gridsize=1)
    assert mixed["Y"] is None and mixed["objectGuess"][1] is None
    assert set(mixed["scan_index"].tolist()) == {0, 1}


class Counting(Patterns):
    """Patterns that say how many were gathered at once."""

    def __init__(self, count):
        self.shape = (count, N, N)
        self.most = 0

    def gather(self, rows):
        self.most = max(self.most, len(rows))
        return np.ones((len(rows), N, N), np.float32)


def test_nothing_exists_before_it_is_indexed():
    patterns = Counting(5000)
    positions = np.random.default_rng(0).random((5000, 2)) * 1000
    raw = RawNPZData(positions[:, 0], positions[:, 1], patterns, np.ones((N, N)))
    tracemalloc.start()
    found = group_raw_npz(raw, gridsize=2, neighbor_count=8, normalization=1.0)
    assert patterns.most == 0
    found["X_full"][:10]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert patterns.most <= 40
    assert peak < 5000 * N * N * 4 * 4  # C copies of all patterns


def test_indices_can_be_written_down():
    assert json.dumps(group_indices(np.random.default_rng(0).random((5, 2)), gridsize=2, neighbor_count=4).tolist())
