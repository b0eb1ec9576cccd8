"""The last touch on colour: one affine map for all pictures, within narrow bounds, and more saturation where there is hardly any."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from photic.functional.colour import luma, saturation

LEAST_SATURATION = 0.2
"""Mean saturation below which a picture is lifted."""
LIFT = 0.35
"""Saturation gained, at most, as a share."""
SOFTNESS = 0.04
"""Width of the change-over around the least saturation."""
DARK = 0.02
"""Levels below which colours do not count as saturated: a noisy black is no colour."""


def bounded(raw: Tensor, centre: float, reach: float) -> Tensor:
    """Return ``centre + reach * (2 / pi) atan(raw)``: any number to one between both bounds.

    The derivative falls with the square of ``raw``, not exponentially as that of tanh does: a parameter that was pushed to its
    bound can come back. 0 gives the centre.
    """
    return centre + reach * (2 / math.pi) * torch.atan(raw)


def unbounded(value: float, centre: float, reach: float) -> float:
    """Return what :func:`bounded` takes to ``value``."""
    return math.tan((value - centre) / reach * math.pi / 2)


class GlobalColourAffine(nn.Module):
    """Matrix, bias, vibrance and gamma for all pictures alike, none far from the identity.

    ========  =======================  =====  ============================================================
    term      bounds                   start  what it does
    ========  =======================  =====  ============================================================
    diagonal  0.98 to 1.02             1      scales red, green and blue
    others    -0.02 to 0.02            0      mixes them
    bias      -0.01 to 0.01            0      is added
    vibrance  0.98 to 1.05             1.045  distance from grey of the same luma; greys stay as they are
    gamma     0.95 to 1.05 (channels)  1      exponent
    ========  =======================  =====  ============================================================

    The bounds are part of how the numbers are made (:func:`bounded`), no clamp: gradients live, and training and validation do the same.
    """

    VIBRANCE = (0.98, 1.05, 1.045)

    def __init__(self) -> None:
        super().__init__()
        low, high, start = self.VIBRANCE
        self.raw_matrix = nn.Parameter(torch.zeros(3, 3))
        self.raw_bias = nn.Parameter(torch.zeros(3))
        self.raw_vibrance = nn.Parameter(torch.tensor(unbounded(start, (low + high) / 2, (high - low) / 2)))
        self.raw_gamma = nn.Parameter(torch.zeros(3))

    def matrix(self) -> Tensor:
        """Return the matrix ``(3, 3)``: the row is the channel that results."""
        return bounded(self.raw_matrix, 0.0, 0.02) + torch.eye(3, dtype=self.raw_matrix.dtype, device=self.raw_matrix.device)

    def bias(self) -> Tensor:
        """Return what is added ``(3,)``."""
        return bounded(self.raw_bias, 0.0, 0.01)

    def vibrance(self) -> Tensor:
        """Return the factor of the distance from grey, a scalar."""
        low, high, _ = self.VIBRANCE
        return bounded(self.raw_vibrance, (low + high) / 2, (high - low) / 2)

    def gamma(self) -> Tensor:
        """Return the exponents ``(3,)``."""
        return bounded(self.raw_gamma, 1.0, 0.05)

    def forward(self, image: Tensor) -> Tensor:
        """Return pictures ``(B, 3, H, W)``, which may have values outside [0, 1]: below 0 the exponent acts on the absolute value."""
        # Products of numbers, not of matrices: autocast would round the picture itself to 8 bits.
        columns = self.matrix().t().reshape(3, 1, 3, 1, 1)
        image = sum(
            (column * channel for column, channel in zip(columns, image.split(1, dim=1), strict=True)), self.bias().view(1, 3, 1, 1)
        )
        image = scale_colour(image, self.vibrance())
        # |x| ** (gamma - 1), rounded off at zero, where it would be infinite for an exponent below 1.
        return image * (image.square() + 1e-6).pow((self.gamma().view(1, 3, 1, 1) - 1) / 2)


def scale_colour(image: Tensor, factor: Tensor) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` whose distance from grey is scaled by ``factor``, at the same luma."""
    grey = luma(image)
    return grey + factor * (image - grey)


def mean_saturation(image: Tensor) -> Tensor:
    """Return the mean saturation ``(B, 1)`` of pictures ``(B, 3, H, W)``, near black counted as grey."""
    return saturation(image.float(), DARK).mean(dim=(2, 3))


def lift_saturation(image: Tensor, mean: Tensor) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` with up to 35 % more saturation where the mean ``(B, 1)`` of the whole is below 0.2.

    The change is smooth: half of it at 0.2, 1 % of it from 0.38 on.

    >>> scale_of_lift(torch.tensor([0.0, 0.2, 0.4]))
    tensor([1.3477, 1.1750, 1.0023])
    """
    return scale_colour(image, scale_of_lift(mean).to(image.dtype).view(-1, 1, 1, 1))


def scale_of_lift(mean: Tensor) -> Tensor:
    """Return the factor of the distance from grey for mean saturations."""
    return 1 + LIFT * torch.sigmoid((LEAST_SATURATION - mean) / SOFTNESS)
