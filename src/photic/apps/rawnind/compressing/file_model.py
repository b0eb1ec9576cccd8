"""Compressors as functions from files to files: raw files or developed pictures in, ``.phc`` out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from photic.apps.rawnind.compressing.container import SUFFIX, read_header
from photic.apps.rawnind.compressing.encoding import Prepared, check_fits, prepare
from photic.apps.rawnind.compressing.model_identity import network_of
from photic.apps.rawnind.compressing.phc_info import bpp_unit
from photic.apps.rawnind.compressing.rate_target import WITHIN, Found, search
from photic.apps.rawnind.compressing.sources import is_photograph, read_source, suffixes_for
from photic.apps.rawnind.files.reading import MAX_PIXELS
from photic.apps.rawnind.noise_choice import ChosenNoise, choose_noise
from photic.apps.rawnind.noise_options import NoiseOptions
from photic.apps.rawnind.noise_profiles import NoiseProfiles
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.files import saved
from photic.core.schema import Range
from photic.inference.file_model import Answer, FileModel, FileOptions, of_kind
from photic.inference.predictor import LoadedModel

_CHECKED_PX = 768


@dataclass(frozen=True, kw_only=True)
class CompressionOptions(NoiseOptions):
    """How strongly a picture is compressed."""

    quality: Annotated[float | None, Range(ge=1, le=64)] = None
    """1 (smallest) to the model's highest, usually 8; fractions are allowed. Null is the highest."""
    target_bpp: Annotated[float | None, Range(gt=0, le=64)] = None
    """Search for the quality whose file has this many bits per (sensor) pixel, everything counted: never more, at most 2 % less."""


