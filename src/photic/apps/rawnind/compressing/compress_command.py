"""``photic compress``: raw files and developed pictures to ``.phc`` files, denoised on the way, at a quality or to a size."""

from __future__ import annotations

import argparse
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from photic.apps.rawnind.compressing.container import SUFFIX, read_header
from photic.apps.rawnind.compressing.encoding import Prepared, check_fits, load_compressor, prepare
from photic.apps.rawnind.compressing.files_in_turn import Advance, in_turn
from photic.apps.rawnind.compressing.model_identity import network_of
from photic.apps.rawnind.compressing.phc_info import bpp_unit
from photic.apps.rawnind.compressing.rate_target import WITHIN, search
from photic.apps.rawnind.compressing.sources import TASK, is_photograph, read_source, source_megapixels, suffixes_for
from photic.apps.rawnind.files.reading import MAX_PIXELS
from photic.apps.rawnind.noise_choice import ChosenNoise, choose_noise
from photic.apps.rawnind.noise_options import add_noise_options
from photic.apps.rawnind.noise_profiles import read_profiles
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.files import saved
from photic.core.plugins import default_model
from photic.inference.memory import keep_freed_memory
from photic.inference.outcome import Outcome, about
from photic.inference.predictor import LoadedModel
from photic.inference.targets import Kinds, Target, add_file_options, plan, refuse_existing
from photic.models.compression import Compressor

_EXAMPLES = """examples:
  photic compress photo.CR2 -o photo.phc                      # with the model that comes with Photic, at its best quality
  photic compress photo.CR2 -o photo.phc --quality 4.5        # smaller; fractions are levels between
  photic compress photo.CR2 -o photo.phc --target-bpp 0.1     # the best quality of at most 0.1 bits per sensor pixel
  photic compress shoot/ -o small/                            # a folder; names and subfolders are kept
  photic compress shoot/ -o small/ --skip-existing            # goes on where an earlier one was interrupted
  photic compress 'shoot/*.NEF' -o small/ --iso 6400          # a glob, noise of a typical camera at ISO 6400
  photic compress photo.jpg --model RUN -o photo.phc          # a developed picture, with a model for RGB
  photic decompress photo.phc -o photo.dng                    # and back
The picture is denoised while it is compressed; EXIF, white balance and colour matrix are kept in the file. How noisy it is, is told by
--noise, the file's own profile, --noise-profiles, --iso, or estimated from the picture, in this order. Without -o, NAME.phc is written
beside each file. Nothing that exists is replaced without --force. Status 1: some files could not be read; they are named, the others are
done."""


@dataclass(frozen=True)
class _Made:
    """A file that was written."""

    source: Path
    bytes_before: int
    num_bytes: int
    num_pixels: int
    quality: float
    unit: str

    def __str__(self) -> str:
        bpp = 8 * self.num_bytes / self.num_pixels
        return (
            f"{self.num_bytes:,} bytes, {bpp:.4f} {self.unit}, {_ratio(self.bytes_before, self.num_bytes)} {self.source.name}; "
            f"quality {self.quality:g}"
        )


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    return _run(_parser("compress").parse_intermixed_args(arguments))


def predict(arguments: list[str]) -> int:
    """Run it as ``photic predict MODEL INPUT ...``."""
    return _run(_parser("predict").parse_intermixed_args(arguments))


def _run(options: argparse.Namespace) -> int:
    _check_options(options)
    model = load_compressor(options.model or default_model(TASK), options.device)
    network = network_of(model)
    _check_quality(network, options, model)
    targets = plan(options.inputs, options.output, _kinds(network))
    outcome = Outcome()
    if options.skip_existing:
        outcome.left = sum(target.output.exists() for target in targets)
        targets = [target for target in targets if not target.output.exists()]
    if not options.force:
        refuse_existing([target.output for target in targets])
    keep_freed_memory()
    started = time.perf_counter()
    work = _Work(model, options, outcome)
    in_turn("Compressing", targets, work.picture, outcome, megapixels=source_megapixels, quiet=options.quiet)
    print(outcome.summary(time.perf_counter() - started))
    if work.made:
        print(_summary(work.made))
    return 1 if outcome.failed else 0


