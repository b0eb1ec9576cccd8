"""A bundle of an untrained, tiny network for every task, and files that each of them takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from photic.apps.ptycho.raw import save_raw_npz
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.picture import RawPicture
from photic.core.registry import losses, models
from photic.data.base import PreparedData
from photic.functional.cfa import RGGB
from photic.inference.bundle import write_bundle
from photic.inference.card import card
from photic.inference.description import describe
from photic.tasks.base import Task, TaskConfig
from photic.tasks.classification import MultilabelClassificationConfig
from photic.tasks.compression import CompressionConfig
from photic.tasks.enhancement import EnhancementConfig
from photic.tasks.ptychography import PtychographyConfig
from photic.tasks.raw_denoising import RawDenoisingConfig

N = 32
MATRIX = np.array([[0.73, -0.14, -0.05], [-0.85, 1.6, 0.26], [-0.24, 0.28, 0.81]])
NETWORKS: dict[str, tuple[TaskConfig, str, dict[str, Any], str, dict[str, Any]]] = {
    "multilabel_classification": (
        MultilabelClassificationConfig(),
        "tiny",
        {},
        "bce_with_logits",
        {"classes": ["pit", "scratch"], "thresholds": [0.4, 0.6]},
    ),
    "enhancement": (EnhancementConfig(metrics=("psnr",)), "glance", {"width": 8}, "l1", {}),
    "raw_denoising": (
        RawDenoisingConfig(metrics=("psnr",)),
        "standard",
        {"size": "tiny"},
        "l1",
        {"measurement": "mosaic", "iso": (100.0, 6400.0)},
    ),
    "compression": (
        CompressionConfig(metrics=("psnr",)),
        "hyperprior",
        {"width": 8, "num_latents": 6, "num_strides": 2, "hyper_widths": (6, 6), "num_qualities": 3},
        "rate_distortion",
        {"measurement": "mosaic", "iso": (100.0, 6400.0)},
    ),
    "ptychography": (PtychographyConfig(), "cnn", {"width_factor": 0.125}, "amplitude_mae", {}),
}
"""Of each task: its settings, a network's name and settings, a loss, and what training would have found out."""


def tiny_task(name: str) -> tuple[Task, dict[str, Any]]:
    """Return an untrained network of a task whose every layer does something, and its configuration."""
    settings, network, fields, loss, facts = NETWORKS[name]
    config = models.configure(network, **fields)
    torch.manual_seed(0)
    if name == "ptychography":
        facts = {
            "size_px": N,
            "num_patterns": 1,
            "probes": torch.from_numpy(scan().probe_modes)[None],
            "mask": torch.ones(N, N, dtype=torch.bool),
            "normalisation": 0.01,
            "intensity_scale": 1.0,
            "num_positions": 1,
            "supervised": False,
            "refined_probe": False,
            "scaled_probe": False,
            "scans": ["made.npz"],
        }
    given: Any = facts if name in ("multilabel_classification", "compression") else PreparedData(splits={}, names={}, extras=facts)
    task = settings.build(config, losses.configure(loss, **({"distortion": "mse"} if name == "compression" else {})), given).eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in task.parameters():
            if not parameter.any():
                parameter.add_(0.004 * torch.randn(parameter.shape, generator=generator))
    if name == "compression":
        task.network.bit_estimator.fix()  # type: ignore[union-attr]
    return task, {"task": settings.to_dict(), "model": config.to_dict(), "data": {"name": "made"}}


def tiny_bundle(name: str, folder: Path) -> Path:
    """Write the bundle of a tiny network for a task."""
    task, config = tiny_task(name)
    said = {"photic": "0", "created": "today", **describe(config, {}, f"tiny/{name}")}
    return write_bundle(folder / f"{name}.photic", task, {**said, "card": card(said | task.description(), task.usage)})


def scan(seed: int = 0) -> Any:
    """Return a drawn scan."""
    return generated_scan(size_px=N, num_positions=16, step_px=3.0, probe_diameter_px=12.0, photons=1e5, seed=seed)


def write_picture(path: Path, seed: int, size: tuple[int, int] = (48, 64)) -> Path:
    """Write a dark colour picture of 8 bits."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 90, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BILINEAR).save(path)
    return path


def write_raw(path: Path, seed: int, size: tuple[int, int] = (48, 64)) -> Path:
    """Write a raw file."""
    rng = np.random.default_rng(seed)
    smooth = np.kron(rng.random((size[0] // 8, size[1] // 8)), np.ones((8, 8)))
    values = (0.1 + 0.5 * smooth + rng.normal(0, 0.02, size)).astype(np.float32)
    picture = RawPicture(values, RGGB, MATRIX, np.array([2.0, 1.0, 1.5]), "Made Camera", 800.0, 0.01, noise=(1e-3, 1e-5))
    write_mosaic_dng(path, picture)
    return path


def write_scan(path: Path, seed: int) -> Path:
    """Write a scan."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_raw_npz(path, scan(seed))
    return path


WRITERS: dict[str, tuple[Callable[[Path, int], Path], str]] = {
    "multilabel_classification": (write_picture, ".png"),
    "enhancement": (write_picture, ".png"),
    "raw_denoising": (write_raw, ".dng"),
    "compression": (write_raw, ".dng"),
    "ptychography": (write_scan, ".npz"),
}
"""What writes a file that a task's models take, and its ending."""
