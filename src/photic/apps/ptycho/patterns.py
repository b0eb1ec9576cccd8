"""Diffraction patterns that stay where they are until somebody indexes them.

A scan of 100,000 patterns of 128 x 128 is 6.5 GB. Everything here looks like an array over its first axis (``.shape``, ``len``,
``[int | slice | index array]``, ``np.asarray``), but reads, casts, centres, masks and checks only what is indexed. All of it can be
pickled and survives a fork: files are opened again in every process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.stores import MemoryStore, Store
from photic.core.errors import DataError

Domain = Literal["amplitude", "counts"]
Layout = Literal["mhw", "hwm"]
CHUNK_BYTES = 64 * 2**20
"""What reading a whole scan holds at once."""


class LazyArray(ABC):
    """Something with the first axis of an array, whose items are made when they are indexed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)

    @abstractmethod
    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the items of valid, non-negative row numbers ``(n,)`` as a new array ``(n, ...)``."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if isinstance(key, tuple) and len(key) > 0 and not any(item is Ellipsis or item is None for item in key):
            is_one = isinstance(key[0], int | np.integer)
            return self[key[0]][key[1:] if is_one else (slice(None), *key[1:])]
        if isinstance(key, int | np.integer):
            return self.gather(self._rows(np.array([key])))[0]  # type: ignore[no-any-return]
        if isinstance(key, slice):
            return self.gather(np.arange(*key.indices(len(self)), dtype=np.int64))
        if key is Ellipsis or isinstance(key, tuple):
            return np.asarray(self)[key]
        index = np.asarray(key)
        if index.dtype == bool:
            if index.shape != (len(self),):
                raise IndexError(f"a boolean index of shape {index.shape} does not fit {len(self)} items")
            index = np.flatnonzero(index)
        elif index.size == 0:
            index = index.astype(np.int64)
        if index.dtype.kind not in "iu":
            raise IndexError(f"expected integers, a slice or booleans as an index, got {index.dtype}")
        found = self.gather(self._rows(index.reshape(-1)))
        return found.reshape(*index.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("these items are made when they are asked for; an array of them is always a copy")
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for row in range(len(self)):
            yield self[row]

    def chunks(self, max_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, NDArray[Any]]]:
        """Give ``(first row, items)`` one bounded piece after the other, until everything has been read."""
        per_item = max(1, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize)
        step = max(1, max_bytes // per_item)
        for start in range(0, len(self), step):
            yield start, self[start : start + step]

    def _rows(self, index: NDArray[Any]) -> NDArray[np.int64]:
        rows = index.astype(np.int64)
        rows[rows < 0] += len(self)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"index out of range: there are {len(self)} items, asked for {index[(rows < 0) | (rows >= len(self))][0]}")
        return rows


class Patterns(LazyArray):
    """Measured amplitudes ``(M, N, N)`` in float32: the square root of counts, zero frequency at index N/2, masked pixels zero.

    >>> patterns = as_patterns(np.ones((5, 8, 8)))
    >>> patterns.shape, patterns[1:3].shape, patterns[[4, 0, 4]].shape, patterns[2].dtype
    ((5, 8, 8), (2, 8, 8), (3, 8, 8), dtype('float32'))
    """

    shape: tuple[int, int, int]

    def take(self, rows: NDArray[np.int64]) -> Patterns:
        """Return some of the patterns, in the order of ``rows``, still unread."""
        return TakenPatterns(self, self._rows(np.asarray(rows)))

    def masked(self, mask: NDArray[np.bool_]) -> Patterns:
        """Return the same patterns, still unread, whose pixels read as 0 where a mask ``(N, N)`` is False."""
        return MaskedPatterns(self, mask)


