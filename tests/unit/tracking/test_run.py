"""Run folders: names never collide, files survive crashes, strangers are refused."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from photic.core.errors import ConfigError, DataError
from photic.tracking.run import Run


def test_runs_started_in_the_same_second_by_many_processes_get_different_folders(tmp_path: Path) -> None:
    config = {"output_dir": str(tmp_path), "experiment": "x", "recipe": "r"}
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        names = [run.path.name for run in pool.map(Run.create, [config] * 40)]
    assert len(set(names)) == 40
    assert len(list((tmp_path / "x").iterdir())) == 40


def test_words_become_safe_folder_names(tmp_path: Path) -> None:
    run = Run.create({"output_dir": str(tmp_path), "experiment": "../a b", "label": "x/y"})
    assert run.path.parent.name == "a_b"
    assert run.path.resolve().is_relative_to(tmp_path.resolve())
    assert "x_y" in run.path.name


def test_results_are_merged_and_free_of_nan(tmp_path: Path) -> None:
    run = Run.create({"output_dir": str(tmp_path), "experiment": "e"})
    run.save_results(status="running", value=float("nan"))
    run.save_results(status="completed", other=[1.0, float("inf")])
    content = json.loads((run.path / "results.json").read_text(), parse_constant=pytest.fail)
    assert content["status"] == "completed"
    assert content["value"] is None
    assert content["other"] == [1.0, None]
    assert content["schema"] == 1


def test_metrics_survive_a_torn_line(tmp_path: Path) -> None:
    run = Run.create({"output_dir": str(tmp_path), "experiment": "e"})
    run.log(step=1, loss=0.5)
    with open(run.path / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 2, "lo')
    run.log(step=3, loss=0.25)
    assert [line["step"] for line in run.logged()] == [1, 3]


def test_strangers_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run folder.*does not exist"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(DataError, match="not a run folder.*holds no run"):
        Run.open(tmp_path)


def test_a_run_is_found_from_inside_and_from_outside_it_is_named(tmp_path: Path) -> None:
    run = Run.create({"output_dir": str(tmp_path), "experiment": "e"})
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / "best.safetensors").touch()
    assert Run.open(run.path / "checkpoints" / "best.safetensors").path == run.path
    with pytest.raises(DataError, match=run.path.name):
        Run.open(tmp_path)


def test_two_processes_cannot_train_into_one_folder(tmp_path: Path) -> None:
    run = Run.create({"output_dir": str(tmp_path), "experiment": "e"})
    code = f"from photic.tracking.run import Run\nwith Run.open({str(run.path)!r}).writing(): pass"
    with run.writing():
        refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another process is training this run" in refused.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unwritable_output_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"config\.output_dir: cannot make a run folder"):
        Run.create({"output_dir": str(tmp_path / "file"), "experiment": "e"})
