"""Losses of what an enhancer makes on its way: blend masks and curve maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.losses.base import ActsOn, LossConfig
from photic.losses.picture import PictureLoss


class MaskMeanLoss(PictureLoss):
    """(mean - target)^2 of each blend mask, mean over the batch: so that neither of two branches is left unused.

    Args:
        target: mean aimed at, in [0, 1].

    Raises:
        ConfigError: it is outside.

    >>> import torch
    >>> float(MaskMeanLoss()(torch.ones(1, 1, 4, 4), None))
    0.25
    """

    acts_on: ActsOn = "mask"
    name: ClassVar[str] = "mask_mean"
    num_channels: ClassVar[int | None] = 1
    needs_target = False

    def __init__(self, target: float = 0.5) -> None:
        super().__init__()
        if not 0 <= target <= 1:
            raise ConfigError(f"mask_mean.target: expected a value >= 0 and <= 1, got {target!r}")
        self.target = float(target)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"target": self.target}

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return how far the means of blend masks ``(B, 1, H, W)`` are from the one aimed at, squared.

        Args:
            prediction: blend masks.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no blend masks ``(B, 1, H, W)``.
        """
        return (self.one(prediction, mask).mean(dim=(1, 2, 3)) - self.target).square().mean()


class _CurveLoss(PictureLoss):
    """A loss of curve maps ``(B, 3 n, H, W)``: n steps of red, green and blue."""

    acts_on: ActsOn = "curves"
    needs_target = False

    def curves(self, prediction: Tensor, mask: Tensor | None) -> Tensor:
        """Return curve maps.

        Raises:
            ConfigError: a mask was given.
            DataError: the number of channels is no multiple of three, or another shape.
        """
        curves = self.one(prediction, mask)
        if curves.shape[1] % 3:
            raise DataError(f"{self.name}: expected curve maps (B, 3 n, H, W), three for each step, got {tuple(prediction.shape)}")
        return curves


class CurvePenaltyLoss(_CurveLoss):
    """Mean square of curve maps: pictures are bent no more than needed.

    >>> import torch
    >>> float(CurvePenaltyLoss()(torch.full((1, 24, 4, 4), 0.5), None))
    0.25
    """

    name: ClassVar[str] = "curve_penalty"

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the mean square of curve maps ``(B, 3 n, H, W)``.

        Args:
            prediction: curve maps.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no curve maps.
        """
        return self.curves(prediction, mask).square().mean()


class IlluminationSmoothnessLoss(_CurveLoss):
    """(``|dA/dx| + |dA/dy|``)^2 of curve maps A: mean over pixels and steps, summed over red, green and blue.

    Differences are those to the right and the lower neighbour, where there are both; what is squared is their mean over a map.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE), L_tv.

    >>> import torch
    >>> ramp = 0.5 * torch.arange(4.0).expand(1, 24, 4, 4)
    >>> float(IlluminationSmoothnessLoss()(ramp, None))
    0.75
    """

    name: ClassVar[str] = "illumination_smoothness"

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the variation of curve maps ``(B, 3 n, H, W)``.

        Args:
            prediction: curve maps.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no curve maps, or of less than 2 x 2 pixels.
        """
        curves = self.curves(prediction, mask)
        if min(curves.shape[-2:]) < 2:
            raise DataError(f"illumination_smoothness: expected curve maps of at least 2 x 2 pixels, got {tuple(prediction.shape)}")
        right, down = curves.diff(dim=-1)[..., :-1, :].abs(), curves.diff(dim=-2)[..., :-1].abs()
        return 3 * (right + down).square().mean()


@losses.register("mask_mean")
@dataclass(frozen=True, kw_only=True)
class MaskMeanConfig(LossConfig):
    """Squared distance of the mean of each blend mask to a value aimed at, so that no branch is left unused."""

    target: Annotated[float, Range(ge=0, le=1)] = 0.5
    """Mean aimed at; 0.5 gives both branches half of the picture."""

    def make(self) -> MaskMeanLoss:
        """Return the loss."""
        return MaskMeanLoss(self.target)


@losses.register("curve_penalty")
@dataclass(frozen=True, kw_only=True)
class CurvePenaltyConfig(LossConfig):
    """Mean square of curve maps."""

    def make(self) -> CurvePenaltyLoss:
        """Return the loss."""
        return CurvePenaltyLoss()


@losses.register("illumination_smoothness")
@dataclass(frozen=True, kw_only=True)
class IlluminationSmoothnessConfig(LossConfig):
    """Total variation of curve maps, squared: neighbouring pixels are brightened alike.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE).
    """

    def make(self) -> IlluminationSmoothnessLoss:
        """Return the loss."""
        return IlluminationSmoothnessLoss()
