"""``photic compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.parser import Parser

EXAMPLES = (
    ("photic compare runs/severstal/A runs/severstal/B", "two runs: values, paired difference, settings that differ"),
    ("photic compare runs/severstal", "all finished runs of an experiment; seeds and folds become groups"),
    ("photic compare runs/ptycho", "reconstructions: R_amp, lower is better"),
    ("photic compare runs/neu_det/* runs/neu_det_large/* -o both.html --json both.json", "two experiments, as a page and for machines"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "compare",
        "Put finished runs side by side: values, differences with paired bootstrap intervals, settings that differ, and a page with "
        "overlaid curves. Works for every task: average precision and F1 of classifications, R_amp of ptychography, whatever a task says "
        "its test table holds; runs of another kind than the first are left out, by name. "
        "Runs that differ only in their seed (or fold) form a group: mean and standard deviation. "
        "The first run, or its group, is what the others are held against. "
        "Runs are compared on their test splits, or, where none of them has one, on validation, which is then said.",
        EXAMPLES,
        usage="RUN RUN ... [-o FILE] [--json FILE]",
    )
    made.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run or of runs; unfinished ones are left out, by name")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="HTML page (default: comparison.html in the folder the runs share)")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    from photic.workflows.compare import compare

    result = compare(options.runs, options.output, json=options.json)
    print(result.table())
    print(f"\nwritten to {result.report}")
    if options.json is not None:
        print(f"written to {options.json}")
    return 0
