"""Distance of pictures as a network sees them that was trained to tell things apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from photic.core.checkpoint import read_weights
from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.core.seeding import derive_seed
from photic.losses.base import LossConfig
from photic.losses.picture import PictureLoss
from photic.models.backbone import create_backbone
from photic.models.efficientnet_lite0 import BACKBONE as LITE0
from photic.models.efficientnet_lite0 import as_timm_names, packaged_weights
from photic.models.pretrained import fetch, hub_file, load_features

PACKAGED = "efficientnet_lite0"
"""The backbone whose weights come as a Python package and need no hub."""
_FLOOR = 1e-6
"""Added to the mean absolute feature: a network may see nothing in a black picture."""
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class PerceptualLoss(PictureLoss):
    """Mean absolute difference of the feature maps of a frozen network, over the mean absolute feature of the true picture.

    It is averaged over layers. Being relative, it has the same size, around 1 for pictures that have nothing in common, whatever the
    network, its layers and the scale of their features; published weights of this term are for differences that are not.

    The network is no part of the loss's ``state_dict`` and has no parameters that could be trained: checkpoints do not carry it, a
    moving average does not touch it. It follows the loss to a device, and stays in evaluation mode.

    Source: Johnson, Alahi and Fei-Fei 2016, Perceptual losses for real-time style transfer and super-resolution.

    Args:
        features: takes normalised pictures, gives a list of feature maps.
        mean: of each channel, what pictures are normalised with.
        std: likewise.
        smallest_px: shortest side of a picture of which the deepest map has a pixel.
        settings: what :meth:`get_params` returns.
    """

    name: ClassVar[str] = "perceptual"
    num_channels: ClassVar[int | None] = 3
    mean: Tensor
    std: Tensor

    def __init__(
        self, features: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], smallest_px: int, settings: dict[str, Any]
    ) -> None:
        super().__init__()
        self._outside = (features.requires_grad_(False).eval(),)  # in a tuple, so that nn.Module does not take it in
        self.smallest_px = smallest_px
        self.settings = settings
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def features(self) -> nn.Module:
        """The frozen network."""
        return self._outside[0]

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return dict(self.settings)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the network where the loss goes."""
        super()._apply(fn, recurse)
        self.features._apply(fn, recurse)
        return self

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the distance of pictures ``(B, 3, H, W)`` in [0, 1].

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: shapes differ or are not ``(B, 3, H, W)``, or pictures of a size that the network does not take.
        """
        self.refuse_mask(mask)
        prediction, target = self.two(prediction, target)
        if min(prediction.shape[-2:]) < self.smallest_px:
            raise DataError(
                f"perceptual: '{self.settings['backbone']}' at layers {self.settings['layers']} needs pictures of at least "
                f"{self.smallest_px} x {self.smallest_px} pixels, got {tuple(prediction.shape)}; use larger crops or earlier layers"
            )
        with torch.autocast(prediction.device.type, enabled=False):
            with torch.no_grad():
                wanted = self._maps(target)
            found = self._maps(prediction)
        apart = [(one - other).abs().mean() / (other.abs().mean() + _FLOOR) for one, other in zip(found, wanted, strict=True)]
        return torch.stack(apart).mean()

    def _maps(self, picture: Tensor) -> list[Tensor]:
        try:
            maps: list[Tensor] = self.features(((picture - self.mean) / self.std).to(self.mean.dtype))
        except AssertionError as error:  # how timm says that a network has one picture size only
            raise DataError(
                f"perceptual: '{self.settings['backbone']}' does not take pictures {tuple(picture.shape)} ({error}); "
                "choose a convolutional backbone"
            ) from error
        return maps


def _features(config: PerceptualConfig) -> Any:
    """Return the frozen network, with random weights that are the same at every start.

    Raises:
        UnknownNameError: timm has no such network.
        ConfigError: it has no such layers.
    """
    name = LITE0 if config.backbone == PACKAGED else config.backbone
    with torch.random.fork_rng(devices=[]):  # a resumed run builds the same features, and nothing else draws other numbers
        torch.default_generator.manual_seed(derive_seed(0, "perceptual"))
        try:
            made: Any = create_backbone(name, 0, "perceptual", features_only=True, feature_cls="getter", out_indices=config.layers)
        except AssertionError as error:  # how timm says that a layer does not exist
            raise ConfigError(f"perceptual.layers: '{config.backbone}' has no such layers: {error}") from error
    levels = made.feature_info.reduction()
    if len(set(levels)) < len(levels) or (len(levels) == 1 and len({level["reduction"] for level in made.feature_info.info}) == 1):
        raise ConfigError(
            f"perceptual.backbone: '{config.backbone}' has no feature maps of falling resolution; "
            "choose a convolutional network such as vgg16, resnet18, efficientnet_lite0"
        )
    return made


def _weights_file(config: PerceptualConfig, pretrained_cfg: Any) -> Path | None:
    if config.weights_file is not None or not config.pretrained:
        return config.weights_file
    if config.backbone == PACKAGED:
        return packaged_weights()
    file = hub_file(config.backbone, pretrained_cfg, "perceptual")
    remedy = (
        f"set weights_file=/path/to/{file.name} of this term of the loss; or set its backbone={PACKAGED}, whose weights are installed "
        "with Photic, or its pretrained=false for random features"
    )
    return fetch(file, "perceptual", remedy)


@losses.register("perceptual")
@dataclass(frozen=True, kw_only=True)
class PerceptualConfig(LossConfig):
    """Distance to the true picture in the features of a frozen network; without pretrained weights, of fixed random features.

    Source: Johnson, Alahi and Fei-Fei 2016, Perceptual losses for real-time style transfer and super-resolution.
    """

    backbone: str = "vgg16.tv_in1k"
    """timm's name of a convolutional network, or efficientnet_lite0, whose pretrained weights are installed with Photic (works offline)."""
    layers: Annotated[tuple[int, ...], Range(ge=0)] = (1, 2, 3)
    """Which of its feature levels, counted by resolution, 0 the finest; of vgg16, 1, 2, 3 are relu2_2, relu3_3, relu4_3."""
    pretrained: bool = True
    """Use published ImageNet weights; false takes random ones, the same in every run: a distance of random features, a weak stand-in."""
    weights_file: Path | None = None
    """File with weights of the backbone as timm names them (safetensors, or a .pth of plain tensors); wins over `pretrained`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"perceptual.layers: expected at least one layer, each once, got {list(self.layers)}")

    def make(self) -> PerceptualLoss:
        """Return the loss.

        Raises:
            UnknownNameError: timm has no such network.
            ConfigError: it has no such layers.
            CheckpointError: the weights cannot be had or do not fit.
        """
        features = _features(self)
        given = getattr(features.model, "pretrained_cfg", {}) or {}
        source = _weights_file(self, given)
        if source is not None:
            load_features(features.model, as_timm_names(read_weights(source), features.model), source)
        settings = {name: value for name, value in self.to_dict().items() if name not in ("name", "weight")}
        mean, std = tuple(given.get("mean", _IMAGENET[0])), tuple(given.get("std", _IMAGENET[1]))
        return PerceptualLoss(features, mean, std, int(max(features.feature_info.reduction())), settings)
