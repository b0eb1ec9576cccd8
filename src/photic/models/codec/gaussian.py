"""Latents as Gaussians around integers, each with a scale of its own; in files, one of 64 scales."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from photic.models.codec.gdn import lower_bound

SCALE_MIN = 0.11
"""Least standard deviation; below it nearly every symbol is 0 anyway."""
SCALE_MAX = 128.0
NUM_SCALES = 64
_TAIL = 5
"""Symbols beyond so many standard deviations are escaped."""
NUM_SYMBOLS: int = 2 * round(_TAIL * SCALE_MAX) + 2
"""Of each table, the escape symbol included."""


def likelihood(values: Tensor, scales: Tensor) -> Tensor:
    """Return the probability of ``[v - 1/2, v + 1/2]`` under zero-mean Gaussians.

    Args:
        values: distance from the mean.
        scales: standard deviations, of the same shape; at least SCALE_MIN is taken.

    Source: Minnen et al. 2018, Joint autoregressive and hierarchical priors for learned image compression.
    """
    scales = lower_bound(scales, SCALE_MIN)
    distance = values.abs()  # both terms in the lower tail, where their difference keeps its digits
    return _cumulative((0.5 - distance) / scales) - _cumulative((-0.5 - distance) / scales)


def _cumulative(values: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-(2**-0.5) * values)


def scale_levels() -> Tensor:
    """Return the 64 standard deviations, in equal ratios."""
    return torch.logspace(math.log2(SCALE_MIN), math.log2(SCALE_MAX), NUM_SCALES, base=2.0, dtype=torch.float64)


def scale_limits(unit: float) -> Tensor:
    """Return 63 integers in units of ``unit``: a scale above the n-th of them takes a level above the n-th."""
    levels = scale_levels()
    return torch.floor((levels[1:] * levels[:-1]).sqrt() / unit).long()


def tabulated() -> tuple[Tensor, Tensor]:
    """Return probabilities ``(64, NUM_SYMBOLS - 1)`` of successive integers around 0, and the first of them ``(64,)``."""
    reach = (NUM_SYMBOLS - 2) // 2
    values = torch.arange(-reach, reach + 1, dtype=torch.float64).expand(NUM_SCALES, -1)
    return likelihood(values, scale_levels()[:, None].expand_as(values)), torch.full((NUM_SCALES,), -reach, dtype=torch.int32)
