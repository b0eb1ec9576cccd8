"""A hyperprior that begins as an adaptive coder: scales follow the local size of latents, the lowest frequency its surroundings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVITY_STEPS = 24.0
"""Hyper-latent 0 is so many times the mean size of latents there, relative to their spread."""
BRIGHTNESS_STEPS = 4.0
"""Hyper-latent 1 is so many times the mean of latent 0 there, relative to its spread."""
DENSITY_SCALES = (10.0, 10.0, 0.4)
"""Spread of the densities of hyper-latents 0, 1, and all others at first."""
_LEAST = 0.05
"""Of scales, relative to the spread."""
_LAPLACE = 1.25
"""Standard deviation of values whose mean size is 1; between a Gaussian (1.25) and a Laplacian (1.41)."""
_FAINT = 0.1
"""What random weights of the other hyper-latents are multiplied by: they begin near 0, and cost little."""


@torch.no_grad()
def start_as_activity(analysis: nn.Sequential, synthesis: nn.Sequential) -> None:
    """Set hyper-analysis and hyper-synthesis so that two hyper-latents say something from the start.

    Hyper-latent 0 is the mean size of latents 1, 2, ... (without the lowest frequency) around its place, 1 is the mean of latent 0.
    Both are interpolated bilinearly; the one gives the scale of every latent, the other the mean of latent 0, relative to their spreads.
    Quality levels need nothing of their own: gains change the size of latents, and that is what is told.

    Args:
        analysis: convolutions of 3 x 3 and twice 5 x 5 with stride 2, ReLU between; latents ``(B, M, h, w)`` to ``(B, N, h/4, w/4)``,
            N > 3.
        synthesis: twice transposed 5 x 5 with stride 2 and ReLU, and 3 x 3, to ``(B, 2 M, h, w)``: means, then scales.
    """
    sizes, halved, quartered = (layer for layer in analysis if isinstance(layer, nn.Conv2d))
    num_latents, width = sizes.in_channels, sizes.out_channels
    followed = min((width - 2) // 2, num_latents - 1)
    for layer in (sizes, halved, quartered):
        assert layer.bias is not None
        layer.bias.zero_()
    sizes.weight[: 2 * followed + 1] = 0
    for number in range(followed):  # the positive and the negative part, of which ReLU makes the size
        sizes.weight[2 * number, number + 1, 1, 1] = 1
        sizes.weight[2 * number + 1, number + 1, 1, 1] = -1
    sizes.weight[2 * followed, 0, 1, 1] = 1  # brightness is not below 0
    _average(halved.weight, 0, range(2 * followed), followed)
    _average(halved.weight, 1, range(2 * followed, 2 * followed + 1), 1)
    quartered.weight.mul_(_FAINT)
    _average(quartered.weight, 0, range(1), 1, ACTIVITY_STEPS)
    _average(quartered.weight, 1, range(1, 2), 1, BRIGHTNESS_STEPS)
    *between, last = (layer for layer in synthesis if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))
    taps = torch.tensor([0.0, 0.5, 1.0, 0.5, 0.0])
    for upward in between:
        assert upward.bias is not None
        upward.bias.zero_()
        for channel in (0, 1):
            upward.weight[:, channel] = 0
            upward.weight[channel, channel] = torch.outer(taps, taps)
    assert last.bias is not None
    last.weight.zero_()
    last.bias.zero_()
    last.weight[0, 1, 1, 1] = 1 / BRIGHTNESS_STEPS
    last.weight[num_latents:, 0, 1, 1] = _LAPLACE / ACTIVITY_STEPS
    last.bias[num_latents:] = _LEAST


def _average(weight: Tensor, place: int, inputs: range, count: int, factor: float = 1.0) -> None:
    """Set a 5 x 5 convolution's output to ``factor`` times the mean over its window of the sum of some inputs divided by ``count``."""
    weight[place] = 0
    weight[place, inputs.start : inputs.stop] = factor / (count * weight.shape[-1] * weight.shape[-2])
