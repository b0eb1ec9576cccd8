"""Entropy coding against a coder in plain Python, written from docs/bitstream_coding.md; damaged streams; sizes."""

import time

import numpy as np
import pytest

from photic.core.errors import BitstreamError, DataError
from photic.functional.coding_tables import MAX_ENTRIES, MAX_MAGNITUDE, TOTAL, CodingTables
from photic.functional.entropy_coding import code_length_bits, decode_channels, decode_symbols, encode_channels, encode_symbols


class Reference:
    """The documented stream with Python's own integers: from the tables' three arrays alone."""

    def __init__(self, frequencies, sizes, lowest):
        self.tables, start = [], 0
        for size, low in zip(sizes.tolist(), lowest.tolist(), strict=True):
            steps = frequencies[start : start + size].tolist()
            self.tables.append((low, steps, [sum(steps[:i]) for i in range(size)] if size < 2000 else np.cumsum([0, *steps[:-1]]).tolist()))
            start += size

    @staticmethod
    def order(table_of):
        return sorted(range(len(table_of)), key=lambda index: table_of[index])

    def decode(self, data, table_of):
        if not data:
            data = b"\0"
        num_escaped, position = self.number(data, 0)
        end = position + num_escaped
        words = data[end:] + b"\0" * (-len(data[end:]) % 4)
        words = [int.from_bytes(words[i : i + 4], "little") for i in range(0, len(words), 4)]
        state, symbols, escapes = 0, [0] * len(table_of), []
        for index in self.order(table_of):
            while state < 2**32 and words:
                state = state << 32 | words.pop()
            low, steps, sums = self.tables[table_of[index]]
            quantile = state % 2**24
            entry = max(i for i in range(len(steps)) if sums[i] <= quantile)
            state = steps[entry] * (state >> 24) + quantile - sums[entry]
            symbols[index] = low + entry
            if entry == len(steps) - 1:
                escapes.append((index, low, low + len(steps) - 2))
        assert (state, words) == (0, []), "the coder does not end where it began"
        for index, low, high in escapes:
            code, position = self.number(data, position)
            symbols[index] = low - 1 - code // 2 if code % 2 else high + 1 + code // 2
        assert position == end
        return symbols

    def encode(self, symbols, table_of):
        state, words, escaped = 0, [], b""
        for index in self.order(table_of):
            low, steps, _ = self.tables[table_of[index]]
            high = low + len(steps) - 2
            if symbols[index] > high:
                escaped += self.bytes_of(2 * (symbols[index] - high - 1))
            elif symbols[index] < low:
                escaped += self.bytes_of(2 * (low - 1 - symbols[index]) + 1)
        for index in reversed(self.order(table_of)):
            low, steps, sums = self.tables[table_of[index]]
            entry = symbols[index] - low
            if not 0 <= entry < len(steps) - 1:
                entry = len(steps) - 1
            if state >= steps[entry] << 40:
                words.append(state % 2**32)
                state >>= 32
            state = (state // steps[entry] << 24) + sums[entry] + state % steps[entry]
        while state:
            words.append(state % 2**32)
            state >>= 32
        coded = b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")
        return self.bytes_of(len(escaped)) + escaped + coded if escaped or coded else b""

    @staticmethod
    def number(data, position):
        value, shift = 0, 0
        while True:
            value |= (data[position] & 127) << shift
            position, shift = position + 1, shift + 7
            if data[position - 1] < 128:
                return value, position

    @staticmethod
    def bytes_of(value):
        digits = []
        while value >= 128:
            digits.append(value % 128 + 128)
            value //= 128
        return bytes([*digits, value])


def reference(tables):
    return Reference(tables.frequencies, tables.sizes, tables.lowest)


def gaussians(scales, reach=4.0):
    probabilities, lowest = [], []
    for scale in scales:
        half = int(np.ceil(reach * scale))
        lowest.append(-half)
        probabilities.append([*np.exp(-0.5 * (np.arange(-half, half + 1) / scale) ** 2).tolist(), 1e-6])
    return CodingTables.from_probabilities(probabilities, lowest)


def random_tables(rng):
    """Tables of every kind: two entries, frequencies of 1 and of nearly everything, equal ones, many entries."""
    shapes = [
        [TOTAL - 1, 1],
        [1, TOTAL - 1],
        [TOTAL // 2, TOTAL // 2],
        [1, 1, TOTAL - 3, 1],
        [TOTAL - 256, *[1] * 256],
        [TOTAL // 1024] * 1024,
        [3, 5, 7, TOTAL - 15],
    ]
    for count in (2, 3, 17, 200, 1500):
        weights = rng.random(count) ** rng.integers(1, 30)
        shapes.append(CodingTables.from_probabilities([weights], [0]).frequencies.tolist())
    lowest = rng.integers(-50, 50, len(shapes))
    return CodingTables(np.concatenate(shapes), [len(shape) for shape in shapes], lowest)


@pytest.mark.parametrize("seed", range(6))
def test_a_coder_in_plain_python_reads_the_stream_and_writes_the_same_bytes(seed):
    rng = np.random.default_rng(seed)
    tables = random_tables(rng)
    num = int(rng.integers(1, 600))
    table_of = rng.integers(0, tables.num_tables, num)
    inside = tables.lowest[table_of] + rng.integers(0, tables.sizes[table_of] - 1)
    symbols = np.where(rng.random(num) < 0.05, rng.integers(-(2**20), 2**20 + 1, num), inside).astype(np.int32)
    data = encode_symbols(symbols, table_of, tables)
    peer = reference(tables)
    assert peer.decode(data, table_of.tolist()) == symbols.tolist()
    assert peer.encode(symbols.tolist(), table_of.tolist()) == data
    np.testing.assert_array_equal(decode_symbols(data, table_of, tables), symbols)


def test_every_entry_of_the_largest_table_is_coded_with_its_own_frequency():
    rng = np.random.default_rng(0)
    frequencies = CodingTables.from_probabilities([rng.random(MAX_ENTRIES) ** 8], [0]).frequencies
    tables = CodingTables(frequencies, [MAX_ENTRIES], [-30000])
    symbols = rng.permutation(np.arange(-30000, -30000 + MAX_ENTRIES)[::97]).astype(np.int32)
    table_of = np.zeros(len(symbols), dtype=int)
    data = encode_symbols(symbols, table_of, tables)
    assert reference(tables).encode(symbols.tolist(), table_of.tolist()) == data
    np.testing.assert_array_equal(decode_symbols(data, table_of, tables), symbols)


GOLDEN_TABLES = CodingTables([2**23, 2**22, 2**22 - 1, 1, 16777000, 200, 16], sizes=[4, 3], lowest=[-1, 5])
GOLDEN_SYMBOLS = [0, 5, 1, 4, -1, 6, 5, 300, -1, -1, 5, 0, 1, 1, -1, 5]
GOLDEN_TABLE_OF = [0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]
GOLDEN_BYTES = bytes.fromhex("03d404011300008e1100804b000004")


def test_stored_bytes_decode_to_stored_symbols():
    """Files that exist must stay readable: these bytes never change."""
    assert decode_symbols(GOLDEN_BYTES, np.array(GOLDEN_TABLE_OF), GOLDEN_TABLES).tolist() == GOLDEN_SYMBOLS
    assert encode_symbols(np.array(GOLDEN_SYMBOLS), np.array(GOLDEN_TABLE_OF), GOLDEN_TABLES) == GOLDEN_BYTES


@pytest.mark.parametrize("num", [1, 2, 7, 100, 5000, 60000])
def test_a_stream_is_hardly_longer_than_it_must_be(num):
    rng = np.random.default_rng(num)
    scales = np.exp(np.linspace(np.log(0.11), np.log(64), 64))
    tables = gaussians(scales)
    table_of = rng.integers(0, 64, num).astype(np.uint8)
    symbols = np.rint(rng.normal(0, scales[table_of])).astype(np.int32)
    data = encode_symbols(symbols, table_of, tables)
    np.testing.assert_array_equal(decode_symbols(data, table_of, tables), symbols)
    ideal = code_length_bits(symbols, table_of, tables)
    assert ideal <= 8 * len(data) + 32  # what stands at the bottom of the coder's state is free
    assert 8 * len(data) <= ideal + 8 * 8


def test_the_code_length_is_the_sum_of_the_parts():
    tables = gaussians([0.5, 3.0])
    symbols, table_of = np.array([0, 1, -4, 90, -(2**20)]), np.array([0, 1, 1, 0, 1])
    expected = 0.0
    for symbol, table in zip(symbols.tolist(), table_of.tolist(), strict=True):
        inside = tables.lowest[table] <= symbol <= tables.highest[table]
        entry = symbol - tables.lowest[table] if inside else tables.sizes[table] - 1
        expected -= np.log2(tables.frequencies[tables.starts[table] + entry] / TOTAL)
    expected += 8 * (2 + 3)  # 2 * (90 - 3) takes 8 bits, two bytes; 2 * (2**20 - 13) + 1 takes 21 bits, three
    assert code_length_bits(symbols, table_of, tables) == pytest.approx(expected, rel=1e-12)
    assert code_length_bits(symbols[:0], table_of[:0], tables) == 0


@pytest.mark.parametrize("value", [3, 4, 66, 67, 8258, 8259, -3, -4, -66, -67, 2**20, -(2**20)])
def test_values_outside_a_table_come_back(value):
    tables = gaussians([0.5])  # -2 to 2
    symbols = np.array([0, value, 0, 1, value, -value], dtype=np.int32)
    data = encode_symbols(symbols, np.zeros(6, np.uint8), tables)
    assert decode_symbols(data, np.zeros(6, np.uint8), tables).tolist() == symbols.tolist()
    rows = np.stack([symbols, symbols[::-1]])
    both = gaussians([0.5, 0.25])
    np.testing.assert_array_equal(decode_channels(encode_channels(rows, both), rows.shape, both), rows)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
@pytest.mark.parametrize("value", [MAX_MAGNITUDE + 1, 2**31 - 1])
def test_values_that_are_too_large_are_refused(dtype, value):
    tables = gaussians([0.5])
    for one in [value] if dtype == np.uint32 else [value, -value]:
        with pytest.raises(DataError, match=r"1048576 is the largest"):
            encode_symbols(np.array([0, one], dtype=dtype), np.zeros(2, np.uint8), tables)


def test_a_table_at_the_end_of_the_range_does_not_wrap_around():
    tables = CodingTables([TOTAL - 2, 1, 1] * 2, [3, 3], [MAX_MAGNITUDE - 1, -MAX_MAGNITUDE])
    symbols = np.array([MAX_MAGNITUDE, -MAX_MAGNITUDE, MAX_MAGNITUDE, -MAX_MAGNITUDE, 0, 0])
    table_of = np.array([0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(decode_symbols(encode_symbols(symbols, table_of, tables), table_of, tables), symbols)
    with pytest.raises(DataError, match="2147483648"):
        encode_symbols(np.array([-(2**31)], dtype=np.int32), np.array([0]), tables)


def test_nothing_gives_an_empty_stream():
    tables = gaussians([0.5, 1.0])
    none = np.zeros(0, dtype=np.int32)
    assert encode_symbols(none, none, tables) == b""
    assert decode_symbols(b"", none, tables).shape == (0,)
    assert encode_channels(np.zeros((2, 0), np.int32), tables) == b""
    assert decode_channels(b"", (2, 0), tables).shape == (2, 0)
    for data in (b"\0", b"\1", b"\0\1", b"\1\1"):
        with pytest.raises(BitstreamError):
            decode_symbols(data, none, tables)


@pytest.mark.parametrize("priors", [None, 1, 5, 300])
def test_channels_give_the_bytes_of_the_general_path(priors):
    rng = np.random.default_rng(0)
    channels, num = 6, 150
    tables = gaussians(rng.uniform(0.2, 4, channels * (priors or 1)))
    choice = None if priors is None else rng.integers(0, priors, num)
    symbols = np.rint(rng.normal(0, 3, (channels, num))).astype(np.int32)
    table_of = np.arange(channels)[:, None] * (priors or 1) + (np.zeros(num, int) if choice is None else choice)
    data = encode_channels(symbols, tables, choice)
    assert data == encode_symbols(symbols.ravel(), table_of.ravel(), tables)
    np.testing.assert_array_equal(decode_channels(data, symbols.shape, tables, choice), symbols)
    assert len(data) * 8 == pytest.approx(code_length_bits(symbols, table_of, tables), abs=64)


def test_layout_and_type_of_the_arrays_do_not_matter():
    rng = np.random.default_rng(0)
    tables = gaussians(rng.uniform(0.2, 4, 300))
    symbols, table_of = rng.integers(-9, 10, 1000), rng.integers(0, 300, 1000)
    data = encode_symbols(symbols, table_of, tables)
    for kind in (np.int8, np.int16, np.int32):
        assert encode_symbols(symbols.astype(kind), table_of.astype(np.uint16), tables) == data
    spread = np.zeros(2000, np.int32)
    spread[::2] = symbols
    assert encode_symbols(spread[::2], table_of, tables) == data
    rows = symbols[:900].reshape(300, 3)
    assert encode_channels(np.asfortranarray(rows), tables) == encode_channels(rows, tables)


def test_what_does_not_fit_is_refused():
    tables = gaussians([0.5, 1.0])
    one = np.zeros(1, np.int32)
    for table_of in (np.array([2]), np.array([-1]), np.array([70000]), np.array([0.0])):
        for call in (encode_symbols, code_length_bits):
            with pytest.raises(DataError, match="table"):
                call(one, table_of, tables)
        with pytest.raises(DataError, match="table"):
            decode_symbols(b"", table_of, tables)
    with pytest.raises(DataError, match="must be equal"):
        encode_symbols(one, np.zeros(2, int), tables)
    with pytest.raises(DataError, match="integers in 1 dimensions"):
        encode_symbols(np.zeros(1), np.zeros(1, int), tables)
    with pytest.raises(DataError, match=r"\(N,\)"):
        decode_symbols(b"", np.zeros((1, 1), int), tables)
    with pytest.raises(DataError, match="2 tables for 3 channels; one for each"):
        encode_channels(np.zeros((3, 4), np.int32), tables)
    with pytest.raises(DataError, match="2 tables for 3 channels; a multiple"):
        decode_channels(b"", (3, 4), tables, np.zeros(4, int))
    with pytest.raises(DataError, match=r"4 positions have choices of shape \(3,\)"):
        encode_channels(np.zeros((2, 4), np.int32), tables, np.zeros(3, int))


def coded(seed, num=400):
    rng = np.random.default_rng(seed)
    scales = np.array([0.15, 0.5, 2.0, 9.0])
    tables = gaussians(scales, reach=2.5)  # short enough for some escapes
    table_of = rng.integers(0, 4, num)
    symbols = np.rint(rng.normal(0, scales[table_of] * 1.2)).astype(np.int32)
    return encode_symbols(symbols, table_of, tables), table_of, tables, symbols


def test_a_changed_stream_is_refused_or_is_the_stream_of_other_symbols():
    """Nothing but what the encoder writes is read: whatever decodes gives the same bytes again. (A checksum is the container's.)"""
    data, table_of, tables, symbols = coded(0)
    assert data[0] > 0
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            kind, place = rng.integers(0, 4), int(rng.integers(0, len(changed)))
            if kind == 0:
                changed[place] ^= 1 << int(rng.integers(0, 8))
            elif kind == 1:
                changed[place] = int(rng.integers(0, 256))
            elif kind == 2:
                del changed[place : place + int(rng.integers(1, 9))]
            else:
                changed[place:place] = rng.bytes(int(rng.integers(1, 9)))
            if not changed:
                break
        try:
            other = decode_symbols(bytes(changed), table_of, tables)
        except BitstreamError:
            refused += 1
            continue
        assert encode_symbols(other, table_of, tables) == bytes(changed)
        assert bytes(changed) == data or not np.array_equal(other, symbols)
    assert refused > 2900


def test_every_truncation_and_the_wrong_tables_are_refused():
    data, table_of, tables, _ = coded(2)
    for end in range(1, len(data)):
        with pytest.raises(BitstreamError):
            decode_symbols(data[:end], table_of, tables)
    for other in (table_of[:-2], table_of[:1], table_of[::-1] ^ 1):
        with pytest.raises(BitstreamError):
            decode_symbols(data, other, tables)


def test_noise_and_malformed_parts_are_refused():
    _, table_of, tables, _ = coded(3)
    rng = np.random.default_rng(0)
    for size in [*range(1, 60), 500, 5000]:
        for _ in range(10):
            with pytest.raises(BitstreamError):
                decode_symbols(rng.bytes(size - 1) + b"\xee", table_of, tables)
    for data in (b"\x80", b"\xff" * 5 + b"\1", b"\x80\0", b"\x81\0\1\1", b"\5\1\1", b"\0\1\0", b"\2\x80\x80\1", b"\1\1\1\1\1\1"):
        with pytest.raises(BitstreamError):
            decode_symbols(data, table_of, tables)


def test_an_escaped_value_beyond_the_range_is_refused():
    tables = CodingTables([TOTAL - 1, 1], [2], [0])
    table_of = np.zeros(1, np.uint8)
    data = encode_symbols(np.array([MAX_MAGNITUDE]), table_of, tables)
    assert decode_symbols(data, table_of, tables).tolist() == [MAX_MAGNITUDE]
    words = data[1 + data[0] :]
    for escaped in (Reference.bytes_of(2 * MAX_MAGNITUDE), Reference.bytes_of(2 * MAX_MAGNITUDE + 1), Reference.bytes_of(2**34)):
        with pytest.raises(BitstreamError, match="beyond 1048576"):
            decode_symbols(bytes([len(escaped)]) + escaped + words, table_of, tables)
    with pytest.raises(BitstreamError, match="longer than it needs"):
        decode_symbols(b"\2\x81\0" + words, table_of, tables)


def test_long_garbage_for_few_symbols_costs_nothing():
    tables = gaussians([0.5])
    garbage = b"\0" + b"\x55" * 50_000_000
    start = time.process_time()
    with pytest.raises(BitstreamError, match="cannot be a stream of 3 symbols"):
        decode_symbols(garbage, np.zeros(3, np.uint8), tables)
    assert time.process_time() - start < 0.5
