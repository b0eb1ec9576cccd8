"""Losses that know that the exposure of a true picture is partly a matter of taste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from photic.core.registry import losses
from photic.core.schema import Range
from photic.functional.colour import luma
from photic.losses.base import LossConfig
from photic.losses.picture import PictureLoss, kept

_DARKEST = 0.02


class AlignedL1Loss(PictureLoss):
    """Mean absolute difference after each picture is scaled to the mean luma of the true one: its exposure makes no difference.

    >>> target = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> float(AlignedL1Loss()(0.5 * target, target)) < 1e-6
    True
    """

    name: ClassVar[str] = "aligned_l1"
    num_channels: ClassVar[int | None] = 3

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean absolute difference of pictures ``(B, 3, H, W)``.

        Raises:
            ConfigError: a mask was given.
            DataError: shapes differ or are not ``(B, 3, H, W)``.
        """
        self.refuse_mask(mask)
        prediction, target = self.two(prediction, target)
        # Nothing is darker than a hardly visible grey here, so that the ratio of a black prediction stays a number with a gradient.
        have = luma(prediction).mean(dim=(1, 2, 3), keepdim=True).clamp_min(_DARKEST)
        want = luma(target).mean(dim=(1, 2, 3), keepdim=True)
        return (prediction * (want / have) - target).abs().mean()


class LogMSELoss(PictureLoss):
    """Mean over pictures of ``log10(1 + MSE / floor)``: a tenth of a decibel counts the same in a good picture and in a bad one.

    PSNR averages logarithms; a loss of plain differences lets pictures whose exposure cannot be known rule the others.

    Args:
        floor: mean squared difference below which the loss flattens out, 1e-4 being 40 dB.

    >>> round(float(LogMSELoss(1e-4)(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5))), 3)
    2.004
    """

    name: ClassVar[str] = "log_mse"

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"floor": self.floor}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean logarithm over pictures ``(B, C, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``. Pictures of which nothing counts are
                left out of the mean.

        Raises:
            DataError: shapes differ or are not ``(B, C, H, W)``, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        squares = (kept(prediction, mask) - kept(target, mask)).square()
        if mask is None:
            return torch.log10(1 + squares.mean(dim=(1, 2, 3)) / self.floor).mean()
        count = mask.sum(dim=(1, 2, 3))
        logarithms = torch.log10(1 + squares.sum(dim=(1, 2, 3)) / count.clamp_min(1) / self.floor)  # 0 where nothing counts
        return logarithms.sum() / (count > 0).sum()


@losses.register("aligned_l1")
@dataclass(frozen=True, kw_only=True)
class AlignedL1Config(LossConfig):
    """Mean absolute difference to the true picture after scaling to its mean luma: exposure makes no difference.

    Source: the alignment that published tables of low-light enhancers use for their values with ground-truth mean.
    """

    def make(self) -> AlignedL1Loss:
        """Return the loss."""
        return AlignedL1Loss()


@losses.register("log_mse")
@dataclass(frozen=True, kw_only=True)
class LogMSEConfig(LossConfig):
    """Logarithm of the mean squared difference of each picture: what PSNR averages."""

    floor: Annotated[float, Range(gt=0)] = 1e-4
    """Mean squared difference (of pictures in [0, 1]) below which the loss flattens out; 1e-4 is 40 dB."""

    def make(self) -> LogMSELoss:
        """Return the loss."""
        return LogMSELoss(self.floor)
