"""Drawn steel strips whose masks are exact: rolled texture, uneven light, dark strip edges, four kinds of defects.

A strip is a function of (seed, index, size): the same address gives the same pixels. Defects change
only pixels on steel, each by several grey levels, and never one that another defect has changed, so
the union of the masks is exactly where the picture differs from the flawless strip beneath.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.core.seeding import numpy_generator

Grey = NDArray[np.uint8]
Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Random = np.random.Generator

CLASSES = ("scratches", "patches", "inclusions", "pits")
SHARE_CLEAN = 0.5
SHARES = (0.60, 0.14, 0.10, 0.16)  # of the first defect among defective strips: one class dominates, as on real lines
SHARE_SECOND = 0.12  # of defective strips that carry a second class
MIN_SIZE = (32, 64)
_REFERENCE_HEIGHT = 64  # defects are drawn in pixels of a strip of this height and scaled with it
_LEAST_CHANGE = 8.0  # grey levels; below that a defect would be lost in the grain
_LEAST_AREA_PX = 6
_EDGE_LEVEL = 3.0


@dataclass(frozen=True)
class Strip:
    """One drawn strip."""

    picture: Grey
    """``(H, W)`` with its defects."""
    clean: Grey
    """``(H, W)``, the same steel without them."""
    masks: Mask
    """``(4, H, W)`` in the order of :data:`CLASSES`; their union is where ``picture`` and ``clean`` differ."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Return which classes are present, ``(4,)`` of 0 and 1."""
        return np.asarray(self.masks.any(axis=(1, 2)), dtype=np.uint8)


def draw_strip(seed: int, index: int, height: int = 64, width: int = 400) -> Strip:
    """Draw strip ``index`` of the endless set ``seed``.

    Args:
        seed: which set.
        index: which strip of it.
        height: pixels, at least 32.
        width: pixels, at least 64.

    Raises:
        DataError: the size is too small to draw defects on.

    >>> draw_strip(0, 0).picture.shape
    (64, 400)
    """
    if height < MIN_SIZE[0] or width < MIN_SIZE[1]:
        raise DataError(f"strips of {height} x {width} pixels are too small to draw; use at least {MIN_SIZE[0]} x {MIN_SIZE[1]}")
    rng = numpy_generator(seed, "strip", index)
    steel_map, clean = _draw_steel(rng, height, width)
    picture = clean.copy()
    masks = np.zeros((len(CLASSES), height, width), dtype=bool)
    free = steel_map
    for kind in _draw_kinds(rng):
        masks[kind] = _draw_defects(rng, picture, free, kind)
        free = free & ~masks[kind]
    return Strip(picture, clean, masks)


def _draw_kinds(rng: Random) -> list[int]:
    if rng.random() < SHARE_CLEAN:
        return []
    number = 2 if rng.random() < SHARE_SECOND else 1
    return [int(kind) for kind in rng.choice(len(CLASSES), size=number, replace=False, p=SHARES)]


# --- steel ---------------------------------------------------------------------------------------


def _draw_steel(rng: Random, height: int, width: int) -> tuple[Mask, Grey]:
    """Return where steel is, and the flawless strip."""
    level = rng.uniform(70, 135)
    light = 1 + rng.uniform(0.05, 0.22) * _smooth(rng, 2, 5, height, width)
    # Rolling leaves streaks along the strip's short side: profiles over the columns, wide and narrow.
    streaks = rng.uniform(1, 7) * _smooth(rng, 2, 24, height, width) + rng.uniform(0.5, 4) * rng.standard_normal(width, dtype=np.float32)
    reach = max(2, height // 8)
    grain = rng.standard_normal((height + reach, width), dtype=np.float32)
    sums = np.cumsum(grain, axis=0)
    drawn_out = (sums[reach:] - sums[:-reach]) / np.float32(np.sqrt(reach))
    texture = rng.uniform(1.5, 4) * drawn_out + rng.uniform(1.5, 4) * grain[reach:]
    steel = level * light + streaks + texture
    if rng.random() < 0.25:  # waves across the strip, seen on part of the real pictures; no defect
        steel += rng.uniform(1.5, 4) * _ripples(rng, height, width)
    cover = _draw_edges(rng, height, width)
    picture = _EDGE_LEVEL + (steel - _EDGE_LEVEL) * cover + 0.5 * rng.standard_normal((height, width), dtype=np.float32)
    return cover == 1, _to_grey(picture)


def _draw_edges(rng: Random, height: int, width: int) -> Field:
    """Return how much of each pixel is steel rather than the dark beside the strip, ``(H, W)`` in [0, 1]."""
    cover = np.ones((height, width), dtype=np.float32)
    if rng.random() >= 0.35:
        return cover
    edge = width * rng.uniform(0.04, 0.4)
    slope = rng.uniform(-0.08, 0.08)
    softness = rng.uniform(1, 3) * height / _REFERENCE_HEIGHT
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)
    inside = np.clip((columns - edge - slope * (rows - height / 2)) / softness, 0, 1)
    return inside if rng.random() < 0.5 else inside[:, ::-1]


