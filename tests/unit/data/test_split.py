"""The splitter: shares, sizes, groups, folds, names of strategies."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

from photic.core.errors import ConfigError, DataError
from photic.data import StratifiedSplitter
from photic.data.split import check_label_table, parse_strategy, split_deviation

RATIOS = (0.7, 0.15, 0.15)
TABLE = Path(__file__).resolve().parents[3].parent / "shared/data/defects/severstal/all_labels.csv"


def severstal_like(num_rows: int = 2000, seed: int = 0) -> np.ndarray:
    """Draw rows as in the reference set: half of them clean, classes of 7, 2, 41 and 6 percent."""
    rng = np.random.default_rng(seed)
    return rng.random((num_rows, 4)) < (0.0714, 0.0197, 0.4098, 0.0637)


@pytest.fixture(scope="module")
def full_table() -> np.ndarray:
    if not TABLE.is_file():
        pytest.skip(f"no real label table at {TABLE}")
    with open(TABLE, newline="") as handle:
        return np.array([[int(row[f"defect_{c}"]) for c in (1, 2, 3, 4)] for row in csv.DictReader(handle)])


@pytest.mark.real
def test_full_severstal_table_is_split_within_0_6_of_every_share_in_half_a_second(full_table: np.ndarray) -> None:
    splitter = StratifiedSplitter(random_state=42)
    began = time.perf_counter()
    indices = splitter.split(full_table, split_ratios=RATIOS)
    seconds = time.perf_counter() - began
    assert [len(index) for index in indices] == [8798, 1885, 1885]
    assert np.abs(splitter.deviation).max() <= 0.6
    clean = ~full_table.any(axis=1)
    assert max(abs(clean[index].sum() - ratio * clean.sum()) for index, ratio in zip(indices, RATIOS, strict=True)) <= 1
    assert seconds < 0.5
    assert splitter.notes == ()


@pytest.mark.real
def test_full_severstal_table_is_split_at_least_as_well_as_by_iterstrat(full_table: np.ndarray) -> None:
    splitter = StratifiedSplitter(random_state=0)
    splitter.split(full_table)
    assert np.abs(splitter.deviation).max() <= np.abs(split_deviation(full_table, iterstrat_split(full_table), RATIOS)).max() + 1e-9


def iterstrat_split(labels: np.ndarray) -> list[np.ndarray]:
    # iterstrat needs booleans: integers are taken as indices and give nonsense without a word.
    table = labels.astype(bool)
    rows = np.zeros((len(table), 1))
    train, rest = next(MultilabelStratifiedShuffleSplit(n_splits=1, test_size=0.3, random_state=0).split(rows, table))
    val, test = next(MultilabelStratifiedShuffleSplit(n_splits=1, test_size=0.5, random_state=0).split(rows[rest], table[rest]))
    return [train, rest[val], rest[test]]


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_at_least_as_good_as_iterstrat_in_two_steps(seed: int) -> None:
    labels = severstal_like(600, seed)
    splitter = StratifiedSplitter(random_state=seed)
    splitter.split(labels)
    ours = np.abs(splitter.deviation).max()
    assert ours <= 1
    assert ours <= np.abs(split_deviation(labels, iterstrat_split(labels), RATIOS)).max() + 1e-9


def test_a_plain_permutation_would_fail_these_shares() -> None:
    labels = severstal_like()
    order = np.random.default_rng(0).permutation(len(labels))
    plain = np.split(order, [1400, 1700])
    assert np.abs(split_deviation(labels, plain, RATIOS)).max() > 3
    worst = 0.0
    for seed in range(20):
        splitter = StratifiedSplitter(random_state=seed)
        splitter.split(labels)
        worst = max(worst, float(np.abs(splitter.deviation).max()))
    assert worst <= 1


def test_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    labels = severstal_like()
    first, again, other = (StratifiedSplitter(random_state=seed).split(labels) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)


def test_rows_are_picked_at_random_not_in_order() -> None:
    train, val, _ = StratifiedSplitter(random_state=0).split(severstal_like())
    assert abs(train.mean() - 1000) < 60
    assert abs(val.mean() - 1000) < 120


@settings(max_examples=60, deadline=None)
@given(
    num_rows=st.integers(3, 80),
    num_classes=st.integers(1, 5),
    seed=st.integers(0, 2**20),
    ratios=st.sampled_from([RATIOS, (0.8, 0.1, 0.1), (0.5, 0.5), (0.25, 0.25, 0.25, 0.25)]),
)
def test_splits_are_disjoint_complete_sorted_and_of_the_right_sizes(
    num_rows: int, num_classes: int, seed: int, ratios: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < rng.random(num_classes)
    if num_rows < len(ratios):
        return
    indices = StratifiedSplitter(random_state=seed).split(labels, ratios)
    assert sorted(np.concatenate(indices).tolist()) == list(range(num_rows))
    assert all(np.all(np.diff(index) > 0) for index in indices)
    for index, ratio in zip(indices, ratios, strict=True):
        assert len(index) >= 1
        assert abs(len(index) - ratio * num_rows) < 1 or num_rows * min(ratios) < 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**20), num_groups=st.integers(3, 40))
def test_groups_stay_together_and_every_split_gets_one(seed: int, num_groups: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(num_groups), rng.integers(0, num_groups, 60)]) * 7
    labels = rng.random((len(groups), 3)) < 0.3
    for indices in (
        StratifiedSplitter(random_state=seed).split(labels, groups=groups),
        parse_strategy("random_70_15_15").split(labels, seed, groups).indices,
    ):
        members = [set(groups[index].tolist()) for index in indices]
        assert members[0].isdisjoint(members[1]) and members[0].isdisjoint(members[2]) and members[1].isdisjoint(members[2])
        assert sorted(np.concatenate(indices).tolist()) == list(range(len(groups)))
        assert all(members)


def test_small_groups_cost_little_exactness_and_what_they_cost_is_reported() -> None:
    labels = severstal_like(1000)
    groups = np.arange(1000) // 3
    splitter = StratifiedSplitter(random_state=0)
    indices = splitter.split(labels, groups=groups, classes=("a", "b", "c", "d"))
    assert np.abs(splitter.deviation).max() <= 1.5
    assert max(abs(len(index) - ratio * 1000) for index, ratio in zip(indices, RATIOS, strict=True)) <= 3
    assert f"{np.abs(splitter.deviation).max():.2f} samples off" in splitter.notes[-1]
    assert np.allclose(splitter.deviation, split_deviation(labels, indices, RATIOS))


def test_a_huge_group_gives_way_only_as_far_as_it_must() -> None:
    groups = np.concatenate([np.zeros(50, dtype=int), np.arange(1, 51)])
    labels = (np.arange(100) % 2 == 0)[:, None]
    indices = StratifiedSplitter().split(labels, groups=groups)
    assert [len(index) for index in indices] == [70, 15, 15]
    assert 0 in indices[0]


@pytest.mark.parametrize("num_folds", [2, 5, 10])
def test_k_fold_tests_every_row_once_with_every_class_in_its_share(num_folds: int) -> None:
    labels = severstal_like()
    splitter = StratifiedSplitter(random_state=0)
    pairs = splitter.k_fold(labels, num_folds)
    assert len(pairs) == num_folds
    assert sorted(np.concatenate([test for _, test in pairs]).tolist()) == list(range(len(labels)))
    for train, test in pairs:
        assert sorted([*train, *test]) == list(range(len(labels)))
        assert np.abs(labels[test].sum(axis=0) - labels.sum(axis=0) / num_folds).max() <= 1


def test_k_fold_keeps_groups_together() -> None:
    groups = np.arange(60) // 2
    for train, test in StratifiedSplitter().k_fold(severstal_like(60), 5, groups=groups):
        assert set(groups[train]).isdisjoint(groups[test])


def test_a_class_with_one_positive_is_noted_and_goes_to_train() -> None:
    labels = severstal_like(100)
    labels[:, 1] = False
    labels[17, 1] = True
    splitter = StratifiedSplitter()
    train, _, _ = splitter.split(labels, classes=("scratch", "pit", "patch", "crack"))
    assert 17 in train
    assert splitter.notes == ("class 'pit': 1 positive sample in all, none in val, test; its metrics there are undefined",)


def test_a_class_with_as_many_positives_as_splits_appears_in_each() -> None:
    labels = np.zeros((100, 2), dtype=int)
    labels[:3, 0] = 1
    labels[10:14, 1] = 1
    indices = StratifiedSplitter().split(labels)
    assert all(labels[index].any(axis=0).all() for index in indices)


def test_a_nearly_universal_class_leaves_a_negative_in_each_split() -> None:
    labels = np.ones((40, 1), dtype=int)
    labels[:3] = 0
    assert all((labels[index] == 0).any() for index in StratifiedSplitter().split(labels))


def test_boolean_and_integer_tables_give_the_same_split() -> None:
    labels = severstal_like()
    for a, b in zip(StratifiedSplitter().split(labels), StratifiedSplitter().split(labels.astype(int)), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(5, dtype=int), "shape (5,)"),
        (np.zeros((0, 3), dtype=int), "shape (0, 3)"),
        (np.zeros((5, 2)), "float64"),
        (np.array([[0, 1], [2, 0], [0, 0]]), "got 2 in row 1, column 0"),
        (np.array([["a"], ["b"], ["c"]]), "expected booleans"),
        (np.zeros((2, 1), dtype=int), "2 rows cannot fill 3 splits"),
    ],
)
def test_what_is_no_binary_matrix_is_refused(labels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError) as caught:
        StratifiedSplitter().split(labels)
    assert said in str(caught.value)


def test_wrong_groups_and_ratios_are_refused() -> None:
    labels = severstal_like(20)
    with pytest.raises(DataError, match=r"groups: expected one group per row, shape \(20,\)"):
        StratifiedSplitter().split(labels, groups=np.zeros(3))
    with pytest.raises(DataError, match="2 groups of rows cannot fill 3 splits"):
        StratifiedSplitter().split(labels, groups=np.arange(20) % 2)
    with pytest.raises(ConfigError, match="sum to 1"):
        StratifiedSplitter().split(labels, (0.7, 0.2, 0.2))
    with pytest.raises(ConfigError, match="num_folds"):
        StratifiedSplitter().k_fold(labels, 1)


def test_label_table_check_names_the_one_class_column() -> None:
    labels = severstal_like(50)
    classes = ("a", "b", "c", "d")
    labels[:, 1] = False
    with pytest.raises(DataError, match="class 'b': no positive sample among 50"):
        check_label_table(labels, classes)
    labels[:, 1] = True
    with pytest.raises(DataError, match="class 'b': no negative sample"):
        check_label_table(labels, classes)
    assert check_label_table(labels.astype(int), classes, require_both=False).dtype == bool
    with pytest.raises(DataError, match="4 columns for 2 classes"):
        check_label_table(labels, ("a", "b"))


def test_strategies_are_parsed_from_their_names() -> None:
    assert parse_strategy("stratified_70_15_15").ratios == RATIOS
    assert parse_strategy("stratified_80_10_10").kind == "stratified"
    assert parse_strategy("random_60_20_20").kind == "random"
    assert parse_strategy("fixed").kind == "fixed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stratifed_80_10_10", "did you mean 'stratified_80_10_10'"),
        ("stratified_80_10", "did you mean 'stratified_80_10_10'"),
        ("stratified_80_20_20", "80 + 20 + 20 = 120 percent"),
        ("stratified_90_10_0", "positive percentages"),
        ("holdout", "unknown strategy 'holdout'"),
        ("fixd", "did you mean 'fixed'"),
    ],
)
def test_wrong_strategies_are_refused_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_strategy(text)
    assert said in str(caught.value)


def test_strategies_split() -> None:
    labels = severstal_like(200)
    stratified = parse_strategy("stratified_70_15_15").split(labels, seed=3)
    for mine, direct in zip(stratified.indices, StratifiedSplitter(random_state=3).split(labels), strict=True):
        assert np.array_equal(mine, direct)
    assert np.abs(stratified.deviation).max() <= 1
    random = parse_strategy("random_70_15_15").split(labels, seed=3)
    assert [len(index) for index in random.indices] == [140, 30, 30]
    with pytest.raises(ConfigError, match="nothing to compute"):
        parse_strategy("fixed").split(labels, seed=3)
