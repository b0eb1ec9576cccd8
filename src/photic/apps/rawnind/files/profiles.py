"""ICC profiles of linear and sRGB-curved Rec.2020 and sRGB, made from the primaries that the standards name."""

from __future__ import annotations

import struct
from functools import cache
from typing import Literal

import numpy as np

from photic.functional.raw_colour import D65, REC2020_PRIMARIES, SRGB_PRIMARIES, Chromaticities, Matrix, rgb_to_xyz, xyz_of_white

PRIMARIES: dict[str, Chromaticities] = {"rec2020": REC2020_PRIMARIES, "srgb": SRGB_PRIMARIES}
_NAMES = {"rec2020": "Rec. 2020", "srgb": "sRGB"}
_D50 = np.array([0.9642, 1.0, 0.8249])  # as ICC.1 has it
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def chromaticities(space: str) -> tuple[float, ...]:
    """Return x and y of red, green, blue and white, eight numbers, as OpenEXR has them."""
    return (*(value for colour in PRIMARIES[space] for value in colour), *D65)


@cache
def icc_profile(space: Literal["rec2020", "srgb"], curve: Literal["linear", "srgb"]) -> bytes:
    """Return an ICC profile (version 4, matrix and curve) of a colour space.

    Args:
        space: its primaries; white is D65, adapted to ICC's D50 by Bradford's matrix.
        curve: linear light, or the curve of sRGB (IEC 61966-2-1).

    Source: ICC.1:2010 (profile version 4.3).
    """
    adaptation = from_d65_to_d50()
    colours = adaptation @ rgb_to_xyz(PRIMARIES[space])
    name = f"Photic {_NAMES[space]}, {'linear' if curve == 'linear' else 'sRGB curve'}"
    response = _curve(curve)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32" + bytes(4) + b"".join(_fixed(value) for value in adaptation.ravel()),
        b"rXYZ": _xyz(colours[:, 0]),
        b"gXYZ": _xyz(colours[:, 1]),
        b"bXYZ": _xyz(colours[:, 2]),
        b"rTRC": response,
        b"gTRC": response,
        b"bTRC": response,
    }
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for number, data in tags.items():
        table += number + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"\x00" * 4, 0x04300000, b"mntr", b"RGB ", b"XYZ ") + _DATE + b"acsp"
    head += bytes(28) + b"".join(_fixed(value) for value in _D50)
    return head.ljust(128, b"\x00") + table + body


def from_d65_to_d50() -> Matrix:
    """Return Bradford's matrix ``(3, 3)`` from XYZ under D65 to XYZ under ICC's D50."""
    before, after = _BRADFORD @ xyz_of_white(), _BRADFORD @ _D50
    made: Matrix = np.linalg.solve(_BRADFORD, (after / before)[:, None] * _BRADFORD)
    return made


def _curve(curve: str) -> bytes:
    if curve == "linear":
        return b"curv" + bytes(8)
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(_fixed(value) for value in numbers)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _xyz(values: Matrix) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(value) for value in values)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
