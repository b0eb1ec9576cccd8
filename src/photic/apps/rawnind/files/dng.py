"""DNG files: linear RGB of a picture that is demosaiced, or a mosaic as it is, for any raw developer to open.

Pixels are 16 bits, compressed without loss (JPEG, the compression that DNG readers have always known).

Linear files have their black at 64 and their white at 65535. A higher black would leave more room for values below black, but LibRaw does
not take black from white where black is told for three colours, so that it would darken the picture by the ratio of both: 0.1 % as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.files import camera_exif, tiff_stream
from photic.apps.rawnind.files.bands import Band, bands_of, checked, regrouped
from photic.apps.rawnind.files.developing import balance_of
from photic.apps.rawnind.files.tiff_stream import byte_values, doubles, fractions, longs, shorts, text
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import DataError
from photic.core.files import saved
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag
from photic.functional.cfa import Pattern

LINEAR_BLACK, WHITE = 64, 65535
_MOSAIC_BLACK, _MOSAIC_WHITE = 4096, 61440
_LOSSLESS_JPEG, _UNCOMPRESSED = 7, 1
_CFA, _LINEAR_RAW = 32803, 34892
_TILE_PX, _TILE_ALIGN = 512, 16
_D65 = 21
_SAME = 0.02  # how far from whole numbers values may lie that were whole numbers in the file


def write_linear_dng(
    path: Path | str, size: tuple[int, int], bands: Iterable[Band], picture: RawPicture, *, force: bool = False
) -> tuple[str, ...]:
    """Write a demosaiced picture as a linear DNG, not white-balanced; a raw developer does the rest.

    Args:
        path: where; missing folders are made.
        size: height and width in pixels.
        bands: rows ``(n, W, 3)`` in the camera's own colours, black at 0 and white at 1, from the top down. Values below -0.1 % and above 1
            are cut off there.
        picture: what the camera said: colour matrix, white balance (of daylight if it has none), orientation (kept: the pixels are not
            turned), EXIF.
        force: replace what is there.

    Returns:
        What a user should know.

    Raises:
        ConfigError: there is such a file already.
        DataError: the picture has no colour matrix, the bands do not make such a picture, or have values that are not finite.
        StorageError: the file cannot be written.
    """
    tags = _camera_tags(picture)
    tags |= {
        262: shorts(_LINEAR_RAW),
        258: shorts(16, 16, 16),
        277: shorts(3),
        50714: shorts(LINEAR_BLACK, LINEAR_BLACK, LINEAR_BLACK),
        50717: shorts(WHITE, WHITE, WHITE),
    }
    scale, below, above = np.float32(WHITE - LINEAR_BLACK), 0, 0

    def stored() -> Iterator[Band]:
        nonlocal below, above
        for top, band in checked(bands, size):
            values = band * scale + np.float32(LINEAR_BLACK)
            below += int((values < -0.5).sum())
            above += int((values > WHITE + 0.5).sum())
            yield top, np.rint(values.clip(0, WHITE)).astype(np.uint16)

    with saved(path, force=force) as temporary:
        _write(temporary, size, stored(), tags, picture)
    share = below / max(1, size[0] * size[1] * 3)
    return (f"{share:.1%} of its values lie more than 0.1 % below black and are cut off there",) if share > 0.01 else ()


def write_mosaic_dng(path: Path | str, picture: RawPicture, *, force: bool = False) -> None:
    """Write a mosaic as a DNG with its colour filter pattern.

    Where the values are whole numbers between the file's own levels, as those of a raw file that was read, they are stored as these, to the
    bit; else with black at 4096 and white at 61440, so that values below black and above white survive.

    Args:
        path: where; missing folders are made.
        picture: a mosaic.
        force: replace what is there.

    Raises:
        ConfigError: there is such a file already.
        DataError: no mosaic, no colour matrix, or values that are not finite.
        StorageError: the file cannot be written.
    """
    pattern = picture.pattern
    if pattern is None:
        raise DataError(f"{path}: three colours at each pixel make no mosaic; write a linear DNG")
    if not np.isfinite(picture.values).all():
        raise DataError(f"{path}: values that are not finite; the picture cannot be written")
    blacks, white = _own_levels(picture, pattern) or (np.full((1, 1), _MOSAIC_BLACK), _MOSAIC_WHITE)
    tags = _camera_tags(picture)
    tags |= {
        262: shorts(_CFA),
        258: shorts(16),
        277: shorts(1),
        33421: shorts(len(pattern), len(pattern[0])),
        33422: byte_values(*(colour for row in pattern for colour in row)),
        50710: byte_values(0, 1, 2),
        50711: shorts(1),
        50713: shorts(*blacks.shape),
        50714: shorts(*(int(level) for level in blacks.flat)),
        50717: shorts(white),
    }
    if picture.noise is not None:
        tags[51041] = doubles(*picture.noise)

    def stored() -> Iterator[Band]:
        for top, band in bands_of(picture.values):
            rows = np.rint(_unscaled(band, top, blacks, white)).clip(0, WHITE)
            yield top, rows.astype(np.uint16)

    with saved(path, force=force) as temporary:
        _write(temporary, picture.size, stored(), tags, picture)


def _camera_tags(picture: RawPicture) -> dict[int, Tag]:
    """Return the tags that tell of camera and colour."""
    if picture.xyz_to_camera is None:
        raise DataError(
            f"{picture.source or 'picture'}: has no colour matrix, and a DNG needs one; convert the original with a program that knows the "
            "camera"
        )
    tags = {
        50706: byte_values(1, 4, 0, 0),
        50707: byte_values(1, 1, 0, 0),
        50708: text(picture.camera or "Unknown camera"),
        50721: fractions(*picture.xyz_to_camera.ravel(), signed=True),
        50778: shorts(_D65),
        # Without one, raw developers make up anything between daylight and none at all.
        50728: fractions(*(1 / factor for factor in balance_of(picture, "as-shot"))),
        274: shorts(picture.orientation),
        254: longs(0),
        284: shorts(1),
    }
    if picture.baseline_exposure_ev:
        tags[50730] = fractions(picture.baseline_exposure_ev, signed=True)
    if picture.source is not None:
        tags[50827] = text(picture.source.name)
    return tags


def _write(path: Path, size: tuple[int, int], bands: Iterable[Band], tags: dict[int, Tag], picture: RawPicture) -> None:
    """Write 16-bit rows in tiles; what is narrower than a tile may be, in strips without compression."""
    block = None if picture.exif is None else exif.in_order(exif.unpack(picture.exif), "<")
    own: dict[int, Tag] = {} if block is None else dict(exif.descriptive(block))
    below: dict[int, Directory] = {} if block is None else {key: value for key, value in block.below.items() if key in exif.POINTERS}
    below = _with_size(below, size)
    lens = None if exif.EXIF_IFD not in below else below[exif.EXIF_IFD].tags.get(camera_exif.LENS_SPECIFICATION)
    if lens is not None:
        own[50736] = lens
    tags = {305: text(f"Photic {version('photic')}"), **own, 256: longs(size[1]), 257: longs(size[0]), **tags}
    if size[1] < _TILE_ALIGN:
        tags |= {259: shorts(_UNCOMPRESSED), 278: longs(_TILE_PX)}
        strips = (np.ascontiguousarray(rows).astype("<u2").tobytes() for rows in regrouped(bands, _TILE_PX))
        tiff_stream.write_tiff(path, tags, strips, below=below)
        return
    # LibRaw gets lost where a tile is wider than the picture, so the last one may be, but no first one.
    width = min(_TILE_PX, size[1] // _TILE_ALIGN * _TILE_ALIGN)
    height = min(_TILE_PX, -(-size[0] // _TILE_ALIGN) * _TILE_ALIGN)
    tags |= {259: shorts(_LOSSLESS_JPEG), 322: longs(width), 323: longs(height)}
    tiff_stream.write_tiff(path, tags, _tiles(bands, width, height), tiled=True, below=below)


def _tiles(bands: Iterable[Band], width: int, height: int) -> Iterator[bytes]:
    for rows in regrouped(bands, height):
        for left in range(0, rows.shape[1], width):
            part = rows[:, left : left + width]
            missing = ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0))[: part.ndim]
            whole = np.ascontiguousarray(np.pad(part, missing, mode="edge"))
            yield bytes(imagecodecs.jpeg8_encode(whole, lossless=True, predictor=1, bitspersample=16))


def _with_size(below: dict[int, Directory], size: tuple[int, int]) -> dict[int, Directory]:
    """Return directories whose EXIF tells the picture's own size."""
    if exif.EXIF_IFD not in below:
        return below
    own = below[exif.EXIF_IFD]
    return {**below, exif.EXIF_IFD: Directory(own.order, {**own.tags, 0xA002: longs(size[1]), 0xA003: longs(size[0])}, own.below)}


