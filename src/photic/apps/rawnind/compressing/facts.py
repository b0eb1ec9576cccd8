"""The metadata part of ``.phc`` files: what is known of a picture besides its pixels, as tagged fields."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from photic.apps.rawnind.compressing.numbers import number, read_number
from photic.core.errors import BitstreamError
from photic.data.photo import exif

MAX_FACTS_BYTES = 1 << 20
"""Of the metadata part."""
MAX_EXIF_BYTES = 1 << 20
"""Of an EXIF block that is read, unpacked."""
_MAX_TEXT_BYTES = 255
_MAX_LEVELS = 36
Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a picture; numbers are as the file has them."""

    model_name: str = ""
    """What the model was called that compressed it."""
    balance: Triple = (1.0, 1.0, 1.0)
    """Factors that pictures were coded with, float32."""
    white_balance: Triple | None = None
    """That the camera chose, float32."""
    xyz_to_camera: tuple[float, ...] | None = None
    """Nine numbers, row by row, float32."""
    noise: tuple[float, float] | None = None
    """a and b of the variance a x + b that the encoder was told of the original, float32."""
    black_levels: tuple[float, ...] = ()
    white_level: float | None = None
    full_level: float = 1.0
    """Where the original's sensor was full, float32; see :func:`photic.apps.rawnind.files.developing.full_level`."""
    orientation: int = 1
    iso: float | None = None
    exposure_s: float | None = None
    aperture: float | None = None
    camera: str = ""
    baseline_exposure_ev: float = 0.0
    exif: bytes | None = None
    """EXIF block, TIFF header first."""
    left_out: str = ""
    """What of EXIF was too large to be kept: empty, 'maker note' or 'EXIF'."""


_LEFT_OUT = ("", "maker note", "EXIF")


def packed_facts(facts: Facts) -> bytes:
    """Return the metadata part; what is unknown or as usual takes no bytes."""
    usual = Facts()
    fields: list[bytes] = []
    for tag, (name, pack, _) in enumerate(_FIELDS, start=1):
        value = getattr(facts, name)
        if value != getattr(usual, name):
            content = pack(value)
            fields.append(bytes([tag]) + number(len(content)) + content)
    return b"".join(fields)


def read_facts(data: bytes, where: str) -> Facts:
    """Read the metadata part; fields of unknown tags are passed over.

    Raises:
        BitstreamError: it is damaged.
    """
    found, place, before = {}, 0, 0
    while place < len(data):
        tag = data[place]
        length = read_number(data, place + 1)
        if tag <= before or length is None or length[1] + length[0] > len(data):
            raise _wrong(where, f"at byte {place} of {len(data)} there is no field")
        content = data[length[1] : length[1] + length[0]]
        if tag <= len(_FIELDS):
            name, _, read = _FIELDS[tag - 1]
            try:
                found[name] = read(content)
            except (ValueError, struct.error, zlib.error) as error:
                raise _wrong(where, f"field {tag} ({name}) of {len(content)} bytes: {error}") from error
        before, place = tag, length[1] + length[0]
    return Facts(**found)


def kept_text(text: str) -> str:
    """Return a text as the format can hold it: printable, at most 255 bytes."""
    printable = "".join(character if character.isprintable() else "?" for character in text.strip())
    return printable.encode("utf-8", "replace")[:_MAX_TEXT_BYTES].decode("utf-8", "ignore")


def as_float32(value: float) -> float:
    """Return the float32 nearest to a number."""
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found


def _wrong(where: str, reason: str) -> BitstreamError:
    return BitstreamError(f"{where}: damaged metadata: {reason}. Copy it again, or compress the picture again")


def _packer(kind: str) -> Callable[[Sequence[float] | float], bytes]:
    def pack(value: Sequence[float] | float) -> bytes:
        values = (value,) if isinstance(value, int | float) else tuple(value)
        return struct.pack(f"<{len(values)}{kind}", *values)

    return pack


def _several(kind: str, least: int, most: int, low: float, high: float) -> Callable[[bytes], tuple[float, ...]]:
    """Return what reads some numbers within limits, the limits allowed."""
    size = struct.calcsize("<" + kind)

    def read(content: bytes) -> tuple[float, ...]:
        count, rest = divmod(len(content), size)
        if rest or not least <= count <= most:
            raise ValueError(f"expected {least if least == most else f'{least} to {most}'} numbers of {size} bytes")
        values: tuple[float, ...] = struct.unpack(f"<{count}{kind}", content)
        for value in values:
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{value:g} is out of range")
        return values

    return read


def _one(kind: str, low: float, high: float) -> Callable[[bytes], float]:
    several = _several(kind, 1, 1, low, high)
    return lambda content: several(content)[0]


def _pack_text(text: str) -> bytes:
    return text.encode()


def _read_text(content: bytes) -> str:
    text = content.decode()  # UnicodeDecodeError is a ValueError
    if len(content) > _MAX_TEXT_BYTES or not text.isprintable():
        raise ValueError("no printable text")
    return text


def _pack_exif(block: bytes) -> bytes:
    return zlib.compress(block, 9)


def _read_exif(content: bytes) -> bytes:
    inflating = zlib.decompressobj()
    block = inflating.decompress(content, MAX_EXIF_BYTES)
    if not inflating.eof or inflating.unused_data:
        raise ValueError(f"no deflated block of at most {MAX_EXIF_BYTES} bytes")
    exif.unpack(block)  # DamagedExif is a ValueError
    return block


def _pack_left_out(what: str) -> bytes:
    return bytes([_LEFT_OUT.index(what)])


def _read_left_out(content: bytes) -> str:
    return _LEFT_OUT[int(_one("B", 0, len(_LEFT_OUT) - 1)(content))]


_TINY, _HUGE = 1e-30, 1e30
_FIELDS: tuple[tuple[str, Callable, Callable], ...] = (
    ("model_name", _pack_text, _read_text),
    ("balance", _packer("f"), _several("f", 3, 3, 1e-6, 1e6)),
    ("white_balance", _packer("f"), _several("f", 3, 3, 1e-6, 1e6)),
    ("xyz_to_camera", _packer("f"), _several("f", 9, 9, -_HUGE, _HUGE)),
    ("noise", _packer("f"), _several("f", 2, 2, 0.0, _HUGE)),
    ("black_levels", _packer("d"), _several("d", 1, _MAX_LEVELS, -_HUGE, _HUGE)),
    ("white_level", _packer("d"), _one("d", -_HUGE, _HUGE)),
    ("full_level", _packer("f"), _one("f", _TINY, 1.0)),
    ("orientation", _packer("B"), _one("B", 1, 8)),
    ("iso", _packer("d"), _one("d", _TINY, _HUGE)),
    ("exposure_s", _packer("d"), _one("d", _TINY, _HUGE)),
    ("aperture", _packer("d"), _one("d", _TINY, _HUGE)),
    ("camera", _pack_text, _read_text),
    ("baseline_exposure_ev", _packer("d"), _one("d", -1000.0, 1000.0)),
    ("left_out", _pack_left_out, _read_left_out),
    ("exif", _pack_exif, _read_exif),
)
"""The fields in the order of their tags, from 1 on: name, to bytes, from bytes. New ones are added at the end."""
