"""Classifiers around timm's backbones, with attention after chosen stages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from photic.core.checkpoint import read_weights
from photic.core.errors import ConfigError, UnknownNameError, nearest
from photic.models.base import Classifier
from photic.models.cbam import CBAM, AttendedStage
from photic.models.pretrained import PretrainedConfig, fetch, hub_file, load_starting_weights
from photic.models.same_padding import with_exportable_padding

_log = logging.getLogger(__name__)

Stage = Literal[1, 2, 3, 4]
NUM_STAGES = 4


@dataclass(frozen=True)
class StageInfo:
    """Where a stage of a backbone ends."""

    module: str
    """Name of the module whose output is the stage's feature map."""
    channels: int
    reduction: int
    """Pixels of the picture per pixel of the map, along each axis."""


def stages(backbone: nn.Module, where: str) -> dict[int, StageInfo]:
    """Return the stages of a timm backbone by number, 1 to 4, the deepest last.

    timm tells where each resolution ends; down-samplers and stems are none of these places or come before
    the last four, so that a stage's number does not depend on how a network is cut into modules.

    Raises:
        ConfigError: the backbone has no feature maps of falling resolution (plain transformers).
    """
    info = getattr(backbone, "feature_info", None) or []
    levels = [StageInfo(str(level["module"]), int(level["num_chs"]), int(level["reduction"])) for level in getattr(info, "info", info)]
    falling = len({level.reduction for level in levels}) == len(levels) >= 2
    if not falling or getattr(backbone, "output_fmt", "NCHW") not in ("NCHW", "NHWC"):
        raise ConfigError(
            f"{where}: '{backbone.__class__.__name__}' has no feature maps of falling resolution (or timm does not tell them); "
            "choose a convolutional or hierarchical backbone such as convnext_tiny, resnet50, swin_tiny_patch4_window7_224"
        )
    return dict(enumerate(levels[-NUM_STAGES:], start=1))


class AttentiveBackbone(Classifier):
    """A timm backbone with :class:`~photic.models.cbam.CBAM` after chosen stages and a linear classification layer.

    The backbone keeps everything timm trained: also the normalisation in its head.

    Args:
        backbone: a network made by timm, with ``num_classes`` outputs.
        num_classes: number of outputs C.
        cbam_stages: numbers (1 to 4) of the stages followed by attention.
        freeze: train only the classification layer and attention.
        where: how the component is called in messages.

    Raises:
        ConfigError: the backbone has no such stages, or no single linear classification layer.
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int, cbam_stages: Sequence[int] = (), *, freeze: bool = False, where: str = "model"
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.notes: tuple[str, ...] = ()
        self.frozen = freeze
        self.stages = stages(backbone, where)
        self.head_name = head_name(backbone, where)
        config: dict[str, Any] = getattr(backbone, "pretrained_cfg", {}) or {}
        self.mean = tuple(config.get("mean", Classifier.mean))
        self.std = tuple(config.get("std", Classifier.std))
        channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        last = max(self.stages)
        for number in sorted({*cbam_stages, *({last} if channels_last else ())}):
            if number not in self.stages:
                raise ConfigError(f"{where}.cbam_stages: no stage {number}; this backbone has stages 1 to {last}")
            stage = self.stages[number]
            attention = CBAM(stage.channels) if number in cbam_stages else nn.Identity()
            backbone.set_submodule(
                stage.module, AttendedStage(backbone.get_submodule(stage.module), attention, channels_last=channels_last)
            )
        if freeze:
            for parameter in self.backbone_parameters():
                parameter.requires_grad_(False)
            self.train(self.training)

    def stage(self, number: int) -> nn.Module:
        """Return the module whose output is stage ``number``'s feature map, attention included."""
        return self.backbone.get_submodule(self.stages[number].module)

    def activation_layer(self) -> nn.Module:
        """Return the module that gives the deepest feature map ``(B, F, h, w)``, after its attention."""
        last = self.stage(max(self.stages))
        return last.attention if isinstance(last, AttendedStage) else last

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return all parameters but those of attention and the classification layer."""
        own = [*self.backbone.get_submodule(self.head_name).parameters()]
        own += [p for module in self.backbone.modules() if isinstance(module, CBAM) for p in module.parameters()]
        outside = {id(parameter) for parameter in own}
        return [parameter for parameter in self.backbone.parameters() if id(parameter) not in outside]

    def train(self, mode: bool = True) -> AttentiveBackbone:
        """Switch to training; a frozen backbone stays as in evaluation: no batch statistics, no dropped paths."""
        super().train(mode)
        if self.frozen:
            first = self.head_name.partition(".")[0]
            for name, child in self.backbone.named_children():
                if name != first:
                    child.eval()
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
                elif isinstance(module, CBAM):
                    module.train(mode)
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Return logits ``(B, C)`` for normalised pictures ``(B, 3, H, W)``."""
        logits: Tensor = self.backbone(image)
        return logits


