"""``photic data prepare rawnind``: raw pictures of the same scenes to aligned, masked pairs of tiles with an index."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from pathlib import Path

from photic.apps.rawnind.pairs.pair_preparation import TileSettings
from photic.apps.rawnind.pairs.preparation import Prepared, prepare
from photic.core.arguments import whole_number
from photic.core.program import program

_EXAMPLES = """examples:
  photic data prepare rawnind RawNIND/                  # writes RawNIND/prepared/index.yaml and tiles beside it
  photic data prepare rawnind photos/ -o pairs/ --workers 4
  photic data prepare rawnind photos/ -o pairs/         # once more: goes on where it was interrupted, adds new pictures
  photic train recipe=raw_denoise_bayer data.root=pairs/
ROOT holds raw files: RawNIND as `photic data download rawnind` fetches it, folders SCENE/gt/ with the clean ones, a folder per scene, or
all in one folder. Pictures of one scene, camera and size are paired with the best exposed of the clean ones. What cannot be used is
listed with its reason, here and in the index. Status 1: no pair could be used."""
_MOST_SHOWN = 20


def main(arguments: list[str]) -> int:
    """Run the command; 0 if there are pairs to train on, 1 if there are none."""
    options = _parser().parse_args(arguments)
    settings = TileSettings(
        tile_px=options.tile, stride_px=min(options.stride, options.tile), min_valid_share=options.min_valid, max_shift_px=options.max_shift
    )
    started = time.perf_counter()
    done = prepare(options.root, options.output, settings=settings, workers=options.workers, quiet=options.quiet)
    print(summary(done, time.perf_counter() - started))
    return 0 if done.index.pairs else 1


def summary(done: Prepared, seconds: float) -> str:
    """Return what was done, for the terminal."""
    index = done.index
    scenes = len({entry.image_set for entry in index.pairs})
    num_tiles = sum(len(entry.crops) for entry in index.pairs)
    lines = [f"{done.found.root}: {len(done.found.pictures)} raw files, laid out as {done.found.layout}"]
    lines += [f"note: {note}" for note in done.found.notes]
    before = f" ({done.reused} were judged before)" if done.reused else ""
    lines.append(
        f"{counted(len(index.pairs), 'pair')} of {counted(scenes, 'scene')}, {counted(num_tiles, 'tile')}, in {seconds:.1f} s{before}"
    )
    for entry in index.pairs[:_MOST_SHOWN]:
        rest = "unknown" if entry.subpixel_residual is None else "({:+.2f}, {:+.2f})".format(*entry.subpixel_residual)
        lines.append(
            f"  {entry.name}: shift ({entry.shift[0]:+d}, {entry.shift[1]:+d}) packed px, {rest} left; gain {entry.raw_gain:.3f}; "
            f"green PSNR {entry.psnr or 0:.1f} dB; {entry.mask_mean:.0%} counts; {counted(len(entry.crops), 'tile')}"
        )
    if len(index.pairs) > _MOST_SHOWN:
        lines.append(f"  ... and {len(index.pairs) - _MOST_SHOWN} more")
    if index.rejected:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(one.kind for one in index.rejected).most_common())
        lines.append(f"{len(index.rejected)} REJECTED: {kinds}")
        lines += [f"  {one.noisy_path}: {one.reason}" for one in index.rejected[:_MOST_SHOWN]]
        if len(index.rejected) > _MOST_SHOWN:
            lines.append(f"  ... and {len(index.rejected) - _MOST_SHOWN} more")
    lines.append(f"index: {done.path}")
    if index.pairs:
        lines.append(f"train: {program()} train recipe=raw_denoise_bayer data.root={done.path.parent}")
    return "\n".join(lines)


def counted(number: int, what: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "pair"), counted(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic data prepare rawnind",
        description="Pair raw pictures of the same scenes, find shift and gain, mask what differs or is clipped, cut tiles, write an index."
        " An interrupted call goes on where it was; the result is the same.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of raw files")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where everything goes (default: ROOT/prepared)")
    parser.add_argument("--workers", type=whole_number(1), default=_processors(), metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--tile", type=whole_number(16), default=1024, metavar="N", help="side of tiles in packed pixels (default: %(default)s)"
    )
    parser.add_argument("--stride", type=whole_number(1), default=768, metavar="N", help="from tile to tile (default: %(default)s)")
    parser.add_argument(
        "--min-valid", type=float, default=0.5, metavar="SHARE", help="share of a tile's pixels that must count (default: %(default)s)"
    )
    parser.add_argument(
        "--max-shift", type=whole_number(), default=128, metavar="N", help="largest shift in packed pixels (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def _processors() -> int:
    """Return how many processes work well: the processors there are, up to 8, each of which needs memory."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 8)
