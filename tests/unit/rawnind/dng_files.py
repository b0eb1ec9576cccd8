"""DNG files for tests, written by tifffile alone, so that readers are not tested with our own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

MATRIX = np.array([[0.6257, -0.0303, -0.1000], [-0.7880, 1.5621, 0.2396], [-0.1714, 0.1904, 0.7046]])
NEUTRAL = (0.5, 1.0, 0.625)  # factors 2, 1, 1.6
BLACK, WHITE = 512, 15360
_CFA, _LINEAR_RAW = 32803, 34892


def rationals(*values: float) -> list[int]:
    return [number for value in values for number in (round(value * 1_000_000), 1_000_000)]


def write_raw(path: Path, values: np.ndarray, *, pattern: Any = ((0, 1), (1, 2)), tags: dict[int, Any] | None = None, **more: Any) -> Path:
    """Write uint16 values ``(H, W)`` as a mosaic, or ``(H, W, 3)`` as linear RGB.

    Args:
        path: where.
        values: as stored.
        pattern: colours of the mosaic from the sensor's first pixel on.
        tags: further tags as (kind, count, value), or None to leave one out.
        more: for ``tifffile``.
    """
    samples = 1 if values.ndim == 2 else 3
    made: dict[int, Any] = {
        271: (2, 0, "Photic"),
        272: (2, 0, "Made Camera"),
        274: (3, 1, 1),
        50706: (1, 4, bytes([1, 4, 0, 0])),
        50707: (1, 4, bytes([1, 1, 0, 0])),
        50708: (2, 0, "Photic Made Camera"),
        50714: (3, samples, [BLACK] * samples if samples > 1 else BLACK),
        50717: (3, samples, [WHITE] * samples if samples > 1 else WHITE),
        50721: (10, 9, rationals(*MATRIX.ravel())),
        50778: (3, 1, 21),
        50728: (5, 3, rationals(*NEUTRAL)),
    }
    if samples == 1:
        made[33421] = (3, 2, [len(pattern), len(pattern[0])])
        made[33422] = (1, len(pattern) * len(pattern[0]), bytes(colour for row in pattern for colour in row))
        made[50710] = (1, 3, bytes([0, 1, 2]))
    made |= tags or {}
    extra = [(number, kind, count, value, True) for number, found in made.items() if found is not None for kind, count, value in [found]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, byteorder="<") as file:
        file.write(
            values,
            photometric=_CFA if samples == 1 else _LINEAR_RAW,
            planarconfig=None if samples == 1 else "contig",
            extratags=extra,
            metadata=None,
            software=False,
            **more,
        )
    return path


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a smooth picture ``(H, W, 3)`` in camera colours with values in [0.02, 0.45]."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    picture = np.zeros((height, width, 3))
    for _ in range(6):
        y, x, size = generator.random(3)
        picture += np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (0.02 + 0.1 * size))[..., None] * generator.uniform(0.2, 1, 3)
    return 0.02 + 0.43 * picture / picture.max()


def mosaicked(picture: np.ndarray, pattern: Any) -> np.ndarray:
    """Return the mosaic of a picture ``(H, W, 3)``, by loops."""
    height, width = picture.shape[:2]
    made = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            made[y, x] = picture[y, x, pattern[y % len(pattern)][x % len(pattern[0])]]
    return made


def stored(values: np.ndarray, black: float = BLACK, white: float = WHITE) -> np.ndarray:
    """Return values (black 0, white 1) as a file has them."""
    return np.rint(values * (white - black) + black).astype(np.uint16)
