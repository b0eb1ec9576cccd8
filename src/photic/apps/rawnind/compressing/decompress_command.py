"""``photic decompress``: ``.phc`` files to DNG, EXR, TIFF, PNG or JPEG, whole or a region, with EXIF and development options."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from photic.apps.rawnind.compressing.container import SUFFIX, Header, read_header
from photic.apps.rawnind.compressing.decoding import decompressed_bands
from photic.apps.rawnind.compressing.encoding import load_compressor
from photic.apps.rawnind.compressing.model_identity import model_id, network_of
from photic.apps.rawnind.compressing.picture_facts import picture_of
from photic.apps.rawnind.compressing.sources import local_compressors, shipped_compressors
from photic.apps.rawnind.development_options import add_options, development_of
from photic.apps.rawnind.files.bands import turned_size
from photic.apps.rawnind.files.developing import Development
from photic.apps.rawnind.files.reading import MAX_PIXELS
from photic.apps.rawnind.files.writing import WRITABLE, check_format, write_developed
from photic.core.errors import BitstreamError, DataError, PhoticError
from photic.inference.file_model import Answer
from photic.inference.predictor import LoadedModel
from photic.inference.targets import MODEL, Kinds, Target, add_file_options, add_inputs, plan
from photic.workflows.file_jobs import run
from photic.workflows.file_making import Advance

_EXAMPLES = """examples:
  photic decompress photo.phc -o photo.dng                    # linear DNG: exposure and white balance are still free
  photic decompress photo.phc -o photo.exr                    # linear Rec.2020, half floats
  photic decompress photo.phc -o photo.jpg --exposure 0.7     # developed, 0.7 stops brighter
  photic decompress photo.phc -o part.png --region 0,400,600,800      # 600 x 800 pixels at its top; only what they need is decoded
  photic decompress photo.phc --model RUN -o photo.tif        # compressed with a model of your own
  photic decompress small/ -o pictures/ --format jpg          # a folder; names and subfolders are kept
  photic decompress small/ -o pictures/ --format jpg --skip-existing   # goes on where an earlier one was interrupted
  photic info photo.phc                                       # what is in the file, without decoding it
