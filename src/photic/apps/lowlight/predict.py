"""``photic predict`` for enhancers: photographs, folders, globs and videos, brightened, denoised and coloured."""

from __future__ import annotations

import argparse
from functools import partial

from photic.apps.lowlight import video
from photic.apps.lowlight.enhancing import MOST_STRENGTH, load_enhancer
from photic.apps.lowlight.file_model import EnhancementFiles
from photic.core.arguments import whole_number
from photic.data.photo.files import MAX_PIXELS
from photic.inference.targets import MODEL, add_file_options, add_inputs
from photic.workflows.file_jobs import predict_files

_EXAMPLES = """examples:
  photic predict lowlight night.jpg                           # writes night_enhanced.jpg beside it, with a model that comes with Photic
  photic predict model.photic night.jpg --strength 0.7 -o out.png
  photic predict RUN photos/ -o enhanced/                     # a folder; names, subfolders and formats are kept
  photic predict RUN photos/ -o enhanced/ --skip-existing     # goes on where an earlier one was interrupted
  photic predict RUN photos/ -o enhanced/ --workers 4         # four files at a time
  photic predict RUN 'raw/*.tif' -o enhanced/ --format jpg    # a glob, 16 bits to JPEG
  find . -newer last -name '*.jpg' | photic predict RUN - -o enhanced/     # a list of files
  photic predict RUN clip.mp4 -o bright.mp4                   # a video, steady in exposure and colour
without -o: NAME_enhanced beside each file, FOLDER_enhanced beside a folder. Nothing that exists is replaced without --force, and no
original ever. Status 1: some files could not be read; they are named, the others are done."""
_FORMATS = ("png", "jpg", "tif", "tiff", "webp", "bmp")


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    given = _parser().parse_intermixed_args(arguments)
    return predict_files("Enhancing", partial(opened, given.model, given.device, compare=given.compare), given).status


def opened(model: str, device: str, *, compare: bool = False) -> EnhancementFiles:
    """Load an enhancer, ready for files."""
    return EnhancementFiles(load_enhancer(model, device), compare=compare)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic predict",
        description="Enhance dark photographs and videos with a trained network. Depth (8 or 16 bits), EXIF, colour profile and "
        "transparency are kept; large pictures are enhanced in tiles with one decision about exposure and colour.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    add_inputs(parser, "picture, video")
    parser.add_argument(
        "--strength",
        type=float,
        metavar="S",
        help=f"how far to go: 0 leaves every bit, 1 is the network's picture, above exaggerates, at most {MOST_STRENGTH:g} (default: 1)",
    )
    parser.add_argument("--format", choices=_FORMATS, help="of the pictures written (default: each its own)")
    parser.add_argument("--quality", type=whole_number(1), metavar="Q", help="of JPEG and WebP, 1 to 100 (default: 95)")
    parser.add_argument("--compare", action="store_true", help="also write NAME_compare.jpg, before and after side by side")
    parser.add_argument(
        "--tile", dest="tile_px", type=whole_number(1), metavar="PX", help="side of tiles (default: whole up to 1 MP, else 768)"
    )
    parser.add_argument(
        "--smooth",
        dest="smooth_s",
        type=float,
        metavar="SECONDS",
        help=f"videos: how slowly exposure and colour follow the scene; 0 decides for each frame alone (default: {video.SMOOTH_S:g})",
    )
    add_file_options(parser, MAX_PIXELS)
    return parser
