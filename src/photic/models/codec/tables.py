"""Integer tables of symbols' frequencies as buffers of a network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from photic.core.errors import DataError
from photic.functional.coding_tables import PRECISION_BITS, TOTAL, CodingTables


class _Trimmed(NamedTuple):
    """What is left of tables without outer symbols of frequency 1, as they are coded with."""

    first: Tensor
    """``(T,)`` place of the first symbol that is left."""
    stop: Tensor
    """``(T,)`` place behind the last one."""
    escape: Tensor
    """``(T,)`` frequency of the escape symbol."""


class FrequencyTables(nn.Module):
    """T tables of K symbols each: integers of at least 1 that add up to 2^24; the last symbol stands for all beyond the table.

    Args:
        num_tables: T.
        num_symbols: K, the escape symbol included.
    """

    frequencies: Tensor
    lowest: Tensor

    def __init__(self, num_tables: int, num_symbols: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.zeros(num_tables, num_symbols, dtype=torch.int32))
        self.register_buffer("lowest", torch.zeros(num_tables, dtype=torch.int32))

    def set(self, probabilities: Tensor, lowest: Tensor) -> None:
        """Make tables of probabilities.

        Args:
            probabilities: ``(T, K - 1)`` of the symbols; what is missing to 1 is the escape symbol's.
            lowest: ``(T,)``: value of the first symbol.

        Raises:
            DataError: they are no probabilities.
        """
        given = probabilities.detach().double().cpu()
        if not bool(torch.isfinite(given).all()) or bool((given.sum(dim=1) > 1 + 1e-3).any()):
            raise DataError("tables: expected probabilities (T, K) that are finite and add up to at most 1; training went astray")
        whole = torch.cat([given, (1 - given.sum(dim=1, keepdim=True)).clamp_min(0)], dim=1)
        made = CodingTables.from_probabilities(list(whole.numpy()), lowest.cpu().numpy())
        self.frequencies.copy_(torch.from_numpy(made.frequencies.copy()).view_as(self.frequencies))
        self.lowest.copy_(lowest)

    def coding_tables(self) -> CodingTables:
        """Return the tables for a coder, without outer symbols of frequency 1: those are escaped, which makes decoding quicker.

        Raises:
            DataError: they have not been made yet.
        """
        count, size = self.frequencies.shape
        return CodingTables(self.frequencies.cpu().numpy().ravel(), [size] * count, self.lowest.cpu().numpy()).trimmed()

    def bits(self, symbols: Tensor, tables: Tensor) -> Tensor:
        """Return bits of integer-valued symbols under the tables with the given numbers, shape of ``symbols``; escaped values included."""
        trimmed = self._trimmed()
        place = symbols.long() - self.lowest[tables]
        first, stop = trimmed.first[tables], trimmed.stop[tables]
        inside = (place >= first) & (place < stop)
        frequency = torch.where(inside, self.frequencies[tables, torch.where(inside, place, first)], trimmed.escape[tables])
        return PRECISION_BITS - frequency.double().log2() + torch.where(inside, 0.0, _escaped_bits(place, first, stop))

    def entry_bits(self) -> Tensor:
        """Return bits ``(T, K)`` of every entry; of the last, the escape symbol's, with the least that a value beyond the table takes."""
        trimmed = self._trimmed()
        place = torch.arange(self.frequencies.shape[1], device=self.frequencies.device)
        first, stop = trimmed.first[:, None], trimmed.stop[:, None]
        inside = (place >= first) & (place < stop)
        frequency = torch.where(inside, self.frequencies, trimmed.escape[:, None])
        return PRECISION_BITS - frequency.double().log2() + torch.where(inside, 0.0, _escaped_bits(place, first, stop))

    def _trimmed(self) -> _Trimmed:
        symbols = self.frequencies[:, :-1]
        place = torch.arange(symbols.shape[1], device=symbols.device)
        usual = symbols > 1
        some = usual.any(dim=1)  # one symbol always stays
        first = torch.where(some, torch.where(usual, place, len(place)).amin(dim=1), 0)
        stop = torch.where(some, torch.where(usual, place, -1).amax(dim=1) + 1, 1)
        kept = (place >= first[:, None]) & (place < stop[:, None])
        return _Trimmed(first, stop, TOTAL - (symbols * kept).sum(dim=1))


def _escaped_bits(place: Tensor, first: Tensor, stop: Tensor) -> Tensor:
    """Return what values outside a table take besides the escape symbol: whole bytes of 7 bits."""
    number = torch.where(place < first, 2 * (first - 1 - place) + 1, 2 * (place - stop))
    num_bytes = 1 + (number >= 1 << 7).int() + (number >= 1 << 14).int() + (number >= 1 << 21).int()
    return 8.0 * num_bytes
