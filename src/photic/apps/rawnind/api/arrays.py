"""Raw pictures that come as arrays: nothing is known of them but their values."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.noise_choice import ChosenNoise, choose_noise
from photic.apps.rawnind.picture import RawPicture
from photic.functional.cfa import RGGB

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
