"""TIFF and DNG files written piece by piece: pixels as they come, then the directory."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from photic.core.errors import DataError
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag

_LARGEST_FILE = (1 << 32) - (1 << 20)
_STRIPS, _TILES = (273, 279), (324, 325)


def write_tiff(
    path: Path, tags: Mapping[int, Tag], pieces: Iterable[bytes], *, tiled: bool = False, below: Mapping[int, Directory] | None = None
) -> None:
    """Write a little-endian file with one picture.

    Args:
        path: where.
        tags: of its directory, without the places of the pixels.
        pieces: strips, or tiles, encoded, in order.
        tiled: whether they are tiles.
        below: directories below its own, by the tag that points to them (EXIF, GPS).

    Raises:
        DataError: the pixels take more than the 4 GB of such a file.
    """
    starts, counts = list[int](), list[int]()
    with path.open("wb") as file:
        file.write(b"II*\x00" + bytes(4))
        for piece in pieces:
            start = file.tell()
            if start + len(piece) > _LARGEST_FILE:
                raise DataError(f"{path.name}: more than the 4 GB that a TIFF or DNG file holds; write .exr, or with fewer bits")
            starts.append(start)
            counts.append(len(piece))
            file.write(piece + bytes(len(piece) % 2))
        place = file.tell()
        for number, values in zip(_TILES if tiled else _STRIPS, (starts, counts), strict=True):
            tags = {**tags, number: longs(*values)}
        directory = Directory("<", dict(tags), {number: exif.in_order(own, "<") for number, own in (below or {}).items()})
        file.write(exif.laid_out(directory, place))
        file.seek(4)
        file.write(struct.pack("<I", place))


def byte_values(*values: int) -> Tag:
    """Return a tag of bytes."""
    return Tag(1, len(values), bytes(values))


def text(value: str) -> Tag:
    """Return a tag of text."""
    data = value.encode("utf-8") + b"\x00"
    return Tag(2, len(data), data)


def shorts(*values: int) -> Tag:
    """Return a tag of whole numbers of two bytes."""
    return Tag(3, len(values), struct.pack(f"<{len(values)}H", *values))


def longs(*values: int) -> Tag:
    """Return a tag of whole numbers of four bytes."""
    return Tag(4, len(values), struct.pack(f"<{len(values)}I", *values))


def fractions(*values: float, denominator: int = 1_000_000, signed: bool = False) -> Tag:
    """Return a tag of fractions, signed or not."""
    pairs = np.array([[round(value * denominator), denominator] for value in values]).ravel()
    kind = "<i4" if signed else "<u4"
    return Tag(10 if signed else 5, len(values), pairs.astype(kind).tobytes())


def doubles(*values: float) -> Tag:
    """Return a tag of floats of eight bytes."""
    return Tag(12, len(values), struct.pack(f"<{len(values)}d", *values))


def opaque(data: bytes) -> Tag:
    """Return a tag of bytes whose meaning the tag's own definition tells."""
    return Tag(7, len(data), data)
