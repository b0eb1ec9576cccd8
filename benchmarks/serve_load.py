"""Load on `photic serve`: a real client over real sockets, good and bad requests mixed, every answer held against the bare predictor's.

    python benchmarks/serve_load.py                    # 10 minutes of mixed load after short runs of good requests alone
    python benchmarks/serve_load.py --minutes 0.5 --model model.photic --pictures 'strips/*.png'

First the bare model answers every picture in this process, one by one and in batches: what is right, and what is possible. Then a
server is started, and this process is its client: pictures alone on one connection and on several, then the mixture. Wrong is an
answer with another status or code than expected, a probability that is off by more than 2e-6, a decision that differs (but for
probabilities that near to their threshold), or a picture of other bytes. The exit status says whether there was one.

Rates depend on what else the machine does and on the client, which takes its share of it; processor time per picture, of the bare
model and of the server's process, does so less.
"""

from __future__ import annotations

import argparse
import asyncio
import glob
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import photic
from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.inference.file_model import BatchFileModel, FileModel, open_file_model

TOLERANCE = 2e-6
CPU, MEMORY = "process_cpu_seconds_total", "process_resident_memory_bytes"
BOUNDARY = b"a-boundary-of-the-benchmark"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Request:
    """A request and what must come of it."""

    name: str
    content: bytes
    check: Callable[[Reply], str | None]
    """Says what is wrong with an answer, None if nothing is."""


