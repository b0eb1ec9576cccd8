"""Pages of the command line: what every command says to ``--help``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from photic.cli.main import COMMANDS, plugin_commands
from photic.core.plugins import Command, installed_plugins

COLUMNS = 100
"""Width of the help pages."""
# All in one process, since importing torch takes longer than all of them.
_PROGRAM = """
import contextlib, io, json, sys
from photic.core.plugins import load_reference

said = []
for target, words in json.load(sys.stdin):
    out, status = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            status = load_reference(target)([*words, "--help"])
        except SystemExit as end:
            status = end.code
    if status not in (0, None) or not out.getvalue().strip():
        sys.exit(f"{target} {' '.join(words)} --help: status {status}")
    said.append(out.getvalue())
json.dump(said, sys.stdout)
"""
_MAIN = "photic.cli.main:main"


@dataclass(frozen=True)
class _Help:
    """A help page."""

    heading: str
    target: str
    """The function that prints it."""
    words: tuple[str, ...]
    """What it is called with, before ``--help``."""


def pages() -> dict[str, str]:
    """Return a page of all commands and one for each, by file name."""
    known: dict[str, Command] = {**COMMANDS, **plugin_commands()}
    wanted = {name: [_Help(f"photic {name}", _MAIN, (name,))] for name in known}
    for plugin in installed_plugins().values():
        for verb, own in (("predict", plugin.predictors), ("evaluate", plugin.evaluators)):
            wanted[verb] += [_Help(f"photic {verb}: {task}", command.target, ("MODEL",)) for task, command in own.items()]
        for verb in sorted(plugin.data_commands):
            wanted["data"].append(_Help(f"photic data {verb} {plugin.name}", _MAIN, ("data", verb, plugin.name)))
    every = [one for found in wanted.values() for one in found]
    said = dict(zip(every, _help(every), strict=True))
    rows = "\n".join(f"| [`photic {name}`]({name}.md) | {command.summary} |" for name, command in sorted(known.items()))
    made = {
        "index.md": f"# Commands\n\n`photic COMMAND --help` prints what these pages say.\n\n| command | what it does |\n|---|---|\n{rows}\n"
    }
    for name, found in wanted.items():
        parts = [f"# photic {name}", known[name].summary + "."]
        for one in found:
            parts += [f"## {one.heading}"] if len(found) > 1 else []
            parts.append(f"```text\n{said[one].rstrip()}\n```")
        made[f"{name}.md"] = "\n\n".join(parts) + "\n"
    return made


def _help(wanted: list[_Help]) -> list[str]:
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    lines = json.dumps([(one.target, one.words) for one in wanted])
    done = subprocess.run([sys.executable, "-c", _PROGRAM], input=lines, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"help pages: {done.stderr}")
    said: list[str] = json.loads(done.stdout)
    return said
