"""The configuration of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from photic.core.plugins import requirement
from photic.core.schema import Config, Range, Registered, field_types
from photic.data.base import DataConfig
from photic.engine.config import TrainerConfig, TrainingConfig
from photic.losses.base import LossConfig
from photic.models.base import ModelConfig
from photic.optim.optimizers import AdamWConfig, OptimizerConfig
from photic.optim.schedules import ScheduleConfig, WarmupCosineConfig
from photic.tasks.base import TaskConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """Everything a training run depends on, besides the data itself."""

    recipe: str | None = None
    """Recipe the configuration started from; for the record."""
    experiment: str = "default"
    """Runs of one experiment share a folder."""
    label: str | None = None
    """A word of yours that becomes part of the run's name."""
    seed: Annotated[int, Range(ge=0)] = 42
    """Seed of initial weights, split, order and augmentation."""
    output_dir: Path = Path("runs")
    """Folder of all experiments."""
    task: Annotated[TaskConfig, Registered("tasks")]
    """What kind of problem it is."""
    model: Annotated[ModelConfig, Registered("models")]
    """The network."""
    loss: Annotated[LossConfig, Registered("losses")]
    """What is minimised."""
    data: Annotated[DataConfig, Registered("datasets")]
    """What is learnt from."""
    optimizer: Annotated[OptimizerConfig, Registered("optimizers")] = field(default_factory=AdamWConfig)
    """How weights are changed."""
    schedule: Annotated[ScheduleConfig, Registered("schedules")] = field(default_factory=WarmupCosineConfig)
    """How the learning rate changes."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How long and how training goes."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Where it runs."""

    def requires(self) -> list[str]:
        """Return the packages besides Photic that bring what this configuration names, each with its version, such as ``my-lab 1.2``."""
        found = {requirement(type(config).__module__) for config in _components(self)}
        return sorted(text for text in found if text is not None)


def _components(value: Any) -> Iterator[Config]:
    if isinstance(value, Config):
        yield value
        value = [getattr(value, name) for name in field_types(type(value))]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in items:
        yield from _components(item)
