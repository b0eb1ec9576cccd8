"""What a denoiser is held against: demosaicing alone, and classical denoising."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.evaluating.classical import Method, classical_denoise
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import camera_bands
from photic.apps.rawnind.picture import RawPicture


def demosaiced(picture: RawPicture) -> dict[str, NDArray[np.float32]]:
    """Return a picture without denoising, ``(H, W, 3)`` in camera colours: by each demosaicer that knows its pattern, the best last."""
    if picture.pattern is None:
        return {"as measured": picture.values}
    known = {"Malvar": "malvar", "Menon": "menon"} if picture.is_bayer else {"normalised convolution": "normalised"}
    return {name: gathered(camera_bands(picture, method, balance=picture.white_balance), picture.size) for name, method in known.items()}


def denoised_classically(picture: RawPicture, noise: tuple[float, float]) -> dict[str, NDArray[np.float32]]:
    """Return a picture as classical denoisers make it, ``(H, W, 3)`` in camera colours; the better one last.

    Non-local means alone are what scikit-image has; a mean of them and of cosine transforms of blocks is the best that is known here.
    """
    known: dict[str, Method] = {"NLM": "nlm", "DCT + NLM": "both"}
    ending = " + Menon" if picture.is_bayer else ""
    return {
        f"{name}{ending}": classical_denoise(picture.values, picture.pattern, noise, method, balance=picture.white_balance)
        for name, method in known.items()
    }
