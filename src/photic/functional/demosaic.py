"""Three colours at each pixel from a mosaic, by convolutions alone: quick, exportable, the same in crops and tiles."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.errors import DataError
from photic.functional.borders import mirrored

_EIGHTHS = (
    # green where red or blue is known
    ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0)),
    # the colour of the left and right neighbours, where green is known
    ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0)),
    # the colour of the neighbours above and below, where green is known
    ((0, 0, -1, 0, 0), (0, -1, 4, -1, 0), (0.5, 0, 5, 0, 0.5), (0, -1, 4, -1, 0), (0, 0, -1, 0, 0)),
    # red where blue is known, and the other way round
    ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0)),
)
MALVAR_REACH_PX = 2
"""How far :func:`malvar` looks around a pixel."""
NORMALISED_REACH_PX = 6
"""How far :func:`normalised_convolution` looks around a pixel."""


def malvar(mosaic: Tensor, planes: Tensor) -> Tensor:
    """Return three colours ``(B, 3, H, W)`` from a Bayer mosaic by gradient-corrected linear interpolation; known samples are kept.

    The correction supposes that colours change together: mosaics should be white-balanced.

    Args:
        mosaic: ``(B, 1, H, W)``, any of the four orders.
        planes: ``(B, 3, H, W)`` or ``(1, 3, H, W)``, as :func:`photic.functional.cfa.cfa_planes` makes them.

    Source: Malvar, He and Cutler 2004, High-quality linear interpolation for demosaicing of Bayer-patterned color images.

    Raises:
        DataError: shapes do not belong together.
    """
    _check(mosaic, planes)
    kernels = torch.tensor(_EIGHTHS, dtype=mosaic.dtype, device=mosaic.device)[:, None] / 8
    around = mirrored(mosaic, top=2, bottom=2, left=2, right=2)
    green, beside, above, across = F.conv2d(around, kernels).split(1, dim=1)
    is_red, is_green, is_blue = planes.to(mosaic.dtype).split(1, dim=1)
    wider = mirrored(is_red, left=1, right=1)
    red_beside = 0.5 * (wider[..., :-2] + wider[..., 2:])  # 1 at greens in rows of red
    of_red = is_red * mosaic + is_green * (red_beside * beside + (1 - red_beside) * above) + is_blue * across
    of_blue = is_blue * mosaic + is_green * (red_beside * above + (1 - red_beside) * beside) + is_red * across
    return torch.cat([of_red, is_green * mosaic + (1 - is_green) * green, of_blue], dim=1)


def normalised_convolution(mosaic: Tensor, planes: Tensor) -> Tensor:
    """Return three colours ``(B, 3, H, W)`` from a mosaic of any pattern, such as X-Trans; known samples are kept.

    Green comes from its samples around, weighted by distance; red and blue by their differences from that green, likewise. Mosaics should
    be white-balanced, as for :func:`malvar`.

    Args:
        mosaic: ``(B, 1, H, W)``.
        planes: ``(B, 3, H, W)`` or ``(1, 3, H, W)``.

    Source: Knutsson and Westin 1993, Normalized and differential convolution.

    Raises:
        DataError: shapes do not belong together.
    """
    _check(mosaic, planes)
    planes = planes.to(mosaic.dtype).expand(mosaic.shape[0], -1, -1, -1)
    is_green = planes[:, 1:2]
    near = is_green * mosaic
    green = near + (1 - is_green) * _mean_of(near, is_green, (1.0, 2.0, 1.0))
    others = planes[:, ::2]
    difference = _mean_of(others * (mosaic - green), others, (1.0, 4.0, 6.0, 4.0, 1.0))
    made = green + difference
    made = others * mosaic + (1 - others) * made
    return torch.cat([made[:, :1], green, made[:, 1:]], dim=1)


def _mean_of(samples: Tensor, known: Tensor, kernel: tuple[float, ...]) -> Tensor:
    """Mean of the samples around, by a separable kernel; where it holds none, by one twice as wide."""
    sums, weights = _smooth(samples, kernel), _smooth(known, kernel)
    wide = (1.0, 3.0, 6.0, 7.0, 6.0, 3.0, 1.0)
    far = _smooth(samples, wide) / _smooth(known, wide).clamp_min(1e-6)
    return torch.where(weights > 1e-6, sums / weights.clamp_min(1e-6), far)


def _smooth(planes: Tensor, kernel: tuple[float, ...]) -> Tensor:
    weights = torch.tensor(kernel, dtype=planes.dtype, device=planes.device) / sum(kernel)
    reach, channels = len(kernel) // 2, planes.shape[1]
    around = mirrored(planes, top=reach, bottom=reach, left=reach, right=reach)
    down = F.conv2d(around, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(down, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _check(mosaic: Tensor, planes: Tensor) -> None:
    if mosaic.ndim != 4 or mosaic.shape[1] != 1 or planes.ndim != 4 or planes.shape[1] != 3 or mosaic.shape[-2:] != planes.shape[-2:]:
        raise DataError(
            f"demosaic: expected a mosaic (B, 1, H, W) and planes (B, 3, H, W) of one size, got {tuple(mosaic.shape)} and "
            f"{tuple(planes.shape)}"
        )
