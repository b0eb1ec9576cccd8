"""What there is to say about a trained model, as JSON values: gathered from a run, and checked in a bundle. Works without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from photic.core.errors import CheckpointError, DataError
from photic.core.shelf import SUFFIX
from photic.tasks.interface import GraphInterface

FORMAT = 1
"""Version of what a bundle says about itself."""
SUFFIXES = (SUFFIX, ".safetensors")
"""Endings of files that hold a trained model."""
MAX_SIDE_PX = 32_768
"""Largest side of ``image_size`` that is believed: a file must not make its reader allocate at will."""


def describe(config: Mapping[str, Any], results: Mapping[str, Any], name: str, terms: str | None = None) -> dict[str, Any]:
    """Return everything that is known about a model besides its weights, as JSON values without paths of this machine.

    Args:
        config: the resolved configuration of the run.
        results: the content of ``results.json``; what it lacks is null here.
        name: what the model is called.
        terms: on which terms the training data may be used.
    """
    data, best, portable = results.get("data") or {}, results.get("best") or {}, _portable(config)
    size, comparison = image_size(config), results.get("comparison") or {}
    # Starting weights belong to the machine that trained; a model that is used brings its own.
    foreign = {"pretrained": False, "weights": None}
    model = {key: foreign.get(key, value) for key, value in portable["model"].items()}
    return {
        "name": name,
        "config": {"task": portable["task"], "model": model},
        "preprocessing": {"image_size": size, **({} if size is None else {"resampling": "bilinear, averaging where a picture shrinks"})},
        "data": {
            "name": config["data"]["name"],
            **{key: data.get(key) for key in ("counts", "fingerprint", "split_strategy")},
            "notes": data.get("notes") or [],
            "terms": terms,
        },
        "training": {
            **{key: results.get(key) for key in ("recipe", "status", "finished", "stopped", "wall_seconds")},
            "photic": results.get("photic"),
            "best": {key: best.get(key) for key in ("epoch", "step", "monitor", "value")},
            "settings": {key: value for key, value in portable.items() if key != "output_dir"},
        },
        "metrics": {"val": best.get("val"), "test": results.get("test")},
        # Which of them count, the most important one first; empty where the task says it in its own way.
        "scores": [{key: value[key] for key in ("name", "label", "higher_is_better")} for value in comparison.get("values", ())],
        "parameters": results.get("parameters"),
        "requires": results.get("requires") or [],
        # The command line may hold paths and names that are nobody's business where the model goes.
        "environment": {key: value for key, value in (results.get("environment") or {}).items() if key != "command"},
        **({} if (noise := _noise(portable["data"])) is None else {"noise_model": noise}),
    }


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with what another one adds; objects that both have are merged, anything else is the other's.

    >>> merged({"preprocessing": {"image_size": None}, "name": "a"}, {"preprocessing": {"mean": 0.5}})
    {'preprocessing': {'image_size': None, 'mean': 0.5}, 'name': 'a'}
    """
    both = {key: merged(base[key], more[key]) for key in base.keys() & more.keys() if _are_objects(base[key], more[key])}
    return {**base, **more, **both}


def _are_objects(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _noise(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return which noise a network was trained for, where its data had noise put into them: by convention ``iso_min`` and ``iso_max``."""
    if data.get("iso_min") is None or data.get("iso_max") is None:
        return None
    known = {name: data[name] for name in ("row_noise", "noise_error", "profile_cameras") if data.get(name) is not None}
    return {"trained_iso": [data["iso_min"], data["iso_max"]], **known}


def run_name(folder: Path) -> str:
    """Return what a model is called after its run: experiment and id."""
    resolved = folder.resolve()
    return f"{resolved.parent.name}/{resolved.name}"


def image_size(config: Mapping[str, Any]) -> list[int] | None:
    """Return (height, width) that training resized pictures to, from a resolved configuration; None if it did not.

    The name is a convention: a dataset that resizes pictures has the field ``image_size``.
    """
    size = config["data"].get("image_size")
    return None if size is None else [int(side) for side in size]


def is_bundle(description: Mapping[str, Any]) -> bool:
    """Say whether a checkpoint's description is that of a bundle."""
    return "bundle" in description


def check_bundle(description: Mapping[str, Any], sealed: bool, source: Path | str) -> None:
    """Refuse a bundle that this version cannot vouch for.

    Raises:
        CheckpointError: it is newer, its seal is missing, or it does not say what a bundle must.
    """
    written = description["bundle"]
    if isinstance(written, int) and written > FORMAT:
        raise CheckpointError(f"{source}: written by a newer Photic (bundle format {written}, this one reads {FORMAT}); upgrade photic")
    if not sealed:
        raise CheckpointError(f"{source}: damaged: its checksum is missing; copy it again, or make it again")
    wrong = _wrong(description)
    if wrong:
        raise CheckpointError(f"{source}: not what `photic bundle` writes: missing or wrong: {', '.join(wrong)}; make it again")


def _gaps(expected: Mapping[str, Any], given: Any, place: str = "") -> list[str]:
    """Return the places of what is expected but not given: keys, and objects where there is something else."""
    if not isinstance(given, Mapping):
        return [place]
    gaps = [f"{place}.{key}".lstrip(".") for key in expected if key not in given]
    for key, value in expected.items():
        if isinstance(value, Mapping) and key in given:
            gaps += _gaps(value, given[key], f"{place}.{key}".lstrip("."))
    return gaps


def _wrong(description: Mapping[str, Any]) -> list[str]:
    """Return what is missing in a bundle's description, or of another form than :func:`describe` and a task give."""
    empty = describe({"task": {"name": ""}, "model": {"name": ""}, "data": {"name": ""}}, {}, "")
    gaps = _gaps({**empty, "created": "", "photic": "", "card": ""}, description)
    if gaps:
        return gaps
    size, classes, thresholds = (
        description["preprocessing"]["image_size"],
        description.get("classes", []),
        description.get("thresholds", []),
    )
    sized = isinstance(size, list) and len(size) == 2 and all(type(side) is int and 1 <= side <= MAX_SIDE_PX for side in size)
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    tuned = isinstance(thresholds, list) and all(type(value) in (int, float) and 0 <= value <= 1 for value in thresholds)
    found = {
        "bundle": description["bundle"] == FORMAT,
        "preprocessing.image_size": size is None or sized,
        "classes": named,
        "thresholds": tuned and named and len(thresholds) == len(classes),
    }
    wrong = [place for place, ok in found.items() if not ok]
    if "interface" in description:  # the first bundles came without
        try:
            GraphInterface.from_json(description["interface"])
        except DataError as error:
            wrong.append(str(error))
    return wrong


def _portable(value: Any) -> Any:
    """Replace absolute paths by their last part."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, str):
        path = next((path for path in (PurePosixPath(value), PureWindowsPath(value)) if path.is_absolute()), None)
        return value if path is None else path.name
    return value
