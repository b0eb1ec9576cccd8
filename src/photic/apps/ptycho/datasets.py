"""Scans as training data: groups of neighbouring patterns, with everything the physics needs beside them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from photic.apps.ptycho.grouping import bilinear_patches, group_indices
from photic.apps.ptycho.patterns import Patterns, pattern_energies, scaled_to
from photic.apps.ptycho.raw import RawNPZData, Scans
from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.core.schema import Range
from photic.core.seeding import numpy_generator
from photic.data.base import DataConfig, PreparedData

SCALE_LIMIT = 10.0
"""How far the energy of a probe may be from that of the patterns, either way, before somebody has to say what is meant."""


class GroupedScan:
    """Samples of a scan set: each is a group of C patterns.

    Args:
        patterns: amplitudes of all files, lazy.
        positions: ``(M, 2)`` [x, y] in pixels, each file's in its own frame.
        groups: rows ``(B, C)`` of each sample.
        scans: number of the probe that belongs to each row ``(M,)``.
        truths: object of each file, for supervised training; None takes the measurement as target.
        file_index: number of the file of each row ``(M,)``.
    """

    def __init__(
        self,
        *,
        patterns: Patterns,
        positions: NDArray[np.float64],
        groups: NDArray[np.int64],
        scans: NDArray[np.int64],
        truths: Sequence[NDArray[np.complex64]] | None,
        file_index: NDArray[np.int64],
    ) -> None:
        self.patterns, self.positions, self.groups = patterns, positions, groups
        self.scans, self.truths, self.file_index = scans, truths, file_index

    def __len__(self) -> int:
        return len(self.groups)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return group ``position``: amplitudes ``(C, N, N)``, target, offsets ``(C, 2)`` from the group's centre, rows, scan."""
        rows = self.groups[position]
        places = self.positions[rows]
        measured = torch.from_numpy(np.asarray(self.patterns[rows]))
        target = measured
        if self.truths is not None:
            truth = self.truths[int(self.file_index[rows[0]])]
            target = torch.from_numpy(bilinear_patches(truth, places, measured.shape[-1]))
        return {
            "measurement": measured,
            "target": target,
            "offsets": torch.from_numpy((places - places.mean(axis=0)).astype(np.float32)),
            "rows": torch.from_numpy(rows),
            "scan": int(self.scans[rows[0]]),
            "index": position,
        }


