"""Milliseconds per megapixel of networks that enhance pictures, in one run on pictures of one size, as a Markdown table.

Run: ``python benchmarks/lowlight_speed.py [--size 1000x1500] [--threads 2] [--device cpu|cuda] [--precision fp32|bf16|fp16]
[--channels-last] [--rounds 7] [--networks glance ...]``.

Each network is called as a user's picture is enhanced: the overview and the decision made of it are part of the time, weights are random,
the picture is whole (no tiles). Networks take turns, so all of them see the same machine; the median of the rounds counts, smallest and
largest are printed beside it, and each ratio is the median of the ratios within a round. On a CPU the processor time stands in a
column of its own: where it is less than the threads' share of the wall time, the machine was busy with something else.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from photic.core.registry import models
from photic.models.cost import cost_of
from photic.workflows.recipes import load_recipe

NETWORKS: dict[str, str] = {  # what the table calls it: the recipe its sizes come from, or the registered network with its defaults
    "glance": "lowlight_compact",
    "zero_dce": "zero_dce",
    "unet_enhancer": "",
    "remdinet_small": "remdinet_small",
    "remdinet": "remdinet",
}
PEERS = ("zero_dce", "unet_enhancer")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def network_of(name: str) -> torch.nn.Module:
    """Return a network with the sizes of its recipe and random weights, in evaluation mode."""
    fields: dict[str, Any] = dict(load_recipe(NETWORKS[name])["model"]) if NETWORKS[name] else {"name": name}
    if "pretrained" in fields:
        fields["pretrained"] = False  # costs the same
    torch.manual_seed(0)
    config: Any = models.configure(fields.pop("name"), **fields)
    network: torch.nn.Module = config.build()
    return network.eval()


def timed(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return the wall and the processor seconds of a call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started, worked = time.perf_counter(), time.process_time()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, time.process_time() - worked


def size_of(text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as 1000x1500."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH in pixels, such as 1000x1500, got '{text}'")
    return int(height), int(width)


def measure(
    calls: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return wall and processor seconds of every round; the networks take turns, and a first round is not counted."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    work: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            seconds = timed(call, device)
            if number:
                wall[name].append(seconds[0])
                work[name].append(seconds[1])
    return wall, work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default=(1000, 1500), help="height x width in pixels (default: 1000x1500)")
    parser.add_argument("--threads", type=int, default=2, help="of a CPU (default: 2)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: cuda if there is one")
    parser.add_argument("--precision", choices=("fp32", *DTYPES), default="fp32", help="default: fp32; the others by autocast")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--rounds", type=int, default=7, help="counted, after one that is not (default: 7)")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), help="default: all")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True

    height, width = options.size
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    picture = (torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 0.2).to(device, memory_format=layout)
    networks = {name: network_of(name) for name in options.networks}
    costs = {name: cost_of(network, torch.zeros(1, 3, 256, 256)) for name, network in networks.items()}

    def precision() -> AbstractContextManager[Any]:
        return nullcontext() if options.precision == "fp32" else torch.autocast(device.type, dtype=DTYPES[options.precision])

    def call_of(network: torch.nn.Module) -> Callable[[], object]:
        def call() -> object:
            with torch.inference_mode(), precision():
                return network(picture)

        return call

    calls = {name: call_of(network.to(device, memory_format=layout)) for name, network in networks.items()}
    load_before = os.getloadavg()[0]
    wall, work = measure(calls, options.rounds, device)
    load_after = os.getloadavg()[0]

    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU, {options.threads} threads"
    order = ", channels last" if options.channels_last else ""
    print(f"{where}, PyTorch {torch.__version__}, {options.precision}{order}, {height} x {width} pixels, {options.rounds} rounds in turn")
    print(f"load average of the machine: {load_before:.1f} before, {load_after:.1f} after (of which this run is up to {options.threads})\n")
    peers = [name for name in PEERS if name in networks]
    on_cpu = device.type == "cpu"
    heads = ["network", "parameters", "GMAC at 256²", "ms / MP", "smallest to largest", *(["CPU-ms / MP"] if on_cpu else [])]
    heads += [f"x {name}" for name in peers]
    print("| " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * (len(heads) - 1))
    per_megapixel = 1000 / (height * width / 1e6)
    for name, times in wall.items():
        own = [per_megapixel * value for value in times]
        cells = [name, f"{costs[name].num_parameters:,}", f"{costs[name].gmacs:.2f}", f"{statistics.median(own):,.1f}"]
        cells.append(f"{min(own):,.1f} to {max(own):,.1f}")
        if on_cpu:
            cells.append(f"{per_megapixel * statistics.median(work[name]):,.1f}")
        for peer in peers:
            ratio = statistics.median(mine / other for mine, other in zip(times, wall[peer], strict=True))
            cells.append(f"{ratio:.2f}")
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
