"""One LightningModule around any task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from photic.core.errors import ConfigError, TrainingError
from photic.core.seeding import seed_global_generators
from photic.engine.config import TrainingConfig
from photic.engine.state import Plan, TrainingState
from photic.metrics.base import Metric
from photic.optim.ema import WeightAverage
from photic.optim.optimizers import OptimizerConfig
from photic.optim.schedules import ScheduleConfig
from photic.tasks.base import StepResult, Task


class EngineModule(lightning.LightningModule):
    """Drives a task: steps, learning rate, clipping, averaging, validation values.

    Args:
        task: what is trained.
        config: length, accumulation, clipping, averaging.
        optimizer: how weights change.
        schedule: how the learning rate changes.
        plan: the course in numbers.
        seed: of everything random inside the network.
    """

    def __init__(
        self, task: Task, *, config: TrainingConfig, optimizer: OptimizerConfig, schedule: ScheduleConfig, plan: Plan, seed: int
    ) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self.optimizer_config = optimizer
        self.plan = plan
        self.seed = seed
        self.schedule = schedule.build(plan.steps_per_epoch, plan.num_steps)
        self.average = WeightAverage(task, config.ema_decay) if config.ema_decay is not None else None
        self.state = TrainingState()
        self.last_terms: dict[str, float] = {}
        self._validation: _Pass | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer over the task's groups, remembering each group's own rate."""
        groups = self.task.parameter_groups(self.optimizer_config.lr, self.optimizer_config.weight_decay)
        if not any(group["params"] for group in groups):
            raise ConfigError("config.model: no parameter is trainable; unfreeze something")
        optimizer = self.optimizer_config.build(groups)
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
        return optimizer

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch, with channels last where asked."""
        moved: Any = super().transfer_batch_to_device(batch, device, dataloader_idx)
        measurement = moved["measurement"]
        if self.config.channels_last and measurement.ndim == 4:
            moved["measurement"] = measurement.contiguous(memory_format=torch.channels_last)
        return moved

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make random numbers inside the network (dropout) a function of the batch's place."""
        seed_global_generators(self.seed, "train-step", self.state.batches, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Run the task's step; a non-finite loss ends training before it can touch the weights."""
        result = self.task.step(batch, "train")
        self.last_terms = _finite_terms(result, batch, self.state.batches)
        self.state.add(self.last_terms, len(result.target))
        return result.loss

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Set the learning rate of this step, take it, update the average."""
        factor = self.schedule.factor(self.state.steps)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.state.steps += 1
        if self.average is not None:
            self.average.update()

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by norm; a non-finite gradient ends training before it can touch the weights."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = self.config.gradient_clip_norm
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit if limit is not None else math.inf)
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # float16 scaling skips such steps itself
        if not scaled and not torch.isfinite(norm):
            bad = next(n for n, p in self.task.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all())
            raise TrainingError(
                f"the gradient turned non-finite at batch {self.state.batches} (optimizer step {self.state.steps}), first in '{bad}'. "
                "The weights before it are kept; lower optimizer.lr or use trainer.precision=32-true, then resume"
            )

    def on_validation_start(self) -> None:
        """Begin a validation with the weights that would be deployed."""
        if self.average is not None:
            self.average.swap()
        self._validation = _Pass(self.task.make_metrics())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Take a validation batch in."""
        assert self._validation is not None
        self._validation.add(self.task.step(batch, "val"))

    def on_validation_epoch_end(self) -> None:
        """Put the training weights back. Not in ``on_validation_end``: there, callbacks (which save) come first."""
        if self.average is not None:
            self.average.swap()

    def validation_values(self) -> dict[str, float]:
        """Return loss, terms and metrics of the validation just made."""
        assert self._validation is not None
        return self._validation.values()

    def learning_rate(self) -> float:
        """Return the factor-scaled highest learning rate of the coming step."""
        return self.optimizer_config.lr * self.schedule.factor(self.state.steps)


class _Pass:
    """Sums over one pass of evaluation."""

    def __init__(self, metrics: dict[str, Metric]) -> None:
        self.metrics = metrics
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, result: StepResult) -> None:
        num_samples = len(result.target)
        for name, value in _named(result).items():
            self.sums[name] = self.sums.get(name, 0.0) + value * num_samples
        self.samples += num_samples
        for metric in self.metrics.values():
            metric.update(result.prediction, result.target)

    def values(self) -> dict[str, float]:
        values = {name: total / max(1, self.samples) for name, total in self.sums.items()}
        for metric in self.metrics.values():
            values.update(metric.compute())
        return values


def _named(result: StepResult) -> dict[str, float]:
    terms = {name: float(value.detach()) for name, value in result.terms.items()} if len(result.terms) > 1 else {}
    return {"loss": float(result.loss.detach()), **terms}


def _finite_terms(result: StepResult, batch: Any, number: int) -> dict[str, float]:
    values = _named(result)
    if all(math.isfinite(value) for value in values.values()):
        return values
    parts = {name: float(value.detach()) for name, value in result.terms.items()}
    name, value = next(((n, v) for n, v in parts.items() if not math.isfinite(v)), ("loss", values["loss"]))
    rows = batch["index"].tolist() if isinstance(batch.get("index"), Tensor) else []
    measurement = batch.get("measurement")
    clean = not isinstance(measurement, Tensor) or bool(torch.isfinite(measurement).all())
    cause = "" if clean else "; the batch itself holds non-finite values, check the data"
    raise TrainingError(
        f"loss term '{name}' turned {value} at batch {number} (samples {rows}){cause}. "
        "Training stopped before the weights were touched; the last good checkpoint is kept. "
        "Lower optimizer.lr, clip gradients (training.gradient_clip_norm=1.0) or use trainer.precision=32-true, then resume"
    )
