"""The branch that brightens by curves, and the mask that blends both branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from photic.models.curves import CurveNet, apply_curves

LAST_SCALE, LAST_BIAS = 0.1, 0.01


class ImprovedCurveEstimator(nn.Module):
    """Curve maps from colours and SNR, applied to the colours only.

    Maps are bounded by tanh alone, so that eight of them reach 0.92 from 0.01; what starts small (the last layer's weights times
    0.1, its biases 0.01) is their initial value, not their range.

    Args:
        width: channels of the hidden layers.
        num_curves: curves n, each of three maps.
    """

    reach_px = CurveNet.reach_px

    def __init__(self, width: int = 32, num_curves: int = 8) -> None:
        super().__init__()
        self.network = CurveNet(4, width, num_curves)
        with torch.no_grad():
            self.network.last.weight.mul_(LAST_SCALE)
            assert self.network.last.bias is not None
            self.network.last.bias.fill_(LAST_BIAS)

    def forward(self, image: Tensor, snr: Tensor) -> tuple[Tensor, Tensor]:
        """Return brightened pictures ``(B, 3, H, W)`` and curve maps ``(B, 3 n, H, W)`` for pictures and their SNR ``(B, 1, H, W)``."""
        curves: Tensor = self.network(torch.cat([image, snr], dim=1))
        return apply_curves(image, curves), curves


class MaskPredictor(nn.Module):
    """How much of each pixel comes from the curves: a map in (0, 1), about a half at first.

    Args:
        width: channels of the hidden layers.
    """

    reach_px = 3

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(5, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, image: Tensor, guidance: Tensor, confidence: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)`` for pictures ``(B, 3, H, W)``, guidance and semantic confidence ``(B, 1, H, W)``."""
        return torch.sigmoid(self.layers(torch.cat([image, guidance, confidence], dim=1)))
