"""What the engine costs: a training step through it against a bare PyTorch loop with the same model, data and precision.

Run: ``python benchmarks/engine_overhead.py [--rounds N] [--only NAME] [--threads N]``. Exits with 1 if a ratio is over its target.

Time: both train in one process and take turns (a stretch of engine steps, a stretch of bare steps, ...), so whatever else the
machine does meets both; a round's ratio compares neighbours, and the median over all rounds counts. The ratio of processor
time is the steadier one on a busy machine, but does not see waiting. Both load their own
batches through Photic's loader, clip by norm and step AdamW; the engine also checks, logs and counts as in any training.

Memory: each in a process of its own, its peak resident size; once with everything (the engine's process has also imported
Lightning and TensorBoard), once above what the process held before its first step. Medians of several processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photic.core.seeding import torch_generator
from photic.data.base import DataConfig, PreparedData
from photic.data.loader import ExactLoader
from photic.engine.config import TrainerConfig, TrainingConfig
from photic.losses.bce import BCEWithLogitsConfig
from photic.models.efficientnet_lite0 import EfficientNetLite0Config
from photic.models.tiny import TinyConfig
from photic.optim.optimizers import AdamWConfig
from photic.optim.schedules import ConstantConfig
from photic.tasks.base import Task
from photic.tasks.classification import MultilabelClassificationConfig

TIME_TARGET, MEMORY_TARGET = 1.05, 1.1
CLASSES = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Case:
    """A model, the pictures it sees, and how many steps make a stretch."""

    model: Any
    height: int
    width: int
    batch_size: int
    channels_last: bool
    stretch: int
    warm_up: int = 1  # stretches


CASES = {
    "tiny 64x400, batch 16": Case(TinyConfig(), 64, 400, 16, channels_last=False, stretch=10),
    "efficientnet_lite0 200x200, batch 16": Case(EfficientNetLite0Config(), 200, 200, 16, channels_last=True, stretch=2),
}


@dataclass
class Pictures:
    """Pictures in memory, repeated without end: bytes become a measurement when asked for, as with a cached data set."""

    case: Case
    num_samples: int
    num_pictures: int = 64
    pictures: torch.Tensor = field(init=False)
    targets: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = torch_generator(0, "benchmark")
        shape = (self.num_pictures, 3, self.case.height, self.case.width)
        self.pictures = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        self.targets = (torch.rand(self.num_pictures, len(CLASSES), generator=generator) < 0.3).float()

    def __len__(self) -> int:
        return self.num_samples

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        row = position % self.num_pictures
        return {"measurement": self.pictures[row].float() / 255, "target": self.targets[row], "index": row}


class TakingTurns:
    """Pictures that, whenever a stretch of batches has been asked for, stop the engine's clock and let the bare loop do the same."""

    def __init__(self, pictures: Pictures, bare: Iterator[None]) -> None:
        self.pictures, self.bare_steps = pictures, bare
        self.asked = 0
        self.engine: list[np.ndarray] = []
        self.bare: list[np.ndarray] = []
        self.continued = clocks()

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        if self.asked % (self.pictures.case.stretch * self.pictures.case.batch_size) == 0:
            self.take_turn()
        self.asked += 1
        return self.pictures.sample(position, draw)

    def take_turn(self) -> None:
        paused = clocks()
        if self.asked:
            self.engine.append(paused - self.continued)
        for _ in range(self.pictures.case.stretch):
            next(self.bare_steps)
        self.continued = clocks()
        self.bare.append(self.continued - paused)


def clocks() -> np.ndarray:
    """Return seconds gone by and seconds of processor time of this process (all threads)."""
    return np.array([time.perf_counter(), time.process_time()])


def make_task(case: Case) -> Task:
    torch.manual_seed(0)
    labels = np.random.default_rng(0).random((64, len(CLASSES))) < 0.3
    data = PreparedData(splits={}, names={}, classes=CLASSES, labels={"train": labels})
    return MultilabelClassificationConfig().build(case.model, BCEWithLogitsConfig(), data)


