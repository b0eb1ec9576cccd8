"""Pictures from files: found, measured by their header, decoded whole or refused."""

from __future__ import annotations

import glob
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from photic.core.errors import DataError
from photic.core.files import atomic_path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""Endings that count as pictures when a folder or a pattern is searched."""
_BESIDE = ("", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".txt", ".md")
"""Endings of labels and words, which lie beside pictures without a remark."""

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_EIGHT_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
# What Pillow raises for damaged files, over all formats.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error, Image.DecompressionBombError)


def read_image(path: Path | str) -> np.ndarray:
    """Decode a picture file.

    Grey and palette pictures become RGB. 16-bit grey is scaled (65535 -> 255), not clipped. Transparency is
    dropped: the stored colours are the measurement. The EXIF orientation is applied.

    A JPEG carries no checksum: a file cut short is always refused, but bytes altered inside the compressed data
    can decode to another picture, which no reader can tell.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        DataError: the file is missing, no picture, damaged or truncated, holds several pictures or a kind of
            number that has no fixed scale (32-bit integers, floats).
    """
    with opened(path) as image:
        orientation = _orientation(image)
        image.load()
        if orientation in _TURNS:
            return np.ascontiguousarray(_to_rgb(image.transpose(_TURNS[orientation]), path, image.format))
        return _to_rgb(image, path, image.format)


def image_size(path: Path | str) -> tuple[int, int]:
    """Return (height, width) as :func:`read_image` will deliver them, from the header alone.

    Raises:
        DataError: the file is missing or no picture.
    """
    with opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def to_measurement(image: np.ndarray) -> Tensor:
    """Return a picture ``(H, W, 3)`` uint8 as a measurement ``(3, H, W)`` float32 in [0, 1].

    Raises:
        DataError: another shape or type.

    >>> to_measurement(np.full((2, 4, 3), 255, dtype=np.uint8)).shape
    torch.Size([3, 2, 4])
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"picture: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(torch.float32) / 255


def resize_picture(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return a picture ``(H, W, 3)`` uint8 at the size a network was trained on: the one place that training and use share.

    Args:
        image: the picture as read.
        size: (height, width) in pixels; bilinear, averaging where the picture shrinks. None, or the size it has, leaves it as it is.
    """
    if size is None or image.shape[:2] == tuple(size):
        return image
    return np.array(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def write_image(path: Path | str, image: np.ndarray) -> Path:
    """Write a picture ``(H, W, 3)`` or ``(H, W)`` uint8 as PNG, whole or not at all; missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
    return path


def list_images(source: Path | str) -> list[Path]:
    """Return the picture files of a folder (and the folders in it), a pattern such as ``strips/*.png``, or one file; sorted.

    Raises:
        DataError: nothing of that name exists, or there is no picture in it.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if _is_picture(file.relative_to(path)) and file.is_file()]
        place = f"{path}: no pictures in this folder"
    elif glob.has_magic(str(source)):
        # Path.glob cannot start at an absolute pattern.
        matches = map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207
        found = [file for file in matches if _is_picture(Path(file.name)) and file.is_file()]
        place = f"{source}: no picture matches this pattern"
    else:
        raise DataError(f"{path}: no such file or folder")
    if not found:
        raise DataError(f"{place} (looked for {', '.join(SUFFIXES)})")
    return sorted(set(found))


def passed_over(folder: Path, known: Collection[str] = SUFFIXES) -> tuple[str, ...]:
    """Return a remark about files in a folder (and the folders in it) that are of no kind that is read; nothing if there are none.

    Labels and texts, and what is hidden, are not spoken of.

    Args:
        folder: where pictures were looked for.
        known: endings of what is read.
    """
    others = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() not in (*known, *_BESIDE) and not _is_hidden(file.relative_to(folder)) and file.is_file()
    )
    if not others:
        return ()
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in Counter(file.suffix.lower() for file in others).most_common())
    return (
        f"{folder}: files of other kinds were passed over: {kinds} (for example {others[0].relative_to(folder)}); "
        f"read are {', '.join(known)}. Convert what is meant to be among the pictures",
    )


def _is_picture(name: Path) -> bool:
    return name.suffix.lower() in SUFFIXES and not _is_hidden(name)


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


@contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """Open a picture file, its pixels not decoded yet; what goes wrong until it is closed is explained.

    Raises:
        DataError: the file is missing, no picture, damaged or truncated, or holds several pictures.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder; expected a picture file" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}")
    try:
        with Image.open(path) as image:
            # A camera's JPEG may carry a preview as a second picture; anywhere else a second picture is a question.
            frames = 1 if image.format in ("JPEG", "MPO", "PNG") else getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(f"{path}: holds {frames} pictures; expected one. Save each as a file of its own")
            yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        size = path.stat().st_size
        raise DataError(
            f"{path}: not a picture that can be read ({size} bytes); replace the file or take it out of the data set"
        ) from error
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged or truncated picture ({error}); replace the file or take it out of the data set") from error


def _orientation(image: Image.Image) -> int:
    # PNG may store EXIF behind the pixels; asking for that would decode them, so only what the header holds counts.
    # Pillow turns TIFF files by itself.
    if (image.format == "PNG" and "exif" not in image.info) or image.format == "TIFF":
        return 1
    value = image.getexif().get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image, path: Path | str, file_format: str | None) -> np.ndarray:
    if image.mode in _SIXTEEN_BIT or (image.mode == "I" and file_format in ("PNG", "PPM")):
        grey = np.asarray(image).astype(np.uint32)
        scaled = ((grey * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(scaled[:, :, None], 3, axis=2)
    if image.mode not in _EIGHT_BIT:
        raise DataError(f"{path}: pixels of mode '{image.mode}' have no fixed scale; convert the picture to 8 or 16 bits per channel")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # resolves the palette; its transparency is dropped with the rest
    return np.array(image.convert("RGB"))
