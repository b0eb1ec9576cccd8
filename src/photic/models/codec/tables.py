"""Integer tables of symbols' frequencies as buffers of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from photic.core.errors import DataError
from photic.functional.coding_tables import PRECISION_BITS, CodingTables

ESCAPED_BITS = 16.0
"""About what a value beyond its table takes besides the escape symbol."""


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
        """Return bits of integer-valued symbols under the tables with the given numbers, shape of ``symbols``."""
        last = self.frequencies.shape[1] - 1
        place = symbols.long() - self.lowest[tables]
        inside = (place >= 0) & (place < last)
        frequency = self.frequencies[tables, torch.where(inside, place, last)]
        return PRECISION_BITS - frequency.double().log2() + torch.where(inside, 0.0, ESCAPED_BITS)
