"""Phases without cuts at pi."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dctn, idctn

from photic.core.errors import DataError


def unwrap(phase: ArrayLike) -> NDArray[np.float64]:
    """Return a phase picture with multiples of 2 pi added so that neighbours differ by less than pi wherever that is possible.

    The smooth phase whose slopes fit the wrapped slopes best (least squares, by a cosine transform) says which multiple each
    pixel gets; where the result still jumps, it is fitted again to what is left. A picture without cuts comes back as it is, up to one
    multiple for all: the pixel in the middle keeps its value.

    Source: Ghiglia and Romero 1994, Robust two-dimensional weighted and unweighted phase unwrapping.

    Args:
        phase: ``(H, W)`` radians.

    Raises:
        DataError: not two axes, or values that are not finite.

    >>> slope = np.add.outer(np.arange(20) * 0.9, np.arange(30) * 0.5)
    >>> bool(np.allclose(np.ptp(unwrap(np.angle(np.exp(1j * slope)))), np.ptp(slope)))
    True
    """
    wrapped = np.asarray(phase, dtype=np.float64)
    if wrapped.ndim != 2 or not np.isfinite(wrapped).all():
        raise DataError(f"phase: expected finite values of shape (H, W), got shape {wrapped.shape}")
    turns = np.zeros(wrapped.shape)
    if has_cuts(wrapped):
        smooth = np.zeros(wrapped.shape)
        for _ in range(10):
            rest = _wrap(wrapped - smooth)
            smooth = smooth + _least_squares(rest)
            turns = np.rint((smooth - wrapped) / (2 * np.pi))
            if not has_cuts(wrapped + 2 * np.pi * turns):
                break
    middle = tuple(side // 2 for side in wrapped.shape)
    made: NDArray[np.float64] = wrapped + 2 * np.pi * (turns - turns[middle])
    return made


def _least_squares(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """The phase whose slopes are nearest to the wrapped slopes, with the mean that fits the wrapped phase best."""
    down, across = _wrap(np.diff(phase, axis=0)), _wrap(np.diff(phase, axis=1))
    divergence = np.zeros(phase.shape)
    divergence[:-1] += down
    divergence[1:] -= down
    divergence[:, :-1] += across
    divergence[:, 1:] -= across
    height, width = phase.shape
    rows, columns = (2 * np.cos(np.pi * np.arange(side) / side) - 2 for side in (height, width))
    factor = rows[:, None] + columns[None, :]
    factor[0, 0] = 1.0
    spectrum = dctn(divergence, norm="ortho") / factor
    spectrum[0, 0] = 0.0
    smooth: NDArray[np.float64] = idctn(spectrum, norm="ortho")
    return smooth + float(np.angle(np.exp(1j * (phase - smooth)).sum()))


def has_cuts(phase: NDArray[np.float64]) -> bool:
    """Return whether neighbours in a phase picture ``(H, W)`` differ by more than pi somewhere.

    >>> has_cuts(np.array([[0.0, 3.0, -3.0]])), has_cuts(np.array([[0.0, 3.0, 6.0]]))
    (True, False)
    """
    return any(bool((np.abs(np.diff(phase, axis=axis)) > np.pi).any()) for axis in (0, 1))


def _wrap(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    wrapped: NDArray[np.float64] = np.angle(np.exp(1j * phase))
    return wrapped
