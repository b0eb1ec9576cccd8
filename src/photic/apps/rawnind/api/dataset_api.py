"""Data sets from Python: batches of noisy and clean pictures over the registered data sets, their check, and their splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from photic.apps.rawnind.api.dataset_config import DatasetConfig
from photic.apps.rawnind.pairs.index import read_index
from photic.apps.rawnind.pairs.pair_splits import split_scenes
from photic.apps.rawnind.pairs.photo_pairs import find_photo_pairs
from photic.apps.rawnind.pairs.tiles import open_tile
from photic.apps.rawnind.synthetic.clean import clean_files, scene_of
from photic.apps.rawnind.synthetic.synthesis import SyntheticCrops
from photic.core.errors import ConfigError, DataError
from photic.data.base import PHASES, PreparedData, SampleSet
from photic.data.loader import ExactLoader, evaluation_batches
from photic.functional.cfa import pack
from photic.functional.raw_colour import apply_matrix, camera_to_rec2020_batch

_EXTRAS = {"noise": "noise", "balance": "balances", "iso": "iso"}
"""What batches have besides, under which names."""
_LEAST_SCENES = 3


class PairBatches:
    """Batches of one split, one pass per iteration; of training, every pass has other crops.

    Each batch is a mapping:

    ====================  =================================================================================================
    ``noisy_images``      packed Bayer planes ``(B, 4, H/2, W/2)``, or RGB ``(B, 3, H, W)``; linear, black 0, white 1
    ``clean_images``      ``(B, 3, H, W)``: of mosaics in linear Rec.2020, of RGB in the colours of the noisy ones
    ``masks``             ``(B, 1, H, W)``: 1 counts
    ``rgb_xyz_matrices``  ``(B, 3, 3)``: XYZ (D65) to the colours of the noisy pictures
    ``image_paths``       names of the pictures
    ``noise``             ``(B, 2)``: a and b of the noise's variance a x + b
    ``balances``          ``(B, 3)``: factors of red, green and blue that make grey about grey
    ``iso``               ``(B,)``: ISO values, NaN where nobody knows
    ====================  =================================================================================================

    Args:
        samples: the split.
        config: how batches are made.
        training: crops in random order; otherwise pictures in order, one per batch.
        names: of the pictures.
    """

    def __init__(self, samples: SampleSet, config: DatasetConfig, *, training: bool, names: list[str]) -> None:
        self.samples, self.config, self.training, self.names = samples, config, training, names
        self._loader: ExactLoader | None = None
        if training:
            self._loader = ExactLoader(samples, batch_size=config.batch_size, seed=config.seed, num_workers=config.num_workers)

    def __len__(self) -> int:
        return len(self.samples) if self._loader is None else self._loader.batches_per_epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._loader is None:
            for batch in evaluation_batches(self.samples, 1, self.config.num_workers):
                yield self._shaped(batch)
            return
        for _ in range(len(self)):
            yield self._shaped(next(self._loader))

    def _shaped(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        matrices, clean = batch["xyz_to_camera"], batch["target"]
        noisy = batch["measurement"]
        if self.config.is_bayer:
            noisy = pack(noisy)
            clean = apply_matrix(clean, camera_to_rec2020_batch(matrices.double()).to(clean.dtype))
        made = {
            "noisy_images": noisy,
            "clean_images": clean,
            "masks": batch["mask"],
            "image_paths": list(batch["name"]),
            "rgb_xyz_matrices": matrices,
        }
        return made | {name: batch[key] for key, name in _EXTRAS.items() if key in batch}


@dataclass(frozen=True)
class DatasetReport:
    """What was found in a folder of data; true in a condition where it can be used."""

    dataset_type: str
    num_pictures: int
    num_scenes: int
    problems: tuple[str, ...] = ()
    """What has to be put right; empty where it can be used."""
    notes: tuple[str, ...] = field(default=())
    """What a user should know."""

    @property
    def valid(self) -> bool:
        """Whether it can be used."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.valid


