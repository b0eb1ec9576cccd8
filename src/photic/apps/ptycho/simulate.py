"""Simulated scans: an object, a probe and positions through the forward operator, with the detector's noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from photic.apps.ptycho.patterns import as_patterns
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.synthetic import ObjectKind, ScanKind, draw_object, draw_probe, scan_positions
from photic.core.errors import ConfigError, DataError
from photic.core.seeding import numpy_generator, torch_generator
from photic.functional.patches import extract_patches
from photic.physics.ptychography import Ptychography

Progress = Callable[[int], Iterable[int]]
_CHUNK_BYTES = 32 * 2**20


def simulate_scan(
    object_: ArrayLike,
    probe: ArrayLike,
    positions_px: ArrayLike,
    *,
    photons: float | None,
    seed: int = 0,
    mask: NDArray[np.bool_] | None = None,
    position_error_px: float = 0.0,
    background: float = 0.0,
    pixel_size_m: float | None = None,
    made_from: Mapping[str, Any] | None = None,
    progress: Progress = range,
) -> RawNPZData:
    """Measure an object: amplitudes = sqrt(counts), counts Poisson distributed about what the forward operator says.

    The noise of a pattern depends on the seed and the pattern's number alone. The operator runs in float64.

    Args:
        object_: complex ``(H, W)``; becomes ``objectGuess``.
        probe: complex ``(N, N)`` or P incoherent modes ``(P, N, N)``, N even; becomes ``probeGuess``, scaled so that its energy is the mean
            number of counts where ``|object| = 1``.
        positions_px: true centres of the patches ``(M, 2)`` as [x, y] in the object's pixels.
        photons: mean number of photons in a pattern, over the scan, without background and before the mask; None: no noise, and the probe
            keeps its energy.
        seed: which noise, and which position errors.
        mask: ``(N, N)``, True = valid; the others count nothing.
        position_error_px: recorded positions deviate from the true ones by up to so much in x and in y, evenly distributed;
            :func:`true_positions_px` gives the true ones back.
        background: mean counts that every pixel has besides.
        pixel_size_m: pixel of the object in metres, for scale bars.
        made_from: JSON values that say what object and probe are, kept in the metadata.
        progress: counts from 0, like ``range``, and may show how far it is.

    Returns:
        The scan, with truth, and in ``metadata["simulation"]`` what it takes to repeat it.

    Raises:
        DataError: a wrong shape, values that are not finite, a patch that reaches beyond the object.
        ConfigError: a number out of range.

    >>> specimen, spot = draw_object("cells", (48, 48)), draw_probe(32, 12)
    >>> scan = simulate_scan(specimen, spot, [[20.0, 22.5], [24.25, 26.0]], photons=1000, seed=1)
    >>> scan.diffraction.shape, scan.physics_parameters
    ((2, 32, 32), {'nphotons': 1000.0})
    """
    truth, modes = _checked_object(object_), _checked_probe(probe)
    size_px = modes.shape[-1]
    places = np.asarray(positions_px, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or not np.isfinite(places).all():
        raise DataError(f"positions: expected finite (M, 2) as [x, y] with M >= 1, got shape {places.shape}")
    if photons is not None and not (math.isfinite(photons) and photons > 0):
        raise ConfigError(f"photons: expected a mean number per pattern above 0, or None for no noise, got {photons!r}")
    if not 0 <= background < math.inf or not 0 <= position_error_px < math.inf:
        raise ConfigError(f"expected background and position error >= 0, got {background!r} counts and {position_error_px!r} px")
    if pixel_size_m is not None and not 0 < pixel_size_m < math.inf:
        raise ConfigError(f"pixel size: expected metres above 0, got {pixel_size_m!r}")
    if mask is not None and (mask.shape != (size_px, size_px) or mask.dtype != np.bool_):
        raise DataError(f"mask: expected bool ({size_px}, {size_px}), True = valid, got {mask.dtype} of shape {mask.shape}")
    _refuse_outside(places, truth.shape, size_px, 0.0, "positions")
    errors = numpy_generator(seed, "ptycho position error").uniform(-position_error_px, position_error_px, places.shape)
    _refuse_outside(places + errors, truth.shape, size_px, position_error_px, "recorded positions")

    # The operator touches one more pixel to the right and below than a patch has, with no weight where a position lies on a pixel.
    field = torch.from_numpy(np.pad(truth, ((0, 1), (0, 1)), mode="edge"))
    step = max(1, _CHUNK_BYTES // (16 * len(modes) * size_px**2))
    if photons is not None:
        modes = modes * math.sqrt(photons / _mean_energy(field, modes, places, step))
    amplitudes = np.empty((len(places), size_px, size_px), np.float32)
    total = 0.0
    for number in progress(math.ceil(len(places) / step)):
        rows = slice(number * step, min(len(places), (number + 1) * step))
        operator = Ptychography(torch.from_numpy(modes), torch.from_numpy(places[rows]), (field.shape[0], field.shape[1]))
        expected = operator.measure(field)
        total += float(expected.sum())
        expected += background
        if photons is not None:
            for row, pattern in enumerate(expected, start=rows.start):
                pattern.copy_(operator.sample_noise(pattern, torch_generator(seed, "ptycho counts", row)))
        amplitudes[rows] = expected.sqrt().numpy()
    if mask is not None:
        amplitudes[:, ~mask] = 0

    physics: dict[str, Any] = {"nphotons": total / len(places) if photons is None else float(photons)}
    if pixel_size_m is not None:
        physics["pixel_size_m"] = float(pixel_size_m)
    simulation: dict[str, Any] = {
        "photic": version("photic"), "seed": seed, "noise": "none" if photons is None else "Poisson", "background": float(background),
        "position_error_px": float(position_error_px), **dict(made_from or {}),
    }  # fmt: skip
    if position_error_px > 0:
        simulation["true_positions_px"] = places.tolist()
    return RawNPZData(
        xcoords=places[:, 0] + errors[:, 0],
        ycoords=places[:, 1] + errors[:, 1],
        diffraction=as_patterns(amplitudes),
        probeGuess=(modes if len(modes) > 1 else modes[0]).astype(np.complex64),
        objectGuess=truth.astype(np.complex64),
        metadata={
            "source": "photic simulate ptycho", "N": size_px, "diffraction": "amplitude (sqrt counts), DC centred",
            "physics_parameters": physics, "simulation": simulation,
        },
        mask=mask,
    )  # fmt: skip


def generated_scan(
    *,
    size_px: int = 32,
    num_positions: int = 64,
    photons: float | None = 1e4,
    object_kind: ObjectKind = "cells",
    step_px: float = 3.0,
    probe_diameter_px: float = 12.0,
    seed: int = 0,
    scan: ScanKind = "spiral",
    num_modes: int = 1,
    position_error_px: float = 0.0,
    mask: NDArray[np.bool_] | None = None,
) -> RawNPZData:
    """Return a scan of a drawn object, which is as large as the scan needs, with a drawn disc as probe.

    Args:
        size_px: side N of the patterns, even.
        num_positions: M.
        photons: mean number per pattern; None: no noise.
        object_kind: see :func:`draw_object`.
        step_px: see :func:`scan_positions`.
        probe_diameter_px: see :func:`draw_probe`.
        seed: of object, positions, position errors and noise.
        scan: spiral or raster.
        num_modes: incoherent modes of the probe.
        position_error_px: see :func:`simulate_scan`.
        mask: see :func:`simulate_scan`.

    Raises:
        ConfigError: a value is out of range.

    >>> generated_scan(num_positions=16).diffraction.shape
    (16, 32, 32)
    """
    if num_positions < 1 or not 0 < step_px < math.inf:
        raise ConfigError(f"expected 1 position or more and a step above 0 px, got {num_positions} and {step_px!r}")
    across = 2 * math.sqrt(num_positions / math.pi) if scan == "spiral" else math.ceil(math.sqrt(num_positions))
    side = max(size_px + math.ceil(step_px * across + 2 * position_error_px) + 2, 16)
    probe = draw_probe(size_px, probe_diameter_px, num_modes=num_modes)
    positions = scan_positions(
        scan, (side, side), size_px, step_px=step_px, num_positions=num_positions, margin_px=position_error_px, seed=seed
    )
    return simulate_scan(
        draw_object(object_kind, (side, side), seed=seed), probe, positions,
        photons=photons, seed=seed, mask=mask, position_error_px=position_error_px,
        made_from={
            "object": object_kind, "probe": f"disc:{probe_diameter_px:g}", "modes": num_modes, "scan": scan, "step_px": float(step_px),
        },
    )  # fmt: skip


def true_positions_px(raw: RawNPZData) -> NDArray[np.float64]:
    """Return the positions ``(M, 2)`` that a simulated scan was made with; the recorded ones if it has no position errors.

    Raises:
        DataError: the scan was not simulated, or holds only some of the simulated patterns.
    """
    where = raw.source or "scan"
    simulation = raw.metadata.get("simulation")
    if not isinstance(simulation, Mapping):
        raise DataError(f"{where}: not simulated (its metadata have no 'simulation'), so nobody knows its true positions")
    if "true_positions_px" not in simulation:
        return raw.positions_px
    try:
        found = np.array(simulation["true_positions_px"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: metadata simulation.true_positions_px: expected M pairs of numbers: {error}") from error
    if found.shape != (raw.num_patterns, 2):
        raise DataError(
            f"{where}: metadata simulation.true_positions_px have shape {found.shape}, expected ({raw.num_patterns}, 2); "
            "ask for them before taking a part of the scan"
        )
    return found


def _mean_energy(field: torch.Tensor, modes: NDArray[np.complex128], places: NDArray[np.float64], step: int) -> float:
    """Return the mean energy of the exit waves, which is that of the patterns (Parseval)."""
    weights = torch.from_numpy((np.abs(modes) ** 2).sum(axis=0))
    total = 0.0
    for start in range(0, len(places), step):
        patches = extract_patches(field, torch.from_numpy(places[start : start + step]), modes.shape[-1])
        total += float((patches.abs().square() * weights).sum())
    if total <= 0:
        raise DataError("no light passes the object at any position; is the object zero where the scan is?")
    return total / len(places)


def _checked_object(value: ArrayLike) -> NDArray[np.complex128]:
    found = np.asarray(value)
    if found.ndim != 2 or found.dtype.kind not in "cfiu" or not np.isfinite(found).all():
        raise DataError(f"object: expected finite complex numbers of shape (H, W), got {found.dtype} of shape {found.shape}")
    return found.astype(np.complex128)


def _checked_probe(value: ArrayLike) -> NDArray[np.complex128]:
    found = np.asarray(value)
    if found.dtype.kind not in "cfiu" or found.ndim not in (2, 3):
        raise DataError(f"probe: expected complex numbers of shape (N, N) or (P, N, N), got {found.dtype} of shape {found.shape}")
    if found.ndim == 2 or (found.shape[0] == found.shape[1] and found.shape[2] == 1):
        found = found.reshape(1, *found.shape[:2])
    if found.shape[-1] != found.shape[-2] or found.shape[-1] % 2 or found.shape[-1] < 2:
        raise DataError(f"probe: expected (N, N) or (P, N, N) with N even, got {found.shape}")
    if not np.isfinite(found).all() or not found.any():
        raise DataError("probe: expected finite values that are not all zero")
    return found.astype(np.complex128)


def _refuse_outside(places: NDArray[np.float64], shape: tuple[int, ...], size_px: int, error_px: float, what: str) -> None:
    low = float(size_px // 2)
    high = np.array([shape[1] - low, shape[0] - low])
    is_outside = ((places < low) | (places > high)).any(axis=1)
    if is_outside.any():
        row = int(np.flatnonzero(is_outside)[0])
        advice = f"; keep the true positions {error_px:g} px from there, or give a larger object" if error_px else ""
        raise DataError(
            f"{what}: {int(is_outside.sum())} of {len(places)} patches of {size_px} x {size_px} px reach beyond an object of "
            f"{shape[0]} x {shape[1]} px; the first is row {row} at x = {places[row, 0]:g}, y = {places[row, 1]:g}. "
            f"Expected {low:g} <= x <= {high[0]:g} and {low:g} <= y <= {high[1]:g}{advice}"
        )
