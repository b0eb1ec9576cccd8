"""A folder per class, pictures inside; a picture has the one class of its folder, or none in the folder of clean ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from photic.apps.defects.layouts.table import LabelTable, Problem, pictures_in, read_sizes
from photic.core.errors import DataError, nearest
from photic.data.images import SUFFIXES

EXPECTED = "a folder per class with pictures in it"


def detect(root: Path) -> bool:
    """Say whether a folder has this layout."""
    folders = _folders(root)
    return len(folders) >= 2 and not _loose(root) and all(_loose(folder) for folder in folders)


def read(root: Path, clean_folder: str | None = None) -> LabelTable:
    """Read pictures sorted into folders.

    Args:
        root: folder of the class folders.
        clean_folder: name of the folder whose pictures have no defect; it is no class.

    Raises:
        DataError: there are no folders, or ``clean_folder`` is none of them; smaller faults are in the table's ``problems``.
    """
    folders = _folders(root)
    if not folders:
        raise DataError(f"{root}: no folders in it; expected {EXPECTED}")
    known = [folder.name for folder in folders]
    if clean_folder is not None and clean_folder not in known:
        raise DataError(
            f"{root}: no folder '{clean_folder}' (data.clean_folder){nearest(clean_folder, known)} (folders: {', '.join(known)})"
        )
    classes = tuple(name for name in known if name != clean_folder)
    if not classes:
        raise DataError(f"{root}: the folder of clean pictures is the only one; expected a folder for each class of defects as well")
    problems = [
        Problem("picture without label", f"{path}: lies beside the class folders; move it into one of them") for path in _loose(root)
    ]
    names: list[str] = []
    labels: list[list[bool]] = []
    for folder in folders:
        inside = pictures_in(folder, root)
        if not inside:
            problems.append(Problem("empty folder", f"{folder}: no pictures in this class folder; add some or remove the folder"))
        names += inside
        labels += [[folder.name == name for name in classes]] * len(inside)
    if not names:
        raise DataError(f"{root}: no pictures in any of the folders {', '.join(known)}; expected {EXPECTED}")
    sizes, unreadable = read_sizes(root, names)
    return LabelTable(root, classes, tuple(names), np.array(labels, dtype=np.uint8), sizes, problems=(*problems, *unreadable))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _loose(root: Path) -> list[Path]:
    """Return the pictures that lie directly in a folder."""
    return sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
