"""The pictures that codecs are measured on: what a compressor gets from the sensor, what the others get developed, what is true.

Without noise made, a raw file is compressed as it is, and what a classical demosaicer and development make of it is both what other codecs
are given and what all are compared with. With noise made, a clean picture is seen by a sensor at an ISO value, as ``photic evaluate``
does it for denoisers: the compressor gets the noisy mosaic, other codecs what a camera or a converter would make of that mosaic
(demosaiced by Menon, developed), and everybody is compared with the developed clean picture.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.denoising import denoise
from photic.apps.rawnind.evaluating.classical import classical_denoise
from photic.apps.rawnind.evaluating.evaluate import picture_of
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import Developer, Development, camera_bands
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.clean import RAW_SUFFIXES, read_clean
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.apps.rawnind.synthetic.synthesis import SyntheticPictures
from photic.core.errors import DataError
from photic.functional.colour import linear_to_srgb
from photic.functional.ssim import min_side
from photic.models.raw_denoising import RawDenoiser
from photic.physics.sensor_noise import SensorNoise
from photic.tasks.raw_denoising import developed

Floats = NDArray[np.float32]
Against = Literal["clean", "noisy"]
CLASSICAL = "DCT + NLM"
"""The classical denoiser, as versions of pictures are called by."""
_NO_NOISE = SensorNoise(0.0, 0.0)
_TOLD_ISO = 100.0
"""Pictures without any noise do not occur in training: of those, compressors are told the noise of this ISO value."""


@dataclass(frozen=True)
class Level:
    """How noisy pictures are made."""

    name: str
    iso: float | None = None
    noise: SensorNoise | None = None
    """None: as they are."""


AS_THEY_ARE = Level("no noise made")


def level_of_iso(iso: float) -> Level:
    """Return the noise of a typical camera at an ISO value."""
    return Level(f"ISO {iso:.10g}", iso, noise_at(iso))


def level_of_noise(a: float, b: float) -> Level:
    """Return noise of the variance a x + b."""
    return Level(f"noise {a:g},{b:g}", None, SensorNoise(a, b))


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture at a level of noise, for everybody who codes it."""

    name: str
    level: Level
    raw: RawPicture
    """What compressors get; without EXIF, as the files of the other codecs are."""
    noise: tuple[float, float] | None
    """What compressors are told of its noise; None: they find it out."""
    reference: Tensor
    """``(1, 3, H, W)``, sRGB in [0, 1]: what results are compared with."""
    versions: Mapping[str, Floats]
    """Developed pictures ``(H, W, 3)``, sRGB in [0, 1], that other codecs are given: ``""`` is what was measured, others are denoised
    first, and called by their denoisers."""
    develop: Callable[[Floats], Tensor]
    """From camera colours ``(H, W, 3)`` to a developed picture ``(1, 3, H, W)``."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.reference.shape[-2], self.reference.shape[-1]


@dataclass(frozen=True, kw_only=True)
class SceneMaker:
    """Makes scenes of files."""

    levels: Sequence[Level] = (AS_THEY_ARE,)
    max_side_px: int = 1024
    """The middle of larger pictures is used."""
    against: Against = "clean"
    classical: bool = True
    """Make a version denoised classically of noisy pictures."""
    denoisers: Mapping[str, RawDenoiser] | None = None
    """Networks that make further versions of noisy pictures, by name."""

    def scenes(self, path: Path, index: int, name: str | None = None) -> Iterator[Scene]:
        """Give a file's picture at each level.

        Args:
            path: a raw file or a photograph.
            index: of the picture; its camera, where it is a photograph's made-up one, and its noise depend on it.
            name: what the picture is called; the file's name if None.

        Raises:
            DataError: the file cannot be read, or is too small.
        """
        as_is = path.suffix.lower() in RAW_SUFFIXES
        for level in self.levels:
            if level.noise is None and as_is:
                yield self._of_raw(path, name or path.name, level)
        made = [level for level in self.levels if level.noise is not None or not as_is]
        if not made:
            return
        clean = read_clean(path)
        _check_size(path, (clean.values.shape[0], clean.values.shape[1]))
        noises = [(level.iso or _TOLD_ISO, level.noise or _NO_NOISE) for level in made]
        pictures = SyntheticPictures([clean], noises, size_px=self.max_side_px // 2 * 2, measurement="mosaic", seed=index)
        for position, level in enumerate(made):
            yield self.of_sample(name or path.name, pictures.sample(position), level)

    def _of_raw(self, path: Path, name: str, level: Level) -> Scene:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what development has to say of a file is not about codecs
            whole = read_raw(path)
        developer = Developer(whole, Development(space="srgb"))
        if whole.is_bayer:
            whole = whole.in_rggb_order()
        height, width = (min(self.max_side_px // 2 * 2, side) for side in whole.size)
        _check_size(path, (height, width))
        top, left = ((side - cut) // 4 * 2 for side, cut in zip(whole.size, (height, width), strict=True))
        raw = replace(whole.cropped(top, left, height, width), exif=None, white_balance=developer.factors)

        def develop(camera: Floats) -> Tensor:
            light = torch.from_numpy(developer.rows(camera)).permute(2, 0, 1)[None]
            return linear_to_srgb(light.clamp(0, 1))

        reference = develop(gathered(camera_bands(raw, balance=developer.factors), raw.size))
        return Scene(name, level, raw, raw.noise, reference, {"": _pixels(reference)}, develop)

    def of_sample(self, name: str, sample: Mapping[str, Any], level: Level) -> Scene:
        """Return a picture of a data set as a scene; its noise is in it."""
        raw = picture_of(sample)
        batch = {key: sample[key][None] for key in ("xyz_to_camera", "balance")}

        def develop(camera: Floats) -> Tensor:
            return developed(torch.from_numpy(np.ascontiguousarray(np.moveaxis(camera, -1, 0)))[None], batch)

        clean = developed(sample["target"][None], batch)
        if level.noise is None:
            told = noise_at(_TOLD_ISO)
            return Scene(name, level, raw, (told.shot, told.read), clean, {"": _pixels(clean)}, develop)
        noise = (float(sample["noise"][0]), float(sample["noise"][1]))
        versions = {"": gathered(camera_bands(raw, "menon", balance=raw.white_balance), raw.size)}
        if self.classical:
            versions[CLASSICAL] = classical_denoise(raw.values, raw.pattern, noise, "both", balance=raw.white_balance)
        for called, network in (self.denoisers or {}).items():
            versions[called] = denoise(network, raw, noise, balance=raw.white_balance)
        shown = {called: develop(camera) for called, camera in versions.items()}
        reference = clean if self.against == "clean" else shown[""]
        return Scene(name, level, raw, noise, reference, {called: _pixels(picture) for called, picture in shown.items()}, develop)


def _pixels(picture: Tensor) -> Floats:
    made: Floats = np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())
    return made


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if min(size) < min_side():
        raise DataError(
            f"{path}: {size[1]} x {size[0]} pixels are left to code (raw files with made noise count half, JPEG files too); "
            f"MS-SSIM needs {min_side()} a side: give larger pictures, or a larger --max-side"
        )