def bare_loop(case: Case, pictures: Pictures) -> Iterator[None]:
    """Train as anybody would without Photic's engine; every ``next`` is a step."""
    task = make_task(case)
    if case.channels_last:
        task = task.to(memory_format=torch.channels_last)
    network, criterion = task.graph, task.criterion
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(task.parameter_groups(1e-3, 1e-4), lr=1e-3, weight_decay=1e-4)
    task.train()
    for batch in ExactLoader(pictures, batch_size=case.batch_size, seed=0):
        image = batch["measurement"]
        if case.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        loss = criterion(network.logits(image), batch["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        yield


def train_with_engine(case: Case, pictures: Any, num_steps: int, folder: Path, validation: Any = None) -> None:
    from photic.engine.fit import fit
    from photic.engine.processes import Processes
    from photic.tracking.run import Run

    validation = validation or Pictures(case, num_samples=case.batch_size)
    labels = np.random.default_rng(0).random((16, len(CLASSES))) < 0.5
    data = PreparedData(splits={"train": pictures, "val": validation}, names={}, classes=CLASSES, labels={"train": labels, "val": labels})
    fit(
        make_task(case),
        data,
        Run.create({"output_dir": str(folder), "experiment": "benchmark"}),
        data_config=DataConfig(batch_size=case.batch_size),
        optimizer=AdamWConfig(lr=1e-3, weight_decay=1e-4),
        schedule=ConstantConfig(),
        training=TrainingConfig(num_epochs=1, max_steps=num_steps, monitor="loss", monitor_mode="min", channels_last=case.channels_last),
        trainer=TrainerConfig(accelerator="cpu", precision="32-true"),
        seed=0,
        description={},
        processes=Processes(),
        quiet=True,
    )


def time_ratios(case: Case, rounds: int) -> tuple[np.ndarray, float]:
    """Return the ratios of each round, ``(rounds, 2)`` for time gone by and processor time, and the bare step's median time."""
    stretches = rounds + case.warm_up + 1
    # Never an epoch's end: validation is no part of a training step.
    pictures = Pictures(case, num_samples=(stretches + 1) * case.stretch * case.batch_size * 2)
    turns = TakingTurns(pictures, bare_loop(case, pictures))
    with tempfile.TemporaryDirectory() as folder:
        train_with_engine(case, turns, stretches * case.stretch, Path(folder))
    # Engine stretch i lies between bare stretches i and i + 1: against the mean of its two neighbours a drift of the machine cancels.
    ratios = [engine / ((before + after) / 2) for engine, before, after in zip(turns.engine, turns.bare, turns.bare[1:], strict=False)]
    return np.array(ratios[case.warm_up :]), float(np.median(turns.bare[case.warm_up :], axis=0)[0]) / case.stretch


def resident_mb(what: str) -> float:
    """Return VmRSS (now) or VmHWM (the peak); getrusage's peak would be inherited from the process that started this one."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 2**10


def measure_memory(case: Case, kind: str, num_steps: int) -> dict[str, float]:
    """Train in this process; return peak resident size, and how much of it came after the start, in MiB."""
    pictures = Pictures(case, num_samples=num_steps * case.batch_size * 4)
    if kind == "bare":
        import timm  # noqa: F401 - the models import it when built; not part of training

        make_task(case)
        before = resident_mb("VmRSS")
        loop = bare_loop(case, pictures)
        for _ in range(num_steps):
            next(loop)
    else:
        import lightning  # noqa: F401
        import torch.utils.tensorboard  # noqa: F401

        import photic.engine.fit  # noqa: F401

        make_task(case)
        before = resident_mb("VmRSS")
        validation = Noting(Pictures(case, num_samples=case.batch_size))
        with tempfile.TemporaryDirectory() as folder:
            train_with_engine(case, pictures, num_steps, Path(folder), validation)
        return {"peak": validation.peak_mb, "growth": validation.peak_mb - before}
    peak = resident_mb("VmHWM")
    return {"peak": peak, "growth": peak - before}


class Noting:
    """A validation set that notes the peak of the training before it: the bare loop validates nothing."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.peak_mb = 0.0

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        self.peak_mb = self.peak_mb or resident_mb("VmHWM")
        return self.pictures.sample(position, draw)


def memory_of(name: str, kind: str, threads: int | None) -> dict[str, float]:
    arguments = [sys.executable, __file__, "--memory", kind, "--only", name, *(["--threads", str(threads)] if threads else [])]
    printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="turns each takes")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; its own choice by default")
    parser.add_argument("--memory", choices=("engine", "bare"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.memory:
        print(json.dumps(measure_memory(CASES[options.only], options.memory, num_steps=5)))
        return 0
    print(f"{torch.get_num_threads()} threads; medians of {options.rounds} rounds in turns\n")
    width = max(map(len, CASES))
    print(f"{'engine / bare loop':<{width}}  bare ms  time (middle half)      processor  peak memory           memory of training")
    missed: list[str] = []
    for name, case in CASES.items():
        if options.only not in (None, name):
            continue
        ratios, step_seconds = time_ratios(case, options.rounds)
        low, middle, high = np.quantile(ratios[:, 0], [0.25, 0.5, 0.75])
        processor = np.median(ratios[:, 1])
        pairs = [(memory_of(name, "engine", options.threads), memory_of(name, "bare", options.threads)) for _ in range(3)]
        peak, growth = (statistics.median(engine[key] / bare[key] for engine, bare in pairs) for key in ("peak", "growth"))
        shown = " / ".join(f"{statistics.median(pair[i]['peak'] for pair in pairs):.0f}" for i in (0, 1))
        print(
            f"{name:<{width}}  {step_seconds * 1e3:7.1f}  {middle:5.3f} ({low:.3f} to {high:.3f})  {processor:9.3f}  "
            f"{f'{peak:.3f} ({shown} MiB)':<20}  {growth:5.3f}",
            flush=True,
        )
        missed += [f"time ({name})"] * bool(middle > TIME_TARGET) + [f"peak memory ({name})"] * bool(peak > MEMORY_TARGET)
    print(f"\ntargets: time {TIME_TARGET}, peak memory {MEMORY_TARGET}: {'missed: ' + '; '.join(missed) if missed else 'met'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
