"""Integer frequency tables for entropy coding: what coder and decoder share, the same on every machine.

A table gives each symbol of a range, and the escape symbol that stands for everything outside it, a frequency of at least 1; the
frequencies of a table add up to 2**24. Floating-point probabilities are turned into frequencies once, where a model is made; from then on
only the integers count.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import constriction
import numpy as np
from numpy.typing import ArrayLike, NDArray

from photic.core.errors import DataError

PRECISION_BITS = 24
TOTAL = 1 << PRECISION_BITS
"""What the frequencies of a table add up to."""
MAX_MAGNITUDE = 1 << 20
"""Largest absolute value of a symbol, in a table or escaped."""
MAX_TABLES = 1 << 16
MAX_ENTRIES = 1 << 16
"""Most entries of one table, the escape symbol included."""


class CodingTables:
    """Frequency tables, several at once.

    Table t holds ``sizes[t]`` frequencies: those of the symbols ``lowest[t]``, ``lowest[t] + 1``, ..., and last that of the escape symbol.

    Args:
        frequencies: the tables one after another, integers of at least 1, of each table adding up to 2**24.
        sizes: ``(T,)`` number of frequencies of each table, 2 to 65536.
        lowest: ``(T,)`` lowest symbol of each table.

    Raises:
        DataError: arrays that are no tables.

    Example:
        >>> tables = CodingTables([2**23, 2**23 - 1, 1], sizes=[3], lowest=[-1])  # -1, 0, anything else
        >>> tables.num_tables, tables.highest.tolist()
        (1, [0])
    """

    def __init__(self, frequencies: ArrayLike, sizes: ArrayLike, lowest: ArrayLike) -> None:
        self.frequencies = _integers("frequencies", frequencies, 1, TOTAL - 1).astype(np.int32)
        """All frequencies ``(sum of sizes,)``."""
        self.sizes = _integers("sizes", sizes, 2, MAX_ENTRIES).astype(np.int32)
        """``(T,)`` number of frequencies of each table, that of the escape symbol included."""
        self.lowest = _integers("lowest", lowest, -MAX_MAGNITUDE, MAX_MAGNITUDE).astype(np.int32)
        """``(T,)`` lowest symbol of each table."""
        self._check()
        self.highest = self.lowest + self.sizes - 2
        """``(T,)`` highest symbol of each table."""
        self.starts = np.concatenate([[0], np.cumsum(self.sizes[:-1], dtype=np.int64)])
        """``(T,)`` where each table begins in ``frequencies``."""
        for array in (self.frequencies, self.sizes, self.lowest, self.highest, self.starts):
            array.setflags(write=False)
        self._models: list[Any] = [None] * len(self.sizes)

    @classmethod
    def from_probabilities(cls, probabilities: Sequence[ArrayLike], lowest: ArrayLike) -> CodingTables:
        """Make tables from floating-point probabilities; what a probability is rounded to is never zero.

        Each entry gets 1 and its share of the rest, rounded down; what is left goes to the largest remainders, the first of equal ones.

        Args:
            probabilities: of each table ``(n,)`` values of at least 0, the last that of the escape symbol; they need not add up to 1.
            lowest: ``(T,)`` lowest symbol of each table.

        Raises:
            DataError: no probabilities, negative or non-finite ones, none above 0; limits as of the class.

        Example:
            >>> CodingTables.from_probabilities([[0.25, 0.5, 0.25, 0.0]], lowest=[-1]).frequencies.tolist()
            [4194304, 8388607, 4194304, 1]
        """
        frequencies = [_shares(index, np.asarray(one, dtype=np.float64)) for index, one in enumerate(probabilities)]
        if not frequencies:
            raise DataError("coding tables: probabilities of at least one table are needed, got none")
        return cls(np.concatenate(frequencies), [len(one) for one in frequencies], lowest)

    @property
    def num_tables(self) -> int:
        """Number of tables T."""
        return len(self.sizes)

    @cached_property
    def costs_bits(self) -> NDArray[np.float64]:
        """Ideal bits of each entry ``(sum of sizes,)``, in the order of ``frequencies``."""
        return PRECISION_BITS - np.log2(self.frequencies)

    def model(self, table: int) -> Any:
        """Return the coder's model of one table; it is made once.

        The coder is given floats and makes integers of its own from them: one for each entry, and of the remaining 2**24 - n a share,
        rounded down, proportional to the floats. Frequencies less 1 add up to just that remainder, so every share is the float itself and
        exact (integers below 2**24): it then codes with our frequencies and no others. Tests hold that against a coder in plain Python.
        """
        model = self._models[table]
        if model is None:
            start = self.starts[table]
            shares = self.frequencies[start : start + self.sizes[table]].astype(np.float64) - 1.0
            model = self._models[table] = constriction.stream.model.Categorical(shares, perfect=False)
        return model

    def trimmed(self) -> CodingTables:
        """Return tables without the outermost symbols of frequency 1, whose share goes to the escape symbol; one symbol always stays.

        Tables that were made equally long for the sake of a rectangular array become as short as their own symbols, and decoding, which
        searches them, up to twice as fast. What is cut is less probable than 2**-24, if it can happen at all.

        Example:
            >>> tables = CodingTables([1, 1, 2**24 - 5, 1, 1, 1], sizes=[6], lowest=[-2]).trimmed()
            >>> tables.frequencies.tolist(), tables.lowest.tolist()
            ([16777211, 5], [0])
        """
        kept: list[NDArray[np.int32]] = []
        lowest = self.lowest.copy()
        for table, (start, size) in enumerate(zip(self.starts.tolist(), self.sizes.tolist(), strict=True)):
            symbols = self.frequencies[start : start + size - 1]
            inner = np.flatnonzero(symbols > 1)
            first, stop = (int(inner[0]), int(inner[-1]) + 1) if inner.size else (0, 1)
            lowest[table] += first
            kept += [symbols[first:stop], np.array([TOTAL - symbols[first:stop].sum(dtype=np.int64)], dtype=np.int32)]
        return CodingTables(np.concatenate(kept), [len(symbols) + 1 for symbols in kept[::2]], lowest)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles carry the integers; the coder's models are made anew."""
        return CodingTables, (self.frequencies, self.sizes, self.lowest)

    def _check(self) -> None:
        """Raise DataError unless the three arrays fit together."""
        sizes, num = self.sizes, len(self.sizes)
        if not 1 <= num <= MAX_TABLES:
            raise DataError(f"coding tables: 1 to {MAX_TABLES} tables are possible, got {num}")
        if len(self.lowest) != num:
            raise DataError(f"coding tables: sizes describe {num} tables, lowest {len(self.lowest)}; one value for each table is expected")
        if (total := int(sizes.sum(dtype=np.int64))) != len(self.frequencies):
            raise DataError(f"coding tables: the sizes add up to {total}, but there are {len(self.frequencies)} frequencies")
        starts = np.concatenate([[0], np.cumsum(sizes[:-1], dtype=np.int64)])
        sums = np.add.reduceat(self.frequencies, starts, dtype=np.int64)
        if (wrong := np.flatnonzero(sums != TOTAL)).size:
            raise DataError(f"coding tables: the frequencies of table {wrong[0]} add up to {sums[wrong[0]]}, not to {TOTAL}")
        if (wrong := np.flatnonzero(self.lowest + sizes - 2 > MAX_MAGNITUDE)).size:
            highest = int(self.lowest[wrong[0]]) + int(sizes[wrong[0]]) - 2
            raise DataError(f"coding tables: table {wrong[0]} reaches up to the symbol {highest}; {MAX_MAGNITUDE} is the largest possible")


