"""What every augmentation shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from photic.core.schema import Config, Range

Sample = dict[str, Any]
"""``measurement`` float32 ``(3, H, W)`` in [0, 1], ``target`` float32 ``(C,)``, optionally ``mask`` bool ``(C, H, W)``."""

Partner = Callable[[], Sample]
"""Gives another, unaugmented sample of the same set."""


class Stage(IntEnum):
    """When an augmentation comes: where things are, what is there, how it looks."""

    GEOMETRY = 0
    CONTENT = 1
    PHOTOMETRIC = 2


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Config):
    """Base of every augmentation's config."""

    probability: Annotated[float, Range(ge=0, le=1)] = 0.5
    """Share of samples that are changed."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        raise NotImplementedError


class Augmentation:
    """A random change of one sample.

    It must return a new mapping, leave the given tensors as they are, keep the measurement in [0, 1], and draw
    from ``rng`` alone. It also has to give the same bits whatever the number of threads (a loader process has one,
    the training process several): no reductions in torch, whose order of summation depends on it.
    """

    config_base: ClassVar[type[AugmentationConfig]] = AugmentationConfig
    stage: ClassVar[Stage]
    needs_mask: ClassVar[bool] = False
    """It cannot work without ``mask``."""
    uses_mask: ClassVar[bool] = False
    """It works without ``mask``, but keeps labels more exactly with it."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the changed sample; called only when the coin fell for it.

        Args:
            sample: what to change.
            rng: the only source of random numbers.
            partner: gives another sample, for augmentations that mix two.

        Raises:
            DataError: the sample lacks what is needed (a mask, enough pixels).
        """
        raise NotImplementedError


def clear_vanished(target: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Return the target without the classes whose last mask pixel vanished.

    A class that is labelled but had no mask pixels to begin with (partly annotated data) keeps its label.

    Args:
        target: ``(C,)``.
        before: mask ``(C, H, W)`` before the change.
        after: mask ``(C, H, W)`` after it.
    """
    vanished = before.flatten(1).any(dim=1) & ~after.flatten(1).any(dim=1)
    return torch.where(vanished, torch.zeros_like(target), target)
