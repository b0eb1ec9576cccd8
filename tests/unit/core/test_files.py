"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no limit on file sizes")
def test_full_disk_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    """The limit on file sizes makes the operating system refuse the write in the middle, as a full disk does."""
    code = f"""
import resource, signal, torch
from pathlib import Path
from photic.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from photic.core.errors import CheckpointError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path)!r}) / "last.safetensors"
write_checkpoint(path, Checkpoint({{"w": torch.ones(3)}}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_checkpoint(path, Checkpoint({{"w": torch.zeros(1_000_000)}}))
except CheckpointError as error:
    assert "the previous checkpoint" in str(error) and "Free some space" in str(error), error
else:
    raise SystemExit("no error")
assert read_checkpoint(path).weights["w"].tolist() == [1, 1, 1]
assert [p.name for p in path.parent.iterdir()] == ["last.safetensors"], list(path.parent.iterdir())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
