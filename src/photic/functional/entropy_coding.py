"""Integers to bytes and back by asymmetric numeral systems, under integer frequency tables.

Which table each symbol is coded with is known to both sides. Symbols are coded table by table, which lets the coder run over many symbols
at once; the bytes are described in ``docs/bitstream_coding.md``, in enough detail to write another decoder.

Source: J. Duda, Asymmetric numeral systems (2013); R. Bamler, constriction (2022), whose coder does the work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from photic.core.errors import BitstreamError, DataError
from photic.functional.coding_tables import MAX_MAGNITUDE, CodingTables

_MAX_VARINT_BYTES = 5
"""Bytes of the longest number that is read: 35 bits."""
_STATE_BYTES = 8

Symbols = NDArray[np.int32]


class _Groups(NamedTuple):
    """Runs of equal table in coding order."""

    tables: list[int]
    """Table of each run; ascending."""
    lengths: list[int]
    """Symbols of each run; none is empty."""


def encode_symbols(symbols: NDArray[Any], table_of: NDArray[Any], tables: CodingTables) -> bytes:
    """Code symbols, each under a table of its own choice.

    Args:
        symbols: ``(N,)`` integers, absolute values up to 2**20.
        table_of: ``(N,)`` index of each symbol's table.
        tables: the tables.

    Raises:
        DataError: no integers, shapes that differ, an index without a table, a symbol that is too large.

    Example:
        >>> tables = CodingTables([2**23, 2**23 - 1, 1], sizes=[3], lowest=[-1])
        >>> data = encode_symbols(np.array([0, -1, 70, 0]), np.zeros(4, np.uint8), tables)
        >>> decode_symbols(data, np.zeros(4, np.uint8), tables).tolist()
        [0, -1, 70, 0]
    """
    flat = _as_int32(symbols, 1)
    if table_of.shape != flat.shape:
        raise DataError(f"entropy coding: symbols of shape {flat.shape} have table indices of shape {table_of.shape}; they must be equal")
    order, counts = _sorting(table_of, tables.num_tables)
    return _encode(flat.take(order), _groups(counts), tables)


def decode_symbols(data: bytes, table_of: NDArray[Any], tables: CodingTables) -> Symbols:
    """Return the symbols ``(N,)`` int32 that :func:`encode_symbols` coded.

    Args:
        data: the bytes, all of them.
        table_of: ``(N,)`` index of each symbol's table, as in encoding.
        tables: the tables, as in encoding.

    Raises:
        BitstreamError: bytes that no N symbols under these tables give: truncated, damaged, foreign.
        DataError: an index without a table.
    """
    if table_of.ndim != 1:
        raise DataError(f"entropy coding: table indices (N,) are expected, got shape {table_of.shape}")
    order, counts = _sorting(table_of, tables.num_tables)
    symbols = np.empty(len(order), dtype=np.int32)
    symbols[order] = _decode(data, len(order), _groups(counts), tables)
    return symbols


def encode_channels(symbols: NDArray[Any], tables: CodingTables, choice: NDArray[Any] | None = None) -> bytes:
    """Code channels of symbols, each channel under a table of its own, or under one of P.

    Gives the bytes of :func:`encode_symbols` with ``table_of = channel * P + choice`` (row by row), sooner: only positions are sorted.

    Args:
        symbols: ``(C, n)`` integers, absolute values up to 2**20.
        tables: C tables, or C x P: the P of the first channel, then those of the second, ...
        choice: ``(n,)`` which of its P tables every channel uses at a position; None for P = 1.

    Raises:
        DataError: as of :func:`encode_symbols`; a number of tables that is no multiple of C.

    Example:
        >>> tables = CodingTables([2**23, 2**23 - 1, 1] * 2, sizes=[3, 3], lowest=[-1, 4])
        >>> data = encode_channels(np.array([[0, -1], [4, 5]]), tables)
        >>> decode_channels(data, (2, 2), tables).tolist()
        [[0, -1], [4, 5]]
    """
    rows = _as_int32(symbols, 2)
    order, groups = _channel_groups(rows.shape, tables, choice)
    return _encode((rows if order is None else rows.take(order, axis=1)).ravel(), groups, tables)


def decode_channels(data: bytes, shape: tuple[int, int], tables: CodingTables, choice: NDArray[Any] | None = None) -> Symbols:
    """Return the symbols ``(C, n)`` int32 that :func:`encode_channels` coded.

    Args:
        data: the bytes, all of them.
        shape: ``(C, n)``.
        tables: as in encoding.
        choice: as in encoding.

    Raises:
        BitstreamError: bytes that no such symbols give: truncated, damaged, foreign.
        DataError: a choice or a number of tables that does not fit.
    """
    order, groups = _channel_groups(shape, tables, choice)
    rows = _decode(data, shape[0] * shape[1], groups, tables).reshape(shape)
    if order is None:
        return rows
    symbols = np.empty(shape, dtype=np.int32)
    symbols[:, order] = rows
    return symbols


def code_length_bits(symbols: NDArray[Any], table_of: NDArray[Any], tables: CodingTables) -> float:
    """Return how many bits symbols need at least under the tables: the sum of -log2(frequency / 2**24), and the bytes of escaped values.

    Args:
        symbols: integers of any shape.
        table_of: index of each symbol's table; broadcast to the symbols, so ``np.arange(C)[:, None]`` is one table for each row.
        tables: the tables.

    Raises:
        DataError: as of :func:`encode_symbols`.

    Example:
        >>> tables = CodingTables([2**23, 2**23 - 1, 1], sizes=[3], lowest=[-1])
        >>> code_length_bits(np.array([-1, -1, 5]), np.array(0), tables)  # one bit each; 24 for the escape and 8 for its value
        34.0
    """
    _checked_indices(table_of, tables.num_tables)
    values = _as_int32(symbols, symbols.ndim)
    lowest, last = tables.lowest[table_of], tables.sizes[table_of] - 1
    entries = _entries(values, lowest, last)
    bits = float(tables.costs_bits[tables.starts[table_of] + entries].sum())
    where = np.nonzero(entries == last)
    if where[0].size:
        which = np.broadcast_to(table_of, values.shape)[where]
        bits += 8.0 * len(_escaped_bytes(values[where], tables.lowest[which], tables.highest[which]))
    return bits


def _encode(symbols: Symbols, groups: _Groups, tables: CodingTables) -> bytes:
    """Return the bytes of symbols that stand in coding order."""
    if not groups.tables:
        return b""
    lowest, last = _for_each(tables.lowest, groups), _for_each(tables.sizes - 1, groups)
    entries = _entries(symbols, lowest, last)
    escaped = b""
    if (where := np.flatnonzero(entries == last)).size:
        low = lowest[where]
        escaped = _escaped_bytes(symbols[where], low, low + last[where] - 1)
    coder = constriction.stream.stack.AnsCoder()
    stop = len(entries)
    for table, length in zip(reversed(groups.tables), reversed(groups.lengths), strict=True):
        coder.encode_reverse(entries[stop - length : stop], tables.model(table))
        stop -= length
    words = coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
    return _varint(len(escaped)) + escaped + words if escaped or words else b""


def _decode(data: bytes, num: int, groups: _Groups, tables: CodingTables) -> Symbols:
    """Return symbols in coding order."""
    escaped, words = _parts(data, num)
    coder = constriction.stream.stack.AnsCoder(words)
    runs = [coder.decode(tables.model(table), length) for table, length in zip(groups.tables, groups.lengths, strict=True)]
    if not coder.is_empty():
        raise BitstreamError(f"entropy coding: {len(data)} bytes do not end with their {num} symbols: damaged, or coded with other tables")
    if not runs:
        return np.empty(0, dtype=np.int32)
    symbols: Symbols = np.concatenate(runs)
    lowest, last = _for_each(tables.lowest, groups), _for_each(tables.sizes - 1, groups)
    where = np.flatnonzero(symbols == last)
    symbols += lowest
    codes = _escape_codes(escaped)
    if len(codes) != len(where):
        raise BitstreamError(f"entropy coding: {len(where)} symbols are escaped, but {len(codes)} values stand beside them: damaged")
    if len(where):
        distance, low = codes >> 1, lowest[where].astype(np.int64)
        values = np.where(codes & 1, low - 1 - distance, low + last[where] + distance)
        if np.abs(values).max() > MAX_MAGNITUDE:
            raise BitstreamError(f"entropy coding: an escaped value is {values[np.abs(values).argmax()]}, beyond {MAX_MAGNITUDE}: damaged")
        symbols[where] = values
    return symbols


def _parts(data: bytes, num: int) -> tuple[bytes, NDArray[np.uint32]]:
    """Split a stream of ``num`` symbols into the bytes of escaped values and the coder's words."""
    if not data:
        return b"", np.empty(0, dtype=np.uint32)
    length, start = 0, 0
    for start in range(1, _MAX_VARINT_BYTES + 1):
        byte = data[start - 1] if start <= len(data) else 0x80
        length |= (byte & 0x7F) << 7 * (start - 1)
        if byte < 0x80:
            break
    else:
        raise BitstreamError("entropy coding: the stream does not begin with a length: damaged or truncated")
    if data[:start] != _varint(length) or start + length > len(data) or (start + length < len(data) and data[-1] == 0):
        raise BitstreamError(f"entropy coding: {len(data)} bytes are no stream of {length} bytes of escaped values and the coder's words")
    size = len(data) - start - length
    if (not length and not size) or length > _MAX_VARINT_BYTES * num or size > 3 * num + _STATE_BYTES:
        raise BitstreamError(f"entropy coding: {len(data)} bytes cannot be a stream of {num} symbols: damaged, or not a stream")
    words = np.frombuffer(data[start + length :] + bytes(-size % 4), dtype="<u4").astype(np.uint32)
    return data[start : start + length], words


