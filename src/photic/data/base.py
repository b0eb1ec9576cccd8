"""What every dataset shares: configuration of the loader, and the prepared splits a task trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import numpy as np

from photic.core.schema import Config, Range

PHASES = ("train", "val", "test")


class SampleSet(Protocol):
    """Samples in a fixed order.

    A sample is a mapping with at least ``measurement`` and ``target`` (tensors) and ``index`` (its
    row in the whole set). ``draw`` addresses the random numbers of augmentation: the same (index,
    draw) is the same sample, whatever was asked for before.
    """

    def __len__(self) -> int: ...

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return sample ``position``, augmented (where the set augments) with the random numbers of ``draw``."""
        ...


@dataclass(frozen=True)
class PreparedData:
    """Splits ready for a task."""

    splits: Mapping[str, SampleSet]
    """``train``, ``val`` and ``test``."""
    names: Mapping[str, list[str]]
    """What the samples of each split are called (file names), in order; saved with the run, reusable."""
    classes: tuple[str, ...] = ()
    """Names of the classes, for classification."""
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    """``(N, C)`` binary labels of each split, for classification."""
    objects: Mapping[str, np.ndarray] = field(default_factory=dict)
    """``(N, C)`` numbers of objects of each class, where the annotation tells."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What the task needs to know beside the samples (a probe, a normalisation), under names that data set and task agree on."""
    fingerprint: str = ""
    """SHA-256 over names, labels and file sizes: the same data give the same text."""
    notes: tuple[str, ...] = ()
    """What a user should know: groups kept together, classes with few samples."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Base of every dataset's config: how samples are loaded."""

    batch_size: Annotated[int, Range(ge=1)] = 4
    """Samples per training batch of each process."""
    eval_batch_size: Annotated[int | None, Range(ge=1)] = None
    """Samples per validation and test batch; null is the training batch size."""
    num_workers: Annotated[int, Range(ge=0)] = 0
    """Loader processes; 0 loads in the training process."""
    drop_last: bool = False
    """Leave out a last incomplete training batch."""

    def prepare(self, seed: int) -> PreparedData:
        """Read the data set and split it.

        Raises:
            DataError: files are missing, unreadable or contradict each other.
        """
        raise NotImplementedError
