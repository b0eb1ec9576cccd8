"""The datasets of the low-light application: pairs from folders, dark pictures alone, and drawn ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from photic.apps.lowlight.pairing import Pair, PairTable, Problem, read_pairs, table_fingerprint
from photic.apps.lowlight.samples import DrawnPairs, PairCrops, PairFiles, PairSource, WholePairs, different_sizes
from photic.apps.lowlight.scenes import UNPAIRED_PREFIX, Indices, join_scenes, split_by_scene
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.core.schema import Range
from photic.data.base import DataConfig, PreparedData
from photic.data.photo.files import photo_size, read_photo
from photic.data.split_file import read_split


@dataclass(frozen=True, kw_only=True)
class LowLightDataConfig(DataConfig):
    """What all low-light sets share: how they are split by scene and cropped."""

    eval_batch_size: Annotated[int | None, Range(ge=1)] = 1
    """Pictures per validation and test batch. They stay whole and at their own size, so more than 1 needs pictures of one size."""
    val_fraction: Annotated[float, Range(gt=0, lt=1)] = 0.16
    """Share of the pairs kept for validation, scenes together. A validation part given by the folders is used as it is."""
    test_fraction: Annotated[float, Range(ge=0, lt=1)] = 0.0
    """Share kept for a test, likewise; 0 makes no test split."""
    split_seed: Annotated[int, Range(ge=0)] = 0
    """Draws the split. The run's seed does not, so that runs with several seeds are measured on the same pictures."""
    split_file: Path | None = None
    """A saved split.json (train, val and perhaps test: lists of names) to use again; comes before the fractions."""
    crop_px: Annotated[int | None, Range(ge=8)] = 256
    """Side of the square training crops in pixels; the shortest side of all training pictures if that is less (rounded down to 8). Null
    trains on whole pictures."""
    crops_per_picture: Annotated[int, Range(ge=1)] = 1
    """How often a training picture comes in an epoch, each time with another crop."""
    flips: bool = True
    """Mirror half of the training crops."""
    rotations: bool = True
    """Turn training crops by random quarters (whole pictures that are not square by halves)."""
    overview_share: Annotated[float, Range(gt=0, le=1)] = 1.0
    """Smallest share of a picture's height and width that its overview shows in training; below 1 it is of a random part, so that global
    decisions are not learnt by heart where pictures are few."""
    grey_share: Annotated[float, Range(ge=0, le=1)] = 0.0
    """Share of training crops that lose their colours, the dark and the true one, so that what is grey stays grey."""

    exposure: Literal["own", "common"] = "own"
    """Exposure of the true pictures in training: their own, or the median level of all of them for each, by a factor. Where the exposure
    of a true picture cannot be told from its dark one, it would only be learnt by heart. Validation always has the true pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"{self.registry_name}.val_fraction: {self.val_fraction:g} and test_fraction {self.test_fraction:g} leave no training"
            )

    @property
    def split_strategy(self) -> str:
        """How the pairs are split, in words, for records."""
        if self.split_file is not None:
            return f"as in {self.split_file.name}"
        shares = f"{self.val_fraction:.0%} validation" + (f", {self.test_fraction:.0%} test" if self.test_fraction else "")
        return f"by scene, {shares}, split_seed {self.split_seed}"

    def _split(self, table: PairTable) -> tuple[Indices, tuple[str, ...]]:
        """Return the rows of each split and what a user should know."""
        if self.split_file is None:
            return split_by_scene(table, self.val_fraction, self.test_fraction, self.split_seed)
        names = [pair.name for pair in table.pairs]
        return read_split(self.split_file, names, required=("train", "val"), foreign=UNPAIRED_PREFIX)

    def _prepared(
        self,
        pairs: tuple[Pair, ...],
        sizes: list[tuple[int, int]],
        indices: Indices,
        source: PairSource,
        *,
        seed: int,
        fingerprint: str,
        notes: tuple[str, ...],
    ) -> PreparedData:
        """Make the sample sets of a split."""
        names = {phase: [pairs[row].name for row in rows] for phase, rows in indices.items()}
        splits: dict[str, Any] = {phase: WholePairs(source, rows, names[phase]) for phase, rows in indices.items()}
        crop_px, note = self._crop([sizes[row] for row in indices["train"]])
        level = None
        if self.exposure == "common":
            paired = [row for row in indices["train"] if pairs[row].high is not None]
            level = float(np.median([source.target_level(int(row)) for row in paired])) if paired else None
        splits["train"] = PairCrops(
            splits["train"],
            seed,
            crop_px=crop_px,
            crops_per_picture=self.crops_per_picture,
            flips=self.flips,
            rotations=self.rotations,
            overview_share=self.overview_share,
            grey_share=self.grey_share,
            target_level=level,
        )
        with_target = {phase: sum(pairs[row].high is not None for row in rows) for phase, rows in indices.items()}
        extras = {
            "num_pairs": sum(with_target.values()),
            "num_unpaired": len(pairs) - sum(pair.high is not None for pair in pairs),
            "has_targets": with_target["val"] > 0,
            "crop_px": crop_px,
        }
        return PreparedData(splits=splits, names=names, extras=extras, fingerprint=fingerprint, notes=(*notes, *note))

    def _crop(self, sizes: list[tuple[int, int]]) -> tuple[int | None, tuple[str, ...]]:
        if self.crop_px is None:
            return None, ()
        shortest = min(min(size) for size in sizes)
        if shortest >= self.crop_px:
            return self.crop_px, ()
        smaller = shortest - shortest % 8 or shortest
        note = (
            f"training crops are {smaller} pixels wide instead of {self.crop_px}: the shortest side of the training pictures is {shortest}"
        )
        return smaller, (note,)


@datasets.register("lowlight_pairs")
@dataclass(frozen=True, kw_only=True)
class LowLightPairsConfig(LowLightDataConfig):
    """Dark photographs with true ones in the folder layouts of LOL, LOL-v2, SID and simple pairs of folders; or dark ones alone.

    Source: Wei et al. 2018, "Deep Retinex Decomposition for Low-Light Enhancement" (LOL-v1, 485 + 15 pairs of 600 x 400).
    """

    root: Path | None = None
    """Folder of the data set; required."""
    pairing: Literal["strict", "flexible", "none"] = "flexible"
    """Which names belong together: equal ones; also those equal without words such as _low, _dark, _gt or _normal; or dark ones alone."""
    faulty: Literal["refuse", "skip"] = "refuse"
    """What to do about files without a partner, unreadable files and pairs of two sizes. To skip, every picture is decoded once, and those
    left out are counted in the run's notes; to refuse, headers are read and a picture that breaks later stops training."""
    group_near_duplicates: bool = True
    """Count pictures that are nearly the same as one scene, unless pairs.csv or the files' names give scenes (12 ms per picture)."""
    unpaired_root: Path | None = None
    """Folder of dark pictures without truth that are mixed into the training batches."""
    cache_mb: Annotated[float, Range(ge=0)] = 1000.0
    """Megabytes of decoded pictures that each loader process keeps (1.4 MB per pair of 600 x 400); decoding costs more than cropping."""

    def prepare(self, seed: int) -> PreparedData:
        """Find the pairs and split them by scene.

        Raises:
            DataError: files are missing, unreadable or contradict each other; the message names them.
        """
        table, sizes = self.read_table()
        table = join_scenes(table, compare=self.group_near_duplicates and self.split_file is None)
        if self.faulty == "refuse":
            table.refuse_problems()
        if not table.pairs:
            raise DataError(f"data.root={self.root}: no usable pictures ({len(table.problems)} were left out)")
        indices, notes = self._split(table)
        pairs = table.pairs
        extra = self._unpaired(sizes)
        if extra:
            first = len(pairs)
            pairs = (*pairs, *extra)
            indices["train"] = np.concatenate([indices["train"], np.arange(first, len(pairs))])
            notes = (*notes, f"{len(extra)} dark pictures without truth are mixed into training")
        skipped = (f"{len(table.problems)} faulty files or pairs were left out",) if table.problems else ()
        fingerprint = table_fingerprint(dataclasses.replace(table, pairs=pairs))
        source = PairFiles(pairs, self.cache_mb)
        by_row = [sizes[pair.name] for pair in pairs]
        return self._prepared(pairs, by_row, indices, source, seed=seed, fingerprint=fingerprint, notes=(*table.notes, *skipped, *notes))

    def read_table(self) -> tuple[PairTable, dict[str, tuple[int, int]]]:
        """Return the pairs and (height, width) of each by name, from the headers; what is wrong is in the table's ``problems``.

        Raises:
            DataError: there is no such folder, or nothing in it can be read as a layout.
        """
        if self.root is None:
            raise DataError("data.root is not set; set data.root=FOLDER (a folder with low/ and high/, for example)")
        return _with_sizes(read_pairs(self.root, self.pairing), decode=self.faulty == "skip")

    def _unpaired(self, sizes: dict[str, tuple[int, int]]) -> tuple[Pair, ...]:
        """Return the dark pictures to mix into training; their sizes are added."""
        if self.unpaired_root is None:
            return ()
        try:
            table, found = _with_sizes(read_pairs(self.unpaired_root, "none"), decode=self.faulty == "skip")
            if self.faulty == "refuse":
                table.refuse_problems()
        except DataError as error:
            raise DataError(f"data.unpaired_root: {error}") from error
        sizes.update({UNPAIRED_PREFIX + name: size for name, size in found.items()})
        return tuple(dataclasses.replace(pair, name=UNPAIRED_PREFIX + pair.name) for pair in table.pairs)


