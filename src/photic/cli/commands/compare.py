"""``photic compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.parser import Parser

EXAMPLES = (
    ("photic compare runs/severstal/A runs/severstal/B", "two runs"),
    ("photic compare runs/severstal/* -o comparison.html", "all runs of an experiment, as a page"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser("compare", "Put the results of runs side by side.", EXAMPLES, usage="RUN RUN ... [-o FILE]")
    made.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="HTML page to write")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    from photic.workflows.compare import compare

    result = compare(options.runs, options.output)
    print(result.table())
    if result.report is not None:
        print(f"\nwritten to {result.report}")
    return 0
