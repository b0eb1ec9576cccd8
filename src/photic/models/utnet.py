"""U-Nets that denoise raw pictures as published with the Raw Natural Image Noise Dataset: what `standard` has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.core.schema import Range
from photic.functional.cfa import pack
from photic.models.raw_denoising import Measurement, RawDenoiser, RawDenoiserConfig

SLOPE = 0.2
"""Of the leaky ReLU, as published."""
NUM_LEVELS = 4
_SCALE: int = 2**NUM_LEVELS


class UTNet(RawDenoiser):
    """U-Net of four halvings on packed Bayer planes, on these enlarged to the sensor's resolution, or on RGB.

    Pairs of 3 x 3 convolutions with channels that double from ``width`` at each halving to 16 ``width``, and none that normalise; halved
    by maxima, enlarged by transposed 2 x 2 convolutions, joined with what was there before. It ignores ``noise`` and ``balance``, as
    published: it has to see by itself how noisy a picture is.

    On packed planes the three colours of four pixels are made at once (1 x 1 convolution to 12 planes, shuffled to the sensor's
    resolution), so edges come out softer than from a network at the sensor's resolution.

    Source: Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset;
    Ronneberger et al. 2015, U-Net.

    Args:
        measurement: Bayer mosaics in RGGB order, or linear RGB.
        width: channels at the first level.
        activation: after every 3 x 3 convolution; prelu learns one slope each.
        preupsample: packed planes are enlarged to the sensor's resolution, bilinearly, before the network.
        num_head_blocks: residual blocks of 8 ``width`` channels before the head.
    """

    def __init__(
        self,
        measurement: Measurement = "mosaic",
        width: int = 32,
        activation: Literal["leaky_relu", "prelu"] = "leaky_relu",
        *,
        preupsample: bool = False,
        num_head_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.measurement = measurement
        self.needs_rggb = measurement == "mosaic"
        self.preupsample = preupsample
        self.packed = self.needs_rggb and not preupsample
        self.multiple = self.tile_align = _SCALE * (2 if self.packed else 1)
        self.margin_px = _reach_px(num_head_blocks, packed=self.packed, preupsample=preupsample)
        widths = [width * 2**level for level in range(NUM_LEVELS + 1)]
        pairs = list(pairwise(widths))
        first = _pair(4 if self.needs_rggb else 3, width, activation)
        self.down = nn.ModuleList([first, *(_pair(above, below, activation) for above, below in pairs)])
        self.halve = nn.MaxPool2d(2)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for above, below in pairs)
        self.up = nn.ModuleList(_pair(2 * above, above, activation) for above, _ in pairs)
        wide = 8 * width
        blocks = [_Residual(wide, activation) for _ in range(num_head_blocks)]
        self.widen = nn.Sequential(nn.Conv2d(width, wide, 1), *blocks) if blocks else nn.Identity()
        self.head = nn.Conv2d(wide if blocks else width, 12 if self.packed else 3, 1)
        self.apply(_initialise)

    def restore(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return clean pictures ``(B, 3, H, W)``; ``planes``, ``noise`` and ``balance`` are not looked at."""
        features = pack(measurement) if self.needs_rggb else measurement
        if self.preupsample:
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        skips = [self.down[0](features)]
        for pair in list(self.down)[1:]:
            skips.append(pair(self.halve(skips[-1])))
        features = skips.pop()
        for enlarge, pair in reversed(list(zip(self.enlarge, self.up, strict=True))):
            features = pair(torch.cat([enlarge(features), skips.pop()], dim=1))
        made: Tensor = self.head(self.widen(features))
        return F.pixel_shuffle(made, 2) if self.packed else made


class _Residual(nn.Module):
    """Two 3 x 3 convolutions, added to what came in."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.between = _activation(activation)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.after = _activation(activation)

    def forward(self, features: Tensor) -> Tensor:
        after: Tensor = self.after(features + self.second(self.between(self.first(features))))
        return after


def _pair(num_inputs: int, num_outputs: int, activation: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_inputs, num_outputs, 3, padding=1),
        _activation(activation),
        nn.Conv2d(num_outputs, num_outputs, 3, padding=1),
        _activation(activation),
    )


def _activation(name: str) -> nn.Module:
    return nn.PReLU(init=SLOPE) if name == "prelu" else nn.LeakyReLU(SLOPE)


def _initialise(layer: nn.Module) -> None:
    """Draw weights so that gradients keep their size (He et al. 2015, fan-out); biases are zero."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        # PyTorch calls the outputs that an input feeds the fan-in of a transposed convolution.
        mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(layer, nn.ConvTranspose2d) else "fan_out"
        nn.init.kaiming_normal_(layer.weight, a=SLOPE, mode=mode)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def _reach_px(num_head_blocks: int, *, packed: bool, preupsample: bool) -> int:
    """Return how far a pixel of the result may look, in pixels of the measurement.

    Two convolutions at each level, there and back, reach 2 pixels of that level each, and the pixel of the lowest level that is looked at
    is up to 15 pixels wider than what lies above it.
    """
    there_and_back = 4 * (_SCALE - 1) + 2 * _SCALE
    reach = there_and_back + _SCALE - 1 + 2 * num_head_blocks
    if packed:
        return 2 * reach + 1
    return reach + 2 if preupsample else reach


@models.register("utnet2", aliases=("unet",))
@dataclass(frozen=True, kw_only=True)
class UTNet2Config(RawDenoiserConfig):
    """U-Net on packed Bayer planes or RGB (7.76 M parameters), blind to the noise level: the published denoiser.

    Source: Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels at the first level, doubled at each of four halvings; parameters grow with its square."""
    activation: Literal["leaky_relu", "prelu"] = "leaky_relu"
    """After every 3 x 3 convolution: leaky_relu (slope 0.2), or prelu (one learnt slope each, 0.2 at first)."""
    preupsample: bool = False
    """Enlarge the packed planes bilinearly to the sensor's resolution before the network: four times the computation. Mosaics only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preupsample and self.measurement == "rgb":
            raise ConfigError(
                f"{self.registry_name}.preupsample: RGB pictures have the sensor's resolution already; set preupsample=false, or "
                "measurement=mosaic"
            )

    def build(self) -> UTNet:
        """Return the network."""
        return UTNet(self.measurement, self.width, self.activation, preupsample=self.preupsample)


@models.register("utnet3")
@dataclass(frozen=True, kw_only=True)
class UTNet3Config(UTNet2Config):
    """`utnet2` with two residual blocks of 8 x width channels before its head (10.13 M parameters), many times as slow.

    The last features, at the resolution that the network works at, are widened from ``width`` to 8 ``width`` channels by a 1 x 1
    convolution, pass two residual blocks of two 3 x 3 convolutions each, and go into the head (12 planes shuffled to the sensor's
    resolution for packed Bayer planes, 3 otherwise).

    Source: Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    def build(self) -> UTNet:
        """Return the network."""
        return UTNet(self.measurement, self.width, self.activation, preupsample=self.preupsample, num_head_blocks=2)
