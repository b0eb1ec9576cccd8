"""From metres to object pixels, and whether a measurement is far field at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from photic.apps.ptycho.patterns import Patterns

PLANCK_TIMES_LIGHT_EV_M = 1.239841984e-6
"""Photon energy in eV times wavelength in m (CODATA 2018)."""
JOULE_PER_EV = 1.602176634e-19
_PAIRS = 96
_TOLERANCE_PX = 2.0
_WIDEST_BEAM = 1.25


def wavelength_of(energy_ev: float) -> float:
    """Return the wavelength in m of photons of an energy in eV.

    >>> round(wavelength_of(12398.41984) * 1e10, 6)
    1.0
    """
    return PLANCK_TIMES_LIGHT_EV_M / energy_ev


def object_pixel_m(wavelength_m: float, distance_m: float, size_px: int, detector_pixel_m: float) -> float:
    """Return the object's pixel size in m in the far field: wavelength * distance / (N * detector pixel).

    >>> round(object_pixel_m(1e-10, 2.0, 100, 50e-6) * 1e9, 9)
    40.0
    """
    return wavelength_m * distance_m / (size_px * detector_pixel_m)


@dataclass(frozen=True)
class Projection:
    """Patterns that move with the specimen: a magnified shadow instead of a diffraction pattern."""

    shift_px: float
    """Detector pixels that a pattern moves when the specimen moves by one far-field patch."""
    agreement: float
    """Share of neighbouring pairs of patterns whose shift follows from that number."""
    beam_patches: float
    """Width of the beam on the specimen that follows, in far-field patches; a far-field patch must hold it."""

    @property
    def is_near_field(self) -> bool:
        """Whether the beam is wider than a far-field patch can be."""
        return self.beam_patches > _WIDEST_BEAM


def find_projection(patterns: Patterns, positions_px: NDArray[np.float64]) -> Projection | None:
    """Return how patterns move with the specimen; None where they do not, as in the far field of a focused beam.

    Pairs of neighbouring patterns are correlated. If their shifts are one linear function of the positions, that function is the
    magnification of a shadow image, and the beam's width on the detector divided by it is the beam's width on the specimen. The far-field
    relation between metres and pixels holds only if that is inside a patch of wavelength * distance / detector pixel.

    Args:
        patterns: amplitudes (M, N, N).
        positions_px: (M, 2) as [x, y], pixels of the far-field grid.
    """
    count, size = patterns.shape[0], patterns.shape[1]
    if count < 4:
        return None
    _, nearest = cKDTree(positions_px).query(positions_px, k=3)
    seeds = np.unique(np.linspace(0, count - 1, _PAIRS // 2).astype(np.int64))
    pairs = np.array([(seed, other) for seed in seeds for other in nearest[seed] if other != seed])
    moved = (positions_px[pairs[:, 1]] - positions_px[pairs[:, 0]]) / size
    rows, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    amplitudes = patterns[rows]
    mean = amplitudes.mean(axis=0)
    spectra = np.fft.rfft2(amplitudes - mean)
    shifts = np.empty((len(pairs), 2))
    for number, (one, other) in enumerate(place):
        peak = int(np.fft.irfft2(np.conj(spectra[one]) * spectra[other], s=(size, size)).argmax())
        row, column = divmod(peak, size)
        shifts[number] = (column + size // 2) % size - size // 2, (row + size // 2) % size - size // 2
    slope = _robust_slope(moved, shifts)
    agreement = float(np.mean(np.linalg.norm(shifts - moved @ slope, axis=1) <= _TOLERANCE_PX))
    by_chance = float(np.mean(np.linalg.norm(shifts, axis=1) <= _TOLERANCE_PX))
    stretch = np.linalg.svd(slope, compute_uv=False)
    if agreement < 0.8 or by_chance > 0.5 * agreement or stretch[1] < 0.5 * stretch[0]:
        return None
    bright = mean**2 > 0.1 * np.percentile(mean**2, 99.5)
    width_px = float(np.sqrt(4 * bright.sum() / np.pi))
    shift_px = float(np.sqrt(stretch[0] * stretch[1]))
    return Projection(shift_px, agreement, width_px / shift_px)


def _robust_slope(moved: NDArray[np.float64], shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = np.ones(len(moved))
    slope: NDArray[np.float64] = np.zeros((2, 2))
    for _ in range(25):
        slope[:] = np.linalg.lstsq(moved * weight[:, None], shifts * weight[:, None], rcond=None)[0]
        residual = np.linalg.norm(shifts - moved @ slope, axis=1)
        weight = 1 / np.sqrt(1 + (residual / _TOLERANCE_PX) ** 2)
    return slope
