"""Finished runs side by side: groups that differ in nothing but seed and fold, settings that differ, paired differences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from photic.tracking.compared import DATA, ComparedRun, Group, setting
from photic.tracking.measures import LOSS, SPLITS, Measure, Value
from photic.tracking.pairing import Difference, hold_against
from photic.tracking.predictions import Predictions


@dataclass(frozen=True)
class Comparison:
    """What there is to say about runs side by side."""

    groups: list[Group]
    """In the order in which their first runs were given; the first one is what the others are held against."""
    settings: list[str]
    """Dotted keys in which groups differ."""
    differences: list[Difference]
    notes: list[str] = field(default_factory=list)
    """What a reader must know: repeats, undefined values, runs that could not be paired."""

    @property
    def runs(self) -> list[ComparedRun]:
        """All runs, group by group."""
        return [run for group in self.groups for run in group.runs]

    @property
    def measure(self) -> Measure[Any]:
        """How the runs are measured; all in the same way."""
        return self.groups[0].runs[0].measure

    @property
    def split(self) -> str:
        """The split they are compared on, as people call it: ``test``, or ``validation`` where no run has a test split."""
        return SPLITS[self.groups[0].runs[0].table.split]

    @property
    def samples(self) -> str:
        """What they are compared on, such as "test pictures"."""
        return f"{self.split} {self.measure.samples}"

    @property
    def remark(self) -> str:
        """How the values are to be read, a few words."""
        return self.measure.remark(self.groups[0].runs[0].table.split, self.values)

    @property
    def classes(self) -> list[str]:
        """Classes of all runs, each once; none if they are no classifications."""
        tables = [run.table for run in self.runs]
        return list(dict.fromkeys(name for table in tables if isinstance(table, Predictions) for name in table.classes))

    @property
    def values(self) -> list[Value]:
        """What can be held against each other: losses only if all groups have the same one."""
        return [value for value in self.measure.values if value.name != LOSS.name or value in self.measure.paired or self.same_loss]

    @property
    def metrics(self) -> list[str]:
        """Names of :attr:`values`."""
        return [value.name for value in self.values]

    @property
    def same_loss(self) -> bool:
        """Whether all groups minimise the same loss."""
        return not any(key.startswith("loss.") for key in self.settings)

    @property
    def ranking(self) -> Value:
        """The value that groups are ranked by."""
        return self.measure.values[0]

    @property
    def best(self) -> Group | None:
        """The group that is best by :attr:`ranking`; None if it is defined nowhere."""
        found = [group for group in self.groups if math.isfinite(group.spread(self.ranking.name).mean)]
        return max(found, key=lambda group: self.ranking.gain(group.spread(self.ranking.name).mean)) if found else None

    @property
    def same_samples(self) -> bool:
        """Whether all runs were compared on the same samples."""
        return len({(frozenset(run.table.names), run.fingerprint if run.root is None else None) for run in self.runs}) == 1


def compare_runs(runs: Sequence[ComparedRun]) -> Comparison:
    """Group runs, find the settings that differ, and hold every group against the first.

    Runs with the same settings form a group if their seeds (or folds) differ; a second run of the same
    seed starts a group of its own, since a repeat says nothing about the spread over seeds.
    """
    notes: list[str] = [*runs[0].measure.notes]
    if runs[0].table.split == "val":
        notes.append(
            "no run has a test split: all values are of the validation split, on which each run's best epoch was chosen, so they look "
            "better than new data would"
        )
    members = _members(runs, notes)
    settings = _differing([group[0].settings for group in members])
    place = runs[0].place
    described = [{**group[0].settings, place: setting(group[0].root)} for group in members]
    if DATA in settings and len({one[place] for one in described}) > 1:
        settings.insert(settings.index(DATA), place)
    labels = _labels(members, described, settings, {DATA} if place in settings else set())
    groups = [
        Group(label, group, {key: one[key] for key in settings if key in one})
        for label, group, one in zip(labels, members, described, strict=True)
    ]
    notes += _undefined(groups)
    machines = {tuple((run.results.get("environment") or {}).get(key) for key in ("platform", "gpu", "cpu_threads")) for run in runs}
    if len(machines) > 1:
        notes.append("the runs were made on different machines or with different numbers of threads: their times cannot be compared")
    differences = []
    for group in groups[1:]:
        difference, remarks = hold_against(group, groups[0])
        differences += [difference] if difference is not None else []
        notes += remarks
    return Comparison(groups, settings, differences, notes)


def _members(runs: Sequence[ComparedRun], notes: list[str]) -> list[list[ComparedRun]]:
    groups: dict[tuple[str, int], list[ComparedRun]] = {}
    seen: dict[tuple[str, tuple[int, int | None]], list[ComparedRun]] = {}
    for run in runs:
        alike = json.dumps(run.settings, sort_keys=True, default=str)
        repeats = seen.setdefault((alike, run.key), [])
        if repeats:
            notes.append(
                f"{run.name} repeats {repeats[0].name} (same settings, {run.member}): shown apart, "
                "since a repeat says nothing about the spread over seeds"
            )
        groups.setdefault((alike, len(repeats)), []).append(run)
        repeats.append(run)
    return list(groups.values())


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = list(dict.fromkeys(key for one in settings for key in one))
    missing = object()
    return [key for key in keys if any(one.get(key, missing) != settings[0].get(key, missing) for one in settings)]


def _labels(
    members: Sequence[Sequence[ComparedRun]], settings: Sequence[Mapping[str, Any]], differing: Sequence[str], skipped: set[str]
) -> list[str]:
    """Return the shortest words that tell groups apart: labels the user gave, settings but those skipped, or names of runs."""
    if len(members) == 1:
        return [" + ".join(dict.fromkeys(run.path.parent.name for run in members[0]))]
    words = [{run.config.get("label") for run in group} for group in members]
    given = [str(next(iter(one))) for one in words if len(one) == 1 and None not in one]
    if len(given) == len(members) == len(set(given)):
        return given
    named = [key for key in differing if key.endswith(".name")]
    # What only one of two components has says no more than their names do; nor does a fingerprint beside a folder.
    parts = tuple(key.removesuffix("name") for key in named)
    own = [key for key in differing if key not in named and not key.startswith(parts) and key not in skipped]
    chosen = [*named, *own]
    if len(chosen) > 3 or _num_different(settings, chosen) < _num_different(settings, differing):
        chosen = []
        for key in [*named, *own, *differing]:
            if _num_different(settings, [*chosen, key]) > _num_different(settings, chosen):
                chosen.append(key)
    labels = [_described(one, chosen) for one in settings]
    return [label if label and labels.count(label) == 1 else group[0].path.name for label, group in zip(labels, members, strict=True)]


def _num_different(settings: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> int:
    return len({tuple(setting(one[key]) if key in one else None for key in keys) for one in settings})


def _described(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    short = {key: key.removesuffix(".name") for key in keys}
    words = [f"{short[key]}={_brief(setting(settings[key]))}" for key in keys if key in settings]
    return ", ".join(words or [f"no {short[key]}" for key in keys])


def _brief(text: str) -> str:
    return text if len(text) <= 40 else f"…{text[-39:]}"  # the end of a path says more than its beginning


def _undefined(groups: Sequence[Group]) -> list[str]:
    notes = []
    found: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        for run in group.runs:
            for subject, reason in run.measure.undefined(run.results, run.table):
                found.setdefault((subject, reason), []).append(f"{group.label}, {run.member}")
        folds = group.runs[0].num_folds
        missing = [] if folds is None else sorted(set(range(folds)) - {run.key[1] for run in group.runs})
        if missing:
            samples = group.runs[0].measure.samples
            notes.append(f"{group.label}: fold {', '.join(map(str, missing))} of {folds} missing, so not all {samples} were tested")
    split = SPLITS[groups[0].runs[0].table.split]
    for (subject, reason), where in found.items():
        runs = f"in {len(where)} runs" if len(where) > 2 else f"in {' and '.join(where)}"
        notes.append(f"{subject}: {reason} in the {split} split, {runs}; undefined values are left out of the means")
    return notes
