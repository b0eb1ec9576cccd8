"""What the HDF5 readers share: opening, looking up, and saying what is wrong where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.readers.base import OtherFormatError
from photic.core.errors import DataError


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Give an open HDF5 file.

    Raises:
        OtherFormatError: it is none.
        DataError: it is truncated or damaged.
    """
    with open(path, "rb") as handle:
        is_hdf5 = handle.read(8) == b"\x89HDF\r\n\x1a\n"
    if not is_hdf5:
        raise OtherFormatError("it is no HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as HDF5: {error}; is the file whole?") from error


def first_of(file: Any, *keys: str) -> str | None:
    """Return the first of some keys that is a data set of the file."""
    return next((key for key in keys if isinstance(file.get(key), h5py.Dataset)), None)


def number(file: Any, key: str, path: Path) -> float | None:
    """Return a scalar, however many axes of length 1 it has; None where there is no such key.

    Raises:
        DataError: it is not one finite number.
    """
    item = file.get(key)
    if item is None:
        return None
    value = np.asarray(item[()]) if isinstance(item, h5py.Dataset) else np.zeros(0)
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise DataError(f"{path}: key '{key}' is {value.dtype} of shape {value.shape}, expected one finite number")
    return float(value.reshape(-1)[0])


def attribute(item: Any, name: str, path: Path) -> float | None:
    """Return a numeric attribute; None where there is none.

    Raises:
        DataError: it is not one finite number.
    """
    if name not in item.attrs:
        return None
    value = np.asarray(item.attrs[name])
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise DataError(f"{path}: attribute '{name}' of '{item.name}' is {value!r}, expected one finite number")
    return float(value.reshape(-1)[0])


def columns(array: NDArray[Any], path: Path, key: str, allowed: tuple[int, ...]) -> NDArray[np.float64]:
    """Return positions as float64 (M, k), k one of ``allowed``.

    Raises:
        DataError: another shape or type, or non-finite values.
    """
    if array.ndim != 2 or array.shape[1] not in allowed or array.dtype.kind not in "iuf":
        expected = " or ".join(f"(M, {k})" for k in allowed)
        raise DataError(f"{path}: key '{key}' is {array.dtype} of shape {array.shape}, expected real numbers of shape {expected}")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: key '{key}' has non-finite positions; expected metres")
    return array.astype(np.float64)


def contents(file: Any, most: int = 60) -> dict[str, str]:
    """Return type and shape of the data sets, in the file's order."""
    found: dict[str, str] = {}

    def visit(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found[name] = f"{item.dtype} {item.shape}"
        return True if len(found) >= most else None

    file.visititems(visit)
    return found
