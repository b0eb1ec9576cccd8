"""One LightningModule around any task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from photic.core.errors import TrainingError
from photic.core.seeding import seed_global_generators
from photic.engine.config import TrainingConfig
from photic.engine.interruption import Interruption
from photic.engine.processes import Processes
from photic.engine.state import Plan, TrainingState
from photic.engine.steps import Pass, all_finite, build_optimizer, clip, describe, named, reweigh, set_rates
from photic.optim.ema import WeightAverage
from photic.optim.optimizers import OptimizerConfig
from photic.optim.schedules import Schedule, ScheduleConfig
from photic.tasks.base import Task


class EngineModule(lightning.LightningModule):
    """Drives a task: steps, learning rate, clipping, averaging, validation values.

    Args:
        task: what is trained.
        config: length, accumulation, clipping, averaging.
        optimizer: how weights change; or the optimizer itself, made by :func:`photic.engine.steps.build_optimizer`.
        schedule: how the learning rate changes; or the schedule itself.
        plan: the course in numbers.
        seed: of everything random inside the network.
        processes: those that train together.
        interruption: what asks to stop; all processes stop where one is asked.
        state: where training stands; None is the beginning.
    """

    def __init__(
        self,
        task: Task,
        *,
        config: TrainingConfig,
        optimizer: OptimizerConfig | torch.optim.Optimizer,
        schedule: ScheduleConfig | Schedule,
        plan: Plan,
        seed: int,
        processes: Processes,
        interruption: Interruption,
        state: TrainingState | None = None,
    ) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self._optimizer = optimizer
        self.plan = plan
        self.seed = seed
        self.processes = processes
        self.interruption = interruption
        self.stop_requested = False
        """Whether any process has been asked to stop, as of the last training batch or validation."""
        self.schedule = schedule if isinstance(schedule, Schedule) else schedule.build(plan.steps_per_epoch, plan.num_steps)
        self.average = WeightAverage(task, config.ema_decay) if config.ema_decay is not None else None
        self.state = TrainingState() if state is None else state
        self.last_terms: dict[str, float] = {}
        self.preview: Callable[[], np.ndarray] | None = None
        """Makes a picture of the first batch of a validation, where it is wanted and the task can; it holds that batch until then."""
        self._validation: Pass | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer that was given, or build it over the task's groups, remembering each group's own rate."""
        given = self._optimizer
        return given if isinstance(given, torch.optim.Optimizer) else build_optimizer(self.task, given)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch, with channels last where asked."""
        filled = batch.get("filled", 0)
        if filled and len(batch["index"]) > filled:  # one sample must stay, or there would be nothing to run; it counts nothing
            batch = {name: value[:-filled] if isinstance(value, Tensor | list) else value for name, value in batch.items()} | {"filled": 0}
        moved: Any = super().transfer_batch_to_device(batch, device, dataloader_idx)
        measurement = moved["measurement"]
        if self.config.channels_last and measurement.ndim == 4:
            moved["measurement"] = measurement.contiguous(memory_format=torch.channels_last)
        return moved

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make random numbers inside the network (dropout) a function of the batch's place."""
        seed_global_generators(self.seed, "train-step", self.state.batches, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Run the task's step; a non-finite loss in any process ends training before it can touch the weights."""
        reweigh(self.task, self.schedule, self.state.steps)
        result = self.task.step(batch, "train")
        values = named(result)
        num_samples = len(result.target) - batch.get("filled", 0)
        problem = None if all_finite(values) else describe(result, values, batch, self.state.batches, "train")
        if self.processes.is_alone:
            if problem is not None:
                raise TrainingError(problem)
            self.stop_requested = self.interruption.requested
            self.last_terms = values
            self.state.add(values, num_samples)
            return result.loss
        shares = [value * num_samples for value in values.values()]
        *sums, stops, problems, total = self.processes.sums([*shares, self.interruption.requested, problem is not None, num_samples])
        if problems:
            everyones = self.processes.gather_everywhere(problem)
            rank, message = next((rank, text) for rank, text in enumerate(everyones) if text is not None)
            raise TrainingError(f"rank {rank} of {self.processes.num_processes} processes: {message}")
        self.stop_requested = stops > 0
        self.last_terms = {name: value / total for name, value in zip(values, sums, strict=True)}
        self.state.add(self.last_terms, round(total))
        # DistributedDataParallel will divide by the number of processes; a mean over all samples weighs each process by its own.
        share = num_samples * self.processes.num_processes / total
        return result.loss if share == 1 else result.loss * share

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Set the learning rate of this step, take it, update the average."""
        set_rates(optimizer, self.schedule, self.state.steps)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()  # Lightning does so after the next forward pass, where memory is at its peak
        self.state.steps += 1
        if not self.processes.is_alone:
            self.processes.average(_batch_statistics(self.task))
        if self.average is not None:
            self.average.update()

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by norm; a non-finite gradient ends training before it can touch the weights."""
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # float16 scaling skips such steps itself
        where = f"batch {self.state.batches} (optimizer step {self.state.steps})"
        clip(self.task, optimizer, self.config.gradient_clip_norm, where=where, scaled=scaled)

    def on_validation_start(self) -> None:
        """Begin a validation with the weights that would be deployed."""
        if self.average is not None:
            self.average.swap()
        self._validation = Pass(self.task.make_metrics())
        self.preview = None
        reweigh(self.task, self.schedule, self.state.steps)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Take a validation batch in; weights that give no number end training before they are saved."""
        assert self._validation is not None
        result = self.task.step(batch, "val")
        values = named(result)
        if self.preview is None and self.config.preview_every_validations is not None:
            self.preview = result.preview
        if not all_finite(values):
            raise TrainingError(describe(result, values, batch, self.state.batches, "val"))
        if self.processes.is_alone:
            self._validation.add(values, *result.kept())
            return
        prediction, target = result.kept()
        found = None if batch.get("spare") else (values, prediction.cpu(), target.cpu())
        for part in self.processes.gather(found):
            if part is not None:
                self._validation.add(*part)

    def on_validation_epoch_end(self) -> None:
        """Put the training weights back. Not in ``on_validation_end``: there, callbacks (which save) come first."""
        if self.average is not None:
            self.average.swap()

    def validation_values(self) -> dict[str, float]:
        """Return loss, terms and metrics of the validation just made; the first process has the predictions and computes for all."""
        assert self._validation is not None
        values = self.processes.broadcast(self._validation.values() if self.processes.is_first else {})
        self.stop_requested = self.processes.sums([self.interruption.requested])[0] > 0
        return values

    def learning_rate(self) -> float:
        """Return the factor-scaled highest learning rate of the coming step."""
        given = self._optimizer
        highest = given.defaults["lr"] if isinstance(given, torch.optim.Optimizer) else given.lr
        return float(highest) * self.schedule.factor(self.state.steps)

    def group_rates(self) -> dict[str, float]:
        """Return the rates that the last step was made with, by group, where the schedule has rates of its own for some groups."""
        if type(self.schedule).rate is Schedule.rate:
            return {}
        return {f"lr/{group['name']}": float(group["lr"]) for group in self.trainer.optimizers[0].param_groups}


def _batch_statistics(task: Task) -> list[Tensor]:
    """Return the running statistics that training batches change: each process sees other batches, and all must keep the same."""
    layers = [m for m in task.modules() if isinstance(m, _NormBase) and m.training and m.running_mean is not None]
    return [statistic for layer in layers for statistic in (layer.running_mean, layer.running_var) if statistic is not None]
