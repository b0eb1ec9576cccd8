"""Run folders and checkpoints that are damaged, hostile or of another network, and disks that are full, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from photic.apps.defects.generate import generate
from photic.cli.main import main
from photic.core.checkpoint import read_checkpoint, write_checkpoint

TRAIN = ("train", "recipe=severstal", "model=tiny", "schedule=constant", "trainer.accelerator=cpu", "trainer.num_threads=1", "--quiet")
COMMANDS = ("evaluate", "predict", "resume")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with strips and a run of two epochs on them."""
    folder = tmp_path_factory.mktemp("workplace")
    generate(folder / "strips", 60, 3, height=32, width=64)
    assert main([*TRAIN, f"data.root={folder / 'strips'}", "training.num_epochs=2", f"output_dir={folder / 'runs'}"]) == 0
    (trained,) = (folder / "runs" / "severstal").iterdir()
    trained.rename(folder / "trained")
    return folder


@pytest.fixture
def run(workplace: Path, tmp_path: Path) -> Path:
    """A copy of the run, to spoil."""
    return Path(shutil.copytree(workplace / "trained", tmp_path / "run"))


@pytest.fixture
def words(workplace: Path, run: Path, tmp_path: Path) -> dict[str, list[str]]:
    """The command lines that read a run."""
    return {
        "evaluate": ["evaluate", str(run)],
        "predict": ["predict", str(run), str(workplace / "strips" / "test_images"), "-o", str(tmp_path / "out.csv"), "--quiet"],
        "resume": ["train", "--resume", str(run), "training.num_epochs=3", "--quiet"],
    }


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[list[str]], str]:
    """Run a command line that must fail; return its message."""

    def call(arguments: list[str]) -> str:
        capsys.readouterr()
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert captured.err.startswith("photic: error: ")
        assert not (tmp_path / "out.csv").exists()
        return captured.err.removeprefix("photic: error: ").strip()

    return call


def used_by(command: str, run: Path) -> Path:
    """Return the checkpoint that a command reads."""
    return run / "checkpoints" / ("last" if command == "resume" else "best")


def file_of(command: str, run: Path) -> Path:
    return used_by(command, run).with_suffix(".safetensors")


def digests(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((run / "checkpoints").iterdir())}


# --- damaged -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_truncated_checkpoint_is_refused_and_left_alone(
    run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], command: str, kept: float
) -> None:
    file = file_of(command, run)
    os.truncate(file, int(kept * file.stat().st_size))
    before = digests(run)
    message = refused(words[command])
    assert message.startswith(f"{file}: damaged or truncated")
    assert f"{file.stat().st_size} bytes" in message
    assert "Use another checkpoint" in message
    assert digests(run) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_checkpoint_is_named(run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], command: str) -> None:
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    if command == "resume":  # stopped before the first checkpoint: it starts anew
        assert main(words[command]) == 0
        assert json.loads((run / "results.json").read_text())["status"] == "completed"
    else:
        assert refused(words[command]).startswith(f"{run}: no checkpoint yet; training has not reached its first validation")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "model: [1", r"config\.yaml: no valid YAML: .*line 1"),
        ("config.yaml", "- a list", r"config\.yaml: expected named values, got list"),
        ("results.json", '{"schema": 1, "name', r"results\.json: damaged, no valid JSON"),
        ("split.json", "[]", r"split\.json: expected named values, got list"),
        ("split.json", None, r"split\.json: cannot be read: No such file"),
    ],
)
def test_a_damaged_file_of_the_run_is_named_when_it_is_resumed(
    *, run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], file: str, content: str | None, message: str
) -> None:
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_text(content)
    before = digests(run)
    assert re.search(message, refused(words["resume"]))
    assert digests(run) == before


def test_a_folder_that_is_no_run_says_what_a_run_has(workplace: Path, refused: Callable[[list[str]], str]) -> None:
    message = refused(["evaluate", str(workplace / "strips")])
    assert message == f"{workplace / 'strips'}: not a run folder (expected config.yaml and checkpoints/ in it); it holds no run"


# --- hostile -------------------------------------------------------------------------------------------------------------------------


