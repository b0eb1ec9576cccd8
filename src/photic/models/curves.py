"""Light-enhancement curves of Zero-DCE: how they are applied, and the network that estimates them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from photic.core.errors import DataError


def apply_curves(image: Tensor, curves: Tensor) -> Tensor:
    """Return pictures brightened by curve maps, one after the other: ``x <- x + a x (1 - x)``.

    Each step keeps [0, 1] within [0, 1] and the order of levels for ``a`` in [-1, 1]; 0 and 1 stay where they are. Eight
    steps of ``a = 1`` take 0.01 to 0.924.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation, eq. 4.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1]: colours and nothing else.
        curves: maps ``a`` in [-1, 1], ``(B, 3 n, H, W)``: red, green and blue of the first step, then those of the second.

    Raises:
        DataError: the picture has other channels than three, or the curves are not three to a step.

    >>> round(apply_curves(torch.full((1, 3, 1, 1), 0.01), torch.ones(1, 24, 1, 1)).max().item(), 3)
    0.924
    """
    if image.shape[-3] != 3 or curves.shape[-3] % 3 or curves.shape[-3] == 0 or image.shape[-2:] != curves.shape[-2:]:
        raise DataError(
            f"curves: expected pictures (B, 3, H, W) and curves (B, 3 n, H, W), got {tuple(image.shape)} and {tuple(curves.shape)}"
        )
    for curve in curves.split(3, dim=-3):
        image = image + curve * image * (1 - image)
    return image


class CurveNet(nn.Module):
    """Seven convolutions with symmetric skips (DCE-Net): the same width everywhere, no normalisation, full resolution.

    Every pixel depends on the 15 x 15 pixels around it (:attr:`reach_px` = 7).

    Source: Guo et al. 2020, section 3.2.

    Args:
        num_inputs: channels of the input.
        width: channels of the six hidden layers.
        num_iterations: curves n, each of three maps.
    """

    reach_px = 7

    def __init__(self, num_inputs: int = 3, width: int = 32, num_iterations: int = 8) -> None:
        super().__init__()
        inputs = [num_inputs, width, width, width, 2 * width, 2 * width]
        self.hidden = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=1) for channels in inputs)
        self.last = nn.Conv2d(2 * width, 3 * num_iterations, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return curve maps ``(B, 3 n, H, W)`` in (-1, 1) for inputs ``(B, C, H, W)``."""
        skips: list[Tensor] = []
        for number, layer in enumerate(self.hidden):
            # The fifth layer sees the fourth and third, the sixth the fifth and second, the last the sixth and first.
            given = features if number < 4 else torch.cat([features, skips[6 - number]], dim=1)
            features = torch.relu(layer(given))
            skips.append(features)
        return torch.tanh(self.last(torch.cat([features, skips[0]], dim=1)))
