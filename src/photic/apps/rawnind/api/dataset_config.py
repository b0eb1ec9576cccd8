"""Settings of data sets from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from photic.apps.rawnind.pairs.index import read_index
from photic.apps.rawnind.pairs.pair_datasets import RawNindPairsConfig, RawRgbPairsConfig
from photic.apps.rawnind.synthetic.synthetic_data import RawSyntheticConfig
from photic.core.errors import ConfigError, nearest
from photic.core.schema import Config, Range
from photic.data.base import DataConfig
from photic.models.raw_denoising import Measurement
from photic.workflows.recipes import read_yaml

AUGMENTATIONS = ("flips",)
_CACHE_MB = 1000.0


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Config):
    """Where pictures come from, and how they become batches."""

    dataset_type: Literal["rgb_pairs", "bayer_pairs", "clean_only", "rawnind"] = "rawnind"
    """rawnind: raw pairs as `photic data prepare rawnind` makes them, as mosaics or demosaiced; bayer_pairs: the same, as mosaics;
    rgb_pairs: photographs named NAME_real.jpg and NAME_mean.jpg; clean_only: clean raws and photographs, whose noise is made."""
    root: Path | None = None
    """Folder of the data; required."""
    input_channels: int | None = None
    """4 for packed Bayer planes, 3 for RGB; null: 3 for rgb_pairs, else 4."""
    output_channels: int = 3
    """Always red, green and blue: 3."""
    crop_size: Annotated[int, Range(ge=16)] = 256
    """Side of training crops in sensor pixels, even."""
    val_crop_size: Annotated[int | None, Range(ge=16)] = None
    """Side of the middle parts that validation and test use, even; null: 512, of rgb_pairs the whole pictures."""
    num_crops_per_image: Annotated[int, Range(ge=1)] = 8
    """Crops of each picture per pass, each time others."""
    batch_size: Annotated[int, Range(ge=1)] = 4
    """Crops per training batch; validation and test have one picture per batch."""
    augmentations: tuple[str, ...] = AUGMENTATIONS
    """flips: training crops are mirrored and turned (mosaics keep their phase), which made noise always has; empty: pairs are left as they
    lie."""
    min_valid_pixels_ratio: Annotated[float, Range(ge=0, le=1)] = 0.8
    """Share of a training crop's pixels that count (all three colours of a pixel are one); places with less are passed over."""
    test_reserve_images: tuple[str, ...] = ()
    """Scenes, or pictures whose scenes are, kept for the test; without any, a share of the scenes is drawn."""
    val_fraction: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the pictures kept for validation, scenes together."""
    test_fraction: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Share kept for the test, likewise, where none are reserved."""
    split_seed: Annotated[int, Range(ge=0)] = 0
    """Draws the splits."""
    seed: Annotated[int, Range(ge=0)] = 42
    """Of order, crops and made noise of training."""
    match_gain: Literal["never", "input", "output"] = "output"
    """Exposures of raw pairs: the clean picture gets the noisy one's (output), the noisy one the clean one's (input), or each keeps its
    own (never)."""
    cache: bool = False
    """Keep decoded photographs, and validation and test pictures, in memory after their first use."""
    num_workers: Annotated[int, Range(ge=0)] = 0
    """Loader processes; 0 loads in the present one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = "DatasetConfig"
        allowed = {"rgb_pairs": (3,), "bayer_pairs": (4,), "clean_only": (3, 4), "rawnind": (3, 4)}[self.dataset_type]
        if self.input_channels not in (None, *allowed):
            expected = " or ".join(f"{count} ({'RGB' if count == 3 else 'packed Bayer planes'})" for count in allowed)
            raise ConfigError(f"{where}.input_channels: {self.dataset_type} gives {expected}, not {self.input_channels}")
        if self.output_channels != 3:
            raise ConfigError(f"{where}.output_channels: expected 3 (red, green, blue), got {self.output_channels}")
        for name, side in (("crop_size", self.crop_size), ("val_crop_size", self.val_crop_size or 0)):
            if side % 2:
                raise ConfigError(f"{where}.{name}: crops need even sides, got {side}; use {side + 1}")
        unknown = [name for name in self.augmentations if name not in AUGMENTATIONS]
        if unknown:
            hint = nearest(unknown[0], AUGMENTATIONS)
            raise ConfigError(f"{where}.augmentations: unknown '{unknown[0]}'{hint} (there is: {', '.join(AUGMENTATIONS)})")
        if self.dataset_type == "clean_only" and not self.augmentations:
            raise ConfigError(f"{where}.augmentations: clean_only always mirrors and turns its crops; leave flips in")
        if self.dataset_type == "clean_only" and self.test_reserve_images:
            raise ConfigError(f"{where}.test_reserve_images: clean_only draws its test scenes; set test_fraction, or keep files elsewhere")
        if self.dataset_type == "clean_only" and self.match_gain != "output":
            raise ConfigError(f"{where}.match_gain: clean_only makes noisy pictures as bright as the clean ones; leave match_gain out")
        if self.dataset_type == "rgb_pairs" and self.match_gain == "input":
            raise ConfigError(f"{where}.match_gain: rgb_pairs knows no exposures; use match_gain='input' of the TrainingConfig")
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(f"{where}.val_fraction: {self.val_fraction:g} and test_fraction {self.test_fraction:g} leave no training")

    @property
    def is_bayer(self) -> bool:
        """Whether batches have packed planes."""
        return self.input_channels == 4 or (self.input_channels is None and self.dataset_type != "rgb_pairs")

    def registered(self) -> DataConfig:
        """Return the registered data set that this is a name for.

        Raises:
            ConfigError: ``root`` is not set, or a picture is reserved that is not there.
            DataError: the index of pairs cannot be read.
        """
        if self.root is None:
            raise ConfigError("DatasetConfig.root: not set; give the folder of the data")
        shared: dict[str, Any] = {
            "root": self.root,
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "crop_px": self.crop_size,
            "val_fraction": self.val_fraction,
            "test_fraction": self.test_fraction,
            "split_seed": self.split_seed,
        }
        measurement: Measurement = "mosaic" if self.is_bayer else "rgb"
        if self.dataset_type == "clean_only":
            return RawSyntheticConfig(**shared, measurement=measurement, eval_crop_px=self.val_crop_size or 512)
        shared |= {"crops_per_picture": self.num_crops_per_image, "flips": "flips" in self.augmentations}
        if self.dataset_type == "rgb_pairs":
            scenes = self._reserved(_photo_scenes(self.root))
            cache = _CACHE_MB if self.cache else 0.0
            return RawRgbPairsConfig(**shared, eval_crop_px=self.val_crop_size, cache_mb=cache, test_scenes=scenes)
        return RawNindPairsConfig(
            **shared,
            measurement=measurement,
            eval_crop_px=self.val_crop_size or 512,
            min_valid_share=self.min_valid_pixels_ratio,
            match_gain=self.match_gain,
            test_scenes=self._reserved(_pair_scenes(self.root) if self.test_reserve_images else {}),
        )

    def _reserved(self, scenes: Mapping[str, str]) -> tuple[str, ...]:
        """Return the scenes that are kept for the test: those named, and those of pictures named."""
        found = []
        for name in self.test_reserve_images:
            if name not in scenes:
                raise ConfigError(f"DatasetConfig.test_reserve_images: no scene or picture '{name}'{nearest(name, scenes)}")
            found.append(scenes[name])
        return tuple(dict.fromkeys(found))

    @classmethod
    def of(cls, config: Any, **changes: Any) -> Self:
        """Return a config from one, from fields as a mapping, or from a YAML file's path, with changes.

        Raises:
            ConfigError: none of these, or impossible values.
        """
        if isinstance(config, str | Path) and Path(config).suffix in (".yaml", ".yml"):
            made = cls.from_dict(read_yaml(config), str(config))
        elif isinstance(config, Mapping):
            made = cls.from_dict(config, cls.__name__)
        elif isinstance(config, cls) or config is None:
            made = cls() if config is None else config
        else:
            raise ConfigError(f"config: expected a {cls.__name__}, its fields as a dict, or a YAML file, got {config!r}")
        return made.replace(**changes) if changes else made


def _pair_scenes(root: Path) -> dict[str, str]:
    """Return scenes and pictures of prepared pairs, each with its scene."""
    found: dict[str, str] = {}
    for entry in read_index(root).pairs:
        found |= dict.fromkeys((entry.name, entry.noisy_path, entry.gt_path, entry.image_set), entry.image_set)
    return found


def _photo_scenes(root: Path) -> dict[str, str]:
    from photic.apps.rawnind.pairs.photo_pairs import find_photo_pairs

    found: dict[str, str] = {}
    for pair in find_photo_pairs(root)[0]:
        found |= dict.fromkeys((pair.name, pair.noisy.name, pair.clean.name, pair.scene), pair.scene)
    return found
