"""Datasets of the raw application whose noise is made: from raw files and photographs, or from drawn scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from photic.apps.rawnind.synthetic.clean import clean_files, read_all
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.apps.rawnind.synthetic.synthesis import (
    CleanPicture,
    MeasuredNoise,
    NoiseSource,
    SyntheticCrops,
    SyntheticPictures,
    TypicalNoise,
)
from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.core.schema import Range
from photic.data.base import DataConfig, PreparedData
from photic.data.split import random_split
from photic.physics.sensor_noise import SensorNoise


@dataclass(frozen=True, kw_only=True)
class SyntheticRawConfig(DataConfig):
    """What sets with made noise share: sensor, noise, crops, split."""

    measurement: Literal["mosaic", "rgb"] = "mosaic"
    """What the network gets: a mosaic (Bayer from its red on) or linear RGB with the noise of a sensor in each colour."""
    iso_min: Annotated[float, Range(gt=0)] = 50.0
    """Lowest ISO value in training; values are drawn evenly by their logarithm."""
    iso_max: Annotated[float, Range(gt=0)] = 204800.0
    """Highest ISO value in training."""
    val_iso: tuple[float, ...] = (100.0, 1600.0, 6400.0, 25600.0, 102400.0)
    """ISO values at which every validation and test picture is seen."""
    row_noise: Annotated[float, Range(ge=0, le=1)] = 0.2
    """Largest noise that rows share, relative to that of a pixel at black."""
    noise_error: Annotated[float, Range(ge=0, le=1)] = 0.15
    """How wrong networks are told the noise in training, as it is where noise is estimated: standard deviation of the logarithm of the
    noise's standard deviation."""
    xtrans_share: Annotated[float, Range(ge=0, le=1)] = 0.0
    """Share of training mosaics that are X-Trans instead of Bayer; only for networks that take any pattern."""
    exposure_min_ev: float = -3.0
    """Lowest exposure of training crops, in stops."""
    exposure_max_ev: float = 0.5
    """Highest exposure in stops; what comes above white is clipped in the target, too."""
    crop_px: Annotated[int, Range(ge=16)] = 128
    """Side of training crops in sensor pixels, even."""
    eval_crop_px: Annotated[int, Range(ge=16)] = 256
    """Side of the middle part of validation and test pictures that is used, even; smaller pictures are used whole."""
    eval_batch_size: Annotated[int | None, Range(ge=1)] = 1
    """Pictures per validation batch; more than 1 needs pictures of one size."""
    val_fraction: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the pictures kept for validation, scenes together."""
    test_fraction: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Share kept for the test, likewise; 0 makes no test split."""
    split_seed: Annotated[int, Range(ge=0)] = 0
    """Draws the split, and cameras and noise of validation; the run's seed does not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = self.registry_name
        if self.crop_px % 2 or self.eval_crop_px % 2:
            raise ConfigError(
                f"{where}.crop_px: crops of a mosaic need even sides, got {self.crop_px} and eval_crop_px {self.eval_crop_px}"
            )
        if self.iso_min > self.iso_max or self.exposure_min_ev > self.exposure_max_ev:
            raise ConfigError(f"{where}: iso_min and exposure_min_ev must not be above iso_max and exposure_max_ev")
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(f"{where}.val_fraction: {self.val_fraction:g} and test_fraction {self.test_fraction:g} leave no training")
        if not self.val_iso or min(self.val_iso) <= 0:
            raise ConfigError(f"{where}.val_iso: expected one or more ISO values above 0, got {list(self.val_iso)}")
        if self.xtrans_share and self.measurement == "rgb":
            raise ConfigError(f"{where}.xtrans_share: {self.xtrans_share:g} of pictures without a mosaic cannot be X-Trans; use 0")

    @property
    def split_strategy(self) -> str:
        """How the pictures are split, in words, for records."""
        return f"by scene, {self.val_fraction:.0%} validation, {self.test_fraction:.0%} test, split_seed {self.split_seed}"

    def _noise(self) -> NoiseSource:
        return TypicalNoise((self.iso_min, self.iso_max), self.row_noise)

    def _levels(self) -> list[tuple[float, SensorNoise]]:
        return [(iso, noise_at(iso)) for iso in self.val_iso]

    def _prepared(
        self, pictures: Sequence[CleanPicture], seed: int, *, drawn_share: float, crops: Sequence[int], notes: tuple[str, ...]
    ) -> PreparedData:
        """Split pictures by scene and make sample sets of them."""
        rows = _by_scene(pictures, self.val_fraction, self.test_fraction, self.split_seed)
        splits: dict[str, SyntheticPictures | SyntheticCrops] = {}
        names: dict[str, list[str]] = {}
        for phase, own in rows.items():
            whole = SyntheticPictures(
                [pictures[row] for row in own],
                self._levels(),
                size_px=self.eval_crop_px,
                measurement=self.measurement,
                seed=self.split_seed,
            )
            splits[phase], names[phase] = whole, whole.names
            if phase == "train":
                splits[phase] = SyntheticCrops(
                    whole,
                    [crops[row] for row in own],
                    seed,
                    crop_px=self.crop_px,
                    noise=self._noise(),
                    xtrans_share=self.xtrans_share,
                    drawn_share=drawn_share,
                    exposure_ev=(self.exposure_min_ev, self.exposure_max_ev),
                    noise_error=self.noise_error,
                )
                names[phase] = [pictures[row].name for row in own]
        stamp = hashlib.sha256()
        for picture in pictures:
            stamp.update(f"{picture.name} {picture.values.shape}".encode() + np.ascontiguousarray(picture.values[::16, ::16]).tobytes())
        extras = {"measurement": self.measurement, "iso": list(self.val_iso)}
        return PreparedData(splits=splits, names=names, extras=extras, fingerprint=stamp.hexdigest(), notes=notes)


@datasets.register("raw_synthetic")
@dataclass(frozen=True, kw_only=True)
class RawSyntheticConfig(SyntheticRawConfig):
    """Clean raw files and ordinary photographs turned back into raw, with the noise of a sensor at any ISO value.

    Source: Brooks et al. 2019, Unprocessing images for learned raw denoising.
    """

    root: Path | None = None
    """Folder with raw files of low ISO and photographs, or a glob; required."""
    also: tuple[Path, ...] = ()
    """Further folders, files and globs."""
    reduce_photos: Annotated[int, Range(ge=1, le=8)] = 2
    """Factor by which JPEG photographs are averaged down; other photographs and raw files (half size already) are not."""
    drawn_share: Annotated[float, Range(ge=0, le=1)] = 0.1
    """Share of training crops that are drawn scenes, for edges and strokes at all angles."""
    density: Annotated[float, Range(gt=0)] = 1.0
    """Crops per epoch relative to what would cover the pictures once."""
    noise_profiles: Path | None = None
    """File of measured noise per camera and ISO value, as darktable has it; null draws typical cameras."""
    profile_cameras: tuple[str, ...] = ()
    """Cameras of that file to draw from; empty: all."""

    def prepare(self, seed: int) -> PreparedData:
        """Read the pictures and split them by scene.

        Raises:
            DataError: there are none, or one cannot be read.
        """
        if self.root is None:
            raise DataError("data.root is not set; set data.root=FOLDER (raw files of low ISO, photographs)")
        paths = clean_files([self.root, *self.also])
        pictures, notes = read_all(paths, reduce_photos=self.reduce_photos, least_px=self.crop_px)
        area = self.crop_px**2
        crops = [max(1, round(self.density * picture.values.shape[0] * picture.values.shape[1] / area)) for picture in pictures]
        return self._prepared(pictures, seed, drawn_share=self.drawn_share, crops=crops, notes=tuple(notes))

    def _noise(self) -> NoiseSource:
        if self.noise_profiles is None:
            if self.profile_cameras:
                raise ConfigError("data.profile_cameras: names cameras of data.noise_profiles, which is not set")
            return super()._noise()
        return MeasuredNoise(self.noise_profiles, self.profile_cameras, (self.iso_min, self.iso_max))


@datasets.register("raw_generated")
@dataclass(frozen=True, kw_only=True)
class RawGeneratedConfig(SyntheticRawConfig):
    """Drawn scenes behind a made-up sensor; needs no data."""

    num_samples: Annotated[int, Range(ge=3)] = 24
    """Scenes in all splits together."""
    size_px: Annotated[int, Range(ge=16)] = 128
    """Side of the scenes in pixels, even."""
    crops_per_picture: Annotated[int, Range(ge=1)] = 4
    """Training crops per scene and epoch."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Draws the scenes; the run's seed does not."""
    crop_px: Annotated[int, Range(ge=16)] = 64
    """Side of training crops in sensor pixels, even."""
    eval_crop_px: Annotated[int, Range(ge=16)] = 128
    """Side of the middle part of validation and test pictures that is used, even."""
    val_iso: tuple[float, ...] = (400.0, 12800.0)
    """ISO values at which every validation and test picture is seen."""

    def prepare(self, seed: int) -> PreparedData:
        """Draw the scenes and split them."""
        if self.size_px < self.crop_px:
            raise ConfigError(f"data.crop_px: {self.crop_px} pixels do not fit into scenes of {self.size_px}")
        pictures = [
            CleanPicture(draw_scene(self.seed, index, self.size_px, self.size_px), f"scene_{index:05d}", f"{index}")
            for index in range(self.num_samples)
        ]
        return self._prepared(pictures, seed, drawn_share=0.0, crops=[self.crops_per_picture] * len(pictures), notes=())


def _by_scene(pictures: Sequence[CleanPicture], val_fraction: float, test_fraction: float, seed: int) -> dict[str, list[int]]:
    scenes: np.ndarray = np.unique([picture.scene for picture in pictures], return_inverse=True)[1]
    shares = {"train": 1 - val_fraction - test_fraction, "val": val_fraction} | ({"test": test_fraction} if test_fraction else {})
    num_scenes = int(scenes.max()) + 1
    if num_scenes < len(shares):
        raise DataError(
            f"{num_scenes} scenes cannot be split into {', '.join(shares)} without a scene on two sides; add pictures of others"
        )
    parts = random_split(scenes, np.array(list(shares.values())), seed)
    return {phase: [int(row) for row in rows] for phase, rows in zip(shares, parts, strict=True)}
