"""Generalised divisive normalisation: each channel divided by a learnt norm of all channels at the same place."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError

PEDESTAL = 2.0**-36
"""Added under the square root that parameters are stored behind, so that its gradient stays finite at zero."""
BETA_MIN = 1e-6
"""Least value of beta, which keeps the norm away from zero."""
GAMMA_INITIAL = 0.1


class _LowerBound(torch.autograd.Function):
    """``max(value, bound)`` that lets gradients pass below the bound if a step along them leads back above it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.bound = bound
        return value.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        (value,) = ctx.saved_tensors
        passes = (value >= ctx.bound) | (gradient < 0)
        return gradient * passes, None


def lower_bound(value: Tensor, bound: float) -> Tensor:
    """Return ``max(value, bound)``; below the bound, gradients that would raise the value pass, others do not.

    Source: Ballé et al. 2017, End-to-end optimized image compression.

    >>> lower_bound(torch.tensor([-1.0, 3.0]), 0.5)
    tensor([0.5000, 3.0000])
    """
    if not (torch.is_grad_enabled() and value.requires_grad):
        return value.clamp_min(bound)  # the same numbers, in operations that can be exported
    bounded: Tensor = _LowerBound.apply(value, bound)
    return bounded


class NonNegative(nn.Module):
    """A parameter that cannot fall below a minimum: stored as a square root that is bounded and squared again.

    Small values get small steps from it, and what has reached the bound can leave it.

    Source: Ballé et al. 2016, Density modeling of images using a generalized normalization transformation; Ballé et al. 2017.

    Args:
        initial: the value at first.
        minimum: least value.
    """

    def __init__(self, initial: Tensor, minimum: float = 0.0) -> None:
        super().__init__()
        self.bound = (minimum + PEDESTAL) ** 0.5
        self.root = nn.Parameter((initial + PEDESTAL).clamp_min(self.bound**2).sqrt())

    def forward(self) -> Tensor:
        """Return the value."""
        return lower_bound(self.root, self.bound).square() - PEDESTAL


class GDN(nn.Module):
    """Generalised divisive normalisation of features ``(B, C, H, W)``: ``y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)``.

    Its parameters and the norm are float32 at least, also under autocast.

    Source: Ballé et al. 2016, Density modeling of images using a generalized normalization transformation.

    Args:
        num_channels: C.
        inverse: multiply by the norm instead (IGDN), as decoders do.

    Raises:
        ConfigError: no channel.

    Example:
        >>> GDN(2)(torch.ones(1, 2, 1, 1)).shape
        torch.Size([1, 2, 1, 1])
    """

    def __init__(self, num_channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        if num_channels < 1:
            raise ConfigError(f"GDN: expected at least one channel, got {num_channels}")
        self.num_channels = num_channels
        self.inverse = inverse
        self.beta = NonNegative(torch.ones(num_channels), BETA_MIN)
        self.gamma = NonNegative(GAMMA_INITIAL * torch.eye(num_channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features of the same shape.

        Raises:
            DataError: another number of channels.
        """
        if features.ndim != 4 or features.shape[1] != self.num_channels:
            raise DataError(f"GDN: expected (B, {self.num_channels}, H, W), got {tuple(features.shape)}")
        kind = features.dtype
        with torch.autocast(features.device.type, enabled=False):
            wide = features.to(torch.promote_types(kind, torch.float32))
            norm = F.conv2d(wide.square(), self.gamma()[:, :, None, None], self.beta())
            made = wide * (norm.sqrt() if self.inverse else norm.rsqrt())
        return made.to(kind)
