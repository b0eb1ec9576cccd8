"""A raw scan: positions in object pixels, patterns as amplitudes, probe, and what else a raw NPZ file holds.

Coordinates: ``xcoords`` is the column and ``ycoords`` the row of the patch centre on the object's grid; pixel (i, j) of a patch lies at row
``y - N/2 + i``, column ``x - N/2 + j``. Element [r, c] of ``objectGuess`` lies at x = c, y = r.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.contract import checked_mask, checked_positions, checked_probe, refuse_outside
from photic.apps.ptycho.npz import NpzFile, write_npz
from photic.apps.ptycho.patterns import Domain, JoinedPatterns, Layout, MeasuredPatterns, Patterns, as_patterns
from photic.apps.ptycho.plausibility import domain_doubt
from photic.core.errors import ConfigError, DataError, StorageError

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class RawNPZData:
    """One scan, or several that share probe and object, told apart by ``scan_index``. Checked when it is made; patterns stay unread.

    Raises:
        DataError: a wrong shape or type, a non-finite position, or a patch outside ``objectGuess``.

    >>> scan = RawNPZData(np.array([8.0, 9.5]), np.array([8.0, 8.0]), np.ones((2, 8, 8)), np.ones((8, 8)))
    >>> scan.num_patterns, scan.size_px, scan.probe_modes.shape, scan.take(np.array([1])).positions_px.tolist()
    (2, 8, (1, 8, 8), [[9.5, 8.0]])
    """

    xcoords: NDArray[np.float64]
    """Columns of the patch centres (M,), object pixels."""
    ycoords: NDArray[np.float64]
    """Rows of the patch centres (M,), object pixels."""
    diffraction: Patterns
    """Amplitudes (M, N, N), lazy, zero frequency at N/2; an array of amplitudes is wrapped."""
    probeGuess: NDArray[np.complex64]  # noqa: N815 - the name of the key
    """Probe (N, N), (N, N, 1), or incoherent modes (P, N, N)."""
    objectGuess: NDArray[np.complex64] | None = None  # noqa: N815 - the name of the key
    """Truth (H, W), for evaluation and supervised training."""
    scan_index: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Which scan a pattern belongs to (M,); empty means 0 for all."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON values; physics in ``metadata["physics_parameters"]``."""
    mask: NDArray[np.bool_] | None = None
    """Valid pixels (N, N): dead pixels and beam stop are False, and their patterns' values read as 0."""
    xcoords_start: NDArray[np.float64] | None = None
    """Columns before position correction (M,)."""
    ycoords_start: NDArray[np.float64] | None = None
    """Rows before position correction (M,)."""
    source: str = ""
    """File it came from, for messages."""

    def __post_init__(self) -> None:
        where = self.source or "raw data"
        patterns = as_patterns(self.diffraction, where=f"{where}: key 'diffraction'")
        count, size = patterns.shape[0], patterns.shape[1]
        if count < 1 or size < 2 or size % 2:
            raise DataError(
                f"{where}: key 'diffraction' has shape {patterns.shape}, expected (M, N, N) with M >= 1 and N even; crop the patterns"
            )
        for key in ("xcoords", "ycoords", "xcoords_start", "ycoords_start"):
            value = getattr(self, key)
            if value is not None:
                object.__setattr__(self, key, checked_positions(value, count, key, where))
        index = np.asarray(self.scan_index)
        if index.size == 0:
            index = np.zeros(count, np.int64)
        if index.shape != (count,) or index.dtype.kind not in "iu":
            raise DataError(f"{where}: key 'scan_index' is {index.dtype} of shape {index.shape}, expected integers of shape ({count},)")
        object.__setattr__(self, "scan_index", index.astype(np.int64))
        object.__setattr__(self, "probeGuess", checked_probe(self.probeGuess, size, where))
        if self.mask is not None:
            mask = checked_mask(self.mask, size, where)
            object.__setattr__(self, "mask", mask)
            patterns = patterns.masked(mask)
        object.__setattr__(self, "diffraction", patterns)
        if self.objectGuess is not None:
            truth = np.asarray(self.objectGuess)
            if truth.ndim != 2 or truth.dtype.kind not in "cfiu":
                raise DataError(
                    f"{where}: key 'objectGuess' is {truth.dtype} of shape {truth.shape}, expected complex numbers of shape (H, W)"
                )
            object.__setattr__(self, "objectGuess", truth.astype(np.complex64))
            refuse_outside(self.positions_px, size, truth.shape, where)
        if not isinstance(self.metadata, dict):  # type: ignore[unreachable,unused-ignore]
            raise DataError(f"{where}: the metadata are a {type(self.metadata).__name__}, expected a dict of JSON values")

    @property
    def num_patterns(self) -> int:
        """M."""
        return len(self.diffraction)

    @property
    def size_px(self) -> int:
        """N."""
        return self.diffraction.shape[1]

    @property
    def probe_modes(self) -> NDArray[np.complex64]:
        """The probe as modes (P, N, N), complex64."""
        size = self.size_px
        if self.probeGuess.ndim == 3 and self.probeGuess.shape != (size, size, 1):
            return self.probeGuess
        return self.probeGuess.reshape(1, size, size)

    @property
    def positions_px(self) -> NDArray[np.float64]:
        """Patch centres (M, 2) as [x, y]."""
        return np.stack([self.xcoords, self.ycoords], axis=1)

    @property
    def physics_parameters(self) -> dict[str, Any]:
        """The part of the metadata with wavelengths, distances and pixel sizes; empty where there is none."""
        found = self.metadata.get("physics_parameters", {})
        return found if isinstance(found, dict) else {}

    def take(self, rows: NDArray[np.int64]) -> RawNPZData:
        """Return some of the patterns in the order of ``rows`` (integers), still lazy, with everything that belongs to them."""
        rows = np.asarray(rows)
        return RawNPZData(
            self.xcoords[rows],
            self.ycoords[rows],
            self.diffraction.take(rows),
            self.probeGuess,
            self.objectGuess,
            self.scan_index[rows],
            self.metadata,
            self.mask,
            None if self.xcoords_start is None else self.xcoords_start[rows],
            None if self.ycoords_start is None else self.ycoords_start[rows],
            self.source,
        )


