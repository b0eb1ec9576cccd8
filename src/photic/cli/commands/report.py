"""``photic report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.parser import Parser

EXAMPLES = (
    ("photic report runs/severstal/ID", "made anew in the run's folder, with all evaluations that are there by now"),
    ("photic report runs/severstal/ID -o defects.html --open", "as a file to pass on, and look at it"),
    (
        "photic evaluate runs/lowlight_compact/ID && photic report runs/lowlight_compact/ID",
        "with pictures to wipe between before and after",
    ),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "report",
        "Write the page of a run: one HTML file without anything beside it, for a browser, a phone or paper. It shows what the run's "
        "folder holds: curves, values, predictions, and what `photic evaluate` left there; nothing is trained or measured. Works for "
        "finished, interrupted and failed runs of every application, and without the data; what is then left out is said on the page.",
        EXAMPLES,
        usage="RUN [-o FILE] [--force] [--open]",
    )
    made.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="HTML file to write (default: report.html in the run, made anew)")
    made.add_argument("--force", action="store_true", help="replace FILE if it exists")
    made.add_argument("--open", action="store_true", help="show it in the browser")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    from photic.workflows.report import write_report

    made = write_report(options.run, options.output, force=options.force)
    print(made.summary())
    if options.open:
        import webbrowser

        if not webbrowser.open(made.report.resolve().as_uri()):
            print("no browser was found; open the file yourself")
    return 0
