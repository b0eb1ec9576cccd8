"""``photic data check lowlight``: reads a whole data set and says what is in it and what is wrong with it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from photic.apps.lowlight.alignment import LARGEST_SHIFT_PX, LEAST_AGREEMENT, Agreement, agreement
from photic.apps.lowlight.contact_sheet import Cell, contact_sheet, thumbnail
from photic.apps.lowlight.datasets import LowLightPairsConfig
from photic.apps.lowlight.pairing import Pair, PairTable, Problem
from photic.apps.lowlight.samples import different_sizes
from photic.apps.lowlight.scenes import join_scenes, signature_of
from photic.core.errors import ConfigError, DataError
from photic.core.files import sha256_of, write_json
from photic.data.images import passed_over, write_image
from photic.data.near_duplicates import Signature, group_signatures
from photic.data.photo.depth import Pixels
from photic.data.photo.files import read_photo
from photic.workflows.problems import show_problems
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic data check lowlight lol/                                 # finds out how the folder is laid out
  photic data check lowlight lol/ -o sheet.png --json check.json  # also a sheet of all pairs, and everything for machines
  photic data check lowlight photos/ pairing=none                 # dark pictures alone; fields as in `photic train data.pairing=none`
`photic list datasets lowlight_pairs --schema` shows the fields."""
_BLACK_LEVEL = 1.5 / 255  # a picture that never gets brighter has no more than one level above black
_MOST_ON_SHEET = 120


