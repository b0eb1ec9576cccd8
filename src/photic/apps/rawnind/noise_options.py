"""Options of whatever has to know how noisy a raw picture is."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from photic.core.schema import Range
from photic.inference.file_model import FileOptions


@dataclass(frozen=True, kw_only=True)
class NoiseOptions(FileOptions):
    """What is known of a picture's noise; with neither, the file's own profile or an estimate from the picture tells."""

    noise: Annotated[tuple[float, float] | None, Range(ge=0, lt=1)] = None
    """a and b of the variance a x + b at the clean value x; black is 0, white is 1."""
    iso: Annotated[float | None, Range(gt=0, le=1e8)] = None
    """ISO value, instead of the file's; where no measured profile of the camera is at hand, the noise of a typical camera there."""


def noise_argument(text: str) -> tuple[float, float]:
    """Return a and b of ``A,B``.

    Raises:
        argparse.ArgumentTypeError: it is something else.

    >>> noise_argument("1e-3,2e-6")
    (0.001, 2e-06)
    """
    try:
        a, b = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A,B of the variance A x + B, such as 1e-3,2e-6, got '{text}'") from None
    if not (0 <= a < 1 and 0 <= b < 1):
        raise argparse.ArgumentTypeError(f"expected A and B from 0 to 1 (black is 0, white is 1), got '{text}'")
    return a, b


def add_noise_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--noise``, ``--iso`` and ``--noise-profiles``, in a group of their own."""
    noise = parser.add_argument_group("noise")
    noise.add_argument("--noise", type=noise_argument, metavar="A,B", help="variance A x + B at the clean value x; black is 0, white is 1")
    noise.add_argument("--iso", type=float, metavar="N", help="instead of the file's; alone, the noise of a typical camera at ISO N")
    noise.add_argument("--noise-profiles", type=Path, metavar="FILE", help="measured noise per camera and ISO value (noiseprofiles.json)")
