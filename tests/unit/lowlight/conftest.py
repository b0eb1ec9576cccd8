"""A small enhancer that brightens, in memory and as a run, and dark pictures for it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from photic.inference.predictor import LoadedModel
from photic.losses.reconstruction import L1Config
from photic.models.glance import GlanceConfig
from photic.tasks.enhancement import EnhancementConfig
from photic.workflows.config import TrainConfig

if os.name == "posix":
    torch.set_num_threads(1)


def dark_scene(height: int = 60, width: int = 80, seed: int = 0, level: float = 0.08) -> np.ndarray:
    """Return ``(H, W, 3)`` float32: soft blobs of several colours in the dark, with noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    picture = np.full((height, width, 3), 0.3 * level)
    for _ in range(12):
        y, x, size = generator.random(3)
        blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (0.03 + 0.1 * size) ** 2))
        picture += level * blob[..., None] * generator.random(3)
    return np.clip(picture + generator.normal(0, 0.004, picture.shape), 0, 1).astype(np.float32)


def loaded_enhancer(seed: int = 0) -> LoadedModel:
    """Return an untrained enhancer whose every layer does something."""
    torch.manual_seed(seed)
    task = EnhancementConfig().build(GlanceConfig(width=8), L1Config(), {})
    with torch.no_grad():
        for parameter in task.graph.parameters():
            if not parameter.any():
                parameter.add_(0.004 * torch.randn(parameter.shape))
    return LoadedModel(task.eval(), {}, {}, Path("in-memory"), torch.device("cpu"))


@pytest.fixture(scope="session")
def enhancer() -> LoadedModel:
    return loaded_enhancer()


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with low/ and high/, ten pairs of 48 x 56."""
    from photic.apps.lowlight.synthetic import draw_pair
    from photic.data.images import write_image

    folder = tmp_path_factory.mktemp("pairs")
    for number in range(10):
        low, high = draw_pair(0, number, 48, 56)
        write_image(folder / "low" / f"{number:02d}.png", low)
        write_image(folder / "high" / f"{number:02d}.png", high)
    return folder


@pytest.fixture(scope="session")
def trained_run(pairs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run: a tiny enhancer, trained for a moment. Tests do not train it again."""
    from photic.workflows.train import train

    config = TrainConfig.from_dict(
        {
            "output_dir": str(tmp_path_factory.mktemp("runs")),
            "task": {"name": "enhancement", "metrics": ["psnr", "ssim"]},
            "model": {"name": "glance", "width": 8},
            "loss": {"name": "l1"},
            "data": {"name": "lowlight_pairs", "root": str(pairs_folder), "crop_px": 32, "val_fraction": 0.3},
            "optimizer": {"name": "adamw", "lr": 2e-3},
            "training": {"num_epochs": 3, "monitor": "psnr", "monitor_mode": "max"},
            "trainer": {"accelerator": "cpu"},
        }
    )
    return train(config, quiet=True, page=False).run