class CompressionFiles(FileModel):
    """A compressor for raw files (Bayer of every order), or also for developed pictures where it takes three colours.

    Args:
        model: a trained compressor.
        profiles: measured noise of cameras.
        smaller: opens the compressor to take where a size that is asked for is out of this one's reach; called once, when needed.

    Raises:
        ConfigError: the model does not compress.
    """

    options_type = CompressionOptions
    writable = (SUFFIX,)
    mark = ""
    max_pixels = MAX_PIXELS

    def __init__(
        self, model: LoadedModel, *, profiles: NoiseProfiles | None = None, smaller: Callable[[], CompressionFiles] | None = None
    ) -> None:
        super().__init__(model)
        self._smaller = None if smaller is None else cache(smaller)
        self.network = network_of(model)
        self.network.to(memory_format=torch.channels_last)  # convolutions are quicker so
        self.profiles = profiles
        self.endings = suffixes_for(self.network.measurement)
        takes_mosaics = self.network.measurement == "mosaic"
        self.what = (
            "raw files (this model takes mosaics; developed pictures need one for RGB)" if takes_mosaics else "raw files or pictures"
        )

    def check(self, options: FileOptions, endings: Collection[str] = ()) -> None:
        """Refuse qualities that this model does not have."""
        super().check(options, endings)
        given, highest = of_kind(options, CompressionOptions), self.network.num_qualities
        if given.quality is not None and given.target_bpp is not None:
            raise ConfigError("quality and target_bpp: give one of them; a size says the quality")
        if given.target_bpp is not None and highest == 1:
            raise ConfigError(
                f"target_bpp: {self.model.source} has a single quality, so its files have the size they have; take a model of several "
                "qualities (trained with model.num_qualities=8), or one trained with another loss.lmbda"
            )
        if given.quality is not None and not 1 <= given.quality <= highest:
            only = "this model has a single quality, 1" if highest == 1 else f"expected 1 (smallest file) to {highest} (best picture)"
            raise ConfigError(f"quality: {only}; got {given.quality:g}")

    def apply(
        self,
        source: Path,
        output: Path | None,
        options: FileOptions,
        *,
        force: bool = False,
        advance: Callable[[float], None] = lambda share: None,
    ) -> Answer:
        """Compress a file; see :meth:`FileModel.apply`.

        The values say ``num_bytes``, ``source_bytes``, ``quality``, ``height``, ``width``, and ``bpp`` with its ``unit``.
        """
        place, given = self._check_output(source, output), self._options(options, CompressionOptions)
        picture = read_source(source, self.network.measurement, max_pixels=self.max_pixels)
        check_fits(self.network, picture)
        notes = list(picture.notes)
        chosen = self._noise(source, picture, given)
        if chosen is not None:
            notes.append(str(chosen))
        prepared = prepare(self.model, picture, noise=None if chosen is None else chosen.values)
        height, width = picture.size
        share = 0.5 if given.target_bpp is not None and self._smaller is not None else 1.0

        def counted(pixels: int) -> None:
            advance(share * pixels / (height * width))

        if given.target_bpp is None:
            data = prepared.coded(given.quality, advance=counted)
        else:
            found = _of_size(prepared, self.network.num_qualities, given.target_bpp, counted)
            if self._smaller is not None and found.is_above:
                return self._made_smaller(source, place, given, found, force=force, advance=lambda done: advance(share * done))
            notes += _told(prepared, self.network.num_qualities, given.target_bpp, found)
            data = found.coding.data
        with saved(place, force=force) as temporary:
            temporary.write_bytes(data)
        header = read_header(data)
        values = {
            "num_bytes": len(data),
            "source_bytes": source.stat().st_size,
            "quality": header.quality,
            "height": height,
            "width": width,
            "bpp": 8 * len(data) / (height * width),
            "unit": bpp_unit(header),
        }
        return Answer((place,), values, tuple(notes))

    def tensors(self, source: Path, options: FileOptions) -> Iterator[tuple[Tensor, ...]]:
        """Yield the middle of the picture, at the quality asked for."""
        given = self._options(options, CompressionOptions)
        picture = read_source(source, self.network.measurement, max_pixels=self.max_pixels)
        check_fits(self.network, picture)
        chosen = self._noise(source, picture, given)
        yield prepare(self.model, picture, noise=None if chosen is None else chosen.values).inputs(given.quality, _CHECKED_PX)

    def _made_smaller(
        self, source: Path, output: Path, given: CompressionOptions, found: Found, *, force: bool, advance: Callable[[float], None]
    ) -> Answer:
        """Leave the file to the compressor for smaller ones, and say so."""
        assert self._smaller is not None and given.target_bpp is not None
        other = self._smaller()
        answer = other.apply(source, output, given, force=force, advance=advance)
        least = 8 * found.sizes[0][1] / (answer.values["height"] * answer.values["width"])
        note = (
            f"{given.target_bpp:g} bits per pixel are out of reach of {Path(self.model.source).stem} (at least {least:.4f} for this "
            f"picture); made with {Path(other.model.source).stem}"
        )
        return dataclasses.replace(answer, notes=(note, *answer.notes))

    def _noise(self, source: Path, picture: RawPicture, given: CompressionOptions) -> ChosenNoise | None:
        """Return the noise to tell the network; None where it does not ask."""
        if given.noise is None and given.iso is None and not getattr(self.network, "noise_map", True):
            return None
        if not is_photograph(source):
            return choose_noise(picture, given=given.noise, iso=given.iso, profiles=self.profiles)
        if given.noise is None and given.iso is not None:  # a camera's noise at an ISO value is that of its sensor
            raise DataError(
                f"{source}: --iso tells the noise of raw files, this is a developed picture; leave it away, or give --noise A,B"
            )
        try:
            return choose_noise(picture, given=given.noise)
        except DataError:
            return ChosenNoise(0.0, 0.0, "cannot be estimated, the picture is taken for clean (--noise A,B tells it)")


def _of_size(prepared: Prepared, num_qualities: int, target_bpp: float, advance: Callable[[int], None]) -> Found:
    """Return the file nearest below a size."""
    prepared.analyse(advance)
    return search(prepared.coded, 1.0, float(num_qualities), target_bpp * _pixels(prepared) / 8)


def _told(prepared: Prepared, num_qualities: int, target_bpp: float, found: Found) -> list[str]:
    """Return what became of a size that was asked for, and warn where it is out of reach."""
    pixels = _pixels(prepared)
    reached = 8 * len(found.coding.data) / pixels
    if found.beyond:
        (_, least), (_, most) = found.sizes[0], found.sizes[-1]
        warnings.warn(
            f"{target_bpp:g} bits per pixel cannot be reached: qualities 1 to {num_qualities} of this model give {8 * least / pixels:.4f} "
            f"to {8 * most / pixels:.4f} for this picture; made with {reached:.4f}",
            UserWarning,
            stacklevel=2,
        )
        return []
    if not found.reached:
        return [f"{target_bpp:g} bits per pixel were not met within {WITHIN:.0%} in {len(found.sizes)} tries; made with {reached:.4f}"]
    return [f"{target_bpp:g} bits per pixel met with {reached:.4f}, in {len(found.sizes)} tries"]


def _pixels(prepared: Prepared) -> int:
    height, width = prepared.picture.size
    return height * width
