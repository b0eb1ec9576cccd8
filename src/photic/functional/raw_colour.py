"""Colour of raw pictures: matrices between XYZ, linear Rec.2020 and linear sRGB, and from a camera's colours to Rec.2020.

All matrices act on columns of linear values, white is D65, and Y of white is 1. They are derived from the primaries that the standards
name, so that white comes out exactly white.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.core.errors import DataError

Chromaticities = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""x and y of red, green and blue, CIE 1931."""
Matrix = NDArray[np.float64]

D65: tuple[float, float] = (0.3127, 0.3290)
"""x and y of the white of both spaces."""
REC2020_PRIMARIES: Chromaticities = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
"""ITU-R BT.2020."""
SRGB_PRIMARIES: Chromaticities = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
"""IEC 61966-2-1, the same as ITU-R BT.709."""
_WORST_CONDITION = 1e6
"""Largest condition number of a matrix between colours that is still one; cameras' have 2 to 30."""


def xyz_of_white(white: tuple[float, float] = D65) -> Matrix:
    """Return X, Y, Z ``(3,)`` of a white of chromaticity x, y; its Y is 1.

    >>> xyz_of_white().round(4).tolist()
    [0.9505, 1.0, 1.0891]
    """
    x, y = white
    return np.array([x / y, 1.0, (1 - x - y) / y])


def rgb_to_xyz(primaries: Chromaticities, white: tuple[float, float] = D65) -> Matrix:
    """Return the matrix ``(3, 3)`` from linear values of a colour space to XYZ: (1, 1, 1) becomes its white.

    >>> rgb_to_xyz(SRGB_PRIMARIES).round(4)[1].tolist()
    [0.2126, 0.7152, 0.0722]
    """
    colours = np.array([[x, y, 1 - x - y] for x, y in primaries]).T
    return colours * np.linalg.solve(colours, xyz_of_white(white))


def _inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(matrix).astype(np.float64)


REC2020_TO_XYZ: Matrix = rgb_to_xyz(REC2020_PRIMARIES)
XYZ_TO_REC2020: Matrix = _inverse(REC2020_TO_XYZ)
SRGB_TO_XYZ: Matrix = rgb_to_xyz(SRGB_PRIMARIES)
XYZ_TO_SRGB: Matrix = _inverse(SRGB_TO_XYZ)
REC2020_TO_SRGB: Matrix = XYZ_TO_SRGB @ REC2020_TO_XYZ
SRGB_TO_REC2020: Matrix = XYZ_TO_REC2020 @ SRGB_TO_XYZ


def camera_to_rec2020(xyz_to_camera: NDArray[np.floating], white_balance: NDArray[np.floating] | None = None) -> Matrix:
    """Return the matrix ``(3, 3)`` from a camera's linear colours, not white-balanced, to linear Rec.2020.

    Without white balance it is the inverse of the matrix as it is, which makes what is grey under D65 grey. With white balance, the
    matrix first loses its own idea of a white (its rows, from Rec.2020 to the camera, are made to sum to one), and the factors take
    its place: a colour that they make equal in red, green and blue comes out grey. To apply factors and then the matrix as it is
    would balance twice.

    Args:
        xyz_to_camera: ``(3, 3)``, XYZ (D65) to camera, as LibRaw's ``rgb_xyz_matrix[:3]`` or a DNG's ColorMatrix has it.
        white_balance: ``(3,)`` factors of red, green and blue, green usually 1; None: those of D65, by the matrix.

    Raises:
        DataError: another shape, not finite, a matrix without an inverse (LibRaw gives zeros for cameras it has no table for), a row
            without a sum, or factors that are not above 0.

    >>> bool(np.allclose(camera_to_rec2020(XYZ_TO_SRGB), SRGB_TO_REC2020))
    True
    """
    matrix = np.asarray(xyz_to_camera, np.float64)
    if matrix.shape != (3, 3):
        raise DataError(f"colour matrix: expected XYZ to camera (3, 3), got {matrix.shape}; of a 4 x 3 matrix take the first three rows")
    factors = None if white_balance is None else torch.as_tensor(np.asarray(white_balance, np.float64))[None]
    return camera_to_rec2020_batch(torch.as_tensor(matrix)[None], factors)[0].numpy()


