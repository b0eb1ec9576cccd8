"""Self-contained HTML pages made of blocks.

A page is one file: styles inline, pictures as data URIs, no script. It never loads anything from a
network, and a content-security policy in its head makes browsers hold it to that. Everything that is not
:class:`markupsafe.Markup` is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from photic.core.errors import DataError
from photic.core.files import write_text

_STOPS = [*range(0, 48, 4), 50, *range(56, 101, 4)]
"""Where the edge of a slider can stand, percent; as many stripes in the style sheet."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table."""

    text: str | Markup
    note: str = ""
    """Small print beside it."""
    span: tuple[float, float, float] | None = None
    """Draw an interval on a line from 0 to 1: low, value, high."""
    colour: str | None = None
    """Put a dot of this colour (``#rrggbb``) before the text."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    group: str = ""
    """Heading that neighbouring columns share."""
    number: bool = True
    """Align right, as numbers are."""
    hint: str = ""
    """What the column means; shown under the table and when the pointer rests on the title."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number that matters, large."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture with its story."""

    pictures: Sequence[tuple[str, str]]
    """Data URI and alternative text of each picture, in order."""
    title: str
    colour: str
    """``#rrggbb`` of the title's dot."""
    lines: Sequence[str]
    name: str = ""
    """Which picture it is."""
    mark: str = ""
    """A word set off, such as *missed*."""
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass
class Section:
    """A part of a page with its own heading."""

    title: str
    lead: str = ""
    blocks: list[Markup] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Return the heading as the target of links."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower()).strip("-")

    def add(self, *blocks: Markup) -> None:
        """Put blocks at the end."""
        self.blocks.extend(blocks)


@dataclass
class Page:
    """A page.

    >>> page = Page(title="Run 7", eyebrow="Photic")
    >>> page.section("Numbers").add(table([Column(title="AP")], [["0.93"]]))
    >>> "<!doctype html>" in page.render()
    True
    """

    title: str
    eyebrow: str = ""
    """Small words above the title."""
    verdict: str = ""
    """The result in one sentence."""
    badges: Sequence[tuple[str, str]] = ()
    """Words under the title: label and value."""
    head: list[Markup] = field(default_factory=list)
    """Blocks between the heading and the first section."""
    sections: list[Section] = field(default_factory=list)

    def section(self, title: str, lead: str = "") -> Section:
        """Begin a section and return it."""
        self.sections.append(Section(title, lead))
        return self.sections[-1]

    def render(self) -> str:
        """Return the page as HTML."""
        return _environment().get_template("page.html").render(page=self, stops=_STOPS)

    def write(self, path: Path | str) -> Path:
        """Write the page, whole or not at all."""
        return write_text(path, self.render())


# --- blocks --------------------------------------------------------------------------------------


def prose(text: str) -> Markup:
    """Return a paragraph."""
    return _block("prose", text)


def notice(text: str, tone: Literal["plain", "warning", "bad"] = "plain") -> Markup:
    """Return a paragraph that must not be overlooked."""
    return _block("notice", text, tone)


def tiles(items: Sequence[Tile]) -> Markup:
    """Return numbers that matter, side by side."""
    return _block("tiles", items)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Any]], footer: Sequence[Sequence[Any]] = ()) -> Markup:
    """Return a table; cells are texts or :class:`Cell`, the first of a row is its heading."""
    groups: list[tuple[str, int]] = []
    for column in columns:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return _block("table", columns, _cells(rows), _cells(footer), groups if any(name for name, _ in groups) else [])


def figure(content: Markup, caption: str = "", legend: Sequence[tuple[str, str, bool]] = ()) -> Markup:
    """Return a chart with its caption; the legend has label, colour and whether the line is dashed."""
    return _block("figure", content, caption, legend)


