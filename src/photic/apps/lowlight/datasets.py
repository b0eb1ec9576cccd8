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
from numpy.typing import NDArray

from photic.apps.lowlight.pairing import Pair, PairTable, Problem, read_pairs, scene_numbers, table_fingerprint
from photic.apps.lowlight.photo import photo_size
from photic.apps.lowlight.samples import DrawnPairs, PairCrops, PairFiles, PairSource, WholePairs, different_sizes
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.core.schema import Range
from photic.data.base import PHASES, DataConfig, PreparedData
from photic.data.split import random_split

Indices = dict[str, NDArray[np.int64]]
UNPAIRED_PREFIX = "unpaired/"
"""Comes before the names of dark pictures without truth that are mixed into training."""


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"{self.registry_name}.val_fraction: {self.val_fraction:g} and test_fraction {self.test_fraction:g} leave no training"
            )

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
        splits["train"] = PairCrops(
            splits["train"],
            seed,
            crop_px=crop_px,
            crops_per_picture=self.crops_per_picture,
            flips=self.flips,
            rotations=self.rotations,
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
    """What to do about files without a partner, unreadable files and pairs of two sizes; skipped ones are counted in the run's notes."""
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
        return _with_sizes(read_pairs(self.root, self.pairing))

    def _unpaired(self, sizes: dict[str, tuple[int, int]]) -> tuple[Pair, ...]:
        """Return the dark pictures to mix into training; their sizes are added."""
        if self.unpaired_root is None:
            return ()
        try:
            table, found = _with_sizes(read_pairs(self.unpaired_root, "none"))
            if self.faulty == "refuse":
                table.refuse_problems()
        except DataError as error:
            raise DataError(f"data.unpaired_root: {error}") from error
        sizes.update({UNPAIRED_PREFIX + name: size for name, size in found.items()})
        return tuple(dataclasses.replace(pair, name=UNPAIRED_PREFIX + pair.name) for pair in table.pairs)

    def _split(self, table: PairTable) -> tuple[Indices, tuple[str, ...]]:
        if self.split_file is not None:
            return read_split(self.split_file, [pair.name for pair in table.pairs])
        return split_by_scene(table, self.val_fraction, self.test_fraction, self.split_seed)


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
        if self.split_file is not None:
            indices, notes = read_split(self.split_file, names)
        else:
            indices, notes = split_by_scene(table, self.val_fraction, self.test_fraction, self.split_seed)
        stamp = json.dumps(
            [[name, zlib.crc32(low.tobytes()), zlib.crc32(high.tobytes())] for name, (low, high) in zip(names, drawn, strict=True)]
        )
        fingerprint = hashlib.sha256(stamp.encode()).hexdigest()
        sizes = [(self.size_px, self.size_px)] * self.num_samples
        return self._prepared(pairs, sizes, indices, DrawnPairs(drawn), seed=seed, fingerprint=fingerprint, notes=notes)


def split_by_scene(table: PairTable, val_fraction: float, test_fraction: float = 0.0, seed: int = 0) -> tuple[Indices, tuple[str, ...]]:
    """Split pairs so that no scene is on two sides; parts given by the folders stay as they are.

    Args:
        table: the pairs.
        val_fraction: share of the pairs for validation.
        test_fraction: share for the test; 0 makes none.
        seed: draws which scenes go where.

    Returns:
        Rows of ``train``, ``val`` and perhaps ``test``, and what a user should know.

    Raises:
        DataError: there are too few scenes, or a scene lies in two parts that the folders give.
    """
    scenes = np.array(scene_numbers(table))
    given = np.array([pair.phase or "train" for pair in table.pairs])
    _refuse_leaks(table, scenes, given)
    fixed = {phase: np.flatnonzero(given == phase) for phase in ("val", "test") if (given == phase).any()}
    pool = np.flatnonzero(given == "train")
    shares = {phase: share for phase, share in (("val", val_fraction), ("test", test_fraction)) if share and phase not in fixed}
    num_scenes = len(np.unique(scenes[pool]))
    if num_scenes < len(shares) + 1:
        raise DataError(
            f"{table.root}: {num_scenes} scene{'s' if num_scenes != 1 else ''} cannot be split into train, {', '.join(shares)} without"
            " a scene on two sides; add pictures, or give a split in data.split_file"
        )
    indices: Indices = dict(fixed)
    if shares:
        ratios = np.array([1 - sum(shares.values()), *shares.values()])
        parts = random_split(scenes[pool], ratios, seed)
        indices |= {phase: pool[rows] for phase, rows in zip(("train", *shares), parts, strict=True)}
    else:
        indices["train"] = pool
    notes = tuple(f"{phase}: the part of that name in the folders ({len(rows)} pictures)" for phase, rows in fixed.items())
    shared = len(table.pairs) - int(scenes.max()) - 1
    if shared:
        notes = (*notes, f"{int(scenes.max()) + 1} scenes among {len(table.pairs)} pictures; pictures of one scene stay in one split")
    return {phase: indices[phase] for phase in PHASES if phase in indices}, notes


def read_split(path: Path, names: list[str]) -> tuple[Indices, tuple[str, ...]]:
    """Read a saved split: phase to list of names. Names of mixed-in pictures without truth are none of its business.

    Raises:
        DataError: no such file, no split, a name that is not in the data or in two parts.
    """
    where = f"data.split_file={path}"
    if not path.is_file():
        raise DataError(f"{where}: no such file; expected the split.json of a run")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{where}: not JSON that can be read ({error}); expected the split.json of a run") from error
    known = isinstance(content, dict) and {"train", "val"} <= set(content) <= set(PHASES)
    if not known or not all(isinstance(part, list) for part in content.values()):
        raise DataError(f"{where}: expected lists of names under train, val and perhaps test, as in the split.json of a run")
    rows = {name: row for row, name in enumerate(names)}
    used: dict[str, str] = {}
    parts = {phase: [name for name in part if not str(name).startswith(UNPAIRED_PREFIX)] for phase, part in content.items()}
    for phase, part in parts.items():
        for name in part:
            if name not in rows:
                missing = sum(other not in rows for others in parts.values() for other in others)
                raise DataError(
                    f"{where}: '{name}' ({phase}) is not in the data ({missing} such names); use the data the split was made for"
                )
            if name in used:
                raise DataError(f"{where}: '{name}' is in {used[name]} and again in {phase}; a picture belongs to one split")
            used[name] = phase
    for phase in ("train", "val"):
        if not parts[phase]:
            raise DataError(f"{where}: the {phase} split is empty")
    left_out = len(rows) - len(used)
    notes = (f"{left_out} pictures are in no split of {path.name} and are left out",) if left_out else ()
    return {phase: np.array([rows[name] for name in parts[phase]], dtype=np.int64) for phase in PHASES if parts.get(phase)}, notes


def _refuse_leaks(table: PairTable, scenes: NDArray[np.int64], given: NDArray[np.str_]) -> None:
    for scene in np.unique(scenes):
        own = np.flatnonzero(scenes == scene)
        if len(set(given[own].tolist())) > 1:
            listed = ", ".join(f"{table.pairs[row].name} ({given[row]})" for row in own[:4])
            raise DataError(
                f"{table.root}: one scene lies in two parts that the folders give: {listed}; what is trained on would be measured on. "
                "Move these pictures into one part, or give a split in data.split_file"
            )


def _with_sizes(table: PairTable) -> tuple[PairTable, dict[str, tuple[int, int]]]:
    """Read the headers of all pictures; return the pairs that can be used and their sizes."""

    def measure(pair: Pair) -> tuple[int, int] | Problem:
        try:
            size = photo_size(pair.low)
            other = size if pair.high is None else photo_size(pair.high)
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
