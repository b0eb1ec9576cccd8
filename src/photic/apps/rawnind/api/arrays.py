"""Raw pictures that come as arrays: nothing is known of them but their values."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.noise_choice import ChosenNoise, choose_noise
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import RGGB

Noise = tuple[float, float]
"""a and b of the noise's variance a x + b at the clean value x."""
UNKNOWN_ISO = 1600.0
"""A typical camera at this ISO value is as noisy as a picture that is too small to tell."""


def raw_picture(planes: NDArray[np.float32]) -> RawPicture:
    """Return a picture of a mosaic ``(1, H, W)`` in RGGB order, or of linear RGB ``(3, H, W)``."""
    if len(planes) == 1:
        return RawPicture(planes[0], RGGB, iso=UNKNOWN_ISO)
    return RawPicture(np.ascontiguousarray(planes.transpose(1, 2, 0)), None, iso=UNKNOWN_ISO)


def noise_of(picture: RawPicture, given: tuple[float, float] | None = None) -> ChosenNoise:
    """Return the noise of a picture; an uncertain estimate is used as it is, without a warning.

    Raises:
        ConfigError: noise was given that is not possible.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return choose_noise(picture, given=given)


def picture_planes(image: Any, channels: int, who: str, else_: str = "") -> NDArray[np.float32]:
    """Return a picture ``(channels, H, W)`` as an array.

    Raises:
        DataError: no floats, another shape, or values that are not finite.
    """
    array: NDArray[np.float32] = float_array(image)
    if array.ndim != 3 or len(array) != channels:
        raise DataError(f"{who}: expected a picture ({channels}, H, W), got {array.shape}{else_}")
    if not array.size or not np.isfinite(array).all():
        raise DataError(f"{who}: expected finite values, some of {array.shape} are not, or there are none")
    return array


def float_array(values: Any, kind: Any = np.float32) -> NDArray[Any]:
    """Return an array, or a tensor as one.

    Raises:
        DataError: no floats.
    """
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy() if values.dtype == torch.bfloat16 else values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise DataError(f"expected floats, black at 0 and white at 1, got {array.dtype} {array.shape}")
    return np.ascontiguousarray(array, kind)


def numbers(values: Any) -> NDArray[np.float64]:
    """Return numbers, or those of a tensor, in double precision."""
    return np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values, np.float64)


def two(noise: Iterable[float]) -> Noise:
    """Return a and b of a noise that was given in whatever kind of sequence."""
    a, b = (float(value) for value in noise)
    return a, b


def factors_of(balance: Any) -> NDArray[np.float64]:
    """Return factors ``(3,)`` of red, green and blue; None are ones.

    Raises:
        ConfigError: they are not three finite numbers above 0.
    """
    factors = np.ones(3) if balance is None else numbers(balance)
    if factors.shape != (3,) or not (np.isfinite(factors).all() and (factors > 0).all()):
        raise ConfigError(f"balance: expected three finite factors above 0 for red, green and blue, got {balance}")
    return factors
