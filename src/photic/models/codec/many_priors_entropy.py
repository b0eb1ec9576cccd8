"""Many priors that compete: each position of the latents is coded under the set of densities that makes it shortest."""

from __future__ import annotations

import math
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.errors import BitstreamError
from photic.functional.coding_tables import PRECISION_BITS
from photic.functional.entropy_coding import decode_channels, decode_symbols, encode_channels, encode_symbols
from photic.models.codec.density import Density, lowest_symbol
from photic.models.codec.entropy import EntropyModel, Estimated, LatentCoder, bits_of, integers, straight_through, with_noise
from photic.models.codec.factorized_entropy import IntegerCoder, Symbols
from photic.models.codec.tables import FrequencyTables

_NARROWEST, _WIDEST = 0.1, 30.0
"""Spread of the first and the last prior's densities at first; those between are in equal ratios."""
_ESCAPED_BITS = 16.0
"""About what a value beyond its table takes besides the escape symbol, for the choice in training."""
_LENGTH = struct.Struct("<I")
"""Bytes of a tile's choices, before them."""


class ManyPriorsEntropy(EntropyModel):
    """Latents ``(B, M, h, w)``, each position with all its channels under one of P priors of M densities; which, is coded, too.

    The choice is the prior under whose table the rounded latents and its own number take the fewest bits; in training the tables are those
    of the moment, and the gradient of the rate reaches the chosen prior alone. All tables of a channel begin at the same value, so that
    the bits under all priors are sums of rows of one matrix, and P times the latents are never held.

    Source: Brummer & De Vleeschouwer 2021, End-to-end optimized image compression with competition of prior distributions.

    Args:
        num_latents: M.
        num_priors: P.
        num_symbols: of each table, the escape symbol included.
    """

    def __init__(self, num_latents: int, num_priors: int, num_symbols: int) -> None:
        super().__init__()
        self.num_latents = num_latents
        self.num_priors = num_priors
        ends = math.log2(_NARROWEST), math.log2(_WIDEST)
        scales = torch.logspace(*ends, num_priors, base=2.0, dtype=torch.float64).repeat(num_latents) if num_priors > 1 else None
        self.density = Density(num_latents * num_priors, scales)
        """Density of channel c under prior p is number c P + p."""
        self.index_logits = nn.Parameter(torch.zeros(num_priors))
        """How often priors are chosen."""
        self.tables = FrequencyTables(num_latents * num_priors, num_symbols)
        self.index_tables = FrequencyTables(1, num_priors + 1)

    def noisy(self, latents: Tensor) -> Estimated:
        """Return rounded latents, and bits estimated with noise under the chosen priors."""
        index_bits = -F.log_softmax(self.index_logits, dim=0) / math.log(2)
        with torch.no_grad():
            lowest = self._window()
            costs = self._present_costs(lowest)
            choice = (self._all_bits(_places(integers(latents), lowest, costs.shape[1]), costs) + index_bits).argmin(dim=-1)  # (B, h, w)
        channels = torch.arange(self.num_latents, device=latents.device)[:, None, None]
        which = channels * self.num_priors + choice[:, None]
        noisy = with_noise(latents)
        likelihood = self.density.likelihood(noisy.reshape(-1, 1), which.flatten())
        bits = {"latents": bits_of(likelihood.view(latents.shape)), "index": index_bits[choice].flatten(1).sum(dim=1)}
        return Estimated(straight_through(latents, latents.round()), bits)

    def decoded(self, latents: Tensor) -> Tensor:
        """Return rounded latents."""
        return integers(latents)

    def rounded(self, latents: Tensor) -> Estimated:
        """Return what the coder makes."""
        symbols = integers(latents)
        choice = self.chosen(symbols)
        channels = torch.arange(self.num_latents, device=latents.device)[:, None, None]
        bits = {
            "latents": self.tables.bits(symbols, channels * self.num_priors + choice[:, None]),
            "index": self.index_tables.bits(choice, torch.zeros_like(choice)),
        }
        return Estimated(symbols, {name: value.flatten(1).sum(dim=1).float() for name, value in bits.items()})

    def chosen(self, symbols: Tensor, costs: Tensor | None = None) -> Tensor:
        """Return the cheapest prior ``(B, h, w)`` by the integer tables.

        Args:
            symbols: rounded latents ``(B, M, h, w)``, held in floats.
            costs: of :meth:`table_costs`, where they have been made.
        """
        costs = self.table_costs() if costs is None else costs
        lowest = self.tables.lowest.view(self.num_latents, self.num_priors)[:, 0]
        priors = torch.arange(self.num_priors, device=symbols.device)
        index_bits = self.index_tables.bits(priors, torch.zeros_like(priors)).float()
        return (self._all_bits(_places(symbols, lowest, costs.shape[1]), costs) + index_bits).argmin(dim=-1)

    def table_costs(self) -> Tensor:
        """Return bits ``(M, K, P)`` of every entry of the integer tables."""
        return self._by_entry(self.tables.entry_bits().float())

    def _all_bits(self, places: Tensor, costs: Tensor) -> Tensor:
        """Return bits ``(B, h, w, P)`` of each position under all priors, for places ``(B, M, h, w)`` in the tables."""
        num, count, _ = costs.shape
        channels = torch.arange(num, device=places.device)[:, None, None]
        rows = (places + count * channels).movedim(1, -1)
        return F.embedding_bag(rows.reshape(-1, num), costs.flatten(0, 1), mode="sum").view(*rows.shape[:-1], self.num_priors)

    def _window(self) -> Tensor:
        """Return where the tables of each channel begin ``(M,)``: around its densities, by how often their priors are chosen."""
        share = torch.softmax(self.index_logits.double(), dim=0)
        quantiles = self.density.quantiles.double().view(self.num_latents, self.num_priors, 3)
        return lowest_symbol((quantiles * share[:, None]).sum(dim=1), self.tables.frequencies.shape[1] - 1)

    def _present_costs(self, lowest: Tensor) -> Tensor:
        """Return bits ``(M, K, P)`` of every entry of the tables that the densities of the moment would have."""
        inside = self.density.successive(lowest.repeat_interleave(self.num_priors).float(), self.tables.frequencies.shape[1] - 1)
        beyond = (1 - inside.sum(dim=1, keepdim=True)).clamp_min(0)
        bits = -torch.cat([inside, beyond], dim=1).clamp_min(2.0**-PRECISION_BITS).log2()
        bits[:, -1] += _ESCAPED_BITS
        return self._by_entry(bits)

    def _by_entry(self, bits: Tensor) -> Tensor:
        """Return bits ``(M, K, P)`` of entries for bits ``(M P, K)`` of tables."""
        return bits.view(self.num_latents, self.num_priors, -1).transpose(1, 2).contiguous()

    def tabulate(self) -> None:
        """Write the tables."""
        lowest = self._window().repeat_interleave(self.num_priors)
        self.tables.set(*self.density.tabulated(self.tables.frequencies.shape[1] - 1, lowest))
        self.index_tables.set(torch.softmax(self.index_logits.double(), dim=0)[None], self.index_tables.lowest)

    def coder(self) -> LatentCoder:
        """Return what codes latents."""
        self.ready()
        return ManyPriorsCoder(self)

    def auxiliary_loss(self) -> Tensor:
        """Return the loss of the quantiles."""
        return self.density.quantile_loss()

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """Return the quantiles."""
        return [self.density.quantiles]


