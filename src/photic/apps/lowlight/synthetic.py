"""Drawn scenes and what a sensor makes of them in the dark, for tests and demonstrations without data.

A pair is a function of (seed, index, size). Scenes have what enhancers are judged by: smooth gradients, hard edges, fine strokes like
writing, and saturated patches of colour. The dark picture is the same scene in linear light times a small gain, with photon noise that
grows with the light and read noise that does not, written with 8 bits: darkness loses what the noise and the rounding take.
"""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from photic.core.seeding import numpy_generator

Bytes = NDArray[np.uint8]
Scene = NDArray[np.float64]

_GAINS = (0.01, 0.05)  # of linear light: mean levels of about 10 to 30 of 255, like LOL
_FULL_WELL = 4000.0  # photons of a white pixel at gain 1
_READ_NOISE = 4e-4  # standard deviation, of full scale


def draw_pair(seed: int, index: int, height: int = 96, width: int = 96) -> tuple[Bytes, Bytes]:
    """Draw pair ``index`` of the endless set ``seed``.

    Returns:
        The dark and the true picture, ``(height, width, 3)`` uint8, sRGB-encoded.

    >>> low, high = draw_pair(0, 0)
    >>> low.shape, bool(low.mean() < 0.4 * high.mean())
    ((96, 96, 3), True)
    """
    rng = numpy_generator(seed, "lowlight.scene", index)
    scene = _draw_scene(rng, height, width)
    linear = np.where(scene <= 0.04045, scene / 12.92, ((scene + 0.055) / 1.055) ** 2.4)
    gain = float(np.exp(rng.uniform(*np.log(_GAINS))))
    noisy = rng.poisson(linear * gain * _FULL_WELL) / _FULL_WELL + rng.normal(0, _READ_NOISE, linear.shape)
    noisy = np.clip(noisy, 0, 1)
    dark = np.where(noisy <= 0.0031308, 12.92 * noisy, 1.055 * noisy ** (1 / 2.4) - 0.055)
    return _quantised(dark), _quantised(scene)


def _draw_scene(rng: np.random.Generator, height: int, width: int) -> Scene:
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = rows * np.sin(angle) + columns * np.cos(angle)
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-9)
    ends = np.stack([_colour(rng, saturation=0.35), _colour(rng, saturation=0.35)])
    scene = ends[0] + ramp[..., None] * (ends[1] - ends[0])
    for _ in range(int(rng.integers(4, 9))):
        _draw_shape(rng, scene, rows, columns)
    for _ in range(int(rng.integers(1, 4))):
        _draw_writing(rng, scene)
    grain = gaussian_filter(rng.normal(0, 1, (height, width)), 1.0)
    scene *= 1 + 0.08 * grain[..., None]
    shade = gaussian_filter(rng.normal(0, 1, (height, width)), max(height, width) / 6)
    scene *= 1 + 0.25 * (shade / max(float(np.abs(shade).max()), 1e-9))[..., None]
    drawn: Scene = np.clip(scene, 0.02, 0.98)
    return drawn


def _draw_shape(rng: np.random.Generator, scene: Scene, rows: Scene, columns: Scene) -> None:
    y, x = rng.uniform(0, rows.max()), rng.uniform(0, columns.max())
    half_height, half_width = rng.uniform(0.05, 0.25, 2)
    if rng.random() < 0.5:
        inside = (np.abs(rows - y) < half_height) & (np.abs(columns - x) < half_width)
    else:
        inside = ((rows - y) / half_height) ** 2 + ((columns - x) / half_width) ** 2 < 1
    scene[inside] = _colour(rng, saturation=rng.uniform(0.2, 0.9))


def _draw_writing(rng: np.random.Generator, scene: Scene) -> None:
    """Draw a row of upright strokes with bars, one or two pixels wide."""
    height, width = scene.shape[:2]
    tall = max(5, height // 10)
    row, column = int(rng.integers(0, max(1, height - tall))), int(rng.integers(0, max(1, width // 2)))
    ink = np.full(3, rng.choice([0.04, 0.95]))
    while column < width - 3:
        scene[row : row + tall, column : column + 1] = ink
        bar = row + int(rng.integers(0, tall))
        scene[bar : bar + 1, column : column + int(rng.integers(2, 4))] = ink
        column += int(rng.integers(3, 7))
        if rng.random() < 0.12:
            break


def _colour(rng: np.random.Generator, saturation: float) -> NDArray[np.float64]:
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.35, 0.95)))


def _quantised(picture: Scene) -> Bytes:
    return np.round(picture * 255).astype(np.uint8)
