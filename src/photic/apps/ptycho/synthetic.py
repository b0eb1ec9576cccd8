"""Generated specimens, probes, scans and detectors: everything a simulation needs, as functions of a seed.

Positions are ``[x, y]`` = [column, row] in pixels of the object, of a patch's centre, which is its pixel N/2.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom

from photic.core.errors import ConfigError, nearest
from photic.core.seeding import numpy_generator
from photic.physics.ptychography import with_modes

ObjectKind = Literal["star", "cells", "lines"]
ProbeKind = Literal["disc", "gauss"]
ScanKind = Literal["spiral", "raster"]
OBJECT_KINDS: tuple[ObjectKind, ...] = ("star", "cells", "lines")
PROBE_KINDS: tuple[ProbeKind, ...] = ("disc", "gauss")
SCAN_KINDS: tuple[ScanKind, ...] = ("spiral", "raster")
AMPLITUDE_RANGE = (0.5, 1.0)
PHASE_RANGE_RAD = (-1.0, 1.0)
MIN_OBJECT_PX = 16

Field = NDArray[np.floating[Any]]
_LARGEST_SHARE = {"disc": 0.75, "gauss": 1 / 3}  # of the window: beyond, the window's edge would cut the probe


# --- objects --------------------------------------------------------------------------------------


def draw_object(
    kind: ObjectKind,
    shape: tuple[int, int],
    *,
    seed: int = 0,
    amplitude_range: tuple[float, float] = AMPLITUDE_RANGE,
    phase_range_rad: tuple[float, float] = PHASE_RANGE_RAD,
) -> NDArray[np.complex64]:
    """Draw a specimen whose amplitude and phase each span their whole range.

    Args:
        kind: ``star``: spokes that narrow towards the centre, so that resolution can be read off; ``cells``: round bodies that retard, with
            absorbing nuclei; ``lines``: strips over strips, amplitude and phase of each drawn independently.
        shape: rows and columns, at least 16 each.
        seed: which specimen.
        amplitude_range: lowest and highest amplitude, both >= 0; 1 lets everything through.
        phase_range_rad: lowest and highest phase; a span above 2 pi wraps.

    Returns:
        ``(H, W)``.

    Raises:
        ConfigError: an unknown kind, a shape that is too small, or an impossible range.

    >>> specimen = draw_object("cells", (64, 80))
    >>> specimen.shape, specimen.dtype, round(float(abs(specimen).min()), 3), round(float(abs(specimen).max()), 3)
    ((64, 80), dtype('complex64'), 0.5, 1.0)
    """
    _known(kind, OBJECT_KINDS, "object")
    if min(shape) < MIN_OBJECT_PX:
        raise ConfigError(f"object of {shape[0]} x {shape[1]} px: too small to draw; use at least {MIN_OBJECT_PX} x {MIN_OBJECT_PX}")
    draw = {"star": _draw_star, "cells": _draw_cells, "lines": _draw_lines}[kind]
    amplitude, phase = draw(numpy_generator(seed, f"ptycho object {kind}"), shape)
    return complex_object(_stretched(amplitude), _stretched(phase), amplitude_range=amplitude_range, phase_range_rad=phase_range_rad)


def complex_object(
    amplitude: NDArray[np.floating[Any]],
    phase: NDArray[np.floating[Any]],
    *,
    amplitude_range: tuple[float, float] = AMPLITUDE_RANGE,
    phase_range_rad: tuple[float, float] = PHASE_RANGE_RAD,
) -> NDArray[np.complex64]:
    """Return an object of two pictures ``(H, W)`` in [0, 1]: 0 becomes the first value of a range, 1 the second.

    Raises:
        ConfigError: a negative amplitude, or a range that is not finite.

    >>> complex_object(np.array([[0.0, 1.0]]), np.zeros((1, 2)), amplitude_range=(0.2, 1.0), phase_range_rad=(0.0, 1.0)).tolist()
    [[(0.20000000298023224+0j), (1+0j)]]
    """
    if not (all(map(math.isfinite, amplitude_range)) and min(amplitude_range) >= 0):
        raise ConfigError(f"amplitude range: expected two finite values >= 0, got {amplitude_range}")
    if not all(map(math.isfinite, phase_range_rad)):
        raise ConfigError(f"phase range: expected two finite values in rad, got {phase_range_rad}")
    modulus = amplitude_range[0] + (amplitude_range[1] - amplitude_range[0]) * amplitude.astype(np.float64)
    angle = phase_range_rad[0] + (phase_range_rad[1] - phase_range_rad[0]) * phase.astype(np.float64)
    specimen: NDArray[np.complex64] = (modulus * np.exp(1j * angle)).astype(np.complex64)
    return specimen


def _draw_star(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Field, Field]:
    radius = 0.47 * min(shape)
    cx, cy = ((side - 1) / 2 + rng.uniform(-0.02, 0.02) * min(shape) for side in (shape[1], shape[0]))
    y, x = np.arange(shape[0])[:, None] - cy, np.arange(shape[1])[None, :] - cx
    distance = np.hypot(x, y)
    num_spokes = 16 if radius < 60 else 32
    across = np.sin(num_spokes * (np.arctan2(y, x) + rng.uniform(0, 2 * math.pi))) * distance / num_spokes
    spokes = np.clip(0.5 + across, 0, 1)  # edges one pixel soft, however wide a spoke is
    for share in (0.3, 0.6, 1.0):  # rings cut the spokes, and the star ends
        spokes *= np.clip(np.abs(distance - share * radius) - max(1.0, 0.02 * radius), 0, 1)
    spokes[distance > radius] = 0
    return 1 - 0.85 * spokes + 0.15 * _smooth(rng, shape), spokes + 0.35 * _smooth(rng, shape)


def _draw_cells(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Field, Field]:
    thickness, absorbed = np.zeros(shape), np.zeros(shape)
    for _ in range(max(4, round(shape[0] * shape[1] / 140))):
        radius = math.exp(rng.uniform(math.log(3), math.log(13)))
        centre = rng.uniform(-4, shape[0] + 4), rng.uniform(-4, shape[1] + 4)
        window, y, x = _around(centre, radius + 1, shape)
        angle, ratio = rng.uniform(0, math.pi), rng.uniform(0.6, 1)
        along, beside = x * math.cos(angle) + y * math.sin(angle), (y * math.cos(angle) - x * math.sin(angle)) / ratio
        inside = np.sqrt(np.clip(1 - (along**2 + beside**2) / radius**2, 0, None))
        thickness[window] += inside * rng.uniform(0.3, 1)
        nucleus = np.exp(-((along - 0.2 * radius) ** 2 + beside**2) / (0.3 * radius) ** 2)
        absorbed[window] += (0.2 + nucleus * rng.uniform(0.3, 1)) * inside
    # Where many bodies lie over one another the sum saturates, or one crowded place would flatten all others.
    return np.exp(-absorbed) + 0.1 * _smooth(rng, shape), np.tanh(thickness) + 0.15 * _smooth(rng, shape)


def _draw_lines(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Field, Field]:
    amplitude, phase = _smooth(rng, shape), _smooth(rng, shape)
    for _ in range(max(8, round(shape[0] * shape[1] / 70))):
        half_length, half_width = rng.uniform(6, 30), rng.uniform(0.7, 3)
        centre = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        window, y, x = _around(centre, half_length + 1, shape)
        angle = rng.uniform(0, math.pi)
        along, beside = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        cover = np.clip(half_width + 0.5 - np.abs(beside), 0, 1) * np.clip(half_length + 0.5 - np.abs(along), 0, 1)
        for picture in (amplitude, phase):
            picture[window] += cover * (rng.uniform(0, 1) - picture[window])
    return amplitude, phase


def _around(centre: tuple[float, float], reach: float, shape: tuple[int, int]) -> tuple[tuple[slice, slice], Field, Field]:
    """Return the part of a picture within reach of a place (row, column), and the rows and columns there relative to it."""
    top, left = (max(0, math.floor(place - reach)) for place in centre)
    bottom, right = (min(side, math.ceil(place + reach) + 1) for place, side in zip(centre, shape, strict=True))
    y, x = np.arange(top, bottom)[:, None] - centre[0], np.arange(left, right)[None, :] - centre[1]
    return (slice(top, max(top, bottom)), slice(left, max(left, right))), y, x


def _smooth(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Return a picture in [0, 1] that changes over about 30 pixels."""
    coarse = rng.standard_normal([max(4, side // 30 + 3) for side in shape])
    return _stretched(zoom(coarse, [side / knots for side, knots in zip(shape, coarse.shape, strict=True)], order=3, mode="nearest"))


def _stretched(values: Field) -> Field:
    stretched: Field = (values - values.min()) / np.ptp(values)
    return stretched


# --- probes ---------------------------------------------------------------------------------------


def draw_probe(
    size_px: int,
    diameter_px: float,
    *,
    kind: ProbeKind = "disc",
    curvature_rad: float = 3.0,
    num_modes: int = 1,
    mode_share: float = 0.1,
) -> NDArray[np.complex64]:
    """Return a probe a little out of focus: an even or a bell-shaped spot with a curved wave front.

    Args:
        size_px: side N of the window, even.
        diameter_px: full width at half of the highest intensity; at least 2, at most 3/4 of the window for a disc and 1/3 for a bell.
        kind: ``disc``, with a soft edge, or ``gauss``.
        curvature_rad: phase at half the diameter from the centre, relative to the centre; 0 is in focus.
        num_modes: incoherent modes; the further ones are smaller and orthogonal, as partial coherence makes them.
        mode_share: energy of each further mode relative to the first.

    Returns:
        ``(P, N, N)`` with energy 1 in all.

    Raises:
        ConfigError: a size, diameter or number is out of range.

    >>> probe = draw_probe(32, 12)
    >>> probe.shape, round(float((abs(probe) ** 2).sum()), 5)
    ((1, 32, 32), 1.0)
    """
    _known(kind, PROBE_KINDS, "probe")
    if size_px < 4 or size_px % 2:
        raise ConfigError(f"probe: expected an even window of 4 px or more, got {size_px}")
    largest = _LARGEST_SHARE[kind] * size_px
    if not 2 <= diameter_px <= largest:
        raise ConfigError(
            f"probe {kind}: a diameter of {diameter_px:g} px does not suit a window of {size_px} px; expected 2 to {largest:.3g} px, "
            "or choose a larger window"
        )
    if not math.isfinite(curvature_rad):
        raise ConfigError(f"probe: expected a finite curvature in rad, got {curvature_rad}")
    if num_modes < 1 or not 0 < mode_share <= 1:
        raise ConfigError(f"probe: expected 1 mode or more and a share above 0 and at most 1, got {num_modes} modes and {mode_share:g}")
    axis = np.arange(size_px) - size_px // 2
    ratio = np.hypot(axis[:, None], axis[None, :]) / (diameter_px / 2)
    softness = max(0.6, 0.03 * diameter_px) / (diameter_px / 2)
    intensity = np.exp(-math.log(2) * ratio**2) if kind == "gauss" else 1 / (1 + np.exp(np.clip((ratio - 1) / softness, -60, 60)))
    first = np.sqrt(intensity) * np.exp(1j * curvature_rad * ratio**2 * (ratio < 4))
    modes = with_modes(torch.from_numpy(first)[None], num_modes, mode_share).numpy()
    probe: NDArray[np.complex64] = (modes / np.sqrt((np.abs(modes) ** 2).sum())).astype(np.complex64)
    return probe


def effective_diameter_px(probe: NDArray[np.complexfloating[Any, Any]]) -> float:
    """Return the diameter of the even disc that spreads energy over as many pixels as the probe ``(P, N, N)`` or ``(N, N)`` does.

    >>> round(effective_diameter_px(draw_probe(64, 24)))
    26
    """
    intensity = (np.abs(probe.astype(np.complex128)) ** 2).reshape(-1, *probe.shape[-2:]).sum(axis=0)
    return 2 * math.sqrt(float(intensity.sum() ** 2 / (intensity**2).sum()) / math.pi)


# --- scans and detectors --------------------------------------------------------------------------


def scan_positions(
    kind: ScanKind,
    shape: tuple[int, int],
    size_px: int,
    *,
    step_px: float,
    num_positions: int | None = None,
    jitter: float = 0.5,
    margin_px: float = 0.0,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return positions between pixels, all of whose patches lie on the object, about the middle of it.

    Args:
        kind: ``spiral``: Fermat's, turned by a random angle (Huang et al., Opt. Express 22, 12634, 2014); ``raster``: row by row, each
            position displaced at random, as the periodic grid itself would leave its mark in the reconstruction.
        shape: rows and columns of the object.
        size_px: side N of a patch.
        step_px: distance of neighbours on the raster; on the spiral each position has ``step_px**2`` of area.
        num_positions: how many; None takes all that fit.
        jitter: width of the raster's displacements relative to the step.
        margin_px: kept free at the object's edges, for positions that are recorded wrongly.
        seed: which scan.

    Returns:
        ``(M, 2)`` as [x, y].

    Raises:
        ConfigError: a value is out of range, the object is smaller than a patch, or fewer positions fit than asked for.

    >>> scan_positions("spiral", (96, 96), 32, step_px=4.0, num_positions=100).shape
    (100, 2)
    """
    _known(kind, SCAN_KINDS, "scan")
    if not (math.isfinite(step_px) and step_px > 0):
        raise ConfigError(f"scan: expected a step above 0 px, got {step_px}")
    if not 0 <= jitter <= 1 or not 0 <= margin_px < math.inf:
        raise ConfigError(f"scan: expected a jitter of 0 to 1 and a margin of 0 px or more, got {jitter} and {margin_px}")
    if num_positions is not None and num_positions < 1:
        raise ConfigError(f"scan: expected 1 position or more, got {num_positions}")
    height, width = (side - size_px - 2 * margin_px for side in shape)
    if min(height, width) < 0:
        beside = f" and {margin_px:g} px at each edge for position errors" if margin_px else ""
        raise ConfigError(
            f"object of {shape[0]} x {shape[1]} px: too small for patterns of {size_px} x {size_px} px{beside}; "
            f"use an object of at least {math.ceil(size_px + 2 * margin_px)} px a side, in practice twice that, or smaller patterns"
        )
    rng = numpy_generator(seed, f"ptycho scan {kind}")
    found = _spiral(rng, height, width, step_px) if kind == "spiral" else _raster(rng, (height, width), step_px, jitter, num_positions)
    if num_positions is not None and len(found) < num_positions:
        raise ConfigError(
            f"scan: {num_positions} positions asked for, but at a step of {step_px:g} px only {len(found)} fit on an object of "
            f"{shape[0]} x {shape[1]} px with patterns of {size_px} px; use a larger object, a smaller step, or fewer positions"
        )
    centre = (shape[1] - size_px) / 2 + size_px // 2, (shape[0] - size_px) / 2 + size_px // 2
    return np.asarray(found[:num_positions] + centre, dtype=np.float64)


def _spiral(rng: np.random.Generator, height: float, width: float, step_px: float) -> Field:
    reach = math.hypot(height, width) / 2
    index = np.arange(math.ceil(math.pi * (reach / step_px) ** 2) + 1)
    radius = step_px * np.sqrt((index + 0.5) / math.pi)  # the half keeps the first two apart
    angle = index * math.pi * (3 - math.sqrt(5)) + rng.uniform(0, 2 * math.pi)
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    is_inside = (np.abs(places) <= (width / 2, height / 2)).all(axis=1)
    kept: Field = places[is_inside] if is_inside.any() else np.zeros((1, 2))  # the middle always fits
    return kept


def _raster(rng: np.random.Generator, room: tuple[float, float], step_px: float, jitter: float, num_positions: int | None) -> Field:
    reach = jitter * step_px / 2
    rows, columns = (max(1, math.floor((side - 2 * reach) / step_px + 1e-9) + 1) for side in room)
    if num_positions is not None and num_positions < rows * columns:
        # As many columns to rows as the object has, the last row perhaps not full.
        columns = min(columns, math.ceil(math.sqrt(num_positions * columns / rows)))
        columns = max(columns, math.ceil(num_positions / rows))
        rows = math.ceil(num_positions / columns)
    y, x = ((np.arange(count) - (count - 1) / 2) * step_px for count in (rows, columns))
    places = np.stack([np.tile(x, rows), np.repeat(y, columns)], axis=1)
    # A single row or column on an object hardly larger than a patch has less room than the jitter would take.
    reaches = np.minimum(reach, np.array(room[::-1]) / 2)
    scattered: Field = places + rng.uniform(-1, 1, places.shape) * reaches
    return scattered


def detector_mask(size_px: int, *, beam_stop_px: float = 0.0, dead_share: float = 0.0, seed: int = 0) -> NDArray[np.bool_]:
    """Return which pixels of a detector are valid.

    Args:
        size_px: side N.
        beam_stop_px: diameter of a round stop before the zero frequency; 0: none.
        dead_share: share of pixels that are dead, anywhere, in [0, 0.5].
        seed: which ones.

    Returns:
        ``(N, N)``, True = valid.

    Raises:
        ConfigError: a value is out of range.

    >>> int((~detector_mask(16, beam_stop_px=3)).sum())
    9
    """
    if not 0 <= beam_stop_px < size_px:
        raise ConfigError(f"beam stop: expected a diameter of 0 to less than {size_px} px, got {beam_stop_px:g}")
    if not 0 <= dead_share <= 0.5:
        raise ConfigError(f"dead pixels: expected a share of 0 to 0.5, got {dead_share:g}")
    axis = np.arange(size_px) - size_px // 2
    is_behind_stop = np.hypot(axis[:, None], axis[None, :]) < beam_stop_px / 2
    is_dead = numpy_generator(seed, "ptycho dead pixels").random((size_px, size_px)) < dead_share
    valid: NDArray[np.bool_] = ~(is_behind_stop | is_dead)
    return valid


def _known(kind: str, kinds: tuple[str, ...], what: str) -> None:
    if kind not in kinds:
        raise ConfigError(f"unknown kind of {what} '{kind}'{nearest(kind, kinds)} (there are: {', '.join(kinds)})")
