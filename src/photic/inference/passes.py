"""One pass over a split, with predictions as deployed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from photic.data.base import SampleSet
from photic.data.loader import evaluation_batches
from photic.tasks.base import Task


@dataclass(frozen=True)
class PassResult:
    """What a pass over a split gives."""

    loss: float
    """Mean loss per sample."""
    prediction: np.ndarray
    """Deployed predictions, or what their task keeps of them, in the order of the split."""
    target: np.ndarray
    """What they are compared with."""


@torch.inference_mode()
def run_pass(
    task: Task,
    samples: SampleSet,
    *,
    batch_size: int,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    on_batch: Callable[[int], None] | None = None,
) -> PassResult:
    """Predict a whole split as deployed, in order.

    Args:
        task: with the weights to use.
        samples: the split.
        batch_size: samples per batch.
        num_workers: loader processes.
        device: where the task runs.
        on_batch: called with the number of samples done after each batch.
    """
    task = task.to(device).eval()
    total, done = 0.0, 0
    predictions, targets = [], []
    for batch in evaluation_batches(samples, batch_size, num_workers):
        moved = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
        result = task.step(moved, "test")  # its prediction is the deployable graph's: a contract test holds it to that
        total += float(result.loss) * len(result.target)
        prediction, target = result.kept()
        predictions.append(prediction.float().cpu().numpy())
        targets.append(target.cpu().numpy())
        done += len(result.target)
        if on_batch is not None:
            on_batch(done)
    return PassResult(total / max(1, done), np.concatenate(predictions), np.concatenate(targets))
