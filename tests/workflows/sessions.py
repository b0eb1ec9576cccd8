"""Several command lines in one process of their own, since importing torch takes longer than most of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A word with a star stands for the files that match it when its turn comes.
PROGRAM = """
import contextlib, glob, io, json, sys
from photic.cli.main import main

answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([found for word in words for found in (sorted(glob.glob(word)) if "*" in word else [word])])
    answers.append([status, out.getvalue(), err.getvalue()])
print()
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class Answer:
    """What became of a command line."""

    status: int
    out: str
    err: str


def session(lines: Mapping[str, Sequence[str]], folder: Path, packages: Path | None) -> dict[str, Answer]:
    """Run command lines one after another in one process and return what each said.

    Args:
        lines: words after ``photic``, by a name for each.
        folder: where they run.
        packages: folder of packages that only they see.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps([list(words) for words in lines.values()]), capture_output=True, text=True,
        check=False, cwd=folder, env=environment, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = {name: Answer(*answer) for name, answer in zip(lines, json.loads(done.stdout.splitlines()[-1]), strict=True)}
    for name, answer in found.items():
        assert "Traceback" not in answer.err, f"{name}: {answer.err}"
    return found
