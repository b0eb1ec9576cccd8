"""The ``.phc`` format: what its bytes are, written and read with every number checked. Described in ``docs/phc_format.md``.

Works without torch and decodes no latents, so that a file can be described at once.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from photic.apps.rawnind.compressing.facts import MAX_FACTS_BYTES, Facts, packed_facts, read_facts
from photic.apps.rawnind.compressing.numbers import number, read_number
from photic.core.errors import BitstreamError, DataError

SUFFIX = ".phc"
MAGIC = b"\x89PHC"
VERSION = 1
MODEL_ID_BYTES = 12
MAX_PIXELS = 1_000_000_000
"""Largest picture that is read where nothing else is said."""
MAX_TILE = 256
"""Most latents along a tile's side, so that what one tile takes in memory has a bound."""
MAX_LATENTS = 65_535
"""Most latents along a side of the picture."""
QUALITY_STEPS = 1000
"""Qualities are stored in thousandths."""
ORIGINALS = ("RGB", "RGGB", "GRBG", "GBRG", "BGGR", "mosaic")
"""What a picture was before it was compressed, by number: three colours at each pixel, a Bayer mosaic, another mosaic."""
HEADER_BYTES = 40
_FIELDS = struct.Struct("<4sBBBBIIHHHH12s")
_CRC = struct.Struct("<I")
_DEMOSAICED = 0x80
_LEAST_ENTRY = 5
"""Bytes of an index entry at least: a number and a CRC."""
_METADATA, _SIDE, _FIRST_TILE = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the header says: the picture's measures, and how its latents are stored."""

    height: int
    """Of the picture, in pixels."""
    width: int
    """Of the picture, in pixels."""
    original: str
    """What the picture was, one of ``ORIGINALS``; a Bayer mosaic by its order from its own top left pixel on."""
    demosaiced: bool = False
    """Whether a mosaic was demosaiced by a classical method before it was compressed, as the model takes three colours."""
    lead: tuple[int, int] = (0, 0)
    """By how many rows at the top and columns at the left the picture was continued, mirrored; a mosaic begins with RGGB then."""
    latents: tuple[int, int]
    """Rows and columns of latents."""
    tile: int
    """Latents along a tile's side."""
    quality: float
    """Quality level, in thousandths."""
    model: bytes
    """The first 12 bytes of the model's SHA-256."""

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.latents[0] // self.tile), -(-self.latents[1] // self.tile)

    @property
    def num_tiles(self) -> int:
        """Number of tiles."""
        return self.tiles[0] * self.tiles[1]


@dataclass(frozen=True)
class Part:
    """A part of a file."""

    kind: str
    """metadata, side or tile."""
    start: int
    """First byte."""
    length: int
    """Bytes."""
    crc32: int