@dataclass(frozen=True, eq=False)
class Scans:
    """Several files as one training set: every file keeps its probe, truth and frame of positions, and nothing is grouped across files.

    Raises:
        DataError: no scan, or patterns of different sizes.
    """

    scans: tuple[RawNPZData, ...]

    def __post_init__(self) -> None:
        if not self.scans:
            raise DataError("expected at least one scan, got none")
        sizes = {scan.size_px for scan in self.scans}
        if len(sizes) != 1:
            found = ", ".join(f"{scan.source or 'a scan'}: N = {scan.size_px}" for scan in self.scans)
            raise DataError(f"scans of one set must have patterns of one size; got {found}")

    @property
    def num_patterns(self) -> int:
        """Of all files together."""
        return sum(scan.num_patterns for scan in self.scans)

    @property
    def size_px(self) -> int:
        """N."""
        return self.scans[0].size_px

    @property
    def diffraction(self) -> Patterns:
        """Amplitudes of all files, one file after the other, lazy."""
        return self.scans[0].diffraction if len(self.scans) == 1 else JoinedPatterns([scan.diffraction for scan in self.scans])

    @property
    def positions_px(self) -> NDArray[np.float64]:
        """Patch centres (M, 2) as [x, y], each file's in its own frame."""
        return np.concatenate([scan.positions_px for scan in self.scans])

    @property
    def file_index(self) -> NDArray[np.int64]:
        """Place in ``scans`` of every pattern's file (M,)."""
        return np.repeat(np.arange(len(self.scans)), [scan.num_patterns for scan in self.scans])

    @property
    def scan_index(self) -> NDArray[np.int64]:
        """Running number of the scan of every pattern (M,), distinct between files."""
        found, first = [], 0
        for scan in self.scans:
            values, numbers = np.unique(scan.scan_index, return_inverse=True)
            found.append(numbers + first)
            first += len(values)
        return np.concatenate(found).astype(np.int64)

    def as_one(self) -> RawNPZData:
        """Return one scan that lies in several files: same specimen, same frame of positions, same probe; ``scan_index`` stays distinct.

        Probe, truth, mask and metadata are the first file's.

        Raises:
            DataError: the files' masks differ.
        """
        first = self.scans[0]
        if len(self.scans) == 1:
            return first
        for other in self.scans[1:]:
            if not _are_equal(first.mask, other.mask):
                raise DataError(f"{first.source} and {other.source} have different masks and are not one scan; give them as separate scans")
            if not np.array_equal(first.probe_modes, other.probe_modes):
                warnings.warn(
                    f"{other.source} has another probe than {first.source}; the first one is used for both", UserWarning, stacklevel=2
                )
        starts = {
            key: None
            if any(getattr(scan, key) is None for scan in self.scans)
            else np.concatenate([getattr(scan, key) for scan in self.scans])
            for key in ("xcoords_start", "ycoords_start")
        }
        positions = self.positions_px
        return RawNPZData(
            positions[:, 0],
            positions[:, 1],
            self.diffraction,
            first.probeGuess,
            first.objectGuess,
            self.scan_index,
            first.metadata,
            first.mask,
            **starts,
            source=", ".join(scan.source for scan in self.scans),
        )


