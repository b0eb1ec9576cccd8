"""Raw files into memory: linear values, black at 0 and white at 1, with what development needs to know."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.files import camera_exif, libraw
from photic.apps.rawnind.files.libraw import MAX_PIXELS, raw_size
from photic.apps.rawnind.files.raw_tags import BASELINE_EXPOSURE, ORIENTATION, RawTags, read_tags
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import DataError
from photic.data.photo import exif
from photic.data.photo.exif import Directory
from photic.functional.cfa import Pattern

__all__ = ["MAX_PIXELS", "RAW_SUFFIXES", "raw_size", "read_raw"]

RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw"),
    *(".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
"""Endings by which raw files are found in folders."""
_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}
_MIRRORED = (2, 4, 5, 7)
_LEAST_FACTOR, _MOST_FACTOR = 1 / 16, 16.0
_WARM_K = 4500
_LARGEST_ISO_TAG = 65535
_COLOURS = {"RGBG": (0, 1, 2, 1), "RGB": (0, 1, 2)}
_SEEN = 12  # rows and columns of the pattern that LibRaw is asked for
_MOST_CLIPPED = 0.99


def read_raw(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> RawPicture:
    """Read a raw file: CR2, CR3, CRW, NEF, ARW, RAF, DNG and what else LibRaw decodes, in a process of its own.

    Values are (x - black) / (white - black) of the visible area. Black is each colour's own level, as LibRaw or the file has it. White is
    the WhiteLevel of a DNG; of other files the level at which LibRaw takes the sensor for full, not the camera's own
    nominal white, which lies below. Nothing is clamped: values below black are negative, values above white are above 1.

    The colour matrix is that of a DNG's tags which was measured nearest to D65 (with AnalogBalance and CameraCalibration), else LibRaw's
    of that camera. The as-shot white balance is kept if its factors are finite, positive and between 1/16 and 16. A DNG's
    BaselineExposure is noted, not applied.

    Args:
        path: the file.
        max_pixels: larger sensors are refused before anything is decoded.

    Raises:
        DataError: the file is missing, no raw file, truncated, damaged, too large, of a sensor without red, green and blue filters (or with
            a pattern other than 2 x 2 or 6 x 6), without a single value above black, or brings LibRaw down.

    >>> read_raw("IMG_0848.CR2").pattern  # doctest: +SKIP
    ((0, 1), (1, 2))
    """
    path = Path(path)
    tags = read_tags(path) if path.is_file() else None
    if tags is not None:
        tags.check_length(path)
    found = libraw.decode(path, max_pixels=max_pixels)
    facts, notes = found.facts, list[str]()
    colours = _COLOURS.get(facts["colours"])
    if colours is None or facts["num_colours"] != 3:
        raise DataError(
            f"{path}: a sensor with the colours {facts['colours']} ({facts['num_colours']}); expected red, green and blue filters. "
            "Develop it with the camera's own program"
        )
    if not found.pixels.any():
        raise DataError(
            f"{path}: decodes to nothing but zeros: LibRaw does not know its compression, or its pixels are gone; convert it to an "
            "uncompressed DNG, or copy it from the card again"
        )
    numbers = None
    if found.pixels.ndim == 2:
        numbers = _period(path, facts["pattern"], colours)
    else:
        notes.append("three colours at each pixel already: taken as linear RGB, not demosaiced")
    whites = _whites(facts, tags)
    blacks = _blacks(path, facts, tags, numbers)
    if not (blacks < whites.min()).all():
        raise DataError(f"{path}: black level {blacks.max():g} is not below white level {whites.min():g}; its tags are damaged")
    values = _scaled(found.pixels, numbers, blacks, whites)
    _judge(path, values, notes)
    block = camera_exif.read_exif(path, tags, facts)
    below = block.below[exif.EXIF_IFD]
    return RawPicture(
        values=values,
        pattern=None if numbers is None else tuple(tuple(colours[number] for number in row) for row in numbers),
        xyz_to_camera=_matrix(facts, tags, notes),
        white_balance=_white_balance(facts, notes),
        camera=camera_exif.camera_name(block),
        iso=_iso(below, facts),
        exposure_s=camera_exif.number_of(below, camera_exif.EXPOSURE),
        aperture=camera_exif.number_of(below, camera_exif.APERTURE),
        orientation=_orientation(facts, tags),
        exif=exif.pack(block),
        black_levels=_by_cell(blacks, numbers),
        white_level=float(whites.min()),
        noise=None if tags is None else tags.noise_profile(),
        source=path,
        baseline_exposure_ev=_baseline_exposure(tags, notes),
        notes=tuple(notes),
    )


def _period(path: Path, seen: list[list[int]] | None, colours: tuple[int, ...]) -> Pattern:
    """Return the numbers of the colours of the smallest cell that repeats."""
    for side in (2, 6):
        if seen is None or {colours[number] for row in seen for number in row} != {0, 1, 2}:
            break
        if all(seen[y][x] == seen[y % side][x % side] for y in range(_SEEN) for x in range(_SEEN)):
            return tuple(tuple(row[:side]) for row in seen[:side])
    raise DataError(
        f"{path}: no colour filter pattern of 2 x 2 (Bayer) or 6 x 6 (X-Trans) pixels; monochrome and other sensors cannot be developed"
    )


def _whites(facts: dict[str, Any], tags: RawTags | None) -> NDArray[np.float64]:
    """Return the white level of each of LibRaw's four colours; a DNG may tell red, green and blue apart."""
    each = tags.white_levels() if tags is not None and tags.is_dng else None
    if each is not None and facts["white"] in each:  # LibRaw scales some kinds of pixels, and the level with them
        return np.array([*each, each[1]])
    return np.full(4, facts["white"])


