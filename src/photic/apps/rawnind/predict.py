"""``photic predict`` for denoisers of raw pictures: camera files, folders and globs to DNG, EXR, TIFF, PNG or JPEG."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photic.apps.rawnind.denoising import (
    MOST_STRENGTH,
    TILE_PX,
    check_strength,
    denoised_bands,
    heeds_noise,
    layout_of,
    load_denoiser,
    network_of,
)
from photic.apps.rawnind.develop import raw_kinds
from photic.apps.rawnind.development_options import add_options, development_of
from photic.apps.rawnind.files.bands import Band, gathered
from photic.apps.rawnind.files.developing import Developer, Development, camera_bands, encoded
from photic.apps.rawnind.files.reading import MAX_PIXELS, raw_size, read_raw
from photic.apps.rawnind.files.writing import WRITABLE, check_format, write_developed
from photic.apps.rawnind.noise_choice import choose_noise
from photic.apps.rawnind.noise_options import add_noise_options
from photic.apps.rawnind.noise_profiles import read_profiles
from photic.apps.rawnind.picture import RawPicture
from photic.core.arguments import whole_number
from photic.core.errors import DataError, StorageError
from photic.core.files import atomic_path
from photic.data.photo.files import turned
from photic.functional.cfa import RGGB
from photic.inference.memory import keep_freed_memory
from photic.inference.outcome import Outcome, about
from photic.inference.predictor import LoadedModel
from photic.inference.targets import Target, add_file_options, plan, refuse_existing
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic predict rawdenoise photo.CR2                        # writes photo_denoised.dng beside it, with a model that comes with Photic
  photic predict rawdenoise photo.CR2 -o photo.dng --strength 0.8
  photic predict RUN shoot/ -o clean/                        # a folder; names and subfolders are kept
  photic predict RUN shoot/ -o clean/ --skip-existing        # goes on where an earlier one was interrupted
  photic predict RUN 'shoot/*.NEF' -o jpegs/ --format jpg --exposure 0.7
  photic predict RUN photo.ARW -o photo.exr --noise-profiles noiseprofiles.json
A DNG is linear, in the camera's own colours: white balance, exposure and highlights are still free, brightness and EXIF are the original's.
The other formats are developed. How noisy a picture is, is told by --noise, the file's own profile, --noise-profiles, --iso, or estimated
from the picture, in this order. Nothing that exists is replaced without --force, and no original ever. Status 1: some files could not be
read; they are named, the others are done."""
_FORMATS = tuple(suffix.removeprefix(".") for suffix in WRITABLE)
_COMPARED_PX = 800


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    options = _parser().parse_intermixed_args(arguments)
    targets = plan(options.inputs, options.output, raw_kinds("_denoised", options.format, "dng"))
    how = development_of(options, {target.output.suffix.lower() for target in targets})
    for target in targets:
        check_format(target.output, options.bits)
    outcome = Outcome()
    if options.skip_existing:
        outcome.left = sum(target.output.exists() for target in targets)
        targets = [target for target in targets if not target.output.exists()]
    if not options.force:
        refuse_existing([target.output for target in targets])
        if options.compare:
            refuse_existing([comparison_of(target) for target in targets], what="--force replaces them")
    keep_freed_memory()
    model = load_denoiser(options.model, options.device)
    network = network_of(model)
    check_strength(network, options.strength)
    layout_of(network, RGGB if network.measurement == "mosaic" else None, options.tile)  # refuses what is too small before anything is read
    started = time.perf_counter()
    _Work(model, options, how, outcome).run(targets)
    print(outcome.summary(time.perf_counter() - started))
    return 1 if outcome.failed else 0


def comparison_of(target: Target) -> Path:
    """Return where the picture of before and after goes."""
    return target.output.with_name(f"{target.output.stem}_compare.png")


