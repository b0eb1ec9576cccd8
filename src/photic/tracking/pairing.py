"""Differences between groups of runs on the same test pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from photic.metrics.bootstrap import PredictionPair, mean_difference
from photic.tracking.compared import ComparedRun, Group
from photic.tracking.predictions import Predictions


@dataclass(frozen=True)
class RunPair:
    """Two runs that were tested on the same pictures."""

    first: ComparedRun
    second: ComparedRun
    values: dict[str, dict[str, float | int]]
    """As in :attr:`Difference.values`, for this pair alone."""


@dataclass(frozen=True)
class Difference:
    """A group against the first one, on the same test pictures."""

    group: Group
    against: Group
    pairs: list[RunPair]
    num_pictures: int
    """Different test pictures in all pairs together."""
    values: dict[str, dict[str, float | int]]
    """``macro_ap``, ``macro_f1`` and ``ap/<class>`` to ``value`` (this group minus the other, mean over pairs), ``low``,
    ``high`` (95 %, paired bootstrap over pictures), ``num_valid``, ``share_above_zero``."""

    def num_better(self, name: str) -> int:
        """Return in how many pairs this group has the higher value."""
        return sum(pair.values[name]["value"] > 0 for pair in self.pairs)


def hold_against(group: Group, against: Group) -> tuple[Difference | None, list[str]]:
    """Return the difference between two groups, and what a reader must know about it.

    Runs of equal seed and fold are paired first; then, where the test pictures do not depend on the seed, those
    that are left. Without any pair there is no difference, and the reason is told.
    """
    matched, reasons = _matched(group, against)
    if not matched:
        return None, [f"{group.label}: no paired difference from {against.label}, since {reasons[0]}"]
    notes = []
    if len(matched) < max(len(group.runs), len(against.runs)):
        why = f", since {reasons[0]}" if reasons else ""
        counts = f"{len(matched)} of its {len(group.runs)} runs with {len(matched)} of {len(against.runs)}"
        notes.append(f"{group.label}: held against {against.label} by {counts}{why}")
    if any(first.fingerprint != second.fingerprint for first, second in matched):
        notes.append(
            f"{group.label}: the data are not those of {against.label} (another fingerprint); the test pictures have the same names "
            "and labels and are taken to be the same"
        )
    classes = matched[0][0].predictions.classes
    pairs = [_pair(first, second, classes) for first, second in matched]
    values = mean_difference(pairs, classes=classes)
    single = [values] if len(pairs) == 1 else [mean_difference([pair], classes=classes) for pair in pairs]
    num_pictures = len({name for pair in pairs for name in pair.names})
    rows = [RunPair(*runs, own) for runs, own in zip(matched, single, strict=True)]
    return Difference(group, against, rows, num_pictures, values), notes


def _matched(group: Group, against: Group) -> tuple[list[tuple[ComparedRun, ComparedRun]], list[str]]:
    """Return pairs of runs (of ``against``, of ``group``), and why others found no partner."""
    free = list(against.runs)
    partners: dict[int, ComparedRun] = {}
    reasons = []
    for position, run in enumerate(group.runs):
        partner = next((other for other in free if other.key == run.key), None)
        if partner is not None and (reason := mismatch(partner, run)):
            reasons.append(reason)
        elif partner is not None:
            free.remove(partner)
            partners[position] = partner
    for position, run in enumerate(group.runs):
        if position in partners:
            continue
        partner = next((other for other in free if not mismatch(other, run)), None)
        if partner is not None:
            free.remove(partner)
            partners[position] = partner
        elif free:
            reasons.append(mismatch(free[0], run))
    return [(partners[position], run) for position, run in enumerate(group.runs) if position in partners], reasons


def mismatch(first: ComparedRun, second: ComparedRun) -> str:
    """Return why two runs cannot be paired, or an empty text."""
    one, two = first.predictions, second.predictions
    if set(one.classes) != set(two.classes):
        return f"the classes differ ({', '.join(one.classes)} and {', '.join(two.classes)})"
    if set(one.names) != set(two.names):
        common = len(set(one.names) & set(two.names))
        return f"they were tested on other pictures ({len(one.names)} and {len(two.names)}, {common} in common)"
    if first.root is None and first.fingerprint != second.fingerprint:
        return "their data were generated differently: the pictures have the same names and are others"
    wrong = (one.labels != _ordered(two.labels, one, two)).any(axis=1)
    if wrong.any():
        name = one.names[int(np.argmax(wrong))]
        return f"the labels of {int(wrong.sum())} test pictures have changed, such as those of {name}"
    return ""


def _pair(first: ComparedRun, second: ComparedRun, classes: Sequence[str]) -> PredictionPair:
    one, two = first.predictions, second.predictions
    # Generated pictures of other seeds have the same names and are others.
    names: list[Any] = [(first.fingerprint, name) for name in one.names] if first.root is None else list(one.names)
    to = [one.classes.index(name) for name in classes]
    labels, probabilities, thresholds = one.labels[:, to], one.probabilities[:, to], one.thresholds[to]
    other = _ordered(two.probabilities, one, two)[:, to]
    other_thresholds = np.array([two.thresholds[two.classes.index(name)] for name in classes])
    return PredictionPair(names, probabilities, other, labels, thresholds, other_thresholds)


def _ordered(values: np.ndarray, like: Predictions, of: Predictions) -> np.ndarray:
    """Return rows and columns ``(N, C)`` of one table in the order of another."""
    rows = {name: row for row, name in enumerate(of.names)}
    columns = [of.classes.index(name) for name in like.classes]
    return np.asarray(values[[rows[name] for name in like.names]][:, columns])
