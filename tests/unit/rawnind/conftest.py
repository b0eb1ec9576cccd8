"""A run of a tiny denoiser, trained for a moment on drawn scenes. Tests do not train it again."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL = {
    "data.num_samples": 8,
    "data.size_px": 64,
    "data.crop_px": 48,
    "data.eval_crop_px": 64,
    "data.crops_per_picture": 1,
    "data.val_fraction": 0.25,
    "data.test_fraction": 0.25,
    "data.val_iso": [800, 12800],
    "training.num_epochs": 1,
}


@pytest.fixture(scope="session")
def raw_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run's folder."""
    from photic.workflows.recipes import recipe
    from photic.workflows.train import train

    return train(recipe("quick_raw", {**SMALL, "output_dir": str(tmp_path_factory.mktemp("runs"))}), quiet=True).run
