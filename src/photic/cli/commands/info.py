"""``photic info``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photic.cli.parser import Parser, terminal_width
from photic.core.errors import ConfigError
from photic.core.index import is_known
from photic.core.plugins import advice, shipped_models
from photic.inference.card import LEVELS, around_network
from photic.inference.measured import labels, levels, mapping, number, scores

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from photic.workflows.info import FileInfo, ModelInfo

EXAMPLES = (
    ("photic info model.photic", "what a bundle is, how good, on what; and whether it is whole"),
    ("photic info rawdenoise", "the same of a model that comes with Photic, or of one of yours by its name (`photic models`)"),
    ("photic info runs/severstal/ID", "the same of a run"),
    ("photic info model.photic --card > card.md", "the card to read"),
    ("photic info model.photic --json", "everything, for programs"),
    ("photic info photo.phc", "size, model, bits and metadata of a compressed photograph, without decoding it"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "info", "Say what a bundle, a checkpoint, a run or a compressed picture is.", EXAMPLES, usage="FILE|RUN|NAME [--card | --json]"
    )
    made.add_argument(
        "path",
        type=Path,
        metavar="FILE|RUN|NAME",
        help="a bundle, a checkpoint, the folder of a run, the name of a model (`photic models`), or a compressed photograph (.phc)",
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
    for table in _levels(found.facts):
        console.print(table)


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
        yield "file", f"{found.file['size_bytes'] / 1e6:.1f} MB, {found.file['num_tensors']} tensors"
        yield "checksum", f"correct (SHA-256 {found.file['sha256']})" if found.file["sha256"] else "none"
    if training["status"] not in (None, "completed"):
        yield "status", training["status"]
    parameters = (facts["parameters"] or {}).get("total")
    number_of = f", {parameters:,} parameters" if parameters else ""
    yield "network", f"{facts['config']['model']['name']}{number_of}; task {facts['config']['task']['name']}"
    yield from _needs(facts)
    yield from _ports(facts)
    for part, texts in groupby(around_network(facts), key=itemgetter(0)):
        yield part, "; ".join(f"{name}: {text}" if name else text for _, name, text in texts)
    counts = ", ".join(f"{count} {split}" for split, count in (data["counts"] or {}).items())
    fingerprint = f", fingerprint {data['fingerprint'][:12]}" if data["fingerprint"] else ""
    yield "data", f"{data['name']}{f': {counts}' if counts else ''}{fingerprint}"
    for note in data["notes"]:
        yield "", note
    if data["terms"] or found.kind == "bundle":
        yield "terms", data["terms"] or "not stated"
    yield from _measured(facts)
    yield from _trained(found)
    for place, command in enumerate(_commands(found)):
        yield "" if place else "use", command


def _needs(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield which parts of a model are not installed here."""
    config = facts["config"]
    lacking = [f"the {what} '{config[what]['name']}'" for what in ("task", "model") if not is_known(f"{what}s", config[what]["name"])]
    if lacking:
        yield "not here", f"{' and '.join(lacking)}: not known to what is installed{advice(facts['requires'])}"


def _ports(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what goes in and what comes out: of the deployed graph where the file says it, else in words."""
    size = facts["preprocessing"]["image_size"]
    if facts.get("input"):
        yield "input", str(facts["input"])
    else:
        yield "pictures", f"resized to {size[0]} x {size[1]} px (height x width)" if size else "at their own size"
    if facts.get("interface"):
        from photic.tasks.interface import GraphInterface

        last = ""
        for line in GraphInterface.from_json(facts["interface"]).lines():
            word, _, text = line.partition("  ")
            yield "" if word == last else word, text
            last = word


def _measured(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    best, test = facts["training"]["best"], facts["metrics"]["test"] or {}
    if best["value"] is not None:
        yield (
            "validation",
            f"{best['monitor']} {number(best['value'])} at epoch {str(best['epoch']).removesuffix('.0')}, which chose the weights",
        )
    for place, label in (("at_tuned", "stored thresholds"), ("at_0.5", "threshold 0.5")):
        if place in test:
            macro = mapping(mapping(test[place]).get("macro"))
            values = "  ".join(f"{name.upper()} {number(macro.get(name))}" for name in ("ap", "auc", "f1"))
            yield "test", f"macro {values}  ({label})"
    found = [] if "at_tuned" in test else scores(facts)
    if found:
        yield ("test" if found[0].split == "test" else "", "  ".join(map(str, found)))
    elif not test and best["value"] is None:
        yield "measured", "not at all, as far as this says"


def _trained(found: ModelInfo) -> Iterator[tuple[str, str]]:
    training, settings = found.facts["training"], mapping(found.facts["training"]["settings"])
    known = (
        ("recipe", training["recipe"]),
        ("seed", settings.get("seed")),
        ("optimizer", mapping(settings.get("optimizer")).get("name")),
        ("loss", mapping(settings.get("loss")).get("name")),
        ("at most", _epochs(mapping(settings.get("training")).get("num_epochs"))),
        ("took", None if not training["wall_seconds"] else f"{training['wall_seconds'] / 60:.0f} minutes"),
        ("finished", training["finished"]),
        ("by", training["photic"] and f"Photic {training['photic']}"),
    )
    text = ", ".join(f"{name} {value}" for name, value in known if value is not None)
    if text:
        yield "trained", text
    if found.kind == "bundle":
        yield "bundled", f"Photic {found.facts['photic']}, {found.facts['created']}; all settings: photic info FILE --json"


def _epochs(count: Any) -> str | None:
    return None if count is None else f"{count} epochs"


def _commands(found: ModelInfo) -> list[str]:
    """Return commands that use a model: those of its card, or in general."""
    shown = found.path.stem if found.path in shipped_models().values() else str(found.path)
    use = (found.card or "").partition("\n## Use\n")[2].partition("\n## ")[0]
    written = re.findall(r"^ {4}(photic .+)$", use, re.MULTILINE)
    if written:
        return [re.sub(r"\bFILE\b", lambda _: shown, command) for command in written[:4]]
    return [f"photic predict {shown} FILES ..."] if found.kind != "checkpoint" else []


def _levels(facts: dict[str, Any]) -> Iterator[Table]:
    """Yield a table of values by ISO, by quality level."""
    from rich import box
    from rich.table import Table

    for kind, rows in levels(facts).items():
        known = {name: label for name, label in labels(facts).items() if any(name in values for values in rows.values())}
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column(LEVELS[kind], justify="right", no_wrap=True)
        for label in known.values():
            table.add_column(label, justify="right")
        for level, values in rows.items():
            table.add_row(level, *(number(values.get(name)) for name in known))
        yield table


def _classes(facts: dict[str, Any], classes: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    per_class = mapping(mapping(mapping(facts["metrics"]["test"]).get("at_tuned")).get("per_class"))
    thresholds = facts.get("thresholds") or [None] * len(classes)
    columns = ("ap", "auc", "precision", "recall", "f1") if per_class else ()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("class", overflow="fold", min_width=12)
    for name in ("threshold", *columns, *(("positives",) if per_class else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for name, threshold in zip(classes, thresholds, strict=True):
        values = mapping(per_class.get(name))
        support = (str(values.get("support", "")),) if per_class else ()
        table.add_row(name, number(threshold), *(number(values.get(column)) for column in columns), *support)
    return table
