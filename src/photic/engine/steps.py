"""What one optimization step consists of: the loop makes its steps of these functions, and so does who makes single ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError, TrainingError
from photic.metrics.base import Metric
from photic.optim.optimizers import OptimizerConfig
from photic.optim.schedules import Schedule
from photic.tasks.base import Batch, Phase, StepResult, Task


def build_optimizer(task: Task, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer over a task's groups, each of which remembers its own rate as ``base_lr``.

    Raises:
        ConfigError: there is nothing to train.
    """
    groups = task.parameter_groups(config.lr, config.weight_decay)
    if next(task.parameters(), None) is None:
        network = getattr(task.graph, "network", task.graph)
        raise ConfigError(
            f"config.model: {type(network).__name__} has no parameters, so there is nothing to train; it can be evaluated as it is, or "
            "choose another network (`photic list models`)"
        )
    if not any(group["params"] for group in groups):
        raise ConfigError("config.model: no parameter is trainable; unfreeze something")
    optimizer = config.build(groups)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def optimize(
    task: Task, batch: Batch, optimizer: torch.optim.Optimizer, schedule: Schedule, *, step: int, clip_norm: float | None
) -> dict[str, float]:
    """Make one optimization step with a batch, in the precision that the weights have.

    Args:
        task: in training mode; its weights are changed in place.
        batch: on the task's device.
        optimizer: as :func:`build_optimizer` makes it.
        schedule: of the learning rate.
        step: number of the step, the first is 0.
        clip_norm: largest norm of the gradient; None does not clip.

    Returns:
        The loss under ``loss``, and its terms.

    Raises:
        TrainingError: the loss or the gradient is not finite; the weights are as they were.
    """
    reweigh(task, schedule, step)
    result = task.step(batch, "train")
    values = named(result)
    if not all_finite(values):
        raise TrainingError(describe(result, values, batch, step, "train"))
    optimizer.zero_grad()
    result.loss.backward()
    set_rates(optimizer, schedule, step)
    clip(task, optimizer, clip_norm, where=f"batch {step} (optimizer step {step})")
    optimizer.step()
    optimizer.zero_grad()
    return values


@torch.no_grad()
def evaluate(task: Task, batches: Iterable[Batch], phase: Phase = "val") -> dict[str, float]:
    """Return means of the loss and its terms, and the metrics, over batches on the task's device; the task is left in evaluation mode.

    Raises:
        DataError: there are no batches.
        TrainingError: a loss is not finite.
    """
    task.eval()
    found = Pass(task.make_metrics())
    for number, batch in enumerate(batches):
        result = task.step(batch, phase)
        values = named(result)
        if not all_finite(values):
            raise TrainingError(describe(result, values, batch, number, phase))
        found.add(values, *result.kept())
    if not found.samples:
        raise DataError(f"{phase}: there are no batches to evaluate; the loader gave none")
    return found.values()


class Pass:
    """Sums over one pass of evaluation.

    Args:
        metrics: fresh ones.
    """

    def __init__(self, metrics: dict[str, Metric]) -> None:
        self.metrics = metrics
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, values: Mapping[str, float], prediction: Tensor, target: Tensor) -> None:
        """Take a batch in: loss and terms, and what is kept of its predictions and targets."""
        num_samples = len(target)
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * num_samples
        self.samples += num_samples
        for metric in self.metrics.values():
            metric.update(prediction, target)

    def values(self) -> dict[str, float]:
        """Return means of loss and terms, and the metrics."""
        values = {name: total / max(1, self.samples) for name, total in self.sums.items()}
        for metric in self.metrics.values():
            for name, value in metric.compute().items():
                if name in values:  # a term of the loss may be called like a metric: an SSIM to raise, and the loss made of it
                    values[f"{name}_loss"] = values.pop(name)
                values[name] = value
        return values


def reweigh(task: Task, schedule: Schedule, step: int) -> None:
    """Give the loss's terms the weights that the schedule has for a step."""
    weights = schedule.weights(step)
    if weights is not None:
        task.criterion.reweigh(weights)


def set_rates(optimizer: Any, schedule: Schedule, step: int) -> None:
    """Give each group of an optimizer the learning rate that the schedule has for a step."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step, group["name"], group["base_lr"])


def clip(task: Task, optimizer: Any, limit: float | None, *, where: str, scaled: bool = False) -> None:
    """Clip the gradient by its norm, and leave out what the rate freezes.

    Args:
        task: for the names of its parameters.
        optimizer: whose groups are looked at.
        limit: largest norm; None does not clip.
        where: which batch and step, for the message.
        scaled: float16's loss scaling skips steps without a finite gradient itself.

    Raises:
        TrainingError: the gradient is not finite.
    """
    for group in optimizer.param_groups:
        if group["lr"] == 0:  # frozen: without a gradient the optimizer leaves weights, decay and moments alone
            for parameter in group["params"]:
                parameter.grad = None
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit if limit is not None else math.inf)
    if not scaled and not torch.isfinite(norm):
        bad = next(n for n, p in task.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all())
        raise TrainingError(
            f"the gradient turned non-finite at {where}, first in '{bad}'. "
            "The weights before it are kept; lower optimizer.lr or use trainer.precision=32-true, then resume"
        )


def named(result: StepResult) -> dict[str, float]:
    """Return loss and terms as numbers; one transfer from the device for all of them."""
    terms = result.terms if len(result.terms) > 1 else {}
    if not terms:
        return {"loss": float(result.loss.detach())}
    values = torch.stack([result.loss.detach().float(), *(value.detach().float() for value in terms.values())]).tolist()
    return dict(zip(["loss", *terms], values, strict=True))


def all_finite(values: Mapping[str, float]) -> bool:
    """Say whether loss and terms are numbers."""
    return all(map(math.isfinite, values.values()))


def describe(result: StepResult, values: Mapping[str, float], batch: Batch, number: int, phase: Phase) -> str:
    """Say which term of the loss turned non-finite, and where."""
    parts = {name: float(value.detach()) for name, value in result.terms.items()}
    name, value = next(((n, v) for n, v in parts.items() if not math.isfinite(v)), ("loss", values["loss"]))
    index = batch.get("index")
    rows = index.tolist() if isinstance(index, Tensor) else []
    measurement = batch.get("measurement")
    clean = not isinstance(measurement, Tensor) or bool(torch.isfinite(measurement).all())
    cause = "" if clean else "; the batch itself holds non-finite values, check the data"
    stopped = "Training stopped before the weights were touched" if phase == "train" else "That was in validation; training stopped"
    return (
        f"loss term '{name}' turned {value} at batch {number} (samples {rows}){cause}. {stopped}; the last good checkpoint is kept. "
        "Lower optimizer.lr, clip gradients (training.gradient_clip_norm=1.0) or use trainer.precision=32-true, then resume"
    )
