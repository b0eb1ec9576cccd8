"""Zero-DCE: brightens by curves that a small network estimates, trained without true pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.curves import CurveNet, apply_curves
from photic.models.enhancement import Enhancement, Enhancer, EnhancerConfig

INITIAL_STD = 0.02


class ZeroDCE(Enhancer):
    """DCE-Net: curve maps for every pixel, applied to the picture one after the other; decides nothing for the picture as a whole.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation for Low-Light Image Enhancement.

    Args:
        width: channels of the hidden layers.
        num_iterations: curves n.
    """

    margin_px = CurveNet.reach_px
    decides_globally = False

    def __init__(self, width: int = 32, num_iterations: int = 8) -> None:
        super().__init__()
        self.curves = CurveNet(3, width, num_iterations)
        for layer in self.curves.modules():
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                nn.init.normal_(layer.weight, std=INITIAL_STD)  # as published: it starts near the identity
                nn.init.zeros_(layer.bias)

    def decide(self, small: Tensor) -> Tensor:
        """Return the empty decision ``(B, 0)``."""
        return small.new_zeros(small.shape[0], 0)

    def enhance(self, image: Tensor, decision: Tensor) -> Enhancement:
        """Return the brightened pictures ``(B, 3, H, W)`` and their ``curves`` ``(B, 3 n, H, W)``."""
        curves = self.curves(image)
        return Enhancement(apply_curves(image, curves), {"curves": curves})

    @property
    def part_names(self) -> frozenset[str]:
        """``curves``."""
        return frozenset({"curves"})


@models.register("zero_dce")
@dataclass(frozen=True, kw_only=True)
class ZeroDCEConfig(EnhancerConfig):
    """Curves for every pixel from seven convolutions (79,416 parameters); can be trained without true pictures.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation for Low-Light Image Enhancement.
    """

    width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels of the hidden layers; parameters grow with its square."""
    num_iterations: Annotated[int, Range(ge=1, le=32)] = 8
    """Curves applied one after the other; 8 reach 0.92 from 0.01."""

    def build(self) -> ZeroDCE:
        """Return the network."""
        return ZeroDCE(self.width, self.num_iterations)