@datasets.register("lowlight_generated")
@dataclass(frozen=True, kw_only=True)
class LowLightGeneratedConfig(LowLightDataConfig):
    """Drawn scenes and what a sensor makes of them in the dark: linear gain, photon and read noise, 8 bits."""

    num_samples: Annotated[int, Range(ge=4)] = 64
    """Pairs in all splits together; kept in memory (6 bytes per pixel)."""
    size_px: Annotated[int, Range(ge=16)] = 96
    """Side of the pictures in pixels."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Draws the pictures; the run's seed does not."""
    crop_px: Annotated[int | None, Range(ge=8)] = 64
    """Side of the square training crops in pixels; null trains on whole pictures."""

    def prepare(self, seed: int) -> PreparedData:
        """Draw the pairs and split them."""
        drawn = [draw_pair(self.seed, index, self.size_px, self.size_px) for index in range(self.num_samples)]
        names = [f"scene_{index:05d}" for index in range(self.num_samples)]
        pairs = tuple(Pair(name, Path(f"{name}_low"), Path(f"{name}_high"), name) for name in names)
        table = PairTable(Path(), "drawn", pairs)
        indices, notes = self._split(table)
        stamp = json.dumps(
            [[name, zlib.crc32(low.tobytes()), zlib.crc32(high.tobytes())] for name, (low, high) in zip(names, drawn, strict=True)]
        )
        fingerprint = hashlib.sha256(stamp.encode()).hexdigest()
        sizes = [(self.size_px, self.size_px)] * self.num_samples
        return self._prepared(pairs, sizes, indices, DrawnPairs(drawn), seed=seed, fingerprint=fingerprint, notes=notes)


def _with_sizes(table: PairTable, *, decode: bool = False) -> tuple[PairTable, dict[str, tuple[int, int]]]:
    """Read the headers of all pictures, and on request the pictures; return the pairs that can be used and their sizes."""

    def measure(pair: Pair) -> tuple[int, int] | Problem:
        try:
            size = photo_size(pair.low)
            other = size if pair.high is None else photo_size(pair.high)
            if decode:  # much of what is wrong with a picture shows only then
                for path in filter(None, (pair.low, pair.high)):
                    read_photo(path)
        except DataError as error:
            return Problem("unreadable", str(error), (pair.name,))
        if size != other:
            return Problem("different sizes", different_sizes(pair, size, other), (pair.name,))
        return size

    with ThreadPoolExecutor() as pool:
        measured = list(pool.map(measure, table.pairs))
    problems = [found for found in measured if isinstance(found, Problem)]
    sizes = {pair.name: found for pair, found in zip(table.pairs, measured, strict=True) if not isinstance(found, Problem)}
    return table.without(problems), sizes
