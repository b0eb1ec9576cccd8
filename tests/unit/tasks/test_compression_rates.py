"""Trained for a larger lambda, from the same weights, a network takes more bits and makes better pictures."""

from __future__ import annotations

import pytest
import torch

from photic.core.registry import datasets, losses, models, tasks
from photic.data.loader import ExactLoader, evaluation_batches
from photic.engine.steps import build_optimizer, evaluate, optimize
from photic.optim.optimizers import AdamWConfig
from photic.optim.schedules import ConstantConfig

NETWORK = {
    "width": 8,
    "num_latents": 24,
    "num_strides": 3,
    "hyper_widths": (8, 8),
    "num_qualities": 2,
    "start": "wavelet",
    "companding": "root",
}
STEPS = 70


@pytest.fixture(scope="module")
def data():
    return datasets.configure("raw_generated", num_samples=12, size_px=64, crop_px=64, eval_crop_px=64, val_fraction=0.3).prepare(0)


def trained(data, lmbda, start=None):
    """Return a task after some steps with one lambda at all levels."""
    torch.manual_seed(0)
    loss = losses.configure("rate_distortion", lmbda=lmbda, distortion={"name": "mse"})
    task = tasks.configure("compression", metrics=("psnr",), hyper_lr_multiplier=5.0).build(
        models.configure("hyperprior", **NETWORK), loss, data
    )
    if start is not None:
        task.network.load_state_dict(start.network.state_dict())
    optimizer = build_optimizer(task.train(), AdamWConfig(lr=4e-3, weight_decay=0.0))
    loader = ExactLoader(data.splits["train"], batch_size=4, seed=0, num_workers=0)
    for step, batch in zip(range(STEPS), loader, strict=False):
        optimize(task, batch, optimizer, ConstantConfig().build(1, 1), step=step, clip_norm=1.0)
    loader.close()
    return task


def test_bits_rise_with_lambda_and_distortion_falls(data):
    base = trained(data, 128.0)
    found = []
    for lmbda in (4.0, 128.0, 4096.0):
        task = trained(data, lmbda, base)
        values = evaluate(task, evaluation_batches(data.splits["val"], 4, 0))
        found.append((values["bpp"], values["bpp_actual"], values["distortion"] / lmbda))
        assert values["bpp_actual"] == pytest.approx(values["bpp"], rel=0.02, abs=8 * 16 / 64**2)
    bpp, actual, distortion = zip(*found, strict=True)
    assert bpp[0] < 0.95 * bpp[1] < 0.95 * 0.98 * bpp[2], found
    assert list(actual) == sorted(actual), found
    assert list(distortion) == sorted(distortion, reverse=True), found
