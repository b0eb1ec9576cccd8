"""LPIPS: how different pictures look, as learned from people's judgements of patches."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from photic.core.checkpoint import load_weights, read_weights
from photic.core.errors import ConfigError
from photic.core.registry import metrics
from photic.metrics.base import MetricConfig
from photic.metrics.pictures import PictureMetric, require_side

Net = Literal["alex", "vgg"]
_PUBLISHED = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
"""Names of the files of torchvision's ImageNet weights."""
_MARGIN = 1e-10
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def _convolutions(net: Net) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return the convolutional part of AlexNet or VGG-16, layer numbers as torchvision has them, and which layers are looked at."""
    layers: list[nn.Module] = []
    if net == "alex":
        sizes = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
        for number, (before, after, side, stride, padding) in enumerate(sizes):
            layers += [nn.Conv2d(before, after, side, stride, padding), nn.ReLU()]
            if number < 2:
                layers.append(nn.MaxPool2d(3, 2))
        return nn.Sequential(*layers), (1, 4, 7, 9, 11)
    looked_at, before = [], 3
    for stage, (width, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        looked_at.append(len(layers) - 1)
    return nn.Sequential(*layers), tuple(looked_at)


class _Distance(nn.Module):
    """Squared differences of unit-length features, weighted per channel, averaged over places, summed over five layers."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.features, self.looked_at = _convolutions(net)
        widths = [layer.out_channels for layer in self.features if isinstance(layer, nn.Conv2d)]
        chosen = widths if net == "alex" else [64, 128, 256, 512, 512]
        self.lins = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in chosen)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the distances ``(B,)`` of pictures ``(B, 3, H, W)`` in [0, 1]."""
        total = one.new_zeros(len(one))
        for weights, first, second in zip(self.lins, self._units(one), self._units(other), strict=True):
            total = total + (weights * (first - second).square()).sum(dim=1).mean(dim=(1, 2))
        return total

    def _units(self, picture: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        value = (2 * picture - 1 - self.shift) / self.scale  # type: ignore[operator]
        for number, layer in enumerate(self.features):
            value = layer(value)
            if number in self.looked_at:
                found.append(value * torch.rsqrt(value.square().sum(dim=1, keepdim=True) + _MARGIN))
        return found


class LPIPS(PictureMetric):
    """LPIPS 0.1 of pictures, 0 for equal ones; less is better.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, The unreasonable effectiveness of deep features as a perceptual metric.

    Args:
        net: which network's features; values of different ones cannot be compared.
        weights_file: file of the network's ImageNet weights, as torchvision names them; None takes the one in torch's cache.
        gt_mean: whether each picture is scaled to the mean luma of the true one first.

    Raises:
        ConfigError: no file of weights is at hand; the message says which, and where to put it.
        CheckpointError: a file cannot be read or does not fit.
    """

    name = "lpips"
    label_text = "LPIPS"
    higher_is_better = False

    def __init__(self, net: Net = "alex", weights_file: Path | None = None, *, gt_mean: bool = False) -> None:
        super().__init__(gt_mean=gt_mean)
        self.net = net
        source = _network_file(net) if weights_file is None else weights_file
        learned = _learned_file(net)
        distance = _Distance(net)
        found = read_weights(source)
        own = distance.features.state_dict()
        load_weights(distance.features, _picked(found, {f"features.{name}": name for name in own}), source)
        lins = {f"lin{number}.model.1.weight": str(number) for number in range(len(distance.lins))}
        load_weights(distance.lins, _picked(read_weights(learned), lins), learned)
        self.distance = distance.requires_grad_(False).eval()

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distances ``(B,)``."""
        require_side(self.value_name, prediction, 32)
        distances: Tensor = self.distance.to(prediction.device)(prediction, target)
        return distances


def _picked(weights: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    return {own: weights[name] for name, own in names.items() if name in weights}


def _network_file(net: Net) -> Path:
    name = _PUBLISHED[net]
    place = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not place.is_file():
        raise ConfigError(
            f"lpips.weights_file: the ImageNet weights of its network are not at hand; get torchvision's {name} where there is access, "
            f"and put it at {place} or set weights_file=/path/to/{name}; or leave lpips out of the metrics"
        )
    return place


def _learned_file(net: Net) -> Path:
    """Return the file of learned weights of channels, which torchmetrics brings along."""
    spec = importlib.util.find_spec("torchmetrics")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec is not None else []
    for folder in folders:
        file = folder / "functional" / "image" / "lpips_models" / f"{net}.pth"
        if file.is_file():
            return file
    state = "not installed" if spec is None else "installed without them"
    raise ConfigError(
        f"lpips: its learned weights (lpips_models/{net}.pth) come with the package torchmetrics, which is {state}; "
        "run `pip install torchmetrics`, or leave lpips out of the metrics"
    )


@metrics.register("lpips")
@dataclass(frozen=True, kw_only=True)
class LPIPSConfig(MetricConfig):
    """Learned perceptual difference of pictures (LPIPS 0.1); needs a file of ImageNet weights that is not installed with Photic.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, The unreasonable effectiveness of deep features as a perceptual metric.
    """

    net: Literal["alex", "vgg"] = "alex"
    """Network whose features are compared; published tables of low-light enhancers mostly use alex. Values of the two differ."""
    weights_file: Path | None = None
    """File of its ImageNet weights (torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth); null takes the one in torch's cache."""
    gt_mean: bool = False
    """Scale each picture to the mean luma of the true one first; the value is then called `lpips_gt_mean`."""

    def build(self) -> LPIPS:
        """Return the metric.

        Raises:
            ConfigError: no file of weights is at hand.
            CheckpointError: a file cannot be read or does not fit.
        """
        return LPIPS(self.net, self.weights_file, gt_mean=self.gt_mean)