def head_name(backbone: nn.Module, where: str) -> str:
    """Return the name of the linear classification layer.

    Raises:
        ConfigError: there is no single one.
    """
    find: Any = getattr(backbone, "get_classifier", None)
    head = find() if find is not None else None
    for name, module in backbone.named_modules():
        if module is head and isinstance(module, nn.Linear | nn.Conv2d):
            return str(name)
    raise ConfigError(f"{where}: '{backbone.__class__.__name__}' has no single linear classification layer; choose another backbone")


def create_backbone(name: str, num_classes: int, where: str, **options: Any) -> nn.Module:
    """Return a timm network with random weights.

    Raises:
        UnknownNameError: timm has no such network (or no such set of weights); the message offers the nearest.
        ConfigError: the network does not take one of the options.
    """
    known, _, tag = name.partition(".")
    if not timm.is_model(known):
        raise UnknownNameError(f"{where}.backbone: timm {timm.__version__} has no network '{known}'{nearest(known, timm.list_models())}")
    if tag and not timm.models.is_model_pretrained(name):
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{known}.*")]
        raise UnknownNameError(
            f"{where}.backbone: timm has no weights '{tag}' for '{known}'{nearest(tag, tags)} (weights: {', '.join(tags)})"
        )
    given: dict[str, Any] = {option: value for option, value in options.items() if value}
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, **given)
    except (TypeError, RuntimeError) as error:  # the latter from networks that cannot give their features
        raise ConfigError(f"{where}: timm's '{name}' does not take these settings: {given} ({error})") from error
    return with_exportable_padding(network)


def build_classifier(
    config: PretrainedConfig, backbone_name: str, cbam_stages: Sequence[int], drop_path_rate: float = 0.0
) -> AttentiveBackbone:
    """Return a timm backbone with attention, its starting weights loaded.

    Raises:
        UnknownNameError: no such backbone.
        ConfigError: impossible settings.
        CheckpointError: the starting weights cannot be had or do not fit.
    """
    where = str(config.registry_name)
    num_classes = config.outputs()
    backbone = create_backbone(backbone_name, num_classes, where, drop_rate=config.drop_rate, drop_path_rate=drop_path_rate)
    head = head_name(backbone, where)
    source = config.weights
    if source is None and config.pretrained:
        source = fetch(hub_file(backbone_name, backbone.pretrained_cfg, where), where)  # type: ignore[arg-type]
    weights = read_weights(source) if source is not None else {}
    # Names as timm gives them are loaded before attention is put between the stages, which renames layers.
    own_layout = any(name.startswith("backbone.") for name in weights)
    note = None
    if source is not None and not own_layout:
        note = load_starting_weights(backbone, weights, head, source)
    network = AttentiveBackbone(backbone, num_classes, cbam_stages, freeze=config.freeze_backbone, where=where)
    if source is not None and own_layout:
        note = load_starting_weights(network, weights, f"backbone.{head}", source)
    note_weights(network, note, source)
    return network


def note_weights(network: AttentiveBackbone, note: str | None, source: Path | None) -> None:
    """Attach and log what a user should know about the starting weights."""
    notes = [note] if note else []
    if source is None and network.frozen:
        notes.append("the backbone is frozen at random weights; unless weights are loaded next, set pretrained=true or weights=path")
    network.notes = tuple(notes)
    for text in notes:
        _log.info(text)


def check_stages(cbam_stages: Sequence[int], where: str) -> None:
    """Refuse a stage named twice.

    Raises:
        ConfigError: it is.
    """
    if len(set(cbam_stages)) < len(cbam_stages):
        raise ConfigError(f"{where}.cbam_stages: a stage is named twice in {list(cbam_stages)}; name each once")
