"""Where patterns lie: in memory, in a stretch of a file, in a data set of an HDF5 file; read a few at a time, in any process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError


class Store(Protocol):
    """Numbers of a file or of memory as they are: ``shape``, ``dtype``, and some items of one axis at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type."""

    def read(self, rows: NDArray[np.int64], axis: int) -> NDArray[Any]:
        """Return the items ``rows`` of an axis, at that axis."""


class MemoryStore:
    """An array in memory."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def read(self, rows: NDArray[np.int64], axis: int) -> NDArray[Any]:
        """Return the items ``rows`` of an axis."""
        return np.asarray(np.take(self._array, rows, axis=axis))


class MappedStore:
    """An array lying uncompressed in a file from byte ``offset`` on, mapped into memory; the map is not pickled but made again.

    It is mapped as bytes: nothing aligns arrays inside a ZIP archive, and of an array that is not aligned NumPy copies the whole to take
    a part.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, order: Literal["C", "F"] = "C") -> None:
        self.path = path
        self.dtype = dtype
        self.shape = shape
        self._offset = offset
        self._order = order
        self._map: NDArray[np.uint8] | None = None

    def read(self, rows: NDArray[np.int64], axis: int) -> NDArray[Any]:
        """Return the items ``rows`` of an axis.

        Raises:
            DataError: the file is gone, or shorter than it was.
        """
        # Column by column is row by row with the axes in reverse.
        shape, place = (self.shape, axis) if self._order == "C" else (self.shape[::-1], len(self.shape) - 1 - axis)
        if self._map is None:
            try:
                self._map = np.memmap(self.path, np.uint8, "r", self._offset, (*shape, self.dtype.itemsize))
            except (OSError, ValueError) as error:
                raise DataError(f"{self.path}: patterns cannot be read: {error}; was the file changed or removed meanwhile?") from error
        found = np.asarray(np.take(self._map, rows, axis=place)).view(self.dtype)[..., 0]
        return found if self._order == "C" else found.transpose()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


class Hdf5Store:
    """A data set of an HDF5 file, opened anew in every process that reads it."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self._file: h5py.File | None = None
        self._pid = -1
        with h5py.File(path, "r") as file:  # closed again: who only looks at a scan keeps nobody from writing it
            self.shape: tuple[int, ...] = tuple(file[key].shape)
            self.dtype: np.dtype[Any] = file[key].dtype

    def read(self, rows: NDArray[np.int64], axis: int) -> NDArray[Any]:
        """Return the items ``rows`` of an axis.

        Raises:
            DataError: the file cannot be read (any more).
        """
        wanted, inverse = np.unique(rows, return_inverse=True)
        shape = list(self.shape)
        shape[axis] = len(wanted)
        found = np.empty(shape, self.dtype)
        try:
            data = self._dataset()
            ends = np.flatnonzero(np.diff(wanted) > 1) + 1
            for start, stop in zip([0, *ends.tolist()], [*ends.tolist(), len(wanted)], strict=True):
                if stop > start:
                    place = (slice(None),) * axis
                    found[(*place, slice(start, stop))] = data[(*place, slice(int(wanted[start]), int(wanted[stop - 1]) + 1))]
        except (OSError, KeyError, RuntimeError) as error:
            raise DataError(f"{self.path}, {self.key}: patterns cannot be read: {error}; is the file whole?") from error
        is_as_asked = len(wanted) == len(rows) and bool((inverse == np.arange(len(rows))).all())
        return found if is_as_asked else np.take(found, inverse, axis=axis)

    def _dataset(self) -> Any:
        if self._file is None or self._pid != os.getpid():
            self._file = h5py.File(self.path, "r", rdcc_nbytes=16 * 2**20)
            self._pid = os.getpid()
        return self._file[self.key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": -1}
