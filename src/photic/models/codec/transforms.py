"""The transforms of learnt codecs: analysis makes latents of a picture, synthesis a picture of latents."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import nn

from photic.core.errors import ConfigError
from photic.models.codec.gdn import GDN

Decoder = Literal["balle", "bayer_ps", "bayer_tc"]
"""``balle``: three colours at the resolution of what was analysed; the others at twice that, for packed Bayer planes:
``bayer_ps`` makes 12 planes and shuffles them, ``bayer_tc`` has one more transposed convolution."""
NUM_STRIDES = 4
LATENT_STRIDE: int = 2**NUM_STRIDES
"""Pixels of the analysed picture per latent, each way, at four strides."""
SYNTHESIS_HALO = 2
"""Latents around a rectangle of them that pixels above it depend on: each transposed convolution looks one further and halves that, 1 + 1/2
+ 1/4 + ... < 2."""
_KERNEL = 5
_REACH = 2 * (LATENT_STRIDE - 1)
"""How far 5 x 5 kernels at four strides of two reach: 2 + 4 + 8 + 16 pixels."""


Width = int | tuple[int, ...]
"""Channels between the convolutions: the same everywhere, or one number after each of the analysis but the last."""


class Analysis(nn.Sequential):
    """Pictures ``(B, C, H, W)`` to latents ``(B, num_latents, H/16, W/16)``: four 5 x 5 convolutions of stride 2, GDN between them.

    A latent at (y, x) depends on pixels up to 30 away from (16 y, 16 x). Sides should be multiples of 16. With n strides it is
    2^n for 16 and 2 (2^n - 1) for 30.

    Source: Ballé et al. 2017, End-to-end optimized image compression; 2018, Variational image compression with a scale hyperprior.

    Args:
        num_inputs: C: 3 for RGB, 4 for packed Bayer planes.
        width: channels between the convolutions; or those after each but the last of the analysis.
        num_latents: channels of the latents.
        num_strides: convolutions, each of which halves the sides.
    """

    def __init__(self, num_inputs: int, width: Width = 192, num_latents: int = 320, num_strides: int = NUM_STRIDES) -> None:
        channels = [num_inputs, *_between(width, num_strides), num_latents]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers.append(_initialised(nn.Conv2d(inputs, outputs, _KERNEL, stride=2, padding=_KERNEL // 2)))
            layers.append(GDN(outputs))
        super().__init__(*layers[:-1])
        self.num_latents = num_latents


class Synthesis(nn.Sequential):
    """Latents ``(B, num_latents, h, w)`` to pictures ``(B, 3, 16 h, 16 w)``, or ``(B, 3, 32 h, 32 w)`` by the decoders for packed planes.

    Transposed 5 x 5 convolutions of stride 2 mirror the analysis, with inverse GDN between them. A pixel depends on the latents up to
    30 pixels (``bayer_tc``: 62) away from it, on the grid of 16 (32) pixels.

    Source: Ballé et al. 2017; Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural
    Image Noise Dataset (variants for Bayer).

    Args:
        decoder: see :data:`Decoder`.
        width: channels between the convolutions; or those after each but the last of the analysis.
        num_latents: channels of the latents.
        num_strides: how often the analysis halved the sides.

    Raises:
        ConfigError: no such decoder.
    """

    def __init__(self, decoder: Decoder = "balle", width: Width = 192, num_latents: int = 320, num_strides: int = NUM_STRIDES) -> None:
        between = _between(width, num_strides)[::-1]
        channels = {
            "balle": [num_latents, *between, 3],
            "bayer_ps": [num_latents, *between, 12],
            "bayer_tc": [num_latents, *between, between[-1] if between else num_latents, 3],
        }.get(decoder)
        if channels is None:
            raise ConfigError(f"decoder: expected one of 'balle', 'bayer_ps', 'bayer_tc', got '{decoder}'")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers.append(
                _initialised(nn.ConvTranspose2d(inputs, outputs, _KERNEL, stride=2, padding=_KERNEL // 2, output_padding=1), upwards=True)
            )
            layers.append(GDN(outputs, inverse=True))
        layers.pop()
        super().__init__(*layers, *([nn.PixelShuffle(2)] if decoder == "bayer_ps" else []))
        self.decoder = decoder
        self.scale = 1 if decoder == "balle" else 2


def _between(width: Width, num_strides: int) -> tuple[int, ...]:
    """Return the channels after each convolution of an analysis but the last.

    Raises:
        ConfigError: another number of widths than there are such convolutions.
    """
    widths = (width,) * (num_strides - 1) if isinstance(width, int) else tuple(width)
    if len(widths) != num_strides - 1:
        raise ConfigError(f"widths: {num_strides} strides have {num_strides - 1} widths between them, got {list(widths)}")
    return widths


def reach_px(decoder: Decoder) -> int:
    """Return how far a pixel of the result looks through analysis and synthesis, in pixels of the mosaic or RGB picture.

    >>> reach_px("balle")
    60
    """
    if decoder == "balle":
        return 2 * _REACH
    if decoder == "bayer_ps":  # both in packed pixels; two of the mosaic each, of which the result may be either
        return 2 * (2 * _REACH) + 1
    return (2 * _REACH + 2) + 2 * _REACH + 1


def _initialised(layer: nn.Conv2d | nn.ConvTranspose2d, *, upwards: bool = False) -> nn.Module:
    """Draw weights that keep the size of features (He et al. 2015 for linear layers); biases are zero."""
    taps = _KERNEL**2 / (4 if upwards else 1)  # of a transposed convolution of stride 2, every pixel gets a quarter of the taps
    nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_channels * taps))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