def _escaped_bytes(values: Symbols, lowest: NDArray[Any], highest: NDArray[Any]) -> bytes:
    """Return values outside their tables as bytes: how far outside, doubled, 1 added below; 7 bits a byte, least first."""
    wide = values.astype(np.int64)
    if (largest := int(np.abs(wide).max())) > MAX_MAGNITUDE:
        raise DataError(f"entropy coding: a symbol has the absolute value {largest}; {MAX_MAGNITUDE} is the largest that can be coded")
    codes = np.where(wide > highest, (wide - highest - 1) << 1, (lowest - 1 - wide) << 1 | 1)
    digits = codes[:, None] >> np.arange(0, 7 * _MAX_VARINT_BYTES, 7)
    used = digits > 0
    used[:, 0] = True
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    return ((digits & 0x7F) | more * 0x80)[used].astype(np.uint8).tobytes()


def _escape_codes(data: bytes) -> NDArray[np.int64]:
    """Return the numbers in bytes of escaped values."""
    digits = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(digits < 0x80)
    lengths = np.diff(ends, prepend=-1)
    if len(digits) and (not len(ends) or ends[-1] != len(digits) - 1 or lengths.max() > _MAX_VARINT_BYTES):
        raise BitstreamError("entropy coding: a value outside its table does not end where it should: damaged")
    if ((digits[ends] == 0) & (lengths > 1)).any():
        raise BitstreamError("entropy coding: a value outside its table is longer than it needs to be: damaged")
    if not len(ends):
        return np.empty(0, dtype=np.int64)
    starts = ends - lengths + 1
    places = np.arange(len(digits)) - np.repeat(starts, lengths)
    return np.add.reduceat((digits & 0x7F).astype(np.int64) << 7 * places, starts)


