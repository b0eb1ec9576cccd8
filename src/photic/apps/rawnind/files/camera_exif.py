"""EXIF of raw files: from their own tags where they are TIFF files inside, from boxes of a CR3, from the preview of a RAF; else made anew.

Maker notes are taken along as they are. Where a camera counts offsets in them from the beginning of its own file (Canon does), programs
that look inside them may miss some entries; LibRaw and the tags that everybody reads (exposure, lens, place, time) do not depend on them.
A CRW keeps its facts in another form; camera, exposure, focal length, time and owner are kept of it.
"""

from __future__ import annotations

import io
import mmap
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from photic.apps.rawnind.files.raw_tags import LENS_INFO, RawTags, decoded, mapped
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag

MAKE, MODEL, DATE, ARTIST = 0x010F, 0x0110, 0x0132, 0x013B
EXPOSURE, APERTURE, ISO, TAKEN, FOCAL = 0x829A, 0x829D, 0x8827, 0x9003, 0x920A
MAKER_NOTE, LENS_SPECIFICATION, LENS_MAKE, LENS_MODEL = 0x927C, 0xA432, 0xA433, 0xA434
_VERSION = (0x9000, Tag(7, 4, b"0232"))
_TEXT, _SHORT, _FRACTION = 2, 3, 5
_CIFF_NAME, _CIFF_SUBTABLES = 0x080A, (0x2800, 0x3000)
_CR3_BOXES = {b"CMT1": None, b"CMT2": exif.EXIF_IFD, b"CMT4": exif.GPS_IFD}
_CR3_OUTER = (b"moov", b"uuid")
_DEEPEST, _MOST_TABLES = 8, 64


def read_exif(path: Path, tags: RawTags | None, facts: dict[str, Any]) -> Directory:
    """Return what a raw file tells of the photograph: its own tags where they can be read, completed by what LibRaw knows.

    Args:
        path: the file.
        tags: its tags, None where it is no TIFF file inside.
        facts: what LibRaw knows, see ``libraw_child.decoded``.
    """
    with mapped(path) as data:
        own = None if data is None else _own(data, tags)
    made = Directory("<") if own is None else own
    made.tags.pop(exif.ORIENTATION, None)
    _complete(made, tags, facts)
    return made


def text_of(directory: Directory, number: int) -> str:
    """Return the text of a tag, empty where it is absent."""
    tag = directory.tags.get(number)
    return "" if tag is None or tag.kind != _TEXT else tag.data.split(b"\x00")[0].decode("utf-8", "replace").strip()


def number_of(directory: Directory, number: int) -> float | None:
    """Return the number of a tag if it is finite and above 0."""
    tag = directory.tags.get(number)
    values = np.zeros(0) if tag is None else decoded(tag, directory.order)
    return float(values[0]) if len(values) and np.isfinite(values[0]) and values[0] > 0 else None


def camera_name(directory: Directory) -> str:
    """Return make and model without saying the make twice."""
    make, model = text_of(directory, MAKE), text_of(directory, MODEL)
    if not make or not model:
        return make or model
    return model if model.lower().startswith(make.split()[0].lower()) else f"{make} {model}"


def without_maker_note(block: bytes) -> bytes:
    """Return an EXIF block without its maker note, which may take more room than a JPEG has.

    Raises:
        photic.data.photo.exif.DamagedExif: the block cannot be followed.
    """
    directory = exif.unpack(block)
    below = directory.below.get(exif.EXIF_IFD)
    if below is not None:
        below.tags.pop(MAKER_NOTE, None)
    return exif.pack(directory)


def text_tag(text: str) -> Tag:
    """Return a text as a tag holds it."""
    data = text.encode("utf-8") + b"\x00"
    return Tag(_TEXT, len(data), data)


def _own(data: mmap.mmap, tags: RawTags | None) -> Directory | None:
    """Return what a file has of its own; None for nothing, or what cannot be followed."""
    try:
        if tags is not None:
            return exif.collect(data, tags.first_offset, tags.order)
        if data[4:8] == b"ftyp":
            return _of_boxes(data)
        if data[:8] == b"FUJIFILM":
            return _of_preview(data)
        if data[6:14] == b"HEAPCCDR":
            return _of_heap(data)
    except (exif.DamagedExif, struct.error, OSError, SyntaxError, ValueError):  # LibRaw's facts are what is left
        return None
    return None