class Hostile:
    """Unpickling this leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_that_is_a_pickle_is_refused_and_not_executed(
    *, run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], tmp_path: Path, command: str, writer: str
) -> None:
    trace, file = tmp_path / "executed", file_of(command, run)
    if writer == "pickle":
        file.write_bytes(pickle.dumps(Hostile(trace)))
    else:
        torch.save({"state_dict": Hostile(trace)}, file)
    assert refused(words[command]).startswith(f"{file}: refused: this is a pickle or a zipped pickle, which can execute code")
    assert not trace.exists()
    with open(file, "rb") as handle:  # the trap is a real one
        torch.load(handle, weights_only=False) if writer == "torch" else pickle.load(handle)
    assert trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_a_pickle_are_refused_and_not_executed(
    workplace: Path, refused: Callable[[list[str]], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    trace, file = tmp_path / "executed", tmp_path / f"weights{suffix}"
    torch.save({"state_dict": Hostile(trace)}, file)
    message = refused([*TRAIN, "model=efficientnet_lite0", f"model.weights={file}", f"data.root={workplace / 'strips'}"])
    assert message.startswith(f"{file}: refused")
    assert not trace.exists()
    assert not (tmp_path / "runs").exists()


def test_a_yaml_that_would_build_objects_is_refused_and_builds_none(
    run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], tmp_path: Path
) -> None:
    (run / "config.yaml").write_text(f"model: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{tmp_path}/x]]")
    assert "config.yaml: no valid YAML" in refused(words["resume"])
    assert not (tmp_path / "x").exists()


# --- of another network --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_checkpoint_whose_configuration_was_changed_says_which_layers_differ(
    run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], command: str
) -> None:
    file = file_of(command, run)
    checkpoint = read_checkpoint(file)
    checkpoint.description["config"]["model"]["width"] = 8
    write_checkpoint(file, checkpoint)
    message = refused(words[command])
    assert message.startswith(f"{file}: the weights do not fit this network; ")
    assert re.search(r"\n  graph\.network\.\S+: the network has \(8,.*\), the file \(16,.*\)\n", message)
    assert message.endswith("Use the model settings the weights were trained with")


def test_a_run_whose_configuration_was_changed_says_which_layers_differ(
    run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str]
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["width"] = 8
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    before = digests(run)
    message = refused(words["resume"])
    assert message.startswith(f"{run / 'checkpoints' / 'last.safetensors'}: the weights do not fit this network; ")
    assert re.search(r"\n  graph\.network\.\S+: the network has \(8,.*\), the file \(16,.*\)\n", message)
    assert digests(run) == before


def test_a_configuration_that_names_what_is_not_there_says_so(
    run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str]
) -> None:
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("name: tiny", "name: tinny"))
    for command in ("resume", "evaluate"):
        message = refused(words[command])
        assert message.startswith(f"{run / 'config.yaml'}: config.model.name: unknown model 'tinny'; did you mean 'tiny'?")


def test_a_change_that_names_what_is_not_there_does_not_blame_the_run(
    words: dict[str, list[str]], refused: Callable[[list[str]], str]
) -> None:
    assert refused([*words["evaluate"], "data.name=severstall"]).startswith("config.data.name: unknown dataset 'severstall'; did you mean")


def test_weights_of_another_runs_network_are_refused_with_the_layers_that_differ(
    workplace: Path, refused: Callable[[list[str]], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = workplace / "trained" / "checkpoints" / "best.safetensors"
    message = refused([*TRAIN, "model=efficientnet_lite0", f"model.weights={file}", f"data.root={workplace / 'strips'}"])
    assert message.startswith(f"{file}: the weights do not fit this network; ")
    assert "\n  conv_stem.weight: missing in the file\n" in message
    assert "... and" in message
    assert not (tmp_path / "runs").exists()


def test_data_of_other_classes_are_refused_with_both_lists(
    run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str]
) -> None:
    message = refused([*words["evaluate"], "data.name=synthetic_strips"])
    assert message == (
        "the data have the classes scratches, patches, inclusions, pits, the model defect_1, defect_2, defect_3, defect_4; "
        "give data with the same classes"
    )


# --- full disk -----------------------------------------------------------------------------------------------------------------------

FullDisk = Callable[[int], AbstractContextManager[None]]


def test_a_disk_that_fills_up_in_training_leaves_the_previous_checkpoint_from_which_it_goes_on(
    *, workplace: Path, run: Path, words: dict[str, list[str]], refused: Callable[[list[str]], str], tmp_path: Path, full_disk: FullDisk
) -> None:
    before, file = digests(run), file_of("resume", run)
    with full_disk(file.stat().st_size // 2):
        message = refused(words["resume"])
    assert message.startswith(f"{file}: cannot write the checkpoint: ")
    assert f"the previous checkpoint {file} is unchanged. Free some space, then resume the run" in message
    after = digests(run)
    assert after["last.safetensors"] == before["last.safetensors"]
    assert after.keys() == before.keys(), "no half-written file is left"
    results = json.loads((run / "results.json").read_text())
    assert results["status"] == "failed"
    assert "cannot write the checkpoint" in results["error"]

    untouched = Path(shutil.copytree(workplace / "trained", tmp_path / "untouched"))
    assert main(words["resume"]) == 0
    assert main(["train", "--resume", str(untouched), "training.num_epochs=3", "--quiet"]) == 0
    first, second = (read_checkpoint(place / "checkpoints" / "last.safetensors").weights for place in (run, untouched))
    assert all(torch.equal(first[name], second[name]) for name in first), "the failure left no trace in the weights"
    assert json.loads((run / "results.json").read_text())["status"] == "completed"


def test_a_disk_too_full_to_begin_leaves_no_run_folder(
    workplace: Path, refused: Callable[[list[str]], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_disk: FullDisk
) -> None:
    monkeypatch.chdir(tmp_path)
    with full_disk(1024):
        message = refused([*TRAIN, f"data.root={workplace / 'strips'}"])
    assert re.match(r"runs/severstal/\S+/config\.yaml: cannot be written: .*Free some space", message)
    assert list(tmp_path.glob("runs/*/*")) == []


def test_a_disk_too_full_for_the_predictions_leaves_what_was_there(
    words: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], full_disk: FullDisk
) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    with full_disk(64):
        assert main([*words["predict"], "--force"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"photic: error: {tmp_path / 'out.csv.partial'}: cannot be written: File too large. Free some space")
    assert (tmp_path / "out.csv").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []
