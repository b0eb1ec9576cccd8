"""Colour filter arrays: which colour a sensor's pixel sees, and mosaics taken apart and put together.

A pattern is a small table of colours, 0 red, 1 green, 2 blue, that repeats over the sensor from its top left pixel on. Its planes are the
same as a tensor ``(3, H, W)``: 1 where a pixel sees that colour. Functions of a mosaic take planes, so that they work
for every pattern, at every phase, and in crops and tiles; a picture with all three colours at each pixel has planes of ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.errors import DataError

Pattern = tuple[tuple[int, ...], ...]
"""Rows of colours, 0 red, 1 green, 2 blue; 2 x 2 for Bayer, 6 x 6 for X-Trans."""

RGGB: Pattern = ((0, 1), (1, 2))
"""The order that packed Bayer pictures have."""
BAYER: dict[str, Pattern] = {
    "RGGB": RGGB,
    "GRBG": ((1, 0), (2, 1)),
    "GBRG": ((1, 2), (0, 1)),
    "BGGR": ((2, 1), (1, 0)),
}
"""The four orders of a Bayer sensor by name."""
XTRANS: Pattern = (
    (1, 0, 1, 1, 2, 1),
    (2, 1, 2, 0, 1, 0),
    (1, 0, 1, 1, 2, 1),
    (1, 2, 1, 1, 0, 1),
    (0, 1, 0, 2, 1, 2),
    (1, 2, 1, 1, 0, 1),
)
"""Fujifilm's X-Trans at one of its phases."""


def check_pattern(pattern: Pattern) -> None:
    """Refuse what is no pattern.

    Raises:
        DataError: rows of different lengths, colours that are not 0, 1, 2, or a colour that never comes.
    """
    widths = {len(row) for row in pattern}
    colours = {colour for row in pattern for colour in row}
    if len(widths) != 1 or colours != {0, 1, 2}:
        raise DataError(f"colour filter array: expected rows of one length with the colours 0, 1 and 2 (red, green, blue), got {pattern}")


def is_bayer(pattern: Pattern) -> bool:
    """Return whether a pattern is one of the four orders of a Bayer sensor."""
    return pattern in BAYER.values()


def shifted(pattern: Pattern, rows: int, columns: int) -> Pattern:
    """Return the pattern that a mosaic has after so many rows at the top and columns at the left are cut off.

    >>> shifted(BAYER["GBRG"], 1, 0) == RGGB
    True
    """
    height, width = len(pattern), len(pattern[0])
    return tuple(tuple(pattern[(y + rows) % height][(x + columns) % width] for x in range(width)) for y in range(height))


def rggb_offset(pattern: Pattern) -> tuple[int, int]:
    """Return how many rows at the top and columns at the left are cut off until a Bayer mosaic begins with red, green / green, blue.

    Raises:
        DataError: not a Bayer pattern.

    >>> [rggb_offset(BAYER[name]) for name in ("RGGB", "GBRG", "GRBG", "BGGR")]
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    for rows in range(2):
        for columns in range(2):
            if is_bayer(pattern) and shifted(pattern, rows, columns) == RGGB:
                return rows, columns
    raise DataError(f"colour filter array: expected one of the four Bayer orders, got {pattern}")


def lead_to_canonical(pattern: Pattern) -> tuple[int, int]:
    """Return how many rows above and columns at the left a mosaic is continued by until it begins as networks know it: RGGB, or XTRANS.

    Raises:
        DataError: neither Bayer nor X-Trans.

    >>> [lead_to_canonical(BAYER[name]) for name in ("RGGB", "GBRG", "GRBG", "BGGR")]
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    known = RGGB if len(pattern) == 2 else XTRANS
    period = len(known)
    for rows in range(period):
        for columns in range(period):
            if shifted(known, rows, columns) == pattern:
                return rows, columns
    raise DataError(f"colour filter array: expected a Bayer or an X-Trans pattern, got {pattern}")


def cfa_planes(pattern: Pattern, height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Return the planes ``(3, H, W)`` float32 of a pattern: 1 where a pixel sees red, green, blue.

    Raises:
        DataError: not a pattern.

    >>> cfa_planes(RGGB, 2, 2).argmax(0)
    tensor([[0, 1],
            [1, 2]])
    """
    check_pattern(pattern)
    colours = torch.tensor(pattern, device=device)
    unit = F.one_hot(colours, 3).permute(2, 0, 1).float()
    repeats = (1, -(-height // unit.shape[1]), -(-width // unit.shape[2]))
    return unit.repeat(repeats)[:, :height, :width].contiguous()


def mosaic_of(picture: Tensor, planes: Tensor) -> Tensor:
    """Return what a sensor sees of a picture ``(..., 3, H, W)``: the mosaic ``(..., 1, H, W)``."""
    return (picture * planes).sum(dim=-3, keepdim=True)


def pack(mosaic: Tensor) -> Tensor:
    """Return a mosaic ``(..., 1, H, W)`` in RGGB order as four planes ``(..., 4, H/2, W/2)``: red, both greens, blue.

    Raises:
        DataError: another shape, or odd sides.
    """
    if mosaic.ndim < 3 or mosaic.shape[-3] != 1 or mosaic.shape[-1] % 2 or mosaic.shape[-2] % 2:
        raise DataError(f"pack: expected a mosaic (..., 1, H, W) with even sides, got {tuple(mosaic.shape)}")
    return F.pixel_unshuffle(mosaic, 2)


def unpack(packed: Tensor) -> Tensor:
    """Return four planes ``(..., 4, H, W)``, red, both greens, blue, as a mosaic ``(..., 1, 2H, 2W)`` in RGGB order.

    Raises:
        DataError: another shape.
    """
    if packed.ndim < 3 or packed.shape[-3] != 4:
        raise DataError(f"unpack: expected four planes (..., 4, H, W), got {tuple(packed.shape)}")
    return F.pixel_shuffle(packed, 2)
