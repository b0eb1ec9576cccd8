"""``photic predict`` with a model of every task: what is skipped, kept, refused and named is the same whatever the model makes."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from photic.cli.main import main
from photic.core.plugins import installed_plugins

from ..tiny_models import NETWORKS, WRITERS, tiny_bundle

TASKS = tuple(NETWORKS)
TABLE = "multilabel_classification"
RESULTS = {"enhancement": ".png", "raw_denoising": ".dng", "compression": ".phc", "ptychography": ""}
"""Endings of what files become; of a classifier all become one table."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bundle for every task, and in ``in/TASK`` files that it takes, one with an odd name in a folder below."""
    folder = tmp_path_factory.mktemp("everywhere")
    for task, (write, ending) in WRITERS.items():
        tiny_bundle(task, folder)
        first = write(folder / "in" / task / f"a{ending}", 0)
        below = folder / "in" / task / "über uns [2]"
        below.mkdir()
        shutil.copy(first, below / f"née   b{ending}")
        (folder / "in" / task / "notes.txt").write_text("nothing to read")
        (folder / "in" / task / f".hidden{ending}").write_bytes(b"")
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a copy of the files of the test's task."""
    shutil.copytree(made / "in" / request.getfixturevalue("task"), tmp_path / "in")
    return tmp_path / "in"


def predict(made: Path, task: str, *words: Any) -> int:
    each = ["--each", "--no-pictures"] if task == "ptychography" else []
    return main(["predict", str(made / f"{task}.photic"), *map(str, words), *each, "--device", "cpu", "--quiet"])


def result(folder: Path, task: str, name: str) -> Path:
    """Return where the result of a file goes, or the table."""
    return folder / "table.csv" if task == TABLE else folder / f"{name}{RESULTS[task]}"


def output(folder: Path, task: str) -> Path:
    return result(folder, task, "") if task == TABLE else folder


def content(path: Path, task: str) -> Any:
    """Return what must not change in a result that nobody replaces."""
    return path.stat().st_mtime_ns, sorted(
        (one.name, one.stat().st_mtime_ns) for one in path.iterdir()
    ) if path.is_dir() else path.read_bytes()


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".partial"))]