def create_training_dataset(config: DatasetConfig | Mapping[str, Any] | str | Path | None = None, **changes: Any) -> PairBatches:
    """Return the training batches of a data set.

    Args:
        config: a :class:`DatasetConfig`, its fields as a dict, or a YAML file.
        **changes: fields that go before those of ``config``, such as ``root``.

    Raises:
        ConfigError: impossible settings.
        DataError: the data are missing, or cannot be split by scene.
    """
    return create_datasets(config, **changes)["train"]


def create_validation_dataset(config: DatasetConfig | Mapping[str, Any] | str | Path | None = None, **changes: Any) -> PairBatches:
    """Return the validation batches, of other scenes than training and test; arguments as for :func:`create_training_dataset`."""
    return create_datasets(config, **changes)["val"]


def create_test_dataset(config: DatasetConfig | Mapping[str, Any] | str | Path | None = None, **changes: Any) -> PairBatches:
    """Return the test batches, of other scenes than training and validation; arguments as for :func:`create_training_dataset`.

    Raises:
        DataError: ``test_fraction`` is 0 and no scene is reserved.
    """
    made = create_datasets(config, **changes)
    if "test" not in made:
        raise DataError("there is no test split: test_fraction is 0, and no scene is reserved for it")
    return made["test"]


def create_datasets(config: DatasetConfig | Mapping[str, Any] | str | Path | None = None, **changes: Any) -> dict[str, PairBatches]:
    """Return ``train``, ``val`` and perhaps ``test``, reading the data once; arguments as for :func:`create_training_dataset`."""
    chosen = DatasetConfig.of(config, **changes)
    data = chosen.registered().prepare(chosen.seed)
    return {phase: _batches(data, chosen, phase) for phase in PHASES if phase in data.splits and len(data.splits[phase])}


def _batches(data: PreparedData, config: DatasetConfig, phase: str) -> PairBatches:
    samples, training = data.splits[phase], phase == "train"
    if isinstance(samples, SyntheticCrops):  # its own number of crops goes by a picture's area
        samples.rows = np.repeat(np.arange(len(samples.pictures)), config.num_crops_per_image)
    if config.cache and not training:
        samples = _Kept(samples)
    return PairBatches(samples, config, training=training, names=list(data.names[phase]))


class _Kept:
    """Samples that never change, kept in memory once they were made."""

    def __init__(self, samples: SampleSet) -> None:
        self._samples = samples
        self._made: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, position: int, draw: int = 0) -> dict[str, Any]:
        """Return a sample."""
        if position not in self._made:
            self._made[position] = self._samples.sample(position, 0)
        return self._made[position]


def prepare_dataset_splits(
    source: DatasetConfig | Mapping[str, str],
    *,
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    test_reserve_images: tuple[str, ...] | list[str] = (),
    seed: int = 0,
) -> dict[str, list[str]]:
    """Return the names of the pictures of ``train``, ``val`` and ``test``: three disjoint sets of scenes.

    Args:
        source: a data set, with its own settings; or names of pictures, each with its scene, for which the following are.
        val_fraction: share of the pictures for validation.
        test_fraction: share for the test; 0 makes none.
        test_reserve_images: scenes, or pictures whose scenes are, kept for the test instead.
        seed: draws the scenes.

    Raises:
        ConfigError: a name is reserved that is not there.
        DataError: too few scenes.

    >>> found = prepare_dataset_splits({"a1": "a", "a2": "a", "b1": "b", "c1": "c"}, test_reserve_images=["c1"])
    >>> found["test"], sorted(found["train"] + found["val"])
    (['c1'], ['a1', 'a2', 'b1'])
    """
    if isinstance(source, DatasetConfig):
        data = source.registered().prepare(source.seed)
        return {phase: list(dict.fromkeys(name.partition("@ISO")[0] for name in data.names[phase])) for phase in data.splits}
    names = list(source)
    unknown = [name for name in test_reserve_images if name not in source and name not in source.values()]
    if unknown:
        raise ConfigError(f"test_reserve_images: no scene or picture '{unknown[0]}'")
    kept = {source.get(name, name) for name in test_reserve_images}
    rows, _ = split_scenes(
        [source[name] for name in names],
        [source[name] in kept for name in names],
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        where="prepare_dataset_splits",
    )
    return {phase: [names[row] for row in own] for phase, own in rows.items()}


