"""What every metric shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from photic.core.schema import Config


@dataclass(frozen=True, kw_only=True)
class MetricConfig(Config):
    """Base of every metric's config."""

    def build(self) -> Metric:
        """Return the metric."""
        raise NotImplementedError


class Metric:
    """A metric over a whole set: ``update`` with each batch, ``compute`` at the end, ``reset`` before the next pass."""

    config_base: ClassVar[type[MetricConfig]] = MetricConfig
    higher_is_better: ClassVar[bool] = True

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take a batch in: predictions as the task deploys them (probabilities, pictures) and targets."""
        raise NotImplementedError

    def compute(self) -> dict[str, float]:
        """Return named values; a value that is undefined on this set (no positives) is NaN."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything seen."""
        raise NotImplementedError
