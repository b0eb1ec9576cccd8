"""OpenEXR files written row by row: half or float, compressed without loss, with chromaticities and what EXIF says."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.files.bands import Band, checked, regrouped

_MAGIC, _VERSION = 20000630, 2
_HALF, _FLOAT = 1, 2
_ZIP, _ZIP_ROWS = 3, 16
_LARGEST_HALF = 65504.0
_LEVEL = 4
Attribute = tuple[str, bytes]
"""Type and value of an attribute of the header."""


def text(value: str) -> Attribute:
    """Return a text as an attribute."""
    return "string", value.encode("utf-8")


def number(value: float) -> Attribute:
    """Return a number as an attribute."""
    return "float", struct.pack("<f", value)


def write_exr(
    path: Path,
    size: tuple[int, int],
    bands: Iterable[Band],
    *,
    chromaticities: tuple[float, ...],
    half: bool = True,
    attributes: Mapping[str, Attribute] | None = None,
) -> None:
    """Write a picture of linear light as an OpenEXR file of scan lines.

    Args:
        path: where.
        size: height and width in pixels.
        bands: rows ``(n, W, 3)`` of floats of any kind, from the top down.
        chromaticities: x and y of red, green, blue and white.
        half: 16-bit floats, values beyond +-65504 cut off there; else 32 bits.
        attributes: further ones by name.

    Source: OpenEXR file layout, openexr.com.

    Raises:
        DataError: the bands do not make such a picture, or have values that are not finite.
    """
    num_chunks = -(-size[0] // _ZIP_ROWS)
    with path.open("wb") as file:
        file.write(struct.pack("<II", _MAGIC, _VERSION) + _header(size, half, chromaticities, attributes or {}))
        table, places = file.tell(), list[int]()
        file.write(bytes(8 * num_chunks))
        for index, rows in enumerate(regrouped(checked(bands, size), _ZIP_ROWS)):
            data = _packed(_samples(rows, half))
            places.append(file.tell())
            file.write(struct.pack("<ii", index * _ZIP_ROWS, len(data)) + data)
        file.seek(table)
        file.write(struct.pack(f"<{num_chunks}Q", *places))


def _samples(rows: NDArray[Any], half: bool) -> bytes:
    """Return rows as the file has them: of each row the blues, the greens, the reds."""
    if half:
        rows = np.clip(rows, -_LARGEST_HALF, _LARGEST_HALF).astype("<f2")
    planes = np.ascontiguousarray(rows.astype("<f2" if half else "<f4", copy=False)[:, :, ::-1].transpose(0, 2, 1))
    return planes.tobytes()


def _packed(data: bytes) -> bytes:
    """Return a chunk deflated: bytes of even places first, then odd ones, as differences; as it is if that is no shorter."""
    values = np.frombuffer(data, np.uint8)
    apart = np.concatenate([values[::2], values[1::2]])
    differences = apart.copy()
    differences[1:] -= apart[:-1]
    differences[1:] += 128
    made = zlib.compress(differences.tobytes(), _LEVEL)
    return made if len(made) < len(data) else data


def _header(size: tuple[int, int], half: bool, colours: tuple[float, ...], attributes: Mapping[str, Attribute]) -> bytes:
    kind = _HALF if half else _FLOAT
    channels = b"".join(name + b"\x00" + struct.pack("<iB3xii", kind, 0, 1, 1) for name in (b"B", b"G", b"R")) + b"\x00"
    window = struct.pack("<4i", 0, 0, size[1] - 1, size[0] - 1)
    known: dict[str, Attribute] = {
        "channels": ("chlist", channels),
        "chromaticities": ("chromaticities", struct.pack("<8f", *colours)),
        "compression": ("compression", bytes([_ZIP])),
        "dataWindow": ("box2i", window),
        "displayWindow": ("box2i", window),
        "lineOrder": ("lineOrder", b"\x00"),
        "pixelAspectRatio": number(1.0),
        "screenWindowCenter": ("v2f", bytes(8)),
        "screenWindowWidth": number(1.0),
    }
    return b"".join(_attributes({**attributes, **known})) + b"\x00"


def _attributes(attributes: Mapping[str, Attribute]) -> Iterator[bytes]:
    for name, (kind, value) in sorted(attributes.items()):
        yield name.encode() + b"\x00" + kind.encode() + b"\x00" + struct.pack("<i", len(value)) + value
