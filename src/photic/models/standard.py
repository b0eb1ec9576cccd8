"""The standard denoiser: full resolution, mosaic + colour filter planes + noise level, one network for every filter pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.registry import models
from photic.functional.demosaic import malvar, normalised_convolution
from photic.models.glance import ResidualBlock, faint
from photic.models.raw_denoising import Measurement, RawDenoiser, RawDenoiserConfig

_CELL_PX = 6
"""Cells in which local levels are taken: a multiple of every pattern's period, so that each holds the same samples."""
_KEPT_PX = 24
"""Cells in which the mean of what was measured is kept."""
_CONTRAST = 0.25
"""Contrast of details, as a share of the local level, that counts like noise of that size."""
_DARKEST = 1e-5
"""Level added to scales, so that black without noise has one."""


class _Size(NamedTuple):
    """Channels and residual blocks of the three levels: half, quarter and eighth resolution."""

    channels: tuple[int, int, int]
    down: tuple[int, int]
    bottom: int
    up: tuple[int, int]
    head: int


_SIZES: dict[str, _Size] = {
    "tiny": _Size((16, 32, 48), (1, 1), 2, (1, 1), 12),
    "small": _Size((32, 64, 96), (2, 2), 3, (2, 2), 16),
    "base": _Size((48, 96, 160), (2, 3), 5, (3, 2), 24),
    "large": _Size((64, 128, 256), (3, 4), 8, (4, 3), 32),
}


