"""Fewer detector pixels: the same field on coarser object pixels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.patterns import CroppedPatterns, Patterns
from photic.apps.ptycho.raw import RawNPZData
from photic.core.errors import ConfigError


def crop_detector(raw: RawNPZData, size_px: int) -> RawNPZData:
    """Return a scan with only the central n x n detector pixels: object pixels grow by N/n, and positions and probe follow.

    Raises:
        ConfigError: n is odd, or more than N.

    Warns:
        UserWarning: the truth lies on the finer pixels and is left out.
    """
    if size_px > raw.size_px or size_px < 2 or size_px % 2:
        raise ConfigError(f"crop: expected an even number of pixels from 2 to {raw.size_px}, got {size_px}")
    if size_px == raw.size_px:
        return raw
    if raw.objectGuess is not None:
        warnings.warn(f"{raw.source or 'raw data'}: objectGuess lies on finer pixels and is left out", UserWarning, stacklevel=2)
    scale = size_px / raw.size_px
    physics = dict(raw.physics_parameters)
    if isinstance(physics.get("pixel_size_m"), int | float):
        physics["pixel_size_m"] = physics["pixel_size_m"] / scale
    first = raw.size_px // 2 - size_px // 2
    window = slice(first, first + size_px)
    return replace(
        raw,
        xcoords=raw.xcoords * scale,
        ycoords=raw.ycoords * scale,
        xcoords_start=None if raw.xcoords_start is None else raw.xcoords_start * scale,
        ycoords_start=None if raw.ycoords_start is None else raw.ycoords_start * scale,
        diffraction=CroppedPatterns(raw.diffraction, size_px),
        probeGuess=crop_spectrum(raw.probe_modes, size_px),
        objectGuess=None,
        mask=None if raw.mask is None else raw.mask[window, window],
        metadata={**raw.metadata, "physics_parameters": physics},
    )


def crop_spectrum(probe: NDArray[Any], size_px: int) -> NDArray[np.complex64]:
    """Return modes (P, n, n) of a probe (P, N, N) as the central n x n detector pixels see it; energy beyond them is lost."""
    axes = (-2, -1)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, axes), norm="ortho"), axes)
    first = probe.shape[-1] // 2 - size_px // 2
    window = slice(first, first + size_px)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum[..., window, window], axes), norm="ortho"), axes).astype(np.complex64)


def estimated_probe(patterns: Patterns) -> NDArray[np.complex64]:
    """Return a probe (1, N, N) whose transform is the square root of the mean pattern, with flat phase."""
    total = np.zeros(patterns.shape[1:], np.float64)
    for _, piece in patterns.chunks():
        total += np.einsum("nij,nij->ij", piece, piece, dtype=np.float64)
    root = np.sqrt(total / len(patterns))
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(root), norm="ortho"))[None].astype(np.complex64)
