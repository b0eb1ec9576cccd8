"""White noise taken out of pictures in the cosine transforms of all their blocks, overlapping."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dct
from torch import Tensor

from photic.core.errors import ConfigError, DataError

SLIDING_DCT_REACH_PX = 14
"""How far :func:`sliding_dct` looks around a pixel, with blocks of 8."""


def sliding_dct(picture: Tensor, sigma: float = 1.0, *, block_px: int = 8, stride_px: int = 2, threshold: float = 2.7) -> Tensor:
    """Return pictures ``(B, C, H, W)`` without white noise of a standard deviation, each channel for itself.

    Coefficients of overlapping blocks below the threshold are set to 0; the blocks are put back, those with few coefficients left counting
    more. The result tells how strong each coefficient of a clean picture is, and a second pass weighs the noisy ones by that (Wiener).
    Means of blocks are left as they are in both, so that no level moves.
    Channels should be as different as can be: brightness and colour differences instead of red, green and blue.

    Source: Yaroslavsky 1996, Local adaptive image restoration and enhancement with the use of DFT and DCT in a running window; Yu
    and Sapiro 2011, DCT image denoising: a simple and effective image denoising algorithm; with the second pass of Dabov, Foi, Katkovnik
    and Egiazarian 2007 (BM3D), but no search for similar blocks.

    Args:
        picture: ``(B, C, H, W)``, sides at least as long as a block.
        sigma: standard deviation of the noise.
        block_px: side of a block, pixels.
        stride_px: steps between blocks, pixels; a divisor of the block's side.
        threshold: in standard deviations.

    Raises:
        ConfigError: a setting out of range.
        DataError: another shape, or smaller than a block.

    >>> noisy = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool(sliding_dct(noisy).std() < 0.2)
    True
    """
    if not sigma > 0 or not threshold > 0 or stride_px < 1 or block_px < 2 or block_px % stride_px:
        raise ConfigError(
            "sliding_dct: expected sigma > 0, threshold > 0 and a stride that divides the block, got "
            f"{sigma}, {threshold}, {stride_px} and {block_px}"
        )
    if picture.ndim != 4 or min(picture.shape[-2:]) < block_px or not picture.is_floating_point():
        raise DataError(
            f"sliding_dct: expected pictures (B, C, H, W) of floats of at least {block_px} x {block_px}, got {tuple(picture.shape)}"
        )
    cosines = _cosines(block_px).to(picture)
    height, width = picture.shape[-2:]
    edge = block_px - 1
    rest = [-(side + 2 * edge - block_px) % stride_px for side in (height, width)]
    around = F.pad(picture, (edge, edge + rest[1], edge, edge + rest[0]), mode="reflect")

    def strong(noisy: Tensor, _: Tensor) -> Tensor:
        return (noisy.abs() > threshold * sigma).to(noisy.dtype)

    def wiener(_: Tensor, clean: Tensor) -> Tensor:
        energy = clean.square()
        return energy / (energy + sigma**2)

    channels = []
    for channel in around.flatten(0, 1)[:, None, None]:  # one by one: 64 coefficients for each block are many times the picture
        pilot = _filtered(channel, channel, cosines, stride_px, strong)
        channels.append(_filtered(channel, pilot, cosines, stride_px, wiener))
    made = torch.cat(channels).view(*picture.shape[:2], *around.shape[-2:])
    return made[..., edge : edge + height, edge : edge + width]


def _filtered(noisy: Tensor, pilot: Tensor, cosines: Tensor, stride: int, gains: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """One pass over a picture ``(1, 1, H, W)``."""
    coefficients = F.conv2d(noisy, cosines, stride=stride)
    gain = gains(coefficients, coefficients if pilot is noisy else F.conv2d(pilot, cosines, stride=stride))
    gain[:, 0] = 1  # levels stay what they are
    trust = 1 / gain.square().sum(dim=1, keepdim=True).clamp_min(1)
    total = F.conv_transpose2d(coefficients * gain * trust, cosines, stride=stride)
    return total / F.conv_transpose2d(trust, torch.ones_like(cosines[:1]), stride=stride)


def _cosines(side: int) -> Tensor:
    """Orthonormal cosines of a block as kernels ``(side^2, 1, side, side)``, the constant first."""
    rows = dct(np.eye(side), axis=0, norm="ortho")
    return torch.from_numpy(np.einsum("ui,vj->uvij", rows, rows).reshape(side * side, 1, side, side))