def _of_boxes(data: mmap.mmap) -> Directory | None:
    """CR3: small TIFF files in boxes, one for each directory."""
    made: Directory | None = None
    waiting = [(0, len(data), 0)]
    found: dict[bytes, bytes] = {}
    while waiting:
        place, end, depth = waiting.pop()
        while place + 8 <= end:
            size, kind = struct.unpack_from(">I4s", data, place)
            header = 8
            if size == 1 and place + 16 <= end:
                (size,), header = struct.unpack_from(">Q", data, place + 8), 16
            if size < header or place + size > end:
                break
            if kind in _CR3_OUTER and depth < _DEEPEST:
                waiting.append((place + header + (16 if kind == b"uuid" else 0), place + size, depth + 1))
            elif kind in _CR3_BOXES:
                found[kind] = data[place + header : place + size]
            place += size
    for kind, number in _CR3_BOXES.items():
        if kind not in found:
            continue
        own = exif.unpack(found[kind])
        if number is None:
            made = Directory(own.order, dict(exif.descriptive(own)))
        elif made is not None:
            made.below[number] = exif.in_order(own, made.order)
    return made


def _of_preview(data: mmap.mmap) -> Directory | None:
    """RAF: a JPEG for the camera's screen, with EXIF."""
    start, size = struct.unpack_from(">II", data, 84)
    if not 0 < start < start + size <= len(data):
        return None
    with Image.open(io.BytesIO(data[start : start + size])) as image:
        block = image.info.get("exif")
    return None if not block else exif.unpack(block.removeprefix(exif.PREFIX))


def _of_heap(data: mmap.mmap) -> Directory | None:
    """CRW: a heap of records; make and model are one after the other in one of them."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 2)
    waiting = [(start, len(data), 0)]
    for _ in range(_MOST_TABLES):
        if not waiting:
            break
        begin, end, depth = waiting.pop()
        (table,) = struct.unpack_from(order + "I", data, end - 4)
        (count,) = struct.unpack_from(order + "H", data, begin + table)
        for index in range(count):
            kind, size, offset = struct.unpack_from(order + "HII", data, begin + table + 2 + 10 * index)
            if kind & 0x3800 in _CIFF_SUBTABLES and depth < _DEEPEST and begin + offset + size <= end and size > 4:
                waiting.append((begin + offset, begin + offset + size, depth + 1))
            elif kind == _CIFF_NAME and begin + offset + size <= end:
                names = data[begin + offset : begin + offset + size].split(b"\x00")
                make, model = (name.decode("latin-1") for name in names[:2])
                return Directory("<", {MAKE: text_tag(make), MODEL: text_tag(model)})
    return None


def _complete(made: Directory, tags: RawTags | None, facts: dict[str, Any]) -> None:
    """Add what LibRaw knows and the block does not say."""
    known = exif.EXIF_IFD in made.below
    below = made.below.setdefault(exif.EXIF_IFD, Directory(made.order, dict([_VERSION])))
    for directory, number, text in (
        (made, ARTIST, facts["artist"]),
        (made, DATE, facts["taken"]),
        (below, TAKEN, facts["taken"]),
        (below, LENS_MAKE, facts["lens_make"]),
        (below, LENS_MODEL, facts["lens"]),
    ):
        if text not in ("", "unknown") and number not in directory.tags:
            directory.tags[number] = text_tag(text)
    lens = None if tags is None else tags.first.tags.get(LENS_INFO)
    if lens is not None and tags is not None and (lens.kind, lens.count) == (_FRACTION, 4) and LENS_SPECIFICATION not in below.tags:
        below.tags[LENS_SPECIFICATION] = Tag(_FRACTION, 4, struct.pack(made.order + "8I", *struct.unpack(tags.order + "8I", lens.data)))
    if known:  # a camera that says 0 does not know; LibRaw then gives 1
        return
    for number, value in ((EXPOSURE, facts["exposure_s"]), (APERTURE, facts["aperture"]), (FOCAL, facts["focal_length_mm"])):
        if 0 < value < 1e6:
            below.tags.setdefault(number, _fraction(value, made.order))
    if 0 < facts["iso"] < 65535:
        below.tags.setdefault(ISO, Tag(_SHORT, 1, struct.pack(made.order + "H", round(facts["iso"]))))


def _fraction(value: float, order: str) -> Tag:
    near = Fraction(value).limit_denominator(10_000)
    if value < 0.5:
        near = Fraction(1, max(1, round(1 / value)))
    return Tag(_FRACTION, 1, struct.pack(order + "II", near.numerator, near.denominator))
