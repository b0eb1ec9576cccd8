"""Mirror images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from photic.core.registry import augmentations
from photic.core.schema import Range
from photic.data.augment.base import Augmentation, AugmentationConfig, Partner, Sample, Stage


@augmentations.register("horizontal_flip")
@dataclass(frozen=True, kw_only=True)
class HorizontalFlipConfig(AugmentationConfig):
    """Mirror left and right."""

    probability: Annotated[float, Range(ge=0, le=1)] = 0.5
    """Share of samples that are changed."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return _Flip(self.probability, axis=-1)


@augmentations.register("vertical_flip")
@dataclass(frozen=True, kw_only=True)
class VerticalFlipConfig(AugmentationConfig):
    """Mirror top and bottom."""

    probability: Annotated[float, Range(ge=0, le=1)] = 0.3
    """Share of samples that are changed."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return _Flip(self.probability, axis=-2)


class _Flip(Augmentation):
    stage = Stage.GEOMETRY

    def __init__(self, probability: float, axis: int) -> None:
        super().__init__(probability)
        self.axis = axis

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        return {**sample, **{key: sample[key].flip(self.axis) for key in ("measurement", "mask") if key in sample}}
