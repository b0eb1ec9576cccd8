"""Noise of an image sensor: photons, electronics, rows, steps of the converter, clipping."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from photic.core.errors import ConfigError


@dataclass(frozen=True)
class SensorNoise:
    """Noise of variance ``shot * x + read`` around the clean value x; black is 0, white is 1.

    Source: Foi, Trimeche, Katkovnik and Egiazarian 2008, Practical Poissonian-Gaussian noise modeling and fitting
    for single-image raw-data.
    """

    shot: float
    """a: variance per signal, the inverse of the photons that make white; grows in proportion to ISO."""
    read: float
    """b: variance at black; grows about with the square of ISO."""
    row: float = 0.0
    """Standard deviation of what all pixels of a row share."""
    steps: int | None = None
    """Steps of the converter from black to white (16383 for 14 bits without an offset); None does not round."""
    floor: float = -1.0
    """Lowest value that the file can hold: -black / (white - black)."""
    ceiling: float = 1.0
    """Where the sensor clips."""

    def __post_init__(self) -> None:
        if self.shot < 0 or self.read < 0 or self.row < 0 or (self.steps is not None and self.steps < 1) or self.floor >= self.ceiling:
            raise ConfigError(f"SensorNoise: expected shot, read, row >= 0, steps >= 1 and floor < ceiling, got {self}")

    def variance(self, clean: Tensor) -> Tensor:
        """Return the variance of what a sensor says about clean values, before rounding and clipping."""
        return self.shot * clean.clamp_min(0) + self.read + self.row**2

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return clean values ``(..., H, W)`` with noise, rounded and clipped as the sensor does.

        >>> noise = SensorNoise(shot=0.01, read=1e-4)
        >>> seen = noise.sample(torch.full((200, 200), 0.25), torch.Generator().manual_seed(0))
        >>> round(seen.var().item(), 4)
        0.0026
        """
        seen = clean
        if self.shot > 0:  # light below black there is none; what lies there is kept beside the photons
            light = clean.clamp_min(0)
            seen = self.shot * torch.poisson(light / self.shot, generator) + (clean - light)
        if self.read > 0:
            seen = seen + self.read**0.5 * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        if self.row > 0:
            seen = seen + self.row * torch.randn((*clean.shape[:-1], 1), generator=generator, dtype=clean.dtype)
        if self.steps is not None:
            seen = torch.round(seen * self.steps) / self.steps
        return seen.clamp(self.floor, self.ceiling)
