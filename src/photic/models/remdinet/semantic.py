"""The branch that knows what is in a picture: attention among features of a backbone, and a picture made of them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.core.errors import DataError
from photic.functional.borders import cropped
from photic.functional.colour import luma
from photic.models.remdinet.features import STRIDE, WINDOW, from_windows

NUM_HEADS = 4
PREDICTED_SHARE = 0.7
"""Of the predicted luminance in the new one; the rest is the picture's own."""
RESIDUAL_SCALE = 0.1
RATIO_SOFTNESS = 1 / 255
"""Levels below which colours fade into grey: black has no colour to keep."""


class WindowAttentionBlock(nn.Module):
    """Attention among the cells of one window, with learned weights of relative places, and a small network for each cell.

    Source: Liu et al. 2021, Swin Transformer (attention in windows, relative position bias).

    Args:
        dim: channels; divisible by the number of heads.
        num_heads: heads.
    """

    relative: Tensor

    def __init__(self, dim: int, num_heads: int = NUM_HEADS) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before_attention, self.before_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv, self.to_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.bias = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, num_heads) * 0.02)
        row, column = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
        places = torch.stack([row.flatten(), column.flatten()])
        down, across = places[:, :, None] - places[:, None, :] + WINDOW - 1
        self.register_buffer("relative", (down * (2 * WINDOW - 1) + across).view(WINDOW, WINDOW, WINDOW, WINDOW), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Return windows ``(N, C, h, w)`` of up to 8 x 8 cells after attention, same shape.

        Raises:
            DataError: a window is larger.
        """
        number, dim, height, width = windows.shape
        if max(height, width) > WINDOW:
            raise DataError(f"window attention: expected windows of up to {WINDOW} x {WINDOW} cells, got {tuple(windows.shape)}")
        cells = windows.flatten(2).transpose(1, 2)
        query, key, value = (
            self.to_qkv(self.before_attention(cells)).reshape(number, -1, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4)
        )
        relative = self.relative[:height, :width, :height, :width].reshape(height * width, height * width)
        affinity = query @ key.transpose(-2, -1) * (dim // self.num_heads) ** -0.5 + self.bias[relative].permute(2, 0, 1)
        attended = (affinity.softmax(dim=-1) @ value).transpose(1, 2).reshape(number, -1, dim)
        cells = cells + self.to_out(attended)
        cells = cells + self.mlp(self.before_mlp(cells))
        made: Tensor = cells.transpose(1, 2).reshape(number, dim, height, width)
        return made


class TransformerDecoder(nn.Module):
    """A picture of the same scene in good light, from features at stride 32: a new luminance under the colours there are.

    Features are projected, attend to each other within windows, and are enlarged four times by convolution and pixel shuffle and once
    bilinearly. At full size, next to the picture itself (from which all detail comes), they give a luminance, a residual
    colour and how sure the branch is of itself. The luminance is mixed with the picture's own, 0.7 to 0.3; the ratios of
    the picture's colours are kept; a tenth of the residual is added.

    Args:
        num_channels: channels of the features.
        dim: channels of attention; divisible by 8.
        num_blocks: attention blocks.
    """

    # Beyond the windows: convolutions of 3 x 3 at strides 32, 16, 8 and 4, half a pixel of stride 2, two at full size.
    reach_px = 32 + 16 + 8 + 4 + 2 + 2

    def __init__(self, num_channels: int, dim: int = 128, num_blocks: int = 3) -> None:
        super().__init__()
        widths = [dim, dim // 2, dim // 4, dim // 8, dim // 8]
        self.project = nn.Conv2d(num_channels, dim, 1)
        # Of the channels of each cell: features of untrained backbones are tiny, those of trained ones large.
        self.norm = CellNorm(dim)
        self.attention = nn.Sequential(*(WindowAttentionBlock(dim) for _ in range(num_blocks)))
        self.enlarge = nn.Sequential(
            *(enlarger(given, made) for given, made in pairwise(widths)),
        )
        self.head = nn.Sequential(nn.Conv2d(widths[-1] + 3, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 5, 3, padding=1))

    def forward(self, image: Tensor, features: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return new pictures ``(B, 3, H, W)`` and confidence ``(B, 1, H, W)`` in (0, 1).

        Args:
            image: ``(B, 3, H, W)``, sides divisible by 32.
            features: of its windows, ``(B n, F, h, w)``.
            grid: rows and columns of windows.
        """
        cells = from_windows(self.attention(self.norm(self.project(features))), grid)
        cells = cropped(cells, image.shape[-2] // STRIDE, image.shape[-1] // STRIDE)
        full = F.interpolate(self.enlarge(cells), scale_factor=2.0, mode="bilinear", align_corners=False)
        level, red, green, blue, confidence = self.head(torch.cat([full, image], dim=1)).split(1, dim=1)
        own = luma(image)
        luminance = PREDICTED_SHARE * torch.sigmoid(level) + (1 - PREDICTED_SHARE) * own
        picture = relight(image, own, luminance) + RESIDUAL_SCALE * torch.tanh(torch.cat([red, green, blue], dim=1))
        return picture, torch.sigmoid(confidence)


def relight(image: Tensor, own: Tensor, luminance: Tensor) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` in another luminance ``(B, 1, H, W)``, the ratios of their colours kept; black becomes grey.

    Their luma is then the luminance, exactly.
    """
    return luminance * (image + RATIO_SOFTNESS) / (own + RATIO_SOFTNESS)


class CellNorm(nn.Module):
    """Normalises each cell over its channels: looks at no other cell, unlike normalisations over a picture or a batch.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return features ``(B, C, h, w)``, normalised."""
        normalised: Tensor = self.norm(features.movedim(1, -1))
        return normalised.movedim(-1, 1)


def enlarger(num_inputs: int, num_outputs: int) -> nn.Sequential:
    """Return a layer to twice the resolution; its four sub-pixels start alike, so that it starts without a checkerboard.

    Source: Shi et al. 2016, Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN; Aitken et al. 2017,
    Checkerboard artifact free sub-pixel convolution.
    """
    layer = nn.Conv2d(num_inputs, 4 * num_outputs, 3, padding=1)
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(layer.weight[::4].repeat_interleave(4, dim=0))
        layer.bias.copy_(layer.bias[::4].repeat_interleave(4, dim=0))
    return nn.Sequential(layer, nn.PixelShuffle(2), nn.GELU())
