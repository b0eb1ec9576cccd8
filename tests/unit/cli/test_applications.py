"""``photic predict`` and ``photic evaluate`` go by the task of the model that is named."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from photic.cli.applications import command_of, sections_of
from photic.cli.main import main
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.plugins import Command, Plugin, installed_plugins
from photic.workflows.info import task_of


def run_of(folder: Path, task: str) -> Path:
    """Lay out as much of a run as tells its task."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"task": {"name": task}}))
    return folder


def file_of(path: Path, task: str) -> Path:
    return write_checkpoint(path, Checkpoint(weights={"a": torch.zeros(1)}, description={"config": {"task": {"name": task}}}))


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Let a plug-in serve models of a task of its own; return what it is called with."""
    calls: list[tuple[str, list[str]]] = []

    def predict(arguments: list[str]) -> int:
        calls.append(("predict", arguments))
        return 0

    def evaluate(arguments: list[str]) -> int:
        calls.append(("evaluate", arguments))
        return 3

    monkeypatch.setitem(sys.modules, "photic_test_application", SimpleNamespace(predict=predict, evaluate=evaluate))
    plugin = Plugin(
        name="test",
        package="photic.apps.ptycho",
        summary="",
        predictors={"spectroscopy": Command(summary="Find lines in spectra", target="photic_test_application:predict")},
        evaluators={"spectroscopy": Command(summary="Compare lines with tables", target="photic_test_application:evaluate")},
    )
    plugins = {**installed_plugins(), "test": plugin}
    monkeypatch.setattr("photic.cli.applications.installed_plugins", lambda: plugins)
    return calls


def test_the_task_of_runs_and_files_is_found_and_of_nothing_else(tmp_path: Path) -> None:
    assert task_of(run_of(tmp_path / "run", "ptychography")) == "ptychography"
    assert task_of(file_of(tmp_path / "weights.safetensors", "spectroscopy")) == "spectroscopy"
    assert task_of(tmp_path) is None
    assert task_of(tmp_path / "missing") is None
    (tmp_path / "notes.txt").write_text("no model")
    assert task_of(tmp_path / "notes.txt") is None
    for number, text in enumerate(("task: [", "task: 3", "- task", "task: {name: [1]}", "")):
        run = run_of(tmp_path / f"broken-{number}", "ptychography")
        (run / "config.yaml").write_text(text)
        assert task_of(run) is None


@pytest.mark.parametrize("maker", [run_of, file_of], ids=["run", "file"])
def test_a_model_of_an_application_is_handed_to_it_with_all_arguments(maker, tmp_path: Path, called) -> None:
    model = str(maker(tmp_path / "model.safetensors", "spectroscopy"))
    words = ["-o", "out", model, "spectrum.csv", "--odd-option", "7"]
    assert main(["predict", *words]) == 0
    assert main(["evaluate", model, "--help"]) == 3
    assert called == [("predict", words), ("evaluate", [model, "--help"])]


def test_the_first_model_decides_whatever_else_exists(tmp_path: Path, called) -> None:
    model = str(run_of(tmp_path / "run", "spectroscopy"))
    (tmp_path / "out").mkdir()
    (tmp_path / "scan.npz").write_bytes(b"no model")
    assert main(["predict", "-o", str(tmp_path / "out"), model, str(tmp_path / "scan.npz")]) == 0
    assert called[0][1][2] == model


def test_models_of_other_tasks_get_the_general_command(tmp_path: Path, called) -> None:
    for name, maker in (("run", run_of), ("file.safetensors", file_of)):
        model = maker(tmp_path / name, "multilabel_classification")
        assert command_of("predict", [str(model), "picture.png"]) is None
        assert command_of("evaluate", [str(model)]) is None
    assert command_of("predict", [str(tmp_path / "missing"), "picture.png"]) is None
    assert command_of("predict", []) is None
    assert called == []


def test_ptychography_is_served_by_its_application(tmp_path: Path) -> None:
    from photic.apps.ptycho import evaluate, predict

    model = str(run_of(tmp_path / "run", "ptychography"))
    assert command_of("predict", [model, "scan.npz"]) is predict.main
    assert command_of("evaluate", [model]) is evaluate.main


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_help_says_what_happens_with_other_models(verb: str, capsys: pytest.CaptureFixture[str], called) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"for models of other tasks (`photic {verb} MODEL --help` explains)" in shown
    assert "ptychography" in shown
    assert ("Find lines in spectra" if verb == "predict" else "Compare lines with tables") in shown
    assert max(map(len, shown.partition("\nexamples:\n")[0].splitlines())) <= 120
    assert called == []


def test_without_applications_there_is_no_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photic.cli.applications.installed_plugins", dict)
    assert sections_of("predict") == []
    assert command_of("predict", ["."]) is None


def test_help_for_a_model_is_that_of_its_application(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(run_of(tmp_path / "run", "ptychography"))
    for verb, word in (("predict", "--refine"), ("evaluate", "--reference")):
        assert main([verb, model, "--help"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: photic {verb}")
        assert word in shown
        assert "examples:" in shown