@dataclass
class Tally:
    """What happened."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def note(self, request: Request, reply: Reply, milliseconds: float) -> None:
        self.statuses[reply.status] += 1
        self.milliseconds.setdefault(request.name, []).append(milliseconds)
        problem = request.check(reply)
        if problem is not None:
            self.wrong.append(f"{request.name}: {problem}")


# --- what is asked -------------------------------------------------------------------------------


def form(name: str, content: bytes, fields: dict[str, str] | None = None) -> bytes:
    parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in (fields or {}).items()]
    parts.append(f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content)
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + BOUNDARY + b"--\r\n"


def post(model: str, body: bytes, *, length: int | None = None) -> bytes:
    head = (
        f"POST /v1/models/{model}/predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def refused(status: int, code: str) -> Callable[[Reply], str | None]:
    def check(reply: Reply) -> str | None:
        found = json.loads(reply.body)["error"]["code"] if reply.status >= 400 else ""
        return None if (reply.status, found) == (status, code) else f"expected {status} {code}, got {reply.status} {reply.body[:200]!r}"

    return check


def answered(expected: dict[str, Any]) -> Callable[[Reply], str | None]:
    right = np.array(list(expected["probabilities"].values()))
    near = np.abs(right - np.array(list(expected["thresholds"].values()))) <= TOLERANCE

    def check(reply: Reply) -> str | None:
        if reply.status != 200:
            return f"expected 200, got {reply.status} {reply.body[:200]!r}"
        found = json.loads(reply.body)["values"]
        off = np.abs(np.array(list(found["probabilities"].values())) - right).max()
        same = np.array(list(found["decisions"].values())) == np.array(list(expected["decisions"].values()))
        if list(found["probabilities"]) != list(expected["probabilities"]) or off > TOLERANCE or not (same | near).all():
            return f"probabilities off by {off:.2e}, decisions {found['decisions']}"
        return None if (found["height"], found["width"]) == (expected["height"], expected["width"]) else "another size"

    return check


def same_bytes(expected: bytes) -> Callable[[Reply], str | None]:
    def check(reply: Reply) -> str | None:
        return (
            None if (reply.status, reply.body) == (200, expected) else f"{reply.status}, {len(reply.body)} bytes, not the picture expected"
        )

    return check


def bad_requests(good: bytes) -> list[Request]:
    """Return one of each kind of mistake."""
    return [
        Request("wrong kind of file", post("classifier", form("scan.npz", b"PK")), refused(415, "wrong_kind_of_file")),
        Request("no picture", post("classifier", form("a.png", b"no picture")), refused(422, "unusable_file")),
        Request("cut off picture", post("classifier", form("a.png", good[: len(good) // 2])), refused(422, "unusable_file")),
        Request("unknown field", post("classifier", form("a.png", good, {"map": "true"})), refused(422, "bad_field")),
        Request("bad value", post("lowlight", form("a.png", good, {"strength": "9"})), refused(422, "bad_field")),
        Request("unknown model", post("clasifier", form("a.png", good)), refused(404, "unknown_model")),
        Request(
            "path trick", b"GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n", refused(404, "unknown_address")
        ),
        Request("wrong method", b"GET /v1/models/classifier/predict HTTP/1.1\r\nHost: localhost\r\n\r\n", refused(405, "wrong_method")),
        Request("malformed form", post("classifier", b"no form"), refused(400, "malformed_form")),
        Request("cut off form", post("classifier", form("a.png", good)[:-30]), refused(400, "malformed_form")),
        Request("huge upload", post("classifier", b"x" * 100_000, length=10**12), refused(413, "too_large")),
        Request("foreign host", b"GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", refused(403, "foreign_host")),
        Request("no HTTP", b"\x16\x03\x01 hello\r\n\r\n", refused(400, "bad_request")),
    ]


# --- the client ----------------------------------------------------------------------------------


class Connection:
    """One client, which keeps its connection where the server does."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes) -> Reply:
        for attempt in (0, 1):
            fresh = self.streams is None
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.host, self.port, limit=1 << 22)
            reader, writer = self.streams
            try:
                writer.write(content)
                reply = await self._reply(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if fresh or attempt:  # only a connection that was kept may have been closed meanwhile
                    raise
                continue
            if reply.headers.get("connection") == "close":
                self.close()
            return reply
        raise AssertionError("unreachable")

    async def vanish(self, content: bytes) -> None:
        """Send half of a request and go away."""
        self.close()
        _, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(content[: len(content) // 2])
        await writer.drain()
        writer.transport.abort()

    async def _reply(self, reader: asyncio.StreamReader) -> Reply:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return Reply(int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def load(host: str, port: int, num_connections: int, seconds: float, choose: Callable[[random.Random], Request | bytes]) -> Tally:
    """Keep a number of connections busy for a time; ``choose`` gives the next request, or bytes to begin and abandon."""
    tally, until = Tally(), time.monotonic() + seconds

    async def client(number: int) -> None:
        rng, connection = random.Random(number), Connection(host, port)
        while time.monotonic() < until:
            chosen = choose(rng)
            if isinstance(chosen, bytes):
                await connection.vanish(chosen)
                continue
            started = time.perf_counter()
            try:
                reply = await connection.ask(chosen.content)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                tally.wrong.append(f"{chosen.name}: {type(error).__name__}: {error}")
                continue
            tally.note(chosen, reply, 1000 * (time.perf_counter() - started))
        connection.close()

    clients: list[Awaitable[None]] = [client(number) for number in range(num_connections)]
    await asyncio.gather(*clients)
    return tally


# --- the bare model ------------------------------------------------------------------------------


def untrained(folder: Path) -> Path:
    """Write a small classifier; what it has learnt is of no importance here."""
    config = photic.recipe("quick_strips")
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": CLASSES}).eval()
    description = {"config": config.to_dict(), "classes": list(CLASSES), "thresholds": [0.5] * len(CLASSES)}
    return write_checkpoint(folder / "classifier.safetensors", Checkpoint(weights=task.state_dict(), description=description))


def drawn(folder: Path, height: int, width: int) -> list[Path]:
    paths = []
    for index in range(48):
        paths.append(folder / f"{index:02d}.png")
        Image.fromarray(draw_strip(5, index, height, width).picture).save(paths[-1])
    return paths


def bare_rate(model: FileModel, paths: Sequence[Path], batch: int, seconds: float) -> tuple[float, float]:
    """Return pictures per second of the model alone, read from files, in this process; and milliseconds of processor time for each."""
    assert isinstance(model, BatchFileModel)
    options, done, started, used = model.options_type(), 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        chosen = [paths[(done + step) % len(paths)] for step in range(batch)]
        model.answers([model.read(path, options) for path in chosen], options)
        done += batch
    return done / (time.perf_counter() - started), 1000 * (time.process_time() - used) / done


# --- the whole -----------------------------------------------------------------------------------


def start(models: Sequence[Path | str], log: Path, threads: int) -> tuple[subprocess.Popen[bytes], str, int]:
    command = [sys.executable, "-m", "photic", "serve", *map(str, models), "--port", "0", "--threads", str(threads), "--device", "cpu"]
    said = log.with_suffix(".out")
    with open(log, "wb") as errors, open(said, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
    while not (line := said.read_text()).endswith("\n") and process.poll() is None:
        time.sleep(0.1)
    found = re.search(r"http://([\d.]+):(\d+)", line)
    if found is None:
        raise SystemExit(f"the server did not start:\n{log.read_text()}")
    return process, found.group(1), int(found.group(2))


def told(tally: Tally, seconds: float, names: Sequence[str], title: str, bare: float) -> dict[str, Any]:
    """Print and return what a run of good requests came to."""
    times = np.array([one for name in names for one in tally.milliseconds.get(name, [])])
    rate = len(times) / seconds
    p50, p99 = (float(value) for value in np.percentile(times, (50, 99))) if len(times) else (float("nan"),) * 2
    print(f"{title:<34} {rate:8.1f} /s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   {rate / bare:5.2f} x bare   wrong {len(tally.wrong)}")
    return {"per_second": rate, "p50_ms": p50, "p99_ms": p99, "share_of_bare": rate / bare, "wrong": len(tally.wrong)}


def value_of(metrics: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)", metrics, re.MULTILINE)
    return float(found.group(1)) if found else float("nan")


async def metrics_of(host: str, port: int) -> str:
    connection = Connection(host, port)
    reply = await connection.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.close()
    return reply.body.decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of mixed load (default: 10)")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--model", type=Path, help="a classifier (default: a small untrained one)")
    parser.add_argument("--pictures", help="glob (default: drawn strips)")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 400), metavar=("H", "W"), help="of drawn strips (default: 64 400)")
    parser.add_argument("--threads", type=int, default=1, help="of the models, here and in the server (default: 1)")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.model is None:
            served = untrained(folder)
        else:  # served by this name, whatever its own is
            served = folder / f"classifier{arguments.model.suffix}"
            served.write_bytes(arguments.model.read_bytes())
        found = sorted(glob.glob(arguments.pictures or ""))  # noqa: PTH207 - Path.glob takes no absolute patterns
        paths = [Path(path) for path in found] or drawn(folder, *arguments.size)
        return run(arguments, folder, served, paths)


def run(arguments: argparse.Namespace, folder: Path, served: Path, paths: list[Path]) -> int:
    classifier, enhancer = open_file_model(served, "cpu"), open_file_model("lowlight", "cpu")
    options = classifier.options_type()
    good = [
        Request(
            "picture", post("classifier", form(path.name, path.read_bytes())), answered(dict(classifier.apply(path, None, options).values))
        )
        for path in paths
    ]
    dark = folder / "dark.png"
    Image.fromarray((50 * np.random.default_rng(0).random((48, 64, 3))).astype(np.uint8)).save(dark)
    enhancer.apply(dark, folder / "bright.png", enhancer.options_type())
    enhanced = Request("enhanced", post("lowlight", form("dark.png", dark.read_bytes())), same_bytes((folder / "bright.png").read_bytes()))
    bad = bad_requests(paths[0].read_bytes())
    abandoned = post("classifier", form("a.png", paths[0].read_bytes()))

    def mixed(rng: random.Random) -> Request | bytes:
        share = rng.random()
        if share < 0.75:
            return rng.choice(good)
        if share < 0.8:
            return enhanced
        return abandoned if share < 0.81 else rng.choice(bad)

    for rate in (1, 8):
        bare_rate(classifier, paths, rate, 1.0)  # warm
    (alone, alone_ms), (batched, batched_ms) = bare_rate(classifier, paths, 1, 8.0), bare_rate(classifier, paths, 8, 8.0)
    print(f"{'bare, one by one':<34} {alone:8.1f} /s   processor {alone_ms:5.1f} ms")
    print(f"{'bare, in batches of 8':<34} {batched:8.1f} /s   processor {batched_ms:5.1f} ms")
    process, host, port = start([served, "lowlight"], folder / "log.jsonl", arguments.threads)
    results: dict[str, Any] = {
        "bare": {"per_second": alone, "cpu_ms": alone_ms},
        "bare_batched": {"per_second": batched, "cpu_ms": batched_ms},
        "num_connections": arguments.connections,
    }
    try:
        for title, connections in (("one", 1), ("many", arguments.connections)):
            asyncio.run(load(host, port, connections, 2.0, lambda rng: rng.choice(good)))
            used = value_of(asyncio.run(metrics_of(host, port)), CPU)
            tally = asyncio.run(load(host, port, connections, 15.0, lambda rng: rng.choice(good)))
            used = value_of(asyncio.run(metrics_of(host, port)), CPU) - used
            results[title] = told(tally, 15.0, ["picture"], f"served, connections: {connections}", alone)
            results[title]["cpu_ms"] = 1000 * used / sum(tally.statuses.values())
            print(f"{'':<34} the server's processor time for each: {results[title]['cpu_ms']:.1f} ms")
        before = value_of(asyncio.run(metrics_of(host, port)), MEMORY) / 1e6
        seconds = 60 * arguments.minutes
        tally = asyncio.run(load(host, port, arguments.connections, seconds, mixed))
        results["mixed"] = told(tally, seconds, ["picture"], f"mixed, {arguments.minutes:g} minutes", alone)
        metrics = asyncio.run(metrics_of(host, port))
        results["mixed"] |= {"requests": sum(tally.statuses.values()), "statuses": dict(sorted(tally.statuses.items()))}
        batches = [value_of(metrics, f'photic_batch_size_{part}{{model="classifier"}}') for part in ("sum", "count")]
        results |= {"memory_mb": [before, value_of(metrics, MEMORY) / 1e6], "mean_batch": batches[0] / batches[1]}
        print(f"  {results['mixed']['requests']} answers by status: {results['mixed']['statuses']}")
        print(
            f"  mean batch {results['mean_batch']:.2f}; the server's memory {before:.0f} MB before, {results['memory_mb'][1]:.0f} MB after"
        )
        for name, times in sorted(tally.milliseconds.items()):
            print(f"  {name:<20} {len(times):7d}   p50 {np.percentile(times, 50):7.1f} ms   p99 {np.percentile(times, 99):7.1f} ms")
        for problem in tally.wrong[:10]:
            print(f"  WRONG {problem}")
    finally:
        process.send_signal(signal.SIGTERM)
        results["exit_status"] = process.wait(60)
    tracebacks = (folder / "log.jsonl").read_text().count('"traceback"')
    print(f"the server ended with status {results['exit_status']}; faults in its log: {tracebacks}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))
    right = not tally.wrong and results["exit_status"] == 0 and not tracebacks
    print("no wrong answer" if right else "WRONG ANSWERS")
    return 0 if right else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
