"""Comparison of runs of any task: values side by side, paired differences with intervals, settings that differ, a page."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photic.core.errors import DataError
from photic.core.files import write_json
from photic.report.page import duration
from photic.tracking.compared import ComparedRun, Group, Spread, setting
from photic.tracking.comparison import Comparison, compare_runs
from photic.tracking.finished import read_runs
from photic.tracking.pairing import Difference
from photic.tracking.run import Run

PAGE = "comparison.html"
_SCHEMA = 1


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found."""

    comparison: Comparison
    """Groups of runs, their values and differences."""
    left_out: dict[Path, str] = field(default_factory=dict)
    """What was given and could not be compared, and why."""
    report: Path | None = None
    """The HTML page."""

    def table(self) -> str:
        """Return the comparison as text."""
        found = self.comparison
        parts = [_values(found), _classes(found), _differences(found), _settings(found), _runs(found)]
        remarks = [*found.notes, *(f"{path}: left out, {reason}" for path, reason in self.left_out.items())]
        if remarks:
            parts.append("notes\n" + "\n".join(f"  {remark}" for remark in remarks))
        return "\n\n".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON can hold; undefined numbers are None."""
        found = self.comparison
        content = {
            "schema": _SCHEMA,
            "kind": found.measure.kind,
            "split": found.split,
            "samples": found.measure.samples,
            "values": [{"name": one.name, "label": one.label, "higher_is_better": one.higher_is_better} for one in found.values],
            "classes": found.classes,
            "groups": [_group(group) for group in found.groups],
            "differing_settings": found.settings,
            "differences": [_difference(difference) for difference in found.differences],
            "notes": found.notes,
            "left_out": {str(path): reason for path, reason in self.left_out.items()},
            "report": None if self.report is None else str(self.report),
        }
        plain: dict[str, Any] = _plain(content)
        return plain


def compare(
    runs: Iterable[Path | str] | Path | str, output: Path | str | None = None, *, page: bool = True, json: Path | str | None = None
) -> CompareResult:
    """Compare finished runs; the first one, or its group, is what the others are held against.

    Runs that differ only in their seed, or in the fold of one cross-validation, form a group: mean and sample
    standard deviation. Groups are paired seed by seed (fold by fold) where the test samples are the same. Runs of another kind
    than the first (a reconstruction beside a classification) are left out, by name. Where no run has a test split, they are
    compared on their validation splits, and the comparison says so.

    Args:
        runs: run folders, folders of runs, or patterns such as ``runs/severstal/*``, in the order to show.
        output: HTML page to write; ``comparison.html`` in the folder that the runs share if omitted (that of their
            experiment or of all experiments; the current folder if they share neither).
        page: whether to write the page.
        json: file to write :meth:`CompareResult.to_dict` to.

    Raises:
        DataError: fewer than two finished runs, a path that does not exist, or a damaged run.
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    folders, left_out = _folders(given)
    compared, unusable = read_runs(folders)
    left_out.update(unusable)
    target = Path(output) if output is not None else _place(compared) / PAGE
    for written in (target, *([Path(json)] if json is not None else [])):
        left_out.pop(written, None)  # `runs/severstal/*` finds the page of the last time, too
    if len(compared) < 2:
        reasons = "".join(f"\n  {path}: {reason}" for path, reason in left_out.items())
        raise DataError(f"compare: expected two finished runs or more, got {len(compared)}{':' if reasons else ''}{reasons}")
    result = CompareResult(compare_runs(compared), left_out)
    if page:
        from photic.report.comparison import write_comparison

        result = CompareResult(result.comparison, left_out, write_comparison(result.comparison, target, left_out))
    if json is not None:
        write_json(json, result.to_dict())
    return result


def _folders(given: Sequence[Path | str]) -> tuple[list[Path], dict[Path, str]]:
    """Return the run folders that paths, folders of runs and patterns stand for, each once, and what stands for none."""
    found: dict[Path, Path] = {}
    left_out: dict[Path, str] = {}
    for path in (path for one in given for path in _expanded(one)):
        below = sorted(file.parent for file in path.rglob("config.yaml") if (file.parent / "checkpoints").is_dir())
        if not below:
            try:
                below = [Run.open(path).path]  # a file in a run folder stands for the run
            except DataError:
                left_out[path] = "not a run" if path.is_file() else "holds no run"
        for folder in below:
            found.setdefault(folder.resolve(), folder)
    return list(found.values()), left_out


def _expanded(given: Path | str) -> list[Path]:
    path = Path(given)
    if path.exists():
        return [path]
    matches = sorted(glob.glob(str(given)))  # noqa: PTH207 - patterns may be absolute
    if not matches:
        raise DataError(f"{given}: does not exist; give run folders, a folder of runs, or a pattern such as runs/severstal/*")
    return [Path(match) for match in matches]


def _place(runs: Sequence[ComparedRun]) -> Path:
    for level in (0, 1):
        places = {run.path.resolve().parents[level] for run in runs}
        if len(places) == 1:
            return runs[0].path.parents[level] if len(runs[0].path.parents) > level else places.pop()
    return Path()


# --- text --------------------------------------------------------------------------------------------


def _values(found: Comparison) -> str:
    rows = [["", "runs", *(value.label for value in found.values)]]
    for group in found.groups:
        rows.append([group.label, str(len(group.runs)), *(_spread(group.spread(name)) for name in found.metrics)])
        if group.pooled:
            rows.append(["  folds pooled", "", *(_spread(group.pooled[name]) if name in group.pooled else "" for name in found.metrics)])
        if len(group.runs) > 1:
            rows += [[f"  {run.member}", "", *(_number(run.values[name]) for name in found.metrics)] for run in group.runs]
    spread = "; mean ± standard deviation over runs" if any(len(group.runs) > 1 for group in found.groups) else ""
    return f"{found.split} values ({found.remark}{spread})\n{_aligned(rows)}"


def _classes(found: Comparison) -> str:
    if not found.classes:
        return ""
    rows = [["", *found.classes]]
    for group in found.groups:
        rows.append([group.label, *(_spread(group.spread(f"ap/{name}")) for name in found.classes)])
        if group.pooled:
            rows.append(
                [
                    "  folds pooled",
                    *(_spread(group.pooled[f"ap/{name}"]) if f"ap/{name}" in group.pooled else "n/a" for name in found.classes),
                ]
            )
    return f"average precision by class\n{_aligned(rows)}"


def _differences(found: Comparison) -> str:
    if not found.differences:
        return ""
    paired = found.measure.paired
    rows = [["", found.measure.samples, *(value.label for value in paired)]]
    for difference in found.differences:
        cells = [_interval(difference.values[value.name]) for value in paired]
        rows.append([difference.group.label, str(difference.num_samples), *cells])
        if len(difference.pairs) > 1:
            rows += [
                [
                    f"  {_partners(pair.first, pair.second)}",
                    str(len(pair.first.table.names)),
                    *(_interval(pair.values[value.name]) for value in paired),
                ]
                for pair in difference.pairs
            ]
    several = any(len(difference.pairs) > 1 for difference in found.differences)
    explanation = f"  * 0 lies outside the 95 % interval: paired bootstrap over the {found.samples}, for the networks as they were trained"
    if several:
        explanation += ";\n    how much another training would change them shows in the single rows"
    lower = [value.label for value in paired if not value.higher_is_better]
    if lower:
        explanation += f"\n  below 0 is better for {' and '.join(lower)}"
    if found.measure.caution:
        explanation += f"\n  {found.measure.caution}"
    return f"difference from {found.groups[0].label}, on the same {found.samples}\n{_aligned(rows)}\n{explanation}"


def _settings(found: Comparison) -> str:
    if not found.settings:
        return ""
    rows = [["", *(group.label for group in found.groups)]]
    rows += [
        [key, *(_brief(setting(group.settings[key])) if key in group.settings else "-" for group in found.groups)] for key in found.settings
    ]
    return f"settings that differ\n{_aligned(rows, left=True)}"


def _runs(found: Comparison) -> str:
    rows = [["", "best epoch", "of", "time", "parameters", "trained", "memory"]]
    paths = [""]
    for group in found.groups:
        for run in group.runs:
            facts = run.facts
            rows.append([
                f"{group.label}, {run.member}",
                *(_amount(facts[name], "g") for name in ("best_epoch", "epochs")),
                _time(facts["wall_seconds"]),
                *(_amount(facts[name], ",.0f") for name in ("parameters", "trainable")),
                f"{_amount(facts['peak_memory_mb'], ',.0f')} MB",
            ])  # fmt: skip
            paths.append(str(run.path))
    lines = _aligned(rows).splitlines()
    return "runs\n" + "\n".join(f"{line}  {path}".rstrip() for line, path in zip(lines, paths, strict=True))


def _partners(first: ComparedRun, second: ComparedRun) -> str:
    return second.member if first.key == second.key else f"{second.member} against {first.member}"


def _aligned(rows: Sequence[Sequence[str]], *, left: bool = False) -> str:
    """Return rows of cells in columns, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if left or i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "   ".join(cells)).rstrip())
    return "\n".join(lines)


def _spread(spread: Spread) -> str:
    return _number(spread.mean) + ("" if math.isnan(spread.deviation) else f" ± {spread.deviation:.4f}")


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def _amount(value: float, form: str) -> str:
    return "n/a" if math.isnan(value) else format(value, form)


def _time(seconds: float) -> str:
    return "n/a" if math.isnan(seconds) else f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _interval(entry: dict[str, float | int]) -> str:
    value, low, high = (float(entry[name]) for name in ("value", "low", "high"))
    if math.isnan(value):
        return "n/a"
    if math.isnan(low):
        return f"{value:+.4f} [n/a]  "
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}] {' ' if low <= 0 <= high else '*'}"


def _brief(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


# --- plain values ------------------------------------------------------------------------------------


def _group(group: Group) -> dict[str, Any]:
    names = dict.fromkeys(name for run in group.runs for name in run.values)
    return {
        "label": group.label,
        "settings": group.settings,
        "values": {name: _spread_values(group.spread(name)) for name in names},
        "pooled": {name: _spread_values(spread) for name, spread in group.pooled.items()},
        "runs": [{"path": str(run.path), "seed": run.key[0], "fold": run.key[1], "values": run.values, **run.facts} for run in group.runs],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "group": difference.group.label,
        "against": difference.against.label,
        "num_samples": difference.num_samples,
        "values": difference.values,
        "pairs": [{"run": str(pair.second.path), "against": str(pair.first.path), "values": pair.values} for pair in difference.pairs],
    }


def _spread_values(spread: Spread) -> dict[str, float | int]:
    return {"mean": spread.mean, "deviation": spread.deviation, "count": spread.count}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
