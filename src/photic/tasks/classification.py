"""Multi-label classification of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.core.registry import metrics as metric_registry
from photic.core.registry import tasks
from photic.core.schema import Config, Range
from photic.data.augment import Augmented
from photic.data.base import PreparedData
from photic.losses.base import BaseLoss, LossConfig
from photic.metrics.base import Metric
from photic.metrics.multilabel import bootstrap_intervals, multilabel_report, tune_thresholds
from photic.models.base import Classifier, ClassifierConfig, ModelConfig
from photic.tasks.base import Batch, Phase, StepResult, Task, TaskConfig
from photic.tasks.examples import pictures
from photic.tasks.interface import BATCH, GraphInterface, Port

C = TypeVar("C", bound=Config)


class ProbabilityGraph(nn.Module):
    """Normalisation + network + sigmoid: pictures ``(B, 3, H, W)`` in [0, 1] to probabilities ``(B, C)``."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(network.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(network.std).view(1, 3, 1, 1), persistent=False)

    def normalised(self, image: Tensor) -> Tensor:
        """Return what the network takes, ``(B, 3, H, W)``."""
        return (image - self.mean) / self.std

    def logits(self, image: Tensor) -> Tensor:
        """Return logits ``(B, C)``."""
        logits: Tensor = self.network(self.normalised(image))
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities ``(B, C)``."""
        # Sigmoid in float32: in bf16 a probability has three digits and rankings fall together.
        return torch.sigmoid(self.logits(image).float())


class MultilabelClassification(Task):
    """Each class is present or not, independently of the others.

    Args:
        network: gives logits for normalised pictures.
        criterion: the loss, on logits.
        classes: names of the classes.
        config: metrics and parameter groups.
        thresholds: probability from which a class counts as present; 0.5 until :meth:`calibrate`.
    """

    graph: ProbabilityGraph
    criterion: BaseLoss

    def __init__(
        self,
        network: Classifier,
        criterion: BaseLoss,
        classes: Sequence[str],
        config: MultilabelClassificationConfig,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.graph = ProbabilityGraph(network)
        self.criterion = criterion
        self.classes = tuple(classes)
        self.config = config
        self.thresholds = list(thresholds) if thresholds is not None else [0.5] * len(self.classes)
        self._features: dict[int, Tensor] = {}

    @property
    def network(self) -> Classifier:
        """The network inside the graph."""
        return self.graph.network

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and probabilities for ``measurement`` ``(B, 3, H, W)`` and ``target`` ``(B, C)``."""
        logits = self._cached_logits(batch) if self.config.cache_features else self.graph.logits(batch["measurement"])
        target = batch["target"]
        terms = self.criterion.terms(logits, target)
        loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        return StepResult(loss=loss, terms=terms, prediction=torch.sigmoid(logits.detach().float()), target=target)

    def _cached_logits(self, batch: Batch) -> Tensor:
        """Return logits from features that are computed once per picture, one by one so that batching changes no bit."""
        network: Any = self.network
        rows = [int(row) for row in batch["index"]]
        for place, row in enumerate(rows):
            if row not in self._features:
                with torch.no_grad():
                    self._features[row] = network.features(self.graph.normalised(batch["measurement"][place : place + 1]))[0]
        logits: Tensor = network.classify(torch.stack([self._features[row] for row in rows]))
        return logits

    def predict(self, batch: Batch) -> Tensor:
        """Return probabilities ``(B, C)``."""
        probabilities: Tensor = self.graph(batch["measurement"])
        return probabilities

    def interface(self) -> GraphInterface:
        """Return pictures in, probabilities out."""
        shape = (BATCH, 3, "height", "width")
        picture = Port("picture", "float32", shape, "Pictures as files have them, RGB.", "share of white", (0.0, 1.0))
        said = f"How probable each class is, independently of the others, in order: {', '.join(self.classes)}."
        return GraphInterface((picture,), (Port("probabilities", "float32", (BATCH, len(self.classes)), said[:500], None, (0.0, 1.0)),))

    def example(self, batch: int = 2, size: tuple[int, int] | None = None, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return made-up pictures."""
        return (pictures(batch, size or (96, 128), seed),)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups by part (head, backbone, a loss that learns) and by decay: biases and normalisation are not decayed."""
        backbone = {id(parameter) for parameter in self.network.backbone_parameters()}
        learnt_by_loss = {id(parameter) for parameter in self.criterion.parameters()}
        groups: dict[str, dict[str, Any]] = {}
        for parameter in self.parameters():
            if not parameter.requires_grad:
                continue
            part = "backbone" if id(parameter) in backbone else "loss" if id(parameter) in learnt_by_loss else "head"
            decayed = parameter.ndim > 1
            group = groups.setdefault(
                f"{part}{'' if decayed else '_plain'}",
                {
                    "name": f"{part}{'' if decayed else '_plain'}",
                    "params": [],
                    "lr": lr * (self.config.backbone_lr_factor if part == "backbone" else 1.0),
                    "weight_decay": weight_decay if decayed else 0.0,
                },
            )
            group["params"].append(parameter)
        return list(groups.values())

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass over a split."""
        return {name: metric_registry.get(name) for name in self.config.metrics}

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Tune one threshold per class for F1 on the validation split."""
        self.thresholds = [float(value) for value in tune_thresholds(prediction, target)]

    def report(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Return the report at 0.5 and at the tuned thresholds, with bootstrap intervals at the tuned ones."""
        return {
            "at_0.5": multilabel_report(prediction, target, 0.5, classes=self.classes),
            "at_tuned": multilabel_report(prediction, target, self.thresholds, classes=self.classes),
            "intervals": bootstrap_intervals(prediction, target, self.thresholds, classes=self.classes),
        }

    def table(self, names: Sequence[str], prediction: np.ndarray, target: np.ndarray) -> tuple[list[str], list[list[Any]]]:
        """Return one row per picture: file, labels, probabilities."""
        header = ["file", *(f"label:{name}" for name in self.classes), *(f"probability:{name}" for name in self.classes)]
        rows: list[list[Any]] = [
            [name, *(int(value) for value in labels), *(f"{value:.6g}" for value in probabilities)]
            for name, labels, probabilities in zip(names, target, prediction, strict=True)
        ]
        return header, rows

    def description(self) -> dict[str, Any]:
        """Return class names and thresholds, and what is done to pictures and logits around the network."""
        return {
            "classes": list(self.classes),
            "thresholds": list(self.thresholds),
            "processing": {
                "before": {
                    "values": "RGB pictures of 8 bits (grey ones count as RGB) as shares of white, 0 to 1; then (value - mean) / std",
                    "resampling": "of pictures that are resized: bilinear, averaging where they shrink",
                    "mean": _digits(self.graph.mean),
                    "std": _digits(self.graph.std),
                },
                "after": {
                    "values": "sigmoid of each logit: probabilities of classes, independent of each other",
                    "decision": "present where the probability is at least the class's threshold",
                },
            },
        }


@tasks.register("multilabel_classification")
@dataclass(frozen=True, kw_only=True)
class MultilabelClassificationConfig(TaskConfig):
    """Pictures to independent probabilities of several classes."""

    metrics: tuple[str, ...] = ("average_precision", "roc_auc", "f1", "precision", "recall", "calibration_error")
    """Registry names of the metrics computed on validation."""
    backbone_lr_factor: Annotated[float, Range(gt=0)] = 1.0
    """Factor on the learning rate of pretrained weights."""
    cache_features: bool = False
    """Compute the features of a frozen network once per picture and keep them; needs a feature_probe and no augmentation."""

    def build(self, model: ModelConfig, loss: LossConfig, data: PreparedData | Mapping[str, Any]) -> MultilabelClassification:
        """Return the task; when training, class weights of the loss are derived from the whole training split.

        Raises:
            ConfigError: the network is no classifier, its number of outputs is not that of the classes, or the loss takes no logits.
        """
        if not isinstance(model, ClassifierConfig):
            raise ConfigError(f"config.model.name: '{model.registry_name}' is no classifier; see `photic list models`")
        classes = data.classes if isinstance(data, PreparedData) else data["classes"]
        if self.cache_features and isinstance(data, PreparedData) and isinstance(data.splits["train"], Augmented):
            raise ConfigError(
                "config.task.cache_features: features of a picture are computed once, but data.augment changes the pictures; "
                "set task.cache_features=false or data.augment={}"
            )
        model = _sized(model, len(classes), "model")
        loss = _sized(loss, len(classes), "loss")
        criterion = loss.build()
        if criterion.acts_on != "logits":
            raise ConfigError(
                f"config.loss.name: '{loss.registry_name}' acts on {criterion.acts_on}, not on logits, so it cannot train a classifier; "
                "see `photic list losses`"
            )
        network = model.build()
        if self.cache_features and not network.caches_features:
            raise ConfigError(
                f"config.task.cache_features: '{model.registry_name}' learns its features; choose model=feature_probe or set it to false"
            )
        if isinstance(data, PreparedData):
            objects = data.objects.get("train")
            criterion.fit(torch.as_tensor(data.labels["train"]), None if objects is None else torch.as_tensor(objects))
            return MultilabelClassification(network, criterion, classes, self)
        return MultilabelClassification(network, criterion, classes, self, data.get("thresholds"))


def _digits(values: Tensor) -> list[float]:
    """Return float32 values with the digits they were written with."""
    return [round(float(value), 7) for value in values.flatten()]


def _sized(config: C, num_classes: int, section: str) -> C:
    """Fill an open ``num_classes`` from the data, and refuse one that contradicts them."""
    if not any(field.name == "num_classes" for field in fields(config)):
        return config
    given = config.num_classes  # type: ignore[attr-defined]
    if given not in (None, num_classes):
        raise ConfigError(
            f"config.{section}.num_classes: {given} does not fit the data, which have {num_classes} classes; leave it out or correct it"
        )
    return config.replace(num_classes=num_classes)
