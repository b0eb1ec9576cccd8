"""Whether patterns look like what they were declared to be; it never decides, it only raises doubts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.patterns import MeasuredPatterns

_SAMPLED = 8
_ENOUGH = 32
_BRIGHTEST = 1e4


def domain_doubt(patterns: MeasuredPatterns, probe: NDArray[np.complex64] | None, metadata: Mapping[str, Any]) -> str | None:
    """Return why a few patterns, spread over the scan, look like the other domain than declared; None without doubt.

    Counts are whole numbers and amplitudes their square roots; both have a usual range; and photons per pattern agree with
    the probe's energy or the metadata in one domain only.

    Args:
        patterns: as declared.
        probe: modes (P, N, N) whose energy is photons per pattern; None if there is none.
        metadata: of the file; its number of photons is used if it says one.
    """
    rows = np.unique(np.linspace(0, len(patterns) - 1, _SAMPLED).astype(np.int64))
    values = patterns.stored(rows).astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        return None  # refused as soon as these patterns are used
    evidence = _unlike_amplitudes(values) if patterns.domain == "amplitude" else _unlike_counts(values)
    evidence = evidence or _wrong_energy(values, patterns.domain, _known_energies(probe, metadata))
    if evidence is None:
        return None
    other = "counts" if patterns.domain == "amplitude" else "amplitude"
    return (
        f"{patterns.where}: declared as {patterns.domain}, but {evidence}. Nothing was converted; if they are {other}, say domain='{other}'"
    )


def num_photons(metadata: Mapping[str, Any]) -> float | None:
    """Return the photons per pattern that the metadata speak of."""
    physics = metadata.get("physics_parameters")
    places: list[Any] = [physics.get("nphotons")] if isinstance(physics, Mapping) else []
    for value in (*places, metadata.get("nphotons"), metadata.get("photons_per_pattern")):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
            return float(value)
    return None


def share_of_whole_numbers(values: NDArray[np.float64]) -> float | None:
    """Return the share of whole numbers among values above 1 (1 is its own root and tells nothing); None if they are too few."""
    telling = values[values > 1.0]
    if telling.size < _ENOUGH:
        return None
    # float32 keeps seven digits, and a root that is squared again doubles its error.
    return float(np.mean(np.abs(telling - np.round(telling)) <= 1e-3 + 5e-7 * telling))


def _unlike_amplitudes(values: NDArray[np.float64]) -> str | None:
    whole = share_of_whole_numbers(values)
    if whole is not None and whole > 0.9:
        return f"{whole:.0%} of the values above 1 are whole numbers, as counts are and square roots of counts are not"
    if values.max() > _BRIGHTEST:
        return f"the largest value is {values.max():g}, which would be {values.max() ** 2:.1g} photons in one pixel"
    return None


def _unlike_counts(values: NDArray[np.float64]) -> str | None:
    whole, whole_squares = share_of_whole_numbers(values), share_of_whole_numbers(values**2)
    if whole_squares is not None and whole_squares > 0.9 and (whole is None or whole < 0.5):
        return f"{whole_squares:.0%} of the squares are whole numbers and the values are not, as it is for square roots of counts"
    if 0 < values.max() < 1:
        return f"the largest value is {values.max():g}, less than one photon"
    return None


def _known_energies(probe: NDArray[np.complex64] | None, metadata: Mapping[str, Any]) -> list[tuple[str, float]]:
    known = []
    photons = num_photons(metadata)
    if photons is not None:
        known.append(("the metadata's photons per pattern", photons))
    if probe is not None:
        known.append(("the probe's energy", float(np.sum(np.abs(probe.astype(np.complex128)) ** 2))))
    return known


def _wrong_energy(values: NDArray[np.float64], domain: str, known: list[tuple[str, float]]) -> str | None:
    sums = float(values.sum(axis=(1, 2)).mean()), float((values**2).sum(axis=(1, 2)).mean())
    if min(sums) <= 0:
        return None
    declared, other = (sums[1], sums[0]) if domain == "amplitude" else (sums[0], sums[1])
    for name, energy in known:
        if energy > 0 and abs(math.log(other / energy)) < math.log(1.3) and abs(math.log(declared / energy)) > math.log(2):
            return f"each pattern would have {declared:.3g} photons, against {name} of {energy:.3g}; the other domain gives {other:.3g}"
    return None
