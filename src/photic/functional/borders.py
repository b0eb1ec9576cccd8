"""Pictures continued beyond their borders in a way that keeps colour filter arrays in phase."""

from __future__ import annotations

import torch
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
    height, width = picture.shape[-2:]
    if torch.compiler.is_exporting():  # a graph must do for all sizes: no branches
        rows, columns = _to_and_fro(height, top, bottom), _to_and_fro(width, left, right)
        return picture.index_select(-2, rows.to(picture.device)).index_select(-1, columns.to(picture.device))
    if max(top, bottom) < height and max(left, right) < width:
        return F.pad(picture, (left, right, top, bottom), mode="reflect") if top or bottom or left or right else picture
    rows = _to_and_fro(height, top, bottom).to(picture.device)
    columns = _to_and_fro(width, left, right).to(picture.device)
    return picture.index_select(-2, rows).index_select(-1, columns)


def _to_and_fro(size: int, before: int, after: int) -> Tensor:
    """Return indices that run to and fro between the ends of an axis."""
    period = (2 * torch.arange(size).max()).clamp_min(1)  # a tensor: exporters know no remainders by sizes that are free
    place = torch.arange(-before, size + after) % period
    return torch.minimum(place, period - place)


def to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Return a picture ``(B, C, H, W)`` continued at the right and below to multiples of a number; see :func:`mirrored`."""
    height, width = picture.shape[-2:]
    if multiple == 1:
        return picture
    return mirrored(picture, bottom=next_multiple(height, multiple) - height, right=next_multiple(width, multiple) - width)


def cropped(picture: Tensor, height: int, width: int) -> Tensor:
    """Return the first rows and columns of pictures ``(..., H, W)``: what belongs to a picture that was continued.

    >>> cropped(torch.zeros(1, 3, 48, 48), 33, 40).shape
    torch.Size([1, 3, 33, 40])
    """
    # Of a view, exporters would ask whether it is the whole, and hold the graph to their example's answer.
    if torch.compiler.is_exporting():
        rows, columns = torch.arange(height, device=picture.device), torch.arange(width, device=picture.device)
        return picture.index_select(-2, rows).index_select(-1, columns)
    return picture[..., :height, :width]


def next_multiple(size: int, multiple: int) -> int:
    """Return the least multiple that is not smaller; written so that exporters see that it is one.

    >>> next_multiple(33, 16)
    48
    """
    return (size + multiple - 1) // multiple * multiple
