"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from photic.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from photic.core.errors import CheckpointError
from photic.core.files import append_line, atomic_path, remove_leftovers, write_json, write_text


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_round_trips(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "ü": "x"}
    assert json.loads(write_json(tmp_path / "a.json", value).read_text(encoding="utf-8")) == value


def test_line_after_a_torn_line_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append_line(path, "one")
    with open(path, "a") as handle:
        handle.write('{"torn')
    append_line(path, "two")
    assert path.read_text().splitlines() == ["one", '{"torn', "two"]


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.safetensors.12-ab.tmp").write_text("x")
    (tmp_path / "keep").write_text("x")
    assert remove_leftovers(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


def test_full_disk_keeps_the_previous_checkpoint(tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]) -> None:
    path = write_checkpoint(tmp_path / "last.safetensors", Checkpoint({"w": torch.ones(3)}))
    with full_disk(100_000), pytest.raises(CheckpointError, match=r"the previous checkpoint .*Free some space"):
        write_checkpoint(path, Checkpoint({"w": torch.zeros(1_000_000)}))
    assert read_checkpoint(path).weights["w"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]
