"""Features of a backbone of timm at stride 32, window by window, so that a tile of a picture has the same as the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from photic.core.checkpoint import read_weights
from photic.core.errors import ConfigError
from photic.functional.borders import mirrored, next_multiple
from photic.models.backbone import create_backbone
from photic.models.efficientnet_lite0 import BACKBONE as LITE0
from photic.models.efficientnet_lite0 import as_timm_names, packaged_weights
from photic.models.pretrained import fetch, hub_file, load_features

STRIDE = 32
WINDOW = 8
"""Cells of the feature map along each side of a window."""
WINDOW_PX = WINDOW * STRIDE


class BackboneFeatures(nn.Module):
    """Features of a timm backbone at stride 32, of every window of 256 x 256 pixels by itself.

    Windows lie on a grid from the first pixel on; a picture no larger than one is one window of its own size, windows that a picture
    does not fill are continued mirrored. Most backbones look at all they are given (squeeze-and-excitation averages over
    it), so that a tile of a photograph would give other features than the photograph. Windows are what they were trained on
    (224 pixels), cost nothing, and are the same in a tile as in the whole, if the tile begins on the grid.

    The backbone's batch statistics stay as they are, in training too.

    Args:
        features: a network of timm made with ``features_only``, of one feature map.
        mean: what pictures in [0, 1] are normalised with.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.features = features
        self.num_channels = int(cast(Any, features).feature_info.channels()[-1])
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> BackboneFeatures:
        """Stay in evaluation mode: no batch statistics, no dropped paths."""
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return features of windows ``(B n, F, h, w)`` for pictures ``(B, 3, H, W)``, sides divisible by 32, and the windows' grid."""
        windows, grid = to_windows((image - self.mean) / self.std)
        return self.features(windows)[-1], grid


def to_windows(image: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return pictures ``(B, C, H, W)`` cut into windows ``(B n, C, h, w)`` of up to 256 pixels, and rows and columns of windows.

    >>> windows, grid = to_windows(torch.zeros(2, 3, 128, 320))
    >>> windows.shape, grid
    (torch.Size([4, 3, 128, 256]), (1, 2))
    """
    batch, channels, height, width = image.shape
    tall, wide = (WINDOW_PX if _is_free(side) else min(side, WINDOW_PX) for side in (height, width))
    image = mirrored(image, bottom=next_multiple(height, tall) - height, right=next_multiple(width, wide) - width)
    rows, columns = image.shape[-2] // tall, image.shape[-1] // wide
    image = image.reshape(batch, channels, rows, tall, columns, wide).permute(0, 2, 4, 1, 3, 5)
    return image.reshape(batch * rows * columns, channels, tall, wide), (rows, columns)


def from_windows(windows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return windows ``(B n, C, h, w)`` put together ``(B, C, rows h, columns w)``."""
    rows, columns = grid
    number, channels, tall, wide = windows.shape
    batch = number // (rows * columns)
    whole = windows.reshape(batch, rows, columns, channels, tall, wide).permute(0, 3, 1, 4, 2, 5)
    return whole.reshape(batch, channels, rows * tall, columns * wide)


def _is_free(side: int) -> bool:
    """Whether a side is of any size, in a graph that is being exported; such graphs are for pictures of at least a window."""
    return torch.compiler.is_exporting() and not isinstance(side, int)


def build_features(name: str, where: str, *, pretrained: bool, weights: Path | None, frozen_stages: int | None) -> BackboneFeatures:
    """Return a backbone's features, its starting weights loaded and its early layers frozen.

    Args:
        name: timm's name, or ``efficientnet_lite0``, whose weights come as a package.
        where: how the component is called in messages.
        pretrained: start from published weights.
        weights: file of weights of the whole backbone or its features; wins over ``pretrained``.
        frozen_stages: number of resolutions, from the picture's on, whose layers do not learn; None is 2 with starting
            weights and 0 without: random layers that never learn help nobody.

    Raises:
        UnknownNameError: timm has no such backbone.
        ConfigError: it has no features at stride 32, or fewer resolutions.
        CheckpointError: the weights cannot be had or do not fit.
    """
    packaged = name == "efficientnet_lite0"
    features: Any = create_backbone(LITE0 if packaged else name, 0, where, features_only=True, feature_cls="getter", out_indices=(-1,))
    levels = features.feature_info.info
    if features.feature_info.reduction()[-1] != STRIDE:
        raise ConfigError(
            f"{where}.backbone: the deepest features of '{name}' are at stride {features.feature_info.reduction()[-1]}, expected {STRIDE}; "
            "choose a hierarchical backbone such as mobilenetv3_large_100, resnet18, convnext_atto"
        )
    source = weights
    if source is None and pretrained:
        source = packaged_weights() if packaged else fetch(hub_file(name, features.model.pretrained_cfg, where), where)
    if source is not None:
        load_features(features.model, as_timm_names(read_weights(source), features.model), source)
    if frozen_stages is None:
        frozen_stages = 2 if source is not None else 0
    if frozen_stages > len(levels):
        raise ConfigError(f"{where}.frozen_stages: '{name}' has features at {len(levels)} resolutions, got {frozen_stages}")
    if frozen_stages:
        freeze_up_to(features.model, str(levels[frozen_stages - 1]["module"]))
    given = getattr(features.model, "pretrained_cfg", {}) or {}
    return BackboneFeatures(features, given.get("mean", (0.485, 0.456, 0.406)), given.get("std", (0.229, 0.224, 0.225)))


def freeze_up_to(network: nn.Module, last: str) -> None:
    """Freeze a network's layers, in the order they are applied, up to the module ``last`` and with it."""
    names = [name for name, _ in network.named_modules()]
    end = max(number for number, name in enumerate(names) if name == last or name.startswith(f"{last}."))
    for name in names[: end + 1]:
        for parameter in network.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)
