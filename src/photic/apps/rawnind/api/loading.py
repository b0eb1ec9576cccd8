"""Trained models of this application from files: ready to be used from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from photic.apps.rawnind.api.architectures import FILTER_UNITS
from photic.apps.rawnind.api.compressor import CleanCompressor
from photic.apps.rawnind.api.experiment import weights_file
from photic.apps.rawnind.api.inference import CleanBayerDenoiser, CleanDenoiser
from photic.apps.rawnind.api.inference_config import InferenceConfig
from photic.core.errors import ConfigError
from photic.inference.devices import device_name
from photic.inference.predictor import LoadedModel, load_file
from photic.tasks.compression import CompressionTask
from photic.tasks.raw_denoising import RawDenoisingTask


def load_model_from_checkpoint(
    path_or_dir: Path | str,
    device: str | int | torch.device = "cpu",
    *,
    tile_size: int | None = None,
    tile_overlap: int | None = None,
    precision: str = "auto",
) -> Any:
    """Return a trained model, ready to be used: a denoiser (of Bayer mosaics, or RGB) or a compressor, as it was trained.

    Nothing of the file is executed, and no pickle is read.

    Args:
        path_or_dir: a checkpoint or bundle of Photic; a run, or the folder of an experiment, of which the best checkpoint is taken; or the
            name of a model that comes with Photic.
        device: where to run.
        tile_size: see :class:`InferenceConfig`.
        tile_overlap: likewise.
        precision: likewise.

    Returns:
        A :class:`CleanBayerDenoiser`, :class:`CleanDenoiser` or :class:`CleanCompressor`.

    Raises:
        ConfigError: another kind of model, no such device, or ``tile_overlap`` or ``precision`` for a compressor.
        CheckpointError: the file is missing, damaged, altered, of a newer format, or not Photic's.
        DataError: the folder holds no model.
        UnknownNameError: neither a path nor the name of a model.
    """
    file = weights_file(path_or_dir)
    loaded = load_file(file, device_name(device))
    make = next((make for kind, make in _MAKERS if isinstance(loaded.task, kind)), None)
    if make is None:
        known = ", ".join(kind.__name__ for kind, _ in _MAKERS)
        raise ConfigError(f"{file}: is a {type(loaded.task).__name__}; expected a model of this application ({known})")
    return make(loaded, {"device": str(loaded.device), "tile_size": tile_size, "tile_overlap": tile_overlap, "precision": precision})


def _denoiser(loaded: LoadedModel, how: dict[str, Any]) -> CleanDenoiser:
    assert isinstance(loaded.task, RawDenoisingTask)
    settings = {key: value for key, value in loaded.config["model"].items() if key != "measurement" and value is not None}
    name = settings.pop("name")
    config = InferenceConfig(
        architecture=name,
        filter_units=settings.get("width", FILTER_UNITS),
        enable_preupsampling=bool(settings.get("preupsample", False)),
        checkpoint_path=loaded.source,
        options=settings,
        **how,
    )
    kind = CleanBayerDenoiser if loaded.task.network.measurement == "mosaic" else CleanDenoiser
    return kind(config, loaded.task.network)


def _compressor(loaded: LoadedModel, how: dict[str, Any]) -> CleanCompressor:
    settings = {key: value for key, value in loaded.config["model"].items() if value is not None}
    name = settings.pop("name")
    return CleanCompressor(InferenceConfig(architecture=name, checkpoint_path=loaded.source, options=settings, **how), loaded)


_MAKERS: list[tuple[type, Callable[[LoadedModel, dict[str, Any]], Any]]] = [
    (RawDenoisingTask, _denoiser),
    (CompressionTask, _compressor),
]
"""What is made of a model of each kind."""
