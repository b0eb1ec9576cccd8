"""``photic predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.applications import command_of, sections_of
from photic.cli.parser import Parser
from photic.core.arguments import whole_number
from photic.core.errors import RunInterrupted, nearest
from photic.core.plugins import model_source, shipped_models

EXAMPLES = (
    ("photic predict model.photic strips/ -o predictions.csv", "every picture of a folder, with a bundle"),
    ("photic predict runs/severstal/ID strips/ -o predictions.csv", "the same with the best weights of a run"),
    ("photic predict runs/severstal/ID 'line3/*.jpg' spare.png -o out.jsonl --format jsonl", "a glob and a file, one JSON object a line"),
    ("photic predict runs/severstal/ID strips/ -o out.csv --maps maps/", "with maps of what the network looked at"),
    ("photic predict runs/severstal/ID strips/ -o out.csv --skip-existing", "goes on where an earlier one was interrupted"),
    ("find . -name '*.png' | photic predict runs/severstal/ID - -o out.csv", "a list of files"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "predict",
        "Apply a bundle, or the best weights of a run, to pictures.",
        EXAMPLES,
        usage="MODEL INPUT ... -o FILE [options]",
        sections=lambda: sections_of("predict"),
    )
    made.add_argument("model", type=Path, metavar="MODEL", help="a bundle (.photic), the folder of a run, or a checkpoint")
    made.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="file, folder or glob; - reads a list of files from standard input, one a line"
    )
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    made.add_argument("--format", default="csv", help="csv, jsonl, or a form of an application, such as kaggle (default: csv)")
    made.add_argument("--maps", type=Path, metavar="DIR", help="also write class-activation maps, laid over the pictures")
    made.add_argument("--batch-size", type=whole_number(1), default=4, metavar="N", help="pictures at a time (default: 4)")
    made.add_argument("--workers", type=whole_number(), default=2, metavar="N", help="threads that read pictures ahead (default: 2)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    made.add_argument("--skip-existing", action="store_true", help="leave an output that is there; go on with one that was interrupted")
    made.add_argument("--force", action="store_true", help="replace an existing output")
    made.add_argument("--quiet", action="store_true", help="no progress display")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command, or that of the application whose model it is; the status is 1 where pictures had to be left out."""
    other = command_of("predict", arguments)
    if other is not None:
        return other(list(arguments))
    word = next((word for word in arguments if not word.startswith("-")), "")
    if not Path(word).exists() and nearest(word, shipped_models()):
        model_source(word)  # says which name was meant
    options = parser().parse_intermixed_args(arguments)
    from photic.workflows.predict import predict

    try:
        result = predict(
            options.model,
            options.inputs,
            options.output,
            format=options.format,
            maps=options.maps,
            batch_size=options.batch_size,
            force=options.force,
            skip_existing=options.skip_existing,
            device=options.device,
            workers=options.workers,
            quiet=options.quiet,
        )
    except KeyboardInterrupt:
        raise RunInterrupted("interrupted; what was predicted is kept, and the same command with --skip-existing goes on") from None
    print(result.summary())
    return 1 if result.skipped else 0
