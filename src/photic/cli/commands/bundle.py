"""``photic bundle``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.parser import Parser
from photic.core.errors import ConfigError

EXAMPLES = (
    ("photic bundle runs/severstal/ID -o model.photic", "one file with weights, thresholds, class names, metrics and card"),
    ("photic bundle runs/severstal/ID -o model.photic --terms 'research use only'", "say on which terms the training data may be used"),
    ("photic predict model.photic strips/ -o predictions.csv", "use it, here or anywhere else; the run is not needed"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser("bundle", "Put a finished run into one file that can be used anywhere.", EXAMPLES, usage="RUN -o FILE.photic [options]")
    made.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write, ending in .photic")
    made.add_argument("--terms", metavar="TEXT", help="terms of the training data, for the card")
    made.add_argument("--name", metavar="TEXT", help="what the model is called (default: experiment and id of the run)")
    made.add_argument("--notes", type=Path, metavar="FILE", help="Markdown for the card: where it fails, what it is for")
    made.add_argument("--half", action="store_true", help="round weights to half precision: half the size; the card says so")
    made.add_argument("--force", action="store_true", help="replace an existing file")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    from photic.workflows.bundle import bundle

    notes = None if options.notes is None else read_notes(options.notes)
    made = bundle(options.run, options.output, force=options.force, terms=options.terms, name=options.name, notes=notes, half=options.half)
    print(made.summary())
    return 0


def read_notes(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: there is none, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--notes {path}: cannot be read ({error}); expected a text file, Markdown in UTF-8") from error
