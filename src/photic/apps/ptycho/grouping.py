"""Groups of neighbouring patterns: C = gridsize squared patterns that a network sees together, gathered only when they are indexed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from photic.apps.ptycho.patterns import LazyArray, Patterns, mean_energy
from photic.apps.ptycho.raw import RawNPZData, Scans
from photic.core.errors import ConfigError, DataError
from photic.core.seeding import numpy_generator

_CHUNK = 65_536
"""Groups drawn at once; fixed, because random numbers are addressed by the chunk's number."""


def group_raw_npz(
    raw: RawNPZData | Scans,
    *,
    N: int | None = None,  # noqa: N803 - the field's name for the side of a pattern
    gridsize: int = 1,
    neighbor_count: int = 4,
    n_groups: int | None = None,
    seed: int = 0,
    oversample: bool = False,
    normalization: float | None = None,
) -> dict[str, Any]:
    """Return groups of C = gridsize squared neighbouring patterns of a scan, or of several.

    Args:
        raw: the scan; groups never cross its ``scan_index`` or files.
        N: side of the patterns that is expected; None takes the scan's.
        gridsize: 1 for single patterns.
        neighbor_count: K; the other C - 1 are drawn from the seed pattern's K nearest others.
        n_groups: number of seed patterns, drawn without replacement; None makes every pattern a seed, in order.
        seed: of the draws; the same seed and positions give the same groups.
        oversample: allow more groups than patterns, so that patterns are seeds again with other neighbours.
        normalization: the training set's scalar, for a test set; None computes it from ``raw``, reading every pattern once.

    Returns:
        ``diffraction`` (B, N, N, C) lazy; ``X_full`` = diffraction * normalization, lazy; ``coords_nn`` (B, 1, 2, C) as [x, y];
        ``coords_offsets`` (B, 1, 2, 1), their means; ``coords_relative`` = -(coords_nn - coords_offsets); ``nn_indices`` (B, C), the seed
        first; ``objectGuess``; ``Y`` (B, N, N, C), the truth's patches, lazy, None without truth; ``normalization``; ``scan_index`` (B,).
        With several files ``objectGuess`` is a tuple, and ``Y`` is None unless every file has its truth.

    Raises:
        ConfigError: K < C, or a number out of range.
        DataError: a scan of fewer than C patterns, or of another N.

    >>> x = np.arange(6) * 3.0 + 8
    >>> raw = RawNPZData(x, np.full(6, 8.0), np.ones((6, 8, 8)), np.ones((8, 8)))
    >>> groups = group_raw_npz(raw, N=8, gridsize=2, neighbor_count=4, n_groups=3)
    >>> groups["diffraction"].shape, groups["coords_nn"].shape, groups["normalization"]
    ((3, 8, 8, 4), (3, 1, 2, 4), 0.5)
    """
    if N is not None and raw.size_px != N:
        raise DataError(f"patterns have {raw.size_px} x {raw.size_px} pixels, expected N = {N}")
    positions, scan_index, patterns = raw.positions_px, raw.scan_index, raw.diffraction
    indices = group_indices(
        positions, scan_index, gridsize=gridsize, neighbor_count=neighbor_count, n_groups=n_groups, seed=seed, oversample=oversample
    )
    if normalization is None:
        normalization = normalization_of(patterns)
    elif not (np.isfinite(normalization) and normalization > 0):
        raise ConfigError(f"normalization: expected a finite number > 0, got {normalization!r}")
    coords, offsets, relative = group_coordinates(positions, indices)
    scans = raw.scans if isinstance(raw, Scans) else (raw,)
    truths = [scan.objectGuess for scan in scans if scan.objectGuess is not None]
    targets = None
    if len(truths) == len(scans):
        file_index = np.repeat(np.arange(len(scans)), [scan.num_patterns for scan in scans])
        targets = GroupedTruth(truths, file_index, positions, indices, raw.size_px)
    return {
        "diffraction": GroupedPatterns(patterns, indices),
        "X_full": GroupedPatterns(patterns, indices, normalization),
        "coords_nn": coords,
        "coords_offsets": offsets,
        "coords_relative": relative,
        "nn_indices": indices,
        "objectGuess": raw.objectGuess if isinstance(raw, RawNPZData) else tuple(scan.objectGuess for scan in scans),
        "Y": targets,
        "normalization": normalization,
        "scan_index": scan_index[indices[:, 0]],
    }