class _Work:
    """Compresses files one after the other."""

    def __init__(self, model: LoadedModel, options: argparse.Namespace, outcome: Outcome) -> None:
        self.model, self.options, self.outcome = model, options, outcome
        self.network = network_of(model)
        self.profiles = None if options.noise_profiles is None else read_profiles(options.noise_profiles)
        self.made: list[_Made] = []

    def picture(self, target: Target, advance: Advance) -> None:
        options = self.options
        picture = read_source(target.source, self.network.measurement, max_pixels=1_000_000 * options.max_megapixels)
        check_fits(self.network, picture)
        notes = list(picture.notes)
        chosen = self._noise(target.source, picture)
        if chosen is not None:
            notes.append(str(chosen))
        prepared = prepare(self.model, picture, noise=None if chosen is None else chosen.values)
        if options.target_bpp is None:
            data = prepared.coded(options.quality, advance=advance)
        else:
            data = _of_size(prepared, self.network.num_qualities, options.target_bpp, notes, advance)
        with saved(target.output, force=options.force) as temporary:
            temporary.write_bytes(data)
        header = read_header(data)
        height, width = picture.size
        self.made.append(_Made(target.source, target.source.stat().st_size, len(data), height * width, header.quality, bpp_unit(header)))
        self.outcome.notes += [about(target.source, note) for note in notes]

    def _noise(self, source: Path, picture: RawPicture) -> ChosenNoise | None:
        """Return the noise to tell the network; None where it does not ask."""
        options = self.options
        if options.noise is None and options.iso is None and not getattr(self.network, "noise_map", True):
            return None
        if not is_photograph(source):
            return choose_noise(picture, given=options.noise, iso=options.iso, profiles=self.profiles)
        if options.noise is None and options.iso is not None:  # a camera's noise at an ISO value is that of its sensor
            raise DataError(
                f"{source}: --iso tells the noise of raw files, this is a developed picture; leave it away, or give --noise A,B"
            )
        try:
            return choose_noise(picture, given=options.noise)
        except DataError:
            return ChosenNoise(0.0, 0.0, "cannot be estimated, the picture is taken for clean (--noise A,B tells it)")


def _of_size(prepared: Prepared, num_qualities: int, target_bpp: float, notes: list[str], advance: Advance) -> bytes:
    """Return the file nearest below a size, and note what became of it."""
    height, width = prepared.picture.size
    pixels = height * width
    prepared.analyse(advance)
    found = search(prepared.coded, 1.0, float(num_qualities), target_bpp * pixels / 8)
    reached = 8 * len(found.coding.data) / pixels
    if found.beyond:
        (_, least), (_, most) = found.sizes[0], found.sizes[-1]
        warnings.warn(
            f"{target_bpp:g} bits per pixel cannot be reached: qualities 1 to {num_qualities} of this model give {8 * least / pixels:.4f} "
            f"to {8 * most / pixels:.4f} for this picture; made with {reached:.4f}",
            UserWarning,
            stacklevel=2,
        )
    elif not found.reached:
        notes.append(f"{target_bpp:g} bits per pixel were not met within {WITHIN:.0%} in {len(found.sizes)} tries; made with {reached:.4f}")
    else:
        notes.append(f"{target_bpp:g} bits per pixel met with {reached:.4f}, in {len(found.sizes)} tries")
    return found.coding.data


def _check_options(options: argparse.Namespace) -> None:
    if options.quality is not None and options.target_bpp is not None:
        raise ConfigError("--quality and --target-bpp: give one of them; a size says the quality")
    if options.target_bpp is not None and not (math.isfinite(options.target_bpp) and 0 < options.target_bpp <= 64):
        raise ConfigError(
            f"--target-bpp: expected bits per pixel above 0 (0.1 is a usual value) and at most 64, got {options.target_bpp:g}"
        )


def _check_quality(network: Compressor, options: argparse.Namespace, model: LoadedModel) -> None:
    """Refuse what this model does not have, before anything is read."""
    highest = network.num_qualities
    if options.target_bpp is not None and highest == 1:
        raise ConfigError(
            f"--target-bpp: {model.source} has a single quality, so its files have the size they have; take a model of several qualities "
            "(trained with model.num_qualities=8), or one trained with another loss.lmbda"
        )
    if options.quality is not None and not 1 <= options.quality <= highest:
        only = "this model has a single quality, 1" if highest == 1 else f"expected 1 (smallest file) to {highest} (best picture)"
        raise ConfigError(f"--quality: {only}; got {options.quality:g}")


def _kinds(network: Compressor) -> Kinds:
    endings = suffixes_for(network.measurement)
    mosaic = network.measurement == "mosaic"
    return Kinds(
        readable=lambda name: name.suffix.lower() in endings,
        ending=lambda source: SUFFIX,
        writable=lambda source: (SUFFIX,),
        mark="",
        nothing="no raw files (this model takes mosaics; developed pictures need a model for RGB)"
        if mosaic
        else "no raw files or pictures",
        called=lambda source: "compressed pictures",
    )


def _summary(made: list[_Made]) -> str:
    if len(made) == 1:
        return str(made[0])
    before, after, pixels = (sum(getattr(one, name) for one in made) for name in ("bytes_before", "num_bytes", "num_pixels"))
    qualities = sorted({one.quality for one in made})
    told = f"quality {qualities[0]:g}" if len(qualities) == 1 else f"qualities {qualities[0]:g} to {qualities[-1]:g}"
    return (
        f"{_bytes(before)} became {_bytes(after)}, {_ratio(before, after)} the originals, {8 * after / pixels:.4f} "
        f"{made[0].unit} on average; {told}"
    )


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
        description="Compress raw files (Bayer of every order), or developed pictures with models for RGB, into .phc files, denoising them "
        "on the way. Large pictures are made in parts; of a file every tile can be decoded alone.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = "a bundle (.photic), a run, a checkpoint, or a model that comes with Photic"
    if verb == "predict":
        parser.add_argument("model", metavar="MODEL", help=models)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="raw file or picture, folder or glob")
    if verb == "compress":
        parser.add_argument("--model", metavar="MODEL", help=f"{models} (default: the one that comes with Photic)")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="file (for one input file) or folder to write to")
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
