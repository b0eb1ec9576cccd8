"""``photic data convert ptycho``: a scan of any known format becomes a raw NPZ file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from photic.apps.ptycho.npz import NpzFile
from photic.apps.ptycho.raw import save_raw_npz
from photic.apps.ptycho.readers import load_scan, reader_references
from photic.core.errors import DataError, StorageError

MEAN_PATTERN: Literal["mean-pattern"] = "mean-pattern"
_EXAMPLES = """examples:
  photic data convert ptycho scan.cxi -o scan.npz --probe mean-pattern       # metres become pixels; a probe to refine
  photic data convert ptycho product.h5 --diffraction dp.h5 -o scan.npz      # ptychodus keeps patterns apart
  photic data convert ptycho scan.hdf5 -o scan.npz --crop 256 --probe probe.npy
Positions become object pixels by wavelength * distance / (N * detector pixel), far field only. Uncompressed files (the default) are read
piece by piece later; --compressed makes them smaller."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="photic data convert ptycho",
        description="Write a scan of any known format as raw NPZ, whole or not at all.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the scan")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.npz", required=True, help="file to write")
    add_reading_options(parser)
    parser.add_argument("--distance-m", type=float, metavar="M", help="specimen to detector, metres, in place of the file's")
    parser.add_argument("--energy-ev", type=float, metavar="EV", help="photon energy, electron volts, in place of the file's")
    parser.add_argument("--crop", type=int, metavar="N", help="keep N x N detector pixels; object pixels grow")
    parser.add_argument(
        "--center", type=_row_and_column, metavar="ROW,COL", help="pixel of the direct beam to crop around (default: the middle)"
    )
    parser.add_argument(
        "--probe", metavar="FILE", help=f"probe (.npy, or probeGuess of an .npz) in place of the file's, or '{MEAN_PATTERN}'"
    )
    parser.add_argument("--far-field", action="store_true", help="you know that it is far field: skip the test")
    parser.add_argument("--compressed", action="store_true", help="smaller, but patterns must be loaded whole to be used")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    options = parser.parse_args(arguments)
    if options.output.exists() and not options.force:
        raise StorageError(f"{options.output}: there is such a file already; choose another name, or replace it with --force")
    raw = load_scan(
        options.file,
        reader=options.reader,
        domain=options.domain,
        diffraction=options.diffraction,
        distance_m=options.distance_m,
        energy_ev=options.energy_ev,
        crop=options.crop,
        center_px=options.center,
        probe=None if options.probe is None else read_probe(options.probe),
        far_field=options.far_field,
    )
    save_raw_npz(options.output, raw, compressed=options.compressed, force=options.force)
    pixel = raw.physics_parameters.get("pixel_size_m")
    scale = "" if pixel is None else f", object pixels of {pixel * 1e9:.4g} nm"
    size = raw.size_px
    Console().print(f"{options.output}: {raw.num_patterns:,} patterns of {size} x {size}{scale}", highlight=False, soft_wrap=True)
    return 0


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a scan is read."""
    parser.add_argument("--reader", choices=list(reader_references()), help="format of the file (default: found out by content)")
    parser.add_argument("--domain", choices=("amplitude", "counts"), help="what patterns are (default: what the format says)")
    parser.add_argument("--diffraction", type=Path, metavar="FILE", help="file of the patterns, for formats that keep them apart")


def read_probe(name: str) -> NDArray[Any] | Literal["mean-pattern"]:
    """Return the probe of a file, never unpickling anything, or the word for the probe of the mean pattern.

    Raises:
        DataError: no such file, or no array in it.
    """
    if name == MEAN_PATTERN:
        return MEAN_PATTERN
    path = Path(name)
    if not path.is_file():
        raise DataError(f"{path}: no such file (from {Path.cwd()}); expected a probe (N, N) or modes (P, N, N), or '{MEAN_PATTERN}'")
    if path.suffix.lower() == ".npz":
        return NpzFile(path).read("probeGuess")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no readable probe ({error}); expected an .npy file of complex numbers (N, N) or (P, N, N)") from error
    return np.asarray(found)


def _row_and_column(text: str) -> tuple[int, int]:
    row, _, column = text.partition(",")
    try:
        return int(row), int(column)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected ROW,COL, such as 128,130, got '{text}'") from error
