"""Classifiers of pictures as functions from files to values: a probability and a decision for each class."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.data.images import SUFFIXES, image_size, read_image, to_measurement
from photic.inference.activation import Picture
from photic.inference.file_model import Answer, BatchFileModel, FileOptions
from photic.inference.outputs import Prediction, draw_maps
from photic.inference.predictor import LoadedModel
from photic.tasks.classification import MultilabelClassification


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(FileOptions):
    """What is said about a picture."""

    maps: bool = False
    """Also draw where the network sees each class that it decides present: maps, a PNG as a data URI; null where there is none."""


@dataclass(frozen=True)
class _Read:
    """A picture."""

    name: str
    image: Picture | None
    """As the file has it; only where maps are drawn on it."""
    size: tuple[int, int]
    prepared: Picture
    """As the network gets it."""


class ClassificationFiles(BatchFileModel):
    """A classifier of pictures.

    Its values are ``height`` and ``width`` of the picture as read, ``probabilities``, ``thresholds`` and ``decisions`` by class, as a line
    of ``photic predict --format jsonl`` has them.

    Args:
        model: a trained classifier.

    Raises:
        ConfigError: the model is no classifier of pictures.
    """

    options_type = ClassificationOptions
    endings = SUFFIXES
    writable = ()

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(model)
        if not isinstance(model.task, MultilabelClassification):
            raise ConfigError(f"{model.source}: expected a classifier of pictures, this is a {type(model.task).__name__}")

    def read(self, source: Path, options: FileOptions) -> _Read:
        """Decode a picture and bring it to the size that the network takes."""
        height, width = image_size(source)
        if height * width > self.max_pixels:
            raise DataError(
                f"{source}: {width} x {height} pixels are {height * width / 1e6:,.0f} megapixels, more than the limit of "
                f"{self.max_pixels / 1e6:g}; reduce the picture"
            )
        image = read_image(source)
        wanted = self._options(options, ClassificationOptions).maps
        return _Read(source.name, image if wanted else None, (height, width), self.model.prepared(image))

    def tensors(self, source: Path, options: FileOptions) -> Iterator[tuple[Tensor, ...]]:
        """Yield the picture."""
        yield (to_measurement(self.read(source, options).prepared)[None],)

    def kind(self, item: Any) -> Hashable:
        """Return the size that the network gets."""
        shape: tuple[int, ...] = item.prepared.shape
        return shape

    def answers(self, items: Sequence[Any], options: FileOptions) -> list[Answer]:
        """Return the values of each picture."""
        chosen = self._options(options, ClassificationOptions)
        probabilities = self.model.predict_batch(torch.stack([to_measurement(item.prepared) for item in items])).numpy()
        decisions = probabilities >= np.array(self.model.thresholds)
        return [Answer(values=self._values(*found, chosen)) for found in zip(items, probabilities, decisions, strict=True)]

    def _values(self, item: _Read, probabilities: np.ndarray, decisions: np.ndarray, options: ClassificationOptions) -> dict[str, Any]:
        classes = self.model.classes
        values: dict[str, Any] = {
            "height": item.size[0],
            "width": item.size[1],
            "probabilities": {name: round(float(value), 6) for name, value in zip(classes, probabilities, strict=True)},
            "thresholds": dict(zip(classes, self.model.thresholds, strict=True)),
            "decisions": {name: bool(value) for name, value in zip(classes, decisions, strict=True)},
        }
        if options.maps:
            values["maps"] = self._maps(item, probabilities, decisions)
        return values

    def _maps(self, item: _Read, probabilities: np.ndarray, decisions: np.ndarray) -> str | None:
        """Return the picture with the map of each class decided present laid over it, as a data URI."""
        present = np.flatnonzero(decisions).tolist()
        if not present:
            return None
        assert item.image is not None, "read() keeps it where maps are wanted"
        maps = dict(zip(present, self.model.activation_maps(item.image, present), strict=True))
        drawn = draw_maps(item.image, Prediction(Path(item.name), item.size, probabilities, decisions, maps), self.model.classes)
        content = io.BytesIO()
        drawn.save(content, format="PNG")
        return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
