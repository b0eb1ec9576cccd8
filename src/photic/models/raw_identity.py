"""A denoiser that does not denoise: what remains is demosaicing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from photic.core.registry import models
from photic.functional.demosaic import MALVAR_REACH_PX, NORMALISED_REACH_PX, malvar, normalised_convolution
from photic.models.raw_denoising import Measurement, RawDenoiser, RawDenoiserConfig


class RawIdentity(RawDenoiser):
    """The noisy picture itself: a mosaic demosaiced classically, RGB unchanged. It has no parameters.

    Bayer mosaics are demosaiced after Malvar, those of other patterns (X-Trans) by normalised convolution, both white-balanced by
    ``balance`` meanwhile; ``noise`` is not looked at.

    Args:
        measurement: mosaics of any pattern at any phase, or linear RGB.
    """

    def __init__(self, measurement: Measurement = "mosaic") -> None:
        super().__init__()
        self.measurement = measurement
        self.margin_px = 0 if measurement == "rgb" else max(MALVAR_REACH_PX, NORMALISED_REACH_PX)

    def restore(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return the pictures ``(B, 3, H, W)``, demosaiced in float32 whatever autocast says."""
        if self.measurement == "rgb":
            return measurement
        with torch.autocast(measurement.device.type, enabled=False):
            factors = balance.to(measurement.dtype)[:, :, None, None]
            planes = planes.to(measurement.dtype)
            balanced = measurement * (planes * factors).sum(dim=1, keepdim=True)
            return self._demosaiced(balanced, planes) / factors

    def _demosaiced(self, mosaic: Tensor, planes: Tensor) -> Tensor:
        bayer = _repeats_every_two(planes)
        if not torch.compiler.is_compiling():  # a graph cannot branch on what it is given: it makes both
            if bool(bayer.all()):
                return malvar(mosaic, planes)
            if not bool(bayer.any()):
                return normalised_convolution(mosaic, planes)
        return torch.where(bayer, malvar(mosaic, planes), normalised_convolution(mosaic, planes))


def _repeats_every_two(planes: Tensor) -> Tensor:
    """Return, as ``(B, 1, 1, 1)``, whether planes have a period of two pixels both ways: those of Bayer mosaics have, others not."""
    down = (planes[..., 2:, :] == planes[..., :-2, :]).all(dim=(1, 2, 3), keepdim=True)
    across = (planes[..., 2:] == planes[..., :-2]).all(dim=(1, 2, 3), keepdim=True)
    return down & across


@models.register("identity")
@dataclass(frozen=True, kw_only=True)
class RawIdentityConfig(RawDenoiserConfig):
    """The noisy picture, demosaiced classically: what denoising is measured against. Nothing in it can be trained.

    Source: Malvar, He and Cutler 2004, High-quality linear interpolation for demosaicing of Bayer-patterned color images.
    """

    def build(self) -> RawIdentity:
        """Return the network."""
        return RawIdentity(self.measurement)