def load_raw_npz(
    path: Path | str,
    *,
    domain: Domain = "amplitude",
    layout: Literal["auto", "mhw", "hwm"] = "auto",
    N: int | None = None,  # noqa: N803 - the field's name for the side of a pattern
) -> RawNPZData:
    """Open a raw NPZ file; nothing in it is ever unpickled, and uncompressed patterns are not read before they are used.

    Args:
        path: the file; keys as in :class:`RawNPZData`, ``diff3d`` for ``diffraction``, ``_metadata`` a unicode string of JSON.
        domain: what the file's patterns are: ``amplitude`` = sqrt(counts), the format's own, or ``counts``.
        layout: ``mhw`` for (M, N, N), ``hwm`` for (N, N, M); ``auto`` tells them apart by the number of positions.
        N: side of the patterns that the caller expects; None takes any.

    Raises:
        DataError: a missing or misshaped key (named with the shape found and expected), pickled content, a truncated file.

    Warns:
        UserWarning: M = N where the layout is ambiguous, positions that occur twice, values that look like the other domain.
    """
    file = NpzFile(path)
    where = str(file.path)
    for key in ("xcoords", "ycoords", "probeGuess"):
        file.member(key)
    if "diffraction" not in file and "diff3d" not in file:
        file.member("diffraction")
    key = "diffraction" if "diffraction" in file else "diff3d"
    if key == "diffraction" and "diff3d" in file:
        warnings.warn(f"{where}: has both 'diffraction' and 'diff3d'; 'diffraction' is used", UserWarning, stacklevel=2)
    xcoords = file.read("xcoords")
    found_layout = _layout(file.member(key).shape, len(np.atleast_1d(xcoords)), layout, f"{where}: key '{key}'")
    patterns = MeasuredPatterns(file.store(key), domain=domain, where=f"{where}: key '{key}'", layout=found_layout)
    if N is not None and patterns.shape[1] != N:
        raise DataError(f"{where}: key '{key}' has patterns of {patterns.shape[1]} x {patterns.shape[1]} pixels, expected N = {N}")

    def optional(name: str) -> NDArray[Any] | None:
        return file.read(name) if name in file else None

    scan_index = optional("scan_index")
    raw = RawNPZData(
        xcoords,
        file.read("ycoords"),
        patterns,
        file.read("probeGuess"),
        optional("objectGuess"),
        np.zeros(0, np.int64) if scan_index is None else scan_index,
        _metadata(file),
        optional("mask"),
        optional("xcoords_start"),
        optional("ycoords_start"),
        where,
    )
    warn_of_doubts(raw, patterns)
    return raw


def save_raw_npz(path: Path | str, data: RawNPZData, *, compressed: bool = False, force: bool = False) -> Path:
    """Write a raw NPZ file, whole or not at all; patterns are streamed, so that none need to fit into memory.

    Args:
        path: file to write.
        data: what to write; patterns as float32 amplitudes.
        compressed: a smaller file whose patterns must be loaded whole to be used.
        force: replace a file that is there.

    Raises:
        StorageError: there is a file, or it cannot be written.
        DataError: metadata that JSON cannot say, or bad values in patterns that are read now.
    """
    path = Path(path)
    if path.exists() and not force:
        raise StorageError(f"{path}: there is such a file already; choose another name or force replacing it")
    try:
        text = json.dumps({"schema_version": SCHEMA_VERSION, **data.metadata}, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: the metadata cannot be written as JSON: {error}; expected texts, numbers, lists and dicts") from error
    arrays: dict[str, Any] = {"_metadata": np.array(text), "xcoords": data.xcoords, "ycoords": data.ycoords}
    for key in ("xcoords_start", "ycoords_start", "scan_index", "probeGuess", "objectGuess", "mask", "diffraction"):
        value = getattr(data, key)
        if value is not None:
            arrays[key] = value
    try:
        write_npz(path, arrays, compressed=compressed)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}; nothing was left behind") from error
    return path