def _blacks(path: Path, facts: dict[str, Any], tags: RawTags | None, numbers: Pattern | None) -> NDArray[np.float64]:
    """Return black levels ``(rows, columns)`` of a cell that repeats, or ``(1, 3)`` for three colours at each pixel."""
    each = facts["black"]
    if each is None:
        cell = None if tags is None else tags.black_levels()
        if cell is None or numbers is None:
            raise DataError(f"{path}: black levels in a pattern that neither LibRaw nor its tags tell; convert it to DNG")
        return cell
    if numbers is None:
        return np.array(each[:3])[None]
    return np.array([[each[number] for number in row] for row in numbers])


def _scaled(
    pixels: NDArray[np.uint16], numbers: Pattern | None, blacks: NDArray[np.float64], whites: NDArray[np.float64]
) -> NDArray[np.float32]:
    values = pixels.astype(np.float32)
    if numbers is None:
        for colour in range(3):
            values[..., colour] -= np.float32(blacks[0, colour])
            values[..., colour] *= np.float32(1 / (whites[colour] - blacks[0, colour]))
        return values
    rows, columns = math.lcm(len(numbers), blacks.shape[0]), math.lcm(len(numbers[0]), blacks.shape[1])
    for y in range(rows):
        for x in range(columns):
            black = blacks[y % blacks.shape[0], x % blacks.shape[1]]
            white = whites[numbers[y % len(numbers)][x % len(numbers[0])]]
            part = values[y::rows, x::columns]
            part -= np.float32(black)
            part *= np.float32(1 / (white - black))
    return values


def _judge(path: Path, values: NDArray[np.float32], notes: list[str]) -> None:
    """Refuse pictures without light; note those with nothing but light."""
    if not (values > 0).any():
        raise DataError(
            f"{path}: black all over: no value lies above the black level, so there is nothing to develop. If the picture was "
            "exposed, its black level is wrong: convert it to DNG; else take it again"
        )
    clipped = float((values >= 1).mean())
    if clipped > _MOST_CLIPPED:
        notes.append(f"overexposed: {clipped:.1%} of its values are clipped; it becomes white")


def _matrix(facts: dict[str, Any], tags: RawTags | None, notes: list[str]) -> NDArray[np.float64] | None:
    own = tags.colour_matrix() if tags is not None and tags.is_dng else None
    if own is not None:
        matrix, kelvin = own
        if kelvin is not None and kelvin < _WARM_K:
            notes.append(f"its colour matrix was measured in light of {kelvin:.0f} K; colours in daylight are less exact")
    else:
        matrix = np.asarray(facts["matrix"], np.float64)[:3]
    rank = np.linalg.matrix_rank(matrix) if matrix.shape == (3, 3) and np.isfinite(matrix).all() else 0
    if rank == 3:
        return matrix
    notes.append("no colour matrix: neither the file nor LibRaw has one for this camera")
    return None


def _white_balance(facts: dict[str, Any], notes: list[str]) -> NDArray[np.float64] | None:
    found = np.array(facts["white_balance"][:3], np.float64)
    if np.isfinite(found).all() and (found > 0).all():
        factors: NDArray[np.float64] = found / found[1]
        if (factors >= _LEAST_FACTOR).all() and (factors <= _MOST_FACTOR).all():
            return factors
    notes.append(f"no as-shot white balance: the file's factors {', '.join(f'{value:.3g}' for value in found)} cannot be true")
    return None


def _iso(below: Directory, facts: dict[str, Any]) -> float | None:
    """Return what EXIF says; LibRaw's where it does not, or where its two bytes are full."""
    own = camera_exif.number_of(below, camera_exif.ISO)
    known = camera_exif.ISO in below.tags and own != _LARGEST_ISO_TAG
    return own if known else (float(facts["iso"]) or None)


def _by_cell(blacks: NDArray[np.float64], numbers: Pattern | None) -> tuple[float, ...]:
    """Return levels as a picture keeps them: one if all are the same, else of red, green, green, blue, or of red, green, blue."""
    if (blacks == blacks.flat[0]).all():
        return (float(blacks.flat[0]),)
    if numbers is None:
        return tuple(float(level) for level in blacks[0])
    if blacks.shape != (2, 2):
        return tuple(float(level) for level in blacks.flat)
    by_number = {numbers[y][x]: float(blacks[y, x]) for y in range(2) for x in range(2)}
    return tuple(by_number[number] for number in (0, 1, 3, 2) if number in by_number)


def _orientation(facts: dict[str, Any], tags: RawTags | None) -> int:
    said = None if tags is None else tags.number(tags.first, ORIENTATION)
    if said is not None and int(said) in _MIRRORED:  # LibRaw knows turns only
        return int(said)
    return _ORIENTATIONS.get(facts["flip"], 1)


def _baseline_exposure(tags: RawTags | None, notes: list[str]) -> float:
    value = None if tags is None else tags.number(tags.first, BASELINE_EXPOSURE)
    if not value or not math.isfinite(value):
        return 0.0
    notes.append(f"its maker means it {value:+.2f} EV brighter (BaselineExposure); this is not applied, --exposure does it")
    return value
