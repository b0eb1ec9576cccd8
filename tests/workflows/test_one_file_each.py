"""CONTRIBUTING's table "what must I touch to add X": each row done on a copy of the sources, and nothing else touched.

Then one run is trained with all of it, so that what was added is not only listed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .added_parts import ADDED
from .sessions import Answer, session

ROOT = Path(__file__).resolve().parent.parent.parent

# Compiled modules are copied with their sources, which saves compiling them; but not those that another process is writing just now.
HALF_WRITTEN = "*.pyc.*"
CATALOGUE = {
    "models": ["extra_net"],
    "losses": ["extra_loss"],
    "metrics": ["extra_metric"],
    "augmentations": ["extra_augmentation"],
    "optimizers": ["extra_optimizer"],
    "schedules": ["extra_schedule"],
    "tasks": ["extra_task"],
    "datasets": ["extra_data"],
    "recipes": ["extra_recipe", "second_recipe"],
    "plugins": ["second"],
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a file added for each row."""
    folder = tmp_path_factory.mktemp("copy")
    package = Path(shutil.copytree(ROOT / "src" / "photic", folder / "photic", ignore=shutil.ignore_patterns(HALF_WRITTEN)))
    for name, text in ADDED.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text.lstrip("\n"))
    plugin = package / "apps" / "defects" / "plugin.py"
    text = plugin.read_text()
    assert "formats={" in text
    plugin.write_text(text.replace("formats={", 'formats={"extra": "photic.apps.defects.extra_format:ExtraFormat", '))
    plugin = package / "apps" / "ptycho" / "plugin.py"
    text = plugin.read_text()
    assert "readers={" in text
    plugin.write_text(text.replace("readers={", 'readers={"extra": "photic.apps.ptycho.readers.extra_reader:read", '))
    info = folder / "photic_second-1.dist-info"  # what the line in pyproject.toml becomes when the package is installed again
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: photic-second\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[photic.plugins]\nsecond = photic.apps.second.plugin:plugin\n")
    return folder


@pytest.fixture(scope="module")
def said(copy: Path) -> dict[str, Answer]:
    """What command lines say that use what was added, all run in the copy."""
    import numpy as np
    from PIL import Image

    Image.fromarray(np.zeros((32, 64), np.uint8)).save(copy / "strip.png")
    (copy / "scan.extra").write_text("".join(f"{4 + x} {4 + y}\n" for x in range(0, 12, 2) for y in range(0, 12, 2)))
    lines = {
        **{kind: ["list", kind, "--json"] for kind in CATALOGUE},
        "command": ["second"],
        "configuration": ["train", "recipe=second_recipe", "--cfg", "job"],
        "check": ["data", "check", "ptycho", "scan.extra", "-o", "checked"],
        "train": ["train", "recipe=extra_recipe", "--quiet"],
        "predict": ["predict", "runs/extra/*", "strip.png", "-o", "out.txt", "--format", "extra", "--quiet"],
        "evaluate": ["evaluate", "runs/extra/*", "--fast"],
    }
    return session(lines, copy, copy)


