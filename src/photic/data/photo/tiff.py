"""TIFF photographs: 16 bits and floats, profile and EXIF in the file's own directory."""

from __future__ import annotations

import mmap
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.data.photo import exif as exif_blocks
from photic.data.photo.depth import Pixels

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ICC, _STRIPS, _TILES = 34675, (273, 279), (324, 325)
_UNIT_TAGS = (0x011A, 0x011B, 0x0128)  # resolution: every file has one, so it alone makes no EXIF block
_RANGE_TOLERANCE = 1e-6  # of rounding, for floats that are meant to lie in [0, 1]
_ASSOCIATED = 1
# What tifffile and its codecs raise for damaged files.
_DAMAGE = (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error, OSError, OverflowError)


@dataclass(frozen=True)
class TiffFacts:
    """What the first directory of a TIFF file says."""

    height: int
    """Rows as stored."""
    width: int
    """Columns as stored."""
    orientation: int
    """How the picture lies, 1 to 8."""
    deep: bool
    """16 bits or floats: :func:`read_deep` reads it; anything else is read by Pillow."""
    icc: bytes | None
    """ICC profile."""
    exif: bytes | None
    """EXIF block made of the file's own tags."""


def is_tiff(path: Path) -> bool:
    """Say whether a file begins like a TIFF file; False if it cannot be opened."""
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return handle.read(4) in _MAGIC


def read_facts(path: Path) -> TiffFacts:
    """Read the directories of a file.

    Raises:
        DataError: the file is damaged, truncated or has several pages.
    """
    try:
        with tifffile.TiffFile(path) as file:
            pages = _pictures(file)
            if len(pages) != 1:
                raise DataError(f"{path}: holds {len(pages)} pictures; expected one. Save each as a file of its own")
            page = pages[0]
            _refuse_truncated(path, file, page)
            orientation = _value(page, exif_blocks.ORIENTATION, 1)
            order = file.byteorder
            icc = _value(page, _ICC, None)
            found = None if file.is_bigtiff else (page.offset, order)
            kind = None if page.dtype is None else page.dtype
            facts = TiffFacts(
                height=int(page.imagelength),
                width=int(page.imagewidth),
                orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
                deep=kind is None or kind not in (np.dtype(np.uint8), np.dtype(bool)),
                icc=bytes(icc) if isinstance(icc, bytes) else None,
                exif=None,
            )
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged or truncated picture ({error}); replace the file") from error
    block = None if found is None else _collected(path, *found)
    return TiffFacts(facts.height, facts.width, facts.orientation, facts.deep, facts.icc, block)


