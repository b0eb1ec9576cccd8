"""What every task shares: one step, one prediction, one deployable graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from photic.core.schema import Config
from photic.data.base import PreparedData
from photic.losses.base import BaseLoss, LossConfig
from photic.metrics.base import Metric
from photic.metrics.comparison import ComparisonSpec
from photic.models.base import ModelConfig
from photic.tasks.interface import GraphInterface

Batch = Mapping[str, Any]
Phase = Literal["train", "val", "test"]


@dataclass(frozen=True)
class StepResult:
    """What a step gives back."""

    loss: Tensor
    """Scalar to minimise."""
    terms: dict[str, Tensor]
    """Named parts of the loss, weighted; they sum to it."""
    prediction: Tensor
    """Prediction as deployed (probabilities, pictures), detached. Set-level metrics (AP is no mean of batches) are fed with it."""
    target: Tensor
    """What it is compared with."""
    preview: Callable[[], np.ndarray] | None = None
    """Makes a picture ``(H, W, 3)`` uint8 of the step when somebody wants to look; costs nothing otherwise."""
    reduced: tuple[Tensor, Tensor] | None = None
    """What metrics and reports are made of, ``(B, ...)`` each, where prediction and target are too large to keep for a whole split."""

    def kept(self) -> tuple[Tensor, Tensor]:
        """Return what is kept of each sample for metrics, report and table: ``reduced``, or prediction and target themselves."""
        return self.reduced if self.reduced is not None else (self.prediction, self.target)


class Task(nn.Module):
    """Network, loss and metrics of one kind of problem; knows nothing of loops, devices or files."""

    graph: nn.Module
    """Pre-processing + network + post-processing: the one graph that training, evaluation and deployment share. It has a ``network``."""
    criterion: BaseLoss
    usage: str | None = None
    """What goes in, what comes out and by which command, Markdown, for the card; None for classifiers of pictures."""
    limits: tuple[str, ...] = ()
    """What whoever relies on its models must know, whole sentences for the card; what holds for every model need not be said."""

    def start(self, read: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Take in what parts of the network start from besides random weights; called once, when a training starts that is not resumed.

        Args:
            read: returns a network's trained weights, given the name of a model that comes with Photic, a bundle, run or checkpoint.
        """

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and prediction for a batch."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> Tensor:
        """Return the deployed prediction for a batch."""
        raise NotImplementedError

    def deployable(self) -> nn.Module:
        """Return pre-processing + network + post-processing as one module: what evaluate, predict and export share."""
        return self.graph

    def interface(self) -> GraphInterface:
        """Return what :meth:`tensor_graph` takes and gives: what a program needs to know that uses the network without Photic."""
        raise NotImplementedError

    def tensor_graph(self) -> nn.Module:
        """Return :meth:`deployable` as a function of tensors alone: real tensors in and out, in the order of :meth:`interface`.

        Its ``forward`` gives a tensor, or a tuple of tensors where there are several outputs. Where it decides something by rounding,
        which a difference in the last digit can turn over, it has ``rounded``, names of the outputs that say how, and
        ``following(*inputs, outputs)``: what it gives once those decisions are taken as another machine took them.
        """
        return self.deployable()

    def example(self, batch: int = 2, size: tuple[int, int] | None = None, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return made-up inputs of :meth:`tensor_graph` that resemble real ones, in the order of :meth:`interface`.

        Args:
            batch: samples.
            size: (height, width) in pixels, where these are free; None is a small size that the network takes.
            seed: another one, other samples.

        Raises:
            ConfigError: the network has a fixed size, which is not this one.
        """
        raise NotImplementedError

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return optimizer groups, each with ``name``, ``params``, ``lr`` and ``weight_decay``."""
        raise NotImplementedError

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass over a split."""
        raise NotImplementedError

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Choose on the validation split what is deployed beside the weights, for example thresholds."""

    def report(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Return everything worth saying about what was kept of a split's steps (:meth:`StepResult.kept`), as JSON values."""
        raise NotImplementedError

    def table(self, names: Sequence[str], prediction: np.ndarray, target: np.ndarray) -> tuple[list[str], list[list[Any]]]:
        """Return header and rows that keep the predictions of a split for later analysis."""
        raise NotImplementedError

    @property
    def comparison(self) -> ComparisonSpec | None:
        """What `photic compare` makes of :meth:`table`; stored with each run. None for classifications, which it knows by itself."""
        return None

    def description(self) -> dict[str, Any]:
        """Return what a reader of the weights needs beyond the config (class names, thresholds), as JSON values."""
        return {}


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Config):
    """Base of every task's config."""

    metrics: tuple[str, ...] = field(default_factory=tuple)
    """Registry names of the metrics computed on validation and test."""

    def build(self, model: ModelConfig, loss: LossConfig, data: PreparedData | Mapping[str, Any]) -> Task:
        """Return the task.

        Args:
            model: the network's config; sizes left open are taken from the data.
            loss: the loss's config.
            data: prepared splits when training; a saved :meth:`Task.description` when a run is loaded.
        """
        raise NotImplementedError
