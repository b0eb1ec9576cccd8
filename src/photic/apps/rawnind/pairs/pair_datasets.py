"""Datasets of pairs of one scene, noisy and clean: prepared raw pictures, and photographs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from photic.apps.rawnind.pairs.index import PairEntry, PairIndex, plain, read_index
from photic.apps.rawnind.pairs.pair_samples import SampleSettings, TileCrops, TilePairs
from photic.apps.rawnind.pairs.pair_splits import split_scenes
from photic.apps.rawnind.pairs.photo_pairs import PhotoCrops, PhotoPairs, find_photo_pairs, fingerprint_of
from photic.core.errors import ConfigError, DataError, nearest
from photic.core.registry import datasets
from photic.core.schema import Range
from photic.data.base import DataConfig, PreparedData


@dataclass(frozen=True, kw_only=True)
class RawPairsConfig(DataConfig):
    """What sets of pairs share: crops and splits by scene."""

    root: Path | None = None
    """Folder of the data; required."""
    crop_px: Annotated[int, Range(ge=16)] = 128
    """Side of training crops in sensor pixels, even."""
    eval_crop_px: Annotated[int | None, Range(ge=16)] = 512
    """Side of the part of each validation and test picture that is used, even, nearest to its middle; null uses whole pictures."""
    eval_batch_size: Annotated[int | None, Range(ge=1)] = 1
    """Pictures per validation batch; more than 1 needs pictures of one size."""
    crops_per_picture: Annotated[int, Range(ge=1)] = 8
    """How often a pair comes in an epoch, each time with another crop."""
    flips: bool = True
    """Mirror and turn training crops; mosaics keep their phase."""
    val_fraction: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the pairs kept for validation, scenes together."""
    test_fraction: Annotated[float, Range(ge=0, le=1)] = 0.1
    """Share kept for the test, likewise; 0 makes no test split, 1 leaves nothing to train on: to evaluate a model on all pairs. Scenes that
    are kept for the test by name or by the data replace it."""
    test_scenes: tuple[str, ...] = ()
    """Scenes kept for the test."""
    split_seed: Annotated[int, Range(ge=0)] = 0
    """Draws the split. The run's seed does not, so that runs with several seeds are measured on the same pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_px % 2 or (self.eval_crop_px or 0) % 2:
            sides = f"{self.crop_px} and eval_crop_px {self.eval_crop_px}"
            raise ConfigError(f"{self.registry_name}.crop_px: crops of a mosaic need even sides, got {sides}")
        if self.val_fraction + self.test_fraction >= 1 and self.test_fraction < 1:
            shares = f"{self.val_fraction:g} and test_fraction {self.test_fraction:g}"
            raise ConfigError(f"{self.registry_name}.val_fraction: {shares} leave no training")

    @property
    def split_strategy(self) -> str:
        """How the pairs are split, in words, for records."""
        return f"by scene, {self.val_fraction:.0%} validation, {self.test_fraction:.0%} test, split_seed {self.split_seed}"

    def _split(self, scenes: list[str], reserved: list[bool]) -> tuple[dict[str, list[int]], tuple[str, ...]]:
        unknown = [name for name in self.test_scenes if name not in scenes]
        if unknown:
            raise ConfigError(f"data.test_scenes: no scene '{unknown[0]}' in {self.root}{nearest(unknown[0], set(scenes))}")
        flags = [flag or scene in self.test_scenes for scene, flag in zip(scenes, reserved, strict=True)]
        return split_scenes(
            scenes, flags, val_fraction=self.val_fraction, test_fraction=self.test_fraction, seed=self.split_seed, where=str(self.root)
        )


@datasets.register("rawnind_pairs")
@dataclass(frozen=True, kw_only=True)
class RawNindPairsConfig(RawPairsConfig):
    """Pairs of raw pictures as `photic data prepare rawnind` makes them: a noisy mosaic, and the clean one of the same scene demosaiced.

    The target is the clean picture, itself a mosaic, demosaiced by Menon's method at full size, in camera colours.

    Source: Brummer and De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    measurement: Literal["mosaic", "rgb"] = "mosaic"
    """What the network gets: the noisy mosaic (Bayer from its red on), or that demosaiced. The noise it is told is the mosaic's."""
    demosaic: Literal["malvar", "menon"] = "malvar"
    """Makes three colours of the noisy mosaic for rgb; malvar takes 0.07 s per megapixel, menon 0.4."""
    match_gain: Literal["never", "input", "output"] = "output"
    """How exposures are brought together: the noisy picture is multiplied by the gain (input); the target is divided by it, so that the
    network gives pictures as bright as its input, and its output times the gain matches the clean picture (output); not at all (never)."""
    min_valid_share: Annotated[float, Range(ge=0, le=1)] = 0.8
    """Share of a training crop's pixels that count; places with less are passed over where others are found."""

    def prepare(self, seed: int) -> PreparedData:
        """Read the index and split its pairs by scene.

        Raises:
            DataError: there is no index, no pair in it, tiles are missing, or there are too few scenes.
        """
        if self.root is None:
            raise DataError("data.root is not set; set data.root=FOLDER (what `photic data prepare rawnind ROOT` has written)")
        index = read_index(self.root)
        entries = [entry for entry in index.pairs if entry.crops]
        if not entries:
            raise DataError(
                f"{self.root}: no pairs with tiles in its index ({len(index.rejected)} were rejected); prepare pictures of it first"
            )
        self._require_tiles(index, entries)
        rows, notes = self._split([entry.image_set for entry in entries], [entry.test_reserve for entry in entries])
        settings = SampleSettings(self.measurement, self.match_gain, self.demosaic)
        splits: dict[str, Any] = {}
        names: dict[str, list[str]] = {}
        for phase, own in rows.items():
            samples = TilePairs(index, [entries[row] for row in own], own, settings=settings, crop_px=self.eval_crop_px)
            splits[phase], names[phase] = samples, samples.names
        if "train" in splits:
            splits["train"] = TileCrops(
                splits["train"],
                seed,
                crop_px=self.crop_px,
                crops_per_picture=self.crops_per_picture,
                flips=self.flips,
                min_valid_share=self.min_valid_share,
            )
        measured = _iso_values(entries[row].iso for phase in ("val", "test") for row in rows.get(phase, ()))
        stamp = hashlib.sha256(json.dumps([plain(entry) for entry in entries], sort_keys=True).encode()).hexdigest()
        extras = {"measurement": self.measurement, "iso": measured}
        if index.rejected:
            notes = (*notes, f"{len(index.rejected)} pictures or pairs were rejected when they were prepared; the index says why")
        return PreparedData(splits=splits, names=names, extras=extras, fingerprint=stamp, notes=notes)

    def _require_tiles(self, index: PairIndex, entries: list[PairEntry]) -> None:
        paths = {path for one in entries for crop in one.crops for path in (crop.noisy_path, crop.gt_rgb_path, crop.mask_path)}
        missing = sorted(path for path in paths if not (index.folder / path).is_file())
        if missing:
            raise DataError(
                f"{index.folder / missing[0]}: no such tile ({len(missing)} of {len(paths)} are missing); `photic data prepare rawnind` "
                "makes them again"
            )


