"""A trained model, loaded from a run or a checkpoint, ready for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from photic.core.checkpoint import load_weights, read_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.core.schema import Registered, coerce
from photic.data.images import read_image, to_measurement
from photic.losses.base import LossConfig
from photic.models.base import ModelConfig
from photic.tasks.base import Task, TaskConfig
from photic.tracking.run import Run


class LoadedModel:
    """A trained task with everything its predictions need.

    Args:
        task: network with trained weights, in evaluation mode.
        config: the resolved configuration it was trained with.
        description: class names, thresholds and the like.
        source: the checkpoint file.
        device: where it runs.
    """

    def __init__(self, task: Task, config: Mapping[str, Any], description: Mapping[str, Any], source: Path, device: torch.device) -> None:
        self.task = task
        self.config = dict(config)
        self.description = dict(description)
        self.source = source
        self.device = device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.description.get("classes", ()))

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Probability from which each class counts as present, tuned on validation."""
        return tuple(self.description.get("thresholds", ()))

    @torch.inference_mode()
    def predict_batch(self, measurement: Tensor) -> Tensor:
        """Return the deployed prediction for a batch in [0, 1], ``(B, 3, H, W)``, on the CPU."""
        prediction: Tensor = self.task.deployable()(measurement.to(self.device))
        return prediction.float().cpu()

    def predict(self, images: Sequence[np.ndarray | Path | str] | np.ndarray | Path | str) -> np.ndarray:
        """Return the predictions for pictures: ``(N, C)`` probabilities for a classifier.

        Args:
            images: uint8 arrays ``(H, W, 3)`` or picture files; one or several, sizes may differ.

        Raises:
            DataError: a picture is missing, unreadable, or not of this form.
        """
        single = isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim == 3)
        items: Sequence[Any] = [images] if single else images  # type: ignore[assignment, list-item]
        predictions = [self.predict_batch(_measurement(item)[None])[0].numpy() for item in items]
        if not predictions:
            raise DataError("no pictures given; pass at least one file or uint8 array (H, W, 3)")
        return np.stack(predictions)


def load(path: Path | str, device: str = "auto") -> LoadedModel:
    """Load the best weights of a run, or a given checkpoint file.

    Args:
        path: run folder, or a ``.safetensors`` checkpoint of a run.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        DataError: the path is no run.
        CheckpointError: the checkpoint is missing, damaged, or does not fit its own configuration.
    """
    path = Path(path)
    source = path if path.is_file() and path.suffix == ".safetensors" else _best(Run.open(path))
    checkpoint = read_checkpoint(source, with_state=False)
    description = checkpoint.description
    if "config" not in description:
        raise CheckpointError(f"{source}: holds no configuration; give a checkpoint that Photic's training wrote")
    task = task_from_description(description)
    load_weights(task, checkpoint.deployed(), source)
    chosen = _device(device)
    return LoadedModel(task.eval().to(chosen), description["config"], description, source, chosen)


def task_from_description(description: Mapping[str, Any]) -> Task:
    """Build the task a checkpoint describes, with weights still to be loaded."""
    config = description["config"]
    model: ModelConfig = coerce(config["model"], Annotated[ModelConfig, Registered("models")], "config.model")
    # The weights come from the checkpoint: no download, no file of the machine it was trained on.
    foreign = {name: value for name, value in (("pretrained", False), ("weights", None)) if hasattr(model, name)}
    model = model.replace(**foreign)
    loss: LossConfig = coerce(config["loss"], Annotated[LossConfig, Registered("losses")], "config.loss")
    task: TaskConfig = coerce(config["task"], Annotated[TaskConfig, Registered("tasks")], "config.task")
    return task.build(model, loss, description)


def _best(run: Run) -> Path:
    for name in ("best", "last"):
        if run.checkpoint(name).is_file():
            return run.checkpoint(name)
    raise CheckpointError(f"{run.path}: no checkpoint yet; training has not reached its first validation")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device '{name}' is not available here ({error}); use auto or cpu") from error
    return device


def _measurement(item: Any) -> Tensor:
    if isinstance(item, str | Path):
        return to_measurement(read_image(item))
    array = np.asarray(item)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise DataError(f"expected a picture as uint8 array (H, W, 3), got {array.dtype} {array.shape}")
    return to_measurement(array)
