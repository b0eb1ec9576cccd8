"""Clean pictures to learn from: raw files of low ISO at half resolution, and ordinary photographs in linear light."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.synthesis import CleanPicture
from photic.core.errors import DataError
from photic.data.images import opened

RAW_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dng", "erf", "iiq", "kdc", "mef", "mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "rw2"),
        *("rwl", "sr2", "srw", "x3f"),
    )
)
PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"))
_LOSSY = frozenset((".jpg", ".jpeg"))
_NUMBERED = re.compile(r"(?:_(?:mean|gt|clean))?(?:_\d+)?(?:_(?:mean|gt|clean))?$", re.IGNORECASE)


def clean_files(places: Sequence[Path]) -> list[Path]:
    """Return the raw files and photographs that folders, files and globs name, in order of their names.

    Raises:
        DataError: one names nothing.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            paths = [path for path in sorted(place.rglob("*")) if path.suffix.lower() in RAW_SUFFIXES | PHOTO_SUFFIXES]
        elif place.is_file():
            paths = [place]
        else:
            paths = sorted(place.parent.glob(place.name)) if place.parent.is_dir() else []
        if not paths:
            raise DataError(f"{place}: no raw files or photographs there; expected a folder, a file or a glob such as 'photos/*.jpg'")
        found |= dict.fromkeys(paths)
    return list(found)


def scene_of(path: Path) -> str:
    """Return what a picture shows, by its name: pictures that differ in a last number show one scene.

    >>> scene_of(Path("x/Sony_4_200_3200_door_12_mean.JPG"))
    'Sony_4_200_3200_door'
    >>> scene_of(Path("x/105.webp"))
    '105'
    """
    return _NUMBERED.sub("", path.stem) or path.stem


def read_clean(path: Path, *, reduce_photos: int = 2) -> CleanPicture:
    """Read one picture as a clean one.

    A raw file becomes a picture of half its resolution, each 2 x 2 cell of the mosaic one pixel (green is the mean of both), so nothing is
    made up by a demosaicer. A photograph is taken for sRGB and made linear; JPEG files are averaged down, which takes away what their
    camera's demosaicer, denoiser and compression left.

    Args:
        path: of the file.
        reduce_photos: factor by which JPEG files are averaged down.

    Raises:
        DataError: it cannot be read, or is a raw file without a Bayer mosaic.
    """
    if path.suffix.lower() in RAW_SUFFIXES:
        from photic.apps.rawnind.files.reading import read_raw

        raw = read_raw(path)
        return CleanPicture(
            half_size(raw).astype(np.float16), path.name, scene_of(path), xyz_to_camera=raw.xyz_to_camera, white_balance=raw.white_balance
        )
    with opened(path) as image:
        encoded = np.asarray(image.convert("RGB"))
    table = _linear_of_bytes()
    linear = table[encoded]
    factor = reduce_photos if path.suffix.lower() in _LOSSY else 1
    height, width = (side // factor for side in linear.shape[:2])
    if min(height, width) < 2:
        raise DataError(f"{path}: {encoded.shape[1]} x {encoded.shape[0]} pixels are too few to be averaged down by {factor}")
    reduced = linear[: height * factor, : width * factor].reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    return CleanPicture(reduced.astype(np.float16), path.name, scene_of(path))


def half_size(raw: RawPicture) -> NDArray[np.float32]:
    """Return a Bayer picture at half resolution ``(H/2, W/2, 3)``, in camera colours, clipped to [0, 1].

    Raises:
        DataError: no Bayer mosaic.
    """
    if not raw.is_bayer:
        raise DataError(f"{raw.source or 'raw picture'}: expected a Bayer mosaic to make a clean picture of")
    cells = raw.in_rggb_order().values
    halves: NDArray[np.float32] = np.stack([cells[::2, ::2], 0.5 * (cells[::2, 1::2] + cells[1::2, ::2]), cells[1::2, 1::2]], axis=-1).clip(
        0, 1
    )
    return halves


def _linear_of_bytes() -> NDArray[np.float32]:
    levels = np.arange(256) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


def read_all(paths: Sequence[Path], *, reduce_photos: int, least_px: int, workers: int = 2) -> tuple[list[CleanPicture], list[str]]:
    """Read clean pictures; those too small to cut a crop from are left out.

    Returns:
        The pictures, and what a user should know.

    Raises:
        DataError: one cannot be read, or none is large enough.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as pool:
        pictures: list[Any] = list(pool.map(lambda path: read_clean(path, reduce_photos=reduce_photos), paths))
    large = [picture for picture in pictures if min(picture.values.shape[:2]) >= least_px]
    if not large:
        raise DataError(f"none of {len(pictures)} pictures has {least_px} pixels on both sides after reduction; use a smaller data.crop_px")
    notes = []
    if len(large) < len(pictures):
        notes.append(f"{len(pictures) - len(large)} pictures are smaller than {least_px} pixels after reduction and are left out")
    return large, notes
