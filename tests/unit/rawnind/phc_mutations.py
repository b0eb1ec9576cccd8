"""Broken .phc files by the thousand: with checksums as they were, and with checksums that fit again, so that more is reached."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

HEADER = 40


def index_of(data: bytes) -> list[tuple[int, int, int]] | None:
    """Return (place of its CRC in the index, start, length) of each part, or None where there is no index to follow."""
    rows, columns, tile = struct.unpack_from("<HHH", data, 16)
    if not tile or not rows or not columns:
        return None
    count, place, found = 2 + -(-rows // tile) * -(-columns // tile), HEADER, []
    if count > len(data):
        return None
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if place >= len(data) or shift > 28:
                return None
            length |= (data[place] & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if data[place - 1] < 0x80:
                break
        if place + 4 > len(data):
            return None
        found.append((place, length))
        place += 4
    parts = []
    for at, length in found:
        parts.append((at, place, length))
        place += length
    return parts


def with_sums(data: bytes) -> bytes:
    """Return a file with checksums that fit its content, as far as it can be followed."""
    if len(data) < HEADER:
        return data
    made = bytearray(data)
    struct.pack_into("<I", made, 36, zlib.crc32(bytes(made[:36])))
    for count, (at, start, length) in enumerate(index_of(data) or []):
        struct.pack_into("<I", made, at, zlib.crc32(bytes(made[36:40]) + struct.pack("<I", count) + bytes(made[start : start + length])))
    return bytes(made)


class Mutations:
    """Draws broken files.

    Args:
        files: whole ones.
        foreign: other files.
        seed: of the drawing.
    """

    def __init__(self, files: list[bytes], foreign: list[bytes], seed: int = 0) -> None:
        self.files, self.foreign, self.random = files, foreign, random.Random(seed)

    def broken(self, count: int) -> Iterator[bytes]:
        """Give files whose checksums were left as they were."""
        for _ in range(count):
            yield self._changed(self.random.choice(self.files))

    def resealed(self, count: int) -> Iterator[bytes]:
        """Give files that were changed, and their checksums after that."""
        kinds = (self._field, self._field, self._lengths, self._metadata, self._stream, self._changed)
        for _ in range(count):
            yield with_sums(self.random.choice(kinds)(self.random.choice(self.files)))

    def streams(self, count: int) -> Iterator[bytes]:
        """Give files with changed streams of latents and hyper-latents, and checksums that fit."""
        for _ in range(count):
            yield with_sums(self._stream(self.random.choice(self.files)))

    def _changed(self, data: bytes) -> bytes:
        draw = self.random
        kind = draw.randrange(8)
        made = bytearray(data)
        at = draw.randrange(len(made))
        if kind <= 1:
            for _ in range(draw.choice((1, 1, 2, 8, 64))):
                made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del made[at:]
        elif kind == 3:
            made[at:at] = draw.randbytes(draw.choice((1, 2, 16, 300)))
        elif kind == 4:
            del made[at : at + draw.choice((1, 2, 16, 100))]
        elif kind == 5:
            other = draw.choice(self.files)
            cut = draw.randrange(len(other))
            made[at:] = other[cut:]
        elif kind == 6:
            made = bytearray(draw.choice(self.foreign))
            if draw.random() < 0.5:
                made[:HEADER] = data[:HEADER]
        else:
            made = bytearray(draw.randbytes(draw.choice((0, 3, 40, 41, 400, 5000))))
            if draw.random() < 0.5:
                made[:5] = data[:5]
        return bytes(made)

    def _field(self, data: bytes) -> bytes:
        """Change a field of the header: to the ends of its range, to its neighbours, to anything."""
        draw, made = self.random, bytearray(data)
        place, kind = draw.choice(((4, "B"), (5, "B"), (6, "B"), (7, "B"), (8, "I"), (12, "I"), (16, "H"), (18, "H"), (20, "H"), (22, "H")))
        most = 256 ** struct.calcsize(kind) - 1
        (old,) = struct.unpack_from("<" + kind, made, place)
        near = draw.choice((old - 1, old + 1, old // 2, 2 * old, old + 8))
        value = draw.choice((0, 1, most, most // 2, draw.randrange(most), near, near, near))
        struct.pack_into("<" + kind, made, place, min(most, max(0, value)))
        if draw.random() < 0.2:
            made[24 + draw.randrange(12)] ^= 1
        return bytes(made)

    def _lengths(self, data: bytes) -> bytes:
        """Change lengths in the index, sometimes so that they still add up."""
        draw, made = self.random, bytearray(data)
        parts = index_of(data)
        assert parts is not None
        first, second = draw.choice(parts)[0] - 1, draw.choice(parts)[0] - 1
        step = draw.choice((1, -1, 2, 7, 64))
        made[first] = (made[first] + step) % 256
        if draw.random() < 0.7:
            made[second] = (made[second] - step) % 256
        return bytes(made)

    def _metadata(self, data: bytes) -> bytes:
        return self._within(data, 0)

    def _stream(self, data: bytes) -> bytes:
        parts = index_of(data)
        assert parts is not None
        return self._within(data, self.random.randrange(1, len(parts)))

    def _within(self, data: bytes, part: int) -> bytes:
        """Change bytes of a part, its length kept."""
        draw, made = self.random, bytearray(data)
        parts = index_of(data)
        assert parts is not None
        _, start, length = parts[part]
        if not length:
            return bytes(made)
        if draw.random() < 0.3:
            at = draw.randrange(length)
            count = draw.randrange(1, length - at + 1)
            made[start + at : start + at + count] = draw.choice((draw.randbytes(count), bytes(count), b"\xff" * count))
        else:
            for _ in range(draw.choice((1, 1, 2, 8))):
                made[start + draw.randrange(length)] ^= 1 << draw.randrange(8)
        return bytes(made)
