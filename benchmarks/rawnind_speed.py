"""Seconds per megapixel of networks that denoise raw pictures, in one run on one picture, as Markdown tables.

Run: ``python benchmarks/rawnind_speed.py [--size 960x1056] [--threads 2] [--device cpu|cuda] [--precisions fp32 bf16]
[--layout channels_last|contiguous] [--compile] [--rounds 7] [--networks standard_small utnet2 ...]``.

Weights are random, the picture is whole (no tiles); its sides are multiples of what every network pads to, unless told otherwise. A
megapixel is a million pixels of the sensor. All networks, in all precisions, take turns, so all of them see the same machine; the median
of the rounds counts, and each ratio to packed `utnet2`, in the same precision and layout, is the median of the ratios within a round.
On a CPU the processor time stands in a column of its own: where it is less than the threads' share of the wall time, the machine was busy
with something else. On a CUDA device megapixels per second are held against the arithmetic limit: the rate of a large matrix product in
the same precision, measured in the same run, over the network's multiplications.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from photic.core.registry import models
from photic.functional.cfa import RGGB, cfa_planes
from photic.models.cost import cost_of
from photic.models.raw_denoising import RawDenoiser

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {  # what the tables call it: registered network, and fields
    "utnet2": ("utnet2", {}),
    "utnet2_preupsampled": ("utnet2", {"preupsample": True}),
    "utnet2_rgb": ("utnet2", {"measurement": "rgb"}),
    "standard_tiny": ("standard", {"size": "tiny"}),
    "standard_small": ("standard", {"size": "small"}),
    "standard_base": ("standard", {"size": "base"}),
    "standard_large": ("standard", {"size": "large"}),
    "standard_small_rgb": ("standard", {"size": "small", "measurement": "rgb"}),
    "autoencoder": ("autoencoder", {}),
    "identity": ("identity", {}),
}
PEER = "utnet2"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COUNTED_PX = 192
LIMIT_SIDE = 8192


@dataclass
class Measured:
    """Seconds of every round of one network in one precision."""

    wall: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)


def network_of(name: str) -> RawDenoiser:
    """Return a network with random weights, in evaluation mode."""
    registered, fields = NETWORKS[name]
    torch.manual_seed(0)
    network: RawDenoiser = models.configure(registered, **fields).build()  # type: ignore[attr-defined]
    return network.eval()


def inputs_for(network: RawDenoiser, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a noisy picture with colour planes, noise and white balance."""
    mosaic = network.measurement == "mosaic"
    picture = torch.rand(1, 1 if mosaic else 3, height, width, generator=torch.Generator().manual_seed(0))
    planes = cfa_planes(RGGB, height, width)[None] if mosaic else torch.ones(1, 3, height, width)
    return picture, planes, torch.tensor([[1e-3, 1e-5]]), torch.tensor([[2.0, 1.0, 1.5]])


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
    """Return (height, width) of a text such as 960x1056."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH in pixels, such as 960x1056, got '{text}'")
    return int(height), int(width)


def precision(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context that a network runs in."""
    return nullcontext() if name == "fp32" else torch.autocast(device.type, dtype=DTYPES[name])


def calls_for(options: argparse.Namespace, device: torch.device) -> dict[tuple[str, str], Callable[[], object]]:
    """Return what is timed, by network and precision."""
    layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format

    def call_of(network: Callable[..., Tensor], given: tuple[Tensor, ...], kind: str) -> Callable[[], object]:
        def call() -> object:
            with torch.inference_mode(), precision(kind, device):
                return network(*given)

        return call

    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for name in options.networks:
        network = network_of(name).to(device).to(memory_format=layout)
        picture, *others = (tensor.to(device) for tensor in inputs_for(network, *options.size))
        given = (picture.contiguous(memory_format=layout), *others)
        ready: Callable[..., Tensor] = torch.compile(network) if options.compile else network
        for kind in options.precisions:
            calls[name, kind] = call_of(ready, given, kind)
    return calls


