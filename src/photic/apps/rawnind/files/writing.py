"""Developed pictures into files: OpenEXR, TIFF, PNG, JPEG and linear DNG, by the ending of the name, band by band."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.files import camera_exif, exr, tiff_stream
from photic.apps.rawnind.files.bands import Band, gathered, regrouped, turned_size, upright
from photic.apps.rawnind.files.developing import Developer, Development, encoded
from photic.apps.rawnind.files.dng import write_linear_dng
from photic.apps.rawnind.files.profiles import chromaticities, icc_profile
from photic.apps.rawnind.files.tiff_stream import longs, opaque, shorts
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.files import saved
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag
from photic.data.photo.files import Photo, turned, write_photo

WRITABLE = (".dng", ".exr", ".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""Endings of developed pictures."""
_BITS = {".exr": (16, 32), ".tif": (16, 32), ".tiff": (16, 32), ".png": (8, 16), ".jpg": (8,), ".jpeg": (8,), ".dng": (16,)}
"""Bits per channel that a format can have, the usual ones first."""
_FOR_SCREENS = (".png", ".jpg", ".jpeg")
_STRIP_ROWS = 64
_NOTED_FULL = 0.98
_DEFLATE, _INTEGER_PREDICTOR, _FLOAT_PREDICTOR = 8, 2, 3
_LONGEST_JPEG_EXIF = 65535 - 2 - len(exif.PREFIX)
_LENS_FIELDS = (("lensModel", camera_exif.LENS_MODEL), ("lensMake", camera_exif.LENS_MAKE))


def write_developed(
    path: Path | str,
    size: tuple[int, int],
    bands: Iterable[Band],
    picture: RawPicture,
    *,
    how: Development | None = None,
    bits: int | None = None,
    quality: int = 95,
    force: bool = False,
) -> tuple[str, ...]:
    """Develop a demosaiced picture band by band and write it in the format of the name's ending, whole or not at all.

    ========  ==============================================================================================================
    .exr      linear light, half floats (16 bits) or floats (32), chromaticities in the header
    .tif      sRGB's curve (16 bits) or linear light as floats (32), with an ICC profile of the space; deflated
    .png      sRGB, 8 or 16 bits
    .jpg      sRGB, 8 bits
    .dng      linear, in the camera's own colours, not developed at all: white balance and matrix are told in tags
    ========  ==============================================================================================================

    Every format but DNG holds the picture upright; a DNG says in a tag how it is to be turned. EXIF goes into all of them, into EXR what
    its standard attributes hold. Only pictures that have to be turned, PNG and JPEG are ever whole in memory, in the type of the file.

    Args:
        path: where; missing folders are made.
        size: height and width of the bands, in pixels.
        bands: rows ``(n, W, 3)`` in the camera's own colours, black at 0 and white at 1, not white-balanced, from the top down; such as
            :func:`photic.apps.rawnind.files.developing.camera_bands` gives them.
        picture: the raw picture that they come from.
        how: the development; the usual one if None. PNG and JPEG are sRGB whatever its space.
        bits: per channel; the format's usual ones if None.
        quality: of JPEG, 1 to 100.
        force: replace what is there.

    Returns:
        What a user should know.

    Raises:
        ConfigError: another ending, bits that the format does not have, a quality out of range, or there is such a file already.
        DataError: the picture has no colour matrix, the bands do not make such a picture, or have values that are not finite.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    depth = check_format(path, bits)
    if suffix == ".dng":
        return write_linear_dng(path, size, bands, picture, force=force)
    how = how or Development()
    if suffix in _FOR_SCREENS:
        how = how.replace(space="srgb")
    developer = Developer(picture, how)
    developed = ((top, developer.rows(band)) for top, band in bands)
    block = _block(picture, turned_size(size, picture.orientation))
    if suffix in _FOR_SCREENS:
        _write_for_screens(path, size, developed, picture.orientation, block, depth=depth, quality=quality, force=force)
    else:
        with saved(path, force=force) as temporary:
            if suffix == ".exr":
                _write_exr(temporary, size, developed, picture, block, half=depth == 16, space=how.space)
            else:
                _write_tiff(temporary, size, developed, picture.orientation, block, depth=depth, space=how.space)
    return _notes(developer, picture)


def check_format(path: Path, bits: int | None = None) -> int:
    """Return the bits per channel that a file gets.

    Raises:
        ConfigError: an ending that cannot be written, or bits that its format does not have.
    """
    allowed = _BITS.get(path.suffix.lower())
    if allowed is None:
        raise ConfigError(f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(WRITABLE)}")
    if bits is not None and bits not in allowed:
        raise ConfigError(f"{path}: {bits} bits per channel: a {path.suffix} file has {' or '.join(map(str, allowed))}")
    return allowed[0] if bits is None else bits


def _notes(developer: Developer, picture: RawPicture) -> tuple[str, ...]:
    notes = []
    if developer.how.white_balance == "as-shot" and picture.white_balance is None:
        notes.append("developed with the white balance of daylight, as it has none of its own; --white-balance sets another")
    if developer.full < _NOTED_FULL:
        notes.append(f"its sensor is full at {developer.full:.1%} of the white level; that became white")
    return tuple(notes)


def _block(picture: RawPicture, size: tuple[int, int]) -> Directory | None:
    """Return EXIF of the picture upright and of its own size."""
    if picture.exif is None:
        return None
    made = exif.in_order(exif.unpack(picture.exif), "<")
    made.tags[exif.ORIENTATION] = shorts(1)
    below = made.below.get(exif.EXIF_IFD)
    if below is not None:
        below.tags |= {0xA002: longs(size[1]), 0xA003: longs(size[0])}
    return made


def _write_for_screens(
    path: Path,
    size: tuple[int, int],
    bands: Iterable[Band],
    orientation: int,
    block: Directory | None,
    *,
    depth: int,
    quality: int,
    force: bool,
) -> None:
    kind = np.uint8 if depth == 8 else np.uint16
    if path.exists() and not force:  # said before anything is developed
        raise ConfigError(f"{path}: is there already; give another name, or force (--force) to replace it")
    pixels = gathered(((top, encoded(band, kind)) for top, band in _finite(bands)), size)
    packed = None if block is None else exif.pack(block)
    if packed is not None and path.suffix.lower() != ".png" and len(packed) > _LONGEST_JPEG_EXIF:
        packed = camera_exif.without_maker_note(packed)
    write_photo(
        path,
        Photo(np.ascontiguousarray(turned(pixels, orientation)), icc=icc_profile("srgb", "srgb"), exif=packed),
        quality=quality,
        force=force,
    )


def _finite(bands: Iterable[Band]) -> Iterator[Band]:
    """Give bands, refusing what rounding would hide."""
    for top, band in bands:
        if not np.isfinite(band).all():
            raise DataError(f"rows {top} to {top + band.shape[0]}: values that are not finite; the picture cannot be written")
        yield top, band


def _write_exr(
    path: Path, size: tuple[int, int], bands: Iterable[Band], picture: RawPicture, block: Directory | None, *, half: bool, space: str
) -> None:
    kind = np.float16 if half else np.float32
    largest = float(np.finfo(kind).max)
    stored = ((top, band.clip(-largest, largest).astype(kind)) for top, band in _finite(bands))
    exr.write_exr(
        path,
        turned_size(size, picture.orientation),
        upright(stored, size, picture.orientation),
        chromaticities=chromaticities(space),
        half=half,
        attributes=_exr_attributes(picture, block),
    )


def _exr_attributes(picture: RawPicture, block: Directory | None) -> dict[str, exr.Attribute]:
    """Return what OpenEXR's standard attributes hold of EXIF."""
    numbers = {"isoSpeed": picture.iso, "expTime": picture.exposure_s, "aperture": picture.aperture}
    texts: dict[str, str] = {}
    if block is not None:
        below = block.below.get(exif.EXIF_IFD, Directory("<"))
        numbers["nominalFocalLength"] = camera_exif.number_of(below, camera_exif.FOCAL)
        texts = {name: camera_exif.text_of(below, number) for name, number in _LENS_FIELDS}
        texts["capDate"] = camera_exif.text_of(below, camera_exif.TAKEN)
        texts |= {"cameraMake": camera_exif.text_of(block, camera_exif.MAKE), "cameraModel": camera_exif.text_of(block, camera_exif.MODEL)}
        texts["owner"] = camera_exif.text_of(block, camera_exif.ARTIST)
    made = {name: exr.number(value) for name, value in numbers.items() if value is not None}
    return made | {name: exr.text(value) for name, value in texts.items() if value}


