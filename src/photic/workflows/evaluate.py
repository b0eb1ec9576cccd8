"""Evaluation of a run on one of its splits, or on other data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photic.core.errors import ConfigError, DataError
from photic.core.files import write_json
from photic.data.base import PHASES
from photic.inference.passes import run_pass
from photic.inference.predictor import load
from photic.tracking.run import Run
from photic.workflows.recipes import merge
from photic.workflows.stored import config_of
from photic.workflows.train import write_predictions


@dataclass(frozen=True)
class EvaluateResult:
    """What an evaluation found."""

    run: Path
    """The run's folder."""
    split: str
    """Which split."""
    num_samples: int
    """Pictures in it."""
    values: dict[str, Any]
    """Loss and report, as under ``test`` in results.json."""
    output: Path
    """JSON file with the same values; the predictions lie beside it."""

    def table(self) -> str:
        """Return the values per class and on average, or those that the task's report has, as text."""
        lines = [f"{self.run}: {self.split}, {self.num_samples} pictures, loss {self.values['loss']:.4f}"]
        if "at_0.5" not in self.values:  # no classification: whatever numbers its report has
            return "\n".join([*lines, "", *_numbers(self.values)])
        names = ("ap", "auc", "precision", "recall", "f1")
        for place in ("at_0.5", "at_tuned"):
            report = self.values[place]
            lines += ["", f"{'thresholds ' + place.removeprefix('at_'):<20}" + "".join(f"{name:>11}" for name in names)]
            rows = {**report["per_class"], "macro": report["macro"], "micro": report["micro"]}
            lines += [f"{row!s:<20}" + "".join(f"{_shown(values.get(name)):>11}" for name in names) for row, values in rows.items()]
        intervals = self.values.get("intervals", {})
        for name, interval in intervals.items():
            if name.startswith("macro") and isinstance(interval, Mapping):
                lines.append(f"{name}: 95 % interval {_shown(interval['low'])} to {_shown(interval['high'])}")
        return "\n".join(lines)


def evaluate(
    run: Path | str, split: str = "test", overrides: Mapping[str, Any] | None = None, *, output: Path | None = None, device: str = "auto"
) -> EvaluateResult:
    """Evaluate the best weights of a run with the thresholds stored in it.

    Args:
        run: the run's folder.
        split: ``test``, ``val`` or ``train``.
        overrides: changes to ``data``, for example ``{"data.root": "elsewhere"}``.
        output: JSON file to write; ``evaluations/<split>.json`` in the run if omitted.
        device: where to run.

    Raises:
        ConfigError: unknown split, or an override outside ``data``.
        DataError: the split is empty or the data have other classes.
    """
    opened = Run.open(run)
    if split not in PHASES:
        raise ConfigError(f"split: expected one of {', '.join(PHASES)}, got '{split}'")
    changes = merge({}, overrides or {})
    foreign = [section for section in changes if section != "data"]
    if foreign:
        raise ConfigError(f"{foreign[0]}: only data.* can be changed when a run is evaluated")
    config = config_of(opened, changes)
    model = load(opened.path, device)
    data = config.data.prepare(config.seed)
    if tuple(data.classes) != model.classes:
        raise DataError(
            f"the data have the classes {', '.join(data.classes)}, the model {', '.join(model.classes)}; give data with the same classes"
        )
    samples = data.splits[split]
    if split == "train":  # measured as it will be deployed: without augmentation
        samples = getattr(samples, "samples", samples)
    if not len(samples):
        raise DataError(f"the {split} split is empty")
    size = config.data.eval_batch_size or config.data.batch_size
    result = run_pass(model.task, samples, batch_size=size, num_workers=config.data.num_workers, device=model.device)
    values = {"loss": result.loss, **model.task.report(result.prediction, result.target)}
    target = output or opened.path / "evaluations" / f"{split}.json"
    write_json(target, {"split": split, "num_samples": len(samples), "data": str(getattr(config.data, "root", None)), **values})
    write_predictions(target.with_suffix(".csv"), model.task, data.names[split], result.prediction, result.target)
    return EvaluateResult(opened.path, split, len(samples), values, target)


def _numbers(values: Mapping[str, Any], place: str = "") -> list[str]:
    """Return every number of nested values on a line with its place."""
    lines: list[str] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines += _numbers(value, f"{place}{name} ")
        elif isinstance(value, int | float):
            lines.append(f"{place + name:<28}{value if isinstance(value, int) else _shown(value):>12}")
    return lines


def _shown(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.4f}"
