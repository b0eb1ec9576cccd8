"""Training a task into a run folder, from the beginning or from where it was left.

Lightning runs the loop, precision and devices. It is told nothing about epochs: what it calls an
epoch is the stretch of batches between two validations, and its own loop state is never saved. All
positions are ours (:mod:`photic.engine.state`), which is what makes resuming exact to the bit.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import lightning
import torch

from photic.core.checkpoint import load_weights, read_checkpoint
from photic.core.errors import CheckpointError, DataError
from photic.data.base import DataConfig, PreparedData
from photic.data.loader import ExactLoader, evaluation_batches
from photic.engine.callbacks import Recorder
from photic.engine.config import TrainerConfig, TrainingConfig
from photic.engine.module import EngineModule
from photic.engine.progress import Progress
from photic.engine.state import Plan, TrainingState
from photic.optim.optimizers import OptimizerConfig
from photic.optim.schedules import ScheduleConfig
from photic.tasks.base import Task
from photic.tracking.run import Run


def fit(
    task: Task,
    data: PreparedData,
    run: Run,
    *,
    data_config: DataConfig,
    optimizer: OptimizerConfig,
    schedule: ScheduleConfig,
    training: TrainingConfig,
    trainer: TrainerConfig,
    seed: int,
    description: dict[str, Any],
    resume: bool = False,
    quiet: bool = False,
) -> TrainingState:
    """Train, writing checkpoints and logs into the run.

    Args:
        task: what is trained; its weights are changed in place.
        data: the splits.
        run: the folder.
        data_config: how samples are loaded.
        optimizer: how weights change.
        schedule: how the learning rate changes.
        training: how long.
        trainer: where.
        seed: of order, augmentation and dropout.
        description: what goes into every checkpoint beside weights and state.
        resume: go on from the run's last checkpoint.
        quiet: no progress display.

    Returns:
        Where training stands at the end.

    Raises:
        RunInterrupted: training was asked to stop; the run can be resumed.
        TrainingError: a loss or gradient turned non-finite.
        CheckpointError: the checkpoint to resume from is unusable, or none can be written.
    """
    for phase in ("train", "val"):
        if not len(data.splits[phase]):
            raise DataError(f"the {phase} split is empty; give more data or another data.split_strategy")
    loader = ExactLoader(
        data.splits["train"],
        batch_size=data_config.batch_size,
        seed=seed,
        num_workers=data_config.num_workers,
        drop_last=data_config.drop_last,
    )
    plan = Plan(
        batches_per_epoch=loader.batches_per_epoch,
        accumulation=training.gradient_accumulation,
        num_epochs=training.num_epochs,
        max_steps=training.max_steps,
        validate_every_steps=training.validate_every_steps,
    )
    if training.channels_last:
        task = task.to(memory_format=torch.channels_last)
    module = EngineModule(task, config=training, optimizer=optimizer, schedule=schedule, plan=plan, seed=seed)
    progress = Progress(plan, quiet=quiet)
    recorder = Recorder(run, description, progress.update)
    restored = _Restore(run) if resume else None
    if restored is not None:
        restored.counters(module)
        loader.load_state_dict({"position": module.state.batches})
        if module.state.finished is not None and module.state.batches < plan.num_batches and not module.state.finished.startswith("all"):
            return module.state
        module.state.finished = None
        if module.state.batches >= plan.num_batches:
            module.state.finished = "all steps done"
            return module.state
    engine = _trainer(trainer, training, [recorder, *([restored.callback] if restored else [])])
    try:
        with progress, warnings.catch_warnings():
            # Lightning 2.6 calls torch's tree functions by names that torch 2.15 calls deprecated.
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*is deprecated.*")
            engine.fit(module, _Segments(loader, plan, module.state), _Validation(data, data_config))
    finally:
        recorder.close()
        loader.close()
    return module.state


class _Segments:
    """The training batches up to the next validation; iterating again gives the stretch after it."""

    def __init__(self, loader: ExactLoader, plan: Plan, state: TrainingState) -> None:
        self.plan = plan
        self.state = state
        self._stream: Iterator[Any] | None = None
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        if self._stream is None:
            self._stream = iter(self._loader)
        start = self.state.batches
        for _ in range(start, self.plan.next_validation(start)):
            yield next(self._stream)


class _Validation:
    """One ordered pass over the validation split per iteration."""

    def __init__(self, data: PreparedData, config: DataConfig) -> None:
        self._samples = data.splits["val"]
        self._batch_size = config.eval_batch_size or config.batch_size
        self._num_workers = config.num_workers

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        return iter(evaluation_batches(self._samples, self._batch_size, self._num_workers))


class _Restore:
    """The last checkpoint of a run, put back in two steps: counters before training, optimizer once it exists."""

    def __init__(self, run: Run) -> None:
        self.path = run.checkpoint("last")
        self.saved = read_checkpoint(self.path)
        if "training" not in self.saved.state:
            raise CheckpointError(f"{self.path}: holds no training state to resume from")
        self.callback = _RestoreOptimizer(self)

    def counters(self, module: EngineModule) -> None:
        load_weights(module.task, self.saved.weights, self.path)
        module.state.load_state_dict(self.saved.state["training"])
        module.schedule.load_state_dict(self.saved.state["schedule"])
        if module.average is not None:
            if self.saved.ema is None:
                raise CheckpointError(
                    f"{self.path}: holds no averaged weights, but training.ema_decay is set; resume with the run's own settings"
                )
            module.average.load(self.saved.ema, self.saved.state["ema_updates"])


class _RestoreOptimizer(lightning.Callback):
    def __init__(self, restore: _Restore) -> None:
        self.restore = restore

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        trainer.optimizers[0].load_state_dict(self.restore.saved.state["optimizer"])
        trainer.precision_plugin.load_state_dict(self.restore.saved.state["precision"])


def _trainer(config: TrainerConfig, training: TrainingConfig, callbacks: list[Any]) -> lightning.Trainer:
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    gpu = config.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    automatic = "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"
    with warnings.catch_warnings():
        # Choosing the CPU although a GPU is there is the user's decision, and 32-true is no mistake either.
        warnings.filterwarnings("ignore", message=r".*available but not used.*")
        return lightning.Trainer(
            accelerator=config.accelerator,
            devices=1,
            precision=automatic if config.precision == "auto" else config.precision,  # type: ignore[arg-type]
            max_epochs=-1,  # the plan decides when training ends
            accumulate_grad_batches=training.gradient_accumulation,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
