"""Splits of a label table: stratified by every class, random, with groups kept together, and k-fold."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from photic.core.errors import ConfigError, DataError, nearest
from photic.core.seeding import numpy_generator
from photic.data.allocation import Allocation, round_shares
from photic.data.base import PHASES

_EXAMPLES = ("stratified_70_15_15", "stratified_80_10_10", "random_70_15_15", "random_80_10_10", "fixed")
_STRATEGY = re.compile(r"([a-z]+)_(\d+)_(\d+)_(\d+)")


def split_deviation(labels: Any, indices: Sequence[np.ndarray], ratios: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return how many positives each split has beyond its ideal share.

    Args:
        labels: ``(N, C)`` binary.
        indices: row numbers of each of the ``S`` splits.
        ratios: ideal share of each split; they sum to 1.

    Returns:
        ``(S, C)`` signed numbers of samples: positives of the class in the split minus ``ratio x positives in all``.

    >>> labels = np.array([[1], [0], [1], [0]])
    >>> split_deviation(labels, [np.array([0, 1]), np.array([2, 3])], (0.5, 0.5)).tolist()
    [[0.0], [0.0]]
    """
    table = _binary(labels)
    reached = np.stack([table[np.asarray(index, dtype=int)].sum(axis=0) for index in indices])
    return np.asarray(reached - np.asarray(ratios, dtype=float)[:, None] * table.sum(axis=0)[None, :])


def check_label_table(labels: Any, classes: Sequence[str], *, require_both: bool = True) -> np.ndarray:
    """Return a label table as booleans ``(N, C)`` after checking that something can be learned from it.

    Args:
        labels: ``(N, C)`` binary.
        classes: ``C`` names.
        require_both: every class must have positives and negatives.

    Raises:
        DataError: not a binary matrix, another number of columns than classes, or a class that is always or never present.
    """
    table = _binary(labels)
    if table.shape[1] != len(classes):
        raise DataError(
            f"labels: {table.shape[1]} columns for {len(classes)} classes ({', '.join(classes)}); expected one column per class"
        )
    if require_both:
        positives = table.sum(axis=0)
        for name, count in zip(classes, positives, strict=True):
            if count in (0, len(table)):
                what = "no positive sample" if count == 0 else "no negative sample: it is present in every one"
                raise DataError(
                    f"class '{name}': {what} among {len(table)}; a classifier needs both kinds. "
                    "Add such samples, or leave the class out of the data set"
                )
    return table


