"""A trained model, loaded from a run, a checkpoint or a bundle, ready for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from photic.core.checkpoint import load_weights, read_checkpoint
from photic.core.container import read_header
from photic.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from photic.core.plugins import explained, named_model
from photic.data.images import read_image, resize_picture, to_measurement
from photic.inference.activation import activation_maps
from photic.inference.bundle import build_task, task_of_bundle
from photic.inference.description import SUFFIXES, check_bundle, image_size, is_bundle
from photic.inference.devices import usable_device
from photic.tasks.base import Task
from photic.tasks.classification import MultilabelClassification
from photic.tracking.run import Run

Picture = NDArray[np.uint8]


class LoadedModel:
    """A trained task with everything its predictions need.

    Args:
        task: network with trained weights, in evaluation mode.
        config: the configuration it was trained with: ``task`` and ``model`` at least.
        description: class names, thresholds and the like.
        source: the file it was loaded from.
        device: where it runs.
        image_size: (height, width) that pictures are resized to before the network sees them; None leaves them as they are.
    """

    def __init__(
        self,
        task: Task,
        config: Mapping[str, Any],
        description: Mapping[str, Any],
        source: Path,
        device: torch.device,
        *,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        self.task = task
        self.config = dict(config)
        self.description = dict(description)
        self.source = source
        self.device = device
        self.image_size = image_size

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.description.get("classes", ()))

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Probability from which each class counts as present, tuned on validation."""
        return tuple(self.description.get("thresholds", ()))

    def prepared(self, image: Picture) -> Picture:
        """Return a picture ``(H, W, 3)`` uint8 as training would have given it to the network: resized where training resized."""
        return resize_picture(image, self.image_size)

    @torch.inference_mode()
    def predict_batch(self, measurement: Tensor) -> Tensor:
        """Return the deployed prediction for a batch of prepared pictures in [0, 1], ``(B, 3, H, W)``, on the CPU."""
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
        items: Sequence[Any] = [images] if single else images  # type: ignore[assignment]
        predictions = [self.predict_batch(to_measurement(self.prepared(_picture(item)))[None])[0].numpy() for item in items]
        if not predictions:
            raise DataError("no pictures given; pass at least one file or uint8 array (H, W, 3)")
        return np.stack(predictions)

    def activation_maps(self, image: Path | str | Picture, classes: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return where in a picture the network sees each class: ``(C, H, W)`` in [0, 1], of the picture's own size.

        Args:
            image: a file or uint8 array ``(H, W, 3)``.
            classes: indices of the classes wanted, in the order of the result; all of them if omitted.

        Raises:
            ConfigError: the model is no classifier, or a class index is out of range.
            DataError: the picture is unreadable or not of this form.
        """
        if not isinstance(self.task, MultilabelClassification):
            raise ConfigError(f"{self.source}: activation maps need a classifier of pictures, this is a {type(self.task).__name__}")
        picture = _picture(image)
        measurement = to_measurement(self.prepared(picture))[None].to(self.device)
        maps = activation_maps(self.task, measurement, classes)
        if maps.shape[1] and maps.shape[2:] != picture.shape[:2]:
            maps = F.interpolate(maps, picture.shape[:2], mode="bilinear", align_corners=False, antialias=True)
            maps = maps / maps.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
        found: NDArray[np.float32] = maps[0].cpu().numpy()
        return found


def load(path: Path | str, device: str = "auto") -> LoadedModel:
    """Load a bundle, the best weights of a run, or a given checkpoint file. Nothing of the file is executed.

    Args:
        path: a bundle (``.photic``), a run folder, a ``.safetensors`` checkpoint of a run, or the name of a model (`photic models`).
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        DataError: the path is no run.
        CheckpointError: the file is missing, damaged, altered, of a newer format, or does not fit its own configuration.
    """
    return load_file(model_file(path), device)


def load_file(source: Path, device: str = "auto") -> LoadedModel:
    """Load a bundle or checkpoint from this very file, wherever it lies; otherwise as :func:`load`.

    Raises:
        CheckpointError: as :func:`load`.
    """
    chosen = usable_device(device)
    checkpoint = read_checkpoint(source, with_state=False)
    description = checkpoint.description
    if "config" not in description:
        raise CheckpointError(f"{source}: holds no configuration; give a bundle, or a checkpoint that Photic's training wrote")
    try:
        if is_bundle(description):
            check_bundle(description, read_header(source).sha256 is not None, source)
            task = task_of_bundle(checkpoint, source)
            size = description["preprocessing"]["image_size"]
        else:
            task = task_from_description(description)
            size = image_size(description["config"])
            load_weights(task, checkpoint.deployed(), source)
    except UnknownNameError as error:
        raise explained(error, source, description.get("requires", ())) from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{source}: says too little of the network for it to be built ({type(error).__name__}: {error}); give a bundle, or a "
            "checkpoint that Photic's training wrote"
        ) from error
    resized = None if size is None else (size[0], size[1])
    return LoadedModel(task.eval().to(chosen), description["config"], description, source, chosen, image_size=resized)


def model_file(path: Path | str) -> Path:
    """Return the file with the weights that a path or name means: itself, the best checkpoint of the run it lies in, or a model's bundle.

    Raises:
        DataError: there is no such file, no run, and no model of this name.
        CheckpointError: the run has no checkpoint yet.
        ConfigError: several models go by this name.
    """
    path = Path(path)
    if not path.exists():
        path = named_model(path) or path
    if path.suffix in SUFFIXES and not (path / "config.yaml").is_file():
        return path  # whoever reads it says what it is
    try:
        run = Run.open(path)
    except DataError:
        if path.is_file():
            return path  # whoever reads it says what it is
        raise
    return _best(run)


def task_from_description(description: Mapping[str, Any]) -> Task:
    """Build the task a run's checkpoint describes, with weights still to be loaded."""
    config = description["config"]
    return build_task(config["task"], config["model"], config["loss"], description)


def _best(run: Run) -> Path:
    for name in ("best", "last"):
        if run.checkpoint(name).is_file():
            return run.checkpoint(name)
    raise CheckpointError(f"{run.path}: no checkpoint yet; training has not reached its first validation")


def _picture(item: Any) -> Picture:
    if isinstance(item, str | Path):
        return read_image(item)
    array = np.asarray(item)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise DataError(f"expected a picture as uint8 array (H, W, 3), got {array.dtype} {array.shape}")
    return array