def test_every_application_is_here() -> None:
    assert set(TASKS) == {
        task for plugin in installed_plugins().values() for task in plugin.file_models if plugin.package.startswith("photic.")
    }


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_is_done_but_for_bad_files_which_are_named(made: Path, files: Path, tmp_path: Path, task: str, capsys: Any) -> None:
    ending = WRITERS[task][1]
    whole = (files / f"a{ending}").read_bytes()
    (files / f"torn{ending}").write_bytes(whole[: len(whole) // 2])
    (files / f"empty{ending}").write_bytes(b"")
    out = tmp_path / "out"
    assert predict(made, task, files, "-o", output(out, task)) == 1
    said = capsys.readouterr().out
    assert "2 SKIPPED" in said
    assert all(said.count(str(files / f"{name}{ending}")) == 1 for name in ("torn", "empty"))
    if task == TABLE:
        assert [line.split(",")[0] for line in (out / "table.csv").read_text().splitlines()[1:]] == [
            str(files / f"a{ending}"), str(files / "über uns [2]" / f"née   b{ending}"),
        ]  # fmt: skip
    else:
        found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_dir() or path.parent.name != "a"}
        assert found >= {f"a{RESULTS[task]}", f"über uns [2]/née   b{RESULTS[task]}"}
        assert not any(path.name.startswith(("torn", "empty", "notes", ".hidden")) for path in out.rglob("*"))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_replaced_unasked_and_what_is_missing_is_made(made: Path, files: Path, tmp_path: Path, task: str, capsys: Any) -> None:
    out = tmp_path / "out"
    words = (files, "-o", output(out, task))
    assert predict(made, task, *words) == 0
    first, other = result(out, task, "a"), result(out, task, "über uns [2]/née   b")
    kept, expected = content(first, task), other.read_bytes() if other.is_file() else None
    assert predict(made, task, *words) == 2
    assert "there already" in capsys.readouterr().err
    if task != TABLE:
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    assert predict(made, task, *words, "--skip-existing") == 0
    assert content(first, task) == kept
    assert expected is None or other.read_bytes() == expected
    assert other.exists()
    assert predict(made, task, *words, "--force") == 0
    assert content(first, task) != kept
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("task", TASKS)
def test_a_list_on_standard_input(made: Path, files: Path, task: str, monkeypatch: Any, capsys: Any) -> None:
    tmp_path = files.parent
    ending = WRITERS[task][1]
    odd = files / "über uns [2]" / f"née   b{ending}"
    listed = "\n".join(map(str, (odd, files / f"a{ending}", odd, files / f"gone{ending}"))) + "\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(os.fsencode(listed))))
    assert predict(made, task, "-", "-o", output(tmp_path / "out", task)) == 1
    said = capsys.readouterr().out
    assert "1 SKIPPED" in said
    assert f"gone{ending}: no such file" in said
    if task == TABLE:
        assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 3
    else:
        assert {path.name for path in (tmp_path / "out").iterdir()} == {f"a{RESULTS[task]}", f"née   b{RESULTS[task]}"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n\n")))
    assert predict(made, task, "-", "-o", output(tmp_path / "none", task)) == 2
    assert "empty" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_inputs_that_name_nothing_are_refused_and_duplicates_done_once(
    made: Path, files: Path, tmp_path: Path, task: str, capsys: Any
) -> None:
    ending = WRITERS[task][1]
    (tmp_path / "empty").mkdir()
    for given in (tmp_path / "empty", f"{files}/*.nothing", files / "gone"):
        assert predict(made, task, given, "-o", output(tmp_path / "out", task)) == 2
        assert capsys.readouterr().err.startswith(f"photic: error: {given}")
    assert not (tmp_path / "out").exists()
    assert predict(made, task, files / f"a{ending}", f"{files}/a*", "-o", output(tmp_path / "out", task)) == 0
    if task == TABLE:
        assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 2
    else:
        assert [path.name for path in (tmp_path / "out").iterdir()] == [f"a{RESULTS[task]}"]


@pytest.mark.parametrize("task", TASKS)
def test_results_inside_the_folder_of_the_inputs_are_no_inputs(made: Path, files: Path, task: str) -> None:
    words = (files, "-o", output(files / "results", task))
    assert predict(made, task, *words) == 0
    before = sorted(path for path in files.rglob("*"))
    assert predict(made, task, *words, "--force") == 0
    assert sorted(path for path in files.rglob("*")) == before
    if task not in (TABLE, "ptychography"):
        assert predict(made, task, files, "-o", files) == 2


def strange(folder: Path) -> dict[str, Path]:
    """Return files of other kinds than a model may expect."""
    grey = np.linspace(0, 90, 48 * 64).reshape(48, 64).astype(np.uint8)
    colours = np.stack([grey, grey[::-1], grey // 2], axis=-1)
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(np.dstack([colours, grey * 2])).save(folder / "alpha.png")
    Image.fromarray(colours).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(colours).save(folder / "colours.jpg")
    tifffile.imwrite(folder / "two.tif", np.zeros((2, 48, 64), np.uint16), photometric="minisblack", metadata=None)
    WRITERS["raw_denoising"][0](folder / "raw.dng", 3)
    WRITERS["ptychography"][0](folder / "scan.npz", 3)
    (folder / "program.exe").write_bytes(b"MZ" + bytes(200))
    return {path.stem: path for path in folder.iterdir()}


TAKEN = {
    TABLE: {"grey", "alpha", "cmyk", "colours"},
    "enhancement": {"grey", "alpha", "colours"},  # what inks look like, a CMYK picture without a profile does not say
    "raw_denoising": {"raw"},
    "compression": {"raw"},
    "ptychography": {"scan"},
}


@pytest.mark.parametrize("task", TASKS)
def test_files_of_another_kind_are_named_with_the_reason(made: Path, tmp_path: Path, task: str, capsys: Any) -> None:
    (tmp_path / "in").mkdir()
    given = strange(tmp_path / "in")
    assert predict(made, task, *sorted(given.values()), "-o", output(tmp_path / "out", task)) == 1
    said = capsys.readouterr().out
    refused = set(given) - TAKEN[task]
    assert f"{len(refused)} SKIPPED" in said
    skipped = [line for line in said.partition("SKIPPED")[2].splitlines() if line.startswith("  ")]
    assert {next(name for name, path in given.items() if str(path) in line) for line in skipped} == refused
    assert all(len(line) > len(str(tmp_path)) + 30 for line in skipped), "each says why"
    if task != TABLE:
        assert {path.stem for path in (tmp_path / "out").iterdir()} == TAKEN[task]


@pytest.mark.parametrize("task", TASKS)
def test_the_same_things_are_called_the_same(made: Path, task: str, capsys: Any) -> None:
    assert predict(made, task, "--help") == 0
    said = capsys.readouterr().out
    for option in ("-o", "--output", "--device", "--workers", "--skip-existing", "--force", "--quiet"):
        assert option in said, option
    assert "list of files from standard input" in " ".join(said.split())