def validate_dataset_format(source: DatasetConfig | Path | str, dataset_type: str | None = None) -> DatasetReport:
    """Check a folder of data without training on it: that it is what its type says, and that all files are there and fit each other.

    Args:
        source: a data set, or its folder.
        dataset_type: of a folder, see :class:`DatasetConfig`; None: rawnind.

    Returns:
        What was found; every problem in words.

    Raises:
        ConfigError: no such type, or no folder is named.

    >>> validate_dataset_format("/nowhere").problems
    ('/nowhere: no such folder',)
    """
    config = source if isinstance(source, DatasetConfig) else DatasetConfig.of({"root": source, "dataset_type": dataset_type or "rawnind"})
    kind, root = config.dataset_type, config.root
    if root is None:
        raise ConfigError("DatasetConfig.root: not set; give the folder of the data")
    if not root.is_dir():
        return DatasetReport(kind, 0, 0, (f"{root}: no such folder",))
    check = {"rgb_pairs": _check_photos, "clean_only": _check_clean}.get(kind, _check_prepared)
    try:
        scenes, problems, notes = check(root, config)
    except DataError as error:
        return DatasetReport(kind, 0, 0, (str(error),))
    num_scenes = len(set(scenes))
    if num_scenes < _LEAST_SCENES and not problems:
        problems = [f"{root}: {num_scenes} scenes cannot be split into train, val and test; add pictures of others"]
    return DatasetReport(kind, len(scenes), num_scenes, tuple(problems), tuple(notes))


Found = tuple[list[str], list[str], list[str]]
"""Scene of each picture, problems, notes."""


def _check_prepared(root: Path, config: DatasetConfig) -> Found:
    index = read_index(root)
    entries = [entry for entry in index.pairs if entry.crops]
    problems = [] if entries else [f"{root}: no pairs with tiles in its index ({len(index.rejected)} were rejected)"]
    for entry in entries:
        for crop in entry.crops:
            try:
                noisy, target, mask = (open_tile(index.folder / path) for path in (crop.noisy_path, crop.gt_rgb_path, crop.mask_path))
            except DataError as error:
                problems.append(str(error))
                continue
            height, width = mask.shape[-2:]
            if noisy.shape != (4, height, width) or target.shape != (3, 2 * height, 2 * width):
                shapes = f"{noisy.shape}, {target.shape} and {mask.shape}"
                problems.append(f"{entry.name}: tiles (4, H, W), (3, 2H, 2W) and a mask (H, W) do not fit each other: {shapes}")
            elif 2 * min(height, width) < config.crop_size:
                problems.append(f"{entry.name}: a tile of {2 * height} x {2 * width} pixels holds no crop of {config.crop_size}")
    notes = [f"{len(index.rejected)} pictures or pairs were rejected when they were prepared"] if index.rejected else []
    return [entry.image_set for entry in entries], problems, notes


def _check_photos(root: Path, config: DatasetConfig) -> Found:
    pairs, notes = find_photo_pairs(root)
    problems = []
    for pair in pairs:
        sizes = []
        for path in (pair.noisy, pair.clean):
            try:
                with Image.open(path) as image:
                    sizes.append(image.size)
            except (OSError, UnidentifiedImageError) as error:
                problems.append(f"{path}: cannot be read ({error})")
        if len(sizes) == 2 and sizes[0] != sizes[1]:
            problems.append(f"{pair.noisy}: has {sizes[0]} pixels, {pair.clean.name} {sizes[1]}; a pair needs one size")
        elif len(sizes) == 2 and min(sizes[0]) < config.crop_size:
            problems.append(f"{pair.noisy}: {sizes[0]} pixels hold no crop of {config.crop_size}")
    return [pair.scene for pair in pairs], problems, list(notes)


def _check_clean(root: Path, config: DatasetConfig) -> Found:
    paths = clean_files([root])
    empty = [f"{path}: is empty" for path in paths if not path.stat().st_size]
    return [scene_of(path) for path in paths], empty, []
