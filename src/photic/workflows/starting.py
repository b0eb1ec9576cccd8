"""What a training starts from besides random weights: those of another run, and parts that come trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from photic.core.checkpoint import load_weights, read_weights
from photic.core.container import is_photic, read_header
from photic.core.errors import ConfigError, DataError
from photic.core.files import sha256_of
from photic.core.plugins import model_source
from photic.engine.config import PREVIOUS, TrainingConfig
from photic.inference.description import SUFFIXES
from photic.inference.predictor import model_file
from photic.models.base import ModelConfig
from photic.tasks.base import Task

_OTHERWISE_STARTED = ("pretrained", "weights", "denoiser_from", "compressor_from")
"""Fields of networks that say where weights come from, and not what the network is."""


def weights_file(source: str) -> Path:
    """Return the file with the weights that a name or path means: a model that comes with Photic, a bundle, a checkpoint, a run's best.

    Raises:
        UnknownNameError: there is no such model, file or folder.
        DataError: the folder is no run.
        CheckpointError: the run has no checkpoint yet.
    """
    return model_file(model_source(source))


def network_weights(source: str) -> dict[str, Tensor]:
    """Return a network's trained weights by name; those that are deployed, so the moving average where there is one.

    Raises:
        CheckpointError: the file is damaged, or as :func:`weights_file`.
    """
    return read_weights(weights_file(source))


def check_start(training: TrainingConfig) -> None:
    """Refuse, before anything is read, what training cannot start from.

    Raises:
        ConfigError: the run before it, and there is none.
        UnknownNameError: there is nothing of this name.
    """
    if training.start_from == PREVIOUS:
        raise ConfigError(
            f"config.training.start_from: '{PREVIOUS}' is the job before it in a sweep, so it needs one: photic train -m "
            "loss.lmbda=64,32,16 ...; for a single training name a run, a bundle, a checkpoint or a model that comes with Photic "
            f"(a folder of this name: ./{PREVIOUS})"
        )
    if training.start_from is not None:
        weights_file(training.start_from)


def start(task: Task, model: ModelConfig, training: TrainingConfig) -> dict[str, str] | None:
    """Give a task the weights its training starts from; optimizer and schedule begin anew.

    Args:
        task: just built; the weights of its network are replaced.
        model: the network's configuration, held against that of the weights.
        training: says where they come from.

    Returns:
        What the weights were read from, for the record; None where all are random.

    Raises:
        ConfigError: as :func:`check_start`, or a part that must come trained has no source.
        CheckpointError: the weights are of another network.
    """
    check_start(training)
    found = None
    if training.start_from is not None:
        file = weights_file(training.start_from)
        load_weights(task.graph.network, read_weights(file), f"training.start_from={training.start_from} ({file})")  # type: ignore[arg-type]
        _warn_of_differences(file, model)
        found = {"source": training.start_from, "file": str(file.resolve()), "sha256": sha256_of(file)}
    task.start(network_weights)
    return found


def check_same_start(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None, run: Path) -> None:
    """Refuse to begin a run again, which was stopped before its first checkpoint, from other weights than it began with.

    Raises:
        DataError: they have changed.
    """
    if (before or {}).get("sha256") != (now or {}).get("sha256"):
        raise DataError(
            f"{run}: was stopped before its first checkpoint, and the weights it started from have changed since "
            f"({(before or now or {}).get('file')}); put them back, or start a new run"
        )


def _warn_of_differences(file: Path, model: ModelConfig) -> None:
    """Say which settings of the network differ from those its weights were trained with, although the shapes fit."""
    description = read_header(file).description if file.suffix in SUFFIXES and is_photic(file) else {}
    trained = description.get("config", {}).get("model")
    if not isinstance(trained, Mapping):
        return
    differing = _differences(trained, model.to_dict(), "model")
    if differing:
        warnings.warn(f"{file}: these weights were trained with other settings: {'; '.join(differing)}", UserWarning, stacklevel=3)


def _differences(trained: Mapping[str, Any], now: Mapping[str, Any], place: str) -> list[str]:
    found: list[str] = []
    for key in sorted(trained.keys() & now.keys() - {*_OTHERWISE_STARTED}):
        before, after = trained[key], now[key]
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{place}.{key}")
        elif before != after:
            found.append(f"{place}.{key} was {before}, is {after}")
    return found