def _ripples(rng: Random, height: int, width: int) -> Field:
    rows = np.arange(height, dtype=np.float32)[:, None]
    bend = height / 3 * _smooth(rng, 1, 6, 1, width)
    return np.sin((rows + bend) * (2 * np.pi / (height * rng.uniform(0.08, 0.2)))).astype(np.float32)


def _smooth(rng: Random, knots_high: int, knots_wide: int, height: int, width: int) -> Field:
    """Return smooth noise ``(height, width)`` of about unit size: a coarse grid of random numbers, interpolated."""
    coarse = rng.uniform(-1, 1, size=(knots_high, knots_wide)).astype(np.float32)
    return _interpolation(height, knots_high) @ coarse @ _interpolation(width, knots_wide).T


def _interpolation(length: int, knots: int) -> Field:
    """Return the matrix ``(length, knots)`` that interpolates between knots, smoothly at them."""
    places = np.linspace(0, knots - 1, length, dtype=np.float32)
    distance = np.clip(np.abs(places[:, None] - np.arange(knots, dtype=np.float32)), 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * distance)).astype(np.float32)


# --- defects -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Window:
    """A part of the strip that a defect is drawn in: coordinates of its pixels in reference pixels around a centre."""

    place: tuple[slice, slice]
    y: Field
    x: Field
    scale: float
    """Pixels per reference pixel."""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), self.x.shape[1]


# A drawer returns the defect's change in grey levels; zero where the steel is untouched.
Drawer = Callable[[Random, _Window], Field]


def _draw_defects(rng: Random, picture: Grey, free: Mask, kind: int) -> Mask:
    """Draw one to a few defects of a kind into ``picture``; return their mask."""
    drawer, most, reach_y, reach_x = _KINDS[kind]
    mask = np.zeros_like(free)
    for _ in range(int(rng.integers(1, most + 1))):
        for _attempt in range(20 if free.any() else 0):  # a place beside the edge or over another defect may leave too little to see
            window = _open_window(rng, free, reach_y, reach_x)
            change = drawer(rng, window)
            shape = (change != 0) & free[window.place] & ~mask[window.place]
            if shape.sum() >= _LEAST_AREA_PX:
                _apply(picture[window.place], change, shape)
                mask[window.place] |= shape
                break
    return mask


def _open_window(rng: Random, free: Mask, reach_y: float, reach_x: float) -> _Window:
    height, width = free.shape
    scale = height / _REFERENCE_HEIGHT
    steel_columns = np.flatnonzero(free.any(axis=0))
    centre_y, centre_x = int(rng.integers(height)), int(rng.choice(steel_columns))
    top, bottom = max(0, centre_y - int(reach_y * scale)), min(height, centre_y + int(reach_y * scale) + 1)
    left, right = max(0, centre_x - int(reach_x * scale)), min(width, centre_x + int(reach_x * scale) + 1)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] - centre_y) / np.float32(scale)
    x = (np.arange(left, right, dtype=np.float32)[None, :] - centre_x) / np.float32(scale)
    return _Window((slice(top, bottom), slice(left, right)), y, x, scale)


