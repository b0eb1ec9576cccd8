"""The layout of Kaggle's steel competition: ``train_images/`` and run-length masks in ``train.csv``.

Pictures absent from ``train.csv`` are clean. Where a ``labels.csv`` stands beside it (``image_id``, one 0/1
column per class, optionally ``file``), labels and file names come from there and ``train.csv`` brings masks
alone, perhaps not all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from photic.apps.defects.layouts.table import Labels, LabelTable, Problem, Size, pictures_in, read_rows, read_sizes, unlabelled_problems
from photic.apps.defects.rle import Runs, num_objects_in_runs, parse_runs
from photic.core.errors import DataError

EXPECTED = "train_images/ with train.csv (ImageId, ClassId, EncodedPixels) or labels.csv (image_id, 0/1 columns)"


def detect(root: Path) -> bool:
    """Say whether a folder has this layout."""
    return (root / "train_images").is_dir() and any((root / name).is_file() for name in ("train.csv", "labels.csv"))


@dataclass
class _Reading:
    """What is known so far."""

    rows: dict[str, int]
    """Image id to row."""
    labels: Labels
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, kind: str, message: str) -> None:
        self.problems.append(Problem(kind, message))


def read(
    root: Path, classes: Sequence[str], *, images: str = "train_images", masks_file: str = "train.csv", labels_file: str = "labels.csv",
    ignore_unlabelled: bool = False,
) -> LabelTable:  # fmt: skip
    """Read a folder in Kaggle layout.

    Args:
        root: the folder.
        classes: names of classes 1, 2, ...; in ``labels_file`` the columns' names.
        images: folder of the training pictures.
        masks_file: run-length masks.
        labels_file: label table; read if it exists.
        ignore_unlabelled: leave out pictures that the label table lacks.

    Raises:
        DataError: nothing can be read at all; smaller faults are in the table's ``problems``.
    """
    labels_path, masks_path = root / labels_file, root / masks_file
    if labels_path.is_file():
        reading, names = _read_labels(root, labels_path, images, classes)
        if not ignore_unlabelled:
            reading.problems += unlabelled_problems(root, names, labels_path)
    elif masks_path.is_file():
        names = pictures_in(root / images, root)
        if not names:
            raise DataError(f"{root / images}: no pictures; expected those that {masks_path} names")
        rows = {PurePosixPath(name).name: row for row, name in enumerate(names)}
        reading = _Reading(rows, np.zeros((len(names), len(classes)), dtype=np.uint8))
    else:
        raise DataError(f"{root}: neither {masks_file} nor {labels_file}; expected {EXPECTED}")
    sizes, unreadable = read_sizes(root, names, labels_path if labels_path.is_file() else None)
    reading.problems += unreadable
    runs = _read_masks(reading, masks_path, sizes, len(classes), labels_win=labels_path.is_file()) if masks_path.is_file() else {}
    table = LabelTable(root, tuple(classes), tuple(names), reading.labels, sizes, runs)
    missing = table.unmasked()
    if missing:
        reading.notes.append(
            f"{missing} of {int(reading.labels.sum())} positive labels have no mask in {masks_file}; object counts are left out"
        )
    return LabelTable(
        root, table.classes, table.names, table.labels, sizes, runs, None if missing else _count_objects(table),
        problems=tuple(reading.problems), notes=tuple(reading.notes),
    )  # fmt: skip


def _read_labels(root: Path, path: Path, images: str, classes: Sequence[str]) -> tuple[_Reading, list[str]]:
    header, lines = read_rows(path, ["image_id", *classes])
    others = [name for name in header if name not in ("image_id", "file", *classes)]
    if others:
        raise DataError(f"{path}: column '{others[0]}' is no class (classes: {', '.join(classes)}); set data.classes=[...] or remove it")
    reading = _Reading({}, np.zeros((len(lines), len(classes)), dtype=np.uint8))
    names: list[str] = []
    first_line: dict[str, int] = {}
    for line, cells in lines:
        image_id = cells["image_id"].strip()
        if image_id in first_line:
            reading.problem(
                "duplicated row", f"{path} line {line}: '{image_id}' has a row already, on line {first_line[image_id]}; keep one"
            )
            continue
        first_line[image_id] = line
        for column, name in enumerate(classes):
            if cells[name].strip() not in ("0", "1"):
                reading.problem("bad label", f"{path} line {line}: {name} of '{image_id}' is {cells[name]!r}; expected 0 or 1")
            reading.labels[len(names), column] = cells[name].strip() == "1"
        reading.rows[image_id] = len(names)
        names.append(cells["file"].strip() if "file" in header else f"{images}/{image_id}")
    reading.labels = reading.labels[: len(names)]
    return reading, names


def _read_masks(
    reading: _Reading, path: Path, sizes: Sequence[Size | None], num_classes: int, labels_win: bool
) -> dict[tuple[int, int], Runs]:
    header, lines = read_rows(path, ["EncodedPixels"])
    joined = "ImageId_ClassId" in header
    if not joined:
        read_rows(path, ["ImageId", "ClassId"])
    runs: dict[tuple[int, int], Runs] = {}
    first_line: dict[tuple[str, str], int] = {}
    foreign = 0
    for line, cells in lines:
        where = f"{path} line {line}"
        image_id, _, class_id = (
            cells["ImageId_ClassId"].strip().rpartition("_") if joined else (cells["ImageId"].strip(), "", cells["ClassId"].strip())
        )
        column = _class_column(class_id, num_classes)
        if column is None:
            reading.problem(
                "unknown class",
                f"{where}: class {class_id!r} of '{image_id}'; expected a whole number from 1 to {num_classes}."
                " Correct the row, or name all classes with data.classes=[...]",
            )
            continue
        if (image_id, class_id) in first_line:
            earlier = first_line[image_id, class_id]
            reading.problem(
                "duplicated row", f"{where}: class {class_id} of '{image_id}' has a row already, on line {earlier}; join or remove one"
            )
            continue
        first_line[image_id, class_id] = line
        row = reading.rows.get(image_id)
        if row is None and not labels_win:
            reading.problem("label without picture", f"{where}: there is no picture '{image_id}'; add the file or remove the row")
            continue
        if row is None:
            foreign += 1
            continue
        text = cells["EncodedPixels"].strip()
        if not text and joined:
            continue  # this variant lists every class of every picture; an empty text says the class is absent
        if labels_win and not reading.labels[row, column]:
            reading.problem(
                "contradiction", f"{where}: a mask of class {class_id} on '{image_id}', which the label table calls free of it; correct one"
            )
            continue
        reading.labels[row, column] = 1
        size = sizes[row]
        if size is None:
            continue  # the picture's own problem is on the list
        try:
            if not text:
                raise DataError("no runs, expected a mask; remove the row where the class is absent")
            runs[row, column] = parse_runs(text, *size)
        except DataError as error:
            reading.problem("bad mask", f"{where}: mask of class {class_id} on '{image_id}': {error}. Correct or remove the row")
    if foreign:
        reading.notes.append(f"{foreign} rows of {path.name} belong to pictures that the label table does not list; they are left out")
    return runs


def _class_column(text: str, num_classes: int) -> int | None:
    return int(text) - 1 if text.isascii() and text.isdigit() and 1 <= int(text) <= num_classes else None


def _count_objects(table: LabelTable) -> np.ndarray:
    counts = np.zeros(table.labels.shape, dtype=np.int64)
    for (row, column), runs in table.runs.items():
        size = table.sizes[row]
        if size is not None:
            counts[row, column] = num_objects_in_runs(runs, size[0])
    return counts
