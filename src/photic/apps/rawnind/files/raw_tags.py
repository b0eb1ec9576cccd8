"""Tags of raw files that are TIFF files inside (DNG, CR2, NEF, ARW, ...): what LibRaw does not tell of colour and noise."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag

_MAGIC = (b"II*\x00", b"MM\x00*", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR")
"""TIFF in both orders, and Panasonic's and Olympus's own beginnings of it."""
SUBFILE, PHOTOMETRIC, STRIPS, TILES, SUB_IFDS, ORIENTATION = 254, 262, (273, 279), (324, 325), 330, 0x0112
DNG_VERSION, BLACK_DIMENSIONS, BLACK, WHITE, NOISE_PROFILE = 50706, 50713, 50714, 50717, 51041
_MATRICES, _CALIBRATIONS, _ILLUMINANTS = (50721, 50722, 52531), (50723, 50724, 52532), (50778, 50779, 52529)
ANALOG_BALANCE, BASELINE_EXPOSURE, LENS_INFO = 50727, 50730, 50736
_CFA, _LINEAR = 32803, 34892
_WANTED = (
    *(SUBFILE, PHOTOMETRIC, *STRIPS, *TILES, SUB_IFDS, ORIENTATION, DNG_VERSION, BLACK_DIMENSIONS, BLACK, WHITE, NOISE_PROFILE),
    *(*_MATRICES, *_CALIBRATIONS, *_ILLUMINANTS, ANALOG_BALANCE, BASELINE_EXPOSURE, LENS_INFO),
)
_KELVIN: dict[int, float] = {1: 5500, 2: 4200, 3: 2850, 4: 5500, 9: 5500, 10: 6500, 11: 7500, 12: 6400, 13: 5050, 14: 4150, 15: 3525}
_KELVIN |= {17: 2856, 18: 4874, 19: 6774, 20: 5503, 21: 6504, 22: 7504, 23: 5003, 24: 3200}
_D65_K = 6504
_FORMATS = {1: "B", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "2i", 11: "f", 12: "d", 13: "I"}
_MOST_DIRECTORIES = 64


@dataclass(frozen=True)
class RawTags:
    """The directories of a file."""

    order: str
    """``<`` little or ``>`` big endian."""
    first_offset: int
    """Where the first directory is."""
    directories: tuple[Directory, ...]
    """Chosen tags of all of them, the file's first one first."""
    num_bytes: int
    """Length of the file."""

    @property
    def first(self) -> Directory:
        """The first directory."""
        return self.directories[0]

    @property
    def is_dng(self) -> bool:
        """Whether it is a DNG."""
        return DNG_VERSION in self.first.tags

    def raw_directory(self) -> Directory | None:
        """Return the directory of the raw pixels; None where no directory says that it holds them."""
        kinds = (_CFA, _LINEAR)
        found = [own for own in self.directories if self.number(own, PHOTOMETRIC) in kinds and not int(self.number(own, SUBFILE) or 0) & 1]
        return max(found, key=lambda own: sum(self._extents(own).values()), default=None)

    def number(self, own: Directory, tag: int) -> float | None:
        """Return the first number of a tag."""
        values = self.numbers(own, tag)
        return float(values[0]) if len(values) else None

    def numbers(self, own: Directory, tag: int) -> NDArray[np.float64]:
        """Return the numbers of a tag, fractions as quotients (0 / 0 is 0); none where it is absent."""
        found = own.tags.get(tag)
        return np.zeros(0) if found is None else decoded(found, self.order)

    def check_length(self, path: Path) -> None:
        """Refuse a file whose raw pixels reach beyond its end.

        Raises:
            DataError: they do.
        """
        own = self.raw_directory() or max(self.directories, key=lambda own: sum(self._extents(own).values()))
        end = max((start + count for start, count in self._extents(own).items()), default=0)
        if end > self.num_bytes:
            raise DataError(
                f"{path}: truncated raw file: its pixels reach to byte {end:,}, the file ends at {self.num_bytes:,}; copy it from the card "
                "again"
            )

    def _extents(self, own: Directory) -> dict[int, int]:
        """Return the beginning and length of each piece of pixels."""
        for starts, counts in (STRIPS, TILES):
            if starts in own.tags and counts in own.tags:
                pairs = zip(self.numbers(own, starts), self.numbers(own, counts), strict=False)
                return {int(start): int(count) for start, count in pairs}
        return {}

    def colour_matrix(self) -> tuple[NDArray[np.float64], float | None] | None:
        """Return the matrix ``(3, 3)`` XYZ to camera that was measured nearest to D65, with that light's temperature in kelvin.

        It is AnalogBalance x CameraCalibration x ColorMatrix, as the DNG specification has it. None: the file has none for three colours.
        """
        found = []
        for matrix, calibration, illuminant in zip(_MATRICES, _CALIBRATIONS, _ILLUMINANTS, strict=True):
            values = self.numbers(self.first, matrix)
            if len(values) != 9 or not np.isfinite(values).all() or not values.any():
                continue
            own = self.numbers(self.first, calibration)
            calibrated = own.reshape(3, 3) if len(own) == 9 and np.isfinite(own).all() and own.any() else np.eye(3)
            found.append((calibrated @ values.reshape(3, 3), _KELVIN.get(int(self.number(self.first, illuminant) or 0))))
        if not found:
            return None
        chosen, kelvin = min(found, key=lambda one: _from_d65(one[1]))
        balance = self.numbers(self.first, ANALOG_BALANCE)
        if len(balance) == 3 and np.isfinite(balance).all() and (balance > 0).all():
            chosen = balance[:, None] * chosen
        return chosen, kelvin

    def noise_profile(self) -> tuple[float, float] | None:
        """Return a and b of the variance a x + b, the mean over the colours; None where the file does not say."""
        for own in (self.raw_directory(), self.first):
            values = np.zeros(0) if own is None else self.numbers(own, NOISE_PROFILE)
            if len(values) in (2, 6) and np.isfinite(values).all() and (values[::2] >= 0).all() and values.any():
                scale, offset = float(values[::2].mean()), float(values[1::2].mean())
                return scale, max(offset, 0.0)
        return None

    def white_levels(self) -> NDArray[np.float64] | None:
        """Return WhiteLevel of red, green and blue; None where the file does not tell them apart."""
        own = self.raw_directory()
        values = np.zeros(0) if own is None else self.numbers(own, WHITE)
        return values if len(values) == 3 and (values > 0).all() else None

    def black_levels(self) -> NDArray[np.float64] | None:
        """Return BlackLevel's cell ``(rows, columns)`` of a mosaic; None where the file has none, or none of that form."""
        own = self.raw_directory()
        if own is None:
            return None
        values, sides = self.numbers(own, BLACK), self.numbers(own, BLACK_DIMENSIONS)
        rows, columns = (int(sides[0]), int(sides[1])) if len(sides) == 2 else (1, 1)
        return values.reshape(rows, columns) if len(values) == rows * columns > 0 else None