class Standard(RawDenoiser):
    """Denoises and demosaics at once, as a correction of a classical demosaicer; sharpness begins at the classical one's.

    Everything is told relative to the local level and the noise there: brightening a picture and its noise by a factor brightens the
    result by that factor, exactly. The mean of the classical picture is kept, colour by colour, over some tens of pixels, so brightness and
    colour do not depend on what was learnt.

    Args:
        measurement: ``mosaic`` or ``rgb``.
        size: name of the size.
        keep_mean: keep the local mean of what was measured.
    """

    def __init__(self, measurement: Measurement, size: str, *, keep_mean: bool = True) -> None:
        super().__init__()
        shape = _SIZES[size]
        self.measurement = measurement
        self.keep_mean = keep_mean
        self.multiple = 48  # of 8, the stride, of 6 and of 24, the cells
        self.tile_align = 48
        half, quarter, eighth = shape.channels
        # detail and noise of 2 x 2 pixels, and which colours they see
        inputs = 4 + 4 + 12 if measurement == "mosaic" else 12 + 3
        self.stem = nn.Conv2d(inputs, half, 3, padding=1)
        self.down_half = _blocks(half, shape.down[0])
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.down_quarter = _blocks(quarter, shape.down[1])
        self.to_eighth = nn.Conv2d(quarter, eighth, 2, stride=2)
        self.bottom = _blocks(eighth, shape.bottom)
        self.from_eighth = nn.Conv2d(eighth, 4 * quarter, 1)
        self.up_quarter = _blocks(quarter, shape.up[0])
        self.from_quarter = nn.Conv2d(quarter, 4 * half, 1)
        self.up_half = _blocks(half, shape.up[1])
        seen = 7 if measurement == "mosaic" else 3  # base, and for mosaics samples and planes
        self.head = nn.Conv2d(half // 4 + seen, shape.head, 3, padding=1)
        self.last = nn.Conv2d(shape.head, 6, 3, padding=1)
        faint(self.last)
        with torch.no_grad():
            assert self.last.bias is not None
            self.last.bias[3:].fill_(-3.0)
        # of the trunk at half resolution: its convolutions, and pixels of an eighth that are up to 3 wider than what is made of them
        reach = 1 + 2 * shape.down[0] + 2 * shape.up[1] + 2 * (2 * shape.down[1] + 2 * shape.up[0]) + 4 * 2 * shape.bottom + 3
        # that at full resolution, the head's two convolutions, and both kinds of cells; the demosaicer looks less far
        self.margin_px = 2 * reach + 1 + 2 + _cells_reach(_CELL_PX) + (_cells_reach(_KEPT_PX) if keep_mean else 0)

    def restore(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return clean pictures; arguments as for :meth:`photic.models.raw_denoising.RawDenoiser.forward`.

        Under autocast only the trunk and the head run in half precision, on values of the order of one: pictures keep their bits.
        """
        mosaic = self.measurement == "mosaic"
        with torch.autocast(measurement.device.type, enabled=False):
            wide = torch.promote_types(measurement.dtype, torch.float32)
            measurement, planes, gains = measurement.to(wide), planes.to(wide), balance.to(wide)[:, :, None, None]
            balanced = measurement * ((planes * gains).sum(dim=1, keepdim=True) if mosaic else gains)
            base = self._demosaiced(balanced, planes) if mosaic else balanced
            level, scale, noisy = self._surroundings(balanced * planes, planes, noise.to(wide), gains)
            detail, offset = (balanced - level) / scale, (base - level) / scale
        if mosaic:
            told = [detail, (noisy * planes).sum(dim=1, keepdim=True), planes]
            features = self._trunk(torch.cat([F.pixel_unshuffle(part, 2) for part in told], dim=1))
            shown = [F.pixel_shuffle(features, 2), offset, detail, planes]
        else:
            features = self._trunk(torch.cat([F.pixel_unshuffle(detail, 2), noisy[..., ::2, ::2]], dim=1))
            shown = [F.pixel_shuffle(features, 2), offset]
        told_apart = self.last(F.gelu(self.head(torch.cat([part.to(features.dtype) for part in shown], dim=1))))
        with torch.autocast(measurement.device.type, enabled=False):
            change, gate = told_apart.to(wide).split(3, dim=1)
            made = base + scale * (change - torch.sigmoid(gate) * offset)
            if self.keep_mean:
                made = made + _enlarged(_smoothed(F.avg_pool2d(base - made, _KEPT_PX)), _KEPT_PX)
            clean: Tensor = made / gains
        return clean

    def _surroundings(self, samples: Tensor, planes: Tensor, noise: Tensor, gains: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return local level and scale ``(B, 1, H, W)``, and each colour's noise relative to the scale ``(B, 3, H, W)``."""
        each = _smoothed(F.avg_pool2d(samples, _CELL_PX) / F.avg_pool2d(planes, _CELL_PX).clamp_min(1e-6))
        level = each.mean(dim=1, keepdim=True)
        shot, read = (noise[:, i, None, None, None] for i in (0, 1))
        variance = gains * shot * each.clamp_min(0) + gains.square() * read
        contrast = (_CONTRAST * level.clamp_min(0) + _DARKEST).square()
        scale = (variance.mean(dim=1, keepdim=True) + contrast).sqrt()
        noisy = variance.clamp_min(1e-20).sqrt() / scale  # the root's slope at 0 has no bound
        return _enlarged(level, _CELL_PX), _enlarged(scale, _CELL_PX), _enlarged(noisy, _CELL_PX)

    def _demosaiced(self, balanced: Tensor, planes: Tensor) -> Tensor:
        """Return what the network corrects; which demosaicer makes it, the pattern decides, picture by picture."""
        bayer = _repeats_by_two(planes)
        if torch.compiler.is_exporting():  # a graph cannot look: it makes both
            return torch.where(bayer[:, None, None, None], malvar(balanced, planes), normalised_convolution(balanced, planes))
        if bool(bayer.all()):
            return malvar(balanced, planes)
        if not bool(bayer.any()):
            return normalised_convolution(balanced, planes)
        return torch.where(bayer[:, None, None, None], malvar(balanced, planes), normalised_convolution(balanced, planes))

    def _trunk(self, inputs: Tensor) -> Tensor:
        half: Tensor = self.down_half(self.stem(inputs))
        quarter = self.down_quarter(self.to_quarter(half))
        eighth = self.bottom(self.to_eighth(quarter))
        quarter = self.up_quarter(quarter + F.pixel_shuffle(self.from_eighth(eighth), 2))
        made: Tensor = self.up_half(half + F.pixel_shuffle(self.from_quarter(quarter), 2))
        return made


def _blocks(channels: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(number)))


def _repeats_by_two(planes: Tensor) -> Tensor:
    """Whether the colours repeat every two pixels, as Bayer's do, ``(B,)``; told from the first rows and columns."""
    corner = planes[..., :8, :8]
    down, right = corner[..., 2:, :] == corner[..., :-2, :], corner[..., 2:] == corner[..., :-2]
    return down.flatten(1).all(dim=1) & right.flatten(1).all(dim=1)


def _cells_reach(cell_px: int) -> int:
    """How far a pixel looks through cells that are smoothed and enlarged: from the first half of one to two cells before it."""
    return 2 * cell_px + cell_px // 2 - 1


def _smoothed(cells: Tensor) -> Tensor:
    """Cells averaged with their neighbours, 1 2 1 each way."""
    around = F.pad(cells, (1, 1, 1, 1), mode="replicate")
    across = 0.25 * (around[..., :-2] + 2 * around[..., 1:-1] + around[..., 2:])
    return 0.25 * (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :])


def _enlarged(cells: Tensor, cell_px: int) -> Tensor:
    return F.interpolate(cells, scale_factor=cell_px, mode="bilinear", align_corners=False)


@models.register("standard")
@dataclass(frozen=True, kw_only=True)
class StandardConfig(RawDenoiserConfig):
    """Full-resolution denoiser for Bayer, X-Trans and RGB in four sizes: corrects a classical demosaicer, told the noise level.

    Residual blocks at half, quarter and eighth resolution; no normalisation and no attention over the picture: tiles equal the whole.
    """

    size: Literal["tiny", "small", "base", "large"] = "small"
    """Parameters: tiny 0.2 M, small 0.9 M, base 3.5 M, large 12 M."""
    keep_mean: bool = True
    """Keep the local mean of each colour as it was measured, so that flat areas keep their brightness and colour whatever was learnt."""

    def build(self) -> Standard:
        """Return the network."""
        return Standard(self.measurement, self.size, keep_mean=self.keep_mean)