class StratifiedSplitter:
    """Splits in which every class, and the rows without any, keep their share; sizes are exact.

    Groups (near-duplicates) stay in one split; exactness then gives way as far as it must. After a call
    :attr:`deviation` holds what was reached and :attr:`notes` what a user should know. The same arguments
    give the same split.

    Args:
        random_state: seed that picks among rows with equal labels.

    Source: the goal of Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data"; solved by
        integer allocation over label combinations (:mod:`photic.data.allocation`).

    >>> labels = np.arange(40)[:, None] % 4 == 0
    >>> train, val, test = StratifiedSplitter(random_state=0).split(labels, (0.5, 0.25, 0.25))
    >>> [int(labels[index].sum()) for index in (train, val, test)]
    [5, 3, 2]
    """

    def __init__(self, random_state: int = 42) -> None:
        self.random_state = random_state
        self.deviation = np.zeros((0, 0))
        """``(S, C)`` positives beyond the ideal share, from the last call."""
        self.notes: tuple[str, ...] = ()
        """Classes too rare for every split, and how far groups moved the shares, from the last call."""

    def split(
        self,
        labels: Any,
        split_ratios: Sequence[float] = (0.7, 0.15, 0.15),
        groups: Any = None,
        classes: Sequence[str] | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Return sorted row numbers of each split.

        Args:
            labels: ``(N, C)`` binary: booleans, or integers 0 and 1.
            split_ratios: share of each split; positive, sum 1.
            groups: ``(N,)`` group of each row; rows of a group stay together.
            classes: ``C`` names for the notes; numbers from 1 if omitted.

        Raises:
            DataError: not a binary matrix, or fewer rows (groups) than splits.
            ConfigError: the ratios are not positive or do not sum to 1.
        """
        ratios = _check_ratios(split_ratios)
        table = _binary(labels)
        group_ids = _check_groups(groups, len(table))
        indices = self._assign(table, ratios, group_ids)
        names = PHASES if len(ratios) == 3 else tuple(f"split {number}" for number in range(1, len(ratios) + 1))
        self.deviation = split_deviation(table, indices, ratios)
        self.notes = _notes(table, indices, names, classes) + self._accuracy(table, names, classes, groups is not None)
        return indices

    def k_fold(
        self, labels: Any, num_folds: int = 5, groups: Any = None, classes: Sequence[str] | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return ``num_folds`` pairs of sorted row numbers (train, test); each row is in exactly one test part.

        Raises:
            DataError: as in :meth:`split`.
            ConfigError: fewer than two folds.
        """
        if num_folds < 2:
            raise ConfigError(f"num_folds: expected at least 2, got {num_folds}")
        ratios = np.full(num_folds, 1 / num_folds)
        table = _binary(labels)
        folds = self._assign(table, ratios, _check_groups(groups, len(table)))
        names = tuple(f"fold {number}" for number in range(1, num_folds + 1))
        self.deviation = split_deviation(table, folds, ratios)
        self.notes = _notes(table, folds, names, classes) + self._accuracy(table, names, classes, groups is not None)
        everything = np.arange(len(table))
        return [(np.setdiff1d(everything, fold, assume_unique=True), fold) for fold in folds]

    def _assign(self, table: np.ndarray, ratios: np.ndarray, group_ids: np.ndarray) -> tuple[np.ndarray, ...]:
        num_units = int(group_ids.max()) + 1
        if num_units < len(ratios):
            what = "groups of rows" if num_units < len(table) else "rows"
            raise DataError(f"labels: {num_units} {what} cannot fill {len(ratios)} splits; add samples or ask for fewer splits")
        rng = numpy_generator(self.random_state, "split")
        # What one unit (row or group) brings: rows, positives of each class, rows without any class.
        brings = np.column_stack([np.ones(len(table), dtype=int), table, ~table.any(axis=1)]).astype(np.int64)
        units = np.zeros((num_units, brings.shape[1]), dtype=np.int64)
        np.add.at(units, group_ids, brings)
        kinds, kind_of_unit, copies = np.unique(units, axis=0, return_inverse=True, return_counts=True)
        numbers = Allocation(kinds, copies, ratios, rng).solve()
        split_of_unit = np.empty(num_units, dtype=int)
        order = rng.permutation(num_units)
        order = order[np.argsort(kind_of_unit.reshape(-1)[order], kind="stable")]  # shuffled within each kind
        split_of_unit[order] = np.repeat(np.tile(np.arange(len(ratios)), len(kinds)), numbers.reshape(-1))
        split_of_row = split_of_unit[group_ids]
        return tuple(np.flatnonzero(split_of_row == number) for number in range(len(ratios)))

    def _accuracy(self, table: np.ndarray, names: Sequence[str], classes: Sequence[str] | None, grouped: bool) -> tuple[str, ...]:
        split, column = divmod(int(np.argmax(np.abs(self.deviation))), table.shape[1])
        worst = abs(self.deviation[split, column])
        if not grouped and worst <= 1:
            return ()
        why = "groups stay together: " if grouped else ""
        where = f"class {_class_names(table, classes)[column]}, {names[split]}"
        return (f"{why}positives are at most {worst:.2f} samples off their ideal share ({where})",)


@dataclass(frozen=True)
class Split:
    """Row numbers of each split and how well they keep the shares."""

    indices: tuple[np.ndarray, ...]
    """Sorted row numbers of train, val and test."""
    deviation: np.ndarray
    """``(3, C)`` positives beyond the ideal share, in samples."""
    notes: tuple[str, ...] = ()
    """What a user should know."""


@dataclass(frozen=True)
class Strategy:
    """A way to split, as named by ``data.split_strategy``."""

    name: str
    kind: Literal["stratified", "random", "fixed"]
    ratios: tuple[float, ...] = ()
    """Shares of train, val and test; empty for ``fixed``."""

    def split(self, labels: Any, seed: int, groups: Any = None, classes: Sequence[str] | None = None) -> Split:
        """Split a label table ``(N, C)``.

        Raises:
            DataError: see :meth:`StratifiedSplitter.split`.
            ConfigError: the strategy is ``fixed``: its split is given with the data, not computed.
        """
        if self.kind == "fixed":
            raise ConfigError("split_strategy: 'fixed' takes the split that comes with the data; there is nothing to compute")
        if self.kind == "stratified":
            splitter = StratifiedSplitter(random_state=seed)
            indices = splitter.split(labels, self.ratios, groups, classes)
            return Split(indices, splitter.deviation, splitter.notes)
        table = _binary(labels)
        indices = random_split(_check_groups(groups, len(table)), _check_ratios(self.ratios), seed)
        return Split(indices, split_deviation(table, indices, self.ratios), _notes(table, indices, PHASES, classes))


def parse_strategy(text: str) -> Strategy:
    """Return the strategy a name such as ``stratified_70_15_15`` stands for.

    Raises:
        ConfigError: neither ``fixed`` nor ``stratified_A_B_C`` or ``random_A_B_C`` with percentages that sum to 100.

    >>> parse_strategy("stratified_80_10_10").ratios
    (0.8, 0.1, 0.1)
    """
    if text == "fixed":
        return Strategy(text, "fixed")
    match = _STRATEGY.fullmatch(text)
    if match is None or match[1] not in ("stratified", "random"):
        hint = nearest(text, _EXAMPLES)
        if match is not None:
            hint = nearest(text, [f"{kind}_{match[2]}_{match[3]}_{match[4]}" for kind in ("stratified", "random")]) or hint
        raise ConfigError(
            f"split_strategy: unknown strategy '{text}'{hint} (expected fixed, stratified_A_B_C or random_A_B_C with percentages of"
            " train, val and test, for example stratified_70_15_15)"
        )
    percentages = [int(number) for number in match.groups()[1:]]
    if sum(percentages) != 100 or min(percentages) < 1:
        raise ConfigError(f"split_strategy: '{text}' gives {' + '.join(map(str, percentages))} = {sum(percentages)} percent; expected three"
                          " positive percentages that sum to 100, for example stratified_70_15_15")  # fmt: skip
    ratios = tuple(percentage / 100 for percentage in percentages)
    return Strategy(text, "stratified" if match[1] == "stratified" else "random", ratios)


def random_split(group_ids: np.ndarray, ratios: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Return sorted row numbers of each split, groups drawn at random and kept together.

    Args:
        group_ids: ``(N,)`` group of each row, numbered from 0 without gaps.
        ratios: share of each split; they sum to 1.
        seed: draws the order of the groups.

    Raises:
        DataError: fewer groups than splits.
    """
    num_units = int(group_ids.max()) + 1
    if num_units < len(ratios):
        raise DataError(f"labels: {num_units} rows or groups cannot fill {len(ratios)} splits; add samples or ask for fewer splits")
    order = numpy_generator(seed, "split").permutation(num_units)
    rows_before = np.cumsum(np.bincount(group_ids)[order])
    borders = np.cumsum(round_shares(len(group_ids), ratios))[:-1]
    cuts: list[int] = []
    for number, border in enumerate(borders):
        cut = int(np.searchsorted(rows_before, border)) + 1
        # A large group can swallow a border; every split keeps at least one unit.
        first, last = (cuts[-1] if cuts else 0) + 1, num_units - len(borders) + number
        cuts.append(min(max(cut, first), last))
    parts = np.split(order, cuts)
    return tuple(np.flatnonzero(np.isin(group_ids, part)) for part in parts)


def _notes(table: np.ndarray, indices: Sequence[np.ndarray], names: Sequence[str], classes: Sequence[str] | None) -> tuple[str, ...]:
    notes = []
    for column, label in enumerate(_class_names(table, classes)):
        total = int(table[:, column].sum())
        empty = [name for name, index in zip(names, indices, strict=True) if not table[index, column].any()]
        if empty:
            amount = f"{total} positive sample" + "s" * (total != 1)
            notes.append(f"class {label}: {amount} in all, none in {', '.join(empty)}; its metrics there are undefined")
    return tuple(notes)


def _class_names(table: np.ndarray, classes: Sequence[str] | None) -> list[str]:
    if classes is None:
        return [str(number) for number in range(1, table.shape[1] + 1)]
    if len(classes) != table.shape[1]:
        raise DataError(
            f"labels: {table.shape[1]} columns for {len(classes)} classes ({', '.join(classes)}); expected one column per class"
        )
    return [f"'{name}'" for name in classes]


def _binary(labels: Any) -> np.ndarray:
    table = np.asarray(labels)
    if table.ndim != 2 or 0 in table.shape:
        raise DataError(f"labels: expected a binary matrix (samples, classes), got shape {table.shape}")
    if table.dtype == bool:
        return table
    if not np.issubdtype(table.dtype, np.integer):
        raise DataError(f"labels: expected booleans or integers 0 and 1, got {table.dtype}; convert them, for example with labels > 0.5")
    wrong = np.argwhere((table != 0) & (table != 1))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(f"labels: expected 0 or 1, got {table[row, column]} in row {row}, column {column} ({len(wrong)} such values)")
    return table.astype(bool)


def _check_ratios(ratios: Sequence[float]) -> np.ndarray:
    values = np.asarray(ratios, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not (values > 0).all() or not math.isclose(values.sum(), 1, abs_tol=1e-6):
        raise ConfigError(f"split_ratios: expected at least two positive shares that sum to 1, got {tuple(ratios)}")
    return np.asarray(values / values.sum())


def _check_groups(groups: Any, num_rows: int) -> np.ndarray:
    """Return group numbers from 0 without gaps; every row is its own group if none are given."""
    if groups is None:
        return np.arange(num_rows)
    ids = np.asarray(groups)
    if ids.shape != (num_rows,):
        raise DataError(f"groups: expected one group per row, shape ({num_rows},), got {ids.shape}")
    group_ids: np.ndarray = np.unique(ids, return_inverse=True)[1]
    return group_ids.reshape(-1)
