"""A plain CSV: a column of file names and a 0/1 column per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from photic.apps.defects.layouts.table import LabelTable, Problem, read_rows, read_sizes, unlabelled_problems
from photic.core.errors import DataError
from photic.data.base import PHASES

EXPECTED = "labels.csv with a column of file names and a 0/1 column per class"
Lines = list[tuple[int, dict[str, str]]]


def detect(root: Path) -> bool:
    """Say whether a folder has this layout."""
    return (root / "labels.csv").is_file()


def read(
    root: Path, labels_file: Path, *, file_column: str = "file", class_columns: Sequence[str] | None = None, images: str = ".",
    split_column: str | None = None, ignore_unlabelled: bool = False,
) -> LabelTable:  # fmt: skip
    """Read pictures labelled by a CSV file.

    Args:
        root: folder of the data set.
        labels_file: the CSV file, relative to the root or absolute.
        file_column: column of picture files, relative to ``images``.
        class_columns: columns of the classes; null takes every column that holds nothing but 0 and 1.
        images: folder that the file names are relative to, relative to the root.
        split_column: column that says train, val or test.
        ignore_unlabelled: leave out pictures without a row.

    Raises:
        DataError: the file or a column is missing, or no class can be found; smaller faults are in the table's ``problems``.
    """
    path, folder = root / labels_file, root / images
    header, lines = read_rows(path, [file_column, *(class_columns or ()), *([split_column] if split_column else ())])
    notes: list[str] = []
    if class_columns is None:
        class_columns = _find_class_columns(path, [name for name in header if name not in (file_column, split_column)], lines, notes)
    problems: list[Problem] = []
    names: list[str] = []
    labels: list[list[int]] = []
    phases: list[str] = []
    first_line: dict[str, int] = {}
    for line, cells in lines:
        name = PurePosixPath(cells[file_column].strip().replace("\\", "/")).as_posix()
        if name in first_line:
            problems.append(
                Problem("duplicated row", f"{path} line {line}: '{name}' has a row already, on line {first_line[name]}; keep one")
            )
            continue
        first_line[name] = line
        problems += [
            Problem("bad label", f"{path} line {line}: {column} of '{name}' is {cells[column]!r}; expected 0 or 1")
            for column in class_columns
            if cells[column].strip() not in ("0", "1")
        ]
        if split_column is not None:
            phases.append(cells[split_column].strip())
            if phases[-1] not in PHASES:
                message = f"{path} line {line}: {split_column} of '{name}' is {phases[-1]!r}; expected {', '.join(PHASES)}"
                problems.append(Problem("bad split", message))
        names.append(name)
        labels.append([int(cells[column].strip() == "1") for column in class_columns])
    sizes, unreadable = read_sizes(folder, names, path)
    if not any((folder / name).is_file() for name in names):
        raise DataError(
            f"{path}: none of the {len(names)} files named in column '{file_column}' exists below {folder} (the first is {names[0]});"
            " set data.images to the folder that the names are relative to"
        )
    problems += unreadable
    if not ignore_unlabelled:
        problems += unlabelled_problems(folder, names, path)
    return LabelTable(
        folder, tuple(class_columns), tuple(names), np.array(labels, dtype=np.uint8), sizes,
        phases=tuple(phases) if split_column else None, problems=tuple(problems), notes=tuple(notes),
    )  # fmt: skip


def _find_class_columns(path: Path, candidates: Sequence[str], lines: Lines, notes: list[str]) -> list[str]:
    found, others = [], []
    for column in candidates:
        wrong = [(line, cells[column]) for line, cells in lines if cells[column].strip() not in ("0", "1")]
        if not wrong:
            found.append(column)
        elif len(wrong) == len(lines):
            others.append(column)
        else:  # a class with a slip in it must not vanish unseen
            line, value = wrong[0]
            raise DataError(
                f"{path} line {line}: column '{column}' holds 0 and 1 in some rows, but {value!r} here; correct it, or name the classes"
                " with data.class_columns=[...]"
            )
    if not found:
        raise DataError(
            f"{path}: no column holds only 0 and 1 (columns: {', '.join(candidates)}); expected one per class, or name them with"
            " data.class_columns=[...]"
        )
    if others:
        notes.append(f"columns of {path.name} that are not 0/1 are left out: {', '.join(others)}")
    return found
