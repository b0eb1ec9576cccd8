"""Prediction of many files that is killed, with SIGKILL, or stopped: nothing is half there, and it goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from photic.cli.main import main
from photic.core.errors import ConfigError
from photic.workflows.predict import predict
from photic.workflows.prediction_journal import Entry, Journal, digest_of, journal_of

from ..tiny_models import tiny_bundle, write_picture

SIZES = ((48, 64), (32, 32), (64, 48))
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a classifier, an enhancer, and many pictures of three sizes, two of them unreadable, one too small."""
    folder = tmp_path_factory.mktemp("killed")
    for task in ("multilabel_classification", "enhancement"):
        tiny_bundle(task, folder)
    for number in range(6):
        write_picture(folder / "kinds" / f"{number}.png", number, SIZES[number % 3])
    (folder / "in").mkdir()
    for number in range(240):
        shutil.copy(folder / "kinds" / f"{number * 7 % 6}.png", folder / "in" / f"{number:03d}.png")
    (folder / "in" / "041.png").write_bytes(b"no picture")
    (folder / "in" / "190.png").write_bytes(b"")
    Image.new("RGB", (1, 1)).save(folder / "in" / "120.png")
    return folder


def start(made: Path, task: str, *words: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "photic", "predict", str(made / f"{task}.photic"), *map(str, words), "--device", "cpu", "--quiet"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)  # noqa: PLW1509 - no threads here


def wait_for(process: subprocess.Popen[str], come: Callable[[], bool]) -> None:
    """Wait until something is there; fail where the process ends before."""
    while not come():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        time.sleep(0.002)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def whole(made: Path) -> bytes:
    """Return the table of a prediction that nothing interrupts."""
    result = predict(made / "multilabel_classification.photic", made / "in", made / "whole.csv", batch_size=3, device="cpu", quiet=True)
    assert (result.num_files, len(result.skipped)) == (237, 3)
    return (made / "whole.csv").read_bytes()


def test_a_table_goes_on_after_sigkill_to_the_same_bytes(made: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    words = (made / "in", "-o", out, "--batch-size", 3)
    for enough in (4, 30):
        process = start(made, "multilabel_classification", *words, "--skip-existing")
        wait_for(process, lambda enough=enough: lines(journal_of(out)) >= enough)  # type: ignore[misc]
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not out.exists()
    before = lines(journal_of(out))
    assert 30 <= before < 80
    with open(journal_of(out), "ab") as handle:
        handle.write(b"[[199, [3, 4")  # as a power cut leaves it
    assert main(["predict", str(made / "multilabel_classification.photic"), *map(str, words), "--quiet"]) == 2
    result = predict(
        made / "multilabel_classification.photic", made / "in", out, batch_size=3, skip_existing=True, device="cpu", quiet=True
    )
    assert out.read_bytes() == whole
    assert result.num_known >= 3 * (before - 4)
    assert {file.name for file, _ in result.skipped} == {"041.png", "120.png", "190.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_journal_of_something_else_is_refused(made: Path, tmp_path: Path) -> None:
    pictures, out = tmp_path / "in", tmp_path / "out.csv"
    shutil.copytree(made / "kinds", pictures)
    model = shutil.copy(made / "multilabel_classification.photic", tmp_path / "model.photic")

    def begin() -> None:
        files = sorted(pictures.iterdir())
        journal_of(out).unlink(missing_ok=True)
        from importlib.metadata import version

        from photic.core.files import sha256_of

        stamp = {
            "photic": version("photic"),
            "model": sha256_of(model),
            "device": "cpu",
            "format": "csv",
            "batch_size": 4,
            "maps": False,
            "files": digest_of(files),
        }
        with Journal(journal_of(out), stamp, goes_on=False) as journal:
            journal.add([Entry(0, (48, 64, 3), "marked\n")])

    def go_on(**more: Any) -> None:
        predict(model, pictures, out, skip_existing=True, device="cpu", quiet=True, **more)

    begin()
    with pytest.raises(ConfigError, match=r"the form of the output \(--format\), the size of batches \(--batch-size\); repeat"):
        go_on(format="jsonl", batch_size=2)
    write_picture(pictures / "new.png", 9)
    with pytest.raises(ConfigError, match="something else: the list of files, or a file on it"):
        go_on()
    (pictures / "new.png").unlink()
    os.utime(pictures / "0.png", ns=(1, 1))
    with pytest.raises(ConfigError, match="the list of files, or a file on it"):
        go_on()
    begin()
    Path(model).write_bytes((made / "multilabel_classification.photic").read_bytes())
    with (
        Journal(journal_of(out), json.loads(journal_of(out).read_bytes().splitlines()[0]), goes_on=True),
        pytest.raises(ConfigError, match="another prediction is writing this output"),
    ):
        go_on()
    journal_of(out).write_text("my own notes")
    for more in ({"skip_existing": True}, {"force": True}):
        with pytest.raises(ConfigError, match="is no journal of a prediction"):
            predict(model, pictures, out, device="cpu", quiet=True, **more)  # type: ignore[arg-type]
    assert journal_of(out).read_text() == "my own notes"


def test_an_interrupted_prediction_says_how_to_go_on(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    process = start(made, "multilabel_classification", made / "in", "-o", out)
    wait_for(process, lambda: lines(journal_of(out)) >= 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.strip() == "photic: interrupted; what was predicted is kept, and the same command with --skip-existing goes on"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv.partial"]


def test_a_folder_goes_on_after_sigkill_and_holds_nothing_half(made: Path, tmp_path: Path) -> None:
    out, expected = tmp_path / "out", tmp_path / "expected"
    some = tmp_path / "in"
    some.mkdir()
    for path in sorted((made / "in").iterdir())[:60]:
        shutil.copy(path, some)
    process = start(made, "enhancement", some, "-o", out)
    wait_for(process, lambda: out.exists() and len(list(out.glob("*.png"))) >= 5)
    process.kill()
    process.communicate()
    there = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 5 <= len(there) < 59
    model = str(made / "enhancement.photic")
    assert main(["predict", model, str(some), "-o", str(out), "--skip-existing", "--device", "cpu", "--quiet"]) == 1
    assert main(["predict", model, str(some), "-o", str(expected), "--device", "cpu", "--quiet"]) == 1
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert {path.name: path.read_bytes() for path in out.glob("*.png")} == {path.name: path.read_bytes() for path in expected.glob("*.png")}
