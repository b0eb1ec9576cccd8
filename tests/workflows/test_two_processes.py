"""Two processes at half the batch train what one process trains, write one run, and fail and resume together.

Run by torchrun, this file is the command ``photic`` with a fault in the second process (see :func:`main`).
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from photic.core.errors import ConfigError

# 85 training strips: five global batches of 16 and one of 5, which two processes cannot share evenly. 18 for validation: three
# batches of 8, of which each process takes every second, so that one of them has one too few.
SETTINGS: dict[str, Any] = {
    "data.num_samples": 121,
    "data.height": 32,
    "data.width": 64,
    "data.eval_batch_size": 8,
    "training.num_epochs": 3,
    "training.ema_decay": 0.9,
    "training.log_every_steps": 1,
    "training.checkpoint_every_steps": 1,
    "trainer.num_threads": 1,
}
FAULTY_BATCH = 9


def torchrun(*arguments: str, fault: bool = False) -> subprocess.CompletedProcess[str]:
    program = [__file__] if fault else ["-m", "photic"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *program, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=environment)


def train_in_two(folder: Path, *, fault: bool = False) -> subprocess.CompletedProcess[str]:
    overrides = {**SETTINGS, "data.batch_size": 8, "output_dir": folder}
    return torchrun("train", "recipe=quick_strips", *(f"{key}={value}" for key, value in overrides.items()), fault=fault)


def only_run(folder: Path) -> Path:
    (run,) = (path.parent for path in folder.glob("*/*/config.yaml"))
    return run


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def values(entry: dict[str, Any], place: str = "") -> Iterator[tuple[str, float | None]]:
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from values(value, f"{place}{key}/")
        elif key != "seconds":
            yield f"{place}{key}", value


@pytest.fixture(scope="module")
def in_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of one process."""
    import photic

    config = photic.recipe("quick_strips", {**SETTINGS, "data.batch_size": 16, "output_dir": str(tmp_path_factory.mktemp("one"))})
    return photic.train(config, quiet=True).run


@pytest.fixture(scope="module")
def in_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the run of two processes at half the batch, and what it printed."""
    folder = tmp_path_factory.mktemp("two")
    done = train_in_two(folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return only_run(folder), done.stdout


def test_loss_curve_and_metrics_are_those_of_one_process(in_one: Path, in_two: tuple[Path, str]) -> None:
    one, two = results(in_one), results(in_two[0])
    assert len(one["history"]) == len(two["history"]) == 3
    for first, second in zip(one["history"], two["history"], strict=True):
        expected, found = dict(values(first)), dict(values(second))
        assert expected.keys() == found.keys()
        assert {"train/loss", "val/loss", "val/macro_ap"} <= found.keys()
        for name, value in expected.items():
            assert found[name] == (None if value is None else pytest.approx(value, abs=1e-4)), name
    steps = zip(lines(in_one), lines(in_two[0]), strict=True)
    assert all(second.get("train/loss", 0.0) == pytest.approx(first.get("train/loss", 0.0), abs=1e-4) for first, second in steps)
    assert two["test"]["loss"] == pytest.approx(one["test"]["loss"], abs=1e-4)


def test_one_run_is_written_once(in_one: Path, in_two: tuple[Path, str]) -> None:
    run, printed = in_two
    found = results(run)
    assert found["status"] == "completed"
    assert found["environment"]["num_processes"] == 2
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in in_one.iterdir())
    assert len(list((run / "tensorboard").glob("events*"))) == 1
    assert [line["step"] for line in lines(run)] == [line["step"] for line in lines(in_one)]
    assert printed.count("report  ") == 1
    assert printed.count("epoch 1/3") == 1


def test_every_sample_is_predicted_once(in_two: tuple[Path, str]) -> None:
    run, _ = in_two
    split = json.loads((run / "split.json").read_text())
    for phase in ("val", "test"):
        with open(run / "predictions" / f"{phase}.csv", newline="") as handle:
            assert [row["file"] for row in csv.DictReader(handle)] == split[phase]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the run in whose second process training failed, and what it printed as errors."""
    folder = tmp_path_factory.mktemp("failed")
    done = train_in_two(folder, fault=True)
    assert done.returncode != 0
    return only_run(folder), done.stderr


def test_a_failure_of_one_ends_both_with_its_message(failed: tuple[Path, str]) -> None:
    run, printed = failed
    assert printed.count("photic: error:") == 1
    assert f"photic: error: rank 1 of 2 processes: loss term 'bce_with_logits' turned nan at batch {FAULTY_BATCH}" in printed
    assert results(run)["status"] == "failed"
    assert f"at batch {FAULTY_BATCH}" in results(run)["error"]


def test_what_two_processes_wrote_is_not_resumed_by_one(failed: tuple[Path, str]) -> None:
    import photic

    with pytest.raises(ConfigError, match=r"written by 2 training processes, now there are 1; resume with `torchrun --nproc-per-node 2"):
        photic.resume(failed[0], quiet=True)


@pytest.mark.slow
def test_two_processes_resume_where_they_failed(failed: tuple[Path, str], in_two: tuple[Path, str]) -> None:
    resumed = torchrun("train", "--resume", str(failed[0]))
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    found, expected = (results(run)["history"] for run in (failed[0], in_two[0]))
    assert [dict(values(entry)) for entry in found] == [dict(values(entry)) for entry in expected]


def test_ddp_needs_processes() -> None:
    import photic

    with pytest.raises(ConfigError, match=r"trainer\.strategy: ddp needs processes .*torchrun --nproc-per-node 2 -m photic train"):
        photic.train(photic.recipe("quick_strips", {"trainer.strategy": "ddp"}), quiet=True)


def main() -> int:
    """Run ``photic`` where the second process meets a picture of NaN in training batch :data:`FAULTY_BATCH`."""
    from photic.cli.main import run
    from photic.tasks.classification import MultilabelClassification

    step = MultilabelClassification.step

    def faulty(task: Any, batch: Any, phase: Any) -> Any:
        if phase == "train" and batch["number"] == FAULTY_BATCH and os.environ["RANK"] == "1":
            batch = {**batch, "measurement": batch["measurement"] * float("nan")}
        return step(task, batch, phase)

    MultilabelClassification.step = faulty
    return run()


if __name__ == "__main__":
    sys.exit(main())
