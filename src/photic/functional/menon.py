"""Directional demosaicing of Bayer mosaics: sharper than convolutions at edges, at several times their cost."""

from __future__ import annotations

import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.functional.borders import mirrored

MENON_REACH_PX = 10
"""How far :func:`menon` looks around a pixel."""


def menon(mosaic: Tensor, planes: Tensor, *, refine: bool = True) -> Tensor:
    """Return three colours ``(B, 3, H, W)`` from a Bayer mosaic, interpolated along edges; known samples are kept.

    Green is made twice, along rows and along columns; of both, a pixel takes the one whose colour differences jump less around it. Red and
    blue come from their differences to green and to each other in the same direction; refining then smooths these differences, which
    hold little detail, along it.

    All of it supposes that colours change together: mosaics should be white-balanced. Memory is some twenty times the mosaic's: cut large
    ones into bands that overlap by :data:`MENON_REACH_PX`.

    Source: Menon, Andriani and Calvagno 2007, Demosaicing with directional filtering and a posteriori decision.

    Args:
        mosaic: ``(B, 1, H, W)``, any of the four orders.
        planes: ``(B, 3, H, W)`` or ``(1, 3, H, W)``, as :func:`photic.functional.cfa.cfa_planes` makes them.
        refine: whether differences are smoothed in the end.

    Raises:
        DataError: shapes do not belong together, or no Bayer mosaic.

    >>> from photic.functional.cfa import BAYER, cfa_planes
    >>> menon(torch.full((1, 1, 8, 8), 0.25), cfa_planes(BAYER["GBRG"], 8, 8)[None]).unique()
    tensor([0.2500])
    """
    _check(mosaic, planes)
    at_red, at_green, at_blue = (planes[:, colour : colour + 1] > 0.5 for colour in range(3))
    seen_red, seen_blue = mosaic * at_red, mosaic * at_blue
    greens = [torch.where(at_green, mosaic, _five(mosaic, axis)) for axis in (-1, -2)]
    across, down = (_jumps(mosaic - green, axis) for green, axis in zip(greens, (-1, -2), strict=True))
    along_rows = down >= across
    green = torch.where(along_rows, greens[0], greens[1])

    def directed(differences: Tensor, middle: bool) -> Tensor:
        """Mean of both neighbours in the direction of the pixel, or of the three with the pixel itself."""
        sums = torch.where(along_rows, _pair(differences, -1), _pair(differences, -2))
        return (sums + differences) / 3 if middle else sums / 2

    def at_greens(seen: Tensor, where: Tensor) -> Tensor:
        """Red or blue where it is known, and where green is; elsewhere nothing of use."""
        differences = (seen - green) * where
        # Of a green pixel's neighbours, those with this colour are beside it or above and below it; the others hold zeros.
        return torch.where(where, seen, green + (_pair(differences, -1) + _pair(differences, -2)) / 2)

    red, blue = at_greens(seen_red, at_red), at_greens(seen_blue, at_blue)
    difference = directed(red - blue, middle=False)
    red, blue = torch.where(at_blue, blue + difference, red), torch.where(at_red, red - difference, blue)
    if refine:
        green = torch.where(at_red, red - directed(red - green, middle=True), green)
        green = torch.where(at_blue, blue - directed(blue - green, middle=True), green)
        others = red, blue
        red, blue = at_greens(seen_red, at_red), at_greens(seen_blue, at_blue)
        red, blue = torch.where(at_blue, others[0], red), torch.where(at_red, others[1], blue)
        difference = directed(red - blue, middle=True)
        red, blue = torch.where(at_blue, blue + difference, red), torch.where(at_red, red - difference, blue)
    return torch.cat([red, green, blue], dim=1)


def _moved(values: Tensor, steps: tuple[int, ...], axis: int) -> list[Tensor]:
    """Values as they stand so many pixels further along an axis, mirrored at the borders."""
    reach, side = max(abs(step) for step in steps), values.shape[axis]
    around = mirrored(values, left=reach, right=reach) if axis == -1 else mirrored(values, top=reach, bottom=reach)
    return [around.narrow(axis, reach + step, side) for step in steps]


def _pair(values: Tensor, axis: int) -> Tensor:
    before, after = _moved(values, (-1, 1), axis)
    return before + after


def _five(mosaic: Tensor, axis: int) -> Tensor:
    """Green where it is missing: the mean of both neighbours, corrected by the bend of the colour that is known."""
    far_before, before, after, far_after = _moved(mosaic, (-2, -1, 1, 2), axis)
    return (before + after) / 2 + (2 * mosaic - far_before - far_after) / 4


def _jumps(differences: Tensor, axis: int) -> Tensor:
    """How much colour differences of one colour change along an axis around a pixel: a weighted sum over 5 x 5 pixels."""
    before, after = _moved(differences, (-1, 1), axis)
    steps = (after - before).abs()  # each lies between two samples of one colour
    near, other = _pair(steps, axis), -3 - axis
    return 3 * near + _pair(steps, other) + sum(_moved(near, (-2, 2), other))


def _check(mosaic: Tensor, planes: Tensor) -> None:
    if mosaic.ndim != 4 or mosaic.shape[1] != 1 or planes.ndim != 4 or planes.shape[1] != 3 or mosaic.shape[-2:] != planes.shape[-2:]:
        raise DataError(
            f"menon: expected a mosaic (B, 1, H, W) and planes (B, 3, H, W) of one size, got {tuple(mosaic.shape)} and "
            f"{tuple(planes.shape)}"
        )
    if min(mosaic.shape[-2:]) < 2:
        raise DataError(f"menon: expected a mosaic of at least 2 x 2 pixels, got {tuple(mosaic.shape)}")
    red, green, blue = planes[..., :2, :2].flatten(2).unbind(1)
    diagonal = (green[:, 0] == green[:, 3]) & (green[:, 1] == green[:, 2]) & (green.sum(1) == 2) & (red.sum(1) == 1) & (blue.sum(1) == 1)
    repeats = torch.equal(planes[..., 2:, :], planes[..., :-2, :]) and torch.equal(planes[..., :, 2:], planes[..., :, :-2])
    if not bool(diagonal.all()) or not repeats:
        raise DataError("menon: expected the planes of a Bayer pattern; take normalised_convolution for other patterns, such as X-Trans")
