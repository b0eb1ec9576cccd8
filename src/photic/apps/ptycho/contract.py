"""What the arrays of a raw scan must look like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError

_INSIDE_TOLERANCE_PX = 1e-3


def checked_positions(value: Any, count: int, key: str, where: str) -> NDArray[np.float64]:
    """Return coordinates as float64 (count,).

    Raises:
        DataError: they do not keep the contract; the message names file, key, what was found and what was expected.
    """
    array = np.asarray(value)
    if array.shape != (count,) or array.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: key '{key}' is {array.dtype} of shape {array.shape}, expected real numbers of shape ({count},), one per pattern"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array))
        raise DataError(f"{where}: key '{key}' has {len(rows)} non-finite positions, the first in row {rows[0]}; expected object pixels")
    return array


def checked_probe(value: Any, size: int, where: str) -> NDArray[np.complex64]:
    """Return a probe as complex64, in its own shape.

    Raises:
        DataError: they do not keep the contract; the message names file, key, what was found and what was expected.
    """
    probe = np.asarray(value)
    if probe.dtype.kind not in "cfiu":
        raise DataError(f"{where}: key 'probeGuess' is {probe.dtype}, expected complex numbers")
    is_fine = probe.shape in ((size, size), (size, size, 1)) or (
        probe.ndim == 3 and probe.shape[0] >= 1 and probe.shape[1:] == (size, size)
    )
    if not is_fine:
        raise DataError(
            f"{where}: key 'probeGuess' has shape {probe.shape}, expected ({size}, {size}), ({size}, {size}, 1) or modes "
            f"(P, {size}, {size}), as the patterns have {size} x {size} pixels"
        )
    if not np.isfinite(probe).all() or not np.any(probe):
        raise DataError(f"{where}: key 'probeGuess' is zero everywhere or has non-finite values; expected a finite probe")
    return probe.astype(np.complex64)


def checked_mask(value: Any, size: int, where: str) -> NDArray[np.bool_]:
    """Return a mask as booleans (N, N).

    Raises:
        DataError: they do not keep the contract; the message names file, key, what was found and what was expected.
    """
    mask = np.asarray(value)
    if mask.shape != (size, size) or (mask.dtype.kind != "b" and not (mask.dtype.kind in "iu" and np.isin(mask, (0, 1)).all())):
        raise DataError(
            f"{where}: key 'mask' is {mask.dtype} of shape {mask.shape}, expected booleans of shape ({size}, {size}), True = valid pixel"
        )
    mask = mask.astype(np.bool_)
    if not mask.any():
        raise DataError(f"{where}: key 'mask' marks no pixel as valid (True)")
    return mask


def refuse_outside(positions: NDArray[np.float64], size: int, shape: tuple[int, ...], where: str) -> None:
    """Refuse patches that stick out of the object.

    Raises:
        DataError: they do not keep the contract; the message names file, key, what was found and what was expected.
    """
    first = positions - size // 2
    last = positions + (size - size // 2 - 1)
    limits = np.array([shape[1] - 1, shape[0] - 1], np.float64)
    is_outside = ((first < -_INSIDE_TOLERANCE_PX) | (last > limits + _INSIDE_TOLERANCE_PX)).any(axis=1)
    if not is_outside.any():
        return
    row = int(np.flatnonzero(is_outside)[0])
    fits_swapped = bool(((first >= -_INSIDE_TOLERANCE_PX) & (last <= limits[::-1] + _INSIDE_TOLERANCE_PX)).all())
    hint = " With x and y swapped all would fit: x is the column, y the row." if fits_swapped else ""
    raise DataError(
        f"{where}: {int(is_outside.sum())} of {len(positions)} patches of {size} pixels stick out of key 'objectGuess' of shape "
        f"{shape}; the first is row {row} at x = {positions[row, 0]:g}, y = {positions[row, 1]:g}. "
        f"Expected {size // 2} <= x <= {shape[1] - size + size // 2} "
        f"and {size // 2} <= y <= {shape[0] - size + size // 2}.{hint}"
    )
