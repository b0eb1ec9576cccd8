"""Transforms that begin as a wavelet-packet codec: training starts from pictures, not from noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.functional.cfa import RGGB, cfa_planes
from photic.models.codec.gdn import GDN
from photic.models.codec.transforms import Analysis, Synthesis

LATENTS_PER_UNIT = 120.0
"""Factor of latents at the highest quality: quantisation steps of about 17 / 255 in orthonormal coefficients, after three stages, which is
about what ``loss.lmbda=128`` asks for."""
MEANS_STEP = 0.3
"""How much less the gains of mean colours fall from level to level than others: few latents, and whole areas change colour with them."""
_GAMMA = 0.01
"""Of the normalisations at first; nearly linear for values up to one."""
_SHRINKAGE = (14.0, 0.4)
"""How the noise's level weakens details of the first stages at first: a detail d becomes about d / sqrt(1 + s n^2) where the noise map says
n. From that of differences of natural pictures against noise of their size (Wiener), one number per stage."""
_DETAIL_SCALE = 3.0
"""Spread of latents of the lowest frequencies at first; it falls with frequency."""
_DC_SCALE = 10.0
_LEAST_SCALE = 0.15
_COLOUR_PENALTY = 4
"""Frequencies that a difference of colours counts for when the most important coefficients are chosen."""
# Packed red, both greens, blue: brightness, the greens' difference (detail), red against blue, green against both.
_BAYER = ((0.5, 0.5, 0.5, 0.5), (0.0, 0.5**0.5, -(0.5**0.5), 0.0), (0.5**0.5, 0.0, 0.0, -(0.5**0.5)), (-0.5, 0.5, 0.5, -0.5))
_BAYER_PENALTY = (0, _COLOUR_PENALTY + 2, _COLOUR_PENALTY, _COLOUR_PENALTY)
_RGB = ((3**-0.5,) * 3, (2**-0.5, 0.0, -(2**-0.5)), (-(6**-0.5), 2 * 6**-0.5, -(6**-0.5)))
_RGB_PENALTY = (0, _COLOUR_PENALTY, _COLOUR_PENALTY)


@dataclass(frozen=True)
class _Band:
    """A channel: which colour it is of, and low (0) or high (1) at each stage, the finest first."""

    colour: int
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()

    def halved(self, down: int, across: int) -> _Band:
        return _Band(self.colour, (*self.rows, down), (*self.columns, across))

    @property
    def frequency(self) -> int:
        """Changes of sign along both sides of its block."""
        return _sequency(self.rows) + _sequency(self.columns)


@dataclass(frozen=True)
class _Start:
    """Channels before the first stage, and what they are made of."""

    bands: list[_Band]
    penalties: tuple[int, ...]
    """Frequencies that each colour counts for, by number of the colour."""
    mix: Tensor
    """``(bands, inputs)``: each band as a sum of what the encoder sees."""
    unmix: Tensor
    """``(bands, outputs)``: what each band shows of what the decoder makes, or of packed planes that are then demosaiced."""


def _packed() -> _Start:
    """Packed Bayer planes: four samples of 2 x 2 pixels, decorrelated; brightness of a picture of ones is 1."""
    colours = torch.tensor(_BAYER)
    return _Start([_Band(colour) for colour in range(4)], _BAYER_PENALTY, colours / 2, colours * 2)


def _full(*, halved: bool) -> _Start:
    """Three colours at each pixel, decorrelated; where sides are ``halved``, each colour as Haar functions of its 2 x 2 pixels."""
    colours, amplitude = torch.tensor(_RGB), 3**0.5
    if not halved:
        return _Start([_Band(colour) for colour in range(3)], _RGB_PENALTY, colours / amplitude, colours * amplitude)
    bands, mix, unmix = [], [], []
    for colour, down, across in product(range(3), (0, 1), (0, 1)):
        bands.append(_Band(colour, (down,), (across,)))
        signs = _signs(down, across).flatten()
        mix.append(torch.outer(colours[colour] / amplitude, signs / 4).flatten())
        unmix.append(torch.outer(colours[colour] * amplitude, signs).flatten())
    return _Start(bands, _RGB_PENALTY, torch.stack(mix), torch.stack(unmix))


def _sequency(bits: tuple[int, ...]) -> int:
    """Return the changes of sign of the Walsh function that a path through the stages gives: the bits are its Gray code.

    >>> [_sequency(bits) for bits in ((0, 0), (0, 1), (1, 1), (1, 0))]
    [0, 1, 2, 3]
    """
    number, last = 0, 0
    for bit in bits:
        last ^= bit
        number = 2 * number + last
    return number


@torch.no_grad()
def start_as_wavelets(analysis: Analysis, synthesis: Synthesis) -> tuple[Tensor, Tensor]:
    """Set the weights of transforms to Haar wavelet packets of decorrelated colours, and back; only as many channels as there are.

    Where all coefficients are kept, the synthesis inverts the analysis (Bayer planes: up to bilinear demosaicing) as far
    as the normalisations are linear. Channels that no coefficient takes keep random weights; what they say has the weight 0 at first.

    A noise map is passed on from stage to stage, and weakens fine details by way of the normalisations: noisy pictures are smoothed from
    the start, others are not.

    Args:
        analysis: of packed Bayer planes (4 or, with a noise map after them, 5 channels), demosaiced ones (12 or 13), or RGB (3 or 4).
        synthesis: with a decoder ``balle`` or ``bayer_ps``.

    Returns:
        Spread ``(num_latents,)`` that latents have about, for latents scaled by LATENTS_PER_UNIT; and which latents are mean colours.

    Raises:
        ConfigError: the decoder is ``bayer_tc``, whose last convolution has another shape.

    Source: Coifman & Wickerhauser 1992, Entropy-based algorithms for best basis selection (wavelet packets).
    """
    if synthesis.decoder == "bayer_tc":
        raise ConfigError("hyperprior.start: wavelet needs decoder bayer_ps or balle; use start=random with bayer_tc")
    bayer = synthesis.decoder == "bayer_ps"
    down = [layer for layer in analysis if isinstance(layer, nn.Conv2d)]
    up = [layer for layer in synthesis if isinstance(layer, nn.ConvTranspose2d)]
    start = _packed() if bayer and down[0].in_channels < 12 else _full(halved=bayer)
    for layer in (*analysis, *synthesis):
        if isinstance(layer, GDN):
            layer.gamma.root.mul_(math.sqrt(_GAMMA / 0.1))
    normalisations = [layer for layer in analysis if isinstance(layer, GDN)]
    bands = start.bands
    for stage, (forward, backward) in enumerate(zip(down, reversed(up), strict=True)):
        halves = [band.halved(*high) for band in bands for high in product((0, 1), repeat=2)]
        kept = sorted(halves, key=lambda band: (band.frequency + start.penalties[band.colour], band.rows, band.columns))[
            : forward.out_channels
        ]
        forward.weight[: len(kept)] = 0  # what is beyond stays random, and is not listened to at first
        backward.weight[:, : backward.out_channels if stage == 0 else len(bands)] = 0
        for place, band in enumerate(kept):
            signs = _signs(band.rows[-1], band.columns[-1])
            source = next(i for i, before in enumerate(bands) if before.halved(band.rows[-1], band.columns[-1]) == band)
            if stage == 0:  # colours are mixed on the way: forth, and back
                forward.weight[place, : start.mix.shape[1], 2:4, 2:4] += start.mix[source][:, None, None] * signs / 4
                back = torch.zeros(start.unmix.shape[1], 5, 5)
                back[:, 2:4, 2:4] = start.unmix[source][:, None, None] * signs
                backward.weight[place] += _demosaiced(back) if len(back) == 4 else back
            else:
                forward.weight[place, source, 2:4, 2:4] += signs / 4
                backward.weight[place, source, 2:4, 2:4] += signs
        if (
            down[0].in_channels > start.mix.shape[1]
            and stage < len(_SHRINKAGE)
            and len(kept) < forward.out_channels
            and stage + 1 < len(down)
        ):
            _shrink_noise(
                forward, normalisations[stage], kept, source=start.mix.shape[1] if stage == 0 else len(bands), strength=_SHRINKAGE[stage]
            )
        bands = kept
    scales = torch.full((down[-1].out_channels,), _LEAST_SCALE)
    means = torch.zeros(len(scales), dtype=torch.bool)
    for place, band in enumerate(bands):
        means[place] = band.frequency == 0
        colour = 0.25 if start.penalties[band.colour] else 1.0
        scales[place] = colour * (_DC_SCALE if band.frequency == 0 else _DETAIL_SCALE / (1 + band.frequency) ** 1.2)
    return scales.clamp_min(_LEAST_SCALE), means


def _shrink_noise(layer: nn.Conv2d, normalisation: GDN, kept: list[_Band], *, source: int, strength: float) -> None:
    """Pass the noise map on in the first channel that no coefficient takes, and weaken details where it is large."""
    place = len(kept)
    layer.weight[place] = 0
    layer.weight[place, source, 2:4, 2:4] = 0.25
    for number, band in enumerate(kept):
        if any(band.rows) or any(band.columns):
            normalisation.gamma.root[number, place] = math.sqrt(strength)


def _signs(down: int, across: int) -> Tensor:
    """Return the signs ``(2, 2)`` of a Haar function, low or high along rows and columns."""
    return torch.outer(torch.tensor([1.0, -1.0 if down else 1.0]), torch.tensor([1.0, -1.0 if across else 1.0]))


def _demosaiced(planes: Tensor) -> Tensor:
    """Return what 12 planes, three colours of 2 x 2 pixels, show of packed planes ``(4, 5, 5)``, demosaiced bilinearly: ``(12, 5, 5)``."""
    height, width = (2 * side for side in planes.shape[-2:])
    sites = cfa_planes(RGGB, height, width)
    samples = F.pixel_shuffle(planes[None], 2) * sites
    across = torch.tensor([0.5, 1.0, 0.5])
    wide = torch.outer(across, across)
    cross = torch.tensor([[0.0, 0.25, 0.0], [0.25, 1.0, 0.25], [0.0, 0.25, 0.0]])
    kernels = torch.stack([wide, cross, wide])[:, None]
    return F.pixel_unshuffle(F.conv2d(samples, kernels, padding=1, groups=3), 2)[0]
