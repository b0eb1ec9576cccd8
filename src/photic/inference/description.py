"""What there is to say about a trained model, as JSON values: gathered from a run, and checked in a bundle. Works without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
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
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MAX_DEPTH = 32
"""Deepest nesting of a description that is believed."""


def describe(config: Mapping[str, Any], results: Mapping[str, Any], name: str, terms: str | None = None) -> dict[str, Any]:
    """Return everything that is known about a model besides its weights, as JSON values without paths of this machine.

    Args:
        config: the resolved configuration of the run.
        results: the content of ``results.json``; what it lacks is null here.
        name: what the model is called.
        terms: on which terms the training data may be used.
    """
    data, best, portable = results.get("data") or {}, results.get("best") or {}, _portable(config)
    comparison = results.get("comparison") or {}
    # Starting weights belong to the machine that trained; a model that is used brings its own.
    foreign = {"pretrained": False, "weights": None}
    model = {key: foreign.get(key, value) for key, value in portable["model"].items()}
    return {
        "name": name,
        "config": {"task": portable["task"], "model": model},
        "preprocessing": {"image_size": image_size(config)},
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
        "samples": comparison.get("samples"),
        "parameters": results.get("parameters"),
        "requires": results.get("requires") or [],
        # The command line may hold paths and names that are nobody's business where the model goes.
        "environment": {key: value for key, value in (results.get("environment") or {}).items() if key != "command"},
        **({} if (noise := _noise(portable["data"])) is None else {"noise_model": noise}),
    }


def _noise(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return which noise a network was trained for, where its data had noise put into them: by convention ``iso_min`` and ``iso_max``."""
    if data.get("iso_min") is None or data.get("iso_max") is None:
        return None
    known = {name: data[name] for name in ("row_noise", "noise_error", "profile_cameras") if data.get(name) is not None}
    return {"trained_for_iso": [data["iso_min"], data["iso_max"]], **known}


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
    del empty["scores"], empty["samples"]  # the first bundles came without
    gaps = _gaps({**empty, "created": "", "photic": "", "card": ""}, description)
    if gaps:
        return gaps
    wrong = [place for place, fits in _FORMS.items() if not fits(_at(description, place))]
    wrong += [] if description["bundle"] == FORMAT else ["bundle"]
    if not wrong and len(description.get("thresholds") or ()) != len(description.get("classes") or ()):
        wrong.append("thresholds")
    if "interface" in description:  # the first bundles came without
        try:
            GraphInterface.from_json(description["interface"])
        except DataError as error:
            wrong.append(str(error))
    return wrong or _not_plain(description)


def _at(description: Mapping[str, Any], place: str) -> Any:
    """Return the value at a place such as ``data.terms``; None where there is none, as bundles of earlier versions have it."""
    found: Any = description
    for key in place.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _not_plain(description: Mapping[str, Any]) -> list[str]:
    """Return a place that is nested too deeply to be anything of ours, a number that JSON has not, or text that would steer a terminal."""
    waiting: list[tuple[str, int, Any]] = [("", 0, description)]
    while waiting:
        place, depth, value = waiting.pop()
        steers = isinstance(value, str) and _STEERING.search(value)
        if depth > MAX_DEPTH or steers or _STEERING.search(place) or (isinstance(value, float) and not math.isfinite(value)):
            return ["".join(letter if letter.isprintable() else "?" for letter in place.lstrip("."))[:100]]
        inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{place}.{key}", depth + 1, item) for key, item in inside]
    return []


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _listed(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _is_score(value: Any) -> bool:
    return _is_named(value) and isinstance(value.get("label"), str) and isinstance(value.get("higher_is_better"), bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, Mapping) and all(type(number) is int for number in value.values())


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(side) is int and 1 <= side <= MAX_SIDE_PX for side in value)


_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "created", "photic", "card", "data.name"), _is_text),
    **dict.fromkeys(("config.task", "config.model"), _is_named),
    **dict.fromkeys(("environment", "training.settings"), _is_object),
    **dict.fromkeys(("data.fingerprint", "data.split_strategy", "data.terms", "input", "samples"), _optional(_is_text)),
    **dict.fromkeys(("training.recipe", "training.status", "training.finished", "training.stopped"), _optional(_is_text)),
    **dict.fromkeys(("training.photic", "training.best.monitor"), _optional(_is_text)),
    **dict.fromkeys(("training.wall_seconds", "training.best.epoch", "training.best.step", "training.best.value"), _optional(_is_number)),
    **dict.fromkeys(("metrics.val", "metrics.test", "processing", "noise_model", "ptychography"), _optional(_is_object)),
    **dict.fromkeys(("data.counts", "parameters"), _optional(_is_count)),
    **dict.fromkeys(("data.notes", "requires"), _listed(_is_text)),
    "preprocessing.image_size": _optional(_is_size),
    "scores": _optional(_listed(_is_score)),
    "classes": _optional(_listed(_is_text)),
    "thresholds": _optional(_listed(lambda value: _is_number(value) and 0 <= value <= 1)),
}
"""What stands at which place of a bundle's description; places that may be missing are optional."""


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
