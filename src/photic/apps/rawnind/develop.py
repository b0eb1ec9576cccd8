"""``photic develop``: raw photographs to pictures, demosaiced classically, white-balanced, colour-managed, with their EXIF."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from photic.apps.rawnind.development_options import add_options, development_of
from photic.apps.rawnind.files.bands import Band
from photic.apps.rawnind.files.developing import Development, balance_of, camera_bands
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.files.reading import MAX_PIXELS, RAW_SUFFIXES, read_raw
from photic.apps.rawnind.files.writing import WRITABLE, check_format, write_developed
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError, DataError, StorageError
from photic.inference.outcome import Outcome, about
from photic.inference.targets import Kinds, Target, plan, refuse_existing
from photic.workflows.progress import counting

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
    targets = plan(options.inputs, options.output, raw_kinds("_developed", options.format))
    how = _development(options, targets)
    outcome = Outcome()
    if options.skip_existing:
        outcome.left = sum(target.output.exists() for target in targets)
        targets = [target for target in targets if not target.output.exists()]
    if not options.force:
        refuse_existing([target.output for target in targets])
    started = time.perf_counter()
    _run(targets, options, how, outcome)
    print(outcome.summary(time.perf_counter() - started))
    return 1 if outcome.failed else 0


def raw_kinds(mark: str, form: str | None, default: str = "tif") -> Kinds:
    """Return what commands read that take raw files, and what they write.

    Args:
        mark: what is put behind a name where the result lies beside its source.
        form: ending of results, without the dot; None leaves it to the name given with -o, else ``default``.
        default: likewise.
    """
    return Kinds(
        readable=lambda name: name.suffix.lower() in RAW_SUFFIXES,
        ending=lambda source: f".{form or default}",
        writable=lambda source: WRITABLE,
        mark=mark,
        nothing="no raw files",
        called=lambda source: "raw files",
    )


def _run(targets: Sequence[Target], options: argparse.Namespace, how: Development, outcome: Outcome) -> None:
    if len(targets) == 1:
        with counting("Developing", 100, "%", quiet=options.quiet) as advance:
            _try(targets[0], options, how, outcome, lambda share: advance(100 * share))  # type: ignore[arg-type]  # rich counts fractions
        return
    with counting("Developing", len(targets), "files", quiet=options.quiet) as advance:
        for target in targets:
            _try(target, options, how, outcome, lambda share: None)
            advance(1)


def _try(target: Target, options: argparse.Namespace, how: Development, outcome: Outcome, advance: Callable[[float], None]) -> None:
    try:
        notes = _one(target, options, how, advance)
    except StorageError:
        raise  # a full disk is no property of the file
    except DataError as error:
        outcome.failed.append((target.source, str(error)))
        return
    outcome.made.append(target.output)
    outcome.notes += [about(target.source, note) for note in notes]


def _one(target: Target, options: argparse.Namespace, how: Development, advance: Callable[[float], None]) -> tuple[str, ...]:
    picture = read_raw(target.source, max_pixels=1_000_000 * options.max_megapixels)
    if options.mosaic:
        write_mosaic_dng(target.output, picture, force=options.force)
        advance(1.0)
        return picture.notes

    def counted(top: int, band: Any) -> Band:
        advance(band.shape[0] / picture.size[0])
        return top, band

    bands = (counted(top, band) for top, band in camera_bands(picture, how.demosaic, balance=balance_of(picture, how.white_balance)))
    notes = write_developed(
        target.output, picture.size, bands, picture, how=how, bits=options.bits, quality=options.quality or 95, force=options.force
    )
    return (*picture.notes, *notes)


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
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="raw file, folder or glob")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="file (for one input file) or folder to write to")
    forms = [ending.removeprefix(".") for ending in WRITABLE]
    parser.add_argument("--format", choices=forms, help="of the pictures written to a folder (default: tif)")
    parser.add_argument(
        "--demosaic",
        choices=("auto", "menon", "malvar", "normalised"),
        help="menon is sharpest, malvar is quicker, normalised is for X-Trans (default: auto, menon or normalised)",
    )
    add_options(parser)
    parser.add_argument("--mosaic", action="store_true", help=".dng: store the mosaic as it is, not demosaiced")
    parser.add_argument(
        "--max-megapixels",
        type=whole_number(1),
        default=MAX_PIXELS // 1_000_000,
        metavar="N",
        help=f"larger pictures are refused (default: {MAX_PIXELS // 1_000_000})",
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave results that are there, make the others")
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser
