"""What every network shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.core.schema import Config, Range


def why_not_exported(network: nn.Module, output_format: str, precision: str) -> str | None:
    """Return why a network is not exported, None where it is: what its method of this name says.

    A network that cannot be exported, or not in each precision, has a method ``why_not_exported(output_format, precision) -> str | None``
    that says why, in words that end a sentence: what in it has no counterpart, and what to use instead.

    Args:
        network: any.
        output_format: ``onnx`` or ``torch``.
        precision: ``fp32``, ``fp16`` or ``int8``.
    """
    says = getattr(network, "why_not_exported", None)
    reason: str | None = None if says is None else says(output_format, precision)
    return reason


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Base of every network's config."""

    def build(self) -> nn.Module:
        """Return the network."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(ModelConfig):
    """Base of the configs of image classifiers."""

    num_classes: Annotated[int | None, Range(ge=1)] = None
    """Number of outputs; null takes it from the data."""

    def build(self) -> Classifier:
        """Return the network."""
        raise NotImplementedError

    def outputs(self) -> int:
        """Return the number of outputs.

        Raises:
            ConfigError: it is neither given nor taken from the data.
        """
        if self.num_classes is None:
            raise ConfigError(f"{self.registry_name}.num_classes: not set; give the number of classes, for example num_classes=4")
        return self.num_classes


class Classifier(nn.Module):
    """An image classifier: normalised pictures ``(B, 3, H, W)`` to logits ``(B, C)``.

    ``mean`` and ``std`` are what the network expects its input in [0, 1] to be normalised with; the
    task applies them, so that training, evaluation and deployment cannot differ.
    """

    config_base: ClassVar[type[ClassifierConfig]] = ClassifierConfig
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    num_classes: int
    caches_features: ClassVar[bool] = False
    """Whether it has ``features`` and ``classify``, of which only the latter learns."""
    cell_shift_px: float = 0.0
    """How far a cell of the activation layer looks right of and below the middle of its share of the picture, in
    pixels: -(s - 1) / 2 for a network of stride s whose strided 3 x 3 convolutions pad both sides."""

    def activation_layer(self) -> nn.Module:
        """Return the module whose output ``(B, F, h, w)`` class-activation maps are made from."""
        raise NotImplementedError

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the pretrained parameters, which may be frozen or get their own learning rate; empty if there are none."""
        return []

    def forward(self, image: Tensor) -> Tensor:
        """Return logits ``(B, C)`` for normalised pictures ``(B, 3, H, W)``."""
        raise NotImplementedError
