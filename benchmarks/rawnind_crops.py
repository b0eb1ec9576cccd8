"""Training crops of prepared raw pairs: how fast they are read, against how fast a network takes them.

Run: ``python benchmarks/rawnind_crops.py [--root FOLDER] [--crop 128] [--batch 16] [--size small] [--seconds 5]``.

Without ``--root`` tiles of noise are written into a temporary folder: what is in them does not matter. Both are measured in the same run on
one thread each, as processor time, which other programs on the machine change little; a training step is forward and backward of
`standard` in single precision with the L1 loss. The ratio is of one loader process to one training thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from photic.apps.rawnind.pairs.index import Crop, PairEntry, PairIndex, write_index
from photic.apps.rawnind.pairs.pair_datasets import RawNindPairsConfig
from photic.apps.rawnind.pairs.tiles import write_tile
from photic.core.registry import models
from photic.data.base import SampleSet
from photic.models.raw_denoising import RawDenoiserConfig

TILE_PX, SCENES = 1024, 4


def lay(folder: Path) -> Path:
    """Write an index of four scenes that share one tile."""
    rng = np.random.default_rng(0)
    crop = Crop((0, 0), 1.0, "gt.npy", "gt_rgb.npy", "noisy.npy", "mask.npy")
    for path, shape in (
        (crop.gt_path, (4, TILE_PX, TILE_PX)),
        (crop.noisy_path, (4, TILE_PX, TILE_PX)),
        (crop.gt_rgb_path, (3, 2 * TILE_PX, 2 * TILE_PX)),
    ):
        write_tile(folder / path, rng.random(shape, dtype=np.float32))
    write_tile(folder / crop.mask_path, np.ones((TILE_PX, TILE_PX), bool))
    entries = tuple(
        PairEntry(
            name=f"{number}/n", image_set=str(number), gt_path="g", noisy_path="n", shift=(0, 0), loss=0.0, mask_path="m", mask_mean=1.0,
            is_bayer=True, rgb_xyz_matrix=None, overexposure=1.0, raw_gain=1.0, rgb_gain=1.0, size=(TILE_PX, TILE_PX), crops=(crop,),
        )
        for number in range(SCENES)
    )  # fmt: skip
    write_index(folder / "index.yaml", PairIndex(".", {}, entries, (), folder))
    return folder


def rate(step: Callable[[int], int], seconds: float) -> float:
    """Return how many pixels a step does per second of processor time."""
    step(0)
    pixels, number, start, wall = 0, 1, time.process_time(), time.perf_counter()
    while time.process_time() - start < seconds and time.perf_counter() - wall < 20 * seconds:
        pixels += step(number)
        number += 1
    return pixels / (time.process_time() - start)


def reading(train: SampleSet, crop_px: int) -> Callable[[int], int]:
    """Return a step that reads a crop."""

    def step(number: int) -> int:
        train.sample(number % len(train), number)
        return crop_px**2

    return step


def training(train: SampleSet, size: str, batch: int, crop_px: int) -> Callable[[int], int]:
    """Return a step that trains on a batch, always the same."""
    config = models.configure("standard", size=size)
    assert isinstance(config, RawDenoiserConfig)
    network = config.build().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    samples = [train.sample(number % len(train), number) for number in range(batch)]
    inputs = [torch.stack([sample[name] for sample in samples]) for name in ("measurement", "planes", "noise", "balance")]
    target = torch.stack([sample["target"] for sample in samples])

    def step(number: int) -> int:
        optimizer.zero_grad(set_to_none=True)
        (network(*inputs) - target).abs().mean().backward()
        optimizer.step()
        return batch * crop_px**2

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="prepared folder")
    parser.add_argument("--crop", type=int, default=128, help="side in sensor pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", default="small", help="of the network")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or lay(Path(folder))
        data = RawNindPairsConfig(root=root, crop_px=options.crop).prepare(0)
        read = rate(reading(data.splits["train"], options.crop), options.seconds)
        trained = rate(training(data.splits["train"], options.size, options.batch, options.crop), options.seconds)
    print(f"crops of {options.crop} x {options.crop} pixels, batches of {options.batch}")
    print(f"read     {read / 1e6:8.2f} MP per second of one process")
    print(f"trained  {trained / 1e6:8.2f} MP per second of one thread (standard {options.size})")
    print(f"ratio    {read / trained:8.1f}")


if __name__ == "__main__":
    main()
