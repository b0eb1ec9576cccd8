"""Settings of training (what is learnt, for how long) and of the trainer (where it runs). Imports no Lightning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from photic.core.errors import ConfigError
from photic.core.schema import Config, Range

PREVIOUS = "previous"
"""What `start_from` says in a sweep where each job starts from the one before it."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """How long and how training goes."""

    num_epochs: Annotated[int, Range(ge=1)] = 100
    """Passes over the training split."""
    max_steps: Annotated[int | None, Range(ge=1)] = None
    """Stop after this many optimizer steps, however many epochs that is; null is no limit."""
    start_from: str | None = None
    """Start from the weights of a trained network with the same settings instead of random ones (weights alone: optimizer, schedule and
    all else begin anew): a run, a bundle, a checkpoint, or the name of a model that comes with Photic. In sweeps, `previous`: each job
    along the last sweep starts from the best weights of the job before it, the first from random ones; where an earlier sweep goes on,
    the last one begins anew. A resumed run does not look at it."""
    gradient_accumulation: Annotated[int, Range(ge=1)] = 1
    """Batches whose gradients are averaged for one optimizer step."""
    gradient_clip_norm: Annotated[float | None, Range(gt=0)] = 1.0
    """Largest norm of the gradient; null does not clip."""
    ema_decay: Annotated[float | None, Range(gt=0, lt=1)] = None
    """Keep a moving average of the weights, and validate, test and deploy it; null keeps none. 0.999 is common."""
    monitor: str = "macro_ap"
    """Validation value that decides which checkpoint is best, when to stop, and patience schedules."""
    monitor_mode: Literal["max", "min"] = "max"
    """Whether a higher or a lower monitored value is better."""
    early_stopping_patience: Annotated[int | None, Range(ge=1)] = 15
    """Validations without improvement after which training stops; null never stops early."""
    validate_every_steps: Annotated[int | None, Range(ge=1)] = None
    """Validate every so many optimizer steps (and at the end of each epoch); null validates at the end of each epoch only."""
    checkpoint_every_steps: Annotated[int | None, Range(ge=1)] = None
    """Also save the resumable state every so many optimizer steps; null saves after each validation only."""
    log_every_steps: Annotated[int, Range(ge=1)] = 10
    """Optimizer steps between two lines of metrics.jsonl and TensorBoard."""
    preview_every_validations: Annotated[int | None, Range(ge=1)] = None
    """Draw what the network makes of the first validation samples into ``samples/`` every so many validations; null: never."""
    channels_last: bool = False
    """Lay pictures out with channels last, which is faster for depthwise convolutions on a CPU."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(Config):
    """Where training runs."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Kind of device; auto takes a GPU if there is one."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Number format of the forward pass; auto is bf16-mixed on a GPU that has it, else 32-true."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How processes that `torchrun` started train together: ddp averages their gradients (DistributedDataParallel); auto is ddp
    where there are several. data.batch_size is that of each process: two with half the batch train like one with the whole."""
    num_threads: Annotated[int | None, Range(ge=1)] = None
    """CPU threads of torch in each process; null leaves torch's choice, or shares the cores among the processes on a machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.accelerator == "mps" and self.precision == "bf16-mixed":
            raise ConfigError("TrainerConfig.precision: bf16-mixed is not available on mps; use 32-true or 16-mixed")