def camera_to_rec2020_batch(xyz_to_camera: Tensor, white_balance: Tensor | None = None) -> Tensor:
    """Return the matrices ``(B, 3, 3)`` from cameras' colours to linear Rec.2020, see :func:`camera_to_rec2020`.

    They are computed in float64, and returned in the type of ``xyz_to_camera``.

    Args:
        xyz_to_camera: ``(B, 3, 3)``.
        white_balance: ``(B, 3)``, or None.

    Raises:
        DataError: as there; the message names the first picture of the batch that it is about.
    """
    if xyz_to_camera.ndim != 3 or xyz_to_camera.shape[1:] != (3, 3) or not xyz_to_camera.is_floating_point():
        raise DataError(
            f"colour matrices: expected XYZ to camera (B, 3, 3) of floats, got {tuple(xyz_to_camera.shape)} {xyz_to_camera.dtype}"
        )
    to_camera = xyz_to_camera.double() @ torch.as_tensor(REC2020_TO_XYZ, device=xyz_to_camera.device)
    _require_inverse(to_camera, xyz_to_camera)
    if white_balance is None:
        return _inverted(to_camera).to(xyz_to_camera.dtype)
    factors = white_balance.to(to_camera)
    if factors.shape != xyz_to_camera.shape[:2]:
        raise DataError(f"white balance: expected ({len(xyz_to_camera)}, 3) factors, got {tuple(white_balance.shape)}")
    wrong = ~(factors.isfinite() & (factors > 0)).all(dim=1)
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise DataError(
            f"white balance of picture {index}: expected three finite factors above 0, got {factors[index].tolist()}; leave it out, "
            "and the colour matrix balances for daylight"
        )
    sums = to_camera.sum(dim=2, keepdim=True)
    wrong = (sums <= 0).flatten(1).any(dim=1)
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise DataError(
            f"colour matrix of picture {index}: the camera does not see white (a row gives {float(sums[index].min()):g} for it), so it "
            "cannot be combined with a white balance; leave the white balance out, or correct the matrix"
        )
    return (_inverted(to_camera / sums) * factors[:, None, :]).to(xyz_to_camera.dtype)


def apply_matrix(picture: Tensor, matrix: Tensor | NDArray[np.floating]) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` in other colours: each pixel's column times a matrix.

    Computed in float32 at least; half-precision pictures come back in their type.

    Args:
        picture: ``(B, 3, H, W)``, linear.
        matrix: ``(3, 3)`` for all, or ``(B, 3, 3)``.

    Raises:
        DataError: other shapes.

    >>> apply_matrix(torch.ones(1, 3, 1, 1), REC2020_TO_SRGB).flatten()
    tensor([1., 1., 1.])
    """
    given = torch.as_tensor(matrix)
    if picture.ndim != 4 or picture.shape[1] != 3 or not picture.is_floating_point():
        raise DataError(f"apply_matrix: expected pictures (B, 3, H, W) of floats, got {tuple(picture.shape)} {picture.dtype}")
    if given.shape not in ((3, 3), (len(picture), 3, 3)):
        raise DataError(f"apply_matrix: expected a matrix (3, 3) or ({len(picture)}, 3, 3), got {tuple(given.shape)}")
    kind = torch.promote_types(picture.dtype, torch.float32)
    with torch.autocast(picture.device.type, enabled=False):
        columns = picture.to(kind).flatten(2)
        return (given.to(columns).expand(len(picture), 3, 3) @ columns).view_as(picture).to(picture.dtype)


def _inverted(matrices: Tensor) -> Tensor:
    inverse: Tensor = torch.linalg.inv(matrices)
    return inverse


def _require_inverse(to_camera: Tensor, given: Tensor) -> None:
    """Refuse matrices that are not finite or have no inverse."""
    finite = to_camera.isfinite().all(dim=2).all(dim=1)
    safe = torch.where(finite[:, None, None], to_camera, 0.0)
    values = torch.linalg.svdvals(safe)
    wrong = ~finite | ~(values[:, 2] * _WORST_CONDITION > values[:, 0])
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise DataError(
            f"colour matrix of picture {index}: expected an invertible matrix XYZ to camera, got {given[index].tolist()}; LibRaw gives "
            "zeros for cameras it has no table for: read ColorMatrix from the DNG's tags, or leave the colours as the camera has them"
        )


def daylight_balance(xyz_to_camera: NDArray[np.floating]) -> Matrix:
    """Return the factors ``(3,)`` of red, green and blue, green 1, that make what daylight (D65) lights grey.

    Raises:
        DataError: the camera does not see daylight with all three colours.

    >>> daylight_balance(XYZ_TO_SRGB / np.array([[2.0], [1.0], [1.5]])).round(6).tolist()
    [2.0, 1.0, 1.5]
    """
    seen = np.asarray(xyz_to_camera, dtype=np.float64) @ xyz_of_white()
    if not np.isfinite(seen).all() or seen.min() <= 0:
        raise DataError(f"camera matrix: daylight gives {seen.round(4).tolist()}, expected three values above 0")
    factors: Matrix = seen[1] / seen
    return factors
