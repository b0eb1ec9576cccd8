"""Pascal VOC: an XML file per picture with a box per object (NEU-DET and many others).

Source: Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photic.apps.defects.layouts.table import LabelTable, Problem, Size, pictures_in, read_sizes
from photic.apps.defects.rle import Runs, runs_of
from photic.core.errors import DataError, nearest

EXPECTED = "a folder 'annotations' with an XML file per picture (Pascal VOC)"
_FOLDERS = ("annotations", "Annotations")
_DEPTH = 3


@dataclass(frozen=True)
class _Object:
    name: str
    box: tuple[int, int, int, int]
    """xmin, ymin, xmax, ymax in pixels, counted from 1, inclusive."""


def detect(root: Path) -> bool:
    """Say whether a folder has this layout."""
    return any(next(folder.glob("*.xml"), None) is not None for folder in _annotation_folders(root))


def read(root: Path, classes: Sequence[str] | None = None, box_masks: bool = False, ignore_unlabelled: bool = False) -> LabelTable:
    """Read pictures annotated in Pascal VOC XML.

    Args:
        root: folder that holds annotations and pictures, at most three levels down.
        classes: names of the classes, in order; null takes those of the objects, sorted.
        box_masks: use the boxes as masks.
        ignore_unlabelled: leave out pictures without an XML file.

    Raises:
        DataError: there are no annotations, no pictures or no objects; smaller faults are in the table's ``problems``.
    """
    files = sorted(file for folder in _annotation_folders(root) for file in folder.glob("*.xml"))
    if not files:
        raise DataError(f"{root}: no annotations; expected {EXPECTED}")
    pictures = pictures_in(root, root)
    if not pictures:
        raise DataError(f"{root}: {len(files)} annotations but no pictures; expected the pictures below this folder")
    problems: list[Problem] = []
    matched = _match(root, files, pictures, problems)
    annotations: dict[str, tuple[Path, list[_Object]]] = {}
    for name, file in matched.items():
        try:
            annotations[name] = (file, _parse(file))
        except DataError as error:
            problems.append(Problem("bad annotation", str(error)))
    if not ignore_unlabelled:
        problems += [
            Problem(
                "picture without label", f"{root / name}: no XML file of that name; add one, or set data.unlabelled=ignore to leave it out"
            )
            for name in pictures
            if name not in matched
        ]
    if classes is None:
        classes = sorted({item.name for _, objects in annotations.values() for item in objects})
    if not classes:
        raise DataError(f"{root}: no object in any of {len(files)} annotations; there is nothing to learn")
    names = sorted(annotations)
    sizes, unreadable = read_sizes(root, names)
    problems += unreadable
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    runs: dict[tuple[int, int], Runs] = {}
    for row, name in enumerate(names):
        file, objects = annotations[name]
        good = _check_objects(file, objects, sizes[row], classes, problems)
        for item in good:
            counts[row, list(classes).index(item.name)] += 1
        size = sizes[row]
        if box_masks and size is not None:
            runs.update(((row, column), _box_runs(good, label, size)) for column, label in enumerate(classes) if counts[row, column])
    labels = (counts > 0).astype(np.uint8)
    return LabelTable(root, tuple(classes), tuple(names), labels, sizes, runs, counts, problems=tuple(problems))


def _annotation_folders(root: Path) -> list[Path]:
    pattern = ["/".join(["*"] * depth + [name]) for depth in range(_DEPTH) for name in _FOLDERS]
    return sorted({folder for one in pattern for folder in root.glob(one) if folder.is_dir()})


def _match(root: Path, files: Sequence[Path], pictures: Sequence[str], problems: list[Problem]) -> dict[str, Path]:
    """Return picture name to annotation: the same stem, and of several (train and validation sets) the one nearest in the tree."""
    by_stem: dict[str, list[str]] = {}
    for name in pictures:
        by_stem.setdefault(Path(name).stem, []).append(name)
    matched: dict[str, Path] = {}
    for file in files:
        home = file.parent.parent.relative_to(root)
        candidates = by_stem.get(file.stem, [])
        near = [name for name in candidates if Path(name).is_relative_to(home)] or candidates
        if not near:
            problems.append(
                Problem("label without picture", f"{file}: there is no picture '{file.stem}'; add the file or remove the annotation")
            )
        elif len(near) > 1:
            problems.append(Problem("ambiguous picture", f"{file}: several pictures of that name: {', '.join(near)}; rename all but one"))
            matched.update(dict.fromkeys(near, file))
        elif near[0] in matched:
            problems.append(Problem("duplicated row", f"{file}: '{near[0]}' is annotated already by {matched[near[0]]}; keep one"))
        else:
            matched[near[0]] = file
    return matched


def _parse(file: Path) -> list[_Object]:
    try:
        tree = ET.parse(file).getroot()
    except ET.ParseError as error:
        raise DataError(f"{file}: not XML that can be read ({error}); export the annotation again") from error
    objects = []
    for number, node in enumerate(tree.findall("object"), start=1):
        name = (node.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{file}: object {number} has no name; expected <name>class</name>")
        corners = [node.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = (round(float(corner or "")) for corner in corners)
        except (ValueError, OverflowError):
            raise DataError(f"{file}: object {number} ({name}): box {corners} is not four numbers (xmin, ymin, xmax, ymax)") from None
        objects.append(_Object(name, (left, top, right, bottom)))
    return objects


def _check_objects(
    file: Path, objects: Sequence[_Object], size: Size | None, classes: Sequence[str], problems: list[Problem]
) -> list[_Object]:
    good = []
    for number, item in enumerate(objects, start=1):
        if item.name not in classes:
            hint = nearest(item.name, classes)
            problems.append(Problem("unknown class", f"{file}: object {number} is a '{item.name}'{hint} (classes: {', '.join(classes)})"))
            continue
        left, top, right, bottom = item.box
        height, width = size or (bottom, right)
        # Some tools count pixels from 0; both conventions fit in [0, width].
        if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
            problems.append(
                Problem("bad box", f"{file}: object {number} ({item.name}): box x {left}..{right}, y {top}..{bottom} is reversed or reaches"
                        f" outside the picture of {height} x {width} pixels")
            )  # fmt: skip
        good.append(item)
    return good


def _box_runs(objects: Sequence[_Object], label: str, size: Size) -> Runs:
    mask = np.zeros(size, dtype=bool)
    for item in objects:
        if item.name == label:
            left, top, right, bottom = item.box
            mask[max(top - 1, 0) : max(bottom, 1), max(left - 1, 0) : max(right, 1)] = True
    return runs_of(mask)
