"""Training a task into a run folder, from the beginning or from where it was left.

Lightning runs the loop, precision and devices. It is told nothing about epochs: what it calls an
epoch is the stretch of batches between two validations, and its own loop state is never saved. All
positions are ours (:mod:`photic.engine.state`), which is what makes resuming exact to the bit.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from photic.core.checkpoint import load_weights, read_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.data.base import DataConfig, PreparedData, SampleSet
from photic.data.loader import ExactLoader, evaluation_batches
from photic.engine.callbacks import Recorder
from photic.engine.config import TrainerConfig, TrainingConfig
from photic.engine.interruption import Interruption
from photic.engine.module import EngineModule
from photic.engine.processes import Processes, device_of
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
    processes: Processes,
    resume: bool = False,
    quiet: bool = False,
) -> TrainingState:
    """Train, writing checkpoints and logs into the run (by the first process, where there are several).

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
        processes: those that train together; every one of them calls this.
        resume: go on from the run's last checkpoint.
        quiet: no progress display.

    Returns:
        Where training stands at the end.

    Raises:
        RunInterrupted: training was asked to stop; the run can be resumed.
        TrainingError: a loss or gradient turned non-finite.
        CheckpointError: the checkpoint to resume from is unusable, or none can be written.
        ConfigError: another number of processes resumes than was interrupted.
    """
    for phase in ("train", "val"):
        if not len(data.splits.get(phase, ())):
            raise DataError(f"the {phase} split is empty; give more data or another data.split_strategy")
    loader = ExactLoader(
        data.splits["train"],
        batch_size=data_config.batch_size,
        seed=seed,
        num_workers=data_config.num_workers,
        drop_last=data_config.drop_last,
        rank=processes.rank,
        world_size=processes.num_processes,
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
    interruption = Interruption(launched=not processes.is_alone)
    module = EngineModule(
        task,
        config=training,
        optimizer=optimizer,
        schedule=schedule,
        plan=plan,
        seed=seed,
        processes=processes,
        interruption=interruption,
    )
    progress = Progress(plan, quiet=quiet or not processes.is_first)
    stream = {name: value for name, value in loader.state_dict().items() if name != "position"}
    recorder = Recorder(run, description, stream, progress.update)
    restored = _Restore(run) if resume else None
    if restored is not None:
        restored.counters(module)
        loader.load_state_dict({**restored.saved.state["stream"], "position": module.state.batches})
        if module.state.finished is not None and module.state.batches < plan.num_batches and not module.state.finished.startswith("all"):
            return module.state
        module.state.finished = None
        if module.state.batches >= plan.num_batches:
            module.state.finished = "all steps done"
            return module.state
    engine = lightning_trainer(trainer, training, processes, [recorder, *([restored.callback] if restored else [])])
    validation = _Validation(data.splits["val"], data_config, processes)
    try:
        with progress:
            drive(engine, module, Segments(loader, plan, module.state), validation)
    finally:
        recorder.close()
        loader.close()
    return module.state


def drive(engine: lightning.Trainer, module: EngineModule, batches: Any, validation: Any) -> None:
    """Let Lightning train until a callback ends it; the one place where training is started, whatever its batches come from.

    Raises:
        KeyboardInterrupt: a second Ctrl-C.
        PhoticError: whatever ended training in any of the processes.
    """
    with module.interruption:
        try:
            with warnings.catch_warnings():
                # Lightning 2.6 calls torch's tree functions by names that torch 2.15 calls deprecated.
                warnings.filterwarnings("ignore", message=r".*LeafSpec.*is deprecated.*")
                # Frozen parts stay in evaluation mode on purpose: networks decide that in `train()`.
                warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode at the start of training.*")
                engine.fit(module, batches, validation)
        except BaseException as error:
            # Lightning leaves by SystemExit where it was interrupted, which would tell the caller nothing.
            meant = KeyboardInterrupt() if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt) else error
            found = module.processes.cause(meant)
            if found is error:
                raise
            raise found from error


class Segments:
    """The training batches up to the next validation; iterating again gives the stretch after it.

    Knowing its length spares Lightning from fetching one batch ahead to see the end coming.

    Args:
        loader: gives batches without end.
        plan: when validations come.
        state: how many batches are done.
    """

    def __init__(self, loader: Iterable[Any], plan: Plan, state: TrainingState) -> None:
        self.plan = plan
        self.state = state
        self._stream: Iterator[Any] | None = None
        self._loader = loader

    def __len__(self) -> int:
        return self.plan.next_validation(self.state.batches) - self.state.batches

    def __iter__(self) -> Iterator[Any]:
        if self._stream is None:
            self._stream = iter(self._loader)
        start = self.state.batches
        for _ in range(start, self.plan.next_validation(start)):
            # As in any loop the batch before is let go when the next one is there. Freed sooner, its memory goes back to the
            # system and comes again page by page: two percent of a small network's step.
            batch = next(self._stream)
            yield batch


class _Validation:
    """One ordered pass over the validation split per iteration.

    Of several processes each takes every so many-th batch. All take equally many: where there are not enough, a process
    repeats the last one, marked ``spare``, which does not count.
    """

    def __init__(self, samples: SampleSet, config: DataConfig, processes: Processes) -> None:
        size = config.eval_batch_size or config.batch_size
        num_batches = math.ceil(len(samples) / size)
        numbers = range(processes.rank, processes.num_processes * math.ceil(num_batches / processes.num_processes), processes.num_processes)
        self._last_is_spare = numbers[-1] >= num_batches
        if not processes.is_alone:
            starts = [min(number, num_batches - 1) * size for number in numbers]
            samples = _Chosen(samples, [position for start in starts for position in range(start, min(start + size, len(samples)))])
        self._batches = evaluation_batches(samples, size, config.num_workers)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self._batches, 1):
            yield {**batch, "spare": True} if self._last_is_spare and number == len(self) else batch


class _Chosen:
    """Some samples of a set, in a given order."""

    def __init__(self, samples: SampleSet, positions: Sequence[int]) -> None:
        self._samples, self._positions = samples, positions

    def __len__(self) -> int:
        return len(self._positions)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        return self._samples.sample(self._positions[position], draw)


class _Restore:
    """The last checkpoint of a run, put back in two steps: counters before training, optimizer once it exists."""

    def __init__(self, run: Run) -> None:
        self.path = run.checkpoint("last")
        self.saved = read_checkpoint(self.path)
        if not {"training", "stream"} <= self.saved.state.keys():
            raise CheckpointError(f"{self.path}: holds no training state to resume from")
        self.callback = _RestoreOptimizer(self)

    def counters(self, module: EngineModule) -> None:
        before, now = self.saved.state["num_processes"], module.processes.num_processes
        if before != now:
            start = "without torchrun" if before == 1 else f"with `torchrun --nproc-per-node {before} -m photic train --resume ...`"
            raise ConfigError(f"{self.path}: written by {before} training processes, now there are {now}; resume {start}")
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


def lightning_trainer(
    config: TrainerConfig, training: TrainingConfig, processes: Processes, callbacks: list[Any], *, gpu_index: int | None = None
) -> lightning.Trainer:
    """Return Lightning's trainer, told nothing about epochs, logs, checkpoints and progress.

    Args:
        config: where training runs.
        training: accumulation.
        processes: those that train together.
        callbacks: one of them must end training.
        gpu_index: which GPU a process that trains alone takes; None: the first.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    elif not processes.is_alone:  # torchrun leaves each process a single thread, however many cores there are
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes.num_local))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    gpu = config.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    automatic = "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"
    together: dict[str, Any] = {"accelerator": config.accelerator, "devices": 1 if gpu_index is None else [gpu_index]}
    if not processes.is_alone:
        # Batch statistics are agreed on once a step, by all; DDP would copy the first process's before every forward pass.
        known = inspect.signature(DistributedDataParallel).parameters
        copying = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # its name before torch 2.15
        options: dict[str, Any] = {"gradient_as_bucket_view": True, copying: False}
        strategy = DDPStrategy(**options)
        device = "gpu" if device_of(config) == "cuda" else "cpu"
        together = {"accelerator": device, "devices": processes.num_local, "num_nodes": processes.num_nodes, "strategy": strategy}
    with warnings.catch_warnings():
        # Choosing the CPU although a GPU is there is the user's decision, and 32-true is no mistake either.
        warnings.filterwarnings("ignore", message=r".*available but not used.*")
        return lightning.Trainer(
            **together,
            precision=automatic if config.precision == "auto" else config.precision,  # type: ignore[arg-type]
            max_epochs=-1,  # the plan decides when training ends
            accumulate_grad_batches=training.gradient_accumulation,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,  # each stretch has its own length
            use_distributed_sampler=False,
        )
