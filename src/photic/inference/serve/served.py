"""A model with everything that serving it needs: its name, form, worker, and what there is to say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from photic.core.container import read_header
from photic.core.files import sha256_of
from photic.inference.file_model import BatchFileModel, FileModel
from photic.inference.serve.metrics import ServeMetrics
from photic.inference.serve.options import Form, form_of
from photic.inference.serve.problems import without_paths
from photic.inference.serve.settings import ServeConfig
from photic.inference.serve.worker import Worker


@dataclass(frozen=True)
class Served:
    """A model that is served."""

    name: str
    model: FileModel
    form: Form
    worker: Worker
    facts: dict[str, Any]
    """What ``GET /v1/models/{name}`` says, as JSON values."""

    @property
    def gives_file(self) -> bool:
        """Whether the answer is a file, not values alone."""
        return bool(self.model.writable)

    @property
    def summary(self) -> dict[str, Any]:
        """What the list of models says."""
        return {key: self.facts[key] for key in _SUMMARY}

    def names(self, folder: Path | None = None, upload: Path | None = None, shown: str = "") -> dict[Path, str]:
        """Return paths of this machine, and what clients know them as."""
        found = {self.model.model.source: f"model '{self.name}'", self.model.model.source.parent: "the server"}
        if folder is not None:
            found[folder] = "the server"
        if upload is not None:
            found[upload] = shown
        return found


_SUMMARY = ("name", "task", "what", "answer", "endings", "formats", "sha256", "url")


def served(name: str, model: FileModel, config: ServeConfig, readers: Executor, metrics: ServeMetrics) -> Served:
    """Make a model ready to be served, its worker started.

    Raises:
        ConfigError: its options cannot be sent in a form.
    """
    if config.max_megapixels is not None:
        model.max_pixels = int(1_000_000 * config.max_megapixels)
    model.is_guarded = True
    form = form_of(model, name)
    facts = _facts(name, model, form)
    worker = Worker(
        model,
        readers,
        queue=config.queue,
        max_batch=config.max_batch,
        batch_wait_s=config.batch_wait_ms / 1000,
        threads=config.threads,
        observe=partial(metrics.batch, name),
    )
    metrics.add_model(name, facts["task"], facts["sha256"], lambda: worker.waiting)
    return Served(name, model, form, worker, facts)


def _facts(name: str, model: FileModel, form: Form) -> dict[str, Any]:
    loaded, description = model.model, model.model.description
    data = description.get("data") or {}
    seal = read_header(loaded.source).sha256 or sha256_of(loaded.source)
    known = {
        "name": name,
        "title": description.get("name") or name,
        "task": loaded.config["task"]["name"],
        "network": loaded.config["model"]["name"],
        "what": model.what,
        "answer": "file" if model.writable else "values",
        "endings": list(model.endings),
        "formats": list(form.formats),
        "options": dict(form.fields),
        "max_pixels": model.max_pixels,
        "batched": isinstance(model, BatchFileModel),
        "classes": list(loaded.classes),
        "thresholds": list(loaded.thresholds),
        "interface": description.get("interface"),
        "terms": data.get("terms"),
        "metrics": description.get("metrics"),
        "card": description.get("card"),
        "device": str(loaded.device),
        "sha256": seal,
        "url": f"/v1/models/{name}/predict",
    }
    made: dict[str, Any] = plain(known)
    return made


def plain(value: Any, names: Mapping[Path, str] | None = None) -> Any:
    """Return JSON values that every reader of JSON takes: no NaN, no infinity; and no paths of this machine.

    Args:
        value: JSON values.
        names: paths, and what clients know them as.

    >>> plain({"a": [1.5, float("nan")]})
    {'a': [1.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, names) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and names:
        return without_paths(value, names)
    return value