def _write_tiff(
    path: Path,
    size: tuple[int, int],
    bands: Iterable[Band],
    orientation: int,
    block: Directory | None,
    *,
    depth: int,
    space: Literal["rec2020", "srgb"],
) -> None:
    floats = depth == 32
    stored = ((top, band if floats else encoded(band, np.uint16)) for top, band in _finite(bands))
    height, width = turned_size(size, orientation)
    own: dict[int, Tag] = {} if block is None else dict(exif.descriptive(block))
    tags = own | {
        254: longs(0),
        256: longs(width),
        257: longs(height),
        258: shorts(depth, depth, depth),
        259: shorts(_DEFLATE),
        262: shorts(2),
        274: shorts(1),
        277: shorts(3),
        278: longs(_STRIP_ROWS),
        284: shorts(1),
        317: shorts(_FLOAT_PREDICTOR if floats else _INTEGER_PREDICTOR),
        339: shorts(*((3, 3, 3) if floats else (1, 1, 1))),
        34675: opaque(icc_profile(space, "linear" if floats else "srgb")),
    }
    strips = (_deflated(rows) for rows in regrouped(upright(stored, size, orientation), _STRIP_ROWS))
    below = {} if block is None else {number: made for number, made in block.below.items() if number in exif.POINTERS}
    tiff_stream.write_tiff(path, tags, strips, below=below)


def _deflated(rows: NDArray[Any]) -> bytes:
    """Return rows as differences along each, deflated."""
    rows = np.ascontiguousarray(rows)
    apart = imagecodecs.floatpred_encode if rows.dtype == np.float32 else imagecodecs.delta_encode
    return bytes(imagecodecs.zlib_encode(np.ascontiguousarray(apart(rows, axis=-2)).tobytes(), level=5))