def python(folder: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_command_line_succeeds(said: dict[str, Answer]) -> None:
    assert {name: answer.err for name, answer in said.items() if answer.status != 0} == {}


@pytest.mark.parametrize("kind", CATALOGUE)
def test_what_was_added_is_in_the_catalogue(said: dict[str, Answer], kind: str) -> None:
    assert set(CATALOGUE[kind]) <= {row["name"] for row in json.loads(said[kind].out)}


def test_a_run_is_trained_and_applied_with_all_of_it(copy: Path, said: dict[str, Answer]) -> None:
    (run,) = (copy / "runs" / "extra").iterdir()
    results: dict[str, Any] = json.loads((run / "results.json").read_text())
    assert results["status"] == "completed"
    assert results["names"] == {"task": "extra_task", "model": "extra_net", "loss": "extra_loss", "data": "extra_data"}
    assert results["best"]["monitor"] == "macro_extra"
    assert results["config"]["optimizer"]["name"] == "extra_optimizer"
    assert list(results["config"]["data"]["augment"]) == ["extra_augmentation"]
    assert (copy / "out.txt").read_text() == "strip.png\n"
    assert said["evaluate"].out == f"the second application evaluates {run.relative_to(copy)} --fast\n"


def test_a_model_makes_a_file_of_a_file(copy: Path, said: dict[str, Answer]) -> None:
    code = (
        "from pathlib import Path; from photic.inference.file_model import open_file_model; "
        "(run,) = Path('runs/extra').iterdir(); model = open_file_model(run, 'cpu'); "
        "print(type(model).__name__, model.apply(Path('strip.png'), Path('strip.txt'), model.options_type()).values)"
    )
    assert said["train"].status == 0
    assert python(copy, code).startswith("ExtraFiles {'classes': ")
    assert (copy / "strip.txt").read_text().startswith("(1, ")


def test_a_reader_reads_its_files(said: dict[str, Answer]) -> None:
    assert "36" in said["check"].out
    assert "8 x 8" in said["check"].out


def test_a_forward_operator_is_what_the_contract_calls_one(copy: Path) -> None:
    code = (
        "import torch; from photic.physics.base import ForwardOperator; from photic.physics.extra_operator import Shadow; "
        "operator: ForwardOperator = Shadow(5); x, y = torch.rand(5, 7), torch.rand(7); "
        "assert torch.isclose((operator.apply(x) * y).sum(), (x * operator.adjoint(y)).sum()); "
        "assert all(hasattr(operator, name) for name in ('apply', 'adjoint', 'measure', 'sample_noise')); print('adjoint')"
    )
    assert python(copy, code) == "adjoint\n"


def test_an_application_adds_its_command_and_its_recipe(said: dict[str, Answer]) -> None:
    assert said["command"].out == "the second application\n"
    assert "name: extra_net" in said["configuration"].out


def test_applications_are_deleted_with_their_folders_and_their_lines(copy: Path, tmp_path: Path) -> None:
    """The core works without any application: no module of it imports one."""
    apps = [folder.name for folder in (copy / "photic" / "apps").iterdir() if (folder / "plugin.py").is_file()]
    assert {"defects", "lowlight", "ptycho", "second"} <= set(apps)
    shutil.copytree(copy / "photic", tmp_path / "photic", ignore=shutil.ignore_patterns(*apps, HALF_WRITTEN))
    code = (
        "import sys, photic.core.plugins as plugins; real = plugins.entry_points\n"
        f"plugins.entry_points = lambda **k: [e for e in real(**k) if e.name not in {apps!r}]\n"
        "from photic.cli.main import main\n"
        "import photic.workflows.train, photic.workflows.predict, photic.workflows.compare, photic.engine.fit\n"
        "sys.exit(max(main(words) for words in (['list', 'models'], ['list', 'recipes', '--json'], ['--help'])))"
    )
    said = python(tmp_path, code)
    assert "extra_net" in said
    assert "\n[]\n" in said, "no recipes, said as JSON"


def test_every_row_of_the_table_was_tried() -> None:
    """A row that is added to CONTRIBUTING needs an example here."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## What must I touch")[2].partition("Nothing else")[0]
    rows = re.findall(r"^\| (an? [^|]+?|what [^|]+?|any of [^|]+?) \|", table, re.MULTILINE)
    assert rows == [
        "a network",
        "a network that compresses",  # tests/contracts/test_compressors.py: each of them through everything that is asked of one
        "a loss",
        "a metric",
        "an augmentation",
        "an optimizer or schedule",
        "a data set of an application",
        "a recipe",
        "an output format of `photic predict`",
        "a reader of scans",
        "what `photic predict` and `photic evaluate` do with a task's models",
        "what a task's models make of a file, for `photic predict` and `photic serve`",
        "what `photic info` says of files of its own",  # tests/unit/rawnind/test_compress_command_info.py
        "a forward operator",
        "a task",
        "an application",
        "any of these from outside",  # tests/workflows/test_third_party.py
    ]