class ManyPriorsCoder(IntegerCoder):
    """Codes the choice of each position, then the latents, channel by channel, under the tables of the choices.

    A tile is the number of bytes of the choices (four, little-endian), these, and the bytes of the latents.

    Args:
        model: with its tables made.
    """

    model: ManyPriorsEntropy

    def __init__(self, model: ManyPriorsEntropy) -> None:
        super().__init__(model)
        self.tables = model.tables.coding_tables()
        self.index_tables = model.index_tables.coding_tables()
        self._costs = model.table_costs()

    @torch.no_grad()
    def tile_encoded(self, symbols: Symbols) -> bytes:
        """Return symbols ``(C, n)`` of a tile as bytes."""
        held = torch.from_numpy(symbols).to(self._costs)[None, :, None]
        choice = self.model.chosen(held, self._costs)[0, 0].to(torch.int32).cpu().numpy()
        index = encode_symbols(choice, np.zeros(len(choice), np.uint8), self.index_tables)
        return _LENGTH.pack(len(index)) + index + encode_channels(symbols, self.tables, choice)

    def tile_decoded(self, data: bytes, num: int) -> Symbols:
        """Return the symbols ``(C, num)`` of a tile."""
        start = _LENGTH.size
        stop = start + (_LENGTH.unpack_from(data)[0] if len(data) >= start else 0)
        if not start <= stop <= len(data):
            raise BitstreamError(f"latents: {len(data)} bytes do not hold the choices of {num} positions: truncated or damaged")
        choice = decode_symbols(data[start:stop], np.zeros(num, np.uint8), self.index_tables)
        if num and not 0 <= int(choice.min()) <= int(choice.max()) < self.model.num_priors:
            raise BitstreamError(f"latents: a position chooses a prior that is none of {self.model.num_priors}: damaged")
        return decode_channels(data[stop:], (self.model.num_latents, num), self.tables, choice)


def _places(symbols: Tensor, lowest: Tensor, count: int) -> Tensor:
    """Return the place of integers ``(B, M, h, w)`` in tables that begin at ``lowest`` ``(M,)``; the last is that of all beyond."""
    places = symbols.long() - lowest.long()[:, None, None]
    return torch.where((places >= 0) & (places < count - 1), places, count - 1)