@dataclass(frozen=True)
class Header:
    """Everything that a file says about its picture without being decoded."""

    layout: Layout
    facts: Facts
    parts: tuple[Part, ...] = field(repr=False)
    """metadata, side, and the tiles row by row."""
    num_bytes: int
    """Of the whole file."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        return self.layout.height, self.layout.width

    @property
    def model(self) -> str:
        """The model's id in hexadecimal."""
        return self.layout.model.hex()

    @property
    def model_name(self) -> str:
        """What the model was called where the picture was compressed; may be empty."""
        return self.facts.model_name

    @property
    def quality(self) -> float:
        """Quality level."""
        return self.layout.quality

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each part: header (with the index), metadata, side, tiles; together those of the file."""
        metadata, side, *tiles = (part.length for part in self.parts)
        tiled = sum(tiles)
        header = self.num_bytes - metadata - side - tiled
        return {"header": 8 * header, "metadata": 8 * metadata, "side": 8 * side, "tiles": 8 * tiled}

    @property
    def bpp(self) -> float:
        """Bits of the whole file per pixel of the picture (per sensor pixel, for a mosaic)."""
        return 8 * self.num_bytes / (self.layout.height * self.layout.width)


@dataclass(frozen=True)
class Container:
    """A file in memory whose header and index are sound; parts are checked as they are taken."""

    header: Header
    data: bytes = field(repr=False)
    where: str

    def side(self) -> bytes:
        """Return the side part.

        Raises:
            BitstreamError: it is damaged.
        """
        return self._part(_SIDE)

    def tile(self, row: int, column: int) -> bytes:
        """Return a tile's stream.

        Raises:
            BitstreamError: it is damaged.
        """
        return self._part(_FIRST_TILE + row * self.header.layout.tiles[1] + column)

    def check(self) -> None:
        """Check every part.

        Raises:
            BitstreamError: one is damaged.
        """
        for place in range(len(self.header.parts)):
            self._part(place)

    def _part(self, place: int) -> bytes:
        return _checked_part(self.data, self.header.parts[place], place, self.where)


def packed(layout: Layout, facts: Facts, side: bytes, tiles: list[bytes]) -> bytes:
    """Return the bytes of a file.

    Raises:
        DataError: the format cannot hold that.
    """
    if len(tiles) != layout.num_tiles:
        raise DataError(f"{SUFFIX}: expected {layout.num_tiles} tiles, got {len(tiles)}")
    head = _packed_layout(layout)
    head += _CRC.pack(zlib.crc32(head))
    parts = [packed_facts(facts), side, *tiles]
    index = b"".join(number(len(part)) + _CRC.pack(part_crc(head, place, part)) for place, part in enumerate(parts))
    return b"".join([head, index, *parts])


def part_crc(head: bytes, place: int, part: bytes) -> int:
    """Return the CRC of a part: over the header's own CRC, the part's place in the index, and its bytes.

    So a part of another file, or one that changed its place, is noticed too.

    Args:
        head: the file from its beginning, the header at least.
        place: 0 metadata, 1 side, 2 the first tile, ...
        part: the bytes.
    """
    return zlib.crc32(part, zlib.crc32(_CRC.pack(place), zlib.crc32(head[HEADER_BYTES - _CRC.size : HEADER_BYTES])))


def read_header(source: bytes | Path | str, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read and check a file without decoding latents; every part's checksum is checked.

    Args:
        source: a file, or its bytes.
        max_pixels: larger pictures are refused.

    Raises:
        BitstreamError: truncated, damaged, foreign, newer, too large.
        DataError: there is no such file.
    """
    opened = open_container(source, max_pixels=max_pixels)
    opened.check()
    return opened.header


def open_container(source: bytes | Path | str, *, where: str | None = None, max_pixels: int = MAX_PIXELS) -> Container:
    """Read header, index and metadata of a file; of its other parts only the lengths are checked, until they are taken.

    Args:
        source: a file, or its bytes.
        where: what messages call it; None is the file's name.
        max_pixels: larger pictures are refused.

    Raises:
        BitstreamError: truncated, damaged, foreign, newer, too large.
        DataError: there is no such file.
    """
    where = where or ("compressed picture" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read_file(Path(source), where, max_pixels)
    layout = _read_layout(data, where, max_pixels)
    parts = _read_index(data, layout, where)
    facts = read_facts(_checked_part(data, parts[_METADATA], _METADATA, where), where)
    return Container(Header(layout, facts, parts, len(data)), data, where)


def damaged(where: str, reason: str) -> BitstreamError:
    """Return the error of a file that is not whole."""
    return BitstreamError(f"{where}: damaged: {reason}. Copy it again, or compress the picture again")


def _read_file(path: Path, where: str, max_pixels: int) -> bytes:
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            head = handle.read(HEADER_BYTES)
            _read_layout(head, where, max_pixels)  # whatever is none of ours is not read as a whole
            return head + handle.read(size - len(head))
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror or error}; expected a compressed picture ({SUFFIX})") from error


def _packed_layout(layout: Layout) -> bytes:
    quality = round(layout.quality * QUALITY_STEPS)
    sides = {"height": layout.height, "width": layout.width}
    for name, value, most in (
        *((name, side, 2**32 - 1) for name, side in sides.items()),
        ("rows of latents", layout.latents[0], MAX_LATENTS),
        ("columns of latents", layout.latents[1], MAX_LATENTS),
        ("latents along a tile", layout.tile, MAX_TILE),
        ("quality (in thousandths)", quality, 2**16 - 1),
    ):
        if not 1 <= value <= most:
            raise DataError(f"{SUFFIX}: {name}: expected 1 to {most}, got {value}")
    if layout.height * layout.width > MAX_PIXELS:
        raise DataError(f"{SUFFIX}: {layout.height} x {layout.width} pixels; at most {MAX_PIXELS / 1e6:g} megapixels are possible")
    original = ORIGINALS.index(layout.original) | (_DEMOSAICED if layout.demosaiced else 0)
    return _FIELDS.pack(
        MAGIC, VERSION, original, *layout.lead, layout.height, layout.width, *layout.latents, layout.tile, quality, layout.model
    )


