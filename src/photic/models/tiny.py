"""A small network for quick runs, tests and machines without an accelerator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from photic.core.errors import DataError
from photic.core.registry import models
from photic.core.schema import Range
from photic.models.base import Classifier, ClassifierConfig

MIN_SIZE_PX = 16


class TinyClassifier(Classifier):
    """Four convolutions and a residual block at an eighth of the resolution, pooled by mean and maximum.

    The maximum lets a defect of a few pixels decide alone; the mean sees wide-spread ones. Normalisation is by
    groups of channels of one picture: no batch statistics, so batch 1 trains like any other.

    Args:
        num_classes: number of outputs C.
        width: channels after the first convolution; the last have four times as many.
    """

    # Not trained on anything before: the input is merely centred.
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)
    cell_shift_px = -3.5  # three convolutions of stride 2 that pad both sides

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.reduce = nn.Sequential(_block(3, width, stride=2), _block(width, 2 * width, stride=2), _block(2 * width, 4 * width, stride=2))
        self.refine = _block(4 * width, 4 * width, stride=1)
        self.join = nn.Identity()  # the place class-activation maps are taken from: (B, 4 width, H/8, W/8)
        self.head = nn.Linear(8 * width, num_classes)

    def activation_layer(self) -> nn.Module:
        """Return the module that gives the last feature map ``(B, 4 width, H/8, W/8)``."""
        return self.join

    def forward(self, image: Tensor) -> Tensor:
        """Return logits ``(B, C)`` for normalised pictures ``(B, 3, H, W)``.

        Raises:
            DataError: a side is shorter than 16 pixels.
        """
        if min(image.shape[-2:]) < MIN_SIZE_PX:
            raise DataError(f"tiny: pictures of {tuple(image.shape)} are too small; each side needs {MIN_SIZE_PX} pixels or more")
        features = self.reduce(image)
        features = self.join(features + self.refine(features))
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        logits: Tensor = self.head(pooled)
        return logits


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(math.gcd(4, outputs), outputs),
        nn.ReLU(),
    )


@models.register("tiny")
@dataclass(frozen=True, kw_only=True)
class TinyConfig(ClassifierConfig):
    """Small network (62 k parameters) without batch statistics, for quick runs and tests."""

    width: Annotated[int, Range(ge=4, le=64)] = 16
    """Channels after the first convolution; parameters grow with its square."""

    def build(self) -> TinyClassifier:
        """Return the network.

        Raises:
            ConfigError: num_classes is open.
        """
        return TinyClassifier(self.outputs(), self.width)
