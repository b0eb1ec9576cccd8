"""From a trained network to an object: every position predicted, stitched on one canvas, judged by the forward model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.ptycho.grouping import group_indices
from photic.apps.ptycho.patterns import mean_energy, scaled_to
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.core.errors import ConfigError, DataError
from photic.functional.patches import Canvas, Stitcher, covering_canvas, extract_patches, merge_groups
from photic.inference.predictor import LoadedModel, load
from photic.physics.ptychography import amplitudes, exit_waves
from photic.tasks.ptychography import PtychographyTask

Advance = Callable[[int], None]
ProbeChoice = Literal["auto", "scan", "model"]


def predict_scan(
    task: PtychographyTask,
    scan: RawNPZData,
    *,
    probe: NDArray[np.complex64] | ProbeChoice = "auto",
    neighbor_count: int = 4,
    seed: int = 0,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    stitching: bool = True,
    patches: bool = False,
    measure: bool = True,
    method: str = "network",
    advance: Advance = lambda count: None,
) -> Reconstruction:
    """Predict the patch of every position with a trained network, and stitch them.

    Patches are averaged with the probe's intensity as weight: where the probe was dark nothing was seen. The canvas covers every patch.
    Patterns are read batch by batch and only the canvas is kept, so memory does not grow with the scan.

    Args:
        task: the trained network; it is moved to ``device`` and put into evaluation mode.
        scan: what was measured.
        probe: ``(P, N, N)``, or where to take it from, see :func:`probe_for`.
        neighbor_count: nearest patterns that the others of a group are drawn from, for gridsize 2 and more.
        seed: of that draw.
        batch_size: groups at a time.
        device: where the network runs.
        stitching: make the object; otherwise patches only.
        patches: also return the patch of every position (memory grows with the scan).
        method: what the network is called in results and pictures.
        measure: compute R_amp of the stitched object, which reads the patterns once more.
        advance: called with the number of patterns done.

    Raises:
        DataError: the patterns have another size than the network takes, or there are too few for a group.
    """
    started = time.perf_counter()
    task = task.to(device).eval()
    size_px, channels = task.network.size_px, task.network.num_patterns
    groups = _groups(task, scan, neighbor_count=neighbor_count, seed=seed)
    positions = scan.positions_px
    chosen = probe_for(task, scan, probe) if isinstance(probe, str) else probe
    # With the scale in the probe, object and probe of the result are all it takes to model the measurement, and to go on from there.
    modes = torch.from_numpy(chosen).to(device) * task.graph.intensity_scale.detach()
    weights = modes.abs().square().sum(dim=0)
    canvas = covering_canvas(torch.from_numpy(positions), size_px)
    stitcher = Stitcher(canvas, device=device) if stitching else None
    kept = np.empty((len(positions), size_px, size_px), np.complex64) if patches or not stitching else None
    for members, measured in _batches(scan, groups, batch_size, device):
        rows = members[:, 0]
        with torch.inference_mode():
            found = _seed_patches(task, measured, positions[members])
            if stitcher is not None:
                stitcher.add(found, torch.from_numpy(positions[rows]).to(device), weights)
        if kept is not None:
            kept[rows] = found.cpu().numpy()
        advance(len(rows))
    made = Reconstruction(
        object=None if stitcher is None else stitcher.object().cpu().numpy(),
        coverage=None if stitcher is None else stitcher.coverage.cpu().numpy(),
        origin_px=(0.0, 0.0) if stitcher is None else (float(canvas.origin_px[0]), float(canvas.origin_px[1])),
        positions_px=positions,
        probe=modes.cpu().numpy(),
        patches=kept,
        r_amp=None,
        pixel_size_m=scan.physics_parameters.get("pixel_size_m"),
        method=method,
        source=scan.source,
        metadata={"seconds": round(time.perf_counter() - started, 3), "patterns": len(positions), "gridsize": round(channels**0.5)},
    )
    if stitcher is None or not measure:
        return made
    return with_r_amp(made, scan, batch_size=batch_size, device=device)


def network_inputs(task: PtychographyTask, scan: RawNPZData, count: int) -> Tensor:
    """Return the amplitudes ``(B, C, N, N)`` of the first ``count`` groups of a scan, as the network is given them.

    Raises:
        DataError: the patterns have another size than the network takes, or there are too few for a group.
    """
    groups = _groups(task, scan, neighbor_count=4, seed=0)
    return next(_batches(scan, groups[:count], count, "cpu"))[1]


def load_network(path: Path | str, device: str = "auto") -> LoadedModel:
    """Load a bundle, a run or a checkpoint that must hold a network for ptychography.

    Raises:
        ConfigError: it holds another kind of network.
        CheckpointError: missing, damaged, altered, or of a newer format.
    """
    model = load(path, device)
    network_of(model)
    return model


def network_of(model: LoadedModel) -> PtychographyTask:
    """Return the task of a loaded model.

    Raises:
        ConfigError: it is of another kind.
    """
    if not isinstance(model.task, PtychographyTask):
        raise ConfigError(f"{model.source}: a model for {type(model.task).__name__}, not for ptychography")
    return model.task


def name_of(model: LoadedModel) -> str:
    """Return the registry name of a loaded model's network."""
    return str(model.config["model"]["name"])


