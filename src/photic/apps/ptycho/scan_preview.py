"""Pictures of a raw scan: truth where the scan saw it, probe, positions, mean pattern."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from photic.apps.ptycho import figures
from photic.apps.ptycho.drawing import bare, framed, titled
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruction_files import refuse_existing
from photic.functional.patches import place_patches

PICTURES = ("amplitude", "phase", "probe", "positions", "mean_pattern")
"""Names of the pictures."""
_CHUNK = 256


def write_preview(scan: RawNPZData, folder: Path | str, *, force: bool = False) -> list[Path]:
    """Write pictures of a scan into a folder: probe, positions, mean pattern, and amplitude and phase of the truth if there is one.

    Args:
        scan: what to show.
        folder: made if it is not there.
        force: replace pictures that are there.

    Returns:
        The files written.

    Raises:
        ConfigError: a picture is there already and is not forced; nothing is written then.
        StorageError: a file cannot be written.
    """
    pixel_size_m = scan.physics_parameters.get("pixel_size_m")
    makers: dict[str, Callable[[], Figure]] = {
        "probe": lambda: figures.probe(scan.probe_modes, pixel_size_m=pixel_size_m),
        "positions": lambda: figures.positions(scan.positions_px, field_px=scan.size_px),
        "mean_pattern": lambda: pattern(mean_counts(scan), title=f"Mean of {scan.num_patterns} patterns"),
    }
    truth = scan.objectGuess
    if truth is not None:
        seen = scan_coverage(scan, truth.shape)
        makers["amplitude"] = lambda: figures.amplitude(truth, seen, pixel_size_m=pixel_size_m, title="Amplitude of the object")
        makers["phase"] = lambda: figures.phase(truth, seen, pixel_size_m=pixel_size_m, title="Phase of the object")
    paths = {name: Path(folder) / f"{name}.png" for name in PICTURES if name in makers}
    refuse_existing(paths.values(), force=force)
    return [figures.save(makers[name](), path, force=force) for name, path in paths.items()]


def pattern(counts: NDArray[np.floating], *, title: str = "Pattern") -> Figure:
    """Return a picture of counts ``(N, N)`` in logarithmic colours, three decades and more where there are; empty where there are none."""
    figure, axes = framed(counts.shape)
    bare(axes)
    top = float(counts.max()) or 1.0
    positive = counts[counts > 0]
    low = max(float(positive.min()), 1e-5 * top) if positive.size else 0.1 * top
    axes.set_facecolor("black")
    shown = axes.imshow(np.ma.masked_less_equal(counts, 0), cmap="inferno", norm=LogNorm(min(low, 0.1 * top), top), interpolation="nearest")
    titled(axes, title)
    bar = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02, aspect=28)
    bar.set_label("counts", fontsize=9)
    bar.ax.tick_params(labelsize=8, length=2)
    return figure


def mean_counts(scan: RawNPZData) -> NDArray[np.float64]:
    """Return the mean number of counts of every pixel ``(N, N)``, reading chunk by chunk."""
    total = np.zeros((scan.size_px, scan.size_px))
    for _, piece in scan.diffraction.chunks():
        total += np.einsum("nij,nij->ij", piece, piece, dtype=np.float64)
    return total / scan.num_patterns


def scan_coverage(scan: RawNPZData, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how much light fell on every pixel of an object of a shape ``(H, W)`` over the scan: summed ``|probe|**2``."""
    weight = torch.from_numpy((np.abs(scan.probe_modes.astype(np.complex128)) ** 2).sum(axis=0))
    total = torch.zeros(shape[0] + 1, shape[1] + 1, dtype=torch.float64)
    for start in range(0, scan.num_patterns, _CHUNK):
        places = torch.from_numpy(scan.positions_px[start : start + _CHUNK]).clamp_min(scan.size_px // 2)
        places = torch.minimum(places, torch.tensor([shape[1] - scan.size_px // 2, shape[0] - scan.size_px // 2]))
        total += place_patches(weight.expand(len(places), -1, -1), places, (shape[0] + 1, shape[1] + 1))
    seen: NDArray[np.float64] = total[:-1, :-1].numpy()
    return seen
