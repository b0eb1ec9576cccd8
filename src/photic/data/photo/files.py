"""Photographs from files and into files: 8, 16 bits or floats per channel, with EXIF, ICC profile and transparency.

What is read is kept at its own depth. What is written is at that depth where the format has it: PNG 8 or 16 bits, TIFF 8, 16 bits or
floats, JPEG, WebP and BMP 8 bits. So a 16-bit photograph written as ``.jpg`` has 8 bits, rounded; a float TIFF written as ``.png`` 16.
EXIF and ICC profile go wherever there is room for them (not in BMP); XMP and IPTC do not.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor

from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import atomic_path
from photic.data.images import opened
from photic.data.photo import exif as exif_blocks
from photic.data.photo import png as photo_png
from photic.data.photo import tiff as photo_tiff
from photic.data.photo.depth import KINDS, Pixels, as_kind, from_float, to_tensor

__all__ = ["Canvas", "Photo", "as_kind", "from_float", "photo_size", "read_photo", "tile", "to_tensor", "turned", "write_photo"]

MAX_PIXELS = 250_000_000
"""Largest picture that is read unless more is asked for; its pixels alone take 0.75 GB at 8 bits, three times that as floats."""
_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
_LONGEST_SIDE_PX = {"JPEG": 65500, "WEBP": 16383}
_LONGEST_JPEG_EXIF = 65535 - 2 - len(exif_blocks.PREFIX)
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_EIGHT_BIT = (*_WITH_ALPHA, "1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, upright."""

    pixels: Pixels
    """``(H, W, 3)`` RGB: uint8, uint16, or float32 in [0, 1]."""
    alpha: Pixels | None = None
    """``(H, W)`` of the same type, opaque at its largest value; None where the file has none."""
    icc: bytes | None = None
    """ICC profile that says what the numbers mean as colours; None is taken for sRGB."""
    exif: bytes | None = None
    """EXIF block, beginning with its byte order; says that the picture lies upright, and has no thumbnail."""
    source: Path | None = None
    """The file it was read from."""

    def __post_init__(self) -> None:
        shape, kind = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind not in KINDS:
            raise DataError(f"photo: expected pixels (H, W, 3) of uint8, uint16 or float32, got {shape} {kind}")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != kind):
            raise DataError(f"photo: expected alpha {shape[:2]} {kind} like its pixels, got {self.alpha.shape} {self.alpha.dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bits(self) -> int:
        """Return bits per channel: 8, 16, or 32 for floats."""
        return self.pixels.dtype.itemsize * 8


class Canvas:
    """An array of pixels that is filled with float tiles, rounded as they come, so that no picture of floats is ever whole.

    Args:
        size: (height, width) in pixels.
        kind: uint8, uint16 or float32.

    >>> import torch
    >>> canvas = Canvas((2, 3), np.uint8)
    >>> canvas.put(torch.full((3, 2, 1), 0.5), top=0, left=2)
    >>> canvas.pixels[0, :, 0].tolist()
    [0, 0, 128]
    """

    def __init__(self, size: tuple[int, int], kind: Any) -> None:
        if np.dtype(kind) not in KINDS:
            raise DataError(f"canvas: expected uint8, uint16 or float32, got {np.dtype(kind)}")
        self.pixels: Pixels = np.zeros((*size, 3), dtype=kind)

    def put(self, values: Tensor, *, top: int, left: int) -> None:
        """Lay a tile ``(3, h, w)`` on the canvas; values beyond [0, 1] become black and white.

        Raises:
            DataError: the tile reaches beyond the canvas, or has values that are not finite.
        """
        place = self.pixels[top : top + values.shape[1], left : left + values.shape[2]]
        if min(top, left) < 0 or place.shape[:2] != tuple(values.shape[1:]):
            raise DataError(f"canvas: a tile {tuple(values.shape)} at ({top}, {left}) reaches beyond {self.pixels.shape[:2]}")
        place[...] = from_float(values, self.pixels.dtype)


def tile(photo: Photo, rows: slice, columns: slice) -> Tensor:
    """Return a part of a photograph as float32 ``(3, h, w)`` in [0, 1]; the rest of it is not converted."""
    return to_tensor(photo.pixels[rows, columns])


def photo_size(path: Path | str) -> tuple[int, int]:
    """Return (height, width) as :func:`read_photo` will deliver them, from the header alone, however large the picture is.

    Raises:
        DataError: the file is missing or no picture.
    """
    path = Path(path)
    with _any_size():
        if photo_tiff.is_tiff(path):
            facts = photo_tiff.read_facts(path)
            height, width, orientation = facts.height, facts.width, facts.orientation
        else:
            with opened(path) as image:
                (width, height), block = image.size, image.info.get("exif")
                if image.format == "PNG":
                    block = photo_png.read_facts(path).exif
                orientation = _orientation(_block(block))
    return (width, height) if orientation >= 5 else (height, width)


def read_photo(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photograph: PNG, JPEG, WebP, TIFF, BMP, and what else Pillow reads.

    The EXIF orientation is applied to the pixels and set to upright in the block, whose thumbnail is dropped. Grey and palette pictures
    become RGB. CMYK is converted to sRGB through its own profile. Other depths than 8 and 16 bits are scaled to the next of them.

    Args:
        path: the file.
        max_pixels: larger pictures are refused before anything is decoded.

    Raises:
        DataError: the file is missing, no picture, truncated, damaged, animated or too large, has several pages, CMYK without a
            profile, values that are not finite or, as floats, not in [0, 1], or a kind of number without a fixed scale.
    """
    path = Path(path)
    with _any_size():
        if photo_tiff.is_tiff(path):
            facts = photo_tiff.read_facts(path)
            _refuse_huge(path, facts.height, facts.width, max_pixels)
            if facts.deep:
                pixels, alpha = photo_tiff.read_deep(path, facts)
                return _upright(Photo(pixels, alpha, _rgb_profile(path, facts.icc), facts.exif, path), facts.orientation)
            return _read_with_pillow(path, max_pixels, facts.exif, 1)  # Pillow turns TIFF files by itself
        return _read_with_pillow(path, max_pixels)


def write_photo(path: Path | str, photo: Photo, *, quality: int = 95, force: bool = False) -> Path:
    """Write a photograph in the format of its ending, whole or not at all; missing folders are made.

    Args:
        path: ``.png``, ``.tif``, ``.tiff``, ``.jpg``, ``.jpeg``, ``.webp`` or ``.bmp``.
        photo: what to write.
        quality: of JPEG and WebP, 1 to 100; JPEG keeps full colour resolution from 90 on, WebP is lossless at 100.
        force: replace what is there.

    Returns:
        The path.

    Warns:
        UserWarning: the format cannot hold the transparency, the profile or the EXIF block.

    Raises:
        ConfigError: another ending, a quality out of range, or there is such a file already and it is not forced.
        DataError: the picture is too large for the format, or has values that are not finite.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(_FORMATS)}")
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality: expected 1 to 100, got {quality}")
    if path.is_dir() or (path.exists() and not force):
        raise ConfigError(f"{path}: is there already; give another name, or force (--force) to replace it")
    longest = _LONGEST_SIDE_PX.get(form)
    if longest is not None and max(photo.size) > longest:
        raise DataError(f"{path}: {_described(photo.size)} is more than {form} allows ({longest} pixels a side); write .png or .tif")
    photo = _fitting(path, form, photo)
    try:
        with atomic_path(path) as temporary:
            if form == "TIFF":
                photo_tiff.write(temporary, photo.pixels, photo.alpha, photo.icc, photo.exif)
            elif form == "PNG":
                temporary.write_bytes(photo_png.encode(photo.pixels, photo.alpha, photo.icc, photo.exif))
            else:
                _write_with_pillow(temporary, form, photo, quality)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; what was there before is unchanged. "
            "Free some space, or make the folder writable, then try again"
        ) from error
    return path


