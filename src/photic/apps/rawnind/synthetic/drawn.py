"""Drawn scenes in linear light: hard edges at all angles, fine strokes, ramps, saturated colours; to train on, and for tests.

A scene is a function of (seed, index, size). It is drawn three times as large and averaged down: edges lie between pixels, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from photic.core.seeding import numpy_generator

_FINER = 3


def draw_scene(seed: int, index: int, height: int, width: int) -> NDArray[np.float32]:
    """Draw scene ``index`` of the endless set ``seed``: ``(height, width, 3)``, linear sRGB in [0, 1].

    >>> scene = draw_scene(0, 0, 48, 64)
    >>> scene.shape, bool(scene.min() >= 0), bool(scene.max() <= 1)
    ((48, 64, 3), True, True)
    """
    rng = numpy_generator(seed, "rawnind.scene", index)
    size = (width * _FINER, height * _FINER)
    canvas = Image.fromarray(_ramp(rng, size))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 12))):
        _shape(rng, pen, size)
    for _ in range(int(rng.integers(2, 6))):
        _strokes(rng, pen, size)
    encoded = np.asarray(canvas, dtype=np.float32) / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
    averaged: NDArray[np.float32] = light.reshape(height, _FINER, width, _FINER, 3).mean(axis=(1, 3))
    return averaged


def _ramp(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    angle = rng.uniform(0, 2 * np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    along = (along - along.min()) / max(float(np.ptp(along)), 1e-9)
    ends = rng.uniform(10, 245, (2, 3))
    ramp: NDArray[np.uint8] = (ends[0] + along[..., None] * (ends[1] - ends[0])).astype(np.uint8)
    return ramp


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    grey = rng.random() < 0.4
    levels = np.full(3, rng.uniform(0, 255)) if grey else rng.uniform(0, 255, 3)
    red, green, blue = (int(level) for level in levels)
    return red, green, blue


def _shape(rng: np.random.Generator, pen: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
    radius, turn = rng.uniform(0.05, 0.35) * min(size), rng.uniform(0, 2 * np.pi)
    colour = _colour(rng)
    if rng.random() < 0.3:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        return
    corners = int(rng.integers(3, 6))
    angles = turn + 2 * np.pi * np.arange(corners) / corners
    pen.polygon([(x + radius * np.cos(angle), y + radius * np.sin(angle)) for angle in angles], fill=colour)


def _strokes(rng: np.random.Generator, pen: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    """Draw a bundle of parallel lines, from a third of a pixel to four pixels wide."""
    x, y, angle = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(0, np.pi)
    length, width = rng.uniform(0.1, 0.5) * min(size), int(rng.integers(1, 13))
    gap, colour = width * rng.uniform(1.5, 3.0), _colour(rng)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    for number in range(int(rng.integers(1, 8))):
        start = np.array([x, y]) + number * gap * across
        stop = start + length * along
        pen.line((float(start[0]), float(start[1]), float(stop[0]), float(stop[1])), fill=colour, width=width)
