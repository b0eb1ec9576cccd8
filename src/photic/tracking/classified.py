"""How classifications are compared: average precision, F1 at the tuned thresholds, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from photic.core.errors import DataError
from photic.metrics.bootstrap import PredictionPair, mean_difference
from photic.metrics.multilabel import confusion_2x2, mean_of_defined, multilabel_report, rates
from photic.tracking.measures import LOSS, Measure, SharedTables, Value
from photic.tracking.predictions import Predictions, read_predictions
from photic.tracking.run import Run

_AP, _F1 = Value("macro_ap", "macro AP"), Value("macro_f1", "macro F1")


class ClassificationMeasure(Measure[Predictions]):
    """Multi-label classification of pictures; F1 is at the tuned thresholds."""

    kind = "classification"
    samples = "pictures"
    values = (_AP, Value("macro_auc", "macro AUC"), _F1, Value("micro_f1", "micro F1"), LOSS)
    paired = (_AP, _F1)
    curves = (
        ("val", "macro_ap", "Validation macro AP"),
        ("val", "macro_auc", "Validation macro AUC"),
        ("val", "macro_f1", "Validation macro F1 at 0.5"),
    )
    predict = "PICTURES/ -o predictions.csv"

    def remark(self, split: str, values: Sequence[Value]) -> str:
        """Return where the thresholds come from."""
        return "F1 at the thresholds tuned on validation" if split == "test" else "F1 at the thresholds tuned on these very pictures"

    def read(self, run: Run, split: str) -> Predictions | None:
        """Return the probabilities and labels of a split."""
        table = read_predictions(run, split)
        if table is not None and len(set(table.names)) < len(table.names):
            path = run.path / "predictions" / f"{split}.csv"
            raise DataError(f"{path}: a picture has two rows; the table is damaged, train the run again")
        return table

    def values_of(self, results: dict[str, Any], table: Predictions) -> dict[str, float]:
        """Return macro and micro values, ``ap/<class>`` and ``f1/<class>``."""
        report = _report(results, table)
        found = {f"{place}_{name}": report[place][name] for place in ("macro", "micro") for name in ("ap", "auc", "f1")}
        found.update({f"{name}/{key}": row[name] for key, row in report["per_class"].items() for name in ("ap", "f1")})
        return {name: math.nan if value is None else float(value) for name, value in found.items()}

    def undefined(self, results: dict[str, Any], table: Predictions) -> list[tuple[str, str]]:
        """Return classes without positives or negatives."""
        return [(f"class '{entry['class']}'", entry["reason"]) for entry in _report(results, table).get("undefined", [])]

    def pooled(self, tables: Sequence[Predictions]) -> dict[str, float]:
        """Return the values of all folds together.

        Average precision and AUC rank pictures that different folds' networks judged against each other; F1
        comes from the summed decisions, each fold's at its own thresholds.

        Source: Forman & Scholz 2010, Apples-to-Apples in Cross-Validation Studies (F1 from summed counts).
        """
        probabilities, labels = (np.concatenate([getattr(table, part) for table in tables]) for part in ("probabilities", "labels"))
        report = multilabel_report(probabilities, labels, classes=tables[0].classes)
        counts = np.sum([confusion_2x2(table.probabilities, table.labels, table.thresholds) for table in tables], axis=0)
        return {
            "macro_ap": report["macro"]["ap"],
            "macro_auc": report["macro"]["auc"],
            "macro_f1": mean_of_defined([rates(table)["f1"] for table in counts]),
            "micro_f1": rates(counts.sum(axis=0))["f1"],
            **{f"ap/{name}": row["ap"] for name, row in report["per_class"].items()},
        }

    def alien(self, first: Predictions, second: Predictions) -> str:
        """Refuse other classes."""
        if set(first.classes) != set(second.classes):
            return f"the classes differ ({', '.join(first.classes)} and {', '.join(second.classes)})"
        return ""

    def mismatch(self, first: Predictions, second: Predictions) -> str:
        """Refuse other labels."""
        wrong = (first.labels != _ordered(second.labels, first, second)).any(axis=1)
        if wrong.any():
            name = first.names[int(np.argmax(wrong))]
            return f"the labels of {int(wrong.sum())} {first.split} pictures have changed, such as those of {name}"
        return ""

    def difference(self, pairs: Sequence[SharedTables[Predictions]]) -> dict[str, dict[str, float | int]]:
        """Return differences of ``macro_ap``, ``macro_f1`` and ``ap/<class>``."""
        classes = pairs[0].first.classes
        return mean_difference([_pair(pair, classes) for pair in pairs], classes=classes)


def _report(results: dict[str, Any], table: Predictions) -> dict[str, Any]:
    if table.split == "test":
        report: dict[str, Any] = results["test"]["at_tuned"]
        return report
    return multilabel_report(table.probabilities, table.labels, table.thresholds, classes=table.classes)


def _pair(pair: SharedTables[Predictions], classes: Sequence[str]) -> PredictionPair:
    one, two = pair.first, pair.second
    to = [one.classes.index(name) for name in classes]
    labels, probabilities, thresholds = one.labels[:, to], one.probabilities[:, to], one.thresholds[to]
    other = _ordered(two.probabilities, one, two)[:, to]
    other_thresholds = np.array([two.thresholds[two.classes.index(name)] for name in classes])
    return PredictionPair(pair.names, probabilities, other, labels, thresholds, other_thresholds)


def _ordered(values: np.ndarray, like: Predictions, of: Predictions) -> np.ndarray:
    """Return rows and columns ``(N, C)`` of one table in the order of another."""
    rows = {name: row for row, name in enumerate(of.names)}
    columns = [of.classes.index(name) for name in like.classes]
    return np.asarray(values[[rows[name] for name in like.names]][:, columns])
