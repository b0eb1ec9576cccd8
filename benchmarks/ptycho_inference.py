"""Patterns per second from scan to stitched object: reading, network, stitching, all of it.

Run: ``python benchmarks/ptycho_inference.py [--device cpu|cuda] [--patterns N] [--batch-size B] [--half] [--compile]``.

Networks with random weights on a generated scan: what they predict costs the same. The published figure (PtychoPINN on one GPU, without
stitching) is 6,100 patterns per second at 64 x 64 and 2,600 at 128 x 128.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from photic.apps.ptycho.inference import predict_scan
from photic.apps.ptycho.raw import RawNPZData
from photic.core.registry import models
from photic.tasks.ptychography import PatchGraph, PtychographyConfig, PtychographyTask

CASES = (("cnn", {"probe_big": True, "width_factor": 0.25}), ("cnn", {"probe_big": True}), ("fno", {}), ("hybrid_resnet", {}))


def scan_of(size_px: int, count: int) -> RawNPZData:
    """Return a scan in memory; the values of its patterns do not matter here."""
    side = int(np.ceil(np.sqrt(count)))
    places = np.arange(count)
    generator = np.random.default_rng(0)
    patterns = generator.random((count, size_px, size_px), dtype=np.float32)
    probe = np.ones((size_px, size_px), np.complex64)
    return RawNPZData(size_px + 5.0 * (places % side) + 0.3, size_px + 5.0 * (places // side) + 0.6, patterns, probe)


def task_of(name: str, fields: dict[str, object], size_px: int) -> PtychographyTask:
    from photic.losses.diffraction import AmplitudeMAEConfig

    network = models.configure(name, size_px=size_px, num_patterns=1, **fields).build()
    probes = torch.ones(1, 1, size_px, size_px, dtype=torch.complex64)
    graph = PatchGraph(network, probes, 1.0, 1.0)
    mask = torch.ones(size_px, size_px, dtype=torch.bool)
    return PtychographyTask(graph, AmplitudeMAEConfig().build(), PtychographyConfig(), mask=mask, num_positions=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--patterns", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--half", action="store_true", help="bf16 autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    options = parser.parse_args()
    print(f"{options.device}, {torch.get_num_threads()} threads, {options.patterns} patterns, batches of {options.batch_size}\n")
    print(f"{'network':<34}{'N':>5}  patterns/s, stitching included")
    for size_px in (64, 128):
        scan = scan_of(size_px, options.patterns)
        for name, fields in CASES:
            task = task_of(name, dict(fields), size_px)
            if options.compile:
                task.graph.network = torch.compile(task.graph.network)
            rates = []
            for _ in range(3):  # the first one warms up
                started = time.perf_counter()
                with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.half):
                    predict_scan(task, scan, device=options.device, batch_size=options.batch_size, measure=False)
                rates.append(options.patterns / (time.perf_counter() - started))
            shown = ", ".join(f"{key}={value}" for key, value in fields.items())
            print(f"{f'{name}({shown})':<34}{size_px:>5}  {max(rates[1:]):10.0f}", flush=True)


if __name__ == "__main__":
    main()
