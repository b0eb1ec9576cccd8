"""``photic data check rawnind``: what a prepared folder, or a folder of raw files, holds, and what is wrong with it."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from photic.apps.rawnind.pairs.index import INDEX_NAME, PairIndex, plain, read_index
from photic.apps.rawnind.pairs.layouts import Found, find_pictures
from photic.apps.rawnind.pairs.pairing import Plan, plan_pairs
from photic.apps.rawnind.pairs.pictures import PictureFacts, look
from photic.apps.rawnind.pairs.prepare import counted
from photic.apps.rawnind.pairs.tiles import open_tile
from photic.core.errors import ConfigError, DataError
from photic.core.files import write_json
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic data check rawnind RawNIND/prepared     # what was prepared: scenes, ISO values, tiles, rejected pairs; reads every tile's header
  photic data check rawnind photos/              # raw files: which would be paired with which, and what cannot be used
  photic data check rawnind photos/ --json check.json
Status 1: something is wrong with tiles, or files cannot be used. Rejected pairs of a prepared folder are listed and are no fault."""
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Problem:
    """Something that is wrong."""

    kind: str
    message: str


def main(arguments: list[str]) -> int:
    """Run the command; 0 if everything can be used, 1 if something is wrong."""
    parser = argparse.ArgumentParser(
        prog="photic data check rawnind",
        description="Say what a folder of prepared pairs, or of raw files, holds, and what is wrong with it, by kind.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="prepared folder, or folder of raw files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything found as JSON")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    if options.json is not None and options.json.exists() and not options.force:
        raise ConfigError(f"{options.json}: is there already; give another name, or --force to replace it")
    console = Console()
    if (options.root / INDEX_NAME).is_file():
        index = read_index(options.root)
        problems = check_tiles(index, quiet=options.quiet)
        _show_prepared(index, console)
        content: dict[str, Any] = {"pairs": plain(index.pairs), "rejected": plain(index.rejected)}
    else:
        found, facts, plan = check_raws(options.root, quiet=options.quiet)
        problems = [Problem(one.kind, f"{one.noisy_path}: {one.reason}") for one in plan.rejected]
        _show_raws(found, facts, plan, console)
        pairs = [{"name": pair.name, "scene": pair.scene, "gt": pair.anchor.name, "noisy": pair.other.name} for pair in plan.pairs]
        content = {"layout": found.layout, "pictures": [plain(one) | {"signature": []} for one in facts.values()], "pairs": pairs}
    if options.json is not None:
        write_json(options.json, {"schema": 1, "root": str(options.root), **content, "problems": [asdict(one) for one in problems]})
    _show_problems(problems, console)
    return 1 if problems else 0


def check_tiles(index: PairIndex, *, quiet: bool = True) -> list[Problem]:
    """Return what is wrong with the tiles of an index: missing, damaged, of sizes or shares that contradict it."""
    problems = []
    with counting("reading", len(index.pairs), "pairs", quiet=quiet) as count:
        for entry in index.pairs:
            for crop in entry.crops:
                paths = {"gt": crop.gt_path, "gt_rgb": crop.gt_rgb_path, "noisy": crop.noisy_path, "mask": crop.mask_path}
                try:
                    tiles = {name: open_tile(index.folder / path) for name, path in paths.items()}
                except DataError as error:
                    problems.append(Problem("tile", str(error)))
                    continue
                height, width = tiles["mask"].shape[-2:]
                expected = {"gt": (4, height, width), "gt_rgb": (3, 2 * height, 2 * width), "noisy": (4, height, width)}
                for name, shape in expected.items():
                    if tiles[name].shape != shape:
                        problems.append(Problem("tile", f"{paths[name]}: has shape {tiles[name].shape}, its mask wants {shape}"))
                share = float(tiles["mask"].mean())
                if abs(share - crop.valid_share) > 1e-5:
                    problems.append(Problem("mask", f"{crop.mask_path}: {share:.2%} of it counts, the index says {crop.valid_share:.2%}"))
            count(1)
    return problems


def check_raws(root: Path, *, quiet: bool = True) -> tuple[Found, dict[str, PictureFacts], Plan]:
    """Read the raw files of a folder; return them, what each holds, and the pairs they would form.

    Raises:
        DataError: there is no such folder, or no raw file in it.
    """
    found = find_pictures(root, without=root / "prepared")
    with_signature = any(picture.scene is None for picture in found.pictures)
    facts = {}
    # Decoding happens in processes of its own, so that threads are enough.
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", UserWarning)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        count = stack.enter_context(counting("reading", len(found.pictures), "pictures", quiet=quiet))
        for one in pool.map(lambda picture: look(picture, with_signature), found.pictures):
            facts[one.name] = one
            count(1)
    return found, facts, plan_pairs(found, facts)


def _show_prepared(index: PairIndex, console: Console) -> None:
    pairs = index.pairs
    scenes = {entry.image_set for entry in pairs}
    tiles = sum(len(entry.crops) for entry in pairs)
    reserved = len({entry.image_set for entry in pairs if entry.test_reserve})
    text = f"{index.folder}: {counted(len(pairs), 'pair')} of {counted(len(scenes), 'scene')}, {counted(tiles, 'tile')}"
    console.print(text, highlight=False, soft_wrap=True)
    if reserved:
        console.print(f"kept for the test: {counted(reserved, 'scene')}", highlight=False)
    cameras = Counter(entry.camera or "unknown" for entry in pairs)
    console.print(
        "cameras: " + ", ".join(f"{count:,} of {name}" for name, count in cameras.most_common(8)), highlight=False, soft_wrap=True
    )
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ISO", "pairs", "gain", "green PSNR dB", "counts"):
        shown.add_column(title, justify="right")
    for iso in sorted({entry.iso for entry in pairs}, key=lambda value: (value is None, value)):
        own = [entry for entry in pairs if entry.iso == iso]
        values = [
            np.median([entry.raw_gain for entry in own]),
            np.median([np.nan if entry.psnr is None else entry.psnr for entry in own]),
            np.mean([entry.mask_mean for entry in own]),
        ]
        name = "unknown" if iso is None else f"{iso:g}"
        shown.add_row(name, f"{len(own):,}", f"{values[0]:.3f}", f"{values[1]:.1f}", f"{values[2]:.0%}")
    console.print(shown)
    if index.rejected:
        console.print(f"rejected when it was prepared: {len(index.rejected)}", highlight=False)
        for one in index.rejected[:_MOST_SHOWN]:
            console.print(Text(f"  {one.noisy_path} ({one.kind}): {one.reason}"), soft_wrap=True)
        if len(index.rejected) > _MOST_SHOWN:
            console.print(f"  ... and {len(index.rejected) - _MOST_SHOWN} more, in {INDEX_NAME}", highlight=False)


def _show_raws(found: Found, facts: dict[str, PictureFacts], plan: Plan, console: Console) -> None:
    console.print(Text.assemble((str(found.root), "bold"), f"  laid out as {found.layout}"), soft_wrap=True)
    for note in found.notes:
        console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
    scenes = {pair.scene for pair in plan.pairs}
    text = (
        f"{counted(len(found.pictures), 'raw file')}, {counted(len(plan.pairs), 'pair')} of {counted(len(scenes), 'scene')} to be prepared"
    )
    console.print(text + " (how they lie on each other shows only then)", highlight=False, soft_wrap=True)
    cameras = Counter(one.camera or "unknown" for one in facts.values() if not one.problem)
    console.print(
        "cameras: " + ", ".join(f"{count:,} of {name}" for name, count in cameras.most_common(8)), highlight=False, soft_wrap=True
    )
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("scene", "file", "ISO", "exposure s", "mean green", "over", "noise a", "anchor"):
        shown.add_column(title, overflow="fold")
    anchors = {pair.anchor.name for pair in plan.pairs}
    scene_of = {pair.anchor.name: pair.scene for pair in plan.pairs} | {pair.other.name: pair.scene for pair in plan.pairs}
    listed = [one for one in facts.values() if one.name in scene_of]
    for one in sorted(listed, key=lambda one: (scene_of[one.name], one.name not in anchors, one.name))[:_MOST_SHOWN]:
        row = (
            scene_of[one.name],
            one.name,
            "" if one.iso is None else f"{one.iso:g}",
            "" if one.exposure_s is None else f"{one.exposure_s:.4g}",
            f"{one.level:.4f}",
            f"{one.over_share:.1%}",
            "" if one.noise is None else f"{one.noise[0]:.2e}",
            "yes" if one.name in anchors else "",
        )
        shown.add_row(*row)
    if listed:
        console.print(shown)
    if len(listed) > _MOST_SHOWN:
        console.print(f"... and {len(listed) - _MOST_SHOWN} more", highlight=False)


def _show_problems(problems: Sequence[Problem], console: Console) -> None:
    if not problems:
        console.print(Text("no problems", style="bold green"))
        return
    for kind, number in Counter(problem.kind for problem in problems).most_common():
        console.print(Text(f"{kind} ({number})", style="bold red"))
        messages = [problem.message for problem in problems if problem.kind == kind]
        for message in messages[:_MOST_SHOWN]:
            console.print(Text(f"  {message}"), soft_wrap=True)
        if len(messages) > _MOST_SHOWN:
            console.print(f"  ... and {len(messages) - _MOST_SHOWN} more", highlight=False)
    console.print(Text(f"{len(problems)} problem{'s' * (len(problems) != 1)}", style="bold red"))
