"""What every layout is read into: pictures, labels, masks, and every problem met on the way."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photic.apps.defects.rle import Runs
from photic.core.errors import DataError, nearest
from photic.data.images import SUFFIXES, image_size, list_images, read_image

Labels = NDArray[np.uint8]
Size = tuple[int, int]
_SHOWN = 5
_ENDINGS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
_TAIL_BYTES = 1024
_LONGEST_CELL = 2**31 - 1  # run-length texts exceed the 131,072 characters that Python's csv allows by default


@dataclass(frozen=True)
class Problem:
    """Something that makes a data set unusable as it is."""

    kind: str
    """Short name of what is wrong, for counting."""
    message: str
    """File, row or class, what was expected, what to do."""


@dataclass(frozen=True)
class LabelTable:
    """A labelled set of ``N`` pictures and ``C`` classes."""

    root: Path
    """Folder that the names are relative to."""
    classes: tuple[str, ...]
    """Class names, in the order of the columns."""
    names: tuple[str, ...]
    """Picture files, relative to the root, with forward slashes."""
    labels: Labels
    """``(N, C)`` of 0 and 1."""
    sizes: tuple[Size | None, ...]
    """(height, width) in pixels from the headers; null where the header cannot be read."""
    runs: Mapping[tuple[int, int], Runs] = field(default_factory=dict)
    """Masks as runs (see :mod:`photic.apps.defects.rle`) by (row, class), where the annotation has them."""
    objects: NDArray[np.int64] | None = None
    """``(N, C)`` numbers of objects, if known for every positive label."""
    phases: tuple[str, ...] | None = None
    """Which split each picture belongs to, if the annotation says."""
    problems: tuple[Problem, ...] = ()
    """Everything wrong, in the order met."""
    notes: tuple[str, ...] = ()
    """What a user should know and need not change."""

    def path(self, row: int) -> Path:
        """Return the file of a row."""
        return self.root / self.names[row]

    def unmasked(self) -> int:
        """Return how many positive labels have no mask."""
        return int(self.labels.sum()) - sum(bool(self.labels[place]) for place in self.runs)

    def area_px(self, row: int, column: int) -> int:
        """Return the mask's area in pixels; 0 without a mask."""
        runs = self.runs.get((row, column))
        return 0 if runs is None else int(runs[:, 1].sum())

    def refuse_problems(self) -> None:
        """Raise what is wrong.

        Raises:
            DataError: there are problems; the message shows the first few.
        """
        refuse(self.problems, self.root)

    def refuse_mixed_sizes(self) -> None:
        """Raise if the pictures cannot form a batch.

        Raises:
            DataError: there are several sizes; the message counts each.
        """
        counts = Counter(size for size in self.sizes if size is not None).most_common()
        if len(counts) > 1:
            shown = ", ".join(f"{number} of {height}x{width}" for (height, width), number in counts[:_SHOWN])
            more = f" and {len(counts) - _SHOWN} more sizes" if len(counts) > _SHOWN else ""
            rare = next(name for name, size in zip(self.names, self.sizes, strict=True) if size == counts[-1][0])
            (height, width), _ = counts[0]
            raise DataError(
                f"{self.root}: pictures of {len(counts)} sizes: {shown}{more} (for example {rare}); a batch needs one size."
                f" Set data.image_size=[{height},{width}] to resize them, or take the others out"
            )


def refuse(problems: Sequence[Problem], root: Path) -> None:
    """Raise problems, if there are any, as one error that shows the first few."""
    if not problems:
        return
    if len(problems) == 1:
        raise DataError(problems[0].message)
    lines = "".join(f"\n  {problem.message}" for problem in problems[:_SHOWN])
    more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    raise DataError(f"{root}: {len(problems)} problems:{lines}{more}\n`photic data check defects {root}` lists all of them")


def read_rows(path: Path, columns: Iterable[str] = ()) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header.

    Args:
        path: the file, UTF-8.
        columns: names that the header must have.

    Returns:
        The header, and (line number, cells by column) of each row; a row that is cut short has ``""`` in the cells it lacks.

    Raises:
        DataError: missing, empty, not text, a column is missing or named twice, or a row has more cells than the header.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, restval="", restkey="")
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV text ({error}); save it as comma-separated UTF-8") from error
    finally:
        csv.field_size_limit(limit)
    if not header:
        raise DataError(f"{path}: empty; expected a header and a row per picture")
    twice = [name for name, number in Counter(header).items() if number > 1]
    if twice:
        raise DataError(f"{path}: column '{twice[0]}' comes twice in the header; rename one")
    for column in columns:
        if column not in header:
            raise DataError(f"{path}: no column '{column}'{nearest(column, header)} (columns: {', '.join(header)})")
    long = next((line for line, row in rows if "" in row), None)
    if long is not None and "" not in header:
        raise DataError(f"{path} line {long}: more cells than the header has columns ({len(header)}); quote cells that contain commas")
    if not rows:
        raise DataError(f"{path}: a header but no rows; expected a row per picture")
    return header, rows


def read_sizes(root: Path, names: Sequence[str], source: Path | None = None) -> tuple[tuple[Size | None, ...], list[Problem]]:
    """Return each picture's (height, width) from its header, and a problem for each that is missing or cannot be read.

    A file that does not end as its format demands is decoded, so that one cut short is found now and not hours later.

    Args:
        root: folder that the names are relative to.
        names: picture files.
        source: the file that names them, if it is not the folder itself.
    """
    problems: list[Problem] = []

    def measure(name: str) -> Size | Problem:
        path = root / name
        if source is not None and not path.is_file():
            message = f"{path}: no such file, but {source} has a row for it; add the picture or remove the row"
            return Problem("label without picture", message)
        try:
            if _looks_cut(path):
                read_image(path)
            return image_size(path)
        except DataError as error:
            return Problem("unreadable picture", str(error))

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(measure, names))
    sizes: list[Size | None] = []
    for size in found:
        if isinstance(size, Problem):
            problems.append(size)
            sizes.append(None)
        else:
            sizes.append(size)
    return tuple(sizes), problems


def _looks_cut(path: Path) -> bool:
    """Say whether a JPEG or PNG lacks the mark of its end; a file that is not there does not look cut."""
    ending = _ENDINGS.get(path.suffix.lower())
    if ending is None or not path.is_file():
        return False
    with path.open("rb") as handle:
        handle.seek(0, os.SEEK_END)
        handle.seek(max(0, handle.tell() - _TAIL_BYTES))  # cameras append padding
        return ending not in handle.read()


def pictures_in(folder: Path, relative_to: Path) -> list[str]:
    """Return the pictures in a folder and below, named relative to another, sorted; empty if there are none or no folder."""
    if not folder.is_dir():
        return []
    try:
        return [path.relative_to(relative_to).as_posix() for path in list_images(folder)]
    except DataError:  # of a folder that exists, this says only that it holds no picture
        return []


def unlabelled_problems(root: Path, names: Iterable[str], source: Path) -> list[Problem]:
    """Return a problem for each picture without a label row in a folder that holds labelled ones."""
    known = {root / name for name in names}
    return [
        Problem(
            "picture without label",
            f"{path}: no row in {source}; add a row for it, or set data.unlabelled=ignore to leave such pictures out",
        )
        for folder in sorted({path.parent for path in known})
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path not in known
    ]
