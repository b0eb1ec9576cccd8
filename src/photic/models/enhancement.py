"""What every network shares that turns a badly exposed picture into a well exposed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from photic.functional.overview import crop_to, overview, pad_to_multiple, require_pictures
from photic.models.base import ModelConfig


@dataclass(frozen=True, kw_only=True)
class EnhancerConfig(ModelConfig):
    """Base of the configs of networks that enhance pictures."""

    def build(self) -> Enhancer:
        """Return the network."""
        raise NotImplementedError


@dataclass(frozen=True)
class Enhancement:
    """What an enhancer makes of pictures."""

    picture: Tensor
    """Enhanced pictures ``(B, 3, H, W)``; not clamped, so that a loss has a gradient beyond black and white."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """What losses may judge beside the picture, each ``(B, c, H, W)``: ``mask``, ``curves``, ``semantic``, ``curved``, ``guidance``."""


class Enhancer(nn.Module):
    """A network that enhances pictures ``(B, 3, H, W)`` in [0, 1] of any size.

    What is decided for a picture as a whole (exposure, colour) is decided by :meth:`decide` from its overview and nowhere else; what
    :meth:`enhance` does with a pixel depends on that decision and on the pixel's surroundings alone. So a large picture can be
    enhanced tile by tile with one decision, and the decisions of a video's frames can be smoothed over time.

    Subclasses define :meth:`decide` and :meth:`enhance`; neither sees sides that are not divisible by ``multiple``.
    """

    config_base: ClassVar[type[EnhancerConfig]] = EnhancerConfig
    multiple: int = 1
    """Both sides are padded to a multiple of this many pixels."""
    margin_px: int = 32
    """How far from a pixel its surroundings matter: the part of a tile's edge that is not to be trusted."""
    decides_globally: bool = True
    """Whether :meth:`decide` decides anything; where it does not, nobody needs to make overviews."""
    least_graph_px: int = 1
    """Sides from which one graph does for all sizes: exported ones take no smaller pictures."""
    tile_align: int = 1
    """Tiles begin at, and but for the last of an axis end at, multiples of so many pixels: the grid of strides and windows."""

    def decide(self, small: Tensor) -> Tensor:
        """Return the global decision ``(B, K)`` for overviews ``(B, 3, s, s)``; K is 0 for a network that decides nothing globally."""
        raise NotImplementedError

    def enhance(self, image: Tensor, decision: Tensor) -> Enhancement:
        """Return the enhancement of pictures ``(B, 3, H, W)``, whose sides are divisible by ``multiple``."""
        raise NotImplementedError

    def forward(self, image: Tensor, small: Tensor | None = None, decision: Tensor | None = None) -> Enhancement:
        """Return the enhancement of pictures of any size.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1]; a whole picture, a crop or a tile.
            small: overview ``(B, 3, s, s)`` of the whole picture it was cut from; None takes ``image`` for the whole.
            decision: as :meth:`decide` gave it; None decides by the overview.

        Raises:
            DataError: no pictures.
        """
        require_pictures(image, type(self).__name__)
        if torch.compiler.is_exporting():
            for side in image.shape[-2:]:
                if type(side) is not int:  # free: one graph for all sizes
                    torch._check(side >= self.least_graph_px)
        if decision is None:
            decision = self.decide(overview(image) if small is None else small)
        made = self.enhance(pad_to_multiple(image, self.multiple), decision)
        return Enhancement(crop_to(made.picture, image), {name: crop_to(part, image) for name, part in made.parts.items()})

    def part_of(self, name: str) -> str:
        """Return which part a parameter belongs to, by its name; parts may have learning rates of their own. One part by default."""
        return "network"

    @property
    def part_names(self) -> frozenset[str]:
        """Names of :attr:`Enhancement.parts`."""
        return frozenset()
