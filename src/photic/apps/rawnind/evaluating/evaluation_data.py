"""Which pictures an evaluation is about: a split of the run's own data, or other data; no training pictures by accident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.core.schema import field_types
from photic.data.augment import Augmented
from photic.data.base import PHASES, DataConfig, PreparedData, SampleSet
from photic.models.raw_denoising import Measurement
from photic.tracking.run import Run
from photic.workflows.recipes import merge

SPLITS = (*PHASES, "all")
_USUAL = "raw_synthetic"


@dataclass(frozen=True, eq=False)
class Chosen:
    """What to evaluate on."""

    parts: tuple[SampleSet, ...]
    """Sets of whole pictures, as validation sees them."""
    split: str
    """``val``, ``test``, ``train`` or ``all``."""
    data: str
    """Where they come from, for people."""
    name: str
    """A name for a folder of results."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self.parts:
            for position in range(len(part)):
                yield part.sample(position, 0)


def changes_of(words: list[str]) -> dict[str, Any]:
    """Return changes such as ``data.root=FOLDER`` as values by their dotted keys.

    Raises:
        ConfigError: something else than data is to be changed.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.startswith("data."):
            raise ConfigError(f"'{word}': expected a change to the data, such as data.root=FOLDER or data.val_iso=[3200,12800]")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"'{word}': cannot be understood: {' '.join(str(error).split())}") from error
    return found


def choose(model: Path, changes: Mapping[str, Any], split: str | None, measurement: Measurement) -> Chosen:
    """Return the pictures to evaluate a model on.

    Without other data it is a split of the run's own, by default validation; other data (``data.name``, ``data.root``) are evaluated
    as a whole. A bundle has no data: they have to be named.

    Args:
        model: a run's folder, or a file of a model.
        changes: as :func:`changes_of` returns them.
        split: ``val``, ``test``, ``train``, ``all``; None chooses.
        measurement: what the network takes; the data are made to give it.

    Raises:
        ConfigError: a bundle without data, changes that are not possible, or data that give something else.
        DataError: the data cannot be read, have no such split, or the split has pictures that the run was trained on.
    """
    run = Run.open(model) if model.is_dir() else None
    kept: Mapping[str, Any] = run.config["data"] if run is not None else {"name": _USUAL}
    if run is None and not changes:
        raise ConfigError(
            f"{model}: does not hold its data; say which: data.root=FOLDER (raw files of low ISO, photographs), or data.name=..."
        )
    values = merge({"data": dict(kept)}, changes)["data"]
    elsewhere = run is None or any(_place(values.get(key)) != _place(kept.get(key)) for key in ("name", "root", "also", "seed"))
    config = _config(values, measurement)
    prepared = config.prepare(int(run.config.get("seed") or 0) if run is not None else 0)
    given = prepared.extras.get("measurement")
    if given is not None and given != measurement:
        raise ConfigError(f"data: give {given} pictures, the network takes {measurement}; choose other data (data.name=...)")
    wanted = split or ("all" if elsewhere else "val")
    there = [phase for phase in PHASES if len(prepared.splits.get(phase, ()))]
    phases = there if wanted == "all" else [wanted]
    if wanted != "all" and wanted not in there:
        raise DataError(f"the data have no {wanted} split (they have: {', '.join(there)}); give one of these with --split, or all")
    notes = list(prepared.notes)
    if run is not None:
        notes += _seen_in_training(run, prepared, phases, elsewhere=elsewhere)
    place = values.get("root")
    name = Path(str(place)).resolve().name if elsewhere and place is not None else str(values["name"]) if elsewhere else wanted
    return Chosen(
        tuple(_whole(prepared.splits[phase]) for phase in phases),
        wanted,
        str(values["name"]) if place is None else f"{values['name']} in {place}",
        name,
        tuple(notes),
    )


def _config(values: Mapping[str, Any], measurement: Measurement) -> DataConfig:
    """Return the checked configuration of data, made to give what the network takes."""
    kind = datasets.config_class(str(values["name"]), "data.name")
    fields = {key: value for key, value in values.items() if key != "name"}
    if "measurement" in field_types(kind):
        fields["measurement"] = measurement
    config = kind.from_dict(fields, "data")
    if not isinstance(config, DataConfig):
        raise ConfigError(f"data.name: '{values['name']}' is no data set; see `photic list datasets`")
    return config


def _whole(samples: SampleSet) -> SampleSet:
    """Return a training set's pictures as validation would see them."""
    return samples.samples if isinstance(samples, Augmented) else samples


def _seen_in_training(run: Run, prepared: PreparedData, phases: list[str], *, elsewhere: bool) -> list[str]:
    """Return what is to be said of pictures that the run was trained on.

    Raises:
        DataError: they are in a split of the run's own data that should have none.
    """
    trained = {_plain(name) for name in run.split.get("train", [])}
    seen = sorted({_plain(name) for phase in phases for name in prepared.names[phase]} & trained)
    if not seen:
        return []
    if elsewhere:
        return [
            f"{len(seen)} pictures are called like some that the run was trained on ({seen[0]}); if they are the same, numbers are too good"
        ]
    if "train" in phases:
        return ["among these are pictures that the run was trained on: the numbers say nothing about others"]
    raise DataError(
        f"{run.path}: its data have changed since, so that {', '.join(phases)} now has pictures that it was trained on ({seen[0]}); put "
        "the data back as they were, or evaluate on others (data.root=FOLDER)"
    )


def _plain(name: str) -> str:
    return name.partition("@ISO")[0]


def _place(value: Any) -> Any:
    """Return a path as it is from here, anything else as it is."""
    if isinstance(value, list | tuple):
        return [_place(item) for item in value]
    return str(Path(value).resolve()) if isinstance(value, str | Path) and "/" in str(value) else value