def picture(uri: str, alternative: str, caption: str = "", *, sharp: bool = False, least_px: int = 0, most_px: int | None = None) -> Markup:
    """Return a picture as wide as there is room.

    Args:
        uri: the picture as a data URI.
        alternative: what it shows, for those who cannot see it.
        caption: under it.
        sharp: show the pixels of a small picture as squares instead of smoothing them.
        least_px: never narrower than this; on a phone it then scrolls sideways. 0 lets it shrink.
        most_px: never wider than this; None takes the room there is.
    """
    return _block("picture", uri, alternative, caption, sharp, least_px, most_px)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One of the pictures of a slider."""

    label: str
    """What it is called, in a word or two; stands on it."""
    uri: str
    """The picture as a data URI."""
    alternative: str
    """What it shows, for those who cannot see it."""


def slider(
    left: Sequence[Shot], right: Shot, *, size: tuple[int, int], caption: str = "", sharp: bool = False, most_px: int | None = None
) -> Markup:
    """Return pictures of one size over each other, with an edge between them that is moved to compare.

    Without a script: the edge follows a mouse pointer and stays where one clicks or taps; arrow keys move it. On paper, and in browsers
    without ``:has``, all pictures stand side by side. There is no script because a page may come from anybody: the policy in its head
    can then forbid all of them. What that costs is that a finger cannot drag the edge, only put it somewhere.

    Args:
        left: what the right one is held against; of several, the reader chooses.
        right: the picture on the right of the edge.
        size: (height, width) of all, in any unit.
        caption: under them.
        sharp: show the pixels of small pictures as squares.
        most_px: never wider than this.
    """
    shots = [(shot.label, shot.uri, shot.alternative) for shot in (*left, right)]
    # Sets of choices need names of their own on a page; the same page must come out the same each time.
    key = "s" + hashlib.sha256(repr((shots, caption)).encode()).hexdigest()[:12]
    return _block("slider", shots[:-1], shots[-1], key, caption, size, sharp, most_px, _STOPS)


def wipe_hint(text: str = "") -> Markup:
    """Return how sliders are used, once above them, after a text; paper shows the text alone."""
    return _block("wipe_hint", text)


def grid(blocks: Sequence[Markup], width_px: int = 320) -> Markup:
    """Return blocks beside each other, as many in a row as find room with at least ``width_px``."""
    return _block("grid", blocks, width_px)


def cards(items: Sequence[Card], width_px: int, stacked: bool) -> Markup:
    """Return pictures with their stories, beside each other where there is room.

    Args:
        items: the cards.
        width_px: least width of a card where the page is wide enough.
        stacked: put the pictures of a card below each other, not beside.
    """
    return _block("cards", items, width_px, stacked)


def confusion(name: str, colour: str, counts: NDArray[Any], remark: str) -> Markup:
    """Return the decisions on one class.

    Args:
        name: the class.
        colour: ``#rrggbb`` of its dot.
        counts: ``[[true negatives, false positives], [false negatives, true positives]]``.
        remark: a sentence under it.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return _block("confusion", name, colour, counts.tolist(), shares.tolist(), remark)


def facts(items: Mapping[str, Any]) -> Markup:
    """Return names and values, one a line; a value of None is left out."""
    return _block("facts", {name: str(value) for name, value in items.items() if value is not None})


def commands(items: Sequence[tuple[str, str]]) -> Markup:
    """Return what to type next: purpose and command."""
    return _block("commands", items)


def details(summary: str, *blocks: Markup) -> Markup:
    """Return blocks that stay folded until asked for; print shows them folded too."""
    return _block("details", summary, blocks)


def preformatted(text: str) -> Markup:
    """Return text as it is, in a typewriter face."""
    return _block("preformatted", text)


def heading(text: str) -> Markup:
    """Return a small heading inside a section."""
    return _block("heading", text)


def subheading(text: str) -> Markup:
    """Return a smaller heading, under a small one."""
    return _block("subheading", text)


# --- small things --------------------------------------------------------------------------------


def number(value: Any, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals; a dash if it is undefined.

    >>> number(0.94712), number(None), number(float("nan"))
    ('0.947', '–', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Return a length of time as people say it.

    >>> duration(42.4), duration(3700)
    ('42 s', '1 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def jpeg_uri(image: NDArray[np.uint8], quality: int = 84) -> str:
    """Return a picture ``(H, W, 3)`` uint8 as a data URI."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="JPEG", quality=quality, optimize=True)
    return jpeg_file_uri(content.getvalue())


def jpeg_file_uri(content: bytes) -> str:
    """Return a JPEG file's content as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def file_uri(folder: Path, name: str) -> str:
    """Return a picture file of a folder as a data URI, as it is.

    Args:
        folder: of an evaluation or run.
        name: relative to it, as its results name it.

    Raises:
        DataError: the name leads out of the folder, or the file cannot be read, or is no PNG or JPEG. Whoever passes a page on must not
            pass on other files of theirs because somebody wrote so into results.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{name}: leads out of {folder}; its results were altered, evaluate again")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; evaluate again") from error
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return png_uri(content)
    if content.startswith(b"\xff\xd8\xff"):
        return jpeg_file_uri(content)
    raise DataError(f"{path}: is no PNG or JPEG picture; evaluate again")


def png_uri(content: bytes) -> str:
    """Return a PNG file's content as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def _cells(rows: Sequence[Sequence[Any]]) -> list[list[Cell]]:
    return [
        [cell if isinstance(cell, Cell) else Cell(text=cell if isinstance(cell, Markup) else str(cell)) for cell in row] for row in rows
    ]


def _block(name: str, *values: Any) -> Markup:
    made: Markup = getattr(_environment().get_template("blocks.html").module, name)(*values)
    return made


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("photic.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
