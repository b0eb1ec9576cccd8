"""Demosaicing alone: what a denoiser is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.bands import gathered
from photic.apps.rawnind.developing import camera_bands
from photic.apps.rawnind.picture import RawPicture


def demosaiced(picture: RawPicture) -> dict[str, NDArray[np.float32]]:
    """Return a picture without denoising, ``(H, W, 3)`` in camera colours: by each demosaicer that knows its pattern, the best last."""
    if picture.pattern is None:
        return {"as measured": picture.values}
    known = {"Malvar": "malvar", "Menon": "menon"} if picture.is_bayer else {"normalised convolution": "normalised"}
    return {name: gathered(camera_bands(picture, method, balance=picture.white_balance), picture.size) for name, method in known.items()}
