"""Enhancers as functions from files to files: dark photographs and videos to bright ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from torch import Tensor

from photic.apps.lowlight import video
from photic.apps.lowlight.enhancing import MOST_STRENGTH, WHOLE_PX, enhance_photo, graph_of, num_tiles, tile_layout
from photic.core.errors import ConfigError, DataError
from photic.core.files import saved
from photic.core.schema import Range
from photic.data.images import SUFFIXES as PICTURE_SUFFIXES
from photic.data.photo.depth import Pixels, as_kind, overview_of, to_tensor
from photic.data.photo.files import MAX_PIXELS, Photo, read_photo, write_photo
from photic.inference.file_model import Answer, FileModel, FileOptions, of_kind
from photic.inference.predictor import LoadedModel

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
"""Endings of pictures that can be written; what has another becomes .png."""
_COMPARED_PX = 1200


@dataclass(frozen=True, kw_only=True)
class EnhancementOptions(FileOptions):
    """How a picture or video is enhanced."""

    strength: Annotated[float, Range(ge=0, le=MOST_STRENGTH)] = 1.0
    """How far to go: 0 leaves every bit, 1 is the network's picture, above exaggerates."""
    quality: Annotated[int, Range(ge=1, le=100)] = 95
    """Of JPEG and WebP."""
    tile_px: Annotated[int, Range(ge=1)] | None = None
    """Side of the tiles in pixels; null takes pictures of up to a megapixel whole, larger ones in tiles of 768."""
    smooth_s: Annotated[float, Range(ge=0)] = video.SMOOTH_S
    """Videos: how slowly exposure and colour follow the scene, in seconds; 0 decides for each frame alone."""


