"""Training from any stream of batches, without a run folder: the loop of :mod:`photic.engine.fit`, reported to a listener.

Whoever holds task, optimizer, schedule and state can train a stretch, make single steps (:func:`photic.engine.steps.optimize`), and go
on training.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from photic.core.errors import DataError, RunInterrupted
from photic.engine.config import TrainerConfig, TrainingConfig
from photic.engine.fit import Segments, drive, lightning_trainer
from photic.engine.interruption import Interruption
from photic.engine.module import EngineModule
from photic.engine.processes import Processes
from photic.engine.state import Plan, TrainingState
from photic.optim.schedules import Schedule
from photic.tasks.base import Batch, Task


class Listener(Protocol):
    """Hears how training goes."""

    def stepped(self, step: int, values: dict[str, float]) -> None:
        """Take in that ``step`` optimizer steps are done, with the loss and terms of the last one."""
        ...

    def validated(self, step: int, values: dict[str, float]) -> bool:
        """Take in the values of a validation; return whether to stop."""
        ...


def fit_stream(
    task: Task,
    batches: Iterable[Batch],
    validation: Iterable[Batch] | None,
    *,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    state: TrainingState,
    num_steps: int,
    validate_every_steps: int,
    clip_norm: float | None,
    device: torch.device,
    seed: int,
    listener: Listener,
) -> None:
    """Make so many more optimizer steps, one per batch; validate every so many, counted from the beginning, and at the end.

    Args:
        task: what is trained, in place; afterwards it is on ``device``.
        batches: a loader that can be iterated again and again; a short one is, as often as it takes.
        validation: likewise, one pass per validation; None does not validate.
        optimizer: as :func:`photic.engine.steps.build_optimizer` makes it.
        schedule: of the learning rate; the listener lets it observe.
        state: where training stands; changed in place.
        num_steps: how many steps to make, at least 1.
        validate_every_steps: steps between validations.
        clip_norm: largest norm of the gradient; None does not clip.
        device: where to train.
        seed: of everything random inside the network.
        listener: hears how it goes, and may stop it at a validation.

    Raises:
        DataError: a loader gives no batches, or ends for good before all steps are done.
        TrainingError: a loss or gradient turned non-finite.
        RunInterrupted: somebody asked to stop (Ctrl-C); the step going on was finished.
    """
    plan = Plan(
        batches_per_epoch=state.batches + num_steps,
        accumulation=1,
        num_epochs=1,
        max_steps=None,
        validate_every_steps=validate_every_steps,
    )
    training = TrainingConfig(gradient_clip_norm=clip_norm)
    module = EngineModule(
        task,
        config=training,
        optimizer=optimizer,
        schedule=schedule,
        plan=plan,
        seed=seed,
        processes=Processes(),
        interruption=Interruption(),
        state=state,
    )
    where = TrainerConfig(accelerator="cpu" if device.type == "cpu" else "gpu", precision="32-true")
    reporter = _Reporter(listener, validates=validation is not None)
    engine = lightning_trainer(where, training, Processes(), [reporter], gpu_index=None if device.type == "cpu" else device.index or 0)
    passes = None if validation is None else _Pass(validation)
    task.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*defined a `validation_step` but have no `val_dataloader`.*")
        drive(engine, module, Segments(_Endless(batches, num_steps), plan, state), passes)
    if device.type != "cpu":  # Lightning leaves everything on the CPU
        task.to(device)
        optimizer.load_state_dict(optimizer.state_dict())  # moves the moments to where the weights are


class _Endless:
    """The batches of a loader, pass after pass."""

    def __init__(self, loader: Iterable[Batch], wanted: int) -> None:
        self._loader, self._wanted = loader, wanted

    def __iter__(self) -> Iterator[Batch]:
        given = 0
        while True:
            before = given
            for batch in self._loader:
                yield batch
                given += 1
            if given == before:
                raise DataError(
                    f"training: the loader gave {given} batches and then none, {self._wanted} are wanted; give one that can be iterated "
                    "again, such as a list or a DataLoader"
                )


class _Pass:
    """One pass over the validation batches per iteration."""

    def __init__(self, loader: Iterable[Batch]) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        empty = True
        for batch in self._loader:
            empty = False
            yield batch
        if empty:
            raise DataError("validation: the loader gave no batches; give one that can be iterated again, such as a list or a DataLoader")


class _Reporter(Callback):
    """Counts, reports and ends training."""

    def __init__(self, listener: Listener, *, validates: bool) -> None:
        self.listener, self.validates = listener, validates

    def on_train_start(self, trainer: lightning.Trainer, module: EngineModule) -> None:  # type: ignore[override]
        module.interruption.renew()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, module: EngineModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        state, plan = module.state, module.plan
        before = state.batches
        state.batches += 1
        state.take_means()
        self.listener.stepped(state.steps, dict(module.last_terms))
        done = state.batches >= plan.num_batches
        if done and not self.validates:
            trainer.should_stop = True
        elif module.stop_requested and not (self.validates and state.batches == plan.next_validation(before)):
            raise RunInterrupted(self._stopped(module))

    def on_validation_end(self, trainer: lightning.Trainer, module: EngineModule) -> None:  # type: ignore[override]
        values = module.validation_values()
        if self.listener.validated(module.state.steps, values) or module.state.batches >= module.plan.num_batches:
            trainer.should_stop = True
        elif module.stop_requested:
            raise RunInterrupted(self._stopped(module))

    def _stopped(self, module: EngineModule) -> str:
        return f"stopped at step {module.state.steps} of {module.plan.num_steps}; save a checkpoint, or train on"