def _varint(number: int) -> bytes:
    """Return a number as bytes, 7 bits each, least first, the top bit set in all but the last."""
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def _entries(symbols: Symbols, lowest: NDArray[Any], last: NDArray[Any]) -> Symbols:
    """Return each symbol's place in its table; ``last``, the escape symbol, where it has none."""
    # Below the table the difference is negative, so that as an unsigned number it lies far above.
    places: NDArray[np.uint32] = np.subtract(symbols, lowest, dtype=np.int32).view(np.uint32)
    return np.minimum(places, last.view(np.uint32), out=places).view(np.int32)


def _for_each(of_tables: NDArray[np.int32], groups: _Groups) -> NDArray[np.int32]:
    """Return a value of each symbol's table, in coding order."""
    return np.repeat(of_tables[groups.tables], groups.lengths)


def _sorting(table_of: NDArray[Any], num_tables: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the stable order by table, and how many symbols each table has."""
    _checked_indices(table_of, num_tables)
    keys = table_of.astype(np.uint8 if num_tables <= 1 << 8 else np.uint16, copy=False)  # NumPy sorts those by counting
    return np.argsort(keys, kind="stable"), np.bincount(keys, minlength=num_tables)


def _groups(counts: NDArray[np.intp]) -> _Groups:
    """Return the runs of tables that have symbols at all."""
    used = np.flatnonzero(counts)
    return _Groups(used.tolist(), counts[used].tolist())


def _channel_groups(shape: tuple[int, ...], tables: CodingTables, choice: NDArray[Any] | None) -> tuple[NDArray[np.intp] | None, _Groups]:
    """Return the order of positions within each channel (None: as they are), and the runs."""
    channels, num = shape
    priors = 1 if choice is None else tables.num_tables // max(channels, 1)
    if channels < 1 or channels * priors != tables.num_tables:
        expected = "one for each channel" if choice is None else "a multiple of the channels"
        raise DataError(f"entropy coding: {tables.num_tables} tables for {channels} channels; {expected} is expected")
    if choice is None:
        return None, _Groups(list(range(channels)) if num else [], [num] * channels if num else [])
    if choice.shape != (num,):
        raise DataError(f"entropy coding: {num} positions have choices of shape {choice.shape}; ({num},) is expected")
    order, counts = _sorting(choice, priors)
    used = np.flatnonzero(counts)
    table = (np.arange(channels)[:, None] * priors + used).ravel()
    return order, _Groups(table.tolist(), counts[used].tolist() * channels)


def _checked_indices(table_of: NDArray[Any], num_tables: int) -> None:
    """Raise DataError unless every index has a table."""
    if table_of.dtype.kind not in "iu":
        raise DataError(f"entropy coding: table indices must be integers, got {table_of.dtype}")
    if table_of.size and (int(table_of.min()) < 0 or int(table_of.max()) >= num_tables):
        raise DataError(f"entropy coding: there are {num_tables} tables, but indices from {table_of.min()} to {table_of.max()}")


def _as_int32(symbols: NDArray[Any], dimensions: int) -> Symbols:
    """Return contiguous int32 symbols, or raise DataError."""
    if symbols.dtype.kind not in "iu" or symbols.ndim != dimensions:
        raise DataError(
            f"entropy coding: symbols must be integers in {dimensions} dimensions, got shape {symbols.shape} of {symbols.dtype}"
        )
    narrow = np.can_cast(symbols.dtype, np.int32)
    if not narrow and symbols.size and max(int(symbols.max()), -int(symbols.min())) > MAX_MAGNITUDE:
        raise DataError(f"entropy coding: symbols from {symbols.min()} to {symbols.max()}; {MAX_MAGNITUDE} is the largest possible")
    return np.ascontiguousarray(symbols, dtype=np.int32)
