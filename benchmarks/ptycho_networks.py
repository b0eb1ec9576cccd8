"""What a training step of each network for phase retrieval costs on one thread, and how many parameters it has.

python benchmarks/ptycho_networks.py [--sizes 64 128] [--steps 2] [--batch 16]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from photic.models import get_registry
from photic.models.spectral import num_weights

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("cnn", {"width_factor": 0.25}),
    ("cnn", {}),
    ("fno", {}),
    ("hybrid", {}),
    ("hybrid_resnet", {}),
]


def seconds_per_step(name: str, size_px: int, batch: int, steps: int, fields: dict[str, Any]) -> tuple[int, int, float]:
    """Return parameters (complex ones counted once), real numbers, and the CPU time of the quickest step after a first one."""
    torch.manual_seed(0)
    network = get_registry().get(name, num_patterns=1, size_px=size_px, **fields)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    amplitude, times = torch.rand(batch, 1, size_px, size_px), []
    for _ in range(steps + 1):
        start = time.process_time()
        optimizer.zero_grad()
        network(amplitude).abs().mean().backward()
        optimizer.step()
        times.append(time.process_time() - start)
    return num_weights(network), sum(parameter.numel() for parameter in network.parameters()), min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="sides in pixels")
    parser.add_argument("--steps", type=int, default=2, help="steps timed, after one that is not")
    parser.add_argument("--batch", type=int, default=16, help="patterns in a batch")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'network':<28}{'side':>6}{'parameters':>13}{'numbers':>13}{'CPU-s / step':>14}")
    for name, fields in NETWORKS:
        label = " ".join([name, *(f"{key}={value}" for key, value in fields.items())])
        for size_px in chosen.sizes:
            parameters, numbers, seconds = seconds_per_step(name, size_px, chosen.batch, chosen.steps, fields)
            print(f"{label:<28}{size_px:>6}{parameters:>13,}{numbers:>13,}{seconds:>14.2f}", flush=True)


if __name__ == "__main__":
    main()