class EnhancementFiles(FileModel):
    """An enhancer for photographs (8, 16 bits, floats; EXIF, colour profile, transparency kept) and videos.

    Args:
        model: a trained enhancer.
        compare: also write ``NAME_compare.jpg`` beside each picture, before and after side by side.

    Raises:
        ConfigError: the model is no enhancer.
    """

    options_type = EnhancementOptions
    endings = (*PICTURE_SUFFIXES, *video.SUFFIXES)
    writable = (*PICTURES, *video.CODECS)
    what = "pictures or videos"
    mark = "_enhanced"
    max_pixels = MAX_PIXELS

    def __init__(self, model: LoadedModel, *, compare: bool = False) -> None:
        super().__init__(model)
        self.graph = graph_of(model)
        self.compare = compare

    def ending(self, source: Path) -> str:
        """Return its own ending where that can be written, else ``.png`` or ``.mp4``."""
        if video.is_video(source):
            return video.output_suffix(source)
        return source.suffix if source.suffix.lower() in PICTURES else ".png"

    def writable_of(self, source: Path) -> tuple[str, ...]:
        """Return the endings of videos for a video, of pictures for anything else."""
        return tuple(video.CODECS) if video.is_video(source) else PICTURES

    def files_of(self, source: Path, output: Path) -> tuple[Path, ...]:
        """Return the result, and where before and after go."""
        return (output, comparison_of(output)) if self.compare and not video.is_video(source) else (output,)

    def check(self, options: FileOptions, endings: Collection[str] = ()) -> None:
        """Refuse tiles that are too small for this network, and comparisons where there are videos alone."""
        super().check(options, endings)
        if self.compare and endings and set(endings) <= set(video.CODECS):
            raise ConfigError("--compare: draws before and after of pictures; there are only videos")
        tile_layout(self.graph, of_kind(options, EnhancementOptions).tile_px)

    def apply(
        self,
        source: Path,
        output: Path | None,
        options: FileOptions,
        *,
        force: bool = False,
        advance: Callable[[float], None] = lambda share: None,
    ) -> Answer:
        """Enhance a picture or a video; see :meth:`FileModel.apply`."""
        place, given = self._check_output(source, output), self._options(options, EnhancementOptions)
        made = self._video if video.is_video(source) else self._picture
        return made(source, place, given, force, advance)

    def tensors(self, source: Path, options: FileOptions) -> Iterator[tuple[Tensor, ...]]:
        """Yield the picture with its overview; of a large one, its first tile and one in the middle."""
        if video.is_video(source):
            raise DataError(f"{source}: a video; give a picture, its frames are enhanced alike")
        pixels, given = read_photo(source, max_pixels=self.max_pixels).pixels, self._options(options, EnhancementOptions)
        layout, whole = tile_layout(self.graph, given.tile_px), given.tile_px is None and pixels.shape[0] * pixels.shape[1] <= WHOLE_PX
        small = (overview_of(pixels)[None],) if self.graph.network.decides_globally else ()
        corners = {(0, 0), *(() if whole else ((pixels.shape[0] // 2, pixels.shape[1] // 2),))}
        for top, left in sorted(corners):
            window = pixels if whole else pixels[top : top + layout.tile, left : left + layout.tile]
            yield (to_tensor(window)[None], *small)

    def _picture(self, source: Path, output: Path, options: EnhancementOptions, force: bool, advance: Callable[[float], None]) -> Answer:
        photo = read_photo(source, max_pixels=self.max_pixels)
        height, width = photo.size
        made = enhance_photo(
            self.model,
            photo,
            strength=options.strength,
            tile_px=options.tile_px,
            advance=lambda pixels: advance(pixels / (height * width)),
        )
        write_photo(output, made, quality=options.quality, force=force)
        files = [output]
        if self.compare:
            files.append(comparison_of(output))
            _write_comparison(files[1], photo, made, force)
        values = {"height": height, "width": width, "bits": made.bits, "tiles": num_tiles(self.graph, photo.size, options.tile_px)}
        return Answer(tuple(files), values)

    def _video(self, source: Path, output: Path, options: EnhancementOptions, force: bool, advance: Callable[[float], None]) -> Answer:
        expected, size = video.announced(source)
        if size[0] * size[1] > self.max_pixels:
            raise DataError(
                f"{source}: {size[1]} x {size[0]} pixels are more than the {self.max_pixels / 1e6:g} megapixels that are allowed here"
            )
        found = video.enhance_video(
            self.model,
            source,
            output,
            strength=options.strength,
            smooth_s=options.smooth_s,
            tile_px=options.tile_px,
            force=force,
            advance=lambda frames: advance(frames / expected) if expected else None,
        )
        text = f"{found.num_frames} frames of {found.size[1]} x {found.size[0]} at {found.fps:.4g} per second, scenes: {found.num_scenes}"
        if found.variation is not None:
            before, after = found.variation
            text += f"; brightness varies from frame to frame by {before:.3%} before, {after:.3%} after"
        values = dataclasses.asdict(found) | {"height": found.size[0], "width": found.size[1]}
        facts = {name: values[name] for name in ("num_frames", "fps", "height", "width", "num_scenes", "variation")}
        return Answer((output,), facts, (text, *found.notes))


def comparison_of(output: Path) -> Path:
    """Return where the picture of before and after goes."""
    return output.with_name(f"{output.stem}_compare.jpg")


def _write_comparison(path: Path, before: Photo, after: Photo, force: bool) -> None:
    """Write before and after side by side as JPEG, at most 1200 pixels wide and high each."""
    step = max(1, -(-max(before.size) // _COMPARED_PX))

    def small(pixels: Pixels) -> np.ndarray:
        reduced = Image.fromarray(as_kind(pixels, np.uint8)).reduce(step)
        return np.asarray(reduced)

    gap = np.full((small(before.pixels).shape[0], 8, 3), 255, np.uint8)
    both = np.concatenate([small(before.pixels), gap, small(after.pixels)], axis=1)
    with saved(path, force=force) as temporary:
        Image.fromarray(both).save(temporary, format="JPEG", quality=92)
