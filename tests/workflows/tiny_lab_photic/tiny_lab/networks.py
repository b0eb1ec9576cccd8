"""Networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.base import Classifier, ClassifierConfig


class LabNet(Classifier):
    """One convolution, then the brightest answer of each filter."""

    def __init__(self, num_classes: int, filters: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential(nn.Conv2d(3, filters, 5, padding=2), nn.ReLU())
        self.head = nn.Linear(2 * filters, num_classes)

    def activation_layer(self) -> nn.Module:
        return self.features

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.features(image)
        return self.head(torch.cat([found.amax(dim=(2, 3)), found.mean(dim=(2, 3))], dim=1))


@models.register("lab_net", aliases=("labnet",))
@dataclass(frozen=True, kw_only=True)
class LabNetConfig(ClassifierConfig):
    """One convolution of the tiny lab.

    Source: Tiny Lab 2026, "All you need is one convolution".
    """

    filters: Annotated[int, Range(ge=1, le=64)] = 8
    """Number of filters."""

    def build(self) -> LabNet:
        return LabNet(self.outputs(), self.filters)
