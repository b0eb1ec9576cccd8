"""What is in a scan file, measured pattern by pattern; nothing is guessed and nothing is converted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from photic.apps.ptycho.geometry import find_projection, object_pixel_m
from photic.apps.ptycho.npz import NpzFile
from photic.apps.ptycho.patterns import Domain, MeasuredPatterns
from photic.apps.ptycho.plausibility import num_photons
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.readers import ScanRecord, open_scan
from photic.core.errors import DataError

_ENCIRCLED = 0.9
_OFF_CENTRE = 0.03
_SPARSE_OVERLAP = 0.4
Progress = Callable[[int], None]


@dataclass
class ScanReport:
    """What is in one file, and what is wrong with it; None is unknown."""

    path: Path
    format: str | None = None
    keys: list[dict[str, Any]] = field(default_factory=list)
    """Key, type and shape, and range where it was read."""
    num_patterns: int | None = None
    size_px: int | None = None
    domain: str | None = None
    patterns: dict[str, float] = field(default_factory=dict)
    """Statistics of patterns."""
    positions: dict[str, Any] = field(default_factory=dict)
    """Extent and overlap."""
    probe: dict[str, Any] = field(default_factory=dict)
    physics: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mean_counts: NDArray[np.float64] | None = None
    """(N, N), for the picture."""
    positions_px: NDArray[np.float64] | None = None
    """(M, 2), for the picture."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays as JSON values."""
        hidden = ("mean_counts", "positions_px")
        found = {name: value for name, value in vars(self).items() if name not in hidden}
        return {**found, "path": str(self.path)}


def inspect_scan(
    path: Path,
    *,
    reader: str | None = None,
    domain: Domain | None = None,
    diffraction: Path | None = None,
    progress: Progress = lambda done: None,
) -> ScanReport:
    """Read a scan file completely and return what is in it.

    Args:
        path: the file.
        reader: name of its reader; None tries all.
        domain: what patterns are, where the format does not say.
        diffraction: file of the patterns, if it is another.
        progress: is told how many patterns have been read.
    """
    report = ScanReport(path)
    with _noted(report):
        try:
            name, found = open_scan(path, reader=reader, domain=domain, diffraction=diffraction)
        except DataError as error:
            report.problems.append(str(error))
            report.keys = _npz_keys(path)
            return report
        if isinstance(found, RawNPZData):
            report.format = {"raw_npz": "raw NPZ"}.get(name, name)
            _look_at_raw(report, found, progress)
        else:
            report.format = found.format
            _look_at_record(report, found, domain, progress)
    return report


def probe_diameter_px(modes: NDArray[np.complex64]) -> float:
    """Return the diameter of the circle around the probe's centre of mass that holds 90 % of its energy, pixels.

    Args:
        modes: (P, N, N).

    >>> inside = np.hypot(*(np.mgrid[:64, :64] - 32)) <= 10
    >>> round(probe_diameter_px(inside[None].astype(np.complex64)))
    19
    """
    weight = (np.abs(modes.astype(np.complex128)) ** 2).sum(axis=0)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    total = weight.sum()
    radius = np.hypot(rows - (rows * weight).sum() / total, columns - (columns * weight).sum() / total).reshape(-1)
    order = np.argsort(radius)
    inside = np.searchsorted(np.cumsum(weight.reshape(-1)[order]), _ENCIRCLED * total)
    return float(2 * radius[order][min(int(inside), len(order) - 1)])


def _look_at_raw(report: ScanReport, raw: RawNPZData, progress: Progress) -> None:
    file = NpzFile(raw.source) if raw.source and Path(raw.source).suffix == ".npz" else None
    if file is not None:
        report.keys = _npz_keys(file.path)
        damaged = file.damaged_member()
        if damaged is not None:
            report.problems.append(f"{file.path}: checksum of '{damaged}' does not agree; the file is damaged")
    report.physics = dict(raw.physics_parameters)
    photons = num_photons(raw.metadata)
    if photons is not None:
        report.physics["nphotons"] = photons
    report.missing = [
        name
        for name, value in (
            ("objectGuess (truth)", raw.objectGuess),
            ("mask", raw.mask),
            ("metadata", raw.metadata or None),
            ("pixel_size_m in the metadata", raw.physics_parameters.get("pixel_size_m")),
        )
        if value is None
    ]
    report.num_patterns, report.size_px = raw.num_patterns, raw.size_px
    if isinstance(raw.diffraction, MeasuredPatterns):
        _look_at_patterns(report, raw.diffraction, progress)
    _look_at_probe(report, raw.probe_modes)
    scans = len(np.unique(raw.scan_index))
    if scans > 1:
        report.positions["scans"] = scans
    _look_at_positions(report, raw.positions_px, raw.scan_index)


