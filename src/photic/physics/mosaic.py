"""What a sensor behind a colour filter array sees of a picture."""

from __future__ import annotations

import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.functional.cfa import mosaic_of
from photic.physics.sensor_noise import SensorNoise


class Mosaic:
    """The forward operator of a sensor: one colour per pixel, with the sensor's noise.

    Args:
        planes: ``(3, H, W)`` or ``(B, 3, H, W)``: 1 where a pixel sees that colour (:func:`photic.functional.cfa.cfa_planes`).
        noise: of the sensor; None sees without noise.
    """

    def __init__(self, planes: Tensor, noise: SensorNoise | None = None) -> None:
        if planes.ndim not in (3, 4) or planes.shape[-3] != 3:
            raise DataError(f"Mosaic: expected planes (3, H, W) or (B, 3, H, W), got {tuple(planes.shape)}")
        self.planes = planes
        self.noise = noise or SensorNoise(shot=0.0, read=0.0)

    def apply(self, picture: Tensor) -> Tensor:
        """Return the mosaic ``(..., 1, H, W)`` of pictures ``(..., 3, H, W)``."""
        return mosaic_of(picture, self.planes)

    def adjoint(self, mosaic: Tensor) -> Tensor:
        """Return pictures ``(..., 3, H, W)`` with each sample at its own colour and 0 elsewhere."""
        return mosaic * self.planes

    def measure(self, picture: Tensor) -> Tensor:
        """Return the mosaic without noise, as :meth:`apply` does: the sensor is linear below white."""
        return self.apply(picture)

    def sample_noise(self, measurement: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mosaic with the sensor's noise, clipped at white and rounded to its steps if it has any."""
        return self.noise.sample(measurement, generator)
