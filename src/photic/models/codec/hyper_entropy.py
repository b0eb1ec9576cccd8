"""The mean-scale hyperprior: latents are Gaussians whose means and scales come from hyper-latents that are coded beside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from photic.core.errors import BitstreamError
from photic.functional.entropy_coding import decode_channels, decode_symbols, encode_channels, encode_symbols
from photic.models.codec import gaussian
from photic.models.codec.activity_start import DENSITY_SCALES, start_as_activity
from photic.models.codec.density import Density
from photic.models.codec.entropy import (
    Encoded,
    EntropyModel,
    Estimated,
    LatentCoder,
    Opened,
    bits_of,
    check_values,
    integers,
    straight_through,
    tile_boxes,
    with_noise,
)
from photic.models.codec.integer_synthesis import FRACTION_BITS, HALO, IntegerSynthesis
from photic.models.codec.tables import FrequencyTables

HYPER_STRIDE = 4
"""Latents per hyper-latent, each way."""
_NUM_HYPER_SYMBOLS = 128
_UNIT = 2.0**-FRACTION_BITS


class MeanScaleHyperprior(EntropyModel):
    """Means and scales of latents ``(B, M, h, w)`` from integer hyper-latents ``(B, N, h/4, w/4)``.

    In evaluation the hyper-synthesis runs in integers and scales are rounded to 64 levels, as in files.

    Source: Ballé et al. 2018, Variational image compression with a scale hyperprior; Minnen et al. 2018, Joint autoregressive and
    hierarchical priors for learned image compression (the means); Ballé et al. 2019 (integers).

    Args:
        num_latents: M.
        width: N, channels of the hyper-latents and between the hyper-analysis' convolutions.
        synthesis_widths: channels after the two transposed convolutions; None is M and 3 M / 2.
    """

    def __init__(self, num_latents: int, width: int, synthesis_widths: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.num_latents = num_latents
        self.width = width
        self.side_stride = HYPER_STRIDE
        first, second = synthesis_widths or (num_latents, num_latents * 3 // 2)
        self.analysis = nn.Sequential(
            nn.Conv2d(num_latents, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, stride=2, padding=2),
        )
        self.synthesis = nn.Sequential(
            nn.ConvTranspose2d(width, first, 5, stride=2, padding=2, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(first, second, 5, stride=2, padding=2, output_padding=1),
            nn.ReLU(),
            nn.Conv2d(second, 2 * num_latents, 3, padding=1),
        )
        last = self.synthesis[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():  # scales begin at 1: far from the bound, where gradients are one-sided
            last.bias[num_latents:].fill_(1.0)
        self.density = Density(width)
        self.integer_synthesis = IntegerSynthesis(self._layers())
        self.hyper_tables = FrequencyTables(width, _NUM_HYPER_SYMBOLS)
        self.scale_tables = FrequencyTables(gaussian.NUM_SCALES, gaussian.NUM_SYMBOLS)
        self.register_buffer("scale_limits", gaussian.scale_limits(_UNIT))
        self.register_buffer("spread", torch.ones(num_latents))

    def start(self, spread: Tensor) -> None:
        """Begin as an adaptive coder, for latents that mean something before training.

        Args:
            spread: ``(M,)`` about how large latents are.
        """
        self.spread.copy_(spread)
        start_as_activity(self.analysis, self.synthesis)
        first, second, others = DENSITY_SCALES
        self.density = Density(self.width, torch.tensor([first, second, *[others] * (self.width - 2)]))

    scale_limits: Tensor
    spread: Tensor
    """``(M,)``: about how large latents are; hyper-analysis and hyper-synthesis see them divided by it."""

    def _layers(self) -> list[nn.Conv2d | nn.ConvTranspose2d]:
        return [layer for layer in self.synthesis if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]

    def noisy(self, latents: Tensor) -> Estimated:
        """Return latents rounded around their means, and bits estimated with noise."""
        spread = self.spread[:, None, None]
        hyper = self.analysis(latents / spread)
        noisy_hyper = with_noise(hyper)
        means, scales = (spread * part for part in self.synthesis(straight_through(hyper, hyper.round())).chunk(2, dim=1))
        likelihood = gaussian.likelihood(with_noise(latents) - means, scales)
        rounded = straight_through(latents, (latents - means).round() + means)
        return Estimated(rounded, {"latents": bits_of(likelihood), "hyper": bits_of(self.density.likelihood_of_maps(noisy_hyper))})

    def decoded(self, latents: Tensor) -> Tensor:
        """Return latents rounded around their means."""
        means = self.means(self.hyper_of(latents))
        return integers(latents - means) + means

    def rounded(self, latents: Tensor) -> Estimated:
        """Return what the coder makes."""
        hyper = self.hyper_of(latents)
        means, levels = self.distribution(hyper)
        symbols = integers(latents - means)
        channels = torch.arange(self.width, device=hyper.device)[None, :, None, None].expand(hyper.shape)
        bits = {
            "latents": self.scale_tables.bits(symbols, levels).flatten(1).sum(dim=1),
            "hyper": self.hyper_tables.bits(hyper, channels).flatten(1).sum(dim=1),
        }
        return Estimated(symbols + means, {name: value.float() for name, value in bits.items()})

    def hyper_of(self, latents: Tensor) -> Tensor:
        """Return integer hyper-latents ``(B, N, h/4, w/4)`` of latents; in the precision of the weights, whatever autocast says."""
        first = self.analysis[0]
        assert isinstance(first, nn.Conv2d)
        with torch.autocast(latents.device.type, enabled=False):
            relative = latents / self.spread.to(latents)[:, None, None]
            return integers(self.analysis(relative.to(first.weight.dtype)).float())

    def distribution(self, hyper: Tensor) -> tuple[Tensor, Tensor]:
        """Return means (float32, in steps of 2^-10) and numbers of the scale tables ``(B, M, h, w)`` for integer hyper-latents."""
        means, scales = self.integer_synthesis(hyper).chunk(2, dim=1)
        return _in_units(means), torch.bucketize(scales.long().contiguous(), self.scale_limits.to(scales.device))

    def means(self, hyper: Tensor) -> Tensor:
        """Return the means of :meth:`distribution` alone."""
        return _in_units(self.integer_synthesis(hyper).chunk(2, dim=1)[0])

    def tabulate(self) -> None:
        """Write integer weights and tables."""
        self.integer_synthesis.set(self._layers(), self.spread.repeat(2))
        self.hyper_tables.set(*self.density.tabulated(_NUM_HYPER_SYMBOLS - 1))
        self.scale_tables.set(*gaussian.tabulated())

    def coder(self) -> LatentCoder:
        """Return what codes latents."""
        self.ready()
        return HyperCoder(self)

    def auxiliary_loss(self) -> Tensor:
        """Return the loss of the hyper-latents' quantiles."""
        return self.density.quantile_loss()

    def transform_parameters(self) -> list[nn.Parameter]:
        """Return parameters of hyper-analysis and hyper-synthesis."""
        return [*self.analysis.parameters(), *self.synthesis.parameters()]

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """Return the quantiles."""
        return [self.density.quantiles]


