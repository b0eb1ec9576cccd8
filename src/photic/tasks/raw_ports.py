"""What the deployed graphs of raw pictures share: a measurement with what is known about it, and a clean picture."""

from __future__ import annotations

from photic.models.raw_denoising import Measurement
from photic.tasks.interface import BATCH, Port

_LINEAR = "linear, black 0, white 1"

CLEAN = Port("picture", "float32", (BATCH, 3, "height", "width"), "The clean picture in camera colours, not white-balanced.", _LINEAR)
"""What comes out; not clamped."""


def raw_inputs(measurement: Measurement, *, rggb: bool) -> tuple[Port, ...]:
    """Return what goes in, in the order of the networks' arguments.

    Args:
        measurement: what the network takes.
        rggb: mosaics must be Bayer and begin with red, green / green, blue.
    """
    mosaic = measurement == "mosaic"
    order = "Bayer, first row red, green" if rggb else "Bayer or X-Trans"
    what = f"The sensor's mosaic ({order})" if mosaic else "The picture in camera colours"
    seen = "1 where a pixel sees red, green, blue." if mosaic else "Ones: every pixel has all three colours."
    return (
        Port("measurement", "float32", (BATCH, 1 if mosaic else 3, "height", "width"), f"{what}, not white-balanced, noisy.", _LINEAR),
        Port("planes", "float32", (BATCH, 3, "height", "width"), seen, None, (0.0, 1.0)),
        Port("noise", "float32", (BATCH, 2), "a and b of the noise's variance a x + b at the clean value x.", None, (0.0, None)),
        Port("balance", "float32", (BATCH, 3), "As-shot white balance: factors of red, green, blue that make grey grey, green 1."),
    )


def raw_preprocessing(measurement: Measurement, *, rggb: bool) -> dict[str, str]:
    """Return what is done to a raw picture before the network, for its description.

    Args:
        measurement: what the network takes.
        rggb: mosaics must be Bayer and begin with red, green / green, blue.
    """
    values = "linear, (value - black) / (white - black), not clamped below 0, not white-balanced"
    if measurement == "rgb":
        return {"values": values, "mosaics": "demosaiced first (Malvar for Bayer, normalised convolution for X-Trans)"}
    known = "Bayer, beginning red, green / green, blue" if rggb else "Bayer, beginning red, green / green, blue, or X-Trans at one phase"
    return {
        "values": values,
        "mosaics": f"{known}; others are continued at the top and left, mirrored about their first pixels, until they begin so, and the "
        "result is cut",
        "planes": "1 where a pixel sees red, green, blue",
    }


def noise_model() -> dict[str, str]:
    """Return how noise is told to networks for raw pictures, for their description."""
    return {
        "variance": "a x + b at the clean value x, a share of white",
        "told": "a and b of each picture: as given, by the file, by profiles of cameras, by its ISO value, or estimated from the picture",
    }