def load_scans(
    paths: Sequence[Path | str],
    *,
    domain: Domain = "amplitude",
    layout: Literal["auto", "mhw", "hwm"] = "auto",
    N: int | None = None,  # noqa: N803 - the field's name for the side of a pattern
) -> Scans:
    """Open several raw NPZ files as one set; arguments and errors as :func:`load_raw_npz`."""
    return Scans(tuple(load_raw_npz(path, domain=domain, layout=layout, N=N) for path in paths))


def warn_of_doubts(raw: RawNPZData, measured: MeasuredPatterns) -> None:
    """Warn of positions that occur twice, and of patterns that look as if they were of another domain than declared.

    Args:
        raw: the scan.
        measured: its patterns as the file has them.
    """
    twice = num_duplicates(raw)
    if twice:
        warnings.warn(
            f"{raw.source or 'raw data'}: {twice} of {raw.num_patterns} positions occur twice or more in xcoords, ycoords; "
            "a repeated frame is fine, a scan whose motor stood still is not",
            UserWarning,
            stacklevel=3,
        )
    doubt = domain_doubt(measured, raw.probe_modes, raw.metadata)
    if doubt is not None:
        warnings.warn(doubt, UserWarning, stacklevel=3)


def num_duplicates(raw: RawNPZData) -> int:
    """Return how many positions occurred before, in the same scan."""
    order = np.lexsort((raw.ycoords, raw.xcoords, raw.scan_index))
    same = np.ones(max(0, len(order) - 1), np.bool_)
    for values in (raw.xcoords, raw.ycoords, raw.scan_index):
        same &= np.diff(values[order]) == 0
    return int(same.sum())


def _are_equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _layout(shape: tuple[int, ...], count: int, layout: str, where: str) -> Layout:
    if layout not in ("auto", "mhw", "hwm"):
        raise ConfigError(f"layout: expected auto, mhw or hwm, got {layout!r}")
    is_mhw = len(shape) == 3 and shape[0] == count and shape[1] == shape[2]
    is_hwm = len(shape) == 3 and shape[2] == count and shape[0] == shape[1]
    if is_mhw and is_hwm and layout == "auto":
        warnings.warn(
            f"{where} has shape {shape}: with as many patterns as pixels, (M, N, N) and the old (N, N, M) look alike; "
            "read as (M, N, N). Say layout='hwm' if it is the other",
            UserWarning,
            stacklevel=4,
        )
    if is_mhw and layout in ("auto", "mhw"):
        return "mhw"
    if is_hwm and layout in ("auto", "hwm"):
        return "hwm"
    if layout == "auto":
        expected = f"({count}, N, N), or the old (N, N, {count})"
    else:
        expected = f"({count}, N, N)" if layout == "mhw" else f"(N, N, {count})"
    hint = f" Axis {shape.index(count)} has {count} entries: are the axes swapped?" if len(shape) == 3 and count in shape else ""
    raise DataError(f"{where} has shape {shape}, expected {expected} for the {count} positions in 'xcoords'.{hint}")


def _metadata(file: NpzFile) -> dict[str, Any]:
    if "_metadata" not in file:
        return {}
    member = file.member("_metadata")
    expected = "expected a 0-d unicode string of JSON"
    if member.shape != () or member.dtype.kind != "U":
        raise DataError(f"{file.path}: key '_metadata' is {member}, {expected}")
    try:
        found = json.loads(str(file.read("_metadata")))
    except ValueError as error:
        raise DataError(f"{file.path}: key '_metadata' is no JSON: {error}; {expected}") from error
    except RecursionError as error:
        raise DataError(f"{file.path}: key '_metadata' is nested too deeply; {expected}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file.path}: key '_metadata' holds a {type(found).__name__}, expected a JSON object")
    return found
