"""``photic info``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photic.cli.parser import Parser, terminal_width
from photic.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from photic.workflows.info import FileInfo, ModelInfo

EXAMPLES = (
    ("photic info model.photic", "what a bundle is, how good, on what; and whether it is whole"),
    ("photic info runs/severstal/ID", "the same of a run"),
    ("photic info model.photic --card > card.md", "the card to read"),
    ("photic info model.photic --json", "everything, for programs"),
    ("photic info photo.phc", "size, model, bits and metadata of a compressed photograph, without decoding it"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "info", "Say what a bundle, a checkpoint, a run or a compressed picture is.", EXAMPLES, usage="FILE|RUN [--card | --json]"
    )
    made.add_argument(
        "path",
        type=Path,
        metavar="FILE|RUN",
        help="a bundle, a checkpoint, the folder of a run, the name of a model that comes with Photic, or a compressed photograph (.phc)",
    )
    form = made.add_mutually_exclusive_group()
    form.add_argument("--card", action="store_true", help="print the model card (Markdown) of a bundle")
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    from photic.workflows.info import FileInfo, file_info, info

    found = file_info(options.path) or info(options.path)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    elif isinstance(found, FileInfo):
        if options.card:
            raise ConfigError(f"{found.path}: a {found.kind} has no card; leave --card away")
        _print_file(found)
    elif options.card:
        if found.card is None:
            raise ConfigError(f"{found.path}: a {found.kind} has no card; make a bundle: photic bundle RUN -o model.photic")
        print(found.card, end="")
    else:
        _print(found)
    return 0


def _console() -> Console:
    from rich.console import Console

    # Names come from files of others: they are shown, not understood.
    return Console(markup=False, emoji=False, highlight=False, width=terminal_width())


def _print_file(found: FileInfo) -> None:
    console = _console()
    console.print(f"{found.kind} {found.path.name}", style="bold")
    console.print(_essentials((("path", str(found.path)), *found.rows)))


def _print(found: ModelInfo) -> None:
    console = _console()
    console.print(f"{found.kind} {found.facts['name']}", style="bold")
    console.print(_essentials(_rows(found)))
    classes = found.facts.get("classes") or []
    if classes:
        console.print(_classes(found.facts, classes))


def _essentials(rows: Iterable[tuple[str, str]]) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _rows(found: ModelInfo) -> Iterator[tuple[str, str]]:
    facts, training, data = found.facts, found.facts["training"], found.facts["data"]
    yield "path", str(found.path)
    if found.file is not None:
        checksum = f"checksum correct ({found.file['sha256'][:16]})" if found.file["sha256"] else "no checksum"
        yield "file", f"{found.file['size_bytes'] / 1e6:.1f} MB, {found.file['num_tensors']} tensors, {checksum}"
    if training["status"] not in (None, "completed"):
        yield "status", training["status"]
    parameters = (facts["parameters"] or {}).get("total")
    number = f", {parameters:,} parameters" if parameters else ""
    yield "network", f"{facts['config']['model']['name']}{number}; task {facts['config']['task']['name']}"
    size = facts["preprocessing"]["image_size"]
    if facts.get("input"):
        yield "input", str(facts["input"])
    else:
        yield "pictures", f"resized to {size[0]} x {size[1]} px (height x width)" if size else "at their own size"
    counts = ", ".join(f"{count} {split}" for split, count in (data["counts"] or {}).items())
    fingerprint = f", fingerprint {data['fingerprint'][:12]}" if data["fingerprint"] else ""
    yield "data", f"{data['name']}{f': {counts}' if counts else ''}{fingerprint}"
    if data["terms"] or found.kind == "bundle":
        yield "terms", data["terms"] or "not stated"
    best = training["best"]
    if best["value"] is not None:
        yield "validation", f"{best['monitor']} {_number(best['value'])} at epoch {str(best['epoch']).removesuffix('.0')}"
    yield from _measured(facts["metrics"]["test"] or {})
    if training["photic"] or training["finished"]:
        yield "trained", f"Photic {training['photic'] or '?'}{', ' + training['finished'] if training['finished'] else ''}"
    if found.kind == "bundle":
        yield "bundled", f"Photic {facts['photic']}, {facts['created']}"


def _measured(test: dict[str, Any]) -> Iterator[tuple[str, str]]:
    plain = "  ".join(f"{name} {_number(value)}" for name, value in test.items() if isinstance(value, float) and name != "loss")
    if plain:
        yield "test", plain
    for place, label in (("at_tuned", "stored thresholds"), ("at_0.5", "threshold 0.5")):
        if place in test:
            macro = test[place]["macro"]
            values = "  ".join(f"{name.upper()} {_number(macro.get(name))}" for name in ("ap", "auc", "f1"))
            yield "test", f"macro {values}  ({label})"


def _classes(facts: dict[str, Any], classes: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    per_class = ((facts["metrics"]["test"] or {}).get("at_tuned") or {}).get("per_class", {})
    thresholds = facts.get("thresholds") or [None] * len(classes)
    columns = ("ap", "auc", "precision", "recall", "f1") if per_class else ()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("class", overflow="fold", min_width=12)
    for name in ("threshold", *columns, *(("positives",) if per_class else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for name, threshold in zip(classes, thresholds, strict=True):
        values = per_class.get(name, {})
        support = (str(values.get("support", "")),) if per_class else ()
        table.add_row(name, _number(threshold), *(_number(values.get(column)) for column in columns), *support)
    return table


def _number(value: Any) -> str:
    return "n/a" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
