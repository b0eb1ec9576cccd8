"""Pages of the command line: what every command says to ``--help``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from photic.cli.main import COMMANDS, plugin_commands
from photic.core.plugins import Command, installed_plugins, shipped_models

COLUMNS = 100
"""Width of the help pages."""
# All in one process, since importing torch takes longer than all of them.
_PROGRAM = """
import contextlib, io, json, sys
from photic.cli.main import main

said = []
for words in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main([*words, "--help"])
    if status != 0 or not out.getvalue().strip():
        sys.exit(f"photic {' '.join(words)} --help: status {status}")
    said.append(out.getvalue())
json.dump(said, sys.stdout)
"""


def pages() -> dict[str, str]:
    """Return a page of all commands and one for each, by file name."""
    known: dict[str, Command] = {**COMMANDS, **plugin_commands()}
    wanted = {name: [[name]] for name in known}
    for verb in ("predict", "evaluate"):
        wanted[verb] += [[verb, name] for name in sorted(shipped_models())]
    for plugin in installed_plugins().values():
        wanted["data"] += [["data", verb, plugin.name] for verb in sorted(plugin.data_commands)]
    said = _help([words for found in wanted.values() for words in found])
    rows = "\n".join(f"| [`photic {name}`]({name}.md) | {command.summary} |" for name, command in sorted(known.items()))
    made = {
        "index.md": f"# Commands\n\n`photic COMMAND --help` prints what these pages say.\n\n| command | what it does |\n|---|---|\n{rows}\n"
    }
    for name, found in wanted.items():
        parts = [f"# photic {name}", known[name].summary + "."]
        for words in found:
            parts += [f"## photic {' '.join(words)}"] if len(found) > 1 else []
            parts.append(f"```text\n{said[' '.join(words)].rstrip()}\n```")
        made[f"{name}.md"] = "\n\n".join(parts) + "\n"
    return made


def _help(lines: list[list[str]]) -> dict[str, str]:
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], input=json.dumps(lines), capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise RuntimeError(f"help pages: {done.stderr}")
    return dict(zip((" ".join(words) for words in lines), json.loads(done.stdout), strict=True))