def read_tags(path: Path) -> RawTags | None:
    """Return the tags of a file; None if it is no TIFF file inside, or damaged."""
    with mapped(path) as data:
        if data is None or data[:4] not in _MAGIC:
            return None
        order = "<" if data[:2] == b"II" else ">"
        (first,) = struct.unpack_from(order + "I", data, 4)
        try:
            directories = tuple(_all(data, first, order))
            return RawTags(order, first, directories, len(data)) if directories else None
        except (exif.DamagedExif, struct.error):
            return None


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap | None]:
    """Give a file's bytes without reading them all; None for a file too short to be anything."""
    with path.open("rb") as handle:
        if path.stat().st_size < 32:
            yield None
            return
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def decoded(tag: Tag, order: str) -> NDArray[np.float64]:
    """Return the numbers of a tag as floats, fractions as quotients (0 / 0 is 0); none where it holds text."""
    form = _FORMATS.get(tag.kind)
    if form is None:
        return np.zeros(0)
    kind = {"B": "u1", "b": "i1", "H": "u2", "h": "i2", "I": "u4", "i": "i4", "f": "f4", "d": "f8"}[form[-1]]
    values = np.frombuffer(tag.data, np.dtype(order + kind)).astype(np.float64)
    if form.startswith("2"):
        above, below = values[::2], values[1::2]
        values = np.divide(above, below, out=np.where(above == 0, 0.0, np.inf), where=below != 0)
    return values


def _all(data: mmap.mmap, first: int, order: str) -> Iterator[Directory]:
    """Give the directories of the file's chain and those below them, each once."""
    waiting, seen = [first], set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        offset = waiting.pop(0)
        if offset in seen or not offset:
            continue
        seen.add(offset)
        try:
            own = exif.chosen(data, offset, order, _WANTED)
            following = exif.following(data, offset, order)
        except exif.DamagedExif:
            if offset == first:
                raise
            continue
        yield own
        below = own.tags.get(SUB_IFDS)
        waiting += [] if below is None else [int(place) for place in decoded(below, order)]
        waiting.append(following)


def _from_d65(kelvin: float | None) -> float:
    """Return how far a light is from D65, in reciprocal temperature; unknown ones come last."""
    return float("inf") if kelvin is None else abs(1e6 / kelvin - 1e6 / _D65_K)