def group_indices(
    positions: NDArray[np.float64],
    scan_index: NDArray[np.int64] | None = None,
    *,
    gridsize: int = 1,
    neighbor_count: int = 4,
    seeds: NDArray[np.int64] | None = None,
    n_groups: int | None = None,
    seed: int = 0,
    oversample: bool = False,
) -> NDArray[np.int64]:
    """Return the rows (B, C) of every group, the seed pattern first, then the others from near to far.

    Args:
        positions: (M, 2), pixels.
        scan_index: (M,); groups stay inside one value. None: all one scan.
        gridsize: C = gridsize squared.
        neighbor_count: K.
        seeds: rows to start groups from, instead of drawing ``n_groups`` of them.
        n_groups: number of groups; None for every row once, in order. Drawn seeds are sorted.
        seed: of the draws.
        oversample: see :func:`group_raw_npz`.

    Raises:
        ConfigError: K < C, or a number out of range.
        DataError: a scan has fewer than C patterns.

    Warns:
        UserWarning: ``n_groups`` is more than there are patterns, and is cut, unless ``oversample``.

    >>> group_indices(np.array([[0.0, 0], [1, 0], [2, 0], [9, 0]]), gridsize=2, neighbor_count=4)[3].tolist()
    [3, 2, 1, 0]
    """
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise DataError(f"positions: expected finite numbers of shape (M, 2), got shape {positions.shape}")
    count, group_size = len(positions), gridsize**2
    for name, value in (("gridsize", gridsize), ("neighbor_count", neighbor_count), ("n_groups", 1 if n_groups is None else n_groups)):
        if value < 1:
            raise ConfigError(f"{name}: expected a whole number >= 1, got {value}")
    if neighbor_count < group_size:
        raise ConfigError(
            f"neighbor_count: groups of gridsize {gridsize} have {group_size} patterns (C), expected K >= C, got {neighbor_count}"
        )
    scan_index = np.zeros(count, np.int64) if scan_index is None else np.asarray(scan_index)
    if scan_index.shape != (count,):
        raise DataError(f"scan_index: expected shape ({count},), got {scan_index.shape}")
    members = _rows_by_scan(scan_index)
    for number, rows in members:
        if len(rows) < group_size:
            raise DataError(
                f"scan {number} has M = {len(rows)} patterns, fewer than the C = {group_size} of one group of gridsize {gridsize}; "
                "choose a smaller gridsize, or leave the scan out"
            )
    if seeds is None:
        seeds = _draw_seeds(count, n_groups, seed, oversample)
    else:
        seeds = np.asarray(seeds)
        if seeds.ndim != 1 or seeds.dtype.kind not in "iu" or (seeds.size and (seeds.min() < 0 or seeds.max() >= count)):
            raise DataError(
                f"seeds: expected whole row numbers from 0 to {count - 1} of shape (B,), got {seeds.dtype} of shape {seeds.shape}"
            )
    groups = np.empty((len(seeds), group_size), np.int64)
    groups[:, 0] = seeds
    if group_size == 1:
        return groups
    place = np.empty(count, np.int64)
    for number, rows in members:
        rows = rows[_along_a_snake(positions[rows])]
        place[rows] = np.arange(len(rows))
        asked = np.flatnonzero(scan_index[seeds] == number) if len(members) > 1 else np.arange(len(seeds))
        asked = asked[np.argsort(place[seeds[asked]], kind="stable")]
        tree = cKDTree(positions[rows], balanced_tree=False, compact_nodes=False)
        nearest = min(neighbor_count, len(rows) - 1)
        for chunk, start in enumerate(range(0, len(asked), _CHUNK)):
            into = asked[start : start + _CHUNK]
            generator = numpy_generator(seed, "ptycho.neighbours", int(number), chunk)
            groups[into, 1:] = rows[_neighbours(tree, place[seeds[into]], nearest, group_size - 1, generator)]
    return groups


