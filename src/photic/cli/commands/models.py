"""``photic models``: the shelf of trained models, and the user's own folder of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from photic.cli.parser import INDENT, Parser, columns, section, terminal_width
from photic.core.errors import UnknownNameError, nearest
from photic.core.shelf import SEARCH_PATH, shelf_folders, user_folder
from photic.workflows.shelf import Order, ShelfEntry, add_to_shelf, remove_from_shelf, shelf

EXAMPLES = (
    ("photic models", "what there is: name, task, score, size, terms"),
    ("photic models --task raw_denoising --sort score", "the denoisers, best first"),
    ("photic models 'star*' --folder /lab/models", "some of another folder"),
    ("photic models add model.photic --name night", "keep a bundle; from now on `photic predict night photo.jpg` uses it, anywhere"),
    ("photic models remove night --force", "delete it again"),
    ("photic models --json", "everything, for programs"),
)
_HEAD = ("name", "task", "score", "params", "size", "terms")
_LEAST_TERMS = 30
"""Characters that terms get beside the other columns, at least."""
_NUMBERS = (3, 4)
"""Columns that are set to the right."""


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "models",
        "List trained models: those that come with Photic, and bundles in folders of yours. Every command takes them by their names.",
        EXAMPLES,
        lambda: [("where bundles go by their names", "\n".join(columns(_places(), wrapped=1)))],
        usage="[PATTERN ...] [options] | add FILE | remove NAME",
    )
    made.add_argument("patterns", nargs="*", metavar="PATTERN", help="names, or patterns with * and ?")
    made.add_argument(
        "--folder", nargs="+", type=Path, metavar="DIR", help="list these folders in place of your own; those below are not looked into"
    )
    made.add_argument("--task", metavar="TASK", help="only models of a task (`photic list tasks`)")
    made.add_argument(
        "--sort",
        choices=get_args(Order),
        default="name",
        help="name, task, score (by task, best first), parameters, size (small first) or made (newest first); default: name",
    )
    made.add_argument("--check", action="store_true", help="read every file whole and hold it against its checksum")
    made.add_argument("--json", action="store_true", help="print everything as JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    if arguments and arguments[0] in ("add", "remove"):
        return _add(arguments[1:]) if arguments[0] == "add" else _remove(arguments[1:])
    options = parser().parse_intermixed_args(arguments)
    found = shelf(options.patterns, folders=options.folder, task=options.task, order=options.sort, check=options.check)
    if not found and options.patterns:
        known = [model.name for model in shelf(folders=options.folder)]
        asked = " ".join(options.patterns)
        raise UnknownNameError(f"no models match '{asked}'{nearest(asked, known)} (there are: {', '.join(known) or 'none'})")
    if options.json:
        print(json.dumps([model.to_dict() for model in found], indent=2, ensure_ascii=False))
    else:
        page = "\n".join(_page(found, folders=options.folder))
        print("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in page))  # names of files hold anything
    return 0


def _add(arguments: Sequence[str]) -> int:
    made = Parser("models add", "Copy a bundle into your own folder, where every command finds it by its name.", EXAMPLES[3:4])
    made.add_argument("bundle", type=Path, metavar="FILE.photic", help="the bundle; it is checked as a whole")
    made.add_argument("--name", metavar="NAME", help="by which commands are to take it (default: that of the file)")
    made.add_argument("--force", action="store_true", help="replace a model of that name in your folder")
    options = made.parse_args(arguments)
    added = add_to_shelf(options.bundle, options.name, force=options.force)
    print(f"model   {added.name}  ({added.path})\ntry     photic info {added.name}")
    return 0


def _remove(arguments: Sequence[str]) -> int:
    made = Parser("models remove", "Delete a model from your own folder.", EXAMPLES[4:5])
    made.add_argument("name", metavar="NAME", help="by which commands take it")
    made.add_argument("--force", action="store_true", help="really delete it")
    options = made.parse_args(arguments)
    print(f"deleted {remove_from_shelf(options.name, force=options.force)}")
    return 0


def _places() -> list[tuple[str, str]]:
    return [
        ("come with Photic", "models in the packages of Photic and its plug-ins"),
        (f"${SEARCH_PATH}", "folders, separated as in PATH; where it is not set, the present folder"),
        (str(user_folder()), "your own folder, to which `photic models add` copies"),
    ]


def _page(found: Sequence[ShelfEntry], folders: Sequence[Path] | None) -> Iterator[str]:
    """Yield the lines of the table, by place, and below it what cannot be used."""
    usable = [model for model in found if model.problem is None]
    if usable:
        yield from _table(usable)
    else:
        yield f"no models that can be used (looked in: {', '.join(map(_shown, folders or shelf_folders()))})"
    broken = [f"{_shown(model.path)}: {model.problem}" for model in found if model.problem is not None]
    if broken:
        yield "\n" + section("cannot be used", "\n".join(broken))
    known: dict[str, set[str | None]] = {}
    for model in usable:
        known.setdefault(model.name, set()).add(model.sha256)
    doubled = [name for name, sums in known.items() if len(sums) > 1]
    if doubled:
        yield f"\nSeveral models go by the name {', '.join(doubled)}: give the path of the one that is meant, or rename one."
    yield "\n`photic info NAME` says more of one, `photic predict NAME FILE` uses it. A finished run becomes one by"
    yield "`photic bundle RUN -o NAME.photic`, and `photic models add NAME.photic` keeps it under its name."


def _table(models: Sequence[ShelfEntry]) -> Iterator[str]:
    """Yield a row for each model, under headings that say where they lie; several lines for each where the terminal is narrow."""
    rows = [_HEAD, *map(_row, models)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD) - 1)]
    room = terminal_width() - len(INDENT) - sum(widths) - 2 * len(widths)
    if room >= _LEAST_TERMS:
        yield _line(_HEAD, widths, room)
    places: dict[str, list[tuple[str, str, str, str, str, str]]] = {}
    for model, row in zip(models, rows[1:], strict=True):
        places.setdefault("come with Photic" if model.shipped else f"in {_shown(model.path.parent)}", []).append(row)
    for place, group in places.items():
        yield f"{place}:"
        for row in group:
            if room >= _LEAST_TERMS:
                yield _line(row, widths, room)
            else:
                name, task, score, parameters, size, terms = row
                facts = (
                    f"{task}, {parameters} parameters, {size}",
                    score,
                    _short(terms, max(_LEAST_TERMS, terminal_width() - widths[0] - 4)),
                )
                yield from (f"{INDENT}{(name if not i else '').ljust(widths[0])}  {fact}" for i, fact in enumerate(facts))


def _line(row: Sequence[str], widths: Sequence[int], room: int) -> str:
    *cells, terms = row
    aligned = [cell.rjust(w) if i in _NUMBERS else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))]
    return INDENT + "  ".join([*aligned, _short(terms, room)]).rstrip()


def _row(model: ShelfEntry) -> tuple[str, str, str, str, str, str]:
    size = "?" if model.size_bytes is None else f"{model.size_bytes / 1e6:.1f} MB"
    return model.name, model.task or "?", _score(model), _count(model.parameters), size, model.terms or "not stated"


def _score(model: ShelfEntry) -> str:
    """Return what counts most, what it was bought with, and where it was measured."""
    if model.score is None:
        return "not measured"
    bought = "".join(f" at {score.value:.3g} bpp" for score in model.scores[1:] if score.label == "bits per pixel")
    return f"{model.score}{bought} ({model.score.split})"


def _count(value: int | None) -> str:
    """Return a number of parameters for people.

    >>> _count(942566), _count(2300000), _count(812)
    ('943 k', '2.3 M', '812')
    """
    if value is None:
        return "?"
    return f"{value / 1e6:.1f} M" if value >= 999_500 else f"{value / 1e3:.0f} k" if value >= 1000 else str(value)


def _short(text: str, room: int) -> str:
    """Return a text in one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= room else line[: room - 3].rstrip(" ,;:") + "..."


def _shown(path: Path) -> str:
    """Return a path as short as it can be typed."""
    for base, sign in ((Path.cwd(), "."), (Path.home(), "~")):
        if path.absolute().is_relative_to(base):
            inside = path.absolute().relative_to(base)
            return f"{sign}/{inside}" if inside.parts else f"{sign}/"
    return str(path)
