"""``photic predict`` for enhancers: photographs, folders, globs and videos, brightened, denoised and coloured."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from photic.apps.lowlight import video
from photic.apps.lowlight.enhancing import MOST_STRENGTH, check_strength, enhance_photo, graph_of, load_enhancer, tile_layout
from photic.apps.lowlight.targets import Target, plan
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import atomic_path
from photic.data.photo.depth import Pixels, as_kind
from photic.data.photo.files import MAX_PIXELS, Photo, photo_size, read_photo, write_photo
from photic.inference.outcome import Outcome, about
from photic.inference.predictor import LoadedModel
from photic.inference.targets import add_file_options, refuse_existing
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic predict lowlight night.jpg                           # writes night_enhanced.jpg beside it, with a model that comes with Photic
  photic predict model.photic night.jpg --strength 0.7 -o out.png
  photic predict RUN photos/ -o enhanced/                     # a folder; names, subfolders and formats are kept
  photic predict RUN photos/ -o enhanced/ --skip-existing     # goes on where an earlier one was interrupted
  photic predict RUN 'raw/*.tif' -o enhanced/ --format jpg    # a glob, 16 bits to JPEG
  photic predict RUN clip.mp4 -o bright.mp4                   # a video, steady in exposure and colour
without -o: NAME_enhanced beside each file, FOLDER_enhanced beside a folder. Nothing that exists is replaced without --force, and no
original ever. Status 1: some files could not be read; they are named, the others are done."""
_COMPARED_PX = 1200
_FORMATS = ("png", "jpg", "tif", "tiff", "webp", "bmp")


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    options = _parser().parse_intermixed_args(arguments)
    check_strength(options.strength)
    targets = plan(options.inputs, options.output, options.format)
    outcome = Outcome()
    if options.skip_existing:
        outcome.left = sum(target.output.exists() for target in targets)
        targets = [target for target in targets if not target.output.exists()]
    if not options.force:
        refuse_existing([target.output for target in targets])
        if options.compare:
            refuse_existing([target.comparison for target in targets if not target.is_video], what="--force replaces them")
    if options.compare and targets and all(target.is_video for target in targets):
        raise ConfigError("--compare: draws before and after of pictures; there are only videos")
    model = load_enhancer(options.model, options.device)
    tile_layout(graph_of(model), options.tile)  # refuses what is too small before anything is read
    started = time.perf_counter()
    _Work(model, options, outcome).run(targets)
    print(outcome.summary(time.perf_counter() - started))
    return 1 if outcome.failed else 0


class _Work:
    """Enhances files one after the other."""

    def __init__(self, model: LoadedModel, options: argparse.Namespace, outcome: Outcome) -> None:
        self.model, self.options, self.outcome = model, options, outcome

    def run(self, targets: Sequence[Target]) -> None:
        quiet = self.options.quiet
        if len(targets) == 1:
            self._one(targets[0], *_amount(targets[0]))
            return
        with counting("Enhancing", len(targets), "files", quiet=quiet) as advance:
            for target in targets:
                self._try(target, lambda amount: None)
                advance(1)

    def _one(self, target: Target, total: float, unit: str) -> None:
        """Enhance the only file, with a bar that runs inside it."""
        with counting("Enhancing", round(total), unit, quiet=self.options.quiet) as advance:
            scale = 1 if target.is_video else 1e-6
            self._try(target, lambda amount: advance(amount * scale))  # type: ignore[arg-type]  # rich counts fractions, too

    def _try(self, target: Target, advance: Callable[[int], None]) -> None:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", UserWarning)
            try:
                self.outcome.made += (self._video if target.is_video else self._picture)(target, advance)
            except StorageError:
                raise  # a full disk is no property of the file
            except DataError as error:
                self.outcome.failed.append((target.source, str(error)))
        self.outcome.notes += [about(target.source, str(warning.message)) for warning in raised if warning.category is UserWarning]

    def _picture(self, target: Target, advance: Callable[[int], None]) -> list[Path]:
        options = self.options
        photo = read_photo(target.source, max_pixels=1_000_000 * options.max_megapixels)
        made = enhance_photo(self.model, photo, strength=options.strength, tile_px=options.tile, advance=advance)
        write_photo(target.output, made, quality=options.quality, force=options.force)
        if options.compare:
            write_comparison(target.comparison, photo, made)
            return [target.output, target.comparison]
        return [target.output]

    def _video(self, target: Target, advance: Callable[[int], None]) -> list[Path]:
        options = self.options
        found = video.enhance_video(
            self.model,
            target.source,
            target.output,
            strength=options.strength,
            smooth_s=options.smooth,
            tile_px=options.tile,
            force=options.force,
            advance=advance,
        )
        text = f"{found.num_frames} frames of {found.size[1]} x {found.size[0]} at {found.fps:.4g} per second, scenes: {found.num_scenes}"
        if found.variation is not None:
            before, after = found.variation
            text += f"; brightness varies from frame to frame by {before:.3%} before, {after:.3%} after"
        self.outcome.notes += [about(target.source, note) for note in (text, *found.notes)]
        return [target.output]


def write_comparison(path: Path, before: Photo, after: Photo) -> None:
    """Write before and after side by side as JPEG, at most 1200 pixels wide and high each."""
    step = max(1, -(-max(before.size) // _COMPARED_PX))

    def small(pixels: Pixels) -> np.ndarray:
        reduced = Image.fromarray(as_kind(pixels, np.uint8)).reduce(step)
        return np.asarray(reduced)

    gap = np.full((small(before.pixels).shape[0], 8, 3), 255, np.uint8)
    both = np.concatenate([small(before.pixels), gap, small(after.pixels)], axis=1)
    with atomic_path(path) as temporary:
        Image.fromarray(both).save(temporary, format="JPEG", quality=92)


def _amount(target: Target) -> tuple[float, str]:
    """Return how much there is to do, and of what."""
    try:
        if target.is_video:
            return video.announced(target.source)[0], "frames"
        height, width = photo_size(target.source)
        return height * width / 1e6, "megapixels"
    except DataError:  # said when it is read
        return 1, "file"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic predict",
        description="Enhance dark photographs and videos with a trained network. Depth (8 or 16 bits), EXIF, colour profile and "
        "transparency are kept; large pictures are enhanced in tiles with one decision about exposure and colour.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a bundle (.photic), a run, a checkpoint, or a model that comes with Photic")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, video, folder or glob")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="file (for one input file) or folder to write to")
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help=f"how far to go: 0 leaves every bit, 1 is the network's picture, above exaggerates, at most {MOST_STRENGTH:g} (default: 1)",
    )
    parser.add_argument("--format", choices=_FORMATS, help="of the pictures written (default: each its own)")
    parser.add_argument("--quality", type=whole_number(1), default=95, metavar="Q", help="of JPEG and WebP, 1 to 100 (default: 95)")
    parser.add_argument("--compare", action="store_true", help="also write NAME_compare.jpg, before and after side by side")
    parser.add_argument("--tile", type=whole_number(1), metavar="PX", help="side of tiles (default: whole up to 1 MP, else 768)")
    parser.add_argument(
        "--smooth",
        type=float,
        default=video.SMOOTH_S,
        metavar="SECONDS",
        help="videos: how slowly exposure and colour follow the scene; 0 decides for each frame alone (default: 1)",
    )
    add_file_options(parser, MAX_PIXELS)
    return parser
