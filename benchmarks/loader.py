"""Whether loading keeps up with training: pictures per second that the data loader delivers, over those that the model consumes.

Run: ``python benchmarks/loader.py [--rounds N] [--threads N]``. Exits with 1 if a ratio is under 3.

EfficientNet-Lite0, 200 x 200 pixels, batches of 16, flips: the ``neu_det`` recipe. The pictures are those of NEU-DET in ``../shared/data``
where that lies beside the repository, else JPEG files drawn for the occasion. Loading and training take turns, so that whatever else
the machine does meets both; the median ratio over all rounds counts. Training is a forward and backward pass and an optimizer step on
a batch that is there already. ``files`` decodes every picture every time, ``cached`` keeps decoded ones, as the recipe does; the loader's
processes are started and their caches filled before the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import photic
from photic.data.loader import ExactLoader
from photic.workflows.config import TrainConfig

TARGET = 3.0
REAL = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "defects" / "neu_det"
NUM_WORKERS = (0, 1, 2)


def draw_pictures(root: Path, per_class: int = 40) -> None:
    """Draw textured JPEG pictures of 200 x 200 pixels, a folder per class."""
    generator = np.random.default_rng(0)
    for name in ("crazing", "inclusion", "patches", "pitted", "rolled", "scratches"):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            coarse = Image.fromarray(generator.integers(60, 200, (50, 50), dtype=np.uint8)).resize((200, 200), Image.Resampling.BICUBIC)
            noisy = np.clip(np.asarray(coarse, dtype=float) + generator.normal(0, 8, (200, 200)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / name / f"{number:03d}.jpg", quality=90)


@contextlib.contextmanager
def configuration() -> Iterator[tuple[TrainConfig, str]]:
    """Give the recipe's configuration on real or drawn pictures, and say which."""
    common = {"data.group_near_duplicates": False}
    if REAL.is_dir():
        yield photic.recipe("neu_det", {**common, "data.root": str(REAL)}), "NEU-DET"
        return
    with tempfile.TemporaryDirectory() as folder:
        draw_pictures(Path(folder))
        yield photic.recipe("neu_det", {**common, "data.name": "class_folders", "data.root": folder}), "drawn JPEG files"


def consuming(config: TrainConfig) -> Iterator[None]:
    """Train on one batch again and again; every ``next`` is a step."""
    data = config.data.prepare(config.seed)
    task = config.task.build(config.model, config.loss, data).to(memory_format=torch.channels_last).train()
    optimizer = config.optimizer.build(task.parameter_groups(1e-3, 1e-4))
    batch = next(ExactLoader(data.splits["train"], batch_size=config.data.batch_size, seed=0))
    batch["measurement"] = batch["measurement"].contiguous(memory_format=torch.channels_last)
    while True:
        optimizer.zero_grad()
        task.step(batch, "train").loss.backward()
        optimizer.step()
        yield


def warm_loader(config: TrainConfig, num_workers: int, cached: bool) -> ExactLoader:
    """Return a loader whose processes run and whose caches are full."""
    data = config.replace(data=config.data.replace(cache=cached)).data.prepare(config.seed)
    loader = ExactLoader(data.splits["train"], batch_size=config.data.batch_size, seed=0, num_workers=num_workers)
    # Every process keeps pictures of its own, and which batch a process fetches changes with each epoch.
    for _ in range(loader.batches_per_epoch * (1 if num_workers <= 1 or not cached else 6)):
        next(loader)
    return loader


def per_second(steps: Iterator[object], num_steps: int, batch_size: int) -> float:
    started = time.perf_counter()
    for _ in range(num_steps):
        next(steps)
    return num_steps * batch_size / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns each takes")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; its own choice by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    missed = False
    with configuration() as (config, pictures):
        size = config.data.batch_size
        print(f"{pictures}, {torch.get_num_threads()} threads; medians of {options.rounds} rounds in turns\n")
        print("pictures per second            loaded  trained  ratio (middle half)")
        model = consuming(config)
        next(model)
        for cached in (True, False):
            for num_workers in NUM_WORKERS:
                loader = warm_loader(config, num_workers, cached)
                loaded, trained = [], []
                for _ in range(options.rounds):
                    # What the processes fetched ahead while the model had its turn was not delivered in the loader's: take it first.
                    for _ in range(2 * num_workers + 1):
                        next(loader)
                    loaded.append(per_second(loader, 20, size))
                    trained.append(per_second(model, 1, size))
                loader.close()
                low, middle, high = np.quantile(np.divide(loaded, trained), [0.25, 0.5, 0.75])
                name = f"{'cached' if cached else 'files'}, {num_workers} processes"
                spread = f"{middle:5.1f} ({low:.1f} to {high:.1f})"
                print(f"{name:<27}  {np.median(loaded):8.0f} {np.median(trained):8.1f}  {spread}", flush=True)
                missed |= bool(middle < TARGET)
    print(f"\ntarget: {TARGET:g} times what the model consumes: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
