"""Metrics of several independent labels: one report, confusion, thresholds.

Shapes: probabilities and labels are ``(N, C)``; a class counts as present where its probability is at
least its threshold. A value that cannot be defined on the samples at hand is NaN, is left out of the
macro mean, and is named in the report's ``undefined``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from photic.metrics.bootstrap import bootstrap_intervals, paired_bootstrap
from photic.metrics.inputs import Floats, checked, class_keys, per_class
from photic.metrics.ranking import Ranking, expected_calibration_error, rankings

__all__ = [
    "bootstrap_intervals",
    "confusion_2x2",
    "expected_calibration_error",
    "multilabel_report",
    "paired_bootstrap",
    "tune_thresholds",
]

NAMES = ("ap", "auc", "precision", "recall", "f1")


def multilabel_report(probabilities: Any, labels: Any, thresholds: ArrayLike = 0.5, classes: Sequence[Any] | None = None) -> dict[str, Any]:
    """Return average precision, ROC-AUC, precision, recall and F1: per class, macro and micro.

    Args:
        probabilities: ``(N, C)`` in [0, 1], before any threshold.
        labels: ``(N, C)`` of 0 and 1.
        thresholds: one for all classes, or one per class.
        classes: names of the classes; indices if omitted.

    Returns:
        ``macro`` and ``micro``: ``ap auc precision recall f1``; ``per_class``: the same and ``support``
        (number of positives) for each class; ``undefined``: which values are NaN and why; ``notes``: what makes
        the numbers doubtful. Macro is the mean over the classes where a value is defined, micro pools all labels.

    Raises:
        DataError: wrong shapes or values, or decisions in place of probabilities.

    >>> report = multilabel_report([[0.9, 0.2], [0.4, 0.7]], [[1, 0], [0, 1]])
    >>> report["macro"]["f1"], report["per_class"][1]["support"]
    (1.0, 1)
    """
    values, present = checked(probabilities, labels)
    num_classes = values.shape[1]
    keys = class_keys(classes, num_classes)
    limits = per_class(thresholds, num_classes)
    table = confusion_2x2(values, present, limits)
    rows: dict[Any, dict[str, Any]] = {}
    undefined: list[dict[str, Any]] = []
    for c, (key, ranking) in enumerate(zip(keys, rankings(values, present), strict=True)):
        support = int(present[:, c].sum())
        row = {"ap": float(ranking.average_precision()), "auc": float(ranking.auc()), **rates(table[c])}
        missing = [name for name in NAMES if math.isnan(row[name])]
        if missing:
            reason = "no positive sample" if support == 0 else "no negative sample"
            undefined.append({"class": key, "values": missing, "reason": reason})
        rows[key] = {**row, "support": support}
    pooled = Ranking.of(values.ravel(), present.ravel())
    notes = []
    if bool(np.isin(values, (0.0, 1.0)).all()):
        notes.append(
            "every probability is exactly 0 or 1: these look like decisions made before; AP, AUC and tuned thresholds need probabilities"
        )
    return {
        "macro": {name: mean_of_defined([row[name] for row in rows.values()]) for name in NAMES},
        "micro": {"ap": float(pooled.average_precision()), "auc": float(pooled.auc()), **rates(table.sum(axis=0))},
        "per_class": rows,
        "undefined": undefined,
        "notes": notes,
    }


def confusion_2x2(probabilities: Any, labels: Any, thresholds: ArrayLike = 0.5) -> np.ndarray:
    """Return ``[[true negatives, false positives], [false negatives, true positives]]`` per class, ``(C, 2, 2)``.

    Raises:
        DataError: wrong shapes or values.
    """
    values, present = checked(probabilities, labels)
    called = values >= per_class(thresholds, values.shape[1])
    cells = [[~present & ~called, ~present & called], [present & ~called, present & called]]
    return np.moveaxis(np.asarray(cells).sum(axis=2), 2, 0)


def rates(table: np.ndarray) -> dict[str, float]:
    """Return precision, recall and F1 of a 2x2 confusion.

    Precision is 0 where positives exist and none was called; it is NaN, as F1, where there are neither.
    Recall is NaN without positives.
    """
    (_, false_positive), (false_negative, true_positive) = table.tolist()
    called, positives = true_positive + false_positive, true_positive + false_negative
    return {
        "precision": true_positive / called if called else 0.0 if positives else math.nan,
        "recall": true_positive / positives if positives else math.nan,
        "f1": 2 * true_positive / (called + positives) if called + positives else math.nan,
    }


def mean_of_defined(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def tune_thresholds(probabilities: Any, labels: Any) -> Floats:
    """Return the threshold of each class that gives the best F1, ``(C,)``; to be tuned on validation, never on test.

    Between the same two neighbouring probabilities every threshold decides alike: 0.5 is taken if it lies
    between them, otherwise their middle. Of equally good places the one nearest 0.5 is taken. A class
    without positives keeps 0.5.

    Args:
        probabilities: ``(N, C)`` in [0, 1].
        labels: ``(N, C)`` of 0 and 1.

    Raises:
        DataError: wrong shapes or values.

    >>> tune_thresholds([[0.1], [0.2], [0.3], [0.4]], [[0], [0], [1], [1]]).tolist()
    [0.25]
    """
    values, present = checked(probabilities, labels)
    return np.asarray([_best_threshold(Ranking.of(values[:, c], present[:, c])) for c in range(values.shape[1])])


def _best_threshold(ranking: Ranking) -> float:
    true, false = ranking.counts()
    positives = true[-1]
    if positives == 0:
        return 0.5
    f1 = 2 * true / (true + false + positives)
    best = np.flatnonzero(np.isclose(f1, f1.max(), rtol=1e-12, atol=0))
    below = np.append(ranking.values[1:], 0.0)
    candidates = [_inside(float(below[i]), float(ranking.values[i])) for i in best]
    return min(candidates, key=lambda threshold: (abs(threshold - 0.5), threshold))


def _inside(low: float, high: float) -> float:
    """Return a threshold in (low, high]: 0.5 if possible, else the middle."""
    if low < 0.5 <= high:
        return 0.5
    middle = (low + high) / 2
    return middle if low < middle <= high else high
