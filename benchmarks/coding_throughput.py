"""Million symbols per second of entropy coding on one core, each way, from float32 latents to bytes and back.

Run: ``python benchmarks/coding_throughput.py [--tiles 16] [--rounds 5] [--level 0] [--compressai PYTHON]``.

A picture is drawn latents in tiles of 32 x 32 positions; each tile becomes a stream of its own. Encoding is quantisation (latents less
integer means in steps of 1/1024, rounded), sorting by table, escapes, coding, and packing to bytes; decoding is all of that back to float32
latents, which must be the quantised ones to the bit. Three entropy models:

- gaussian: 192 channels, a mean and one of 64 scales for each latent, as of a mean-scale hyperprior;
- channels: 192 channels with a table each, as of a factorized prior or of hyper-latents;
- priors: 320 channels, 64 tables each, one choice for each position, as of ``many_priors``.

``--level`` moves the scales of ``gaussian``: how busy the picture is (-10: most latents nearly certain; 30: 3 bits each).
``--compressai`` runs CompressAI's coder in the interpreter PYTHON, of an environment of its own, on the same latents of the first two:
``GaussianConditional`` with the same scales, and ``EntropyBottleneck`` with the same probabilities, one stream for the picture. All take
turns, so all of them see the same machine; the median of the rounds counts, a ratio is the median of the ratios within a round. Processor
time stands beside wall time: where its rate is higher, the machine was busy with something else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy: one core, for the peer too

import numpy as np

SIDE = 32
UNIT = np.float32(2.0**-10)
NUM_SCALES = 64

PEER_PROGRAM = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
import torch
import compressai
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
torch.set_num_threads(1)
given = np.load(sys.argv[1])
latents, means = torch.from_numpy(given["latents"])[None], torch.from_numpy(given["means"])[None]
if sys.argv[2] == "gaussian":
    model = GaussianConditional(given["scales"].tolist())
    model.update()
    indexes = torch.from_numpy(given["table_of"].astype(np.int32))[None]
    encode = lambda: model.compress(latents, indexes, means)
    decode = lambda strings: model.decompress(strings, indexes, means=means)
else:
    model = EntropyBottleneck(latents.shape[1])
    pmf, lengths = torch.from_numpy(given["pmf"]).float(), torch.from_numpy(given["lengths"])
    tail = torch.from_numpy(given["tail"]).float()[:, None]
    model._quantized_cdf = model._pmf_to_cdf(pmf, tail, lengths, pmf.shape[1])
    model._offset, model._cdf_length = torch.from_numpy(given["lowest"]).int(), lengths.int() + 2
    encode = lambda: model.compress(latents)
    decode = lambda strings: model.decompress(strings, latents.shape[2:])
print(json.dumps(compressai.__version__), flush=True)
for _ in sys.stdin:
    start = time.perf_counter(), time.process_time()
    strings = encode()
    middle = time.perf_counter(), time.process_time()
    got = decode(strings)
    end = time.perf_counter(), time.process_time()
    exact = bool((got - (torch.round(latents - means) + means)).abs().max() < 1e-4)
    spent = [middle[0] - start[0], middle[1] - start[1], end[0] - middle[0], end[1] - middle[1]]
    print(json.dumps([*spent, sum(map(len, strings)), exact]), flush=True)
"""


@dataclass
class Case:
    """A picture's latents, and how its tiles are coded."""

    name: str
    latents: np.ndarray
    """(C, tiles, SIDE * SIDE) float32"""
    means: np.ndarray
    """the same shape, int32 in steps of UNIT"""
    table_of: np.ndarray
    """the same shape"""
    tables: Any
    encode: Callable[[np.ndarray, int], bytes]
    decode: Callable[[bytes, int], np.ndarray]
    peer: dict[str, np.ndarray] | None = None
    times: dict[str, list[float]] = field(default_factory=dict)
    peer_times: dict[str, list[float]] = field(default_factory=dict)


KEYS = ("encode wall", "encode processor", "decode wall", "decode processor")


def gaussian_probabilities(scale: float, reach: float) -> tuple[np.ndarray, int]:
    """Return probabilities of integers under a Gaussian, the last of all beyond, and the lowest integer."""
    from scipy.special import ndtr

    half = max(1, int(np.ceil(reach * scale)))
    values = np.arange(-half, half + 1)
    inside = ndtr((0.5 - np.abs(values)) / scale) - ndtr((-0.5 - np.abs(values)) / scale)
    return np.append(inside, max(0.0, 1.0 - inside.sum())), -half


