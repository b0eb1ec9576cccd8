"""Optimizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch

from photic.core.registry import optimizers
from photic.core.schema import Config, Range


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """Base of every optimizer's config."""

    lr: Annotated[float, Range(gt=0)] = 1e-3
    """Highest learning rate; the schedule scales it down."""
    weight_decay: Annotated[float, Range(ge=0)] = 1e-4
    """Decay of weights; tasks leave biases and normalisation out."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer over a task's parameter groups."""
        raise NotImplementedError


@optimizers.register("adamw")
@dataclass(frozen=True, kw_only=True)
class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay.

    Source: Loshchilov & Hutter 2019, Decoupled weight decay regularization.
    """

    betas: Annotated[tuple[float, float], Range(ge=0, lt=1)] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient."""
    eps: Annotated[float, Range(gt=0)] = 1e-8
    """Added to the denominator."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer over a task's parameter groups."""
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)


@optimizers.register("sgd")
@dataclass(frozen=True, kw_only=True)
class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with Nesterov momentum.

    Source: Sutskever et al. 2013, On the importance of initialization and momentum in deep learning.
    """

    momentum: Annotated[float, Range(ge=0, lt=1)] = 0.9
    """Share of the previous step that is kept; 0 is plain gradient descent."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer over a task's parameter groups."""
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0, weight_decay=self.weight_decay)
