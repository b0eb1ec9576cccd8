"""Checks of what metrics on multi-label predictions take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photic.core.errors import DataError

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def checked(probabilities: Any, labels: Any) -> tuple[Floats, Booleans]:
    """Return probabilities and labels as ``(N, C)`` arrays; tensors and nested lists are taken too.

    Raises:
        DataError: shapes differ or are not (N, C), a probability is not in [0, 1], a label not 0 or 1,
            or decisions are given in place of probabilities.
    """
    given = as_array(probabilities)
    if given.dtype == bool or np.issubdtype(given.dtype, np.integer):
        raise DataError(
            f"probabilities: got {given.dtype} values, which are decisions: thresholds are applied here, and average precision "
            "needs the ranking; give the probabilities before any threshold"
        )
    truth = as_array(labels)
    if given.ndim != 2 or given.shape != truth.shape:
        raise DataError(f"expected probabilities and labels of one shape (N, C), got {given.shape} and {truth.shape}")
    if given.size == 0:
        raise DataError(f"expected at least one sample and one class, got shape {given.shape}")
    values = given.astype(np.float64)
    _refuse("probabilities", values, ~((values >= 0) & (values <= 1)), "a number from 0 to 1; apply the sigmoid to logits first")
    _refuse("labels", truth, (truth != 0) & (truth != 1), "0 or 1")
    return values, truth.astype(bool)


def checked_class(probabilities: Any, labels: Any) -> tuple[Floats, Booleans]:
    """Return probabilities and labels of one class as ``(N,)`` arrays.

    Raises:
        DataError: see :func:`checked`.
    """
    given, truth = as_array(probabilities), as_array(labels)
    if given.ndim != 1 or given.shape != truth.shape:
        raise DataError(f"expected probabilities and labels of one class, (N,), got {given.shape} and {truth.shape}; take one column")
    values, present = checked(given[:, None], truth[:, None])
    return values[:, 0], present[:, 0]


def per_class(thresholds: ArrayLike, num_classes: int) -> Floats:
    """Return one threshold per class, ``(C,)``.

    Raises:
        DataError: neither one number nor one per class, or not in [0, 1].
    """
    values = as_array(thresholds).astype(np.float64)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != num_classes):
        raise DataError(f"thresholds: expected one number or {num_classes}, one per class, got shape {values.shape}")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise DataError(f"thresholds: expected numbers from 0 to 1, got {values.tolist()}")
    return np.broadcast_to(values, (num_classes,)).copy()


def class_keys(classes: Sequence[Any] | None, num_classes: int) -> list[Any]:
    """Return how classes are called in results: by name, or by index where no names are given.

    Raises:
        DataError: not one name per class, or a name twice.
    """
    if classes is None:
        return list(range(num_classes))
    keys = list(classes)
    if len(keys) != num_classes or len(set(keys)) < len(keys):
        raise DataError(f"classes: expected {num_classes} different names, got {keys}")
    return keys


def as_array(values: Any) -> NDArray[Any]:
    """Return an array; torch is not imported for it."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double().numpy() if values.is_floating_point() else values.numpy()
    return np.asarray(values)


def _refuse(what: str, values: NDArray[Any], wrong: NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise DataError(
            f"{what}: {values[row, column]} at sample {row}, class {column} ({int(wrong.sum())} such values); expected {expected}"
        )
