"""Finished runs read for a comparison: of one kind, on one split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photic.core.errors import DataError
from photic.metrics.comparison import ComparisonSpec
from photic.tracking.classified import ClassificationMeasure
from photic.tracking.compared import ComparedRun
from photic.tracking.measures import Measure
from photic.tracking.run import Run
from photic.tracking.tabulated import TableMeasure


def read_runs(folders: Sequence[Path]) -> tuple[list[ComparedRun], dict[Path, str]]:
    """Return those runs that can be compared with the first one that can, and why others cannot.

    They are compared on their test splits; if none of them has one, on their validation splits.

    Raises:
        DataError: a folder is no run, or its results or predictions are missing or damaged.
    """
    left_out: dict[Path, str] = {}
    found: list[tuple[Run, dict[str, Any], Measure[Any]]] = []
    for folder in folders:
        run = Run.open(folder)
        results = run.results
        measure = _unfinished(run, results) or _measure(run, results)
        if isinstance(measure, str):
            left_out[folder] = measure
        elif found and measure.kind != found[0][2].kind:
            left_out[folder] = (
                f"of another kind ({measure.kind}) than {found[0][0].path} ({found[0][2].kind}); compare it with its own kind"
            )
        else:
            found.append((run, results, measure))
    if not found:
        return [], left_out
    measure = _common([(run, own) for run, _, own in found])
    split = "test" if any(results.get("test") for _, results, _ in found) else "val"
    runs = []
    for run, results, _ in found:
        if split == "test" and not results.get("test"):
            left_out[run.path] = "without test results (its data have no test split)"
            continue
        table = measure.read(run, split)
        if table is None:
            raise DataError(f"{run.path / 'predictions' / f'{split}.csv'}: missing; write it again: photic train --resume {run.path}")
        runs.append(ComparedRun(run.path, results, results.get("config") or run.config, measure, table))
    return runs, left_out


def _unfinished(run: Run, results: dict[str, Any]) -> str:
    status = results.get("status", "not started")
    if status == "completed":
        return ""
    error = f": {results['error']}" if results.get("error") else ""
    return f"not finished ({status}{error}); go on with it: photic train --resume {run.path}"


def _measure(run: Run, results: dict[str, Any]) -> Measure[Any] | str:
    """Return how a finished run is measured, or why nobody knows."""
    if "at_tuned" in (results.get("test") or {}) or (not results.get("test") and results.get("thresholds")):
        return ClassificationMeasure()
    if results.get("comparison"):
        return TableMeasure(ComparisonSpec.from_dict(results["comparison"], f"{run.path / 'results.json'}: comparison"))
    task = results.get("names", {}).get("task", "unknown")
    if "comparison" in results:
        return f"its task '{task}' does not say what of its table is compared (Task.comparison)"
    return f"no classification, and written before runs of its task '{task}' could be compared; add that: photic train --resume {run.path}"


def _common(found: Sequence[tuple[Run, Measure[Any]]]) -> Measure[Any]:
    """Return a measure of what all runs have."""
    tables = [(run, measure.spec) for run, measure in found if isinstance(measure, TableMeasure)]
    if not tables:
        return found[0][1]
    (first, spec), *others = tables
    common = spec.common([other for _, other in others])
    if not common.values:
        runs = "; ".join(f"{run.path}: {', '.join(value.label for value in own.values)}" for run, own in tables)
        raise DataError(f"compare: runs of the kind '{spec.kind}' have no value in common that is made in the same way: {runs}")
    dropped = [value.label for value in spec.values if value not in common.values]
    notes = [f"{', '.join(dropped)}: left out, since not all runs have it, made in the same way as {first.path}"] if dropped else []
    return TableMeasure(common, notes)
