"""What a run left behind about its predictions, read back for the report: labels, probabilities, pictures."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.defects.datasets import DefectDataConfig
from photic.apps.defects.samples import LabelledPictures, read_masks
from photic.core.errors import DataError
from photic.core.schema import Registered, coerce
from photic.data.base import DataConfig, PreparedData
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


def prepare_again(run: Run) -> PreparedData:
    """Return the run's data with the split it was trained on, unaugmented.

    Raises:
        DataError: the data are not where they were, or have changed.
    """
    config = run.config
    data: DataConfig = coerce(config["data"], Annotated[DataConfig, Registered("datasets")], "config.data")
    if isinstance(data, DefectDataConfig):
        # The saved split says what finding near-duplicates once found out, at no cost.
        data = replace(data, split_file=run.path / "split.json", num_folds=None, fold=0, augment={})
    prepared = data.prepare(config["seed"])
    known = run.results.get("data", {}).get("fingerprint")
    if known and prepared.fingerprint != known:
        raise DataError("the data have changed since the run (another fingerprint)")
    return prepared


def picture_of(prepared: PreparedData, split: str, name: str) -> tuple[NDArray[np.uint8], Mask | None]:
    """Return a picture ``(H, W, 3)`` as the network saw it, and the masks ``(C, H, W)`` of its defects if the data have them.

    Raises:
        DataError: it cannot be read any more.
    """
    position = prepared.names[split].index(name)
    samples = prepared.splits[split]
    measurement = samples.sample(position, 0)["measurement"]
    image = np.rint(measurement.numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
    masks = None
    if isinstance(samples, LabelledPictures) and samples.table.runs:
        masks = read_masks(samples.table, int(samples.rows[position]), samples.size).numpy()
    return image, masks
