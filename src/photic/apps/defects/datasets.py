"""The datasets of the defects application: one config per layout, all prepared the same way."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from photic.apps.defects.layouts import class_folders, kaggle, label_csv, voc
from photic.apps.defects.layouts.table import LabelTable
from photic.apps.defects.rle import num_objects_in_runs, runs_of
from photic.apps.defects.samples import GreyPictures, LabelledPictures, PictureFiles, PictureSource
from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.core.schema import Range, Registered
from photic.data.augment import Augmented, build_augmentations
from photic.data.augment.base import AugmentationConfig
from photic.data.base import PHASES, DataConfig, PreparedData
from photic.data.near_duplicates import near_duplicate_groups
from photic.data.split import StratifiedSplitter, check_label_table, parse_strategy
from photic.data.split_file import read_split

Indices = dict[str, NDArray[np.int64]]
LAYOUTS = {"severstal": kaggle, "voc": voc, "label_csv": label_csv, "class_folders": class_folders}
"""Layouts by the name of their dataset, in the order in which a folder is tried against them."""


def detect_layout(root: Path) -> str | None:
    """Return the name of the first layout that a folder has; null if it has none."""
    return next((name for name, layout in LAYOUTS.items() if layout.detect(root)), None)


@dataclass(frozen=True, kw_only=True)
class DefectDataConfig(DataConfig):
    """What all labelled sets share: how they are split and augmented."""

    split_strategy: str = "stratified_70_15_15"
    """How to split: stratified_A_B_C or random_A_B_C with percentages of train, val and test, or fixed (the split given with the data)."""
    split_file: Path | None = None
    """A saved split.json (train, val, test: lists of names) to use again; comes before any strategy."""
    num_folds: Annotated[int | None, Range(ge=3)] = None
    """Cross-validation: test on one of so many stratified folds, validate on the next, train on the rest; null uses the strategy."""
    fold: Annotated[int, Range(ge=0)] = 0
    """Which fold is the test split, from 0; needs num_folds."""
    augment: Annotated[dict[str, AugmentationConfig | None], Registered("augmentations")] = field(default_factory=dict)
    """Augmentations of the training split by name; null or false switches one off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parse_strategy(self.split_strategy)
        except ConfigError as error:
            raise ConfigError(f"{self.registry_name}.{error}") from None
        if self.num_folds is None and self.fold != 0:
            raise ConfigError(f"{self.registry_name}.fold: {self.fold} without folds; set num_folds as well")
        if self.num_folds is not None and self.fold >= self.num_folds:
            raise ConfigError(f"{self.registry_name}.fold: expected 0 to {self.num_folds - 1} with {self.num_folds} folds, got {self.fold}")
        if self.num_folds is not None and self.split_file is not None:
            raise ConfigError(f"{self.registry_name}.num_folds: a split is given by split_file already; set one of the two to null")

    def _prepared(
        self,
        table: LabelTable,
        pictures: PictureSource,
        seed: int,
        stamps: Sequence[int],
        *,
        size: tuple[int, int] | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> PreparedData:
        """Split a table without problems and make its sample sets; ``stamps`` are numbers that change with the pictures."""
        labels = check_label_table(table.labels, table.classes)
        indices, notes = self._split(table, labels, seed, groups)
        _check_split(table, indices)
        steps = build_augmentations(self.augment)
        needing = [name for name, step in steps.items() if step.needs_mask]
        if needing and not table.runs:
            raise DataError(
                f"data.augment.{needing[0]} needs masks, and this set has none; switch it off with data.augment.{needing[0]}=null"
                " (boxes of a voc set serve as masks with data.box_masks=true)"
            )
        with_masks = bool(table.runs) and any(step.uses_mask or step.needs_mask for step in steps.values())
        splits: dict[str, Any] = {
            phase: LabelledPictures(table, rows, pictures, size, with_masks and phase == "train") for phase, rows in indices.items()
        }
        if steps:
            splits["train"] = Augmented(splits["train"], steps, seed)
        return PreparedData(
            splits=splits,
            names={phase: [table.names[row] for row in rows] for phase, rows in indices.items()},
            classes=table.classes,
            labels={phase: table.labels[rows] for phase, rows in indices.items()},
            objects={} if table.objects is None else {phase: table.objects[rows] for phase, rows in indices.items()},
            fingerprint=_fingerprint(table, stamps),
            notes=(*table.notes, *notes),
        )

    def _split(
        self, table: LabelTable, labels: NDArray[np.bool_], seed: int, groups: NDArray[np.int64] | None
    ) -> tuple[Indices, tuple[str, ...]]:
        if self.split_file is not None:
            return read_split(self.split_file, table.names)
        notes: list[str] = []
        if groups is not None:
            sizes = np.bincount(groups)
            if sizes.max(initial=0) > 1:
                notes.append(
                    f"near-duplicates stay in one split: {int(sizes[sizes > 1].sum())} pictures in {int((sizes > 1).sum())} groups"
                )
            else:
                groups = None
        if self.num_folds is not None:
            splitter = StratifiedSplitter(random_state=seed)
            folds = [fold for _, fold in splitter.k_fold(labels, self.num_folds, groups, table.classes)]
            test, val = folds[self.fold], folds[(self.fold + 1) % self.num_folds]
            train = np.setdiff1d(np.arange(len(labels)), np.concatenate([test, val]))
            return {"train": train, "val": val, "test": test}, (*notes, *splitter.notes)
        strategy = parse_strategy(self.split_strategy)
        if strategy.kind == "fixed":
            if table.phases is None:
                raise DataError(
                    "data.split_strategy=fixed: the data do not say which split a picture is in; set data.split_file=split.json"
                )
            phases = np.array(table.phases)
            return {phase: np.flatnonzero(phases == phase) for phase in PHASES}, tuple(notes)
        split = strategy.split(labels, seed, groups, table.classes)
        return dict(zip(PHASES, split.indices, strict=True)), (*notes, *split.notes)


@dataclass(frozen=True, kw_only=True)
class PictureFolderConfig(DefectDataConfig):
    """What all sets of picture files share."""

    layout: ClassVar[Any]

    root: Path | None = None
    """Folder of the data set; required."""
    image_size: tuple[int, int] | None = None
    """Height and width in pixels that pictures are resized to; null leaves them as they are, so that small defects survive."""
    group_near_duplicates: bool = True
    """Keep pictures that are nearly the same in one split (about 2 ms per native strip to find out)."""
    cache: bool = False
    """Keep decoded pictures in the memory of each loader process (1.2 MB per native strip)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size is not None and min(self.image_size) < 1:
            raise ConfigError(
                f"{self.registry_name}.image_size: expected height and width of at least 1 pixel, got {list(self.image_size)}"
            )

    def prepare(self, seed: int) -> PreparedData:
        """Read the data set and split it.

        Raises:
            DataError: files are missing, unreadable or contradict each other; the message names them.
        """
        table = self.read_table()
        table.refuse_problems()
        if self.image_size is None:
            table.refuse_mixed_sizes()
        paths = [table.path(row) for row in range(len(table.names))]
        wanted = self.group_near_duplicates and self.split_file is None
        groups = near_duplicate_groups(paths) if wanted else None
        pictures = PictureFiles(table, self.image_size, self.cache)
        stamps = [path.stat().st_size for path in paths]
        return self._prepared(table, pictures, seed, stamps, size=self.image_size, groups=groups)

    def read_table(self) -> LabelTable:
        """Read labels, masks and picture headers; what is wrong with single files is in the table's ``problems``.

        Raises:
            DataError: there is no such folder, or nothing in it can be read as this layout.
        """
        expected = f"{self.registry_name} expects {self.layout.EXPECTED}"
        if self.root is None:
            raise DataError(f"data.root is not set; set data.root=FOLDER ({expected})")
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "no such folder"
            raise DataError(f"data.root={self.root}: {what} (from {Path.cwd()}); {expected}")
        if not any(self.root.iterdir()):
            raise DataError(f"data.root={self.root}: this folder is empty; {expected}")
        try:
            return self._read(self.root)
        except DataError as error:
            other = None if self.layout.detect(self.root) else detect_layout(self.root)
            if other is None:
                raise
            raise DataError(f"{error}. This folder looks like '{other}': set data.name={other}") from error

    def _read(self, root: Path) -> LabelTable:
        raise NotImplementedError


@datasets.register("severstal")
@dataclass(frozen=True, kw_only=True)
class SeverstalConfig(PictureFolderConfig):
    """Kaggle's layout: train_images/ with run-length masks in train.csv, perhaps a labels.csv.

    Source: Severstal: Steel Defect Detection, Kaggle 2019 (12,568 strips of 256 x 1600 pixels, four classes).
    """

    layout: ClassVar[Any] = kaggle

    classes: tuple[str, ...] = ("defect_1", "defect_2", "defect_3", "defect_4")
    """Names of classes 1, 2, ...: columns of the label table."""
    images: str = "train_images"
    """Folder of the training pictures, in the root."""
    masks_file: str = "train.csv"
    """Run-length masks, in the root: ImageId, ClassId (or ImageId_ClassId), EncodedPixels."""
    labels_file: str = "labels.csv"
    """Label table, in the root: image_id, a 0/1 column per class, perhaps file. Where it exists, its labels and file names hold."""
    unlabelled: Literal["error", "ignore"] = "error"
    """What to do about pictures that the label table lacks."""

    def _read(self, root: Path) -> LabelTable:
        return kaggle.read(
            root, self.classes, images=self.images, masks_file=self.masks_file, labels_file=self.labels_file,
            ignore_unlabelled=self.unlabelled == "ignore",
        )  # fmt: skip


@datasets.register("label_csv")
@dataclass(frozen=True, kw_only=True)
class LabelCsvConfig(PictureFolderConfig):
    """Any pictures with a CSV: a column of file names and a 0/1 column per class."""

    layout: ClassVar[Any] = label_csv

    labels_file: Path = Path("labels.csv")
    """The CSV file, in the root or absolute."""
    file_column: str = "file"
    """Column of picture files."""
    class_columns: tuple[str, ...] | None = None
    """Columns of the classes; null takes every column that holds only 0 and 1."""
    images: str = "."
    """Folder that the file names are relative to, in the root."""
    split_column: str | None = None
    """Column that says train, val or test, for split_strategy=fixed."""
    unlabelled: Literal["error", "ignore"] = "error"
    """What to do about pictures without a row in folders that hold labelled ones."""

    def _read(self, root: Path) -> LabelTable:
        return label_csv.read(
            root, self.labels_file, file_column=self.file_column, class_columns=self.class_columns, images=self.images,
            split_column=self.split_column, ignore_unlabelled=self.unlabelled == "ignore",
        )  # fmt: skip


@datasets.register("class_folders")
@dataclass(frozen=True, kw_only=True)
class ClassFoldersConfig(PictureFolderConfig):
    """A folder per class with pictures in it."""

    layout: ClassVar[Any] = class_folders

    clean_folder: str | None = None
    """Folder of pictures without a defect (such as good); it is no class. Null if there is none."""

    def _read(self, root: Path) -> LabelTable:
        return class_folders.read(root, self.clean_folder)


@datasets.register("voc")
@dataclass(frozen=True, kw_only=True)
class VocConfig(PictureFolderConfig):
    """Pascal VOC: an XML file per picture; a class is present if an object of it is (NEU-DET).

    Source: Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge".
    """

    layout: ClassVar[Any] = voc

    classes: tuple[str, ...] | None = None
    """Names of the classes, in order; null takes those of the objects, sorted."""
    box_masks: bool = False
    """Use the objects' boxes as masks, for augmentations that need masks."""
    unlabelled: Literal["error", "ignore"] = "error"
    """What to do about pictures without an XML file."""

    def _read(self, root: Path) -> LabelTable:
        return voc.read(root, self.classes, box_masks=self.box_masks, ignore_unlabelled=self.unlabelled == "ignore")


@datasets.register("synthetic_strips")
@dataclass(frozen=True, kw_only=True)
class SyntheticStripsConfig(DefectDataConfig):
    """Drawn strips with scratches, patches, inclusions and pits, masks exact; the run's seed draws them."""

    num_samples: Annotated[int, Range(ge=20)] = 400
    """Strips in all splits together; about 600 of 64 x 400 are drawn per second, and kept in memory (1 byte per pixel)."""
    height: Annotated[int, Range(ge=32)] = 64
    """Pixels."""
    width: Annotated[int, Range(ge=64)] = 400
    """Pixels."""

    def prepare(self, seed: int) -> PreparedData:
        """Draw the strips and split them.

        Raises:
            DataError: so few strips were drawn that a class is missing.
        """
        pictures, labels, runs = [], [], {}
        objects = np.zeros((self.num_samples, len(CLASSES)), dtype=np.int64)
        for row in range(self.num_samples):
            strip = draw_strip(seed, row, self.height, self.width)
            pictures.append(strip.picture)
            labels.append(strip.labels)
            for column in np.flatnonzero(strip.labels).tolist():
                runs[row, column] = runs_of(strip.masks[column])
                objects[row, column] = num_objects_in_runs(runs[row, column], self.height)
        names = tuple(f"strip_{row:05d}" for row in range(self.num_samples))
        sizes = ((self.height, self.width),) * self.num_samples
        table = LabelTable(Path(), CLASSES, names, np.array(labels), sizes, runs, objects)
        stamps = [zlib.crc32(picture.tobytes()) for picture in pictures]
        return self._prepared(table, GreyPictures(pictures), seed, stamps)


def _check_split(table: LabelTable, indices: Indices) -> None:
    """Refuse splits that cannot be trained on or measured."""
    for phase, rows in indices.items():
        if len(rows) == 0:
            raise DataError(f"the {phase} split is empty; {len(table.names)} pictures in all. Choose another split or add pictures")
        positives = table.labels[rows].sum(axis=0, dtype=int)
        one_sided = (positives == 0) | (positives == len(rows))
        if phase == "train" and one_sided.any():
            column = int(one_sided.argmax())
            total = int(table.labels[:, column].sum())
            raise DataError(
                f"the train split has {positives[column]} positives of class '{table.classes[column]}' among {len(rows)} pictures"
                f" ({total} among all {len(table.names)}); a classifier needs both kinds to learn it. Add pictures, choose another"
                " split (data.split_strategy, seed) or leave the class out"
            )
        if one_sided.all():
            raise DataError(
                f"the {phase} split has one kind of picture only: each class is in all or none of its {len(rows)} pictures, so nothing can"
                " be measured on it. Give it a larger share (data.split_strategy=stratified_A_B_C) or add pictures"
            )


def _fingerprint(table: LabelTable, stamps: Sequence[int]) -> str:
    digest = hashlib.sha256(json.dumps([table.classes, table.names, list(stamps)]).encode())
    digest.update(np.ascontiguousarray(table.labels, dtype=np.uint8).tobytes())
    return digest.hexdigest()
