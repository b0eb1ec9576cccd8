"""Metrics."""

from __future__ import annotations

from dataclasses import dataclass

from photic.core.registry import metrics
from photic.metrics.base import Metric, MetricConfig


class Hits(Metric):
    """Share of right decisions at 0.5."""

    def __init__(self) -> None:
        self.reset()

    def update(self, prediction, target):
        self.right += int(((prediction > 0.5) == (target > 0.5)).sum())
        self.seen += target.numel()

    def compute(self):
        return {"lab_hits": self.right / self.seen}

    def reset(self):
        self.right = self.seen = 0


@metrics.register("lab_hits")
@dataclass(frozen=True, kw_only=True)
class HitsConfig(MetricConfig):
    """Share of right decisions at 0.5."""

    def build(self) -> Hits:
        return Hits()
