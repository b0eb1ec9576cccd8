"""Which pictures an evaluation is about: a run's validation split, or everything in a folder; no training pictures by accident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from photic.apps.lowlight.datasets import LowLightDataConfig, LowLightPairsConfig
from photic.apps.lowlight.pairing import Pair
from photic.apps.lowlight.samples import PairCrops, PairFiles, PairSource, WholePairs
from photic.apps.lowlight.scenes import UNPAIRED_PREFIX
from photic.core.errors import ConfigError, DataError
from photic.core.schema import field_types
from photic.data.base import PHASES
from photic.data.photo.depth import as_kind
from photic.tracking.run import Run
from photic.workflows.stored import config_of

Picture = NDArray[np.float32]
SPLITS = (*PHASES, "all")


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures by name, dark and true, read one at a time."""

    source: PairSource
    rows: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, Picture, Picture | None]]:
        for row, name in zip(self.rows, self.names, strict=True):
            low, high = self.source.pictures(row)
            yield name, as_kind(low, np.float32), None if high is None else as_kind(high, np.float32)

    def pairs(self) -> Iterator[tuple[Picture, Picture]]:
        """Yield dark and true picture of those that have a true one."""
        for _, low, high in self:
            if high is not None:
                yield low, high


@dataclass(frozen=True, eq=False)
class Chosen:
    """What to evaluate on."""

    pictures: PictureSet
    split: str
    """``val``, ``test``, ``train`` or ``all``."""
    data: str
    """Where they lie, for people."""
    name: str
    """A name for a folder of results."""
    training: PictureSet | None
    """What the run was trained on, for methods that learn from pairs; None if that is not known or not there."""
    fitted_to: str
    """A sentence about that."""
    notes: tuple[str, ...] = ()


def changes_of(words: list[str]) -> dict[str, Any]:
    """Return changes such as ``data.root=FOLDER`` as fields of the data's configuration.

    Raises:
        ConfigError: something else than data is to be changed, or it is no such field.
    """
    found: dict[str, Any] = {}
    known = field_types(LowLightPairsConfig)
    for word in words:
        key, sign, value = word.partition("=")
        name = key.removeprefix("data.")
        if not sign or not key.startswith("data.") or name not in known:
            raise ConfigError(f"'{word}': expected a change to the data, such as data.root=FOLDER, data.pairing=none or data.faulty=skip")
        found[name] = yaml.safe_load(value)
    return found


def choose(model: Path, changes: Mapping[str, Any], split: str | None = None) -> Chosen:
    """Return the pictures to evaluate a model on.

    Without another folder it is a split that was saved with the run, by default validation. Everything in another folder is evaluated,
    unless it holds the very data of the run at another place: then it is the run's split, too.

    Args:
        model: a run's folder, or a file of a model.
        changes: fields of the data.
        split: ``val``, ``test``, ``train``, ``all``; None chooses.

    Raises:
        ConfigError: a bundle without a folder of pictures, or a split that a folder does not have.
        DataError: the pictures are not there, or the split has none.
    """
    run = Run.open(model) if model.is_dir() else None
    if run is None:
        if changes.get("root") is None:
            raise ConfigError(f"{model}: does not hold its data; say where the pictures are: data.root=FOLDER")
        return _everything(changes, split, None, "Nothing is known of its training pictures, so no curve and no histogram is fitted.")
    kept = config_of(run, {}).data
    if not isinstance(kept, LowLightDataConfig):
        raise ConfigError(f"{run.path}: was not trained on low-light pictures ({kept.registry_name})")
    root = changes.get("root")
    elsewhere = root is not None and not _same_place(root, getattr(kept, "root", None))
    if not elsewhere:
        return _of_run(run, kept, changes, split or "val")
    moved = _moved(run, kept, changes)
    if moved is not None:
        return moved if split in (None, "val") else _of_run(run, kept, changes, split or "val")
    training, sentence = _training(run, kept)
    return _everything(changes, split, training, sentence)


def _of_run(run: Run, kept: LowLightDataConfig, changes: Mapping[str, Any], split: str) -> Chosen:
    """Return a split of the run's own data, as saved with the run."""
    if split == "all":
        parts = [_set_of(run, kept, phase, changes) for phase in PHASES if phase in run.split]
        rows = [(row, name) for part in parts for row, name in zip(part.rows, part.names, strict=True)]
        pictures = PictureSet(parts[0].source, tuple(row for row, _ in rows), tuple(name for _, name in rows))
    else:
        if not run.split.get(split):
            there = ", ".join(phase for phase in PHASES if run.split.get(phase))
            raise DataError(f"{run.path}: has no {split} split (it has: {there}); give one of these with --split")
        pictures = _set_of(run, kept, split, changes)
    training = _set_of(run, kept, "train", changes)
    sentence = _sentence(training)
    notes: tuple[str, ...] = ()
    if split in ("train", "all"):
        notes = ("these are pictures the run was trained on: the numbers say nothing about others",)
    place = changes.get("root") or getattr(kept, "root", None) or kept.registry_name
    return Chosen(pictures, split, str(place), split, _fittable(training), sentence, notes)


