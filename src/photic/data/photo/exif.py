"""EXIF blocks: the few tags that turning a picture changes, and moving a block between a file's own tags and a block.

An EXIF block is a small TIFF file: a header, a directory (IFD) of tags, and directories below it (exposure, position, ...). In JPEG, PNG
and WebP it is stored as it is, so it is changed in place there: offsets that cameras write into their maker notes stay right. In a
TIFF file the same tags are part of the file's own directory and are collected from it and laid into it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

PREFIX = b"Exif\x00\x00"
"""Comes before the block in a JPEG file."""
ORIENTATION = 0x0112
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
POINTERS = (EXIF_IFD, GPS_IFD)
"""Tags of a first directory that point to directories below it."""
_BELOW = (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD)
_WIDTH, _HEIGHT = 0xA002, 0xA003
_THUMBNAIL_START, _THUMBNAIL_BYTES = 0x0201, 0x0202
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT, _LONG = 3, 4
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298)
"""Tags of a TIFF file's own directory that tell of the photograph, not of how its pixels are stored."""
_SWAPPED_ITEMS = {3: "H", 4: "I", 5: "I", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
Bytes = bytes | bytearray | mmap.mmap
_DEEPEST, _MOST_TAGS = 3, 4096
_SHARED = 4
"""Directories and values that are read together take no more than so many times the bytes there are: tags may share a value, but a small
block cannot ask for any memory or time."""


class DamagedExif(ValueError):  # noqa: N818 - says what the block is
    """An EXIF block that cannot be followed."""


@dataclass(frozen=True)
class Tag:
    """The value of a tag as stored."""

    kind: int
    """TIFF's number of the type: 2 text, 3 and 4 whole numbers of 2 and 4 bytes, 5 fractions, ..."""
    count: int
    """How many."""
    data: bytes
    """The values, in the byte order of the directory."""


@dataclass
class Directory:
    """A directory of tags and those below it."""

    order: str
    """``<`` little or ``>`` big endian."""
    tags: dict[int, Tag] = field(default_factory=dict)
    """By number."""
    below: dict[int, Directory] = field(default_factory=dict)
    """By the number of the tag that points to it."""


def orientation_of(block: bytes) -> int:
    """Return how a picture lies, 1 to 8; 1 if the block does not say.

    Raises:
        DamagedExif: the block cannot be followed.
    """
    view = _Block(block)
    return view.orientation()


def upright(block: bytes, height: int, width: int) -> bytes:
    """Return a block that says that the pixels lie upright and are ``height`` x ``width``, without its thumbnail.

    The thumbnail is a small copy of the picture before it was changed. Everything else keeps its place.

    Raises:
        DamagedExif: the block cannot be followed.
    """
    return _Block(block).made_upright(height, width)


def collect(data: Bytes, offset: int, order: str) -> Directory:
    """Return what the directory of a (classic) TIFF file tells of the photograph, with the directories below it.

    Args:
        data: the file, or a map of it.
        offset: where the directory is.
        order: ``<`` or ``>``.

    Raises:
        DamagedExif: a directory cannot be followed.
    """
    return _directory(data, offset, order, 0, wanted=(*_DESCRIPTIVE, *_BELOW))


def chosen(data: Bytes, offset: int, order: str, wanted: Collection[int]) -> Directory:
    """Return chosen tags of one directory of a (classic) TIFF file.

    Args:
        data: the file, or a map of it.
        offset: where the directory is.
        order: ``<`` or ``>``.
        wanted: numbers of the tags; those that point to directories of exposure and position bring these, whole.

    Raises:
        DamagedExif: a directory cannot be followed.
    """
    return _directory(data, offset, order, 0, wanted=wanted)


def following(data: Bytes, offset: int, order: str) -> int:
    """Return where the directory after one is, 0 after the last.

    Raises:
        DamagedExif: the directory cannot be followed.
    """
    entries = _entries(data, offset, order)
    end = entries[-1][4] if entries else offset + 2
    if end + 4 > len(data):
        raise DamagedExif(f"a directory at byte {offset} of {len(data)} ends too soon")
    return int(struct.unpack_from(order + "I", data, end)[0])


def pack(directory: Directory) -> bytes:
    """Return a directory and those below it as a block."""
    head = (b"II*\x00" if directory.order == "<" else b"MM\x00*") + struct.pack(directory.order + "I", 8)
    return head + laid_out(directory, 8)


def unpack(block: bytes) -> Directory:
    """Return the directories of a block, without the thumbnail's.

    Raises:
        DamagedExif: the block cannot be followed.
    """
    view = _Block(block)
    return _directory(block, view.first, view.order, 0)


def laid_out(directory: Directory, start: int) -> bytes:
    """Return a directory and those below it as bytes that are to stand at offset ``start`` of a file."""
    order = directory.order
    numbers = sorted({*directory.tags, *directory.below})
    fixed = 2 + 12 * len(numbers) + 4
    table, rest = struct.pack(order + "H", len(numbers)), b""
    for number in numbers:
        below = directory.below.get(number)
        if below is not None:
            place = start + fixed + len(rest)
            table += struct.pack(order + "HHII", number, _LONG, 1, place)
            rest += _even(laid_out(below, place))
            continue
        tag = directory.tags[number]
        table += struct.pack(order + "HHI", number, tag.kind, tag.count)
        if len(tag.data) <= 4:
            table += tag.data.ljust(4, b"\x00")
        else:
            table += struct.pack(order + "I", start + fixed + len(rest))
            rest += _even(tag.data)
    return table + struct.pack(order + "I", 0) + rest


def in_order(directory: Directory, order: str) -> Directory:
    """Return a directory in another byte order; bytes of unknown meaning (maker notes) stay as they are."""
    if directory.order == order:
        return directory
    tags = {number: Tag(tag.kind, tag.count, _swapped(tag, directory.order, order)) for number, tag in directory.tags.items()}
    return Directory(order, tags, {number: in_order(below, order) for number, below in directory.below.items()})


def descriptive(directory: Directory) -> Mapping[int, Tag]:
    """Return the tags of a block's first directory that a TIFF file takes into its own."""
    return {number: tag for number, tag in directory.tags.items() if number in _DESCRIPTIVE}


class _Block:
    """A block whose first directory has been found."""

    def __init__(self, block: bytes) -> None:
        if len(block) < 8 or block[:4] not in (b"II*\x00", b"MM\x00*"):
            raise DamagedExif("it does not begin like an EXIF block")
        self.order = "<" if block[:2] == b"II" else ">"
        self.block = bytearray(block)
        (self.first,) = struct.unpack_from(self.order + "I", block, 4)

    def orientation(self) -> int:
        for number, kind, count, place, _ in self._entries(self.first):
            if number == ORIENTATION and kind in (_SHORT, _LONG) and count == 1:
                value = self._number(kind, place)
                return value if 1 <= value <= 8 else 1
        return 1

    def made_upright(self, height: int, width: int) -> bytes:
        end = self.first
        for number, kind, count, place, after in self._entries(self.first):
            end = after
            if number == ORIENTATION and kind in (_SHORT, _LONG) and count == 1:
                self._set(kind, place, 1)
            if number == EXIF_IFD and kind in (_LONG, 13):
                self._resize(self._number(_LONG, place), height, width)
        self._drop_thumbnail(end)
        return bytes(self.block)

    def _resize(self, offset: int, height: int, width: int) -> None:
        for number, kind, count, place, _ in self._entries(offset):
            if number in (_WIDTH, _HEIGHT) and kind in (_SHORT, _LONG) and count == 1:
                value = width if number == _WIDTH else height
                self._set(kind, place, value if kind == _LONG else min(value, 0xFFFF))

    def _drop_thumbnail(self, end: int) -> None:
        """Cut the link to the second directory, which describes the thumbnail, and blank or cut off its picture."""
        if end + 4 > len(self.block):
            return
        (second,) = struct.unpack_from(self.order + "I", self.block, end)
        struct.pack_into(self.order + "I", self.block, end, 0)
        if not second:
            return
        found = {}
        for number, kind, _, place, _ in self._entries(second):
            if number in (_THUMBNAIL_START, _THUMBNAIL_BYTES) and kind in (_SHORT, _LONG):
                found[number] = self._number(kind, place)
        start, size = found.get(_THUMBNAIL_START, 0), found.get(_THUMBNAIL_BYTES, 0)
        stop = min(start + size, len(self.block))
        if start < 8 or stop <= start:
            return
        if stop >= len(self.block) - 3:  # nothing but padding behind it
            del self.block[start:]
        else:
            self.block[start:stop] = bytes(stop - start)

    def _entries(self, offset: int) -> list[tuple[int, int, int, int, int]]:
        """Return (number, type, count, place of the value field, place after the directory's entries) of every tag."""
        return _entries(self.block, offset, self.order)

    def _number(self, kind: int, place: int) -> int:
        return int(struct.unpack_from(self.order + ("H" if kind == _SHORT else "I"), self.block, place)[0])

    def _set(self, kind: int, place: int, value: int) -> None:
        struct.pack_into(self.order + ("H" if kind == _SHORT else "I"), self.block, place, value)


def _entries(data: Bytes, offset: int, order: str) -> list[tuple[int, int, int, int, int]]:
    if offset < 8 or offset + 2 > len(data):
        raise DamagedExif(f"a directory at byte {offset} of {len(data)}")
    (count,) = struct.unpack_from(order + "H", data, offset)
    end = offset + 2 + 12 * count
    if count > _MOST_TAGS or end > len(data):
        raise DamagedExif(f"a directory of {count} tags at byte {offset} of {len(data)}")
    entries = []
    for place in range(offset + 2, end, 12):
        number, kind, items = struct.unpack_from(order + "HHI", data, place)
        entries.append((number, kind, items, place + 8, end))
    return entries


def _directory(
    data: Bytes, offset: int, order: str, depth: int, wanted: Collection[int] | None = None, *, left: list[int] | None = None
) -> Directory:
    if depth > _DEEPEST:
        raise DamagedExif("directories below directories without end")
    left = [_SHARED * len(data)] if left is None else left
    made = Directory(order)
    entries = _entries(data, offset, order)
    left[0] -= 12 * len(entries)
    for number, kind, count, place, _ in entries:
        size = _SIZES.get(kind, 0) * count
        if not size or (wanted is not None and number not in wanted):
            continue
        left[0] -= size
        at = place if size <= 4 else struct.unpack_from(order + "I", data, place)[0]
        if at + size > len(data):
            raise DamagedExif(f"tag {number:#06x} points beyond the end")
        if left[0] < 0:
            raise DamagedExif("directories and values that overlap each other again and again")
        value = bytes(data[at : at + size])
        if number in _BELOW and kind in (_LONG, 13) and count == 1:
            made.below[number] = _directory(data, struct.unpack(order + "I", value)[0], order, depth + 1, left=left)
        else:
            made.tags[number] = Tag(kind, count, value)
    return made


def _swapped(tag: Tag, before: str, after: str) -> bytes:
    item = _SWAPPED_ITEMS.get(tag.kind)
    if item is None:
        return tag.data
    items = len(tag.data) // struct.calcsize(item)
    return struct.pack(f"{after}{items}{item}", *struct.unpack(f"{before}{items}{item}", tag.data))


def _even(data: bytes) -> bytes:
    return data + b"\x00" * (len(data) % 2)
