"""``photic data generate defects``: drawn strips with exact masks, in Kaggle layout."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from photic.apps.defects.rle import encode
from photic.apps.defects.synthetic import CLASSES, MIN_SIZE, Strip, draw_strip
from photic.core.errors import DataError
from photic.core.files import write_text
from photic.workflows.generating import claim_folder

_EXAMPLES = """examples:
  photic data generate defects strips/                                  # 200 native strips and 20 without labels
  photic data generate defects small/ --num 400 --height 64 --width 400 # small ones, quick to train on
  photic train recipe=quick_strips data=severstal data.root=small/      # train on them
"""
_TABLES = ("train.csv", "labels.csv")


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="photic data generate defects",
        description=f"Draw steel strips with {', '.join(CLASSES)}, whose masks are exact, in Kaggle layout (classes 1 to {len(CLASSES)}).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; must be new or empty")
    parser.add_argument("--num", type=int, default=200, help="labelled strips (default: %(default)s)")
    parser.add_argument("--num-test", type=int, default=20, help="further strips without labels, in test_images/ (default: %(default)s)")
    parser.add_argument("--height", type=int, default=256, help=f"pixels, at least {MIN_SIZE[0]} (default: %(default)s)")
    parser.add_argument("--width", type=int, default=1600, help=f"pixels, at least {MIN_SIZE[1]} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same strips (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty, replacing strips generated before")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    generate(
        options.out, options.num, options.num_test, height=options.height, width=options.width, seed=options.seed, force=options.force,
        progress=lambda count: track(range(count), description="drawing", console=console, transient=True),
    )  # fmt: skip
    named = ", ".join(f"defect_{number} = {name}" for number, name in enumerate(CLASSES, start=1))
    size = f"{options.height} x {options.width} pixels"
    print(f"{options.out}: {options.num} labelled and {options.num_test} unlabelled strips of {size}, seed {options.seed}")
    print(f"classes: {named}")
    print(f"look at them:  photic data check defects {options.out}")
    print(f"train on them: photic train recipe=severstal data.root={options.out}")
    return 0


def generate(
    out: Path,
    num_labelled: int,
    num_unlabelled: int = 0,
    *,
    height: int = 256,
    width: int = 1600,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int], Iterable[int]] = range,
) -> None:
    """Write drawn strips in Kaggle layout: pictures as PNG (exact), ``train.csv`` with masks, ``labels.csv``.

    Args:
        out: folder.
        num_labelled: strips in ``train_images/``.
        num_unlabelled: strips in ``test_images/``.
        height: pixels.
        width: pixels.
        seed: which set.
        force: accept a folder that is not empty; strips generated there before are removed first.
        progress: counts from 0, like ``range``, and may show how far it is.

    Raises:
        DataError: the folder is not empty, or a number or size is impossible.
    """
    if num_labelled < 1 or num_unlabelled < 0:
        raise DataError(
            f"cannot draw {num_labelled} labelled and {num_unlabelled} unlabelled strips; use --num 1 or more, --num-test 0 or more"
        )
    draw_strip(seed, 0, height, width)  # refuses an impossible size before anything is written or removed
    claim_folder(out, (*_TABLES, "*_images/strip_*.png"), force=force)
    for folder in ("train_images", "test_images"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    masks = [["ImageId", "ClassId", "EncodedPixels"]]
    labels = [["image_id", "file", *(f"defect_{number}" for number in range(1, len(CLASSES) + 1))]]
    for index in progress(num_labelled + num_unlabelled):
        strip = draw_strip(seed, index, height, width)
        name = f"strip_{index:05d}.png"
        folder = "train_images" if index < num_labelled else "test_images"
        Image.fromarray(strip.picture).save(out / folder / name, compress_level=1)
        if index < num_labelled:
            masks += _mask_rows(name, strip)
            labels.append([name, f"{folder}/{name}", *map(str, strip.labels.tolist())])
    # The tables come last: a folder without them is seen to be unfinished.
    for file, rows in zip(_TABLES, (masks, labels), strict=True):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(out / file, text.getvalue())


def _mask_rows(name: str, strip: Strip) -> list[list[str]]:
    return [[name, str(number), encode(mask)] for number, mask in enumerate(strip.masks, start=1) if mask.any()]
