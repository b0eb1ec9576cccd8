"""``photic demo``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.parser import Parser, Section, columns
from photic.core.errors import UnknownNameError, nearest
from photic.core.plugins import installed_plugins

EXAMPLES = (
    ("photic demo", "every application"),
    ("photic demo defects -o /tmp/photic", "one of them, into a folder of your choice"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "demo",
        "Run the main job of applications on generated data, a minute each, and write a report.",
        EXAMPLES,
        _sections,
        usage="[APPLICATION ...] [-o DIR]",
    )
    made.add_argument("applications", nargs="*", metavar="APPLICATION", help="which ones (default: all)")
    made.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder to write to (default: demo)")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    known = [name for name, plugin in installed_plugins().items() if plugin.demo is not None]
    for name in options.applications:
        if name not in known:
            raise UnknownNameError(f"no demo is called '{name}'{nearest(name, known)} (there are: {', '.join(known) or 'none'})")
    from photic.workflows.demo import run_demos

    return run_demos(options.applications or known, options.output)


def _sections() -> list[Section]:
    rows = [(plugin.name, plugin.summary) for plugin in installed_plugins().values() if plugin.demo is not None]
    return [("applications", "\n".join(columns(rows, wrapped=1)) or "none")]
