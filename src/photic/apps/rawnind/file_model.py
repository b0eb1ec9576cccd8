"""Denoisers of raw pictures as functions from files to files: raw in, DNG, EXR, TIFF, PNG or JPEG out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from photic.apps.rawnind.denoising import (
    MOST_STRENGTH,
    autocast_type,
    check_strength,
    denoised_bands,
    heeds_noise,
    layout_of,
    network_inputs,
    network_of,
)
from photic.apps.rawnind.development_options import DevelopmentOptions
from photic.apps.rawnind.files.bands import Band, gathered
from photic.apps.rawnind.files.developing import Developer, Development, camera_bands, encoded
from photic.apps.rawnind.files.reading import MAX_PIXELS, RAW_SUFFIXES, read_raw
from photic.apps.rawnind.files.writing import WRITABLE, check_format, write_developed
from photic.apps.rawnind.noise_choice import choose_noise
from photic.apps.rawnind.noise_options import NoiseOptions
from photic.apps.rawnind.noise_profiles import NoiseProfiles
from photic.apps.rawnind.picture import RawPicture
from photic.core.files import saved
from photic.core.schema import Range
from photic.data.photo.files import turned
from photic.functional.cfa import RGGB
from photic.inference.file_model import Answer, FileModel, FileOptions, of_kind
from photic.inference.predictor import LoadedModel

_COMPARED_PX = 800
_CHECKED_PX = 768


@dataclass(frozen=True, kw_only=True)
class RawDenoisingOptions(NoiseOptions, DevelopmentOptions):
    """How a raw picture is denoised and developed."""

    strength: Annotated[float, Range(ge=0, le=MOST_STRENGTH)] = 1.0
    """Share of the noise to remove: 0 demosaics alone, 1 is the network's picture, above it smooths more."""
    tile_px: Annotated[int | None, Range(ge=1)] = None
    """Side of the tiles in pixels; smaller ones take less memory. Null is 1344, or more where the network looks far."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the network's convolutions; auto is fp16 on a GPU, else fp32."""


class RawDenoisingFiles(FileModel):
    """A denoiser for raw files: Bayer of every order, X-Trans or linear DNG where the network takes it.

    Args:
        model: a trained denoiser.
        profiles: measured noise of cameras.
        compare: also write ``NAME_compare.png``: the middle at full size, demosaiced alone and denoised, side by side.

    Raises:
        ConfigError: the model does not denoise raw pictures.
    """

    options_type = RawDenoisingOptions
    endings = RAW_SUFFIXES
    writable = WRITABLE
    what = "raw files"
    mark = "_denoised"
    max_pixels = MAX_PIXELS

    def __init__(self, model: LoadedModel, *, profiles: NoiseProfiles | None = None, compare: bool = False) -> None:
        super().__init__(model)
        self.network = network_of(model)
        self.network.to(memory_format=torch.channels_last)  # convolutions are quicker so
        self.profiles, self.compare = profiles, compare
        self._is_told = heeds_noise(self.network)

    def files_of(self, source: Path, output: Path) -> tuple[Path, ...]:
        """Return the result, and where before and after go."""
        return (output, comparison_of(output)) if self.compare else (output,)

    def check(self, options: FileOptions, endings: Collection[str] = ()) -> None:
        """Refuse a strength, tile or precision that network and device do not have, and development that a format does not have."""
        super().check(options, endings)
        given = of_kind(options, RawDenoisingOptions)
        given.development(endings)
        for ending in endings:
            check_format(Path(f"*{ending}"), given.bits)
        check_strength(self.network, given.strength)
        layout_of(self.network, RGGB if self.network.measurement == "mosaic" else None, given.tile_px)
        autocast_type(given.precision, self.model.device)

    def apply(
        self,
        source: Path,
        output: Path | None,
        options: FileOptions,
        *,
        force: bool = False,
        advance: Callable[[float], None] = lambda share: None,
    ) -> Answer:
        """Denoise a raw file and write it; see :meth:`FileModel.apply`. Memory does not grow with its height."""
        place = self._check_output(source, output)
        given = self._options(options, RawDenoisingOptions, place)
        how = given.development({place.suffix.lower()})
        picture = read_raw(source, max_pixels=self.max_pixels)
        notes = list(picture.notes)
        values: dict[str, object] = {"height": picture.size[0], "width": picture.size[1], "camera": picture.camera}
        noise = (0.0, 0.0)
        if given.strength > 0 and self._is_told:
            chosen = choose_noise(picture, given=given.noise, iso=given.iso, profiles=self.profiles)
            noise = chosen.values
            values["noise"] = list(noise)
            notes.append(str(chosen))
        pixels = picture.size[0] * picture.size[1]
        bands = denoised_bands(
            self.network,
            picture,
            noise,
            strength=given.strength,
            tile_px=given.tile_px,
            precision=given.precision,
            advance=lambda done: advance(done / pixels),
        )
        middle = _Middle(picture, how) if self.compare else None
        if middle is not None:
            bands = middle.seen(bands)
        notes += write_developed(place, picture.size, bands, picture, how=how, bits=given.bits, quality=given.quality or 95, force=force)
        if middle is None:
            return Answer((place,), values, tuple(notes))
        middle.write(comparison_of(place), force=force)
        return Answer((place, comparison_of(place)), values, tuple(notes))

    def tensors(self, source: Path, options: FileOptions) -> Iterator[tuple[Tensor, ...]]:
        """Yield a part at the corner and one in the middle, as they are denoised at strength 1."""
        given = self._options(options, RawDenoisingOptions)
        picture = read_raw(source, max_pixels=self.max_pixels)
        noise = choose_noise(picture, given=given.noise, iso=given.iso, profiles=self.profiles).values if self._is_told else (0.0, 0.0)
        yield from network_inputs(self.network, picture, noise, _CHECKED_PX)


def comparison_of(output: Path) -> Path:
    """Return where the picture of before and after goes."""
    return output.with_name(f"{output.stem}_compare.png")


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

    def write(self, path: Path, *, force: bool) -> None:
        """Write both."""
        sides: list[NDArray[np.uint8]] = [
            np.ascontiguousarray(turned(encoded(self.developer.rows(part), np.uint8), self.orientation))
            for part in (self.before, self.after)
        ]
        gap = np.full((sides[0].shape[0], 8, 3), 255, np.uint8)
        with saved(path, force=force) as temporary:
            Image.fromarray(np.concatenate([sides[0], gap, sides[1]], axis=1)).save(temporary, format="PNG")