def _look_at_record(report: ScanReport, record: ScanRecord, domain: Domain | None, progress: Progress) -> None:
    report.keys = [{"key": key, "is": text} for key, text in record.contents.items()]
    report.notes += record.notes
    report.missing = record.missing()
    if domain is not None:
        report.missing = [name for name in report.missing if not name.startswith("domain")]
    report.physics = {
        "wavelength_m": record.wavelength_m,
        "distance_m": record.distance_m,
        "detector_pixel_size_m": None if record.detector_pixel_m is None else record.detector_pixel_m[0],
        **record.metadata.get("physics_parameters", {}),
    }
    report.problems += [f"{record.path}: has no {name}" for name in report.missing if name != "probe"]
    patterns = None
    if record.store is not None and (domain or record.domain) is not None:
        try:
            patterns = record.patterns(domain)
        except DataError as error:
            report.problems.append(str(error))
    if patterns is not None:
        report.num_patterns, report.size_px = len(patterns), patterns.shape[1]
        _look_at_patterns(report, patterns, progress)
        if record.positions_m is not None and record.rows is None and len(record.positions_m) != len(patterns):
            report.problems.append(f"{record.where} has {len(patterns)} patterns for {len(record.positions_m)} positions")
    pixels = _object_pixels(record, report.size_px)
    if pixels is not None:
        report.physics["pixel_size_m"] = pixels[0]
    if record.probe is not None:
        _look_at_probe(report, record.probe.astype(np.complex64))
    if record.positions_m is None:
        return
    extent = np.ptp(record.positions_m, axis=0)
    report.positions["extent_m"] = [float(value) for value in extent]
    if pixels is None or report.size_px is None:
        return
    positions = record.positions_m / np.array(pixels)
    positions = positions - positions.min(axis=0) + report.size_px // 2
    _look_at_positions(report, positions, np.zeros(len(positions), np.int64))
    if patterns is not None and record.rows is None and len(patterns) == len(positions) and not report.problems:
        projection = find_projection(patterns, positions)
        if record.is_far_field is False or (projection is not None and projection.is_near_field):
            beam = "" if projection is None else f"; the beam is {projection.beam_patches:.1f} far-field patches wide"
            report.problems.append(f"{record.path}: was measured in the near field{beam}; it can be looked at, but not converted")