@dataclass(frozen=True, kw_only=True)
class GroupedScanConfig(DataConfig):
    """Base of the configs of ptychographic data sets: how patterns are grouped and split."""

    gridsize: Annotated[int, Range(ge=1, le=8)] = 1
    """Side of a group: gridsize squared neighbouring patterns go into the network together."""
    neighbor_count: Annotated[int, Range(ge=1)] = 4
    """Nearest patterns, the pattern itself left out, from which the others of a group are drawn; at least gridsize squared."""
    n_groups: Annotated[int | None, Range(ge=1)] = None
    """Training groups; null makes a group of every training pattern."""
    oversample: bool = False
    """Allow more groups than patterns: a pattern begins several groups, with other neighbours."""
    val_fraction: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the patterns kept for validation."""
    val_split: Literal["auto", "random", "block"] = "auto"
    """Which: at random, or a block at the end of the scan (largest y), which keeps neighbours together; auto is random at gridsize 1."""
    supervised: bool = False
    """Train against the known object (objectGuess) instead of the measurement."""
    probe_scale: Literal["as_given", "measured"] = "as_given"
    """Take the probe's energy as it is (its sum of squares is the counts of an empty field), or scale it to the mean counts of its scan."""
    probe_iterations: Annotated[int, Range(ge=0)] = 0
    """Iterations of the solver on the training patterns that improve the probe before training. To a network a wrong probe is something
    that every patch has in common; 10 to 30 iterations, a few seconds, spare it that. 0 takes the probe as given."""

    def read(self) -> tuple[Scans, Scans | None]:
        """Return the scans to train on, and those to test on if there are any."""
        raise NotImplementedError

    def prepare(self, seed: int) -> PreparedData:
        """Read the scans, split and group their patterns.

        Raises:
            DataError: files are missing, unreadable or contradict each other, or there are too few patterns.
        """
        training, testing = self.read()
        files = [*training.scans, *(testing.scans if testing is not None else ())]
        everything = Scans(tuple(files))
        held_out = np.arange(everything.num_patterns) >= training.num_patterns
        chosen = self._split(training, seed)
        rows = {"train": np.flatnonzero(~chosen), "val": np.flatnonzero(chosen), "test": np.flatnonzero(held_out)}
        positions, scan_index, file_index = everything.positions_px, everything.scan_index, everything.file_index
        of_patterns = [_energies(scan) for scan in files]
        energies = [float(values.mean()) for values in of_patterns]
        probes, probe_of_file = self._probes(files, energies)
        if self.probe_iterations:
            probes = self._refined(probes, probe_of_file, training, rows["train"], seed)
        shared: dict[str, Any] = {
            "patterns": everything.diffraction,
            "positions": positions,
            "scans": probe_of_file[file_index],
            "truths": _truths(files) if self.supervised else None,
            "file_index": file_index,
        }
        splits, names = {}, {}
        for phase, own in rows.items():
            if not len(own):
                continue
            groups = group_indices(
                positions[own],
                scan_index[own],
                gridsize=self.gridsize,
                neighbor_count=self.neighbor_count,
                n_groups=self.n_groups if phase == "train" else None,
                seed=seed,
                oversample=self.oversample,
            )
            splits[phase] = GroupedScan(groups=own[groups], **shared)
            names[phase] = _names(files, file_index, splits[phase].groups[:, 0])
        energy = float(np.concatenate(of_patterns)[rows["train"]].mean())
        size_px = everything.size_px
        extras = {
            "size_px": size_px,
            "num_patterns": self.gridsize**2,
            "probes": torch.from_numpy(probes),
            "mask": torch.from_numpy(_common_mask(files)),
            "normalisation": float(size_px / 2 / np.sqrt(energy)),
            "intensity_scale": 1.0,
            "num_positions": everything.num_patterns,
            "supervised": self.supervised,
            "refined_probe": self.probe_iterations > 0,
            "scaled_probe": self.probe_scale == "measured",
            "scans": [Path(scan.source).name if scan.source else self.registry_name for scan in files],
        }
        fingerprint = _fingerprint(files, energies)
        return PreparedData(splits=splits, names=names, extras=extras, fingerprint=fingerprint, notes=self._notes(files, energies))

    def _split(self, scans: Scans, seed: int) -> NDArray[np.bool_]:
        """Return which rows are for validation: a share of each scan of each file."""
        chosen = np.zeros(scans.num_patterns, bool)
        block = self._splits_blocks()
        heights, scan_index, file_index = scans.positions_px[:, 1], scans.scan_index, scans.file_index
        for number in range(int(scan_index.max()) + 1):
            own = np.flatnonzero(scan_index == number)
            count = len(own)
            wanted = max(self.gridsize**2, round(self.val_fraction * count))
            if count - wanted < self.gridsize**2:
                raise DataError(
                    f"{scans.scans[file_index[own[0]]].source}: {count} patterns are too few to keep {wanted} for validation and train "
                    f"groups of {self.gridsize**2}"
                )
            order = np.argsort(heights[own], kind="stable") if block else numpy_generator(seed, "ptycho.split", number).permutation(count)
            chosen[own[order[count - wanted :]]] = True
        return chosen

    def _splits_blocks(self) -> bool:
        return self.val_split == "block" or (self.val_split == "auto" and self.gridsize > 1)

    def _probes(self, files: Sequence[RawNPZData], energies: Sequence[float]) -> tuple[NDArray[np.complex64], NDArray[np.int64]]:
        """Return the distinct probes ``(S, P, N, N)`` and which of them each file has."""
        found: list[NDArray[np.complex64]] = []
        numbers = []
        for scan, energy in zip(files, energies, strict=True):
            probe = scaled_probe(scan, energy, self.probe_scale)
            known = [i for i, other in enumerate(found) if np.array_equal(other, probe)]
            if not known:
                if found and len(found[0]) != len(probe):
                    raise DataError(f"{scan.source}: its probe has {len(probe)} modes, that of {files[0].source} {len(found[0])}")
                found.append(probe)
            numbers.append(known[0] if known else len(found) - 1)
        return np.stack(found), np.array(numbers)

    def _refined(
        self, probes: NDArray[np.complex64], probe_of_file: NDArray[np.int64], training: Scans, rows: NDArray[np.int64], seed: int
    ) -> NDArray[np.complex64]:
        """Return the probes after iterations of the solver on the training rows of the scans that have them."""
        from photic.apps.ptycho.reconstruct import reconstruct
        from photic.apps.ptycho.solver_options import SolverConfig

        config = SolverConfig(iterations=self.probe_iterations, refine_probe=True, seed=seed)
        refined = probes.copy()
        starts = np.concatenate([[0], np.cumsum([scan.num_patterns for scan in training.scans])])
        for number, probe in enumerate(probes):
            files = [file for file in range(len(training.scans)) if probe_of_file[file] == number]
            if not files:
                continue  # a probe of test scans alone
            # The scan with most patterns: positions of different files need not share a frame.
            file = max(files, key=lambda i: training.scans[i].num_patterns)
            own = rows[(rows >= starts[file]) & (rows < starts[file + 1])] - starts[file]
            scan = dataclasses.replace(training.scans[file].take(own), probeGuess=probe)
            found = reconstruct(scan, config, device="cpu").probe
            assert found is not None
            # The solver gives a probe the energy of the patterns; what the data set was told about its energy holds on.
            refined[number] = found * np.linalg.norm(probe) / np.linalg.norm(found)
        return refined

    def _notes(self, files: Sequence[RawNPZData], energies: Sequence[float]) -> tuple[str, ...]:
        lines = [
            f"{Path(scan.source).name or 'scan'}: {scan.num_patterns} patterns of {scan.size_px} px, {energy:.4g} photons each"
            for scan, energy in zip(files, energies, strict=True)
        ]
        return (*lines, *(["validation patterns are a block at the end of each scan (largest y)"] if self._splits_blocks() else []))


