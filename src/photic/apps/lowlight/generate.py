"""``photic data generate lowlight``: drawn scenes, dark as a sensor sees them and bright as they are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import DataError
from photic.data.images import write_image
from photic.workflows.generating import claim_folder
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic data generate lowlight pairs/                                 # 40 pairs of 240 x 360 pixels
  photic data generate lowlight pairs/ --num 12 --height 96 --width 96 # small ones, quick to train on
  photic predict lowlight pairs/low -o bright/                         # brighten the dark ones
  photic train recipe=lowlight_compact data.root=pairs                 # learn from them
"""
_LEAST_PX = 32


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="photic data generate lowlight",
        description="Draw pairs of a dark, noisy picture and the bright one of the same scene: OUT/low and OUT/high.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; must be new or empty")
    parser.add_argument("--num", type=int, default=40, help="pairs (default: %(default)s)")
    parser.add_argument("--height", type=int, default=240, help=f"pixels, at least {_LEAST_PX} (default: %(default)s)")
    parser.add_argument("--width", type=int, default=360, help=f"pixels, at least {_LEAST_PX} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pairs (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty, replacing pairs generated before")
    options = parser.parse_args(arguments)
    with counting("drawing", max(options.num, 0), "pairs") as advance:
        generate(
            options.out, options.num, height=options.height, width=options.width, seed=options.seed, force=options.force, advance=advance
        )
    print(f"{options.out}: {options.num} pairs of {options.height} x {options.width} pixels in low/ and high/, seed {options.seed}")
    print(f"look at them:  photic data check lowlight {options.out} -o sheet.png")
    print(f"train on them: photic train recipe=lowlight_compact data.root={options.out}")
    return 0


def generate(
    out: Path,
    num: int,
    *,
    height: int = 240,
    width: int = 360,
    seed: int = 0,
    force: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Write drawn pairs as ``low/scene_NNNN.png`` and ``high/scene_NNNN.png``, 8 bits, sRGB.

    Args:
        out: folder.
        num: pairs.
        height: pixels.
        width: pixels.
        seed: which set.
        force: accept a folder that is not empty; pairs generated there before are removed first.
        advance: told of each pair.

    Raises:
        DataError: the folder is not empty, or a number or size is impossible.
    """
    if num < 1 or min(height, width) < _LEAST_PX:
        raise DataError(
            f"cannot draw {num} pairs of {height} x {width} pixels; use --num 1 or more, --height and --width {_LEAST_PX} or more"
        )
    claim_folder(out, ("low/scene_*.png", "high/scene_*.png"), force=force)
    for index in range(num):
        for side, picture in zip(("low", "high"), draw_pair(seed, index, height, width), strict=True):
            write_image(out / side / f"scene_{index:04d}.png", picture)
        advance(1)
