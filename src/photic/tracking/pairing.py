"""Differences between groups of runs on the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from photic.tracking.compared import ComparedRun, Group
from photic.tracking.measures import SPLITS, SharedTables, Value


@dataclass(frozen=True)
class RunPair:
    """Two runs that were measured on the same samples."""

    first: ComparedRun
    second: ComparedRun
    values: dict[str, dict[str, float | int]]
    """As in :attr:`Difference.values`, for this pair alone."""


@dataclass(frozen=True)
class Difference:
    """A group against the first one, on the same samples."""

    group: Group
    against: Group
    pairs: list[RunPair]
    num_samples: int
    """Different samples in all pairs together."""
    values: dict[str, dict[str, float | int]]
    """Names of values (of classifications ``macro_ap``, ``macro_f1`` and ``ap/<class>``) to ``value`` (this group minus the other, mean
    over pairs), ``low``, ``high`` (95 %, paired bootstrap over samples), ``num_valid``, ``share_above_zero``."""

    def num_better(self, name: str) -> int:
        """Return in how many pairs this group has the better value, which of :attr:`values` not named by the measure is the higher one."""
        value = next((one for one in self.group.runs[0].measure.paired if one.name == name), Value(name, name))
        return sum(value.gain(float(pair.values[name]["value"])) > 0 for pair in self.pairs)


def hold_against(group: Group, against: Group) -> tuple[Difference | None, list[str]]:
    """Return the difference between two groups, and what a reader must know about it.

    Runs of equal seed and fold are paired first; then, where the samples do not depend on the seed, those
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
            f"{group.label}: the data are not those of {against.label} (another fingerprint); the {_samples(matched[0][0])} have the same "
            "names and contents, as far as runs keep them, and are taken to be the same"
        )
    measure = matched[0][0].measure
    pairs = [_shared(first, second) for first, second in matched]
    values = measure.difference(pairs)
    single = [values] if len(pairs) == 1 else [measure.difference([pair]) for pair in pairs]
    num_samples = len({name for pair in pairs for name in pair.names})
    rows = [RunPair(*runs, own) for runs, own in zip(matched, single, strict=True)]
    return Difference(group, against, rows, num_samples, values), notes


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
    one, two = first.table, second.table
    if reason := first.measure.alien(one, two):
        return reason
    if set(one.names) != set(two.names):
        common = len(set(one.names) & set(two.names))
        did = "tested" if one.split == "test" else "validated"
        return f"they were {did} on other {first.measure.samples} ({len(one.names)} and {len(two.names)}, {common} in common)"
    if first.root is None and first.fingerprint != second.fingerprint:
        return f"their data were generated differently: the {first.measure.samples} have the same names and are others"
    return first.measure.mismatch(one, two)


def _shared(first: ComparedRun, second: ComparedRun) -> SharedTables[Any]:
    # Generated samples of other seeds have the same names and are others.
    names: list[Any] = [(first.fingerprint, name) for name in first.table.names] if first.root is None else list(first.table.names)
    return SharedTables(names, first.table, second.table)


def _samples(run: ComparedRun) -> str:
    return f"{SPLITS[run.table.split]} {run.measure.samples}"