def _integers(name: str, values: ArrayLike, least: int, most: int) -> NDArray[np.int64]:
    """Return one-dimensional integers within limits, or raise DataError."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise DataError(f"coding tables: {name} must be integers in one dimension, got shape {array.shape} of {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < least or high > most:
        raise DataError(f"coding tables: {name} must lie in {least} to {most}, got {low} to {high}")
    return array.astype(np.int64)


def _shares(table: int, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the frequencies of one table."""
    count = probabilities.size
    if probabilities.ndim != 1 or not 2 <= count <= MAX_ENTRIES:
        raise DataError(
            f"coding tables: probabilities of table {table} must be 2 to {MAX_ENTRIES} values in one dimension (the last is of the escape "
            f"symbol), got shape {probabilities.shape}"
        )
    largest = probabilities.max()
    if not (np.isfinite(probabilities).all() and probabilities.min() >= 0 and largest > 0):
        raise DataError(f"coding tables: probabilities of table {table} must be finite, at least 0, and not all 0")
    relative = probabilities / largest  # the sum of very large ones would overflow
    exact = relative / relative.sum() * (TOTAL - count)
    shares: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    left = TOTAL - count - int(shares.sum())
    # Rounding of the sum itself can put a few too many or too few on the table: the largest entry bears them.
    given = min(max(left, 0), count)
    shares[np.argsort(shares - exact, kind="stable")[:given]] += 1
    shares[np.argmax(shares)] += left - given
    shares += 1
    return shares