def _moved(run: Run, kept: LowLightDataConfig, changes: Mapping[str, Any]) -> Chosen | None:
    """Return the validation split if a folder holds the data of the run at another place, else None."""
    trained_on = (run.results.get("data") or {}).get("fingerprint")
    if not isinstance(kept, LowLightPairsConfig) or trained_on is None:
        return None
    try:
        prepared = kept.replace(**changes, split_file=run.path / "split.json").prepare(0)
    except DataError:
        return None  # other data: they are evaluated as a whole, and read again with what is wrong with them
    if prepared.fingerprint != trained_on:
        return None
    found = _of_run(run, kept, changes, "val")
    note = "the folder holds the run's own data; evaluated is its validation split (--split takes another)"
    return Chosen(found.pictures, found.split, found.data, found.name, found.training, found.fitted_to, (note,))


def _set_of(run: Run, kept: LowLightDataConfig, phase: str, changes: Mapping[str, Any]) -> PictureSet:
    """Return a split of the run's data, by the names saved with the run."""
    config = kept.replace(**{**changes, "split_file": run.path / "split.json"})
    samples: Any = config.prepare(0).splits[phase]
    whole = samples.samples if isinstance(samples, PairCrops) else samples
    assert isinstance(whole, WholePairs)
    rows = [(int(row), name) for row, name in zip(whole.rows, whole.names, strict=True) if not name.startswith(UNPAIRED_PREFIX)]
    return PictureSet(whole.source, tuple(row for row, _ in rows), tuple(name for _, name in rows))


def _training(run: Run, kept: LowLightDataConfig) -> tuple[PictureSet | None, str]:
    try:
        training = _set_of(run, kept, "train", {})
    except DataError as error:
        return None, f"The run's training pictures cannot be read ({str(error).splitlines()[0]}), so no curve and no histogram is fitted."
    return _fittable(training), _sentence(training)


def _everything(changes: Mapping[str, Any], split: str | None, training: PictureSet | None, sentence: str) -> Chosen:
    """Return all pictures of a folder, paired where it has pairs."""
    if split not in (None, "all"):
        raise ConfigError(f"--split {split}: only the data of a run have a split; everything in {changes['root']} is evaluated")
    config = LowLightPairsConfig(**dict(changes))
    notes: tuple[str, ...] = ()
    try:
        table, _ = config.read_table()
    except DataError as error:
        if "pairing" in changes or not _holds_pictures(config.root):
            raise
        table, _ = config.replace(pairing="none").read_table()
        reason = str(error).splitlines()[0]
        notes = (f"no true pictures were found, so only what needs none is measured ({reason})",)
    if config.faulty == "refuse":
        table.refuse_problems()
    elif table.problems:
        notes = (*notes, f"{len(table.problems)} faulty files or pairs were left out")
    if not table.pairs:
        raise DataError(f"data.root={config.root}: no usable pictures ({len(table.problems)} were left out)")
    pairs: tuple[Pair, ...] = table.pairs
    pictures = PictureSet(PairFiles(pairs, 0), tuple(range(len(pairs))), tuple(pair.name for pair in pairs))
    return Chosen(pictures, "all", str(config.root), Path(str(config.root)).resolve().name, training, sentence, notes)


def _holds_pictures(root: Path | None) -> bool:
    if root is None or not root.is_dir():
        return False
    from photic.data.images import list_images

    try:
        return bool(list_images(root))
    except DataError:
        return False


def _fittable(training: PictureSet) -> PictureSet | None:
    """Return what a curve can be fitted to; None where the training pictures have no true ones."""
    return training if next(training.pairs(), None) is not None else None


def _sentence(training: PictureSet) -> str:
    if _fittable(training) is None:
        return "The run was trained without true pictures, so no curve and no histogram is fitted."
    return f"Tone curve and histogram are fitted to the run's {len(training)} training pictures."


def _same_place(first: Any, second: Any) -> bool:
    return second is not None and Path(str(first)).resolve() == Path(str(second)).resolve()
