"""Small rotations that invent no borders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.registry import augmentations
from photic.core.schema import Range
from photic.data.augment.base import Augmentation, AugmentationConfig, Partner, Sample, Stage, clear_vanished


@augmentations.register("rotation")
@dataclass(frozen=True, kw_only=True)
class RotationConfig(AugmentationConfig):
    """Rotate about the centre by a random angle; corners are filled by reflection.

    Black corners would resemble the real edge of a strip. Pixels move by true distances on pictures of any aspect.
    Labels follow the mask where there is one: a class that was turned out of the picture is cleared.
    """

    degrees: Annotated[float, Range(ge=0, le=180)] = 15.0
    """Largest angle in degrees, either way; the angle is uniform."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return Rotation(self)


class Rotation(Augmentation):
    """See :class:`RotationConfig`."""

    stage = Stage.GEOMETRY
    uses_mask = True

    def __init__(self, config: RotationConfig) -> None:
        super().__init__(config.probability)
        self.degrees = config.degrees

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the rotated sample."""
        angle_rad = math.radians(rng.uniform(-self.degrees, self.degrees))
        measurement = sample["measurement"]
        grid = _rotation_grid(measurement.shape[-2], measurement.shape[-1], angle_rad)
        changed = {**sample, "measurement": _resample(measurement, grid, "bilinear").clamp(0, 1)}
        if "mask" in sample:
            mask = _resample(sample["mask"].to(torch.float32), grid, "nearest") > 0.5
            changed.update(mask=mask, target=clear_vanished(sample["target"], sample["mask"], mask))
        return changed


def _rotation_grid(height: int, width: int, angle_rad: float) -> Tensor:
    """Return where each output pixel is taken from, ``(1, H, W, 2)`` as (x, y) in units of half the picture."""
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    # Normalised coordinates stretch with the picture's sides; rotating in pixels needs the aspect.
    matrix = torch.tensor([[[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]])
    return F.affine_grid(matrix, [1, 1, height, width], align_corners=False)


def _resample(planes: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(planes[None], grid, mode=mode, padding_mode="reflection", align_corners=False)[0]
