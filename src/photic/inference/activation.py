"""Class-activation maps: where in a picture a network sees what it reports.

The network runs without gradients up to its activation layer; only the layer's output, a small map of
features, is differentiated. So a map costs little more than a prediction, works on frozen networks, and
leaves no ``.grad`` behind.

A map is the rectified sum of features weighted by their gradient. Grad-CAM averages each feature's gradient
over the whole picture first, HiResCAM not at all; here it is averaged over 5 x 5 cells of the feature map.
For networks that end in a mean over all places the three are one. For those that also pool a maximum, whose
gradient is one cell, the whole-picture average drowns it in that of the clean rest, and no average leaves a
dot. Measured on generated strips with exact masks (``benchmarks/activation_maps.py``: a trained tiny network,
193 defects found; share of maps whose peak is on the defect, of their sum on it, IoU above half the peak,
share of empty maps):

============  =====  =====  =====  =====
Grad-CAM      0.009  0.006  0.000  0.991
Grad-CAM++    0.816  0.102  0.420  0
LayerCAM      0.971  0.733  0.150  0
HiResCAM      0.976  0.760  0.124  0
XGrad-CAM     0.991  0.423  0.298  0
**this one**  0.980  0.676  0.246  0
============  =====  =====  =====  =====

Grad-CAM++ and XGrad-CAM cover more of a defect, but most of what they colour is clean steel; and they assume
features that are never negative, which those of ConvNeXt are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError
from photic.functional.palette import rgb
from photic.tasks.classification import MultilabelClassification

Picture = NDArray[np.uint8]
Map = NDArray[np.floating[Any]]

_WINDOW = 5  # cells of the feature map; odd


def activation_maps(task: MultilabelClassification, measurement: Tensor, classes: Sequence[int] | None = None) -> Tensor:
    """Return where in each picture the network sees each class, ``(B, C, H, W)`` in [0, 1].

    Each map is brought to the picture's size (bilinear) and divided by its own maximum: its strongest place
    is 1, whatever the probability. Maps therefore say *where*, never *how sure*; a class that nothing in the
    picture speaks for has a map of zeros.

    Args:
        task: a classification task, on the device of ``measurement``; mode and parameters stay as they are.
        measurement: pictures ``(B, 3, H, W)`` in [0, 1].
        classes: indices of the classes wanted, in the order of the result; all of them if omitted.

    Raises:
        DataError: ``measurement`` has another shape.
        ConfigError: a class index is out of range, or the network's activation layer gives no ``(B, F, h, w)``.

    Source: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2, with the mean of eq. 1 taken over a neighbourhood
    of each place; Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM", is the limit of a single cell.
    """
    if measurement.ndim != 4 or measurement.shape[1] != 3:
        raise DataError(f"activation maps: expected pictures (B, 3, H, W), got {tuple(measurement.shape)}")
    with torch.inference_mode(False), torch.no_grad(), _evaluating(task):
        # A tensor made in inference mode may not be differentiated; a copy made outside it may.
        image = measurement.clone() if measurement.is_inference() else measurement
        with _watched(task.network.activation_layer()) as seen:
            logits = task.graph.logits(image)
        features = seen[-1] if seen else None
        if features is None or features.ndim != 4:
            found = "nothing" if features is None else f"shape {tuple(features.shape)}"
            raise ConfigError(f"{type(task.network).__name__}.activation_layer(): expected an output (B, F, h, w), got {found}")
        wanted = _checked(classes, logits.shape[1])
        maps = []
        for index in wanted:
            # Pictures of a batch do not influence each other in evaluation mode, so one sum serves all of them.
            with torch.enable_grad():
                score = logits[:, index].float().sum()
            (gradient,) = torch.autograd.grad(score, features, retain_graph=True)
            weights = F.avg_pool2d(gradient, _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False)
            maps.append(F.relu((weights * features.detach()).sum(dim=1)))
        stacked = torch.stack(maps, dim=1) if maps else features.new_zeros(len(features), 0, *features.shape[2:])
        return _normalised(stacked.float(), measurement.shape[2:], task.network.cell_shift_px)


def overlay(image: Picture, activation: Map, colour: str, strength: float = 0.6, outline: float | None = 0.5) -> Picture:
    """Return a picture with an activation map laid over it.

    Args:
        image: uint8 ``(H, W, 3)``.
        activation: map ``(H, W)`` in [0, 1].
        colour: ``#rrggbb``; covers a pixel by ``strength`` times the map.
        strength: share of the colour where the map is 1.
        outline: level of the map whose outline is drawn; None draws none.

    Raises:
        DataError: sizes or types differ.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != activation.shape:
        given = f"{image.dtype} {image.shape} and {activation.shape}"
        raise DataError(f"overlay: expected a picture uint8 (H, W, 3) and a map (H, W) of its size, got {given}")
    cover = np.clip(activation, 0, 1)[..., None] * strength
    covered: Picture = np.rint(image * (1 - cover) + np.array(rgb(colour)) * cover).astype(np.uint8)
    return covered if outline is None else outlined(covered, activation >= outline, colour)


def outlined(image: Picture, mask: NDArray[np.bool_], colour: str) -> Picture:
    """Return a picture with the outline of a mask: those of its pixels that touch, by a side, one outside.

    Args:
        image: uint8 ``(H, W, 3)``.
        mask: ``(H, W)``.
        colour: ``#rrggbb``.
    """
    padded = np.pad(mask, 1, mode="edge")  # the picture's border is no outline
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    result = image.copy()
    result[mask & ~inner] = rgb(colour)
    return result


def _normalised(maps: Tensor, size: Sequence[int], shift_px: float) -> Tensor:
    """Bring maps ``(B, C, h, w)`` to a size, move them right and down by ``shift_px``, and give each a peak of 1."""
    if not maps.shape[1]:
        return maps.new_zeros(*maps.shape[:2], *size)
    # A sampling grid rather than `interpolate`: the two agree where nothing is to be moved.
    rows, columns = ((torch.arange(side, device=maps.device) + 0.5 - shift_px) * (2 / side) - 1 for side in size)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).expand(len(maps), -1, -1, -1)
    maps = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    peak = maps.amax(dim=(2, 3), keepdim=True)
    return torch.where(peak > 0, maps / peak.clamp_min(torch.finfo(maps.dtype).tiny), torch.zeros_like(maps))


def _checked(classes: Sequence[int] | None, num_classes: int) -> list[int]:
    wanted = list(range(num_classes)) if classes is None else [int(index) for index in classes]
    wrong = [index for index in wanted if not 0 <= index < num_classes]
    if wrong:
        raise ConfigError(f"activation maps: class {wrong[0]} is out of range; the network has classes 0 to {num_classes - 1}")
    return wanted


@contextmanager
def _watched(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Record a layer's output and differentiate everything after it, for the time of the block."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            raise ConfigError(f"{type(layer).__name__}: an activation layer must give a tensor, it gives a {type(output).__name__}")
        features = output.detach().requires_grad_()
        seen.append(features)
        torch.set_grad_enabled(True)
        return features.clone()  # layers after it may work in place, which a leaf does not allow

    handle = layer.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()
        torch.set_grad_enabled(False)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode and every part of it back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