def tables_of(scales: np.ndarray, reach: float = 5.0) -> Any:
    from photic.functional.coding_tables import CodingTables

    made = [gaussian_probabilities(scale, reach) for scale in scales.ravel().tolist()]
    return CodingTables.from_probabilities([one for one, _ in made], [low for _, low in made])


def blobs(rng: np.random.Generator, tiles: int, size: int = 8) -> np.ndarray:
    """Return smooth noise (tiles, SIDE, SIDE) of deviation about 1, as contents of a picture vary."""
    coarse = rng.normal(size=(tiles, SIDE // size + 1, SIDE // size + 1))
    place = np.arange(SIDE) / size
    first, share = place.astype(int), place % 1
    rows = coarse[:, first] * (1 - share)[:, None] + coarse[:, first + 1] * share[:, None]
    return rows[:, :, first] * (1 - share) + rows[:, :, first + 1] * share


def gaussian_case(rng: np.random.Generator, tiles: int, level: float) -> Case:
    from photic.functional.entropy_coding import decode_symbols, encode_symbols

    shape = (192, tiles, SIDE * SIDE)
    scales = np.exp(np.linspace(np.log(0.11), np.log(64.0), NUM_SCALES))
    index = level + 14 * rng.normal(size=(192, 1, 1)) + 8 * blobs(rng, tiles).reshape(1, tiles, -1) + 3 * rng.normal(size=shape)
    table_of = np.clip(np.rint(index), 0, NUM_SCALES - 1).astype(np.uint8)
    means = np.rint(rng.normal(0, 300 * scales[table_of] ** 0.5)).astype(np.int32)
    latents = (rng.normal(0, scales[table_of]) + means * UNIT).astype(np.float32)
    tables = tables_of(scales)
    return Case(
        "gaussian",
        latents,
        means,
        table_of,
        tables,
        lambda symbols, tile: encode_symbols(symbols.ravel(), table_of[:, tile].ravel(), tables),
        lambda data, tile: decode_symbols(data, table_of[:, tile].ravel(), tables).reshape(192, -1),
        {"scales": scales},
    )


def channels_case(rng: np.random.Generator, tiles: int) -> Case:
    from photic.functional.entropy_coding import decode_channels, encode_channels

    shape = (192, tiles, SIDE * SIDE)
    scales = np.exp(rng.normal(-0.8, 1.0, 192))
    latents = rng.normal(0, scales[:, None, None], shape).astype(np.float32)
    tables = tables_of(scales)
    rows = [tables.frequencies[start : start + size] / 2.0**24 for start, size in zip(tables.starts, tables.sizes, strict=True)]
    pmf = np.zeros((192, int(tables.sizes.max()) - 1))
    for row, probabilities in zip(pmf, rows, strict=True):
        row[: len(probabilities) - 1] = probabilities[:-1]
    peer = {"pmf": pmf, "lengths": tables.sizes.astype(np.int64) - 1, "tail": np.array([row[-1] for row in rows]), "lowest": tables.lowest}
    return Case(
        "channels",
        latents,
        np.zeros(shape, np.int32),
        np.broadcast_to(np.arange(192)[:, None, None], shape),
        tables,
        lambda symbols, tile: encode_channels(symbols, tables),
        lambda data, tile: decode_channels(data, (192, SIDE * SIDE), tables),
        peer,
    )


def priors_case(rng: np.random.Generator, tiles: int) -> Case:
    from photic.functional.entropy_coding import decode_channels, encode_channels

    shape = (320, tiles, SIDE * SIDE)
    busy = np.linspace(-2.5, 1.0, 64)
    scales = np.exp(busy + rng.normal(0, 0.8, (320, 64)))
    choice = np.clip(np.rint(24 + 14 * blobs(rng, tiles) + 4 * rng.normal(size=(tiles, SIDE, SIDE))), 0, 63)
    choice = choice.reshape(tiles, -1).astype(np.uint8)
    latents = rng.normal(0, scales[:, choice]).astype(np.float32)
    tables = tables_of(np.maximum(scales, 0.11))
    return Case(
        "priors",
        latents,
        np.zeros(shape, np.int32),
        np.arange(320)[:, None, None] * 64 + choice,
        tables,
        lambda symbols, tile: encode_channels(symbols, tables, choice[tile]),
        lambda data, tile: decode_channels(data, (320, SIDE * SIDE), tables, choice[tile]),
    )


def quantised(latents: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.rint(latents - means * UNIT).astype(np.int32)


def run(case: Case) -> list[bytes]:
    """Encode and decode all tiles once and note the times; the tiles' arrays are made before, as a network makes them."""
    tiles = range(case.latents.shape[1])
    latents = [np.ascontiguousarray(case.latents[:, tile]) for tile in tiles]
    means = [np.ascontiguousarray(case.means[:, tile]) for tile in tiles]
    start = time.perf_counter(), time.process_time()
    streams = [case.encode(quantised(latents[tile], means[tile]), tile) for tile in tiles]
    middle = time.perf_counter(), time.process_time()
    decoded = [case.decode(streams[tile], tile).astype(np.float32) + means[tile] * UNIT for tile in tiles]
    end = time.perf_counter(), time.process_time()
    note(case.times, [middle[0] - start[0], middle[1] - start[1], end[0] - middle[0], end[1] - middle[1]])
    for tile in tiles:
        expected = quantised(latents[tile], means[tile]).astype(np.float32) + means[tile] * UNIT
        if not np.array_equal(decoded[tile], expected):
            sys.exit(f"{case.name}: tile {tile} does not come back")
    return streams


def note(times: dict[str, list[float]], values: list[float]) -> None:
    for key, value in zip(KEYS, values, strict=True):
        times.setdefault(key, []).append(value)


class Peer:
    """CompressAI's coder in an interpreter of its own, one round at a time."""

    def __init__(self, python: str, case: Case, folder: Path) -> None:
        path = folder / f"{case.name}.npz"
        shape = (len(case.latents), -1, SIDE)
        arrays = {"latents": case.latents, "means": case.means.astype(np.float32) * UNIT, "table_of": case.table_of}
        np.savez(path, **{name: value.reshape(shape) for name, value in arrays.items()}, **(case.peer or {}))
        self.process = subprocess.Popen(
            [python, "-c", PEER_PROGRAM, str(path), case.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("CompressAI's process ended; what it said stands above")
        return json.loads(line)

    def run(self, case: Case) -> int:
        """Run one round; return the number of bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        *values, size, exact = self._answer()
        if not exact:
            sys.exit(f"{case.name}: CompressAI's latents do not come back")
        note(case.peer_times, values)
        return int(size)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiles", type=int, default=16, help="tiles of the picture (16)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median counts (5)")
    parser.add_argument("--level", type=float, default=0.0, help="how busy the picture is in `gaussian` (0)")
    parser.add_argument("--compressai", metavar="PYTHON", help="interpreter that has CompressAI")
    options = parser.parse_args()
    from photic.functional.entropy_coding import code_length_bits

    rng = np.random.default_rng(0)
    tiles = options.tiles
    rows, peer_rows, version = [], [], ""
    for case in (gaussian_case(rng, tiles, options.level), channels_case(rng, tiles), priors_case(rng, tiles)):
        with tempfile.TemporaryDirectory() as folder:
            peer = Peer(options.compressai, case, Path(folder)) if options.compressai and case.peer else None
            peer_size = 0
            for _ in range(options.rounds + 1):
                streams = run(case)
                peer_size = peer.run(case) if peer else 0
            if peer:
                version = peer.version
                peer.close()
        for times in (case.times, case.peer_times):  # the first round warms up
            for values in times.values():
                del values[0]
        num = case.latents.size
        size = sum(map(len, streams))
        ideal = sum(
            code_length_bits(quantised(case.latents[:, tile], case.means[:, tile]), case.table_of[:, tile], case.tables) / 8
            for tile in range(tiles)
        )
        speeds = " | ".join(f"{num / 1e6 / statistics.median(case.times[key]):.1f}" for key in KEYS)
        rows.append(
            f"| {case.name} | {num / 1e6:.2f} | {8 * size / num:.3f} | {speeds} | {size:,} | {ideal:,.0f} | {(size - ideal) / tiles:.1f} |"
        )
        if peer:
            speeds = " | ".join(f"{num / 1e6 / statistics.median(case.peer_times[key]):.1f}" for key in KEYS)
            ratios = " | ".join(
                f"{statistics.median(theirs / ours for theirs, ours in zip(case.peer_times[key], case.times[key], strict=True)):.2f}"
                for key in ("encode wall", "decode wall")
            )
            peer_rows.append(f"| {case.name} | {speeds} | {peer_size:,} | {ratios} |")
    print(f"Million symbols per second, one core, median of {options.rounds} rounds, {tiles} tiles of {SIDE} x {SIDE} positions.\n")
    print("| tables | million symbols | bits each | encode | (processor) | decode | (processor) | bytes | ideal | over it, each stream |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    if peer_rows:
        print(f"\nCompressAI {version} on the same latents, in turns; ratio: how many times as fast Photic is.\n")
        print("| tables | encode | (processor) | decode | (processor) | bytes | encode ratio | decode ratio |")
        print("|---|---|---|---|---|---|---|---|")
        print("\n".join(peer_rows))


if __name__ == "__main__":
    main()
