"""``photic data check defects``: reads a whole data set and says what is in it and what is wrong with it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from photic.apps.defects.datasets import LAYOUTS, PictureFolderConfig, detect_layout
from photic.apps.defects.layouts.table import LabelTable, Problem
from photic.core.errors import ConfigError, DataError
from photic.core.files import write_json
from photic.core.registry import datasets
from photic.data.images import passed_over, read_image
from photic.data.near_duplicates import group_signatures, read_signature
from photic.data.split import check_label_table
from photic.workflows.problems import show_problems

_EXAMPLES = """examples:
  photic data check defects severstal/                                     # finds out how the folder is laid out
  photic data check defects neu/ --layout label_csv images=NEU-DET         # fields as in `photic train data.images=...`
  photic data check defects severstal/ --json check.json                   # also for machines
`photic list datasets NAME --schema` shows the fields of a layout."""
Progress = Callable[[int, str], Iterable[int]]
_GROUPS_SHOWN = 20


@dataclass(frozen=True)
class DataReport:
    """What is in a data set, and what is wrong with it."""

    layout: str
    table: LabelTable
    problems: tuple[Problem, ...]
    """Of labels and files together."""
    groups: tuple[tuple[int, ...], ...]
    """Rows of near-duplicates, two and more together."""
    num_bytes: int
    """Of the picture files."""
    remarks: tuple[str, ...] = ()
    """About files that are of no kind that is read."""

    def shapes(self) -> dict[str, int]:
        """Return number of pictures by height x width, most frequent first."""
        counts = Counter(f"{size[0]}x{size[1]}" for size in self.table.sizes if size is not None)
        return dict(counts.most_common())

    def classes(self) -> list[dict[str, Any]]:
        """Return one row per class: images, their share, masks, objects, median share of the picture."""
        table = self.table
        rows = []
        for column, name in enumerate(table.classes):
            areas = [
                table.area_px(row, column) / (size[0] * size[1])
                for row, size in enumerate(table.sizes)
                if size is not None and (row, column) in table.runs
            ]
            images = int(table.labels[:, column].sum())
            rows.append(
                {
                    "class": name,
                    "images": images,
                    "share": images / max(1, len(table.names)),
                    "masks": len(areas),
                    "objects": None if table.objects is None else int(table.objects[:, column].sum()),
                    "median_area_share": float(np.median(areas)) if areas else None,
                }
            )
        return rows

    def label_counts(self) -> dict[int, int]:
        """Return number of pictures by how many classes they have."""
        return dict(sorted(Counter(self.table.labels.sum(axis=1, dtype=int).tolist()).items()))

    def notes(self) -> list[str]:
        """Return what a user should know and need not change."""
        notes = [*self.table.notes, *self.remarks]
        split = [group for group in self.groups if len({tuple(self.table.labels[row]) for row in group}) > 1]
        if split:
            examples = ", ".join(self.table.names[row] for row in split[0])
            notes.append(f"{len(split)} groups of near-duplicates have different labels (for example {examples}); look at them")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "schema": 1,
            "layout": self.layout,
            "root": str(self.table.root),
            "pictures": len(self.table.names),
            "bytes": self.num_bytes,
            "shapes": self.shapes(),
            "classes": self.classes(),
            "pictures_by_number_of_classes": {str(number): count for number, count in self.label_counts().items()},
            "near_duplicates": [[self.table.names[row] for row in group] for group in self.groups],
            "problems": [{"kind": problem.kind, "message": problem.message} for problem in self.problems],
            "notes": self.notes(),
        }


def check(config: PictureFolderConfig, progress: Progress = lambda count, _: range(count)) -> DataReport:
    """Read a data set completely: labels, masks, every pixel of every picture, near-duplicates.

    Args:
        config: which data set.
        progress: counts from 0 to a number, under a title, and may show how far it is.

    Raises:
        DataError: the data set cannot be read at all; everything smaller is in the report's ``problems``.
    """
    table = config.read_table()
    problems = list(table.problems)
    readable = np.array([row for row, size in enumerate(table.sizes) if size is not None], dtype=np.int64)
    signatures: list[NDArray[np.float32] | None] = []
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda row: _read_picture(table, int(row)), readable)
        for _, result in zip(progress(len(readable), "reading pictures"), results, strict=True):
            signatures.append(None if isinstance(result, Problem) else result)
            if isinstance(result, Problem):
                problems.append(result)
    if config.image_size is None:
        problems += _complaint("mixed sizes", table.refuse_mixed_sizes)
    problems += _complaint("one-sided class", lambda: check_label_table(table.labels, table.classes))
    whole = [(int(row), found) for row, found in zip(readable, signatures, strict=True) if found is not None]
    groups = _groups([row for row, _ in whole], group_signatures(np.stack([found for _, found in whole]))) if whole else ()
    num_bytes = sum(table.path(int(row)).stat().st_size for row in readable)
    return DataReport(config.registry_name or "", table, tuple(problems), groups, num_bytes, passed_over(table.root))


def main(arguments: list[str]) -> int:
    """Run the command; 0 if the data set can be used, 1 if something is wrong with it."""
    parser = argparse.ArgumentParser(
        prog="photic data check defects",
        description="Read a data set completely and print counts, shapes, problems, near-duplicates and a label table.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set")
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="fields of the layout, such as images=NEU-DET")
    parser.add_argument("--layout", choices=list(LAYOUTS), help="how the folder is laid out (default: found out)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything found as JSON")
    options = parser.parse_intermixed_args(arguments)
    config = configure(options.root, options.layout, options.fields)
    waiting = Console(stderr=True)
    report = check(config, lambda count, title: track(range(count), description=title, console=waiting, transient=True))
    if options.json is not None:
        write_json(options.json, report.to_dict())
    show(report, Console())
    return 1 if report.problems else 0


def configure(root: Path, layout: str | None, fields: Sequence[str]) -> PictureFolderConfig:
    """Return the config of a folder's layout.

    Args:
        root: the folder.
        layout: name of the layout; null finds it out.
        fields: ``name=value`` with the value in YAML; a ``data.`` before the name is accepted.

    Raises:
        DataError: there is no such folder, or it has no known layout.
        ConfigError: a field is unknown or has a wrong value.
    """
    values: dict[str, Any] = {"root": str(root)}
    for text in fields:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"'{text}': expected FIELD=VALUE, such as images=NEU-DET")
        values[name.removeprefix("data.")] = yaml.safe_load(value)
    if layout is None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder (from {Path.cwd()})")
        layout = detect_layout(root)
    if layout is None:
        looked_for = "".join(f"\n  {name}: {kind.EXPECTED}" for name, kind in LAYOUTS.items())
        raise DataError(f"{root}: no known layout; name it with --layout, or arrange the folder as one of:{looked_for}")
    config = datasets.configure(layout, **values)
    assert isinstance(config, PictureFolderConfig)
    return config


def show(report: DataReport, console: Console) -> None:
    """Print a report."""
    table = report.table
    console.print()
    console.print(Text.assemble((str(table.root), "bold"), f"  layout {report.layout}"), soft_wrap=True)
    shapes = ", ".join(f"{number} of {shape}" for shape, number in report.shapes().items()) or "none can be read"
    console.print(f"{len(table.names):,} pictures ({shapes}), {report.num_bytes / 2**20:,.1f} MiB", highlight=False)
    console.print()
    console.print(_class_table(report))
    carried = ", ".join(f"{count:,} with {'none' if number == 0 else number}" for number, count in report.label_counts().items())
    console.print(f"pictures by number of classes: {carried}", highlight=False)
    _show_groups(report, console)
    for note in report.notes():
        console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
    console.print()
    show_problems(report.problems, console)


def _class_table(report: DataReport) -> Table:
    rows = report.classes()
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("class")
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("images", lambda row: f"{row['images']:,}"),
        ("share", lambda row: f"{row['share']:.1%}"),
    ]
    if report.table.runs:
        columns.append(("with mask", lambda row: f"{row['masks']:,}"))
    if report.table.objects is not None:
        columns.append(("objects", lambda row: f"{row['objects']:,}"))
    if report.table.runs:
        columns.append(("median area", lambda row: "-" if row["median_area_share"] is None else f"{row['median_area_share']:.2%}"))
    for name, _ in columns:
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(row["class"], *(cell(row) for _, cell in columns), style="red" if row["images"] == 0 else "")
    return shown


def _show_groups(report: DataReport, console: Console) -> None:
    pictures = sum(map(len, report.groups))
    if not report.groups:
        console.print("near-duplicates: none")
        return
    console.print(f"near-duplicates: {pictures} pictures in {len(report.groups)} groups, kept together by splits", highlight=False)
    for group in report.groups[:_GROUPS_SHOWN]:
        console.print(Text("  " + ", ".join(report.table.names[row] for row in group), style="dim"), soft_wrap=True)
    if len(report.groups) > _GROUPS_SHOWN:
        console.print(f"  ... and {len(report.groups) - _GROUPS_SHOWN} more groups (--json FILE lists all)", style="dim", highlight=False)


def _read_picture(table: LabelTable, row: int) -> NDArray[np.float32] | Problem:
    """Decode a whole picture; return its signature, or what is wrong with it."""
    try:
        shape = read_image(table.path(row)).shape[:2]
        if shape != table.sizes[row]:
            raise DataError(f"{table.path(row)}: {shape} pixels decoded, but {table.sizes[row]} in its header; replace the file")
        return read_signature(table.path(row))
    except DataError as error:
        return Problem("unreadable picture", str(error))


def _complaint(kind: str, test: Callable[[], object]) -> list[Problem]:
    try:
        test()
    except DataError as error:
        return [Problem(kind, str(error))]
    return []


def _groups(rows: Sequence[int], ids: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    members: dict[int, list[int]] = {}
    for row, group in zip(rows, ids.tolist(), strict=True):
        members.setdefault(group, []).append(row)
    return tuple(tuple(group) for group in members.values() if len(group) > 1)
