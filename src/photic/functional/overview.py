"""The whole picture at a glance, and sides that a network can halve."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from photic.core.errors import DataError
from photic.functional.borders import cropped, next_multiple

OVERVIEW_PX = 64
"""Side of an overview in pixels."""


def overview(image: Tensor, side_px: int = OVERVIEW_PX) -> Tensor:
    """Return the whole picture as a small square, each pixel the mean of its share: what global decisions are made from.

    However large the picture, its overview costs the same, so that crops in training, tiles in use and frames of a video
    can all be given the decision that belongs to the whole.

    Args:
        image: ``(..., C, H, W)``.
        side_px: height and width of the result.

    Returns:
        ``(..., C, side_px, side_px)``; sides are squeezed, since only colours and their rough places matter.

    Raises:
        DataError: fewer than three axes.

    >>> overview(torch.full((1, 3, 400, 600), 0.25)).unique()
    tensor([0.2500])
    """
    if image.ndim < 3:
        raise DataError(f"overview: expected (..., C, H, W), got {tuple(image.shape)}")
    lead = image.shape[:-3]
    small = F.adaptive_avg_pool2d(image.reshape(-1, *image.shape[-3:]), side_px)
    return small.reshape(*lead, *small.shape[-3:])


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Return pictures ``(B, C, H, W)`` continued to the right and below, mirrored, until both sides are divisible.

    The first H rows and W columns of what a network makes of it are what belongs to the picture.

    >>> pad_to_multiple(torch.zeros(1, 3, 30, 33), 16).shape
    torch.Size([1, 3, 32, 48])
    """
    height, width = image.shape[-2:]
    if multiple == 1:
        return image
    if torch.compiler.is_exporting():  # a graph must do for all sizes: no branches
        for axis, size in ((-2, height), (-1, width)):
            image = image.index_select(axis, _continued(size, next_multiple(size, multiple)).to(image.device))
        return image
    down, right = -height % multiple, -width % multiple
    if not down and not right:
        return image
    # A mirror needs more pixels than it adds; tiny pictures repeat their last row and column.
    image = F.pad(image, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    return F.pad(image, (0, right, 0, 0), mode="reflect" if right < width else "replicate")


def _continued(size: int, whole: int) -> Tensor:
    """Return which of ``size`` places stands at each of ``whole``: mirrored, or the last one repeated where the mirror is too short."""
    place = torch.arange(whole)
    mirror = size - 1 - (place - (size - 1)).abs()
    return torch.where(mirror.min() >= 0, mirror, place.clamp(max=size - 1))


def crop_to(image: Tensor, like: Tensor) -> Tensor:
    """Return the first rows and columns, as many as ``like`` has."""
    return cropped(image, like.shape[-2], like.shape[-1])


def require_pictures(image: Tensor, where: str) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` of floats, or refuse.

    Raises:
        DataError: another shape or kind of number.
    """
    if image.ndim != 4 or image.shape[1] != 3 or min(image.shape) < 1 or not torch.is_floating_point(image):
        raise DataError(f"{where}: expected pictures (B, 3, H, W) of floats in [0, 1], got {tuple(image.shape)} {image.dtype}")
    return image
