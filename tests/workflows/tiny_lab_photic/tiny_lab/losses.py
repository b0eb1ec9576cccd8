"""Losses: a plain class, whose config is made from its signature."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from photic.core.registry import losses
from photic.core.schema import Range
from photic.losses.base import BaseLoss


@losses.register("lab_loss")
class LabLoss(BaseLoss):
    """Squared distance of the probabilities from the labels.

    Args:
        sharpness: factor on the logits,
            which are saturated sooner where it is large.
    """

    def __init__(self, sharpness: Annotated[float, Range(gt=0)] = 1.0) -> None:
        super().__init__()
        self.sharpness = sharpness

    def get_params(self) -> dict:
        return {"sharpness": self.sharpness}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.mse_loss((self.sharpness * prediction).sigmoid(), target)
