"""How well modelled diffraction agrees with what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from photic.core.errors import DataError
from photic.core.registry import metrics
from photic.metrics.base import Metric, MetricConfig


class RAmp(Metric):
    """R_amp = sum of ``|A_model - A|`` over the sum of ``A``, all pixels of all patterns together; 0 is perfect.

    Source: the R-factor of crystallography, as ptychography uses it for amplitudes.

    Example:
        >>> import torch
        >>> metric = RAmp()
        >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 10.0]))
        >>> round(metric.compute()["r_amp"], 6)
        0.15
    """

    higher_is_better = False

    def __init__(self) -> None:
        self.reset()

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take sums over patterns in, ``(B,)`` each: of absolute differences of amplitudes, and of measured amplitudes.

        Raises:
            DataError: another shape.
        """
        if prediction.shape != target.shape or prediction.ndim != 1:
            raise DataError(
                f"r_amp: expected two vectors of one length (summed differences, summed amplitudes), "
                f"got {tuple(prediction.shape)} and {tuple(target.shape)}"
            )
        self._difference += float(prediction.double().sum())
        self._measured += float(target.double().sum())

    def compute(self) -> dict[str, float]:
        """Return ``r_amp``; NaN where nothing was measured."""
        return {"r_amp": self._difference / self._measured if self._measured > 0 else float("nan")}

    def reset(self) -> None:
        """Forget everything seen."""
        self._difference = self._measured = 0.0


@metrics.register("r_amp")
@dataclass(frozen=True, kw_only=True)
class RAmpConfig(MetricConfig):
    """Relative difference of modelled and measured diffraction amplitudes (R_amp)."""

    def build(self) -> RAmp:
        """Return the metric."""
        return RAmp()
