"""Colour of pictures ``(B, 3, H, W)``, differentiable everywhere: at black, at grey and at white too."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.functional.overview import require_pictures

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the luma of an sRGB-encoded picture (ITU-R BT.601)."""
_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear sRGB to XYZ under D65; its rows sum to the white point, so that greys have exactly no colour."""
_KNEE = 6 / 29
"""Where the cube root of L*a*b* turns into a straight line, CIE 1976."""
_SMALL = 1e-6
_SQRT3_2 = math.sqrt(3) / 2


def luma(image: Tensor) -> Tensor:
    """Return the luma ``(B, 1, H, W)`` of sRGB-encoded pictures ``(B, 3, H, W)``: 0.299 R + 0.587 G + 0.114 B.

    Raises:
        DataError: no pictures ``(B, 3, H, W)`` of floats.

    >>> luma(torch.ones(1, 3, 1, 1)).shape
    torch.Size([1, 1, 1, 1])
    """
    require_pictures(image, "luma")
    red, green, blue = image.split(1, dim=1)
    value: Tensor = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return value


def saturation(image: Tensor, softness: float = 1e-4) -> Tensor:
    """Return the saturation ``(B, 1, H, W)`` of HSV, (max - min) / max of the channels, with a gradient that stays finite.

    What is divided is (max - min) m / (m^2 + softness^2), with m the maximum, at least 0: the saturation of HSV where the maximum is
    well above the softness, and 0, smoothly, at black.

    Args:
        image: ``(B, 3, H, W)``; nothing is clamped, so values outside [0, 1] give saturations above 1.
        softness: levels below which colours fade into black; no derivative is above 1 / softness.

    Raises:
        DataError: no pictures ``(B, 3, H, W)`` of floats.

    >>> saturation(torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1)).flatten()
    tensor([0.7500])
    """
    require_pictures(image, "saturation")
    highest, lowest = image.amax(dim=1, keepdim=True), image.amin(dim=1, keepdim=True)
    level = highest.relu()
    return (highest - lowest) * level / (level.square() + softness**2)


def hue_vector(image: Tensor, unit_softness: float | None = None) -> Tensor:
    """Return hue as a vector ``(B, 2, H, W)``: (cos, sin) of the angle, times the chroma.

    Red lies at 0, green at 120, blue at 240 degrees; the vector is the projection of the picture along the grey axis, so it is linear:
    two hues either side of red are near each other, and a grey is at the origin. Its angle differs from that of
    the hexagon of HSV by at most 1.2 degrees.

    Args:
        image: ``(B, 3, H, W)``.
        unit_softness: None keeps the chroma as the length; a number makes unit vectors of it, v / sqrt(v^2 + softness^2), which fade
            smoothly to the origin where the chroma falls below it.

    Raises:
        DataError: no pictures ``(B, 3, H, W)`` of floats.

    >>> hue_vector(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).flatten()
    tensor([1., 0.])
    """
    require_pictures(image, "hue_vector")
    red, green, blue = image.split(1, dim=1)
    vector = torch.cat([red - 0.5 * (green + blue), _SQRT3_2 * (green - blue)], dim=1)
    if unit_softness is None:
        return vector
    return vector * torch.rsqrt(vector.square().sum(dim=1, keepdim=True) + unit_softness**2)


def srgb_to_linear(image: Tensor) -> Tensor:
    """Return light, proportional to energy, for sRGB-encoded values of any shape; values below 0 go on in a straight line.

    Source: IEC 61966-2-1.

    >>> srgb_to_linear(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.2140, 1.0000])
    """
    # Both branches are evaluated, and both must have a finite gradient where the other one counts.
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp_min(0.04045) + 0.055) / 1.055).pow(2.4))


def linear_to_srgb(light: Tensor) -> Tensor:
    """Return sRGB-encoded values of light of any shape, the inverse of :func:`srgb_to_linear`.

    >>> linear_to_srgb(torch.tensor([0.0, 0.2140, 1.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(0.0031308).pow(1 / 2.4) - 0.055)


def srgb_to_lab(image: Tensor) -> Tensor:
    """Return CIE 1976 L*a*b* ``(B, 3, H, W)`` under D65 (2 degrees) of sRGB-encoded pictures; white is (100, 0, 0), greys have no a and b.

    Raises:
        DataError: no pictures ``(B, 3, H, W)`` of floats.

    >>> srgb_to_lab(torch.ones(1, 3, 1, 1)).flatten().round().abs()
    tensor([100.,   0.,   0.])
    """
    require_pictures(image, "srgb_to_lab")
    matrix = torch.tensor(_TO_XYZ, dtype=torch.float64)
    matrix = (matrix / matrix.sum(dim=1, keepdim=True)).to(image)
    with torch.autocast(image.device.type, enabled=False):
        relative = torch.einsum("xc,bchw->bxhw", matrix, srgb_to_linear(image))
    root = torch.where(relative > _KNEE**3, relative.clamp_min(_KNEE**3).pow(1 / 3), relative / (3 * _KNEE**2) + 4 / 29)
    x, y, z = root.split(1, dim=1)
    return torch.cat([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def delta_e_2000(lab1: Tensor, lab2: Tensor) -> Tensor:
    """Return the colour difference CIEDE2000 ``(B, 1, H, W)`` of L*a*b* pictures ``(B, 3, H, W)``; about 1 is just noticeable.

    Hue differences come from cross and dot products, so that no case is told apart; square roots are rounded
    off within 1e-6 of zero, which bounds every derivative.

    Source: Sharma, Wu and Dalal 2005, The CIEDE2000 color-difference formula.

    Raises:
        DataError: shapes differ or are not ``(B, 3, H, W)``.

    >>> one, other = (torch.tensor(lab).view(1, 3, 1, 1) for lab in ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485]))
    >>> delta_e_2000(one, other).flatten()
    tensor([2.0425])
    """
    if lab1.shape != lab2.shape:
        raise DataError(f"delta_e_2000: expected two of one shape (B, 3, H, W), got {tuple(lab1.shape)} and {tuple(lab2.shape)}")
    light1, a1, b1 = require_pictures(lab1, "delta_e_2000").split(1, dim=1)
    light2, a2, b2 = require_pictures(lab2, "delta_e_2000").split(1, dim=1)
    # Greys look less grey than a and b say, below chromas of about 25.
    stretch = 1.5 - 0.5 * _saturating(0.5 * (_root(a1 * a1 + b1 * b1) + _root(a2 * a2 + b2 * b2)))
    a1, a2 = stretch * a1, stretch * a2
    chroma1, chroma2 = _root(a1 * a1 + b1 * b1), _root(a2 * a2 + b2 * b2)
    across = a1 * b2 - b1 * a2
    # Hues exactly opposite are as far either way round: both orders have to go through the same half of the circle.
    tiny = torch.finfo(across.dtype).tiny
    across = across + torch.where(across == 0, torch.where((b1 > 0) | ((b1 == 0) & (a1 > 0)), tiny, -tiny), 0.0)
    turn = _angle(across, a1 * a2 + b1 * b2)
    hue = _angle(b1, a1) + 0.5 * turn  # half-way between both, the shorter way round
    light, chroma = 0.5 * (light1 + light2), 0.5 * (chroma1 + chroma2)
    weight = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    scale_light = 1 + 0.015 * (light - 50).square() * torch.rsqrt(20 + (light - 50).square())
    in_light = (light2 - light1) / scale_light
    in_chroma = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    in_hue = 2 * torch.sqrt(chroma1 * chroma2) * torch.sin(0.5 * turn) / (1 + 0.015 * chroma * weight)
    from_blue = (torch.remainder(torch.rad2deg(hue), 360) - 275) / 25
    rotation = -2 * _saturating(chroma) * torch.sin(math.radians(60) * torch.exp(-from_blue.square()))
    squares = in_light.square() + in_chroma.square() + in_hue.square() + rotation * in_chroma * in_hue
    return _root(squares.clamp_min(0)) - _SMALL


def align_mean(picture: Tensor, target: Tensor) -> Tensor:
    """Return pictures with the mean of the true ones: ground-truth-mean alignment, as published tables of low-light enhancers use it.

    Each picture is multiplied by the ratio of the mean lumas, target's over its own, and clipped to [0, 1] after that. It
    takes out the overall exposure, which a dark picture does not tell; values with and without it cannot be compared.

    Args:
        picture: ``(B, 3, H, W)``; one whose mean luma is not above 0 has no ratio and is only clipped.
        target: the same shape.

    Raises:
        DataError: shapes differ or are not ``(B, 3, H, W)``.

    >>> align_mean(torch.full((1, 3, 2, 2), 0.1), torch.full((1, 3, 2, 2), 0.4)).unique()
    tensor([0.4000])
    """
    if picture.shape != target.shape:
        raise DataError(f"align_mean: expected two of one shape (B, 3, H, W), got {tuple(picture.shape)} and {tuple(target.shape)}")
    have, want = luma(picture).mean(dim=(1, 2, 3), keepdim=True), luma(target).mean(dim=(1, 2, 3), keepdim=True)
    bright = have > torch.finfo(have.dtype).tiny
    factor = torch.where(bright, want / torch.where(bright, have, 1.0), 1.0)
    return (picture * factor).clamp(0, 1)


def _root(square: Tensor) -> Tensor:
    return torch.sqrt(square + _SMALL**2)


def _angle(y: Tensor, x: Tensor) -> Tensor:
    """Angle of a vector; 0, without a gradient, where it is too short to have one."""
    short = x.square() + y.square() < _SMALL**2
    return torch.atan2(torch.where(short, 0.0, y), torch.where(short, 1.0, x))


def _saturating(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7)), written so that its derivative at grey is 0 and not 0 / 0."""
    relative = chroma / 25
    return relative.pow(3.5) * torch.rsqrt(1 + relative.pow(7))
