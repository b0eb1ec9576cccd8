"""Several processes that make files: results in the order of the files, a process that dies, a full disk, nobody left who waits."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from photic.core.errors import ConfigError, StorageError
from photic.workflows.file_jobs import run


@pytest.fixture(scope="module")
def makers() -> Iterator[Any]:
    """Return the module of makers under the name by which other processes import it."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield importlib.import_module("file_makers")
    sys.path.remove(folder)


def test_results_come_in_the_order_of_the_files_and_bad_ones_are_named(makers: Any, tmp_path: Path) -> None:
    given = makers.targets(tmp_path, "a", "bad", "b", "die", "c", "d", "e")
    outcome = run("Copying", given, makers.copier, workers=2, quiet=True)
    assert [(source.name, answer.notes) for source, answer in outcome.answers] == [
        (f"{number}.txt", (f"copied {number}.txt",)) for number in (0, 2, 4, 5, 6)
    ]
    assert [(path.read_text()) for path in outcome.made] == ["a", "b", "c", "d", "e"]
    assert os.getpid() not in {answer.values["pid"] for _, answer in outcome.answers}
    (bad, why), (died, how) = outcome.failed
    assert (bad.name, why) == ("1.txt", f"{bad}: is bad")
    assert died.name == "3.txt"
    assert "killed by signal 9 (SIGKILL), as systems do when memory runs out; nothing was written" in how
    assert outcome.status == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{number}.txt" for number in (0, 2, 4, 5, 6)]


def test_what_no_file_is_to_blame_for_ends_the_work(makers: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        run("Copying", makers.targets(tmp_path, "full", "slow", "slow"), makers.copier, workers=2, quiet=True)
    assert not list((tmp_path / "out").glob(".*")), "what was being written is gone"
    with pytest.raises(ConfigError, match="cannot be followed"):
        run("Copying", makers.targets(tmp_path, "a", "b"), makers.refusing, workers=2, quiet=True)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a mistake of ours"):
        run("Copying", makers.targets(tmp_path, "bug", "b"), makers.copier, workers=2, quiet=True)


_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from file_makers import copier, targets
from photic.workflows.file_workers import in_processes
if __name__ == "__main__":
    in_processes(targets(Path({folder!r}), "slow", "slow"), copier, 2, lambda share: None)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_no_process_stays_behind(tmp_path: Path, sign: signal.Signals) -> None:
    script = tmp_path / "work.py"
    script.write_text(_SCRIPT.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, preexec_fn=heard)  # noqa: PLW1509 - no threads here
    while len(pids := [int(path.name.removeprefix("pid_")) for path in tmp_path.glob("in/pid_*")]) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(sign)
    _, said = process.communicate()
    if sign == signal.SIGINT:
        assert said.strip().endswith("KeyboardInterrupt")
        assert not list(tmp_path.glob("out/.*")) + list(tmp_path.glob("out/*"))
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a process stayed behind"
        time.sleep(0.02)
    if sign == signal.SIGKILL:  # they finish what they are at, and notice that nobody wants more
        assert sorted((path.name, path.read_text()) for path in tmp_path.glob("out/*")) == [("0.txt", "slow"), ("1.txt", "slow")]
        assert not list(tmp_path.glob("out/.*"))
