"""``photic develop``: raw photographs to pictures, demosaiced classically, white-balanced, colour-managed, with their EXIF."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from photic.apps.rawnind.development_options import add_options, development_of
from photic.apps.rawnind.files.bands import Band
from photic.apps.rawnind.files.developing import Development, balance_of, camera_bands
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.files.reading import MAX_PIXELS, RAW_SUFFIXES, read_raw
from photic.apps.rawnind.files.writing import WRITABLE, check_format, write_developed
from photic.core.errors import ConfigError
from photic.inference.file_model import Answer
from photic.inference.targets import Kinds, Target, add_file_options, add_inputs, plan
from photic.workflows.file_jobs import run
from photic.workflows.file_making import Advance

_EXAMPLES = """examples:
  photic develop photo.CR2 -o photo.exr                       # linear Rec.2020, half floats
  photic develop photo.CR2 -o photo.tif --exposure 0.7        # 16 bits with a Rec.2020 profile, 0.7 stops brighter
  photic develop photo.NEF -o photo.jpg --white-balance 2.1,1,1.4
  photic develop photo.RAF -o photo.dng                       # linear DNG: demosaiced, for a raw developer
  photic develop photo.CRW -o photo.dng --mosaic              # DNG with the mosaic as it is, to the bit
  photic develop raws/ -o pictures/ --format jpg              # a folder; names and subfolders are kept
  photic develop raws/ -o pictures/ --format jpg --skip-existing     # goes on where an earlier one was interrupted
  photic develop 'raws/**/*.dng' -o pictures/                 # a glob, to .tif
without -o: NAME_developed beside each file, FOLDER_developed beside a folder. Nothing that exists is replaced without --force, and no
original ever. Status 1: some files could not be read; they are named, the others are done."""


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    options = _parser().parse_intermixed_args(arguments)
    targets = plan(options.inputs, options.output, _kinds(options.format))
    how = _development(options, targets)
    started = time.perf_counter()
    outcome = run(
        "Developing",
        targets,
        partial(_Work, options, how),
        workers=options.workers,
        skip_existing=options.skip_existing,
        force=options.force,
        quiet=options.quiet,
    )
    print(outcome.summary(time.perf_counter() - started))
    return outcome.status


@dataclass(frozen=True)
class _Work:
    """Develops files."""

    options: argparse.Namespace
    how: Development

    def __call__(self, target: Target, advance: Advance) -> Answer:
        """Develop a file."""
        options, how = self.options, self.how
        picture = read_raw(target.source, max_pixels=1_000_000 * options.max_megapixels)
        if options.mosaic:
            write_mosaic_dng(target.output, picture, force=options.force)
            return Answer((target.output,), notes=picture.notes)

        def counted(top: int, band: Any) -> Band:
            advance(band.shape[0] / picture.size[0])
            return top, band

        bands = (counted(top, band) for top, band in camera_bands(picture, how.demosaic, balance=balance_of(picture, how.white_balance)))
        notes = write_developed(
            target.output, picture.size, bands, picture, how=how, bits=options.bits, quality=options.quality or 95, force=options.force
        )
        return Answer((target.output,), notes=(*picture.notes, *notes))


def _kinds(form: str | None) -> Kinds:
    return Kinds(
        readable=lambda name: name.suffix.lower() in RAW_SUFFIXES,
        ending=lambda source: f".{form or 'tif'}",
        writable=lambda source: WRITABLE,
        mark="_developed",
        nothing="no raw files",
        called=lambda source: "raw files",
    )


def _development(options: argparse.Namespace, targets: Sequence[Target]) -> Development:
    """Return the development that the options ask for; refuse options that the format has no use for."""
    suffixes = {target.output.suffix.lower() for target in targets}
    for target in targets:
        check_format(target.output, options.bits)
    if options.mosaic and ".dng" not in suffixes:
        raise ConfigError(f"--mosaic: only a DNG holds a mosaic, not {', '.join(sorted(suffixes))}; use --format dng")
    if options.mosaic and options.demosaic is not None:
        raise ConfigError("--mosaic leaves the mosaic as it is, --demosaic fills it in; give one of them")
    return development_of(options, suffixes, demosaic=options.demosaic)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic develop",
        description="Develop raw photographs: decode, demosaic, white-balance, convert to Rec.2020 or sRGB. EXIF is kept, clipped "
        "highlights become white. .exr is linear light, .tif has 16 bits or floats with an ICC profile, .png and .jpg are sRGB, .dng is "
        "linear and left to a raw developer.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_inputs(parser, "raw file")
    forms = [ending.removeprefix(".") for ending in WRITABLE]
    parser.add_argument("--format", choices=forms, help="of the pictures written to a folder (default: tif)")
    parser.add_argument(
        "--demosaic",
        choices=("auto", "menon", "malvar", "normalised"),
        help="menon is sharpest, malvar is quicker, normalised is for X-Trans (default: auto, menon or normalised)",
    )
    add_options(parser)
    parser.add_argument("--mosaic", action="store_true", help=".dng: store the mosaic as it is, not demosaiced")
    add_file_options(parser, MAX_PIXELS, device=False)
    return parser