def _fitting(path: Path, form: str, photo: Photo) -> Photo:
    """Return what a format can hold of a photo; warn of the rest."""
    pixels, alpha, icc, block = photo.pixels, photo.alpha, photo.icc, photo.exif
    kind = pixels.dtype if form == "TIFF" else np.dtype(np.uint8)
    if form == "PNG" and pixels.dtype != np.uint8:
        kind = np.dtype(np.uint16)
    opaque = 1.0 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max
    if alpha is not None and form in ("JPEG", "BMP"):
        if (alpha != opaque).any():
            warnings.warn(f"{path}: {form} holds no transparency, so it is left out; write .png, .webp or .tif", UserWarning, stacklevel=3)
        alpha = None
    if form == "BMP" and (icc or block):
        warnings.warn(f"{path}: BMP holds neither ICC profile nor EXIF, so they are left out; write .png", UserWarning, stacklevel=3)
        icc = block = None
    if form == "JPEG" and block is not None and len(block) > _LONGEST_JPEG_EXIF:
        warnings.warn(
            f"{path}: its EXIF block of {len(block):,} bytes is more than JPEG holds ({_LONGEST_JPEG_EXIF:,}) and is left out; "
            "write .png, .webp or .tif",
            UserWarning,
            stacklevel=3,
        )
        block = None
    return Photo(as_kind(pixels, kind), None if alpha is None else as_kind(alpha, kind), icc, block, photo.source)


def _write_with_pillow(path: Path, form: str, photo: Photo, quality: int) -> None:
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    more: dict[str, Any] = {}
    if photo.icc is not None:
        more["icc_profile"] = photo.icc
    if photo.exif is not None:
        more["exif"] = exif_blocks.PREFIX + photo.exif
    if form == "JPEG":
        more.update(quality=quality, subsampling=0 if quality >= 90 else 2)
    elif form == "WEBP":
        more.update(quality=quality, lossless=quality == 100, exact=photo.alpha is not None)
    image.save(path, format=form, **more)


