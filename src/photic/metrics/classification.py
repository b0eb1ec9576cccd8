"""Stateful metrics of several independent labels, made of the functions beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.core.registry import metrics
from photic.core.schema import Range
from photic.metrics.base import Metric, MetricConfig
from photic.metrics.inputs import checked
from photic.metrics.multilabel import confusion_2x2, mean_of_defined, rates
from photic.metrics.ranking import Ranking, expected_calibration_error, rankings


class MultilabelMetric(Metric):
    """Keeps the probabilities and labels ``(B, C)`` of every batch until the value is asked for."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor]] = []

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in probabilities and labels ``(B, C)``."""
        # Copies: a loader or a step may write its tensors again.
        self._batches.append((prediction.detach().to("cpu", torch.float32, copy=True), target.detach().to("cpu", copy=True)))

    def reset(self) -> None:
        """Forget everything seen."""
        self._batches.clear()

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Return everything seen as ``(N, C)`` arrays.

        Raises:
            DataError: nothing was seen, or it is not probabilities and labels.
        """
        if not self._batches:
            raise DataError(f"{type(self).__name__}: no batch was seen; call update before compute")
        prediction, target = (torch.cat(parts) for parts in zip(*self._batches, strict=True))
        return checked(prediction, target)


class AveragePrecision(MultilabelMetric):
    """Area under the precision-recall curve."""

    def compute(self) -> dict[str, float]:
        """Return ``macro_ap``, ``micro_ap`` and ``ap/<class index>``."""
        values, present = self.seen()
        return _named("ap", [float(r.average_precision()) for r in rankings(values, present)], _pooled(values, present).average_precision())


class RocAuc(MultilabelMetric):
    """Area under the ROC curve."""

    def compute(self) -> dict[str, float]:
        """Return ``macro_auc``, ``micro_auc`` and ``auc/<class index>``."""
        values, present = self.seen()
        return _named("auc", [float(r.auc()) for r in rankings(values, present)], _pooled(values, present).auc())


class DecisionMetric(MultilabelMetric):
    """Base of the metrics of decisions at a threshold.

    Args:
        threshold: probability from which a class counts as present.
    """

    value_name: ClassVar[str]

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def compute(self) -> dict[str, float]:
        """Return the macro mean, the micro value and the value of each class."""
        table = confusion_2x2(*self.seen(), self.threshold)
        each = [rates(cells)[self.value_name] for cells in table]
        return _named(self.value_name, each, rates(table.sum(axis=0))[self.value_name])


class F1(DecisionMetric):
    """Harmonic mean of precision and recall."""

    value_name = "f1"


class Precision(DecisionMetric):
    """Share of right calls among the calls."""

    value_name = "precision"


class Recall(DecisionMetric):
    """Share of the positives that are found."""

    value_name = "recall"


class CalibrationError(MultilabelMetric):
    """Expected calibration error; lower is better.

    Args:
        num_bins: number of bins of equal width.
    """

    higher_is_better = False

    def __init__(self, num_bins: int = 15) -> None:
        super().__init__()
        self.num_bins = num_bins

    def compute(self) -> dict[str, float]:
        """Return ``macro_ece``, ``micro_ece`` and ``ece/<class index>``."""
        values, present = self.seen()
        each = [float(error) for error in expected_calibration_error(values, present, self.num_bins)]
        return _named("ece", each, expected_calibration_error(values.reshape(-1, 1), present.reshape(-1, 1), self.num_bins)[0])


def _pooled(values: np.ndarray, present: np.ndarray) -> Ranking:
    return Ranking.of(values.ravel(), present.ravel())


def _named(name: str, each: list[float], micro: float | np.ndarray) -> dict[str, float]:
    per_class = {f"{name}/{c}": value for c, value in enumerate(each)}
    return {f"macro_{name}": mean_of_defined(each), f"micro_{name}": float(micro), **per_class}


@metrics.register("average_precision")
@dataclass(frozen=True, kw_only=True)
class AveragePrecisionConfig(MetricConfig):
    """Area under the precision-recall curve: macro_ap, micro_ap, ap/<c>."""

    def build(self) -> AveragePrecision:
        """Return the metric."""
        return AveragePrecision()


@metrics.register("roc_auc")
@dataclass(frozen=True, kw_only=True)
class RocAucConfig(MetricConfig):
    """Area under the ROC curve: macro_auc, micro_auc, auc/<c>."""

    def build(self) -> RocAuc:
        """Return the metric."""
        return RocAuc()


@metrics.register("f1")
@dataclass(frozen=True, kw_only=True)
class F1Config(MetricConfig):
    """Harmonic mean of precision and recall: macro_f1, micro_f1, f1/<c>."""

    threshold: Annotated[float, Range(ge=0, le=1)] = 0.5
    """Probability from which a class counts as present."""

    def build(self) -> F1:
        """Return the metric."""
        return F1(self.threshold)


@metrics.register("precision")
@dataclass(frozen=True, kw_only=True)
class PrecisionConfig(MetricConfig):
    """Share of right calls among the calls: macro_precision, micro_precision, precision/<c>."""

    threshold: Annotated[float, Range(ge=0, le=1)] = 0.5
    """Probability from which a class counts as present."""

    def build(self) -> Precision:
        """Return the metric."""
        return Precision(self.threshold)


@metrics.register("recall")
@dataclass(frozen=True, kw_only=True)
class RecallConfig(MetricConfig):
    """Share of the positives that are found: macro_recall, micro_recall, recall/<c>."""

    threshold: Annotated[float, Range(ge=0, le=1)] = 0.5
    """Probability from which a class counts as present."""

    def build(self) -> Recall:
        """Return the metric."""
        return Recall(self.threshold)


@metrics.register("calibration_error")
@dataclass(frozen=True, kw_only=True)
class CalibrationErrorConfig(MetricConfig):
    """Expected calibration error (lower is better): macro_ece, micro_ece, ece/<c>.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning, eq. 2.
    """

    num_bins: Annotated[int, Range(ge=1)] = 15
    """Number of bins of equal width."""

    def build(self) -> CalibrationError:
        """Return the metric."""
        return CalibrationError(self.num_bins)
