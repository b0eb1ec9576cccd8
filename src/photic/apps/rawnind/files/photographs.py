"""Developed pictures (JPEG, PNG, TIFF, WebP, BMP, OpenEXR) as linear ones: three colours at each pixel, their own primaries as a camera's.

The numbers of a photograph are made linear by the curves of its ICC profile, or of sRGB where it has none; the profile's primaries
become the colour matrix, and white balance is 1. So development gives back the colours of the photograph, in whatever space.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.files import camera_exif
from photic.apps.rawnind.files.icc_reading import ColourSpace, UnknownProfile, colour_space
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import DataError
from photic.data.photo import exif
from photic.data.photo.exif import DamagedExif, Directory
from photic.data.photo.files import MAX_PIXELS, photo_size, read_photo
from photic.functional.raw_colour import SRGB_TO_XYZ, XYZ_TO_SRGB, rgb_to_xyz

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".exr")
"""Endings by which developed pictures are found in folders."""
_REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_ROWS = 256


def photograph_size(path: Path | str) -> tuple[int, int]:
    """Return (height, width) as :func:`read_photograph` will deliver them, from the header alone.

    Raises:
        DataError: the file is missing or no picture.
    """
    path = Path(path)
    return _exr_size(path, _exr_file(path, header_only=True)) if path.suffix.lower() == ".exr" else photo_size(path)


def read_photograph(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> RawPicture:
    """Read a developed picture as a linear one, upright, with its EXIF.

    Args:
        path: the file.
        max_pixels: larger pictures are refused before anything is decoded.

    Returns:
        Values ``(H, W, 3)`` float32, linear, black at 0 and white at 1 (OpenEXR: as stored), without pattern; white balance 1; the colour
        matrix that of the picture's own primaries.

    Raises:
        DataError: the file is missing, no picture, truncated, damaged or too large, see :func:`photic.data.photo.files.read_photo`.

    >>> read_photograph("photo.jpg").white_balance.tolist()  # doctest: +SKIP
    [1.0, 1.0, 1.0]
    """
    path = Path(path)
    if path.suffix.lower() == ".exr":
        return _read_exr(path, max_pixels)
    photo = read_photo(path, max_pixels=max_pixels)
    notes = []
    space: ColourSpace | None = None
    if photo.icc is not None:
        try:
            space = colour_space(photo.icc)
        except UnknownProfile as reason:
            notes.append(f"its ICC profile is not used: {reason}; its numbers are taken for sRGB")
    if photo.alpha is not None and (photo.alpha != photo.alpha.max()).any():
        notes.append("its transparency is left out")
    block, directory = _block_of(photo.exif, notes)
    below = directory.below.get(exif.EXIF_IFD, Directory("<"))
    return RawPicture(
        _linear(photo.pixels, space),
        None,
        xyz_to_camera=XYZ_TO_SRGB.copy() if space is None else np.linalg.inv(space.to_xyz).astype(np.float64),
        white_balance=np.ones(3),
        camera=camera_exif.camera_name(directory),
        iso=camera_exif.number_of(below, camera_exif.ISO),
        exposure_s=camera_exif.number_of(below, camera_exif.EXPOSURE),
        aperture=camera_exif.number_of(below, camera_exif.APERTURE),
        exif=block,
        full=1.0,
        source=path,
        notes=tuple(notes),
    )


def _block_of(block: bytes | None, notes: list[str]) -> tuple[bytes | None, Directory]:
    """Return an EXIF block that can be followed, and what is in it."""
    if block is None:
        return None, Directory("<")
    try:
        return block, exif.unpack(block)
    except DamagedExif as error:
        notes.append(f"its EXIF block is damaged ({error}) and is left out")
        return None, Directory("<")


def _linear(pixels: NDArray[Any], space: ColourSpace | None) -> NDArray[np.float32]:
    """Return encoded pixels ``(H, W, 3)`` as linear float32: by tables where they are whole numbers, in rows where they are floats."""
    made = np.empty(pixels.shape, np.float32)
    curves = (_srgb,) * 3 if space is None else space.curves
    for colour, curve in enumerate(curves):
        if pixels.dtype.kind == "u":
            most = int(np.iinfo(pixels.dtype).max)
            table = curve(np.arange(most + 1) / most).astype(np.float32)
            made[..., colour] = table[pixels[..., colour]]
            continue
        for top in range(0, len(pixels), _ROWS):
            made[top : top + _ROWS, :, colour] = curve(pixels[top : top + _ROWS, :, colour].astype(np.float64))
    return made


def _srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4)
    return made


def _read_exr(path: Path, max_pixels: int) -> RawPicture:
    height, width = _exr_size(path, _exr_file(path, header_only=True))
    if height * width > max_pixels:
        raise DataError(
            f"{path}: {width} x {height} pixels are more than the limit of {max_pixels / 1e6:,.0f} megapixels; if that is meant, raise "
            "--max-megapixels"
        )
    file = _exr_file(path, header_only=False)
    try:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    except ValueError as error:  # what cannot be decoded leaves a file without parts
        raise DataError(f"{path}: its pixels cannot be decoded; the file is truncated or damaged. Copy it again") from error
    if not {"R", "G", "B"} <= set(channels):
        raise DataError(f"{path}: has the channels {', '.join(sorted(channels))}; expected R, G and B of a picture")
    values = np.stack([np.asarray(channels[name], np.float32) for name in ("R", "G", "B")], axis=-1)
    if values.shape != (height, width, 3):
        raise DataError(f"{path}: channels of {values.shape[:2]} values for {height} x {width} pixels; save it with full colour resolution")
    if not np.isfinite(values).all():
        raise DataError(f"{path}: values that are not finite; fill these pixels where the picture was made")
    x = [float(value) for value in file.header().get("chromaticities", _REC709)]
    to_xyz = rgb_to_xyz(((x[0], x[1]), (x[2], x[3]), (x[4], x[5])), (x[6], x[7])) if len(x) == 8 else SRGB_TO_XYZ
    notes = () if set(channels) <= {"R", "G", "B"} else ("only its red, green and blue are read",)
    matrix = np.linalg.inv(to_xyz).astype(np.float64)
    return RawPicture(values, None, xyz_to_camera=matrix, white_balance=np.ones(3), full=1.0, source=path, notes=notes)


def _exr_file(path: Path, *, header_only: bool) -> Any:
    import OpenEXR

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return OpenEXR.File(str(path), separate_channels=True, header_only=header_only, num_threads=0)
    except Exception as error:  # the binding raises bare Exception, RuntimeError and ValueError alike
        raise DataError(f"{path}: no OpenEXR picture, or damaged ({' '.join(str(error).split())[:160]}); save it again") from error


def _exr_size(path: Path, file: Any) -> tuple[int, int]:
    try:
        (left, top), (right, bottom) = file.header()["dataWindow"]
        height, width = int(bottom) - int(top) + 1, int(right) - int(left) + 1
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its header tells no size; expected an OpenEXR picture of scan lines or tiles") from error
    if min(height, width) < 1:
        raise DataError(f"{path}: its header says {width} x {height} pixels; it is damaged")
    return height, width