class _Work:
    """Denoises files one after the other."""

    def __init__(self, model: LoadedModel, options: argparse.Namespace, how: Development, outcome: Outcome) -> None:
        self.options, self.how, self.outcome = options, how, outcome
        self.network = network_of(model)
        self.profiles = None if options.noise_profiles is None else read_profiles(options.noise_profiles)
        self.told = options.strength > 0 and heeds_noise(self.network)

    def run(self, targets: Sequence[Target]) -> None:
        quiet = self.options.quiet
        if len(targets) == 1:
            with counting("Denoising", max(1, round(_megapixels(targets[0].source))), "megapixels", quiet=quiet) as advance:
                self._try(targets[0], lambda pixels: advance(pixels / 1e6))  # type: ignore[arg-type]  # rich counts fractions, too
            return
        with counting("Denoising", len(targets), "files", quiet=quiet) as advance:
            for target in targets:
                self._try(target, lambda pixels: None)
                advance(1)

    def _try(self, target: Target, advance: Callable[[int], None]) -> None:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", UserWarning)
            try:
                self.outcome.made += self._picture(target, advance)
            except StorageError:
                raise  # a full disk is no property of the file
            except DataError as error:
                self.outcome.failed.append((target.source, str(error)))
        texts = dict.fromkeys(str(warning.message) for warning in raised if warning.category is UserWarning)
        self.outcome.notes += [about(target.source, text) for text in texts]

    def _picture(self, target: Target, advance: Callable[[int], None]) -> list[Path]:
        options = self.options
        picture = read_raw(target.source, max_pixels=1_000_000 * options.max_megapixels)
        noise, notes = (0.0, 0.0), list(picture.notes)
        if self.told:
            chosen = choose_noise(picture, given=options.noise, iso=options.iso, profiles=self.profiles)
            noise = chosen.values
            notes.append(str(chosen))
        bands = denoised_bands(
            self.network,
            picture,
            noise,
            strength=options.strength,
            tile_px=options.tile,
            precision=options.precision,
            advance=advance,
        )
        made = [target.output]
        if options.compare:
            middle = _Middle(picture, self.how)
            bands = middle.seen(bands)
        notes += write_developed(
            target.output, picture.size, bands, picture, how=self.how, bits=options.bits, quality=options.quality or 95, force=options.force
        )
        if options.compare:
            made.append(comparison_of(target))
            middle.write(made[1])
        self.outcome.notes += [about(target.source, note) for note in notes]
        return made


class _Middle:
    """The middle of a picture, at most 800 pixels wide and high, demosaiced alone and denoised, side by side at full size."""

    def __init__(self, picture: RawPicture, how: Development) -> None:
        self.developer = Developer(picture, how.replace(space="srgb"))  # refuses pictures of unknown colours before anything is written
        self.orientation = picture.orientation
        (self.top, height), (self.left, width) = (
            ((side - min(side, _COMPARED_PX)) // 12 * 6, min(side, _COMPARED_PX)) for side in picture.size
        )
        self.size = (height, width)
        part = picture.cropped(self.top, self.left, height, width)
        self.before = gathered(camera_bands(part, balance=self.developer.factors), part.size)
        self.after = np.zeros_like(self.before)

    def seen(self, bands: Iterable[Band]) -> Iterator[Band]:
        """Give bands as they come, and keep what lies in the middle."""
        for top, band in bands:
            first, last = max(self.top, top), min(self.top + self.size[0], top + len(band))
            if first < last:
                self.after[first - self.top : last - self.top] = band[first - top : last - top, self.left : self.left + self.size[1]]
            yield top, band

    def write(self, path: Path) -> None:
        """Write both."""
        sides: list[NDArray[np.uint8]] = [
            np.ascontiguousarray(turned(encoded(self.developer.rows(part), np.uint8), self.orientation))
            for part in (self.before, self.after)
        ]
        gap = np.full((sides[0].shape[0], 8, 3), 255, np.uint8)
        with atomic_path(path) as temporary:
            Image.fromarray(np.concatenate([sides[0], gap, sides[1]], axis=1)).save(temporary, format="PNG")


def _megapixels(source: Path) -> float:
    """Return how much there is to do; a file that cannot be read counts as one, and is named when it is."""
    try:
        height, width = raw_size(source)
    except DataError:
        return 1.0
    return height * width / 1e6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic predict",
        description="Denoise and demosaic raw files with a trained network: Bayer of every order, X-Trans where the network takes it, "
        "linear DNG with networks for RGB. Large pictures are made in tiles; memory does not grow with their height.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a bundle (.photic), a run, a checkpoint, or a model that comes with Photic")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="raw file, folder or glob")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="file (for one input file) or folder to write to")
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="share of the noise to remove: 0 demosaics alone, 1 is the network's picture, above it smooths more, at most "
        f"{MOST_STRENGTH:g} (default: 1)",
    )
    parser.add_argument("--format", choices=_FORMATS, help="of the files written (default: dng)")
    add_noise_options(parser)
    add_options(parser)
    parser.add_argument("--compare", action="store_true", help="also write NAME_compare.png: the middle at full size, before and after")
    parser.add_argument(
        "--tile", type=whole_number(1), metavar="PX", help=f"side of tiles; smaller ones take less memory (default: {TILE_PX})"
    )
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="auto is fp16 on a GPU, else fp32 (default: auto)"
    )
    add_file_options(parser, MAX_PIXELS, what="sensors")
    return parser
