"""Comparison of runs: values side by side, differences with intervals, differences of configuration."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from photic.core.errors import DataError
from photic.metrics.multilabel import paired_bootstrap
from photic.tracking.run import Run

# Settings that tell runs of one experiment apart without making them different experiments.
_INCIDENTAL = ("seed", "label", "output_dir", "recipe", "experiment")
COLUMNS = ("macro_ap", "macro_auc", "macro_f1", "micro_f1", "loss")


@dataclass(frozen=True)
class ComparedRun:
    """One run as compared."""

    path: Path
    config: dict[str, Any]
    """Resolved configuration, flattened to dotted keys."""
    values: dict[str, float]
    """Test values, F1 at the tuned thresholds."""
    history: list[dict[str, Any]]
    results: dict[str, Any]

    @property
    def name(self) -> str:
        """Experiment and id."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed."""

    label: str
    """What sets this group apart."""
    runs: list[ComparedRun]

    def spread(self, column: str) -> tuple[float, float]:
        """Return mean and sample standard deviation (NaN for a single run)."""
        values = [run.values[column] for run in self.runs if column in run.values]
        if not values:
            return math.nan, math.nan
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Difference:
    """A run against the first one, on the same test pictures."""

    run: str
    against: str
    values: dict[str, dict[str, float | int]]
    """Metric to ``value`` (this run minus the other), ``low``, ``high`` (95 %, paired bootstrap over pictures)."""


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found."""

    groups: list[Group]
    settings: dict[str, list[Any]]
    """Dotted setting to its value in each group, where they differ."""
    differences: list[Difference]
    not_paired: list[str] = field(default_factory=list)
    """Why some runs could not be paired with the first."""
    report: Path | None = None

    def table(self) -> str:
        """Return the comparison as text."""
        columns = [c for c in COLUMNS if any(not math.isnan(group.spread(c)[0]) for group in self.groups)]
        width = max(10, *(len(group.label) for group in self.groups)) + 2
        lines = [f"{'':<{width}}{'runs':>5}" + "".join(f"{column:>18}" for column in columns)]
        for group in self.groups:
            cells = "".join(f"{_spread(*group.spread(column)):>18}" for column in columns)
            lines.append(f"{group.label:<{width}}{len(group.runs):>5}{cells}")
        if self.settings:
            lines += ["", "settings that differ"]
            lines += [f"  {key:<36}" + "  |  ".join(_brief(value) for value in values) for key, values in self.settings.items()]
        if self.differences:
            lines += ["", f"against {self.differences[0].against} on the same test pictures (95 % interval, paired bootstrap)"]
        for difference in self.differences:
            shown = "   ".join(
                f"{name} {v['value']:+.4f} [{v['low']:+.4f}, {v['high']:+.4f}]{'' if v['low'] <= 0 <= v['high'] else ' *'}"
                for name, v in difference.values.items()
            )
            lines.append(f"  {difference.run}: {shown}")
        lines += [f"  {reason}" for reason in self.not_paired]
        return "\n".join(lines)


def compare(runs: Sequence[Path | str], output: Path | str | None = None) -> CompareResult:
    """Compare finished runs; the first is what the others are held against.

    Args:
        runs: run folders.
        output: HTML page to write.

    Raises:
        DataError: fewer than two runs, or one has no test results.
    """
    if len(runs) < 2:
        raise DataError(f"compare: expected two runs or more, got {len(runs)}")
    compared = [_read(path) for path in runs]
    groups = _group(compared)
    differences, reasons = _differences(compared)
    result = CompareResult(groups, _settings(groups), differences, reasons)
    if output is None:
        return result
    from photic.report.comparison import write_comparison

    return CompareResult(groups, result.settings, differences, reasons, write_comparison(result, Path(output)))


def _read(path: Path | str) -> ComparedRun:
    run = Run.open(path)
    results = run.results
    test = results.get("test")
    if not test:
        raise DataError(f"{run.path}: has no test results (status {results.get('status', 'unknown')}); let it finish: photic train --resume {run.path}")
    report = test["at_tuned"]
    values = {f"{place}_{name}": report[place].get(name) for place in ("macro", "micro") for name in ("ap", "auc", "precision", "recall", "f1")}
    values["loss"] = test["loss"]
    finite = {name: float(value) for name, value in values.items() if value is not None}
    return ComparedRun(run.path, dict(_flat(run.config)), finite, results.get("history", []), results)


def _flat(value: Any, place: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, item in value.items() for pair in _flat(item, f"{place}.{key}" if place else str(key))]
    return [(place, value)]


def _group(runs: list[ComparedRun]) -> list[Group]:
    alike: dict[str, list[ComparedRun]] = {}
    for run in runs:
        essential = {key: value for key, value in run.config.items() if key.split(".")[0] not in _INCIDENTAL}
        alike.setdefault(json.dumps(essential, sort_keys=True, default=str), []).append(run)
    members = list(alike.values())
    differing = _differing([group[0].config for group in members])
    groups = []
    for runs_of_group in members:
        names = [key for key in differing if key.endswith(".name") or len(differing) <= 3][:3]
        words = [f"{key.removesuffix('.name')}={_brief(runs_of_group[0].config.get(key))}" for key in names]
        groups.append(Group(", ".join(words) or runs_of_group[0].name, runs_of_group))
    return groups


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for config in configs for key in config)
    return [k for k in keys if k.split(".")[0] not in _INCIDENTAL and any(c.get(k) != configs[0].get(k) for c in configs)]


def _settings(groups: list[Group]) -> dict[str, list[Any]]:
    configs = [group.runs[0].config for group in groups]
    return {key: [config.get(key) for config in configs] for key in _differing(configs)}


def _differences(runs: list[ComparedRun]) -> tuple[list[Difference], list[str]]:
    differences, reasons = [], []
    first = _predictions(runs[0].path)
    for run in runs[1:]:
        other = _predictions(run.path)
        if first[0] != other[0] or not np.array_equal(first[2], other[2]):
            reasons.append(f"{run.name}: tested on other pictures than {runs[0].name}, so there is no paired difference")
            continue
        values = paired_bootstrap(
            first[1],
            other[1],
            first[2],
            first_thresholds=runs[0].results["thresholds"],
            second_thresholds=run.results["thresholds"],
        )
        differences.append(Difference(run.name, runs[0].name, values))
    return differences, reasons


def _predictions(run: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    path = run / "predictions" / "test.csv"
    if not path.is_file():
        raise DataError(f"{path}: missing; run `photic train --resume {run}` to test the run again")
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    columns = list(rows[0])
    probabilities = np.array([[float(row[c]) for c in columns if c.startswith("probability:")] for row in rows])
    labels = np.array([[int(row[c]) for c in columns if c.startswith("label:")] for row in rows])
    return [row["file"] for row in rows], probabilities, labels


def _spread(mean: float, deviation: float) -> str:
    if math.isnan(mean):
        return "n/a"
    return f"{mean:.4f}" + ("" if math.isnan(deviation) else f" ± {deviation:.4f}")


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 30 else text[:27] + "..."