def read_deep(path: Path, facts: TiffFacts) -> tuple[Pixels, Pixels | None]:
    """Return colours ``(H, W, 3)`` as uint16 or float32 and transparency of a file with more than 8 bits.

    Raises:
        DataError: damaged, no RGB or grey picture, a number without a fixed scale, floats that are not finite or not in [0, 1].
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = _pictures(file)[0]
            name = getattr(page.photometric, "name", str(page.photometric))
            bits, kind, extra = page.bitspersample, page.dtype, tuple(int(value) for value in page.extrasamples)
            if name not in ("RGB", "MINISBLACK", "MINISWHITE"):
                raise DataError(
                    f"{path}: {bits}-bit pixels of kind {name}; expected RGB or grey. "
                    "Convert the picture where it was made (a raw file is developed first)"
                )
            if kind is None or kind.kind not in "uf" or kind.itemsize > (8 if kind.kind == "f" else 2):
                raise DataError(
                    f"{path}: numbers of type {kind} have no fixed scale; convert the picture to 8 or 16 bits or to floats in [0, 1]"
                )
            planes = _planes(path, page)
    except DataError:
        raise
    except (*_DAMAGE, imagecodecs.DelayedImportError) as error:
        raise DataError(f"{path}: damaged or truncated picture ({error}); replace the file") from error
    if planes.dtype.kind == "f":
        planes = _unit_floats(path, planes)
    elif bits != 16:  # 10 to 14 bits in 16
        full = (1 << int(bits)) - 1
        planes = ((planes.astype(np.uint32) * 65535 + full // 2) // full).astype(np.uint16)
    grey = planes.shape[2] <= 2
    colours = planes[:, :, :1] if grey else planes[:, :, :3]
    alpha = planes[:, :, -1] if planes.shape[2] in (2, 4) else None
    if name == "MINISWHITE":
        colours = (1 if colours.dtype.kind == "f" else np.iinfo(colours.dtype).max) - colours
    if alpha is not None and extra[:1] == (_ASSOCIATED,):
        colours = _divided(colours, alpha)
    colours = np.repeat(colours, 3, axis=2) if grey else colours
    return np.ascontiguousarray(colours), None if alpha is None else np.ascontiguousarray(alpha)


def write(path: Path, pixels: Pixels, alpha: Pixels | None, icc: bytes | None, exif: bytes | None) -> None:
    """Write a file, compressed without loss.

    Tags of the EXIF block's first directory become the file's own; the directories below it are laid behind the pixels.

    Args:
        path: where, whatever its ending.
        pixels: ``(H, W, 3)`` uint8, uint16 or float32.
        alpha: ``(H, W)`` of the same type.
        icc: ICC profile.
        exif: EXIF block.
    """
    directory = None if exif is None else exif_blocks.in_order(exif_blocks.unpack(exif), "<")
    planes = pixels if alpha is None else np.dstack([pixels, alpha])
    below = {} if directory is None else {number: made for number, made in directory.below.items() if number in exif_blocks.POINTERS}
    extratags: list[Any] = []
    if directory is not None:
        own = exif_blocks.descriptive(directory)
        extratags = [(number, tag.kind, tag.count, tag.data, True) for number, tag in own.items() if number not in _UNIT_TAGS]
    with tifffile.TiffWriter(path, byteorder="<") as file:
        file.write(
            planes,
            photometric="rgb",
            planarconfig="contig",
            extrasamples=None if alpha is None else ["unassalpha"],
            compression="zlib",
            predictor=True,
            iccprofile=icc,
            extratags=extratags,
            metadata=None,
            software=False,
            maxworkers=1,
            **_resolution(directory),
        )
    if below:
        _append(path, below)


def _append(path: Path, below: dict[int, exif_blocks.Directory]) -> None:
    """Lay directories at the end of a file, and behind them its own directory again, with tags that point to them."""
    with path.open("r+b") as handle:
        magic, first = struct.unpack("<4sI", handle.read(8))
        if magic != b"II*\x00":
            warnings.warn(
                f"{path}: in a file of more than 4 GB EXIF's exposure and position have no place; they are left out",
                UserWarning,
                stacklevel=2,
            )
            return
        handle.seek(first)
        (count,) = struct.unpack("<H", handle.read(2))
        entries = [handle.read(12) for _ in range(count)]
        rest = handle.read(4)
        for number, directory in below.items():
            start = _at_even_end(handle)
            handle.write(exif_blocks.laid_out(directory, start))
            entries.append(struct.pack("<HHII", number, 4, 1, start))
        entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
        start = _at_even_end(handle)
        handle.write(struct.pack("<H", len(entries)) + b"".join(entries) + rest)
        handle.seek(4)
        handle.write(struct.pack("<I", start))


def _at_even_end(handle: BinaryIO) -> int:
    start = handle.seek(0, 2)
    return start + handle.write(b"\x00") if start % 2 else start


def _resolution(directory: exif_blocks.Directory | None) -> dict[str, Any]:
    tags = {} if directory is None else directory.tags
    if any(number not in tags for number in _UNIT_TAGS) or any(len(tags[number].data) != 8 for number in _UNIT_TAGS[:2]):
        return {}
    across, down = (struct.unpack("<II", tags[number].data) for number in _UNIT_TAGS[:2])
    unit = struct.unpack("<H", tags[_UNIT_TAGS[2]].data[:2])[0]
    if unit not in (1, 2, 3) or 0 in (*across, *down):
        return {}
    return {"resolution": (across, down), "resolutionunit": unit}


def _planes(path: Path, page: tifffile.TiffPage) -> NDArray[Any]:
    """Return the samples of a page, ``(H, W, S)`` with S from 1 to 4."""
    decoded = page.asarray()
    axes = page.axes
    if "S" not in axes:
        decoded, axes = decoded[..., None], axes + "S"
    if sorted(axes) != sorted("YXS"):
        raise DataError(f"{path}: axes {axes} of shape {decoded.shape}; expected one flat picture")
    planes: NDArray[Any] = np.transpose(decoded, [axes.index(axis) for axis in "YXS"])
    if planes.shape[2] > 4:
        raise DataError(f"{path}: {planes.shape[2]} samples per pixel; expected grey or RGB, with or without transparency")
    return planes


def _unit_floats(path: Path, planes: NDArray[Any]) -> NDArray[np.float32]:
    finite = np.isfinite(planes)
    if not finite.all():
        wrong = planes.size - int(finite.sum())
        row, column = (int(value) for value in np.argwhere(~finite.all(axis=2))[0])
        raise DataError(
            f"{path}: {wrong} of {planes.size} values are NaN or infinite, the first in row {row}, column {column}; "
            "expected floats in [0, 1]. Fill these pixels where the picture was made"
        )
    low, high = float(planes.min()), float(planes.max())
    if low < -_RANGE_TOLERANCE or high > 1 + _RANGE_TOLERANCE:
        raise DataError(
            f"{path}: floats from {low:.6g} to {high:.6g}; expected them in [0, 1], encoded like a photograph (sRGB, not linear light). "
            "Divide by the white level and clip, or save it with 16 bits"
        )
    made: NDArray[np.float32] = np.clip(planes, 0, 1).astype(np.float32)
    return made


def _divided(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return colours that were multiplied by their transparency as they were before."""
    full = 1.0 if colours.dtype.kind == "f" else float(np.iinfo(colours.dtype).max)
    share = np.maximum(alpha[:, :, None].astype(np.float64), full * 1e-6) / full
    values = np.minimum(colours / share, full)
    made: NDArray[Any] = (values if colours.dtype.kind == "f" else np.rint(values)).astype(colours.dtype)
    return made


def _collected(path: Path, offset: int, order: str) -> bytes | None:
    """Return an EXIF block of the file's own tags; None if they tell nothing of the photograph."""
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            directory = exif_blocks.collect(data, offset, order)
        except exif_blocks.DamagedExif:
            return b"damaged"  # refused with a warning where the block is used
    if not directory.below and not set(directory.tags) - set(_UNIT_TAGS):
        return None
    directory.tags[exif_blocks.ORIENTATION] = exif_blocks.Tag(3, 1, struct.pack(order + "H", 1))
    return exif_blocks.pack(directory)


def _refuse_truncated(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    size = file.filehandle.size
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if offset + count > size:
            raise DataError(
                f"{path}: damaged or truncated picture (pixels up to byte {offset + count:,} of a file of {size:,}); replace the file"
            )


def _pictures(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the pages of a file; previews are no pages of their own."""
    return [page for page in map(_whole, file.pages) if not page.is_reduced]


def _whole(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    if not isinstance(page, tifffile.TiffPage):
        raise DataError(f"page {page.index}: expected a directory of its own")
    return page


def _value(page: tifffile.TiffPage, number: int, default: Any) -> Any:
    tag = page.tags.get(number)
    return default if tag is None else tag.value
