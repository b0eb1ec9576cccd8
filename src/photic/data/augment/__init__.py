"""Augmentations: each on or off by configuration, each with random numbers of its own."""

from __future__ import annotations

from photic.data.augment.augmented import Augmented, build_augmentations
from photic.data.augment.base import Augmentation, AugmentationConfig, Stage

__all__ = ["Augmentation", "AugmentationConfig", "Augmented", "Stage", "build_augmentations"]