def _apply(picture: Grey, change: Field, shape: Mask) -> None:
    """Change the pixels of ``shape`` in place, each by at least :data:`_LEAST_CHANGE` grey levels."""
    before = picture[shape].astype(np.float32)
    step = change[shape]
    sign = np.where(step < 0, np.float32(-1), np.float32(1))
    room = np.where(step < 0, before, 255 - before)
    # Where black or white leaves no room to see the change, it goes the other way.
    cramped = room < _LEAST_CHANGE
    sign, room = np.where(cramped, -sign, sign), np.where(cramped, 255 - room, room)
    after = before + sign * np.clip(np.abs(step), _LEAST_CHANGE, room)
    picture[shape] = _to_grey(after)


def _scratch(rng: Random, window: _Window) -> Field:
    """A long thin line, slightly bent, along or across the strip, bright where the metal was bared."""
    along = rng.random() < 0.7
    t, s = (window.y, window.x) if along else (window.x, window.y)
    length, slope, bend = rng.uniform(14, 28), rng.uniform(-0.5, 0.5), rng.uniform(-0.012, 0.012)
    # A scratch on a finer picture is longer in pixels, but hardly wider.
    half_width = rng.uniform(0.6, 1.3) / np.sqrt(max(window.scale, 1)) * np.sqrt(np.clip(1 - (t / length) ** 2, 0, 1))
    shape = np.abs(s - slope * t - bend * t * t) < half_width
    strength = rng.choice((1.0, 1.0, -0.8)) * rng.uniform(38, 75)
    return _rough(rng, shape, strength)


def _patch(rng: Random, window: _Window) -> Field:
    """A dark stain with a ragged outline."""
    radius_y, radius_x = rng.uniform(7, 18), rng.uniform(8, 24)
    ragged = 0.55 * _smooth(rng, 6, 7, *window.shape) + 0.2 * _smooth(rng, 16, 18, *window.shape)
    shape = (window.y / radius_y) ** 2 + (window.x / radius_x) ** 2 + ragged < 0.8
    return _rough(rng, shape, -rng.uniform(24, 45))


def _inclusion(rng: Random, window: _Window) -> Field:
    """A cluster of short dark slivers, drawn out along the rolling direction."""
    number = int(rng.integers(4, 11))
    centre_y, centre_x = rng.normal(0, 5, (2, number)).astype(np.float32)
    length, half_width = rng.uniform(2.5, 7, number), rng.uniform(0.6, 1.2, number)
    y, x = window.y[..., None] - centre_y, window.x[..., None] - centre_x
    shape = ((y / length) ** 2 + (x / half_width) ** 2 < 1).any(axis=-1)
    return _rough(rng, shape, -rng.uniform(45, 80))


def _pits(rng: Random, window: _Window) -> Field:
    """A scatter of small craters: dark inside, bright at the rim."""
    number = int(rng.integers(5, 19))
    centre_y, centre_x = rng.uniform(-12, 12, number), rng.uniform(-16, 16, number)
    radius = rng.uniform(0.9, 2.4, number)
    distance = np.hypot(window.y[..., None] - centre_y, window.x[..., None] - centre_x) / radius
    nearest = distance.min(axis=-1).astype(np.float32)
    strength = rng.uniform(45, 85)
    return _rough(rng, nearest < 1, strength) * np.where(nearest < 0.55, np.float32(-0.8), np.float32(1))


def _rough(rng: Random, shape: Mask, strength: float) -> Field:
    jitter = 1 + 0.25 * rng.standard_normal(shape.shape, dtype=np.float32)
    return np.where(shape, np.float32(strength) * np.maximum(jitter, 0.3), np.float32(0))


# Drawer, most defects per strip, and how far one reaches from its centre in reference pixels (y, x).
_KINDS: tuple[tuple[Drawer, int, float, float], ...] = (
    (_scratch, 4, 30, 30),
    (_patch, 2, 26, 34),
    (_inclusion, 2, 22, 18),
    (_pits, 2, 16, 20),
)


def _to_grey(values: Field) -> Grey:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
