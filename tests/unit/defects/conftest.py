"""Small data sets on disk."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from photic.apps.defects.rle import encode

HEIGHT, WIDTH = 16, 24


def write_picture(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(path)
    return path


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return path


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as handle:
        return list(csv.reader(handle))


def mask_of(row: int, column: int) -> np.ndarray:
    """A square whose place tells row and class, and a second object."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[column : column + 3, row % 20 : row % 20 + 3] = True
    mask[12, 20] = True
    return mask


def labels_of(row: int) -> list[int]:
    """Two classes: both, first, second, none, ..."""
    return [[1, 1], [1, 0], [0, 1], [0, 0]][row % 4]


@pytest.fixture
def kaggle(tmp_path) -> Path:
    """Kaggle layout: 40 pictures, two classes, a quarter clean."""
    root = tmp_path / "steel"
    rows: list[list[object]] = [["ImageId", "ClassId", "EncodedPixels"]]
    for row in range(40):
        write_picture(root / "train_images" / f"{row:02d}.png", row)
        rows += [[f"{row:02d}.png", column + 1, encode(mask_of(row, column))] for column in (0, 1) if labels_of(row)[column]]
    write_csv(root / "train.csv", rows)
    return root


@pytest.fixture
def labelled(kaggle) -> Path:
    """The same with a labels.csv beside it."""
    rows = [[f"{row:02d}.png", f"train_images/{row:02d}.png", *labels_of(row)] for row in range(40)]
    write_csv(kaggle / "labels.csv", [["image_id", "file", "defect_1", "defect_2"], *rows])
    return kaggle


@pytest.fixture
def voc_root(tmp_path) -> Path:
    """Pascal VOC as NEU-DET has it: 40 pictures, boxes of two classes."""
    root = tmp_path / "neu" / "train"
    for row in range(40):
        labels = labels_of(row)
        write_picture(root / "images" / "ab"[row % 2] / f"p{row:02d}.jpg", row)
        boxes = [("crack", 1, 1, 6, 4)] * labels[0] + [("stain", 5, 3, 12, 9), ("stain", 20, 10, 24, 16)] * labels[1]
        write_annotation(root / "annotations" / f"p{row:02d}.xml", boxes)
    return root.parent


def write_annotation(path: Path, boxes: list[tuple[str, int, int, int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>{''.join(f'<{c}>{v}</{c}>' for c, v in zip(corners, box, strict=True))}</bndbox></object>"
        for name, *box in boxes
    )
    path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{objects}</annotation>")


def change_row(path: Path, number: int, **cells: object) -> None:
    """Replace cells of a CSV row (0 is the first below the header)."""
    header, *rows = read_csv(path)
    for name, value in cells.items():
        rows[number][header.index(name)] = str(value)
    write_csv(path, [header, *rows])


def add_row(path: Path, *cells: object) -> None:
    write_csv(path, [*read_csv(path), list(cells)])


@pytest.fixture
def files() -> SimpleNamespace:
    """The functions above, for the tests."""
    return SimpleNamespace(
        write_picture=write_picture,
        write_csv=write_csv,
        read_csv=read_csv,
        write_annotation=write_annotation,
        change_row=change_row,
        add_row=add_row,
        labels_of=labels_of,
        mask_of=mask_of,
        size=(HEIGHT, WIDTH),
    )