class MeasuredPatterns(Patterns):
    """Patterns of one store, made into amplitudes when they are gathered.

    Args:
        store: the numbers as measured.
        domain: ``amplitude`` (square root of counts) or ``counts``; declared, never guessed.
        where: file and key, for messages.
        layout: ``mhw`` for (M, N, N), ``hwm`` for (N, N, M).
        is_dc_centred: False if the zero frequency is at index [0, 0].
        orientation: whether frames are transposed, then turned over along rows, then along columns, keeping the zero frequency where it is.
        crop_px: keep only ``crop_px`` x ``crop_px`` pixels (after centring and turning); None needs square patterns.
        center_px: [row, column] of the zero frequency in the frames, around which they are cropped; None: half their size.
        mask: ``(N, N)``, True where a pixel is valid; the others read as 0 whatever they hold.

    Raises:
        DataError: wrong rank, type, or size; when gathering, negative or non-finite values at valid pixels.
    """

    def __init__(
        self,
        store: Store,
        *,
        domain: Domain = "amplitude",
        where: str = "diffraction",
        layout: Layout = "mhw",
        is_dc_centred: bool = True,
        orientation: tuple[bool, bool, bool] = (False, False, False),
        crop_px: int | None = None,
        center_px: tuple[int, int] | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        if len(store.shape) != 3 or store.dtype.kind not in "iuf":
            raise DataError(f"{where}: expected real numbers of shape (M, N, N), got {store.dtype} of shape {store.shape}")
        if domain not in ("amplitude", "counts"):
            raise DataError(f"{where}: domain {domain!r} is unknown, expected 'amplitude' or 'counts'")
        self._axis = 0 if layout == "mhw" else 2
        self._orientation = orientation
        self._is_dc_centred = is_dc_centred
        height, width = (length for axis, length in enumerate(store.shape) if axis != self._axis)
        if orientation[0]:
            height, width = width, height
        if crop_px is None and height != width:
            raise DataError(
                f"{where}: patterns of {height} x {width} pixels are not square; crop them (`photic data convert ptycho --crop N`)"
            )
        size = height if crop_px is None else crop_px
        row, column = (height // 2, width // 2) if center_px is None else center_px
        top, left = row - size // 2, column - size // 2
        if top < 0 or left < 0 or top + size > height or left + size > width:
            raise DataError(
                f"{where}: {size} x {size} pixels around [{row}, {column}] are not inside patterns of {height} x {width} pixels"
            )
        self._window = (slice(top, top + size), slice(left, left + size))
        if mask is not None and mask.shape != (size, size):
            raise DataError(f"{where}: the mask has shape {mask.shape}, expected ({size}, {size})")
        self.shape = (store.shape[self._axis], size, size)
        self.domain = domain
        self.where = where
        self._store = store
        self._mask = None if mask is None or bool(mask.all()) else mask

    def stored(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return patterns ``(n, N, N)`` as stored, cast, centred, cropped and masked, but neither checked nor converted to amplitudes."""
        piece = self._store.read(rows, self._axis)
        if self._axis == 2:
            piece = piece.transpose(2, 0, 1)
        with np.errstate(over="ignore"):
            cast = np.array(self.framed(piece), dtype=np.float32, order="C")
        if self._mask is not None:
            cast[:, ~self._mask] = 0.0
        return cast

    def framed(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames ``(n, height, width)`` as the file has them centred, turned and cropped as the patterns are."""
        if not self._is_dc_centred:
            frames = np.fft.fftshift(frames, axes=(1, 2))
        if self._orientation[0]:
            frames = frames.transpose(0, 2, 1)
        for axis in (1, 2):
            if self._orientation[axis]:
                # Index N/2 stays at N/2, which a plain flip would move by one pixel.
                frames = np.roll(np.flip(frames, axis), 1 - frames.shape[axis] % 2, axis)
        return frames[:, *self._window]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return checked amplitudes ``(n, N, N)``."""
        piece = self.stored(rows)
        # min and max carry NaN, so two reductions see everything.
        if piece.size and not (piece.min() >= 0 and piece.max() < np.inf):
            raise DataError(self._complaint(piece, rows))
        if self.domain == "counts":
            np.sqrt(piece, out=piece)
        return piece

    def masked(self, mask: NDArray[np.bool_]) -> Self:
        """Return the same patterns with a further mask ``(N, N)``, True = valid."""
        if mask.shape != self.shape[1:]:
            raise DataError(f"{self.where}: the mask has shape {mask.shape}, expected {self.shape[1:]}")
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        both = mask if self._mask is None else mask & self._mask
        copy._mask = None if bool(both.all()) else both
        return copy

    def _complaint(self, piece: NDArray[np.float32], rows: NDArray[np.int64]) -> str:
        is_bad = ~(piece >= 0) | ~np.isfinite(piece)
        row, i, j = (int(place[0]) for place in np.nonzero(is_bad))
        value = piece[row, i, j]
        kind = "negative" if value < 0 and np.isfinite(value) else "non-finite"
        return (
            f"{self.where}: {kind} value {value:g} in pattern {rows[row]} at pixel [{i}, {j}] "
            f"({int(is_bad.sum())} such values in {len(rows)} patterns read); expected {self.domain} >= 0. "
            "If these are dead pixels, give a mask (key 'mask', (N, N), True = valid)"
        )


class TakenPatterns(Patterns):
    """Some patterns of another array, by row."""

    def __init__(self, source: Patterns, rows: NDArray[np.int64]) -> None:
        # A subset of a subset refers to the whole, so that long chains cost nothing.
        self._source: Patterns = source
        self._taken: NDArray[np.int64] = rows
        if isinstance(source, TakenPatterns):
            self._source, self._taken = source._source, source._taken[rows]
        self.shape = (len(rows), *source.shape[1:])

    def masked(self, mask: NDArray[np.bool_]) -> Patterns:
        """Return them with a further mask ``(N, N)``, True = valid."""
        return TakenPatterns(self._source.masked(mask), self._taken)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return amplitudes ``(n, N, N)``."""
        return self._source.gather(self._taken[rows])


class MaskedPatterns(Patterns):
    """Other patterns with zeros where a mask ``(N, N)`` is False.

    Raises:
        DataError: the mask has another size.
    """

    def __init__(self, source: Patterns, mask: NDArray[np.bool_]) -> None:
        if mask.shape != source.shape[1:]:
            raise DataError(f"the mask has shape {mask.shape}, expected {source.shape[1:]}")
        self.shape = source.shape
        self._source = source
        self._mask = mask

    def masked(self, mask: NDArray[np.bool_]) -> Patterns:
        """Return them with a further mask ``(N, N)``, True = valid."""
        return MaskedPatterns(self._source, self._mask & mask)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return amplitudes ``(n, N, N)``."""
        found = self._source.gather(rows)
        found[:, ~self._mask] = 0.0
        return found


class CroppedPatterns(Patterns):
    """The central ``size_px`` x ``size_px`` pixels of other patterns, the zero frequency at N/2 before and after."""

    def __init__(self, source: Patterns, size_px: int) -> None:
        first = source.shape[1] // 2 - size_px // 2
        self.shape = (len(source), size_px, size_px)
        self._source = source
        self._window = slice(first, first + size_px)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return amplitudes ``(n, N, N)``."""
        return np.ascontiguousarray(self._source.gather(rows)[:, self._window, self._window])


class JoinedPatterns(Patterns):
    """Patterns of several scans, one after the other.

    Raises:
        DataError: their sizes differ.
    """

    def __init__(self, parts: Sequence[Patterns]) -> None:
        sizes = {part.shape[1:] for part in parts}
        if len(sizes) != 1:
            raise DataError(f"patterns of {len(parts)} scans cannot be joined: expected one size, got {sorted(sizes)}")
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def masked(self, mask: NDArray[np.bool_]) -> Patterns:
        """Return them with a further mask ``(N, N)``, True = valid."""
        return JoinedPatterns([part.masked(mask) for part in self._parts])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return amplitudes ``(n, N, N)``."""
        part_of = np.searchsorted(self._ends, rows, side="right")
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for number in np.unique(part_of):
            is_here = part_of == number
            part = self._parts[number]
            found[is_here] = part.gather(rows[is_here] - (int(self._ends[number]) - len(part)))
        return found


def as_patterns(
    diffraction: Any, *, domain: Domain = "amplitude", where: str = "diffraction", mask: NDArray[np.bool_] | None = None
) -> Patterns:
    """Return patterns of an array in memory; what is a ``Patterns`` already stays as it is.

    Raises:
        DataError: wrong rank, type or size.
    """
    if isinstance(diffraction, Patterns):
        return diffraction
    return MeasuredPatterns(MemoryStore(np.asarray(diffraction)), domain=domain, where=where, mask=mask)


def mean_energy(patterns: Patterns) -> float:
    """Return the mean over patterns of the sum of squared amplitudes: photons per pattern, in float64, reading chunk by chunk.

    >>> mean_energy(as_patterns(np.full((3, 4, 4), 2.0)))
    64.0
    """
    if len(patterns) == 0:
        raise DataError("the mean energy of no patterns is undefined")
    return float(pattern_energies(patterns).mean())


def pattern_energies(patterns: Patterns) -> NDArray[np.float64]:
    """Return the sum of squared amplitudes of each pattern (M,): its photons, in float64, reading chunk by chunk.

    >>> pattern_energies(as_patterns(np.full((3, 4, 4), 2.0))).tolist()
    [64.0, 64.0, 64.0]
    """
    pieces = [np.einsum("nij,nij->n", piece, piece, dtype=np.float64) for _, piece in patterns.chunks(CHUNK_BYTES // 4)]
    return np.concatenate([np.zeros(0), *pieces])


def scaled_to(probe: NDArray[np.complex64], energy: float) -> NDArray[np.complex64]:
    """Return a probe ``(P, N, N)`` with another energy in all.

    >>> scaled_to(np.ones((1, 2, 2), np.complex64), 16.0).real.tolist()
    [[[2.0, 2.0], [2.0, 2.0]]]
    """
    own = float((np.abs(probe.astype(np.complex128)) ** 2).sum())
    return np.asarray(probe * np.sqrt(energy / own), dtype=np.complex64)