Without --model, the file says which model made it: one that comes with Photic, or a bundle in a folder of yours (photic models). Without
-o: NAME_decompressed beside each file, FOLDER_decompressed beside a folder. Nothing that exists is replaced without --force, and no
original ever. Status 1: some files could not be read; they are named, the others are done."""
_FORMATS = tuple(suffix.removeprefix(".") for suffix in WRITABLE)
Rectangle = tuple[int, int, int, int]
"""Top, left, height, width, in pixels."""


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    given = _parser().parse_intermixed_args(arguments)
    targets = plan(given.inputs, given.output, _kinds(given.format))
    how = development_of(given, {target.output.suffix.lower() for target in targets})
    for target in targets:
        check_format(target.output, given.bits)
    started = time.perf_counter()
    outcome = run(
        "Decompressing",
        targets,
        partial(_Work, given, how),
        workers=given.workers,
        skip_existing=given.skip_existing,
        force=given.force,
        quiet=given.quiet,
    )
    print(outcome.summary(time.perf_counter() - started))
    return outcome.status


def on_sensor(region: Rectangle, size: tuple[int, int], orientation: int) -> Rectangle:
    """Return where a rectangle of the picture as it is seen lies in the picture as the sensor has it.

    Args:
        region: top, left, height and width in the picture that is turned upright.
        size: height and width of the picture on the sensor.
        orientation: how it is turned upright, as EXIF numbers it, 1 to 8.

    >>> on_sensor((0, 0, 10, 20), (100, 300), 6)
    (80, 0, 20, 10)
    """
    top, left, height, width = region
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    for turn in range(turns, 0, -1):  # back, a quarter at a time; counter-clockwise, as numpy.rot90
        before = size[1] if turn % 2 else size[0]
        top, left, height, width = left, before - top - height, width, height
    if orientation in (2, 4, 5, 7):
        left = size[1] - left - width
    return top, left, height, width


class Models:
    """The models that decode: the one that was named, or those that come with Photic and on the shelf, by what files ask for.

    Args:
        given: a bundle, run, checkpoint or name; None looks among those that come along and on the shelf.
        device: where they run.
    """

    def __init__(self, given: str | None, device: str) -> None:
        self.device = device
        self.given = None if given is None else load_compressor(given, device)
        self._known: dict[str, LoadedModel] = {}
        self._damaged: list[str] = []
        self._waiting = [] if self.given is not None else [*shipped_compressors().values(), *local_compressors()]

    def of(self, header: Header, where: Path) -> LoadedModel:
        """Return the model of a file; a named one is returned as it is, decoding finds out whether it fits.

        Raises:
            BitstreamError: none of them made the file.
        """
        if self.given is not None:
            return self.given
        for path in sorted(self._waiting, key=lambda path: path.stem != header.model_name):  # by the name in the file first
            if header.model in self._known:
                break
            self._waiting.remove(path)
            try:
                model = load_compressor(path, self.device)
            except PhoticError as error:  # may be of no concern to this file
                self._damaged.append(str(error))
                continue
            self._known[model_id(network_of(model)).hex()] = model
        found = self._known.get(header.model)
        if found is None:
            called = f"the model '{header.model_name}'" if header.model_name else "a model without a name"
            come = ", ".join(shipped_compressors()) or "none"
            raise BitstreamError(
                f"{where}: was compressed with {called} (id {header.model}), which neither comes with Photic (that do: {come}) nor is a "
                "bundle in a folder of yours (photic models); name it with --model: its bundle, run or checkpoint"
                + "".join(f"\n{error}" for error in self._damaged)
            )
        return found


class _Work:
    """Decompresses files."""

    def __init__(self, given: argparse.Namespace, how: Development) -> None:
        self.models, self.given, self.how = Models(given.model, given.device), given, how
        self.max_pixels = 1_000_000 * given.max_megapixels

    def __call__(self, target: Target, advance: Advance) -> Answer:
        """Decompress a file."""
        given, source = self.given, target.source
        header = read_header(source, max_pixels=self.max_pixels)
        picture = replace(picture_of(header), source=source)
        size, region = picture.size, None
        if given.region is not None:
            region = _checked(given.region, picture.size, picture.orientation, source)
            size = (region[2], region[3])
        model = self.models.of(header, source)
        data = source.read_bytes()

        def counted(pixels: int) -> None:
            advance(pixels / (size[0] * size[1]))

        bands = decompressed_bands(model, data, region=region, advance=counted, where=str(source), max_pixels=self.max_pixels)
        notes = write_developed(
            target.output, size, bands, picture, how=self.how, bits=given.bits, quality=given.quality or 95, force=given.force
        )
        return Answer((target.output,), notes=(*picture.notes, *notes))


def _checked(region: Rectangle, size: tuple[int, int], orientation: int, source: Path) -> Rectangle:
    """Return a region on the sensor; refuse one that reaches beyond the picture."""
    height, width = turned_size(size, orientation)
    top, left, rows, columns = region
    if top + rows > height or left + columns > width:
        raise DataError(
            f"{source}: --region: {rows} x {columns} pixels (height x width) at ({top}, {left}) reach beyond the picture, which has "
            f"{height} x {width}; expected TOP,LEFT,HEIGHT,WIDTH within it"
        )
    return on_sensor(region, size, orientation)


def region_argument(text: str) -> Rectangle:
    """Return top, left, height and width of ``TOP,LEFT,HEIGHT,WIDTH``.

    Raises:
        argparse.ArgumentTypeError: it is something else.

    >>> region_argument("0,400,600,800")
    (0, 400, 600, 800)
    """
    parts = text.replace(" ", "").split(",")
    if len(parts) != 4 or not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts):
        raise argparse.ArgumentTypeError(f"expected TOP,LEFT,HEIGHT,WIDTH in pixels, such as 0,400,600,800, got '{text}'")
    top, left, height, width = (int(part) for part in parts)
    if min(height, width) < 1:
        raise argparse.ArgumentTypeError(f"expected a height and a width of at least 1 pixel, got '{text}'")
    return top, left, height, width


def _kinds(form: str | None) -> Kinds:
    return Kinds(
        readable=lambda name: name.suffix.lower() == SUFFIX,
        ending=lambda source: f".{form or 'dng'}",
        writable=lambda source: WRITABLE,
        mark="_decompressed",
        nothing=f"no compressed pictures ({SUFFIX})",
        called=lambda source: "decompressed pictures",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic decompress",
        description="Decode .phc files. .dng is linear, in the camera's own colours, for a raw developer; .exr is linear light, .tif has "
        "16 bits or floats with an ICC profile, .png and .jpg are sRGB. EXIF, orientation, white balance and matrix are the original's.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_inputs(parser, ".phc file")
    parser.add_argument("--format", choices=_FORMATS, help="of the files written (default: dng)")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"the one that compressed the files: {MODEL} (default: the one of those that come with Photic that the file asks for)",
    )
    parser.add_argument(
        "--region",
        type=region_argument,
        metavar="TOP,LEFT,HEIGHT,WIDTH",
        help="decode a part alone, in pixels of the picture as it is seen (upright)",
    )
    add_options(parser)
    add_file_options(parser, MAX_PIXELS)
    return parser