def probe_for(task: PtychographyTask, scan: RawNPZData, choice: ProbeChoice = "auto") -> NDArray[np.complex64]:
    """Return the probe ``(P, N, N)`` to reconstruct a scan with.

    Args:
        task: the trained network.
        scan: what was measured.
        choice: ``scan`` for the one the scan comes with, ``model`` for that of training, ``auto`` for that of training where it was
            refined there (it is better, and the optics are taken to be the same), else the scan's. Where training scaled probes to
            the counts of their scans, the scan's is scaled likewise.

    Raises:
        ConfigError: the model knows several probes, so that one must be chosen.
    """
    probes = task.graph.probes
    wanted = "model" if choice == "auto" and task.refined_probe and len(probes) == 1 else choice
    if wanted != "model":
        return scaled_to(scan.probe_modes, mean_energy(scan.diffraction)) if task.scaled_probe else scan.probe_modes
    if len(probes) > 1:
        raise ConfigError(
            f"the model was trained with {len(probes)} probes, and it is not known which is meant; take the scan's (probe=scan)"
        )
    found: NDArray[np.complex64] = probes[0].detach().cpu().numpy()
    return found


def r_amp_of(
    reconstruction: Reconstruction,
    scan: RawNPZData,
    **options: Any,
) -> float:
    """Return R_amp = sum of ``|A_model - A|`` over sum of ``A``: what object and probe would have diffracted, against a scan.

    Takes the arguments of :func:`residuals`.
    """
    difference, total = residuals(reconstruction, scan, **options)
    return float(difference.sum() / max(float(total.sum()), 1e-30))


def residuals(
    reconstruction: Reconstruction,
    scan: RawNPZData,
    *,
    positions_px: NDArray[np.float64] | None = None,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    advance: Advance = lambda count: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what R_amp is made of for each pattern, ``(M,)`` each: summed differences of amplitudes, and summed measured amplitudes.

    Args:
        reconstruction: object, its origin, and the probe.
        scan: what was measured.
        positions_px: ``(M, 2)`` refined positions of the scan's patterns; None takes those the scan comes with.
        batch_size: patterns at a time.
        device: where it is computed.
        advance: called with the number of patterns done.

    Raises:
        DataError: a position of the scan lies outside the object.
    """
    if reconstruction.probe is None:
        raise DataError("the reconstruction holds no probe, without which there is no forward model; reconstruct again, or give a probe")
    object_ = torch.from_numpy(reconstruction.stitched()).to(device)
    probe = torch.from_numpy(reconstruction.probe).to(device)
    x0, y0 = reconstruction.origin_px
    canvas = Canvas((round(x0), round(y0)), (object_.shape[0], object_.shape[1]))
    valid = torch.ones(scan.size_px, scan.size_px, device=device) if scan.mask is None else torch.from_numpy(scan.mask).to(device).float()
    difference, total = np.zeros(scan.num_patterns), np.zeros(scan.num_patterns)
    everything = np.arange(scan.num_patterns)[:, None]
    positions = scan.positions_px if positions_px is None else positions_px
    for members, measured in _batches(scan, everything, batch_size, device):
        rows = members[:, 0]
        with torch.inference_mode():
            local = canvas.local(torch.from_numpy(positions[rows]).to(device))
            patches = extract_patches(object_, local, scan.size_px)[:, None]
            modelled = amplitudes(exit_waves(patches, probe[None, None]))
            difference[rows] = ((modelled - measured).abs() * valid).sum(dim=(1, 2, 3)).cpu().numpy()
            total[rows] = (measured * valid).sum(dim=(1, 2, 3)).cpu().numpy()
        advance(len(rows))
    return difference, total


def with_r_amp(reconstruction: Reconstruction, scan: RawNPZData, **options: Any) -> Reconstruction:
    """Return a reconstruction with :func:`r_amp_of` a scan filled in."""
    import dataclasses

    return dataclasses.replace(reconstruction, r_amp=r_amp_of(reconstruction, scan, **options))


def _groups(task: PtychographyTask, scan: RawNPZData, *, neighbor_count: int, seed: int) -> NDArray[np.int64]:
    """Return the rows ``(B, C)`` of the groups that a network is given of a scan, one for each pattern."""
    size_px, channels = task.network.size_px, task.network.num_patterns
    if scan.size_px != size_px:
        raise DataError(
            f"{scan.source}: patterns of {scan.size_px} x {scan.size_px} pixels, but the network was trained on {size_px} x {size_px}; "
            "crop or bin the scan, or train on scans of this size"
        )
    wanted = max(neighbor_count, channels)
    return group_indices(scan.positions_px, scan.scan_index, gridsize=round(channels**0.5), neighbor_count=wanted, seed=seed)


def _seed_patches(task: PtychographyTask, measured: Tensor, places: NDArray[np.float64]) -> Tensor:
    """Return the patch ``(B, N, N)`` of each group's first pattern.

    Training judges a group's patches only after they were made to agree where they overlap: one alone is hardly constrained.

    Args:
        task: the trained network.
        measured: amplitudes ``(B, C, N, N)``.
        places: positions ``(B, C, 2)``.
    """
    patches: Tensor = task.deployable()(measured)
    if patches.shape[1] > 1:
        offsets = torch.from_numpy(places - places.mean(axis=1, keepdims=True)).to(patches.device, patches.real.dtype)
        patches = merge_groups(patches, offsets, task.network.support())
    return patches[:, 0]


def _batches(
    scan: RawNPZData, groups: NDArray[np.int64], batch_size: int, device: torch.device | str
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield the rows of groups ``(B, C)``, and their amplitudes ``(B, C, N, N)``."""
    for start in range(0, len(groups), batch_size):
        chosen = groups[start : start + batch_size]
        yield chosen, torch.from_numpy(np.asarray(scan.diffraction[chosen])).to(device)
