"""The predictions a run left behind on a split, read back: labels, probabilities, decisions."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.metrics.multilabel import bootstrap_intervals, confusion_2x2, multilabel_report
from photic.tracking.run import Run

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """The predictions on one split, as ``predictions/<split>.csv`` keeps them."""

    split: str
    names: tuple[str, ...]
    """Of the ``N`` pictures."""
    classes: tuple[str, ...]
    labels: Mask
    """``(N, C)``."""
    probabilities: Floats
    """``(N, C)``."""
    thresholds: Floats
    """``(C,)``."""

    @property
    def decisions(self) -> Mask:
        """Return which classes are called present, ``(N, C)``."""
        return np.asarray(self.probabilities >= self.thresholds)

    @property
    def margins(self) -> Floats:
        """Return where each probability lies, ``(N, C)``: from -1 at 0 over 0 at its threshold to 1 at 1."""
        above = self.probabilities - self.thresholds
        room = np.where(above >= 0, 1 - self.thresholds, self.thresholds)
        return np.asarray(np.divide(above, room, out=np.zeros_like(above), where=room > 0))

    @cached_property
    def confusion(self) -> NDArray[Any]:
        """Return ``[[true negatives, false positives], [false negatives, true positives]]`` per class, ``(C, 2, 2)``."""
        return confusion_2x2(self.probabilities, self.labels, self.thresholds)

    def report(self) -> dict[str, Any]:
        """Return what the run's results hold for its test split, computed anew from the table."""
        arguments = (self.probabilities, self.labels)
        return {
            "at_0.5": multilabel_report(*arguments, 0.5, classes=self.classes),
            "at_tuned": multilabel_report(*arguments, self.thresholds, classes=self.classes),
            "intervals": bootstrap_intervals(*arguments, self.thresholds),
        }


def read_predictions(run: Run, split: str) -> Predictions | None:
    """Read the predictions of a split; None if the run has none.

    Raises:
        DataError: the table is damaged or has other classes than the run.
    """
    path = run.path / "predictions" / f"{split}.csv"
    if not path.is_file():
        return None
    classes = tuple(run.results.get("classes", ()))
    expected = ["file", *(f"label:{name}" for name in classes), *(f"probability:{name}" for name in classes)]
    with path.open(encoding="utf-8", newline="") as handle:
        header, *rows = list(csv.reader(handle)) or [[]]
    if header != expected or not rows or any(len(row) != len(expected) for row in rows):
        raise DataError(f"{path}: expected rows of {', '.join(expected)}; the table is damaged, evaluate the run again")
    values = np.array([row[1:] for row in rows], dtype=np.float64)
    thresholds = np.asarray(run.results.get("thresholds") or [0.5] * len(classes), dtype=np.float64)
    labels, probabilities = values[:, : len(classes)] > 0.5, values[:, len(classes) :]
    return Predictions(split, tuple(row[0] for row in rows), classes, labels, probabilities, thresholds)
