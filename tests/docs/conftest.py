"""What runs the documentation's snippets: the tools of the site, and one process that has imported what is slow to import."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "site"))

from snippets import Snippet  # noqa: E402

Run = Callable[[Path, Sequence[Snippet]], None]


@pytest.fixture(scope="session")
def runner() -> Iterator[subprocess.Popen[str]]:
    """The process that forks for each page."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTIC_")} | {
        "COLUMNS": "100",
        "MPLBACKEND": "agg",
    }
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "site" / "runner.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(60)
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture
def run(runner: subprocess.Popen[str]) -> Run:
    """Run snippets one after another in a folder; fail with what the first one said that did not end as it should."""

    def made(folder: Path, snippets: Sequence[Snippet]) -> None:
        assert runner.stdin is not None
        assert runner.stdout is not None
        print(json.dumps({"folder": str(folder), "snippets": [dataclasses.asdict(one) for one in snippets]}), file=runner.stdin, flush=True)
        answer: dict[str, Any] = json.loads(runner.stdout.readline())
        assert answer["status"] == 0, "the runner itself failed; its traceback is on standard error"
        for snippet, said in zip(snippets, answer["answers"], strict=False):
            print(f"{snippet.place}: {said['cpu_s']:.1f} s")
            told = (
                f"{snippet.place}: status {said['status']}, expected {snippet.directive.status}\n{snippet.text}\n{said['output'][-4000:]}"
            )
            assert said["status"] == snippet.directive.status, told
            assert "Traceback" not in said["output"], told
        assert len(answer["answers"]) == len(snippets)

    return made
