"""Curves over all thresholds, and the areas under them; samples may carry weights, which is how resampling is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from photic.metrics.inputs import Booleans, Floats, checked, checked_class


@dataclass(frozen=True)
class Ranking:
    """The samples of one class from the most to the least probable, equal probabilities counted as one step."""

    order: np.ndarray
    """Index of each sample, ``(N,)``."""
    positive: Booleans
    """Labels in that order."""
    ends: np.ndarray
    """Position of the last sample of every step, ``(S,)``."""
    values: Floats
    """Probability of every step, falling, ``(S,)``."""

    @classmethod
    def of(cls, probabilities: Floats, labels: Booleans) -> Ranking:
        """Rank the samples of one class."""
        order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[order]
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        return cls(order, labels[order], ends, ranked[ends])

    def counts(self, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """Return true and false positives when everything up to a step is called positive, ``(..., S)``.

        Args:
            weights: how often each sample counts, ``(..., N)``; None counts each once.
        """
        if weights is None:
            weights = np.ones(len(self.order))
        ranked = weights[..., self.order]
        true = np.cumsum(ranked * self.positive, axis=-1)[..., self.ends]
        everything = np.cumsum(ranked, axis=-1)[..., self.ends]
        return true, everything - true

    def average_precision(self, weights: Floats | None = None) -> Floats:
        """Return the sum of precision times the step in recall; NaN without positives.

        Source: the definition of scikit-learn's ``average_precision_score`` (no interpolation).
        """
        true, false = self.counts(weights)
        positives = true[..., -1]
        called = true + false
        precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
        gained = np.diff(true, axis=-1, prepend=0.0)
        return _ratio((gained * precision).sum(axis=-1), positives)

    def auc(self, weights: Floats | None = None) -> Floats:
        """Return the area under the ROC curve (trapezoids over ties); NaN without positives or without negatives."""
        true, false = self.counts(weights)
        before = true - np.diff(true, axis=-1, prepend=0.0)
        area = (np.diff(false, axis=-1, prepend=0.0) * (true + before) / 2).sum(axis=-1)
        return _ratio(area, true[..., -1] * false[..., -1])


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def rankings(probabilities: Floats, labels: Booleans) -> list[Ranking]:
    """Return the ranking of every class of ``(N, C)`` arrays."""
    return [Ranking.of(probabilities[:, c], labels[:, c]) for c in range(probabilities.shape[1])]


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and recall at each threshold, thresholds rising; arrays ``(S,)``."""

    precision: Floats
    recall: Floats
    thresholds: Floats


@dataclass(frozen=True)
class RocCurve:
    """False and true positive rate at each threshold, thresholds falling from infinity; arrays ``(S + 1,)``."""

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


@dataclass(frozen=True)
class ReliabilityCurve:
    """What was promised and what came true, per bin of probability; arrays ``(B,)``, NaN in empty bins."""

    confidence: Floats
    """Mean probability of the bin."""
    frequency: Floats
    """Share of positives in the bin."""
    count: np.ndarray
    """Samples in the bin."""
    edges: Floats
    """Borders of the bins, ``(B + 1,)``."""


def precision_recall_curve(probabilities: Any, labels: Any) -> PrecisionRecallCurve:
    """Return the precision-recall curve of one class, a point per distinct probability.

    Recall is NaN where the class has no positives.

    Args:
        probabilities: ``(N,)`` in [0, 1].
        labels: ``(N,)`` of 0 and 1.

    Raises:
        DataError: wrong shapes or values.
    """
    ranking = Ranking.of(*checked_class(probabilities, labels))
    true, false = ranking.counts()
    recall = _ratio(true, np.full_like(true, true[-1]))
    return PrecisionRecallCurve((true / (true + false))[::-1], recall[::-1], ranking.values[::-1])


def roc_curve(probabilities: Any, labels: Any) -> RocCurve:
    """Return the ROC curve of one class, a point per distinct probability and one at the origin.

    A rate is NaN where the class has no such samples.

    Args:
        probabilities: ``(N,)`` in [0, 1].
        labels: ``(N,)`` of 0 and 1.

    Raises:
        DataError: wrong shapes or values.
    """
    ranking = Ranking.of(*checked_class(probabilities, labels))
    true, false = (np.concatenate([[0.0], counts]) for counts in ranking.counts())
    rates = [_ratio(counts, np.full_like(counts, counts[-1])) for counts in (false, true)]
    return RocCurve(rates[0], rates[1], np.concatenate([[np.inf], ranking.values]))


def reliability_curve(probabilities: Any, labels: Any, num_bins: int = 15) -> ReliabilityCurve:
    """Return, for bins of equal width, mean probability and share of positives of one class.

    Args:
        probabilities: ``(N,)`` in [0, 1].
        labels: ``(N,)`` of 0 and 1.
        num_bins: number of bins B.

    Raises:
        DataError: wrong shapes or values.
    """
    values, present = checked_class(probabilities, labels)
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, num_bins - 1)
    count = np.bincount(place, minlength=num_bins)
    total = count.astype(np.float64)
    confidence = _ratio(np.bincount(place, weights=values, minlength=num_bins).astype(np.float64), total)
    frequency = _ratio(np.bincount(place, weights=present, minlength=num_bins).astype(np.float64), total)
    return ReliabilityCurve(confidence, frequency, count, edges)


def expected_calibration_error(probabilities: Any, labels: Any, num_bins: int = 15) -> Floats:
    """Return how far promise and outcome lie apart on average, per class, ``(C,)`` in [0, 1].

    ``sum over bins of n_b / N * |mean probability - share of positives|``, for the probability of
    presence (each label is its own binary question).

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning, eq. 2.

    Args:
        probabilities: ``(N, C)`` in [0, 1].
        labels: ``(N, C)`` of 0 and 1.
        num_bins: number of bins of equal width.

    Raises:
        DataError: wrong shapes or values.
    """
    values, present = checked(probabilities, labels)
    errors = []
    for c in range(values.shape[1]):
        curve = reliability_curve(values[:, c], present[:, c], num_bins)
        filled = curve.count > 0
        gap = np.abs(curve.confidence[filled] - curve.frequency[filled])
        errors.append(float((gap * curve.count[filled]).sum() / len(values)))
    return np.asarray(errors)