class HyperCoder(LatentCoder):
    """Codes hyper-latents of the whole picture as the side part, and latents tile by tile, under the scale table of each.

    Args:
        model: with its tables made.
    """

    def __init__(self, model: MeanScaleHyperprior) -> None:
        self.model = model
        self.hyper_tables = model.hyper_tables.coding_tables()
        self.scale_tables = model.scale_tables.coding_tables()

    @torch.no_grad()
    def encode(self, latents: Tensor, tile: int) -> Encoded:
        """Return latents ``(C, h, w)`` as bytes, in tiles of ``tile`` x ``tile``."""
        check_values(self.model, latents)
        hyper = self.model.hyper_of(latents[None].float())
        opened = _HyperOpened(self, hyper, (latents.shape[1], latents.shape[2]), tile)
        coded, decoded = [], torch.empty_like(latents, dtype=torch.float32, device="cpu")
        for row, column, top, bottom, left, right in tile_boxes(opened.size, tile):
            means, levels = opened.distribution(row, column)
            symbols = integers(latents[:, top:bottom, left:right].float().cpu() - means)
            decoded[:, top:bottom, left:right] = symbols + means
            coded.append(encode_symbols(symbols.int().numpy().ravel(), levels.to(torch.uint8).numpy().ravel(), self.scale_tables))
        side = encode_channels(hyper[0].flatten(1).int().cpu().numpy(), self.hyper_tables)
        return Encoded(side, coded, decoded)

    def open(self, side: bytes, size: tuple[int, int], tile: int) -> Opened:
        """Decode the hyper-latents."""
        rows, columns = (side_length // HYPER_STRIDE for side_length in size)
        if (rows * HYPER_STRIDE, columns * HYPER_STRIDE) != size:
            raise BitstreamError(f"hyper-latents: latents of {size[0]} x {size[1]} are no multiples of {HYPER_STRIDE}: none of this model")
        symbols = decode_channels(side, (self.model.width, rows * columns), self.hyper_tables)
        hyper = torch.from_numpy(symbols).view(1, self.model.width, rows, columns)
        return _HyperOpened(self, hyper, size, tile)


class _HyperOpened(Opened):
    """Means and scales of tiles, from integer hyper-latents ``(1, N, h/4, w/4)``."""

    def __init__(self, coder: HyperCoder, hyper: Tensor, size: tuple[int, int], tile: int) -> None:
        self.coder, self.hyper, self.size, self.tile_side = coder, hyper.cpu(), size, tile

    @torch.no_grad()
    def distribution(self, row: int, column: int) -> tuple[Tensor, Tensor]:
        """Return means and scale tables ``(C, th, tw)`` of a tile; integers, so they are those of the whole picture."""
        spans = []
        for place, length in zip((row, column), self.size, strict=True):
            first, last = place * self.tile_side, min((place + 1) * self.tile_side, length)
            start = max(0, first // HYPER_STRIDE - HALO)
            spans.append((start, min(-(-last // HYPER_STRIDE) + HALO, length // HYPER_STRIDE), first, last))
        (top, bottom, _, _), (left, right, _, _) = spans
        made = self.coder.model.distribution(self.hyper[:, :, top:bottom, left:right].double())
        down, across = (slice(first - HYPER_STRIDE * start, last - HYPER_STRIDE * start) for start, _, first, last in spans)
        means, levels = (part[0, :, down, across] for part in made)
        return means, levels

    def tile(self, row: int, column: int, data: bytes) -> Tensor:
        """Return the latents of a tile."""
        means, levels = self.distribution(row, column)
        symbols = decode_symbols(data, levels.to(torch.uint8).numpy().ravel(), self.coder.scale_tables)
        return torch.from_numpy(symbols).view(means.shape).float() + means


def _in_units(means: Tensor) -> Tensor:
    """Return integers in steps of 2^-10 as float32."""
    return (means * _UNIT).float()