def _read_layout(data: bytes, where: str, max_pixels: int) -> Layout:
    start = data[: len(MAGIC)]
    if start != MAGIC[: len(start)] or not start:
        raise BitstreamError(
            f"{where}: not a picture compressed by Photic: expected a {SUFFIX} file, which begins with {MAGIC!r}; got {start!r}"
        )
    if len(data) > len(MAGIC) and data[len(MAGIC)] > VERSION:
        raise BitstreamError(
            f"{where}: written by a newer Photic (format {data[len(MAGIC)]}, this one reads {VERSION}), or damaged; upgrade photic"
        )
    if len(data) < HEADER_BYTES:
        raise BitstreamError(f"{where}: truncated: {len(data)} bytes, the header alone has {HEADER_BYTES}; copy it again")
    if zlib.crc32(data[: _FIELDS.size]) != _CRC.unpack_from(data, _FIELDS.size)[0]:
        raise damaged(where, "the header's checksum is wrong")
    _, version, original, top, left, height, width, rows, columns, tile, quality, model = _FIELDS.unpack_from(data)
    demosaiced, original = bool(original & _DEMOSAICED), original & ~_DEMOSAICED
    possible = {
        f"format {version}": version == VERSION,
        f"{height} x {width} pixels": height > 0 and width > 0,
        f"{rows} x {columns} latents": rows > 0 and columns > 0,
        f"tiles of {tile} latents": 1 <= tile <= MAX_TILE,
        f"quality {quality / QUALITY_STEPS:g}": quality >= QUALITY_STEPS,
        f"kind {original} of pictures": original < len(ORIGINALS) and not (demosaiced and original == 0),
    }
    for name, ok in possible.items():
        if not ok:
            raise damaged(where, f"{name} are impossible")
    if height * width > max_pixels or rows * columns > max_pixels:
        raise BitstreamError(
            f"{where}: {height} x {width} pixels ({rows} x {columns} latents), more than the limit of {max_pixels / 1e6:g} megapixels; "
            "raise it if the file is to be trusted"
        )
    return Layout(
        height=height,
        width=width,
        original=ORIGINALS[original],
        demosaiced=demosaiced,
        lead=(top, left),
        latents=(rows, columns),
        tile=tile,
        quality=quality / QUALITY_STEPS,
        model=model,
    )


def _read_index(data: bytes, layout: Layout, where: str) -> tuple[Part, ...]:
    count = _FIRST_TILE + layout.num_tiles
    if HEADER_BYTES + _LEAST_ENTRY * count > len(data):
        raise BitstreamError(f"{where}: truncated: {len(data)} bytes do not even hold the index of {layout.num_tiles} tiles; copy it again")
    entries, place = [], HEADER_BYTES
    for entry in range(count):
        found = read_number(data, place)
        if found is None or found[1] + _CRC.size > len(data):
            raise damaged(where, f"entry {entry} of the index ends beyond the file's {len(data)} bytes, or is none")
        length, place = found
        entries.append((length, _CRC.unpack_from(data, place)[0]))
        place += _CRC.size
    expected = place + sum(length for length, _ in entries)
    if expected > len(data):
        raise BitstreamError(f"{where}: truncated or damaged: {len(data)} bytes, by its index it has {expected}; copy it again")
    if expected < len(data):
        raise damaged(where, f"{len(data) - expected} bytes follow its end ({len(data)} bytes, by its index it has {expected})")
    if entries[_METADATA][0] > MAX_FACTS_BYTES:
        raise damaged(where, f"{entries[_METADATA][0]} bytes of metadata; {MAX_FACTS_BYTES} are the most possible")
    parts = []
    for entry, (length, crc32) in enumerate(entries):
        parts.append(Part(("metadata", "side")[entry] if entry < _FIRST_TILE else "tile", place, length, crc32))
        place += length
    return tuple(parts)


def _checked_part(data: bytes, part: Part, place: int, where: str) -> bytes:
    content = data[part.start : part.start + part.length]
    if part_crc(data, place, content) != part.crc32:
        name = part.kind if place < _FIRST_TILE else f"tile {place - _FIRST_TILE}"
        raise damaged(where, f"the checksum of its {name} ({part.length} bytes from byte {part.start} on) is wrong")
    return content
