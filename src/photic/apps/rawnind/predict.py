"""``photic predict`` for denoisers of raw pictures: camera files, folders and globs to DNG, EXR, TIFF, PNG or JPEG."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from photic.apps.rawnind.denoising import MOST_STRENGTH, TILE_PX, load_denoiser
from photic.apps.rawnind.development_options import add_options
from photic.apps.rawnind.file_model import RawDenoisingFiles
from photic.apps.rawnind.files.reading import MAX_PIXELS
from photic.apps.rawnind.files.writing import WRITABLE
from photic.apps.rawnind.noise_options import add_noise_options
from photic.apps.rawnind.noise_profiles import read_profiles
from photic.core.arguments import whole_number
from photic.inference.targets import MODEL, add_file_options, add_inputs
from photic.workflows.file_jobs import predict_files

_EXAMPLES = """examples:
  photic predict rawdenoise photo.CR2                        # writes photo_denoised.dng beside it, with a model that comes with Photic
  photic predict rawdenoise photo.CR2 -o photo.dng --strength 0.8
  photic predict RUN shoot/ -o clean/                        # a folder; names and subfolders are kept
  photic predict RUN shoot/ -o clean/ --skip-existing        # goes on where an earlier one was interrupted
  photic predict RUN shoot/ -o clean/ --workers 4            # four files at a time
  photic predict RUN 'shoot/*.NEF' -o jpegs/ --format jpg --exposure 0.7
  photic predict RUN photo.ARW -o photo.exr --noise-profiles noiseprofiles.json
A DNG is linear, in the camera's own colours: white balance, exposure and highlights are still free, brightness and EXIF are the original's.
The other formats are developed. How noisy a picture is, is told by --noise, the file's own profile, --noise-profiles, --iso, or estimated
from the picture, in this order. Nothing that exists is replaced without --force, and no original ever. Status 1: some files could not be
read; they are named, the others are done."""
_FORMATS = tuple(suffix.removeprefix(".") for suffix in WRITABLE)


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    given = _parser().parse_intermixed_args(arguments)
    load = partial(opened, given.model, given.device, profiles=given.noise_profiles, compare=given.compare)
    return predict_files("Denoising", load, given).status


def opened(model: str, device: str, *, profiles: Path | None = None, compare: bool = False) -> RawDenoisingFiles:
    """Load a denoiser, ready for files; ``profiles`` is a file with measured noise of cameras."""
    known = None if profiles is None else read_profiles(profiles)
    return RawDenoisingFiles(load_denoiser(model, device), profiles=known, compare=compare)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic predict",
        description="Denoise and demosaic raw files with a trained network: Bayer of every order, X-Trans where the network takes it, "
        "linear DNG with networks for RGB. Large pictures are made in tiles; memory does not grow with their height.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    add_inputs(parser, "raw file")
    parser.add_argument(
        "--strength",
        type=float,
        metavar="S",
        help="share of the noise to remove: 0 demosaics alone, 1 is the network's picture, above it smooths more, at most "
        f"{MOST_STRENGTH:g} (default: 1)",
    )
    parser.add_argument("--format", choices=_FORMATS, help="of the files written (default: dng)")
    add_noise_options(parser)
    add_options(parser)
    parser.add_argument("--compare", action="store_true", help="also write NAME_compare.png: the middle at full size, before and after")
    parser.add_argument(
        "--tile",
        dest="tile_px",
        type=whole_number(1),
        metavar="PX",
        help=f"side of tiles; smaller ones take less memory (default: {TILE_PX})",
    )
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), help="auto is fp16 on a GPU, else fp32 (default: auto)")
    add_file_options(parser, MAX_PIXELS, what="sensors")
    return parser
