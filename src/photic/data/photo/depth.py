"""Pixels of 8 bits, 16 bits and floats: from one to another by rounding, and whole pictures at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from photic.core.errors import DataError
from photic.functional.overview import OVERVIEW_PX

Pixels = NDArray[Any]
"""``(H, W, 3)`` RGB, or ``(H, W)``: uint8, uint16, or float32 in [0, 1]."""
KINDS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_ROWS = 256  # converted at a time, so that large pictures need no second copy as floats


def to_tensor(pixels: Pixels) -> Tensor:
    """Return pixels ``(H, W, 3)`` of any kind as float32 ``(3, H, W)`` in [0, 1], contiguous.

    >>> to_tensor(np.full((1, 2, 3), 65535, np.uint16))[0].tolist()
    [[1.0, 1.0]]
    """
    values = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if values.dtype == np.float32:
        return torch.from_numpy(values)
    return torch.from_numpy(values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max))


def overview_of(pixels: Pixels, side_px: int = OVERVIEW_PX) -> Tensor:
    """Return the overview ``(3, side, side)`` of pixels ``(H, W, 3)`` without ever holding the whole picture as floats.

    It is what :func:`photic.functional.overview.overview` makes.
    """
    height = pixels.shape[0]
    rows = []
    for number in range(side_px):
        top, bottom = number * height // side_px, -(-(number + 1) * height // side_px)
        rows.append(adaptive_avg_pool2d(to_tensor(pixels[top:bottom]), (1, side_px)))
    return torch.cat(rows, dim=-2)


def from_float(values: Tensor, kind: Any) -> Pixels:
    """Return floats ``(3, h, w)`` as pixels ``(h, w, 3)``; what lies beyond [0, 1] becomes black or white, the rest is rounded.

    Raises:
        DataError: values that are not finite.
    """
    array = values.detach().to("cpu", torch.float32).permute(1, 2, 0).numpy()
    wrong = int(array.size - np.isfinite(array).sum())
    if wrong:
        raise DataError(f"{wrong} of {array.size} values of a picture {tuple(values.shape)} are not finite; it cannot be written")
    return as_kind(np.clip(array, 0, 1), kind)


def as_kind(pixels: Pixels, kind: Any) -> Pixels:
    """Return pixels as another kind of number, full scale to full scale, rounded to the nearest; the same array if they have it.

    >>> as_kind(np.array([[128, 65535]], np.uint16), np.uint8).tolist()
    [[0, 255]]
    >>> as_kind(np.array([[129]], np.uint16), np.uint8).tolist()
    [[1]]
    """
    wanted = np.dtype(kind)
    if pixels.dtype == wanted:
        return pixels
    made = np.empty(pixels.shape, dtype=wanted)
    for top in range(0, pixels.shape[0], _ROWS):
        made[top : top + _ROWS] = _converted(pixels[top : top + _ROWS], wanted)
    return made


def _converted(rows: Pixels, wanted: np.dtype[Any]) -> Pixels:
    if rows.dtype == np.uint8 and wanted == np.uint16:
        return rows.astype(np.uint16) * np.uint16(257)
    if rows.dtype == np.uint16 and wanted == np.uint8:
        return ((rows.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if wanted == np.float32:
        return rows.astype(np.float32) / np.float32(np.iinfo(rows.dtype).max)
    return np.rint(rows.astype(np.float64) * np.iinfo(wanted).max).astype(wanted)