def _look_at_patterns(report: ScanReport, patterns: MeasuredPatterns, progress: Progress) -> None:
    count, size = len(patterns), patterns.shape[1]
    sums = np.empty(count)
    total = np.zeros((size, size))
    brightest, zeros, bad = 0.0, 0, np.zeros(count, np.int64)
    low, high = np.inf, -np.inf
    step = max(1, 32 * 2**20 // (4 * size * size))
    for start in range(0, count, step):
        rows = np.arange(start, min(count, start + step))
        piece = patterns.stored(rows)
        low, high = min(low, float(np.nanmin(piece))), max(high, float(np.nanmax(piece)))
        is_bad = ~(piece >= 0) | ~np.isfinite(piece)
        bad[rows] = is_bad.sum(axis=(1, 2))
        piece[is_bad] = 0
        counts = piece if patterns.domain == "counts" else np.square(piece)
        sums[rows] = counts.sum(axis=(1, 2), dtype=np.float64)
        total += counts.sum(axis=0, dtype=np.float64)
        brightest = max(brightest, float(counts.max()))
        zeros += int((piece == 0).sum())
        progress(int(rows[-1]) + 1)
    if bad.any():
        rows = np.flatnonzero(bad)
        report.problems.append(
            f"{patterns.where}: {int(bad.sum())} negative or non-finite values in {len(rows)} of {count} patterns, the first in pattern "
            f"{rows[0]}; if these are dead pixels, give a mask (key 'mask', (N, N), True = valid)"
        )
    empty = int((sums == 0).sum())
    if empty:
        report.problems.append(f"{patterns.where}: {empty} patterns are empty, the first is pattern {int(np.argmin(sums))}; leave them out")
    for row in report.keys:
        if f"key '{row['key']}'" in patterns.where and np.isfinite([low, high]).all():
            row |= {"min": low, "max": high, "of": "value"}
    report.domain = patterns.domain
    report.patterns = {
        "photons_mean": float(sums.mean()),
        "photons_min": float(sums.min()),
        "photons_max": float(sums.max()),
        "brightest_pixel": brightest,
        "zero_share": zeros / (count * size * size),
    }
    report.mean_counts = total / count
    if total.sum() > 0:
        grid = np.arange(size) - size // 2
        down, right = float(total.sum(axis=1) @ grid / total.sum()), float(total.sum(axis=0) @ grid / total.sum())
        report.patterns |= {"centre_row_px": down, "centre_column_px": right}
        if math.hypot(down, right) > max(2.0, _OFF_CENTRE * size):
            report.notes.append(
                f"the mean pattern's centre of mass is {down:+.1f} rows and {right:+.1f} columns from [{size // 2}, {size // 2}], where "
                "the zero frequency is expected; a refracting specimen does that, and so does a detector that is not centred"
            )


def _look_at_probe(report: ScanReport, modes: NDArray[np.complex64]) -> None:
    energy = float((np.abs(modes.astype(np.complex128)) ** 2).sum())
    report.probe = {"modes": len(modes), "energy": energy, "diameter_px": probe_diameter_px(modes)}
    photons = report.patterns.get("photons_mean")
    if photons and not 0.5 < energy / photons < 2:
        report.notes.append(
            f"the probe's energy is {energy:.4g}, patterns have {photons:.4g} photons: a factor of {energy / photons:.3g}, which the "
            "specimen's transmission, or the probe's scale, must explain"
        )


def _look_at_positions(report: ScanReport, positions: NDArray[np.float64], scan_index: NDArray[np.int64]) -> None:
    report.positions_px = positions
    low, high = positions.min(axis=0), positions.max(axis=0)
    size = report.size_px or 0
    report.positions |= {
        "x_px": [float(low[0]), float(high[0])],
        "y_px": [float(low[1]), float(high[1])],
        "canvas_px": [math.ceil(float(value)) + size for value in (high - low)[::-1]],
    }
    distances = []
    for number in np.unique(scan_index):
        here = positions[scan_index == number]
        if len(here) > 1:
            distances.append(cKDTree(here).query(here, k=2)[0][:, 1])
    if not distances:
        return
    nearest = np.concatenate(distances)
    report.positions |= {"neighbour_px_median": float(np.median(nearest)), "neighbour_px_max": float(nearest.max())}
    diameter = report.probe.get("diameter_px")
    if diameter:
        overlap = 1 - float(np.median(nearest)) / diameter
        report.positions["overlap"] = overlap
        if overlap < _SPARSE_OVERLAP:
            report.notes.append(
                f"neighbouring positions overlap by {overlap:.0%} of the probe's diameter; ptychography wants 60 % and more"
            )


def _object_pixels(record: ScanRecord, size: int | None) -> tuple[float, float] | None:
    if record.object_pixel_m is not None:
        return record.object_pixel_m
    if size is None or record.wavelength_m is None or record.distance_m is None or record.detector_pixel_m is None:
        return None
    width, height = (object_pixel_m(record.wavelength_m, record.distance_m, size, pixel) for pixel in record.detector_pixel_m)
    return width, height


def _npz_keys(path: Path) -> list[dict[str, Any]]:
    """Return key, type, shape and range of an NPZ file's arrays; of patterns, which may be large, no range."""
    try:
        file = NpzFile(path)
    except DataError:
        return []  # the report says already why
    rows: list[dict[str, Any]] = []
    for key, member in file.members.items():
        row: dict[str, Any] = {"key": key, "is": str(member)}
        if member.dtype.kind in "iufc" and len(member.shape) < 3 and member.num_bytes:
            values = np.abs(file.read(key)) if member.dtype.kind == "c" else file.read(key)
            row |= {"min": float(values.min()), "max": float(values.max()), "of": "magnitude" if member.dtype.kind == "c" else "value"}
        rows.append(row)
    return rows


@contextmanager
def _noted(report: ScanReport) -> Iterator[None]:
    """Turn our warnings into notes of the report."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    report.notes += [str(item.message) for item in caught]
