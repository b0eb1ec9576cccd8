"""Near-duplicate pictures, so that a split never trains on what it tests.

Clean strips look alike: light, dark edges and rolling streaks are the same on thousands of them, and a
hash of the coarse picture merges them all. What tells two recordings apart is their fine structure,
so a picture is reduced to 32 x 64 cells, its local mean is taken away, outliers (strip edges) are clipped,
and two pictures are near-duplicates when what is left correlates.

Measured on 135 Severstal strips and 720 NEU-DET pictures: the most alike pair of different pictures
reaches 0.57; copies saved as JPEG at quality 50, blurred, noised or halved stay above 0.78, brightened
ones above 0.86 (strips; NEU-DET 0.42 where brightening saturates), native strips shifted by one
pixel above 0.75. A copy shifted by several pixels is not found (NEU-DET: 2 pixels, 0.4).

Measured on 95 LOL photographs (600 x 400): two of different scenes reach 0.43, two of one scene of which a few things were moved
0.84; a dark and a well exposed photograph of one scene reach 0.71 at least (0.98 in the median).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photic.core.errors import DataError
from photic.data.images import read_image

ROWS, COLUMNS = 32, 64
THRESHOLD = 0.7
_BLOCK = 1024
_LOCAL_CELLS = 2  # the local mean reaches this many cells each way
_FLAT_LEVEL = 1.0  # grey levels: what varies less is sensor noise, and dark sensors repeat theirs

Signature = NDArray[np.float32]


def near_duplicate_groups(paths: Sequence[Path], threshold: float = THRESHOLD, num_threads: int | None = None) -> NDArray[np.int64]:
    """Return the group of each picture, numbered from 0 by first appearance; alone in its group if it has no near-duplicate.

    Costs about 2 ms of one core per native strip to read (about 25 s for 12,568 on one core), then ``N^2`` correlations (4 s).

    Args:
        paths: picture files.
        threshold: correlation from which two pictures count as the same.
        num_threads: readers; null lets Python choose.

    Raises:
        DataError: a picture cannot be read; the message names the file.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        signatures = list(pool.map(read_signature, paths))
    return group_signatures(np.stack(signatures), threshold) if signatures else np.zeros(0, dtype=np.int64)


def read_signature(path: Path) -> Signature:
    """Return the signature of a picture file.

    Raises:
        DataError: the file is missing, truncated or not a picture.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        whole = Image.fromarray(read_image(path))
        return signature(reduced(whole))
    try:
        with Image.open(path) as picture:
            # JPEG decodes at a quarter of the size for much less; an eighth would leave rounding as large as fine steel texture.
            picture.draft("L", (2 * COLUMNS, 2 * ROWS))
            return signature(reduced(picture))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all that Pillow raises for bad files
        raise DataError(f"{path}: damaged or truncated picture ({error}); replace the file or take it out of the data set") from error


def reduced(picture: Image.Image) -> NDArray[np.float32]:
    """Return a picture as mean grey levels of cells, ``(32, 64)``, as :func:`signature` takes it."""
    return np.asarray(picture.convert("L").convert("F").resize((COLUMNS, ROWS), Image.Resampling.BOX))


def signature(reduced: NDArray[np.float32]) -> Signature:
    """Return the fine structure of a reduced picture ``(32, 64)`` in grey levels: ``(2048,)`` of unit length, or zeros if flat."""
    detail = reduced - _local_mean(reduced)
    limit = max(float(np.percentile(np.abs(detail), 90)), _FLAT_LEVEL)
    detail = np.clip(detail, -limit, limit)
    detail -= detail.mean()
    length = float(np.linalg.norm(detail))
    if length < 0.1 * _FLAT_LEVEL * np.sqrt(detail.size):
        return np.zeros(detail.size, dtype=np.float32)
    return np.asarray(detail / length, dtype=np.float32).ravel()


def group_signatures(signatures: NDArray[np.float32], threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """Return the group of each signature ``(N, 2048)``: linked by a chain of pairs whose correlation reaches the threshold."""
    group = np.arange(len(signatures))  # the earliest picture stands for its group
    for start in range(0, len(signatures), _BLOCK):
        correlation = signatures[start : start + _BLOCK] @ signatures[start:].T
        near = np.triu(correlation >= threshold, k=1)
        for row in np.flatnonzero(near.any(axis=1)):
            linked = np.unique(group[start + np.append(np.flatnonzero(near[row]), row)])
            if len(linked) > 1:
                group[np.isin(group, linked)] = linked[0]
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _local_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    for axis in (0, 1):
        width = 2 * _LOCAL_CELLS + 1
        reach = [(_LOCAL_CELLS, _LOCAL_CELLS) if axis == a else (0, 0) for a in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, mode="edge"), width, axis=axis)
        values = np.asarray(windows.mean(axis=-1), dtype=np.float32)
    return values