@datasets.register("raw_rgb_pairs")
@dataclass(frozen=True, kw_only=True)
class RawRgbPairsConfig(RawPairsConfig):
    """Pairs of photographs (sRGB) of one scene, noisy and clean, made linear; names such as ``SCENE_real.jpg`` and ``SCENE_mean.jpg``.

    Source: Xu et al. 2018, Real-world noisy image denoising: a new benchmark (PolyU, 100 pairs of 512 x 512).
    """

    eval_crop_px: Annotated[int | None, Range(ge=16)] = None
    """Side of the middle part of validation and test pictures that is used, even; null uses whole pictures."""
    noise: Literal["measured", "estimated"] = "measured"
    """Where the noise that the network is told comes from: the pair's difference, or the noisy picture alone. Cameras and JPEG smooth fine
    detail, so that the noise of developed pictures is estimated far too low (by a factor of 100 in variance on PolyU)."""
    cache_mb: Annotated[float, Range(ge=0)] = 1000.0
    """Megabytes of decoded pictures that each loader process keeps (1.5 MB per pair of 512 x 512)."""

    def prepare(self, seed: int) -> PreparedData:
        """Find the pairs and split them by scene.

        Raises:
            DataError: there is no such folder, no pair in it, or there are too few scenes.
        """
        if self.root is None:
            raise DataError("data.root is not set; set data.root=FOLDER (photographs named NAME_real.jpg and NAME_mean.jpg)")
        pairs, notes = find_photo_pairs(self.root)
        rows, split_notes = self._split([pair.scene for pair in pairs], [False] * len(pairs))
        splits: dict[str, Any] = {}
        names: dict[str, list[str]] = {}
        for phase, own in rows.items():
            samples = PhotoPairs([pairs[row] for row in own], own, crop_px=self.eval_crop_px, noise=self.noise, cache_mb=self.cache_mb)
            splits[phase], names[phase] = samples, samples.names
        if "train" in splits:
            splits["train"] = PhotoCrops(
                splits["train"], seed, crop_px=self.crop_px, crops_per_picture=self.crops_per_picture, flips=self.flips
            )
        measured = _iso_values(pairs[row].iso for phase in ("val", "test") for row in rows.get(phase, ()))
        extras = {"measurement": "rgb", "iso": measured}
        return PreparedData(splits=splits, names=names, extras=extras, fingerprint=fingerprint_of(pairs), notes=(*notes, *split_notes))


def _iso_values(values: Iterable[float | None]) -> list[float]:
    return sorted({value for value in values if value is not None})
