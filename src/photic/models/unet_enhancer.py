"""A plain U-Net that enhances pictures: what more special networks have to beat."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.enhancement import Enhancement, Enhancer, EnhancerConfig

SLOPE = 0.2
"""Of the leaky ReLU, as published."""


class UNetEnhancer(Enhancer):
    """U-Net without normalisation: pairs of 3 x 3 convolutions at full resolution and after each of ``num_levels`` halvings.

    Channels double at each halving. How far it looks: 2 pixels at full resolution, twice as many at each level below, there
    and back, and as far as one pixel of the lowest level is wide.

    Source: Ronneberger et al. 2015, U-Net; as used by Chen et al. 2018, Learning to See in the Dark.

    Args:
        width: channels at full resolution.
        num_levels: halvings.
        residual: the last layer gives what is added to the picture, not the picture.
    """

    decides_globally = False

    def __init__(self, width: int = 32, num_levels: int = 4, *, residual: bool = True) -> None:
        super().__init__()
        self.multiple = 2**num_levels
        self.tile_align = self.multiple
        there_and_back = 2 * sum(2 * 2**level for level in range(num_levels)) + 2 * 2**num_levels
        self.margin_px = there_and_back + self.multiple
        self.residual = residual
        widths = [width * 2**level for level in range(num_levels + 1)]
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList([_pair(3, width), *(_pair(above, below) for above, below in pairs)])
        self.halve = nn.MaxPool2d(2)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for above, below in pairs)
        self.up = nn.ModuleList(_pair(2 * above, above) for above, _ in pairs)
        self.last = nn.Conv2d(width, 3, 1)

    def decide(self, small: Tensor) -> Tensor:
        """Return the empty decision ``(B, 0)``."""
        return small.new_zeros(small.shape[0], 0)

    def enhance(self, image: Tensor, decision: Tensor) -> Enhancement:
        """Return the enhanced pictures ``(B, 3, H, W)``."""
        skips = [self.down[0](image)]
        for pair in list(self.down)[1:]:
            skips.append(pair(self.halve(skips[-1])))
        features = skips.pop()
        for enlarge, pair in reversed(list(zip(self.enlarge, self.up, strict=True))):
            features = pair(torch.cat([enlarge(features), skips.pop()], dim=1))
        made = self.last(features)
        return Enhancement(image + made if self.residual else made)


def _pair(num_inputs: int, num_outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_inputs, num_outputs, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(num_outputs, num_outputs, 3, padding=1),
        nn.LeakyReLU(SLOPE),
    )


@models.register("unet_enhancer")
@dataclass(frozen=True, kw_only=True)
class UNetEnhancerConfig(EnhancerConfig):
    """Plain U-Net (7.8 M parameters): the supervised peer that others are compared with.

    Source: Ronneberger et al. 2015, U-Net; Chen et al. 2018, Learning to See in the Dark.
    """

    width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels at full resolution, doubled at each halving; parameters grow with its square."""
    num_levels: Annotated[int, Range(ge=1, le=6)] = 4
    """Halvings of the resolution."""
    output: Literal["residual", "direct"] = "residual"
    """Whether the last layer gives what is added to the picture, or the picture itself."""

    def build(self) -> UNetEnhancer:
        """Return the network."""
        return UNetEnhancer(self.width, self.num_levels, residual=self.output == "residual")
