"""``photic compress``: raw files and developed pictures to ``.phc`` files, denoised on the way, at a quality or to a size."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from photic.apps.rawnind.compressing.encoding import load_compressor
from photic.apps.rawnind.compressing.file_model import CompressionFiles
from photic.apps.rawnind.compressing.sources import TASK, is_photograph, shipped_compressors
from photic.apps.rawnind.files.photographs import PHOTO_SUFFIXES
from photic.apps.rawnind.files.reading import MAX_PIXELS, RAW_SUFFIXES
from photic.apps.rawnind.noise_options import add_noise_options
from photic.apps.rawnind.noise_profiles import read_profiles
from photic.core.container import read_header
from photic.core.plugins import default_model
from photic.inference.file_model import Answer
from photic.inference.targets import MODEL, add_file_options, add_inputs
from photic.workflows.file_jobs import predict_files

_EXAMPLES = """examples:
  photic compress photo.CR2 -o photo.phc                      # with the model that comes with Photic, at its best quality
  photic compress photo.CR2 -o photo.phc --quality 4.5        # smaller; fractions are levels between
  photic compress photo.CR2 -o photo.phc --target-bpp 0.1     # the best quality of at most 0.1 bits per sensor pixel
  photic compress shoot/ -o small/                            # a folder; names and subfolders are kept
  photic compress shoot/ -o small/ --skip-existing            # goes on where an earlier one was interrupted
  photic compress shoot/ -o small/ --workers 4                # four files at a time
  photic compress 'shoot/*.NEF' -o small/ --iso 6400          # a glob, noise of a typical camera at ISO 6400
  photic compress photo.jpg -o photo.phc                      # a developed picture, as it is, with the model that comes for those
  photic decompress photo.phc -o photo.dng                    # and back
A raw file is denoised while it is compressed, a developed picture is not; EXIF, white balance and colour matrix are kept in the file. How
noisy it is, is told by --noise, the file's own profile, --noise-profiles, --iso, or estimated from the picture, in this order. Without
-o, NAME.phc is written beside each file. Nothing that exists is replaced without --force. Status 1: some files could not be read; they
are named, the others are
done."""


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    return _run(_parser("compress").parse_intermixed_args(arguments))


def predict(arguments: list[str]) -> int:
    """Run it as ``photic predict MODEL INPUT ...``."""
    return _run(_parser("predict").parse_intermixed_args(arguments))


def opened(model: Path | str, device: str, *, profiles: Path | None = None, smaller: Path | str | None = None) -> CompressionFiles:
    """Load a compressor, ready for files.

    Args:
        model: what to load.
        device: where it computes.
        profiles: a file with measured noise of cameras.
        smaller: another one, for sizes that are out of its reach; loaded when it is needed.
    """
    known = None if profiles is None else read_profiles(profiles)
    other = None if smaller is None else partial(opened, smaller, device, profiles=profiles)
    return CompressionFiles(load_compressor(model, device), profiles=known, smaller=other)


def default_for(inputs: Sequence[str]) -> Path:
    """Return the model that comes with Photic for what is to be compressed: that for developed pictures where there are no raw files.

    Args:
        inputs: files, folders and globs, as the command was given them.

    Raises:
        ConfigError: no model comes with this installation.
    """
    pictures = list(shipped_compressors("rgb").values())
    return pictures[0] if pictures and inputs and all(map(_holds_photographs, inputs)) else default_model(TASK)


def smaller_than(default: Path) -> Path | None:
    """Return another model that comes along and takes the same, for sizes that are out of the default's reach; None if there is none."""
    others = shipped_compressors(read_header(default).description.get("measurement"))
    return next((path for path in others.values() if path != default), None)


def _holds_photographs(given: str) -> bool:
    """Say whether a file, folder or glob has developed pictures and no raw files."""
    path = Path(given)
    if not path.is_dir():
        return is_photograph(path)
    endings = {file.suffix.lower() for file in path.rglob("*")}
    return not endings.isdisjoint(PHOTO_SUFFIXES) and endings.isdisjoint(RAW_SUFFIXES)


def _run(given: argparse.Namespace) -> int:
    model, smaller = given.model, None
    if model is None:  # whoever names one wants that one
        model = default_for(given.inputs)
        smaller = smaller_than(model)
    load = partial(opened, model, given.device, profiles=given.noise_profiles, smaller=smaller)
    outcome = predict_files("Compressing", load, given)
    if outcome.answers:
        print(_summary(outcome.answers))
    return outcome.status


def _summary(made: Sequence[tuple[Path, Answer]]) -> str:
    values = [answer.values for _, answer in made]
    before, after = (sum(one[name] for one in values) for name in ("source_bytes", "num_bytes"))
    pixels = sum(one["height"] * one["width"] for one in values)
    bpp = f"{8 * after / pixels:.4f} {values[0]['unit']}"
    qualities = sorted({one["quality"] for one in values})
    told = f"quality {qualities[0]:g}" if len(qualities) == 1 else f"qualities {qualities[0]:g} to {qualities[-1]:g}"
    if len(made) == 1:
        return f"{after:,} bytes, {bpp}, {_ratio(before, after)} {made[0][0].name}; {told}"
    return f"{_bytes(before)} became {_bytes(after)}, {_ratio(before, after)} the originals, {bpp} on average; {told}"


def _bytes(count: int) -> str:
    """Return a number of bytes to read.

    >>> _bytes(999), _bytes(12_345_678)
    ('999 bytes', '12.3 MB')
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _ratio(before: int, after: int) -> str:
    """Return how small a file became, in words."""
    return f"1/{before / after:.1f} of" if after < before else f"{after / before:.1f} times"


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"photic {verb}",
        description="Compress raw files (Bayer of every order), denoising them on the way, or developed pictures, with models for RGB, "
        "into .phc files. Large pictures are made in parts; of a file every tile can be decoded alone.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if verb == "predict":
        parser.add_argument("model", metavar="MODEL", help=MODEL)
    add_inputs(parser, "raw file or picture")
    if verb == "compress":
        parser.add_argument(
            "--model", metavar="MODEL", help=f"{MODEL} (default: the one that comes with Photic for what is given, and for the size)"
        )
    parser.add_argument("--quality", type=float, metavar="Q", help="1 (smallest) to the model's highest, usually 8; fractions are allowed")
    parser.add_argument(
        "--target-bpp",
        type=float,
        metavar="BPP",
        help="search for the quality whose file has this many bits per (sensor) pixel, everything counted: never more, at most 2 %% less",
    )
    add_noise_options(parser)
    add_file_options(parser, MAX_PIXELS)
    return parser