@dataclass(frozen=True)
class PairFacts:
    """What the pixels of a pair say."""

    pair: Pair
    """Which pair."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    bits: tuple[int, ...]
    """Per channel, of the dark and of the true picture; 32 for floats."""
    low_mean: float
    """Mean of the dark picture, 0 to 255."""
    high_mean: float | None
    """Mean of the true picture."""
    brightest: float
    """Largest value of the dark picture, 0 to 1."""
    agreement: Agreement | None
    """How the two lie on each other, where that can be told."""
    signature: Signature
    """Fine structure of the true picture, or of the dark one if there is none."""
    cell: Cell
    """Its place on the sheet."""

    @property
    def gain(self) -> float | None:
        """Return how many times brighter the true picture is."""
        return None if self.high_mean is None or not self.low_mean else self.high_mean / self.low_mean


@dataclass(frozen=True)
class DataReport:
    """What is in a data set, and what is wrong with it."""

    table: PairTable
    """The pairs, scenes joined."""
    facts: tuple[PairFacts, ...]
    """Of every pair that can be read."""
    problems: tuple[Problem, ...]
    """Of names, files and pixels together."""
    notes: tuple[str, ...]
    """What a user should know and need not change."""

    @property
    def num_scenes(self) -> int:
        """Return the number of scenes."""
        return len({pair.scene for pair in self.table.pairs})

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "schema": 1,
            "root": str(self.table.root),
            "layout": self.table.layout,
            "pictures": len(self.table.pairs),
            "scenes": self.num_scenes,
            "pairs": [
                {
                    "name": one.pair.name,
                    "scene": one.pair.scene,
                    "phase": one.pair.phase,
                    "size": list(one.size),
                    "bits": list(one.bits),
                    "low_mean": round(one.low_mean, 3),
                    "high_mean": None if one.high_mean is None else round(one.high_mean, 3),
                    "gain": None if one.gain is None else round(one.gain, 3),
                    "shift_px": None if one.agreement is None else [round(value, 2) for value in one.agreement.shift_px],
                    "agreement": None if one.agreement is None else round(one.agreement.correlation, 3),
                }
                for one in self.facts
            ],
            "problems": [{"kind": problem.kind, "message": problem.message} for problem in self.problems],
            "notes": list(self.notes),
        }


def check(config: LowLightPairsConfig, *, quiet: bool = True) -> DataReport:
    """Read a data set completely: names, every pixel of every picture, how pairs lie on each other, duplicates.

    Args:
        config: which data set.
        quiet: show no bar.

    Raises:
        DataError: the data set cannot be read at all; everything smaller is in the report's ``problems``.
    """
    table, _ = config.read_table()
    facts: list[PairFacts] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor() as pool, counting("reading", len(table.pairs), "pictures", quiet=quiet) as count:
        for result in pool.map(look, table.pairs):
            count(1)
            if isinstance(result, Problem):
                problems.append(result)
            else:
                facts.append(result)
                problems += complaints(result)
    problems += _copies(table)
    table = table.without([problem for problem in problems if problem.kind in ("unreadable", "different sizes")])
    table = join_scenes(table, compare=config.group_near_duplicates)
    notes = (*table.notes, *passed_over(table.root), *_remarks(table, facts))
    return DataReport(table, tuple(facts), tuple(dict.fromkeys((*table.problems, *problems))), notes)


def look(pair: Pair) -> PairFacts | Problem:
    """Decode a pair and say what its pixels hold, or what is wrong with its files."""
    try:
        low = read_photo(pair.low)
        high = None if pair.high is None else read_photo(pair.high)
    except DataError as error:
        return Problem("unreadable", str(error), (pair.name,))
    if high is not None and high.size != low.size:
        return Problem("different sizes", different_sizes(pair, low.size, high.size), (pair.name,))
    found = None if high is None else agreement(low.pixels, high.pixels)
    return PairFacts(
        pair=pair,
        size=low.size,
        bits=(low.bits,) if high is None else (low.bits, high.bits),
        low_mean=_mean(low.pixels),
        high_mean=None if high is None else _mean(high.pixels),
        brightest=float(low.pixels.max()) / _full_scale(low.pixels),
        agreement=found,
        signature=signature_of((low if high is None else high).pixels),
        cell=Cell(pair.name, thumbnail(low.pixels), None if high is None else thumbnail(high.pixels)),
    )


def complaints(facts: PairFacts) -> list[Problem]:
    """Return what the pixels of a pair make unusable."""
    pair, name = facts.pair, (facts.pair.name,)
    if facts.brightest <= _BLACK_LEVEL:
        return [
            Problem(
                "all black",
                f"{pair.low}: nothing in it is brighter than {facts.brightest * 255:.1f} of 255; there is nothing to enhance, take it out",
                name,
            )
        ]
    found = facts.agreement
    if found is not None and found.correlation < LEAST_AGREEMENT:
        return [
            Problem(
                "not one scene",
                f"pair '{pair.name}': the two pictures agree to {found.correlation:.2f} only, however they are laid (pairs of one scene:"
                f" 0.6 and more): {pair.low.name} belongs to another one, or is too dark to show anything",
                name,
            )
        ]
    if found is not None and found.distance_px > LARGEST_SHIFT_PX:
        x, y = found.shift_px
        return [
            Problem(
                "misaligned",
                f"pair '{pair.name}': the dark picture has to be moved by ({x:+.1f}, {y:+.1f}) pixels (right, down) to lie on the true one;"
                f" at most {LARGEST_SHIFT_PX:g} is expected. Crop both to what they share, or take the pair out",
                name,
            )
        ]
    if facts.high_mean is not None and facts.high_mean <= facts.low_mean:
        return [
            Problem(
                "not darker",
                f"pair '{pair.name}': the dark picture has a mean of {facts.low_mean:.1f}, the true one of {facts.high_mean:.1f} of 255;"
                " the two may be exchanged",
                name,
            )
        ]
    return []


def main(arguments: list[str]) -> int:
    """Run the command; 0 if the data set can be used, 1 if something is wrong with it."""
    parser = argparse.ArgumentParser(
        prog="photic data check lowlight",
        description="Read dark and true pictures completely and print layout, counts, sizes, scenes, brightness, duplicates, and what is"
        " wrong: unpaired, unreadable, of two sizes, black, misaligned.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set")
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="fields of lowlight_pairs, such as pairing=strict")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.png", help="also write a sheet of the pairs: before above truth")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything found as JSON")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    options = parser.parse_intermixed_args(arguments)
    for path in (options.output, options.json):
        if path is not None and path.exists() and not options.force:
            raise ConfigError(f"{path}: is there already; give another name, or --force to replace it")
    if options.output is not None and options.output.suffix.lower() != ".png":
        raise ConfigError(f"-o {options.output}: the sheet is a PNG file; give a name ending in .png")
    report = check(configure(options.root, options.fields), quiet=options.quiet)
    if options.json is not None:
        write_json(options.json, report.to_dict())
    console = Console()
    show(report, console)
    if options.output is not None and report.facts:
        write_image(options.output, contact_sheet([one.cell for one in report.facts[:_MOST_ON_SHEET]]))
        more = f" (the first {_MOST_ON_SHEET} of {len(report.facts)})" if len(report.facts) > _MOST_ON_SHEET else ""
        console.print(Text(f"sheet: {options.output}{more}"), soft_wrap=True)
    return 1 if report.problems else 0


def configure(root: Path, fields: Sequence[str] = ()) -> LowLightPairsConfig:
    """Return the config of a folder.

    Args:
        root: the folder.
        fields: ``name=value`` with the value in YAML; a ``data.`` before the name is accepted.

    Raises:
        ConfigError: a field is unknown or has a wrong value.
    """
    values: dict[str, Any] = {"root": str(root)}
    for text in fields:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"'{text}': expected FIELD=VALUE, such as pairing=strict")
        values[name.removeprefix("data.")] = yaml.safe_load(value)
    return LowLightPairsConfig.from_dict(values, "lowlight_pairs")


def show(report: DataReport, console: Console) -> None:
    """Print a report."""
    table, facts = report.table, report.facts
    console.print()
    console.print(Text.assemble((str(table.root), "bold"), f"  layout {table.layout}"), soft_wrap=True)
    paired = sum(pair.high is not None for pair in table.pairs)
    console.print(f"{paired:,} pairs, {len(table.pairs) - paired:,} dark pictures alone, {report.num_scenes:,} scenes", highlight=False)
    phases = Counter(pair.phase for pair in table.pairs if pair.phase)
    if phases:
        console.print("parts given by the folders: " + ", ".join(f"{name} {count:,}" for name, count in phases.items()), highlight=False)
    sizes = Counter(f"{one.size[1]}x{one.size[0]}" for one in facts)
    depths = Counter(" and ".join("float" if bits == 32 else f"{bits} bit" for bits in dict.fromkeys(one.bits)) for one in facts)
    for title, counts in (("sizes", sizes), ("depths", depths)):
        shown = ", ".join(f"{count:,} of {name}" for name, count in counts.most_common(8)) or "none can be read"
        console.print(f"{title}: {shown}{' and others' if len(counts) > 8 else ''}", highlight=False)
    if facts:
        console.print()
        console.print(_brightness(facts))
    shifts = [one.agreement.distance_px for one in facts if one.agreement is not None]
    if shifts:
        console.print(f"largest shift within a pair: {max(shifts):.1f} pixels", highlight=False)
    for note in report.notes:
        console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
    console.print()
    show_problems(report.problems, console)


def _brightness(facts: Sequence[PairFacts]) -> Table:
    """Return how dark the pictures are and how much brighter the true ones."""
    columns: list[tuple[str, Callable[[PairFacts], float | None]]] = [
        ("mean of the dark picture, of 255", lambda one: one.low_mean),
        ("mean of the true picture, of 255", lambda one: one.high_mean),
        ("how many times brighter", lambda one: one.gain),
    ]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("brightness")
    for name in ("least", "median", "mean", "most"):
        shown.add_column(name, justify="right")
    for title, value in columns:
        values = [number for number in map(value, facts) if number is not None]
        if values:
            shown.add_row(title, *(f"{function(values):.1f}" for function in (np.min, np.median, np.mean, np.max)))
    return shown


def _copies(table: PairTable) -> list[Problem]:
    """Return dark files that are there twice under different names."""
    sizes: dict[int, list[Pair]] = {}
    for pair in table.pairs:
        sizes.setdefault(pair.low.stat().st_size, []).append(pair)
    seen: dict[str, Pair] = {}
    problems = []
    for pair in (pair for same in sizes.values() if len(same) > 1 for pair in same):
        other = seen.setdefault(sha256_of(pair.low), pair)
        if other is not pair:
            problems.append(Problem("duplicate", f"{pair.low}: the same file as {other.low}; keep one of the two", (pair.name,)))
    return problems


def _remarks(table: PairTable, facts: Sequence[PairFacts]) -> list[str]:
    """Return pictures that look like one scene although the data name two."""
    scenes = {pair.name: pair.scene for pair in table.pairs}
    if not facts:
        return []
    groups = group_signatures(np.stack([one.signature for one in facts]))
    split: list[NDArray[np.int64]] = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    named = [[facts[row].pair.name for row in rows] for rows in split if len(rows) > 1]
    parted = [names for names in named if len({scenes.get(name) for name in names}) > 1]
    return [f"{', '.join(names[:4])} look like one scene, but the data name different ones; a split may part them" for names in parted]


def _mean(pixels: Pixels) -> float:
    return float(pixels.mean(dtype=np.float64)) / _full_scale(pixels) * 255


def _full_scale(pixels: Pixels) -> float:
    return 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype).max)
