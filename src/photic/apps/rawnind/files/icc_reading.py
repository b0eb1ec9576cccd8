"""Colour spaces from ICC profiles: the curves and primaries of profiles that are a matrix and curves, as those of photographs are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.files.profiles import from_d65_to_d50
from photic.functional.raw_colour import Matrix

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From encoded values in [0, 1] to linear light."""
_MOST_TAGS, _MOST_POINTS = 200, 65536
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
_WORST_CONDITION = 1e4


class UnknownProfile(ValueError):  # noqa: N818 - says what the profile is
    """A profile that is no matrix with curves, or is damaged."""


@dataclass(frozen=True)
class ColourSpace:
    """A space of red, green and blue."""

    curves: tuple[Curve, Curve, Curve]
    """Of red, green and blue."""
    to_xyz: Matrix
    """``(3, 3)``: linear values to XYZ under D65, Y of white about 1."""


def colour_space(profile: bytes) -> ColourSpace:
    """Return the space that an ICC profile of RGB pictures describes.

    Source: ICC.1:2010 (profile version 4.3), matrix/TRC profiles.

    Raises:
        UnknownProfile: it is no matrix with curves (but, say, tables), or damaged.

    >>> from photic.apps.rawnind.files.profiles import icc_profile
    >>> colour_space(icc_profile("srgb", "srgb")).to_xyz.round(3)[1].tolist()
    [0.213, 0.715, 0.072]
    """
    try:
        tags = _tags(profile)
        colours = np.stack([_xyz(profile, tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
        red, green, blue = (_curve(profile, tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    except KeyError as error:
        raise UnknownProfile(f"it has no {error.args[0].decode()}, so it is no matrix with curves") from error
    except (struct.error, IndexError, ZeroDivisionError) as error:
        raise UnknownProfile("it is damaged") from error
    to_xyz: Matrix = np.linalg.solve(from_d65_to_d50(), colours).astype(np.float64)
    if not np.isfinite(to_xyz).all() or np.linalg.cond(to_xyz) > _WORST_CONDITION:
        raise UnknownProfile("its primaries make no space of colours")
    return ColourSpace((red, green, blue), to_xyz)


def _tags(profile: bytes) -> dict[bytes, tuple[int, int]]:
    """Return place and length of each tag."""
    if len(profile) < 132 or profile[36:40] != b"acsp" or profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
        raise UnknownProfile("it is no profile from RGB to XYZ")
    (count,) = struct.unpack_from(">I", profile, 128)
    if count > _MOST_TAGS:
        raise UnknownProfile("it is damaged")
    found = {}
    for index in range(count):
        name, place, length = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if place + length > len(profile):
            raise UnknownProfile("it is cut short")
        found[name] = (place, length)
    return found


def _fixed(profile: bytes, place: int, count: int) -> NDArray[np.float64]:
    return np.array(struct.unpack_from(f">{count}i", profile, place), np.float64) / 65536


def _xyz(profile: bytes, tag: tuple[int, int]) -> NDArray[np.float64]:
    place, length = tag
    if length < 20 or profile[place : place + 4] != b"XYZ ":
        raise UnknownProfile("its primaries are damaged")
    return _fixed(profile, place + 8, 3)


def _curve(profile: bytes, tag: tuple[int, int]) -> Curve:
    place, length = tag
    kind = profile[place : place + 4]
    if kind == b"curv":
        (count,) = struct.unpack_from(">I", profile, place + 8)
        if count > _MOST_POINTS or 12 + 2 * count > length:
            raise UnknownProfile("its curves are damaged")
        points = np.array(struct.unpack_from(f">{count}H", profile, place + 12), np.float64)
        if count == 0:
            return lambda values: values
        if count == 1:
            return _power(points[0] / 256)
        return lambda values: np.interp(values, np.linspace(0, 1, count), points / 65535)
    if kind == b"para":
        (number,) = struct.unpack_from(">H", profile, place + 8)
        wanted = _PARAMETERS.get(number)
        if wanted is None or 12 + 4 * wanted > length:
            raise UnknownProfile("its curves are of an unknown kind")
        return _parametric(number, _fixed(profile, place + 12, wanted).tolist())
    raise UnknownProfile("its curves are of an unknown kind")


def _power(gamma: float) -> Curve:
    return lambda values: np.maximum(values, 0) ** gamma


def _parametric(number: int, given: list[float]) -> Curve:
    """Return one of the five functions: a power above a threshold, a line or a constant below it."""
    if number == 0:
        return _power(given[0])
    gamma, a, b = given[:3]
    if gamma < 0 or (number < 3 and a == 0):
        raise UnknownProfile("its curves are damaged")
    above, slope, below, threshold = 0.0, 0.0, 0.0, -b / a if a else 0.0
    if number == 2:
        above = below = given[3]
    if number >= 3:
        slope, threshold = given[3:5]
    if number == 4:
        above, below = given[5:7]

    def curve(values: NDArray[np.float64]) -> NDArray[np.float64]:
        made: NDArray[Any] = np.where(values >= threshold, np.maximum(a * values + b, 0) ** gamma + above, slope * values + below)
        return made

    return curve
