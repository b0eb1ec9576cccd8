"""Where a dark picture can be trusted: signal to noise, and what distracts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.functional.colour import luma
from photic.models.cbam import SpatialAttention

BLUR_PX = 5
HALF_SNR = 4.0
"""Ratio of signal to noise that the map shows as 0.5; that of a dark photograph with visible grain."""
LEAST_NOISE = 1 / 1020
"""Deviation that always counts as noise: a quarter of an 8-bit level."""
NO_SNR = 0.5
"""What the map holds everywhere where it is switched off."""


def snr_map(image: Tensor) -> Tensor:
    """Return how far a picture stands out of its noise, ``(B, 1, H, W)`` in [0, 1), for pictures ``(B, 3, H, W)``.

    With S the luma averaged over 5 x 5 pixels and N the luma's deviation from it, S / N is squashed to (S / N) / (S / N + 4),
    written as S / (S + 4 N): nothing is divided by a deviation near zero, black has an SNR of 0. At the border the average is
    over the pixels there are.

    >>> snr_map(torch.full((1, 3, 8, 8), 0.5)).min().item() > 0.99
    True
    """
    brightness = luma(image)
    signal = F.avg_pool2d(brightness, BLUR_PX, stride=1, padding=BLUR_PX // 2, count_include_pad=False)
    noise = torch.sqrt((brightness - signal).square() + LEAST_NOISE**2)
    return signal / (signal + HALF_SNR * noise)


class SNREstimator(nn.Module):
    """Signal to noise, measured or measured and corrected by a small network.

    The correction is added to the log-odds of the measured map, so the map stays in (0, 1); it starts small.

    Args:
        learned: whether there is a correction.
        width: channels of its hidden layers.
    """

    reach_px = BLUR_PX // 2

    def __init__(self, *, learned: bool = False, width: int = 16) -> None:
        super().__init__()
        self.correction: nn.Sequential | None = None
        if learned:
            self.correction = nn.Sequential(
                nn.Conv2d(4, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 1, 1)
            )
            with torch.no_grad():
                self.correction[-1].weight.mul_(0.1)  # type: ignore[operator]
            self.reach_px += 2

    def forward(self, image: Tensor) -> Tensor:
        """Return the map ``(B, 1, H, W)`` for pictures ``(B, 3, H, W)``."""
        measured = snr_map(image)
        if self.correction is None:
            return measured
        # The log-odds of S / (S + 4 N) would be infinite at black: a thousandth is added on both sides.
        odds = (measured + 1e-3).log() - (1 - measured + 1e-3).log()
        return torch.sigmoid(odds + self.correction(torch.cat([image, measured], dim=1)))


class DistractionModule(nn.Module):
    """Where content makes up for noise: a mask in (0, 1) from features of the picture, their content and its SNR.

    An encoder (full resolution, half, a quarter: 16, 32, 64 channels), a content branch with spatial attention on its features, and a
    fusion of features, content and SNR.

    Args:
        width: channels at full resolution; doubled at each halving.
    """

    stride = 4
    # Convolutions 1 + 1 + 2 px in the encoder, 4 x 2 px of content, 4 x 3 of attention, 4 of fusion, and what halving and
    # enlarging add: a pixel of the quarter-size map and half the way to its neighbour.
    reach_px = 4 + 8 + 12 + 4 + 6

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        deep = 4 * width
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, deep, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.content = nn.Sequential(nn.Conv2d(deep, deep, 3, padding=1), nn.GELU(), nn.Conv2d(deep, deep, 3, padding=1), nn.GELU())
        self.attention = SpatialAttention(7)
        self.fusion = nn.Sequential(nn.Conv2d(2 * deep + 1, 2 * width, 3, padding=1), nn.GELU(), nn.Conv2d(2 * width, 1, 1))

    def forward(self, image: Tensor, snr: Tensor) -> Tensor:
        """Return the distraction mask ``(B, 1, H, W)`` for pictures ``(B, 3, H, W)``, sides divisible by 4, and their SNR map."""
        features = self.encoder(image)
        content = self.content(features)
        content = content * self.attention(content)
        fused = self.fusion(torch.cat([features, content, F.avg_pool2d(snr, self.stride)], dim=1))
        return torch.sigmoid(F.interpolate(fused, scale_factor=float(self.stride), mode="bilinear", align_corners=False))


def guidance(snr: Tensor, distraction: Tensor) -> Tensor:
    """Return SNR and distraction added and kept within [0, 1], ``s + d - s d``, for maps in [0, 1] of one shape.

    A clamp of the sum would have no gradient wherever it exceeds 1, which is where most of a picture lies once both
    are learned. This one is the sum where both are small, never leaves [0, 1], and passes ``1 - d`` and ``1 - s`` on.

    >>> guidance(torch.tensor(0.5), torch.tensor(0.5))
    tensor(0.7500)
    """
    return snr + distraction - snr * distraction
