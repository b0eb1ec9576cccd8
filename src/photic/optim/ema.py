"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """A moving average of everything in a module's ``state_dict``.

    Floating-point entries are averaged, the rest (counters) copied. Early on the decay is lower,
    ``min(decay, (1 + n) / (10 + n))``, so that the random initial weights are forgotten soon.

    Args:
        module: the module to follow.
        decay: share of the average kept at each update, in (0, 1).

    Source: Polyak & Juditsky 1992; the warm-up of the decay is TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.num_updates = 0
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present weights in."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        for name, value in self.module.state_dict().items():
            average = self.weights[name]
            if average.dtype.is_floating_point:
                average.lerp_(value.to(average), 1 - decay)
            else:
                average.copy_(value)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's weights with the average; a second call takes that back exactly."""
        for name, value in self.module.state_dict().items():
            average = self.weights[name]
            held = value.detach().clone()
            value.copy_(average)
            average.copy_(held)

    def to(self, device: torch.device) -> None:
        """Move the average."""
        self.weights = {name: value.to(device) for name, value in self.weights.items()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], num_updates: int) -> None:
        """Restore a saved average."""
        self.weights = {name: weights[name].to(value.device, copy=True) for name, value in self.weights.items()}
        self.num_updates = num_updates
