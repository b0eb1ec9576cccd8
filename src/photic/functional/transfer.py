"""Transfer functions that a loss may see linear pictures through: none, PQ, gamma 2.2; differentiable everywhere, with exact inverses.

They are for losses, masks and display, never for what a network takes. All are odd (negative values, which noise makes of black, mirror the
positive ones), go through 0, and rise everywhere. A power has an infinite slope at 0; below a small value, it is
therefore replaced by the parabola through 0 that joins it with the same value and slope.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from photic.core.errors import ConfigError

Transfer = Literal["none", "pq", "gamma22"]
"""``none``: linear; ``pq``: SMPTE ST 2084; ``gamma22``: the power 1 / 2.2."""
KINDS: tuple[Transfer, ...] = ("none", "pq", "gamma22")

_GAMMA = 2.2
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""Constants of SMPTE ST 2084; c1 is c3 - c2 + 1, so that 1 becomes 1."""


def encode(x: Tensor, kind: Transfer) -> Tensor:
    """Return linear values of any shape encoded.

    Values above 1 follow the same formula.

    Args:
        x: linear values; for ``pq``, 1 is the peak of the standard, 10,000 cd/m^2: 0.01 is a white of 100 cd/m^2.
        kind: ``none``, ``pq`` (exactly the standard from 1e-6 up, 0.01 cd/m^2) or ``gamma22`` (exactly the power from 1e-3 up).

    Raises:
        ConfigError: an unknown kind.

    >>> encode(torch.tensor([0.0, 0.01, 1.0]), "pq")
    tensor([0.0000, 0.5081, 1.0000])
    >>> encode(torch.tensor([-0.5, 0.0, 0.5]), "gamma22")
    tensor([-0.7297,  0.0000,  0.7297])
    """
    _check(kind)
    if kind == "none":
        return x
    toe, joint, slope = _PQ_JOINT if kind == "pq" else _GAMMA_JOINT
    steep, bend = 2 * joint / toe - slope, (slope * toe - joint) / toe**2
    size, sign = _size_and_sign(x)
    above = size >= toe
    low, high = torch.where(above, 0.0, size), torch.where(above, size, 1.0)  # either branch has a finite gradient everywhere
    made = torch.where(above, _pq(high) if kind == "pq" else high.pow(1 / _GAMMA), low * (steep + bend * low))
    return (sign * made).to(x.dtype)


def decode(x: Tensor, kind: Transfer) -> Tensor:
    """Return linear values of encoded ones of any shape, the inverse of :func:`encode`.

    Args:
        x: encoded values; from 1.9 up there is hardly any light that has them in ``pq``: it is 1e6 at most.
        kind: ``none``, ``pq`` or ``gamma22``.

    Raises:
        ConfigError: an unknown kind.

    >>> decode(torch.tensor([0.5081, 1.0]), "pq")
    tensor([0.0100, 1.0000])
    """
    _check(kind)
    if kind == "none":
        return x
    toe, joint, slope = _PQ_JOINT if kind == "pq" else _GAMMA_JOINT
    steep, bend = 2 * joint / toe - slope, (slope * toe - joint) / toe**2
    size, sign = _size_and_sign(x)
    above = size >= joint
    low, high = torch.where(above, 0.0, size), torch.where(above, size, 1.0)
    made = torch.where(
        above, _pq_back(high) if kind == "pq" else high.pow(_GAMMA), 2 * low / (steep + torch.sqrt(steep**2 + 4 * bend * low))
    )
    return (sign * made).to(x.dtype)


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise ConfigError(f"transfer: expected one of {', '.join(KINDS)}, got {kind!r}")


def _size_and_sign(x: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes and signs in float32 at least; 0 counts as positive, so that it has the slope of what is around it."""
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    sign = torch.where(values < 0, -1.0, 1.0).to(values.dtype)
    return values * sign, sign


def _pq(x: Tensor) -> Tensor:
    """ST 2084, written around 1 instead of around 0: the power of 79 would magnify the rounding of float32."""
    missing = -torch.expm1(_M1 * torch.log(x))  # 1 - x^m1
    return torch.exp(_M2 * torch.log1p(-(1 - _C1) * missing / (1 + _C3 * (1 - missing))))


def _pq_back(x: Tensor) -> Tensor:
    missing = -torch.expm1(torch.log(x.clamp_max(_PQ_END)) / _M2)  # 1 - V^(1/m2)
    return torch.exp(torch.log1p(-missing * (1 + _C3) / ((1 - _C1) + _C3 * missing)) / _M1)


def _pq_point(x: float) -> tuple[float, float, float]:
    """A place, the value of ST 2084 there, and its slope."""
    power = x**_M1
    above, below = _C1 + _C2 * power, 1 + _C3 * power
    value = (above / below) ** _M2
    relative = _C2 / above - _C3 / below
    return x, value, value * _M2 * relative * _M1 * power / x


_PQ_JOINT = _pq_point(1e-6)
"""Where parabola and curve join, the encoded value there, and the slope."""
_PQ_END = _pq_point(1e6)[1]
"""Values above it are decoded to 1e6: the curve ends at 1.99 however bright it gets."""
_GAMMA_JOINT = (1e-3, 1e-3 ** (1 / _GAMMA), 1e-3 ** (1 / _GAMMA) / (_GAMMA * 1e-3))
