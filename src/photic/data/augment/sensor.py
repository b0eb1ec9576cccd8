"""What optics and sensor add: blur and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.core.registry import augmentations
from photic.core.schema import Range
from photic.data.augment.base import Augmentation, AugmentationConfig, Partner, Sample, Stage


@augmentations.register("gaussian_blur")
@dataclass(frozen=True, kw_only=True)
class GaussianBlurConfig(AugmentationConfig):
    """Blur with a Gaussian kernel; borders are reflected."""

    probability: Annotated[float, Range(ge=0, le=1)] = 0.2
    """Share of samples that are changed."""
    kernel_size: Annotated[int, Range(ge=3, le=31)] = 3
    """Width of the kernel in pixels, odd; its standard deviation is 0.3 ((k - 1) / 2 - 1) + 0.8 pixels (0.8 for 3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"{self.registry_name}.kernel_size: expected an odd number of pixels, got {self.kernel_size}")

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return GaussianBlur(self)


class GaussianBlur(Augmentation):
    """See :class:`GaussianBlurConfig`."""

    stage = Stage.PHOTOMETRIC

    def __init__(self, config: GaussianBlurConfig) -> None:
        super().__init__(config.probability)
        self.radius = config.kernel_size // 2
        sigma_px = 0.3 * (self.radius - 1) + 0.8
        weights = np.exp(-0.5 * (np.arange(-self.radius, self.radius + 1) / sigma_px) ** 2)
        self.weights = [float(weight) for weight in weights / weights.sum()]

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the blurred sample."""
        picture = sample["measurement"]
        if min(picture.shape[-2:]) <= self.radius:
            raise DataError(
                f"gaussian_blur: a picture of {tuple(picture.shape)} is smaller than the kernel of {2 * self.radius + 1} pixels;"
                " choose a smaller kernel_size or switch it off"
            )
        padded = F.pad(picture[None], (self.radius,) * 4, mode="reflect")[0]
        return {**sample, "measurement": self._smooth(self._smooth(padded, -1), -2).clamp(0, 1)}

    def _smooth(self, padded: Tensor, axis: int) -> Tensor:
        size = padded.shape[axis] - 2 * self.radius
        total = torch.zeros(())
        for offset, weight in enumerate(self.weights):  # sums of shifted pictures: the same bits with any number of threads
            total = total + padded.narrow(axis, offset, size) * weight
        return total


@augmentations.register("gaussian_noise")
@dataclass(frozen=True, kw_only=True)
class GaussianNoiseConfig(AugmentationConfig):
    """Add Gaussian noise of a fixed strength."""

    probability: Annotated[float, Range(ge=0, le=1)] = 0.3
    """Share of samples that are changed."""
    std: Annotated[float, Range(ge=0, le=1)] = 0.02
    """Standard deviation, as a fraction of full scale."""
    per_channel: bool = False
    """Draw noise for each colour channel by itself; off keeps grey pictures grey."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return GaussianNoise(self)


class GaussianNoise(Augmentation):
    """See :class:`GaussianNoiseConfig`."""

    stage = Stage.PHOTOMETRIC

    def __init__(self, config: GaussianNoiseConfig) -> None:
        super().__init__(config.probability)
        self.std, self.per_channel = config.std, config.per_channel

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the noisy sample."""
        picture = sample["measurement"]
        planes = picture.shape[0] if self.per_channel else 1
        noise = torch.from_numpy(rng.standard_normal((planes, *picture.shape[1:]), dtype=np.float32))
        return {**sample, "measurement": (picture + noise * self.std).clamp(0, 1)}
