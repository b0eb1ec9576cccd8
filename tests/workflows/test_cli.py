"""The command line from end to end: a tiny network on a few generated strips, trained, measured, applied, compared."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from photic.cli.main import main

SMALL = [
    "recipe=quick_strips", "data.num_samples=64", "data.height=32", "data.width=96", "data.batch_size=8",
    "training.num_epochs=1", "trainer.accelerator=cpu",
]  # fmt: skip


def runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("runs/*/*/results.json"))


def results_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two runs were trained by one multirun command."""
    folder = tmp_path_factory.mktemp("workplace")
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "-m", *SMALL, "--quiet", "seed=0,1"]) == 0
    finally:
        os.chdir(here)
    return folder


def test_multirun_leaves_one_completed_run_for_each_job(workplace: Path) -> None:
    found = [results_of(run) for run in runs_in(workplace)]
    assert [results["status"] for results in found] == ["completed", "completed"]
    assert sorted(results["config"]["seed"] for results in found) == [0, 1]
    assert {results["recipe"] for results in found} == {"quick_strips"}


def test_evaluate_repeats_the_test_of_the_run(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(workplace)
    run = runs_in(workplace)[0]
    assert main(["evaluate", str(run), "--output", "again.json", "data.eval_batch_size=16"]) == 0
    assert "macro" in capsys.readouterr().out
    again = json.loads((workplace / "again.json").read_text(encoding="utf-8"))
    assert again["at_0.5"]["macro"] == pytest.approx(results_of(run)["test"]["at_0.5"]["macro"], nan_ok=True)


def test_evaluate_refuses_to_change_the_network(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs_in(workplace)[0]), "model.width=8"]) == 2
    assert "only data.* can be changed" in capsys.readouterr().err


def test_predict_writes_a_line_for_each_picture(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np
    from PIL import Image

    pictures = workplace / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray(np.full((32, 96, 3), 40 * number, np.uint8)).save(pictures / f"{number}.png")
    run, output = runs_in(workplace)[0], workplace / "out.csv"
    assert main(["predict", str(run), str(pictures), "-o", str(output), "--quiet"]) == 0
    assert "3 pictures predicted" in capsys.readouterr().out
    assert len(output.read_text(encoding="utf-8").splitlines()) == 4
    assert main(["predict", str(run), str(pictures), "-o", str(output), "--quiet"]) == 2
    assert "photic: error: " in capsys.readouterr().err
    (pictures / "broken.png").write_bytes(b"no picture")
    assert main(["predict", str(run), str(pictures), "-o", str(output), "--quiet", "--force"]) == 1
    assert "broken.png" in capsys.readouterr().out


def test_compare_shows_both_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, runs_in(workplace))]) == 0
    printed = capsys.readouterr().out
    assert "macro AP" in printed and "seed 0" in printed and "seed 1" in printed


def test_a_finished_run_goes_on_with_more_epochs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    run = runs_in(workplace)[1]
    assert main(["train", "--resume", str(run), "training.num_epochs=2", "--quiet"]) == 0
    assert results_of(run)["history"][-1]["epoch"] == 2


def test_a_failing_job_fails_the_command_after_the_others_ran(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", *SMALL, "--quiet", "training.monitor=nothing,macro_ap"]) == 1
    captured = capsys.readouterr()
    assert "1 of 2 jobs failed: [1] training.monitor=nothing" in captured.err
    assert sorted(results_of(run)["status"] for run in runs_in(tmp_path)) == ["completed", "failed"]


def test_a_missing_root_is_one_readable_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "recipe=severstal", f"data.root={tmp_path / 'none'}", "model.pretrained=false"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("photic: error: ")
    assert str(tmp_path / "none") in line