def group_coordinates(
    positions: NDArray[np.float64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return positions (B, 1, 2, C) of groups as [x, y], their means (B, 1, 2, 1), and minus the positions seen from the means."""
    coords = np.ascontiguousarray(positions[indices].transpose(0, 2, 1)[:, None])
    offsets = coords.mean(axis=3, keepdims=True)
    return coords, offsets, -(coords - offsets)


def normalization_of(patterns: Patterns) -> float:
    """Return the scalar that gives patterns the mean energy (N/2)^2: of the training set, saved with the model, used at inference.

    Raises:
        DataError: the patterns are empty of photons.
    """
    energy = mean_energy(patterns)
    if energy <= 0:
        raise DataError("all patterns are zero; there is nothing to normalise by")
    return float(patterns.shape[1] / 2 / np.sqrt(energy))


class GroupedPatterns(LazyArray):
    """Patterns (B, N, N, C) of groups, times a scalar, read when they are indexed."""

    def __init__(self, patterns: Patterns, indices: NDArray[np.int64], scale: float = 1.0) -> None:
        self.shape = (len(indices), *patterns.shape[1:], indices.shape[1])
        self._patterns = patterns
        self._indices = indices
        self._scale = np.float32(scale)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return groups (n, N, N, C)."""
        # A pattern that several groups share is read once.
        wanted, inverse = np.unique(self._indices[rows], return_inverse=True)
        found = self._patterns.gather(wanted)
        if self._scale != 1.0:
            found *= self._scale
        return np.ascontiguousarray(found[inverse.reshape(len(rows), -1)].transpose(0, 2, 3, 1))


class GroupedTruth(LazyArray):
    """Patches (B, N, N, C) of the true objects at the positions of groups, between pixels by bilinear interpolation."""

    dtype = np.dtype(np.complex64)

    def __init__(
        self,
        truths: list[NDArray[np.complex64]],
        file_index: NDArray[np.int64],
        positions: NDArray[np.float64],
        indices: NDArray[np.int64],
        size: int,
    ) -> None:
        self.shape = (len(indices), size, size, indices.shape[1])
        self._truths = truths
        self._file_index = file_index
        self._positions = positions
        self._indices = indices

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return patches (n, N, N, C)."""
        members = self._indices[rows].reshape(-1)
        size = self.shape[1]
        found = np.empty((len(members), size, size), self.dtype)
        for number, truth in enumerate(self._truths):
            is_here = self._file_index[members] == number
            found[is_here] = bilinear_patches(truth, self._positions[members[is_here]], size)
        return np.ascontiguousarray(found.reshape(len(rows), -1, size, size).transpose(0, 2, 3, 1))


def bilinear_patches(truth: NDArray[np.complex64], positions: NDArray[np.float64], size: int) -> NDArray[np.complex64]:
    """Return patches (n, size, size) of an object (H, W) centred at positions (n, 2) as [x, y]; element [r, c] lies at x = c, y = r."""
    first = positions - size // 2
    whole = np.floor(first).astype(np.int64)
    part = (first - whole).astype(np.float32)
    steps = np.arange(size)
    found = np.zeros((len(positions), size, size), np.complex64)
    for down in (0, 1):
        for right in (0, 1):
            weight = (part[:, 1] if down else 1 - part[:, 1]) * (part[:, 0] if right else 1 - part[:, 0])
            # Where a patch ends exactly at the edge the pixel beyond has no weight.
            lines = np.clip(whole[:, 1, None] + down + steps, 0, truth.shape[0] - 1)
            columns = np.clip(whole[:, 0, None] + right + steps, 0, truth.shape[1] - 1)
            found += weight[:, None, None] * truth[lines[:, :, None], columns[:, None, :]]
    return found


def _draw_seeds(count: int, n_groups: int | None, seed: int, oversample: bool) -> NDArray[np.int64]:
    if n_groups is None:
        return np.arange(count)
    if n_groups > count and not oversample:
        warnings.warn(
            f"n_groups: asked for {n_groups} groups of {count} patterns, made {count}; oversample=True uses patterns as seeds again",
            UserWarning,
            stacklevel=4,
        )
        n_groups = count
    generator = numpy_generator(seed, "ptycho.seeds")
    rounds, rest = divmod(n_groups, count)
    drawn = [np.arange(count)] * rounds + [generator.permutation(count)[:rest]]
    return np.sort(np.concatenate(drawn))


def _rows_by_scan(scan_index: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    if scan_index.size and scan_index.min() == scan_index.max():
        return [(int(scan_index[0]), np.arange(len(scan_index)))]
    order = np.argsort(scan_index, kind="stable")
    numbers, starts = np.unique(scan_index[order], return_index=True)
    return [(int(number), rows) for number, rows in zip(numbers, np.split(order, starts[1:]), strict=True)]


def _along_a_snake(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return an order in which points that follow each other lie near each other: the tree is searched three times as fast."""
    side = max(1, int(np.sqrt(len(positions) / 64)))
    first, extent = positions.min(axis=0), np.ptp(positions, axis=0)
    cells = ((positions - first) / np.where(extent > 0, extent, 1.0) * side).astype(np.int64)
    along = np.where(cells[:, 0] % 2 == 1, side - cells[:, 1], cells[:, 1])
    return np.argsort(cells[:, 0] * (side + 1) + along, kind="stable")


def _neighbours(tree: Any, seeds: NDArray[np.int64], nearest: int, wanted: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return for every seed ``wanted`` of its ``nearest`` nearest others (n, wanted), from near to far."""
    _, found = tree.query(tree.data[seeds], k=nearest + 1, workers=-1)
    is_self = found == seeds[:, None]
    # Where positions repeat, a seed may not be among its own nearest: then the farthest one goes.
    is_self[~is_self.any(axis=1), -1] = True
    others = found[~is_self].reshape(len(seeds), nearest)
    if wanted == nearest:
        return np.asarray(others)
    keys = generator.random((len(seeds), nearest), dtype=np.float32)
    chosen = np.sort(np.argpartition(keys, wanted - 1, axis=1)[:, :wanted], axis=1)
    return np.take_along_axis(others, chosen, axis=1)
