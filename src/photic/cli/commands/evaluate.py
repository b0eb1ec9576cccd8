"""``photic evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.applications import command_of, sections_of
from photic.cli.parser import Parser

EXAMPLES = (
    ("photic evaluate runs/severstal/ID", "the test split, with the thresholds stored in the run"),
    ("photic evaluate runs/severstal/ID --split val", "another split"),
    ("photic evaluate runs/severstal/ID data.root=OTHER --output other.json", "other data of the same classes"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "evaluate",
        "Measure the best weights of a run.",
        EXAMPLES,
        usage="RUN [data.KEY=VALUE ...] [options]",
        sections=lambda: sections_of("evaluate"),
    )
    made.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    made.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="changes to the data, such as data.root=FOLDER")
    made.add_argument("--split", choices=("test", "val", "train"), default="test", help="which split (default: test)")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON file to write (default: in the run's folder)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command, or that of the application whose run it is."""
    other = command_of("evaluate", arguments)
    if other is not None:
        return other(list(arguments))
    options = parser().parse_intermixed_args(arguments)
    from photic.cli.compose import changes_of
    from photic.workflows.evaluate import evaluate

    changes = dict(changes_of(options.overrides))
    result = evaluate(options.run, split=options.split, overrides=changes, output=options.output, device=options.device)
    print(result.table())
    print(f"\nwritten to {result.output}")
    return 0