def _read_with_pillow(path: Path, max_pixels: int, block: bytes | None = None, orientation: int | None = None) -> Photo:
    with opened(path) as image:
        form = image.format
        png = photo_png.read_facts(path) if form == "PNG" else None
        if png is not None and png.animated:
            raise DataError(f"{path}: an animated picture; expected one picture. Save each frame as a file of its own")
        _refuse_huge(path, image.height, image.width, max_pixels)
        if png is not None and png.bits == 16:
            pixels, alpha = photo_png.decode_deep(path)
        else:
            image.load()
            pixels, alpha = _channels(path, image)
        icc = image.info.get("icc_profile")
        if block is None and form != "TIFF":
            block = _block(png.exif if png is not None else image.info.get("exif"))
        if image.mode == "CMYK":
            icc = _srgb_profile()
    if orientation is None:
        orientation = _orientation(block)
    return _upright(Photo(pixels, alpha, _rgb_profile(path, icc), block, path), orientation)


def _channels(path: Path, image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """Return colours and transparency of a decoded picture."""
    if image.mode in _SIXTEEN_BIT or (image.mode == "I" and image.format == "PPM"):
        grey = np.asarray(image).astype(np.uint16)
        return np.repeat(grey[:, :, None], 3, axis=2), None
    if image.mode not in _EIGHT_BIT:
        raise DataError(
            f"{path}: pixels of mode '{image.mode}' are no RGB or grey of a known scale; convert the picture to RGB of 8 or 16 bits"
        )
    if image.mode == "CMYK":
        return np.array(_from_cmyk(path, image)), None
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        both = np.array(image.convert("RGBA"))
        return np.ascontiguousarray(both[:, :, :3]), np.ascontiguousarray(both[:, :, 3])
    return np.array(image.convert("RGB")), None


def _from_cmyk(path: Path, image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile:
        raise DataError(f"{path}: CMYK without a profile: nobody knows what its inks look like. Convert it to RGB where it was made")
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise DataError(f"{path}: its CMYK profile cannot be used ({error}); convert the picture to RGB where it was made") from error
    assert converted is not None, "only conversion in place returns nothing"
    return converted


def _srgb_profile() -> bytes:
    """Return a profile of sRGB, always the same bytes: the date in it is not the time of the call."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def _rgb_profile(path: Path, icc: bytes | None) -> bytes | None:
    """Return a profile if it describes RGB colours; warn if it is left out."""
    if not icc:
        return None
    space = icc[16:20]
    if len(icc) >= 128 and icc[36:40] == b"acsp" and space == b"RGB ":
        return icc
    what = "is damaged" if icc[36:40] != b"acsp" else f"is for {space.decode('latin-1').strip()}, not for RGB"
    warnings.warn(f"{path}: its ICC profile {what}; it is left out and the numbers are taken for sRGB", UserWarning, stacklevel=4)
    return None


def _upright(photo: Photo, orientation: int) -> Photo:
    """Return a photo that lies as stored as it is to be seen."""
    pixels = np.ascontiguousarray(turned(photo.pixels, orientation))
    alpha = None if photo.alpha is None else np.ascontiguousarray(turned(photo.alpha, orientation))
    block = photo.exif
    if block is not None:
        try:
            block = exif_blocks.upright(block, pixels.shape[0], pixels.shape[1])
        except exif_blocks.DamagedExif as error:
            warnings.warn(f"{photo.source}: its EXIF block is damaged ({error}) and is left out", UserWarning, stacklevel=4)
            block = None
    return replace(photo, pixels=pixels, alpha=alpha, exif=block)


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an array ``(H, W, ...)`` as EXIF's orientation, 1 to 8, says it is to be seen; a view of it."""
    if orientation in (2, 5, 7, 4):
        array = array[:, ::-1]  # the rest is a rotation
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(array, turns)


def _block(stored: bytes | None) -> bytes | None:
    return stored.removeprefix(exif_blocks.PREFIX) if stored else None


def _orientation(block: bytes | None) -> int:
    """Return the orientation of a block; a damaged one says nothing (and is warned of where it is left out)."""
    try:
        return exif_blocks.orientation_of(block) if block else 1
    except exif_blocks.DamagedExif:
        return 1


def _refuse_huge(path: Path, height: int, width: int, max_pixels: int) -> None:
    pixels = height * width
    if pixels > max_pixels:
        raise DataError(
            f"{path}: {_described((height, width))} are {pixels / 1e6:,.0f} megapixels, more than the limit of {max_pixels / 1e6:,.0f}; "
            f"if that is meant and memory allows ({pixels * 3 / 2**30:.1f} GiB for 8-bit pixels alone), raise max_pixels "
            "(`photic predict --max-megapixels`)"
        )


def _described(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"


_LIMIT = threading.Lock()
_inside = 0
_usual_limit: int | None = None


@contextmanager
def _any_size() -> Iterator[None]:
    """Switch Pillow's limit of picture sizes off: ours is asked before anything is decoded."""
    global _inside, _usual_limit
    with _LIMIT:
        if _inside == 0:
            _usual_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _inside += 1
    try:
        yield
    finally:
        with _LIMIT:
            _inside -= 1
            if _inside == 0:
                Image.MAX_IMAGE_PIXELS = _usual_limit
