"""Made-up inputs of deployed graphs that resemble real ones: for checks, never for training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.seeding import torch_generator
from photic.functional.cfa import RGGB, cfa_planes, mosaic_of
from photic.models.raw_denoising import Measurement
from photic.physics.ptychography import amplitudes, exit_waves

_COARSE = 6
"""Cells along a side of the coarse structure."""
_SLOPE, _FLOOR = 2e-3, 1e-5
"""Typical a and b of the noise's variance a x + b."""
_BALANCE = (2.0, 1.0, 1.5)


def pictures(batch: int, size: tuple[int, int], seed: int, channels: int = 3) -> Tensor:
    """Return pictures ``(B, channels, H, W)`` in [0, 1]: smooth areas, an edge, fine texture.

    >>> pictures(1, (8, 12), 0).shape
    torch.Size([1, 3, 8, 12])
    """
    generator = torch_generator(seed, "example pictures", batch, *size)
    coarse = torch.rand(batch, channels, _COARSE, _COARSE, generator=generator)
    smooth = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    edge = (torch.linspace(0, 1, size[1]) > torch.rand(batch, 1, 1, 1, generator=generator)).float()
    texture = torch.randn(batch, channels, *size, generator=generator)
    return (0.6 * smooth + 0.25 * edge + 0.03 * texture + 0.05).clamp(0, 1)


def raw_pictures(batch: int, size: tuple[int, int], seed: int, measurement: Measurement) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return noisy measurements ``(B, 1 or 3, H, W)``, planes ``(B, 3, H, W)``, noise ``(B, 2)`` and white balance ``(B, 3)``."""
    generator = torch_generator(seed, "example noise", batch, *size)
    balance = torch.tensor([_BALANCE]).repeat(batch, 1)
    clean = pictures(batch, size, seed) / balance[:, :, None, None]
    mosaic = measurement == "mosaic"
    planes = cfa_planes(RGGB, *size)[None].repeat(batch, 1, 1, 1) if mosaic else torch.ones(batch, 3, *size)
    seen = mosaic_of(clean, planes) if mosaic else clean
    strength = 0.5 + torch.rand(batch, 1, generator=generator)
    noise = strength * torch.tensor([[_SLOPE, _FLOOR]])
    deviation = (noise[:, 0, None, None, None] * seen + noise[:, 1, None, None, None]).sqrt()
    return seen + deviation * torch.randn(seen.shape, generator=generator), planes, noise, balance


def qualities(batch: int, seed: int, highest: int) -> Tensor:
    """Return quality levels ``(B,)`` from 1 to ``highest``, fractions among them."""
    return 1 + (highest - 1) * torch.rand(batch, generator=torch_generator(seed, "example qualities", batch))


def diffraction(batch: int, num_patterns: int, probe: Tensor, intensity_scale: float, seed: int) -> Tensor:
    """Return amplitudes ``(B, C, N, N)`` that random objects diffract to.

    Args:
        batch: B.
        num_patterns: C.
        probe: complex ``(P, N, N)``.
        intensity_scale: factor from the probe's amplitudes to measured ones.
        seed: another one, other objects.
    """
    side = probe.shape[-1]
    phase = pictures(batch, (side, side), seed, num_patterns)
    modulus = 1 - 0.3 * pictures(batch, (side, side), seed + 1, num_patterns)
    patches = torch.polar(modulus, phase)
    return intensity_scale * amplitudes(exit_waves(patches, probe[None, None]))
