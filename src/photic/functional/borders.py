"""Pictures continued beyond their borders in a way that keeps colour filter arrays in phase."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mirrored(picture: Tensor, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> Tensor:
    """Return a picture ``(B, C, H, W)`` continued by so many pixels, mirrored about its outermost ones.

    Mirroring about a pixel keeps the phase of a Bayer mosaic, and a mosaic and its planes continued alike stay together for any pattern.
    Sides too short for it are mirrored repeatedly; a side of one pixel is repeated.

    >>> import torch
    >>> mirrored(torch.arange(3.0).view(1, 1, 1, 3), left=1, right=2).flatten().tolist()
    [1.0, 0.0, 1.0, 2.0, 1.0, 0.0]
    """
    while top or bottom or left or right:
        height, width = picture.shape[-2:]
        if (height == 1 and (top or bottom)) or (width == 1 and (left or right)):  # nothing to mirror
            rows, columns = (top, bottom) if height == 1 else (0, 0), (left, right) if width == 1 else (0, 0)
            picture = F.pad(picture, (*columns, *rows), mode="replicate")
        else:
            rows = (min(top, height - 1), min(bottom, height - 1))
            columns = (min(left, width - 1), min(right, width - 1))
            picture = F.pad(picture, (*columns, *rows), mode="reflect")
        top, bottom, left, right = top - rows[0], bottom - rows[1], left - columns[0], right - columns[1]
    return picture


def to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Return a picture ``(B, C, H, W)`` continued at the right and below to multiples of a number; see :func:`mirrored`."""
    height, width = picture.shape[-2:]
    return mirrored(picture, bottom=-height % multiple, right=-width % multiple)
