"""Changes of light and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from photic.core.registry import augmentations
from photic.core.schema import Range
from photic.data.augment.base import Augmentation, AugmentationConfig, Partner, Sample, Stage


@augmentations.register("brightness_contrast")
@dataclass(frozen=True, kw_only=True)
class BrightnessContrastConfig(AugmentationConfig):
    """Scale the brightness, then the distance of every pixel from the picture's mean."""

    brightness: Annotated[float, Range(ge=0, le=1)] = 0.2
    """Largest relative change; the factor is uniform in [1 - brightness, 1 + brightness]."""
    contrast: Annotated[float, Range(ge=0, le=1)] = 0.2
    """Largest relative change; the factor is uniform in [1 - contrast, 1 + contrast]."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return BrightnessContrast(self)


class BrightnessContrast(Augmentation):
    """See :class:`BrightnessContrastConfig`."""

    stage = Stage.PHOTOMETRIC

    def __init__(self, config: BrightnessContrastConfig) -> None:
        super().__init__(config.probability)
        self.brightness, self.contrast = config.brightness, config.contrast

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the sample under other light."""
        brightness = 1 + rng.uniform(-self.brightness, self.brightness)
        contrast = 1 + rng.uniform(-self.contrast, self.contrast)
        brighter = (sample["measurement"] * brightness).clamp(0, 1)
        mean = float(brighter.numpy().mean(dtype=np.float64))
        return {**sample, "measurement": (brighter * contrast + mean * (1 - contrast)).clamp(0, 1)}


@augmentations.register("color_jitter")
@dataclass(frozen=True, kw_only=True)
class ColorJitterConfig(AugmentationConfig):
    """Change saturation and hue; grey pictures stay as they are."""

    saturation: Annotated[float, Range(ge=0, le=1)] = 0.1
    """Largest relative change; the factor is uniform in [1 - saturation, 1 + saturation]."""
    hue: Annotated[float, Range(ge=0, le=0.5)] = 0.05
    """Largest turn of the hue, in turns of the colour wheel; uniform in [-hue, hue]."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return ColorJitter(self)


class ColorJitter(Augmentation):
    """See :class:`ColorJitterConfig`."""

    stage = Stage.PHOTOMETRIC

    def __init__(self, config: ColorJitterConfig) -> None:
        super().__init__(config.probability)
        self.saturation, self.hue = config.saturation, config.hue

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the sample in other colours."""
        saturation = 1 + rng.uniform(-self.saturation, self.saturation)
        hue = rng.uniform(-self.hue, self.hue)
        picture = sample["measurement"]
        if torch.equal(picture[0], picture[1]) and torch.equal(picture[0], picture[2]):
            return dict(sample)  # no colour to change; spares two thirds of the work on grey strips, and rounding
        changed = tv.adjust_hue(tv.adjust_saturation(picture, saturation), hue)
        return {**sample, "measurement": changed.clamp(0, 1)}
