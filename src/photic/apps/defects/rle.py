"""Run-length masks as Kaggle writes them: ``"start length start length ..."``.

Pixels are counted from 1, down the first column, then down the next (column-major). Runs are in rising
order and do not overlap, so that a mask has exactly one shortest text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from photic.core.errors import DataError

Mask = NDArray[np.bool_]
Runs = NDArray[np.int64]


def parse_runs(text: str, height: int, width: int) -> Runs:
    """Return the runs of a text as ``(N, 2)`` integers: first pixel (from 0, column-major) and length.

    Args:
        text: pairs of numbers, start (from 1) and length in pixels; empty for an empty mask.
        height: height of the picture in pixels.
        width: width of the picture in pixels.

    Raises:
        DataError: an odd count, something that is not a whole number, a start or length below 1, a run
            outside the picture, or runs that overlap or are out of order; the message names the run.
    """
    words = text.split()
    if len(words) % 2:
        raise DataError(f"{len(words)} numbers, expected pairs of start and length: the last start, {words[-1]}, has no length")
    try:
        numbers = np.array(words, dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):
        place = next(i for i, word in enumerate(words) if not _is_pixel_number(word))
        raise DataError(f"run {place // 2 + 1}: {words[place]!r} is not a whole number of pixels") from None
    starts, lengths = numbers.T
    ends = starts + lengths - 1
    num_pixels = height * width
    _refuse(starts < 1, numbers, "starts before the first pixel, which is number 1")
    _refuse(lengths < 1, numbers, "is shorter than 1 pixel")
    # Lengths are compared, not ends: a huge length must not slip through by overflow.
    outside = (starts > num_pixels) | (lengths > num_pixels - starts + 1)
    _refuse(outside, numbers, f"reaches outside the picture of {height} x {width} = {num_pixels} pixels, counted from 1 down the columns")
    follows = np.zeros(len(numbers), dtype=bool)
    follows[1:] = starts[1:] <= ends[:-1]
    _refuse(follows, numbers, "overlaps the run before it or is out of order; runs must rise")
    return np.stack([starts - 1, lengths], axis=1)


def decode(text: str, height: int, width: int) -> Mask:
    """Return the mask ``(height, width)`` that a run-length text stands for.

    Raises:
        DataError: see :func:`parse_runs`.

    >>> decode("1 2 5 1", height=3, width=2).astype(int)
    array([[1, 0],
           [1, 1],
           [0, 0]])
    """
    return fill(parse_runs(text, height, width), height, width)


def fill(runs: Runs, height: int, width: int) -> Mask:
    """Return the mask ``(height, width)`` of parsed runs."""
    steps = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(steps, runs[:, 0], 1)  # one run may begin where another ends: both steps count
    np.add.at(steps, runs.sum(axis=1), -1)
    return steps[:-1].cumsum(dtype=np.int8).astype(bool).reshape(width, height).T


def encode(mask: Mask) -> str:
    """Return the run-length text of a mask ``(H, W)``, empty for an empty mask.

    >>> encode(np.array([[1, 0], [1, 1], [0, 0]], dtype=bool))
    '1 2 5 1'
    """
    runs = runs_of(mask)
    runs[:, 0] += 1
    return " ".join(map(str, runs.ravel().tolist()))


def num_objects(mask: Mask) -> int:
    """Return the number of connected objects in a mask ``(H, W)``; pixels that touch at a corner are connected."""
    return num_objects_in_runs(runs_of(mask), mask.shape[0])


def num_objects_in_runs(runs: Runs, height: int) -> int:
    """Return the number of connected objects (corners connect) of parsed runs, without painting them.

    Args:
        runs: ``(N, 2)`` first pixel from 0 and length, in rising order.
        height: height of the picture in pixels.
    """
    starts, stops = _split_at_columns(runs, height)
    if len(starts) == 0:
        return 0
    # Columns are laid out with a gap of two pixels, so that neighbours of one column never reach another's.
    shift = 2 * (starts // height)
    starts, stops = starts + shift, stops - 1 + shift
    stride = height + 2
    first = np.searchsorted(stops, starts + stride - 1)
    last = np.searchsorted(starts, stops + stride + 1, side="right")
    counts = last - first
    left = np.repeat(np.arange(len(starts)), counts)
    right = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(first, counts)
    # Runs that touch inside one column (a text need not be the shortest one) belong together as well.
    same = np.flatnonzero(starts[1:] == stops[:-1] + 1)
    left, right = np.concatenate([left, same]), np.concatenate([right, same + 1])
    links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(len(starts), len(starts)))
    return int(connected_components(links, directed=False, return_labels=False))


def runs_of(mask: Mask) -> Runs:
    """Return the runs of a mask ``(H, W)``, as :func:`parse_runs` does of its text."""
    flat = np.zeros(mask.size + 2, dtype=np.int8)
    flat[1:-1] = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat))
    return np.stack([edges[::2], edges[1::2] - edges[::2]], axis=1)


def _split_at_columns(runs: Runs, height: int) -> tuple[Runs, Runs]:
    """Cut runs that go on in the next column; return starts and stops (exclusive)."""
    starts, stops = runs[:, 0], runs.sum(axis=1)
    columns = (stops - 1) // height - starts // height + 1
    which = np.repeat(np.arange(len(runs)), columns)
    place = np.arange(len(which)) - np.repeat(columns.cumsum() - columns, columns)
    column = starts[which] // height + place
    return np.maximum(starts[which], column * height), np.minimum(stops[which], (column + 1) * height)


def _refuse(wrong: Mask, numbers: Runs, complaint: str) -> None:
    if wrong.any():
        place = int(wrong.argmax())
        start, length = numbers[place]
        raise DataError(f"run {place + 1} (start {start}, length {length}) {complaint}")


def _is_pixel_number(word: str) -> bool:
    try:
        return -(2**63) <= int(word) < 2**63
    except ValueError:
        return False
