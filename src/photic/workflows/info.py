"""What is known about a bundle, a checkpoint, a run, or a file of an application, read without torch and without building anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photic.core.container import read_header, verify_seal
from photic.core.errors import CheckpointError, DataError, PhoticError
from photic.core.plugins import describer_of, load_reference, model_source
from photic.inference.description import SUFFIXES, check_bundle, describe, is_bundle, run_name
from photic.tracking.run import Run

_TOLD = ("classes", "thresholds", "input", "processing", "ptychography")
"""What a task says of itself in the results of a run."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a trained model."""

    kind: str
    """``bundle``, ``checkpoint`` or ``run``."""
    path: Path
    """Where it lies."""
    facts: dict[str, Any]
    """As :func:`photic.inference.description.describe` gives them, with class names and thresholds; null where nothing is known."""
    file: dict[str, Any] | None
    """Size, checksum, number of tensors and of values in them; None for a run."""

    @property
    def card(self) -> str | None:
        """The model card, Markdown; only a bundle has one."""
        return self.facts.get("card")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"kind": self.kind, "path": str(self.path), "file": self.file, **self.facts}


@dataclass(frozen=True)
class FileInfo:
    """What is known about a file that an application reads or writes, as its plug-in's describer tells it."""

    kind: str
    """What it is, in a few words."""
    path: Path
    """Where it lies."""
    rows: tuple[tuple[str, str], ...]
    """What a reader wants to know, in order: names and texts."""
    facts: dict[str, Any]
    """The same and more as JSON values, for programs."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"kind": self.kind, "path": str(self.path), **self.facts}


def file_info(path: Path | str) -> FileInfo | None:
    """Return what is known about a file whose ending a plug-in describes; None for folders and other files.

    Raises:
        DataError: there is no such file.
        BitstreamError: a compressed file is damaged.
    """
    path = Path(path)
    describer = None if path.is_dir() else describer_of(path)
    if describer is None:
        return None
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    found: FileInfo = load_reference(describer)(path)
    return found


def info(path: Path | str) -> ModelInfo:
    """Return what is known about a trained model. A sealed file is checked as a whole.

    Args:
        path: a bundle, a checkpoint, a run folder, or the name of a model (`photic models` lists them).

    Raises:
        CheckpointError: the file is missing, damaged, altered, or of a newer format.
        DataError: the folder is no run.
        UnknownNameError: neither a path nor the name of a model.
        ConfigError: several models go by this name.
    """
    path = Path(path)
    if path.suffix in SUFFIXES and not (path / "config.yaml").is_file():
        return _of_file(path)
    path = model_source(path)
    if path.suffix in SUFFIXES and path.is_file():
        return _of_file(path)
    try:
        run = Run.open(path)
    except DataError:
        if path.is_file():
            return _of_file(path)  # the reader says what it is
        raise
    config, results = run.config, run.results
    told = {key: results[key] for key in _TOLD if results.get(key) is not None}
    return ModelInfo("run", run.path, {**describe(config, results, run_name(run.path)), **told}, None)


def task_of(path: Path | str) -> str | None:
    """Return the name of the task a bundle, checkpoint or run was trained for; None if the path is none of them, or cannot be read.

    Whoever uses the model says what is wrong with it; this only finds out who that is.
    """
    path = Path(path)
    try:
        config = read_header(path).description.get("config") if path.is_file() else Run.open(path).config
    except PhoticError:
        return None
    task = config.get("task") if isinstance(config, Mapping) else None
    name = task.get("name") if isinstance(task, Mapping) else None
    return name if isinstance(name, str) else None


def _of_file(path: Path) -> ModelInfo:
    header = read_header(path)
    if header.sha256 is not None:
        verify_seal(path, header.sha256)
    description = header.description
    if not isinstance(description.get("config"), Mapping):
        raise CheckpointError(f"{path}: holds no configuration; give a bundle, or a checkpoint that Photic's training wrote")
    file = {
        "size_bytes": path.stat().st_size,
        "sha256": header.sha256,
        "num_tensors": len(header.shapes),
        "num_values": sum(math.prod(shape) for shape in header.shapes.values()),
    }
    if is_bundle(description):
        check_bundle(description, header.sha256 is not None, path)
        return ModelInfo("bundle", path, description, file)
    own = {key: value for key, value in description.items() if key != "config"}
    try:
        facts = describe(description["config"], {}, path.name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: its configuration is not what Photic's training writes ({error!r}); use another checkpoint"
        ) from error
    return ModelInfo("checkpoint", path, {**facts, **own}, file)