def scaled_probe(scan: RawNPZData, energy: float, scale: str) -> NDArray[np.complex64]:
    """Return the probe's modes ``(P, N, N)`` on the scale of the measurement.

    Args:
        scan: whose probe.
        energy: mean counts of its patterns.
        scale: ``as_given``, or ``measured`` to make the probe's energy the mean counts.

    Raises:
        DataError: the energy as given is so far from the measurement that it must be meant otherwise.
    """
    probe = scan.probe_modes
    own = float((np.abs(probe.astype(np.complex128)) ** 2).sum())
    if scale == "measured":
        return scaled_to(probe, energy)
    if not 1 / SCALE_LIMIT <= own / energy <= SCALE_LIMIT:
        raise DataError(
            f"{scan.source}: the probe's energy is {own:.4g}, but a pattern has {energy:.4g} counts; as_given, an object that "
            f"lets everything through would give {own / energy:.3g} times the counts. Set data.probe_scale=measured to scale the probe"
        )
    return probe


def _energies(scan: RawNPZData) -> NDArray[np.float64]:
    """Return the counts of each pattern.

    Raises:
        DataError: there are none at all.
    """
    found = pattern_energies(scan.diffraction)
    if not found.any():
        raise DataError(f"{scan.source}: all patterns are zero; there is nothing to train on")
    return found


def _truths(files: Sequence[RawNPZData]) -> list[NDArray[np.complex64]]:
    missing = [scan.source for scan in files if scan.objectGuess is None]
    if missing:
        raise DataError(f"{', '.join(missing)}: no objectGuess, which supervised training compares with; set data.supervised=false")
    return [scan.objectGuess for scan in files if scan.objectGuess is not None]


def _common_mask(files: Sequence[RawNPZData]) -> NDArray[np.bool_]:
    """Return the pixels that are valid in every file."""
    mask = np.ones((files[0].size_px,) * 2, bool)
    for scan in files:
        if scan.mask is not None:
            mask &= scan.mask
    if not mask.any():
        raise DataError(f"{', '.join(scan.source for scan in files)}: together their masks leave no detector pixel")
    return mask


