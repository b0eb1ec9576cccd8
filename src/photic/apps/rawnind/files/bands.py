"""Pictures that come as bands of rows, from the top down, so that no large one is ever whole in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.data.photo.files import turned

Band = tuple[int, NDArray[Any]]
"""The row that a band begins with, and its rows ``(n, W, C)`` or ``(n, W)``."""


def bands_of(picture: NDArray[Any], rows: int = 256) -> Iterator[Band]:
    """Give a picture in memory as bands."""
    for top in range(0, picture.shape[0], rows):
        yield top, picture[top : top + rows]


def checked(bands: Iterable[Band], size: tuple[int, int]) -> Iterator[Band]:
    """Give bands as they come; they have to follow each other and fill the size, with finite values.

    Raises:
        DataError: they do not.
    """
    done = 0
    for top, band in bands:
        if top != done or band.shape[1] != size[1] or top + band.shape[0] > size[0]:
            raise DataError(f"bands: expected rows of {size[1]} pixels from row {done} on, up to {size[0]}, got {band.shape} at row {top}")
        if band.dtype.kind == "f" and not np.isfinite(band).all():
            raise DataError(f"rows {top} to {top + band.shape[0]}: values that are not finite; the picture cannot be written")
        done += band.shape[0]
        yield top, band
    if done != size[0]:
        raise DataError(f"bands: expected {size[0]} rows, got {done}")


def regrouped(bands: Iterable[Band], rows: int) -> Iterator[NDArray[Any]]:
    """Give the same rows in bands of a given height; the last one has what is left."""
    waiting: list[NDArray[Any]] = []
    count = 0
    for _, band in bands:
        waiting.append(band)
        count += band.shape[0]
        if count < rows:
            continue
        whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        stop = count // rows * rows
        for top in range(0, stop, rows):
            yield whole[top : top + rows]
        waiting, count = ([whole[stop:]], count - stop) if count > stop else ([], 0)
    if waiting:
        yield np.concatenate(waiting)


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the size of a picture that EXIF's orientation says how to turn."""
    return (size[1], size[0]) if orientation >= 5 else size


def gathered(bands: Iterable[Band], size: tuple[int, int]) -> NDArray[Any]:
    """Return the picture that bands make, in their own type.

    Raises:
        DataError: they do not follow each other, or do not fill the size.
    """
    picture: NDArray[Any] | None = None
    for top, band in checked(bands, size):
        if picture is None:
            picture = np.empty((size[0], *band.shape[1:]), band.dtype)
        picture[top : top + band.shape[0]] = band
    if picture is None:
        raise DataError("bands: a picture without rows")
    return picture


def upright(bands: Iterable[Band], size: tuple[int, int], orientation: int) -> Iterator[Band]:
    """Give bands of a picture turned as EXIF's orientation says; one that lies right passes through, others are gathered first."""
    if orientation == 1:
        yield from bands
        return
    picture = turned(gathered(bands, size), orientation)
    for top, band in bands_of(picture):
        yield top, np.ascontiguousarray(band)