def limit_macs(kind: str, device: torch.device) -> float:
    """Return multiply-accumulate operations per second of the fastest of some large matrix products."""
    a, b = (torch.randn(LIMIT_SIDE, LIMIT_SIDE, device=device, dtype=DTYPES[kind]) for _ in range(2))
    seconds = [timed(lambda: a @ b, device)[0] for _ in range(12)]
    return LIMIT_SIDE**3 / min(seconds[2:])


def measure(calls: dict[tuple[str, str], Callable[[], object]], rounds: int, device: torch.device) -> dict[tuple[str, str], Measured]:
    """Return the seconds of every round; networks take turns, and two first rounds are not counted."""
    found = {key: Measured() for key in calls}
    for number in range(-2, rounds):
        for key, call in calls.items():
            wall, work = timed(call, device)
            if number >= 0:
                found[key].wall.append(wall)
                found[key].work.append(work)
    return found


def table(kind: str, found: dict[tuple[str, str], Measured], options: argparse.Namespace, device: torch.device) -> list[str]:
    """Return the lines of one precision's table."""
    on_gpu = device.type == "cuda"
    megapixels = options.size[0] * options.size[1] / 1e6
    limit = limit_macs(kind, device) if on_gpu else 0.0
    heads = ["network", "parameters", "GMAC / MP", "s / MP", "smallest to largest"]
    heads += ["MP / s", "limit, MP / s", "share of the limit"] if on_gpu else ["CPU-s / MP"]
    heads += [f"x {PEER}"] if PEER in options.networks else []
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for name in options.networks:
        own, network = found[name, kind], network_of(name)
        cost = cost_of(network, *inputs_for(network, COUNTED_PX, COUNTED_PX))
        gmacs = cost.gmacs * 1e6 / COUNTED_PX**2
        seconds = [value / megapixels for value in own.wall]
        middle = statistics.median(seconds)
        digits = 5 if on_gpu else 3
        cells = [name, f"{cost.num_parameters:,}", f"{gmacs:.2f}", f"{middle:.{digits}f}"]
        cells.append(f"{min(seconds):.{digits}f} to {max(seconds):.{digits}f}")
        if on_gpu:
            most = limit / (gmacs * 1e9)
            cells += [f"{1 / middle:,.1f}", f"{most:,.0f}", f"{1 / middle / most:.1%}"]
        else:
            cells.append(f"{statistics.median(own.work) / megapixels:.3f}")
        if PEER in options.networks:
            cells.append(f"{statistics.median(mine / other for mine, other in zip(own.wall, found[PEER, kind].wall, strict=True)):.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    if on_gpu:
        lines += ["", f"matrix product of {LIMIT_SIDE}²: {limit * 2e-12:.0f} TFLOP/s"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default=(960, 1056), help="height x width in sensor pixels (default: 960x1056)")
    parser.add_argument("--threads", type=int, default=2, help="of a CPU (default: 2)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: cuda if there is one")
    parser.add_argument("--precisions", nargs="+", choices=tuple(DTYPES), default=["fp32", "bf16"], help="all but fp32 by autocast")
    parser.add_argument("--layout", choices=("channels_last", "contiguous"), default="channels_last", help="default: channels_last")
    parser.add_argument("--compile", action="store_true", help="by torch.compile; the first rounds, which are not counted, compile")
    parser.add_argument("--rounds", type=int, default=7, help="counted, after two that are not (default: 7)")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), help="default: all")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32, as convolutions use

    calls = calls_for(options, device)
    load_before = os.getloadavg()[0]
    found = measure(calls, options.rounds, device)
    load_after = os.getloadavg()[0]

    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU, {options.threads} threads"
    how = f"{options.layout}{', compiled' if options.compile else ''}"
    print(f"{where}, PyTorch {torch.__version__}, {how}, {options.size[0]} x {options.size[1]} pixels, {options.rounds} rounds in turn")
    print(f"load average of the machine: {load_before:.1f} before, {load_after:.1f} after (of which this run is up to {options.threads})")
    for kind in options.precisions:
        print("\n".join(["", f"**{kind}**", "", *table(kind, found, options, device)]))


if __name__ == "__main__":
    main()