def _names(files: Sequence[RawNPZData], file_index: NDArray[np.int64], rows: NDArray[np.int64]) -> list[str]:
    starts = np.concatenate([[0], np.cumsum([scan.num_patterns for scan in files])])
    stems = [Path(scan.source).stem or "scan" for scan in files]
    stems = [f"{stem}[{number}]" if stems.count(stem) > 1 else stem for number, stem in enumerate(stems)]
    return [f"{stems[file_index[row]]}:{row - starts[file_index[row]]}" for row in rows.tolist()]


def _fingerprint(files: Sequence[RawNPZData], energies: Sequence[float]) -> str:
    digest = hashlib.sha256()
    for scan, energy in zip(files, energies, strict=True):
        digest.update(repr((scan.diffraction.shape, energy)).encode())
        parts = (scan.positions_px, scan.scan_index, scan.probe_modes, scan.mask, scan.objectGuess)
        for array in parts:
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@datasets.register("ptycho_scan")
@dataclass(frozen=True, kw_only=True)
class PtychoScanConfig(GroupedScanConfig):
    """Raw ptychographic scans: NPZ, or any format a reader knows (`photic data check ptycho FILE`)."""

    path: Path | tuple[Path, ...] = Path("scan.npz")
    """The file with the scan, or several files."""
    test_path: Path | tuple[Path, ...] | None = None
    """Scans to test on after training; null tests nothing."""
    domain: Literal["amplitude", "counts"] | None = None
    """What the patterns in the files are; null is what their format says (raw NPZ: amplitude)."""
    mask: Path | None = None
    """Picture or NPY file of the detector's valid pixels, non-zero where they count; on top of masks in the files."""

    def read(self) -> tuple[Scans, Scans | None]:
        """Open the files; patterns stay on disk until they are asked for.

        Raises:
            DataError: a file is missing, unreadable, or of another size than the first.
        """
        from photic.apps.ptycho.opening import open_scans

        training = open_scans(self.path, domain=self.domain, mask=self.mask)
        testing = None if self.test_path is None else open_scans(self.test_path, domain=self.domain, mask=self.mask)
        if testing is not None and testing.size_px != training.size_px:
            raise DataError(
                f"{testing.scans[0].source}: patterns of {testing.size_px} px, to train on {training.size_px}; crop them to one size"
            )
        return training, testing


@datasets.register("simulated_scan")
@dataclass(frozen=True, kw_only=True)
class SimulatedScanConfig(GroupedScanConfig):
    """A scan of a generated object, simulated when training starts: for tests and first steps."""

    size_px: Annotated[int, Range(ge=8, le=1024)] = 64
    """Side N of the patterns."""
    num_samples: Annotated[int, Range(ge=16)] = 256
    """Patterns."""
    photons: Annotated[float, Range(gt=0)] = 1e5
    """Mean photons per pattern."""
    object_kind: Literal["star", "cells", "lines"] = "cells"
    """What is drawn."""
    step_px: Annotated[float, Range(gt=0)] = 6.0
    """Distance of neighbouring positions."""
    probe_diameter_px: Annotated[float, Range(gt=0)] = 24.0
    """Diameter of the illumination."""
    scan_seed: Annotated[int, Range(ge=0)] = 0
    """Seed of object, positions and noise; apart from the seed of training, so that seeds can be compared on one scan."""
    test_share: Annotated[float, Range(ge=0, lt=1)] = 0.2
    """Share of the patterns (a block at the end) kept for the test; 0 tests nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_px % 2:
            raise ConfigError(f"SimulatedScanConfig.size_px: expected an even number, got {self.size_px}")

    def read(self) -> tuple[Scans, Scans | None]:
        """Simulate the scan."""
        from photic.apps.ptycho.simulate import generated_scan

        scan = generated_scan(
            size_px=self.size_px,
            num_positions=self.num_samples,
            photons=self.photons,
            object_kind=self.object_kind,
            step_px=self.step_px,
            probe_diameter_px=self.probe_diameter_px,
            seed=self.scan_seed,
        )
        order = np.argsort(scan.ycoords, kind="stable")
        tested = round(self.test_share * scan.num_patterns)
        if not tested:
            return Scans((scan,)), None
        return Scans((scan.take(order[:-tested]),)), Scans((scan.take(order[-tested:]),))