def _own_levels(picture: RawPicture, pattern: Pattern) -> tuple[NDArray[np.int64], int] | None:
    """Return black levels of the pattern's cell and white level if the values are whole numbers between them."""
    levels, white = picture.black_levels, picture.white_level
    if white is None or not levels or not all(level.is_integer() and 0 <= level <= WHITE for level in (*levels, white)):
        return None
    cell = _cell(levels, pattern)
    if cell is None:
        return None
    for top, band in bands_of(picture.values):
        stored = _unscaled(band, top, cell, int(white))
        if stored.min() < -_SAME or stored.max() > WHITE + _SAME or np.abs(stored - np.rint(stored)).max() > _SAME:
            return None
    return cell, int(white)


def _cell(levels: tuple[float, ...], pattern: Pattern) -> NDArray[np.int64] | None:
    """Return levels as they lie in the pattern."""
    if len(levels) == 1:
        return np.array([[levels[0]]], np.int64)
    if len(levels) != 4 or len(pattern) != 2:
        return None
    red, first, second, blue = levels
    rows = [[{0: red, 1: first if 0 in row else second, 2: blue}[colour] for colour in row] for row in pattern]
    return np.array(rows, np.int64)


def _unscaled(band: NDArray[np.float32], top: int, blacks: NDArray[Any], white: int) -> NDArray[np.float64]:
    """Return rows in the numbers of a file with these levels."""
    rows, columns = blacks.shape
    made = band.astype(np.float64)
    for y in range(rows):
        for x in range(columns):
            black = int(blacks[(y + top) % rows, x])
            part = made[y::rows, x::columns]
            part *= white - black
            part += black
    return made
