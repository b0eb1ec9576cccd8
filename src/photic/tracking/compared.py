"""A finished run as comparisons take it: its settings, values, predictions; and runs that differ only in seed and fold."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from photic.metrics.multilabel import mean_of_defined
from photic.tracking.measures import LOSS, Measure

DATA = "data.fingerprint"
"""Setting that stands for the data themselves, wherever they lie."""

# Settings that change neither what is learnt nor what it is measured on: names, places, speed.
_INCIDENTAL = (
    "recipe", "experiment", "label", "output_dir", "seed",
    "data.root", "data.path", "data.test_path", "data.num_workers", "data.eval_batch_size", "data.cache",
    "training.log_every_steps", "training.checkpoint_every_steps", "trainer.num_threads",
)  # fmt: skip


@dataclass(frozen=True)
class ComparedRun:
    """One finished run, as compared."""

    path: Path
    results: dict[str, Any]
    config: dict[str, Any]
    """Resolved configuration."""
    measure: Measure[Any]
    """How runs of this kind are measured."""
    table: Any
    """The predictions on the split it is compared on, as the measure reads them."""

    @property
    def name(self) -> str:
        """Experiment and id."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def key(self) -> tuple[int, int | None]:
        """Seed and fold, the fold None without cross-validation."""
        return int(self.config["seed"]), None if self.num_folds is None else int(self.config["data"].get("fold", 0))

    @property
    def num_folds(self) -> int | None:
        """Folds of the cross-validation this run is part of; None if it is not."""
        folds: int | None = self.config["data"].get("num_folds")
        return folds

    @property
    def place(self) -> str:
        """Setting that says where the data lie."""
        return "data.path" if "path" in self.config["data"] else "data.root"

    @property
    def root(self) -> str | None:
        """Folder or file of the data; None for generated ones."""
        root = (self.results.get("data") or {}).get("root")
        return None if root is None else str(root)

    @property
    def fingerprint(self) -> str:
        """Of the data: equal for equal names, classes and file sizes."""
        return str((self.results.get("data") or {}).get("fingerprint"))

    @property
    def member(self) -> str:
        """What tells the run apart inside its group."""
        seed, fold = self.key
        return f"seed {seed}" if fold is None else f"seed {seed}, fold {fold}"

    @cached_property
    def values(self) -> dict[str, float]:
        """Values on the split it is compared on: those of its measure, and the loss; NaN where undefined."""
        if self.table.split == "test":
            loss = (self.results.get("test") or {}).get("loss")
        else:
            loss = ((self.results.get("best") or {}).get("val") or {}).get("loss")
        return {LOSS.name: math.nan if loss is None else float(loss), **self.measure.values_of(self.results, self.table)}

    @cached_property
    def facts(self) -> dict[str, float]:
        """What it took; NaN where unknown.

        ``best_epoch``, ``epochs``, ``wall_seconds``, ``peak_memory_mb``, ``parameters``, ``trainable``.
        """
        results = self.results
        history, parameters = results.get("history") or [{}], results.get("parameters") or {}
        found = {
            "best_epoch": (results.get("best") or {}).get("epoch"),
            "epochs": history[-1].get("epoch"),
            "wall_seconds": results.get("wall_seconds"),
            "peak_memory_mb": results.get("peak_memory_mb"),
            "parameters": parameters.get("total"),
            "trainable": parameters.get("trainable"),
        }
        return {name: math.nan if value is None else float(value) for name, value in found.items()}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that decide what is learnt and measured, by dotted key; the data by their fingerprint, not their place."""
        skipped = {*_INCIDENTAL, "data.fold"} if self.num_folds is not None else {*_INCIDENTAL}
        found = {key: value for key, value in _flat(self.config) if key not in skipped and not key.endswith(".num_classes")}
        if self.root is not None:  # generated data have none: there the settings say everything, and the seed changes the rest
            found[DATA] = self.fingerprint[:12]
        return found


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over runs."""

    mean: float
    deviation: float
    """NaN with fewer than two values."""
    count: int
    """Runs where the value is defined."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take the values that are not NaN."""
        defined = [value for value in values if not math.isnan(value)]
        return cls(mean_of_defined(defined), statistics.stdev(defined) if len(defined) > 1 else math.nan, len(defined))


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but seed and fold."""

    label: str
    """What sets this group apart from the others."""
    runs: list[ComparedRun]
    settings: dict[str, Any]
    """The settings in which groups differ, as they are here; one that does not exist here is left out."""

    def spread(self, name: str) -> Spread:
        """Return mean and deviation of a value or a fact (:attr:`ComparedRun.facts`)."""
        return Spread.of([{**run.facts, **run.values}.get(name, math.nan) for run in self.runs])

    @cached_property
    def pooled(self) -> dict[str, Spread]:
        """Values of the predictions of all folds together, over seeds; empty unless a seed has all its folds."""
        seeds: dict[int, list[ComparedRun]] = {}
        for run in self.runs:
            seeds.setdefault(run.key[0], []).append(run)
        complete = [runs for runs in seeds.values() if len(runs) == runs[0].num_folds]
        rows = [runs[0].measure.pooled([run.table for run in runs]) for runs in complete]
        return {name: Spread.of([row[name] for row in rows]) for name in rows[0]} if rows else {}


def setting(value: Any) -> str:
    """Write the value of a setting as it would be typed.

    >>> setting(None), setting([3, 4]), setting("focal")
    ('null', '[3, 4]', 'focal')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{place}.{key}" if place else str(key))
    else:
        yield place, value
