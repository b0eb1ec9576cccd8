"""Losses of colour: that it agrees with the true one, and that there is any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from photic.core.errors import ConfigError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.functional.colour import hue_vector, saturation
from photic.losses.base import LossConfig
from photic.losses.picture import PictureLoss, kept, mean_of

_DARK = 0.01
"""Level below which colour fades out of the losses, instead of being divided by next to nothing."""


class ColourConsistencyLoss(PictureLoss):
    """Difference of colour, whatever the brightness: chromaticities, saturation and hue.

    Three terms, each a mean over pixels: the absolute differences of R, G and B over their sum; that of the saturations of
    HSV; and 1 - cos of the angle between the hues, weighed by the true chroma, since a grey has no hue. All fade out below a level of
    0.01, smoothly, and none has a case of its own for red, where hue angles wrap around.

    Args:
        chromaticity_weight: factor of the first.
        saturation_weight: factor of the second.
        hue_weight: factor of the third.

    Raises:
        ConfigError: a factor is negative, or all are 0.

    >>> grey, red = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0.6, 0.3, 0.3]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    >>> loss = ColourConsistencyLoss()
    >>> float(loss(red, red)), float(loss(grey, red)) > 0.3
    (0.0, True)
    """

    name: ClassVar[str] = "colour_consistency"
    num_channels: ClassVar[int | None] = 3

    def __init__(self, chromaticity_weight: float = 1.0, saturation_weight: float = 0.5, hue_weight: float = 0.5) -> None:
        super().__init__()
        self.factors = {
            "chromaticity_weight": float(chromaticity_weight),
            "saturation_weight": float(saturation_weight),
            "hue_weight": float(hue_weight),
        }
        if min(self.factors.values()) < 0 or not any(self.factors.values()):
            raise ConfigError(f"colour_consistency: expected weights >= 0, one of them above 0, got {self.factors}")

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return dict(self.factors)

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the difference of the colours of pictures ``(B, 3, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``. A pixel counts if all its channels do.

        Raises:
            DataError: shapes differ or are not ``(B, 3, H, W)``, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        if mask is not None:
            mask = self.pixels(mask.all(dim=1, keepdim=True), prediction[:, :1].shape)
            prediction, target = kept(prediction, mask), kept(target, mask)  # black has no colour: such pixels add nothing
        ratios = (_chromaticity(prediction) - _chromaticity(target)).abs().mean(dim=1, keepdim=True)
        saturations = (saturation(prediction, _DARK) - saturation(target, _DARK)).abs()
        chroma = hue_vector(target).square().sum(dim=1, keepdim=True).sqrt().detach()
        apart = (hue_vector(prediction, _DARK) - hue_vector(target, _DARK)).square().sum(dim=1, keepdim=True)
        means = [mean_of(part, mask) for part in (ratios, saturations, 0.5 * chroma * apart)]
        return torch.stack([factor * mean for factor, mean in zip(self.factors.values(), means, strict=True)]).sum()


class ColourDiversityLoss(PictureLoss):
    """A penalty that grows as a picture fades to grey: exp(-15 d) / 2 + exp(-10 s) / 2.

    d is the mean difference of two channels (over pixels and the three pairs), s the mean saturation, of each picture; it lies
    between 0 and 1, and is 1 for a grey picture. There it has a kink: every colour lowers it alike, and none is preferred. So that a
    picture can leave grey, equal channels of a pixel are taken for red ahead of green ahead of blue on one
    half of the pixels, and the other way round on the other (a chequerboard), which casts no colour on the whole.

    >>> grey, red = torch.full((1, 3, 2, 2), 0.5), torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    >>> float(ColourDiversityLoss()(grey, grey)), round(float(ColourDiversityLoss()(red, red)), 3)
    (1.0, 0.0)
    """

    name: ClassVar[str] = "colour_diversity"
    num_channels: ClassVar[int | None] = 3
    needs_target = False
    _OF_DIFFERENCE = 15.0
    _OF_SATURATION = 10.0

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the penalty for pictures ``(B, 3, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no pictures ``(B, 3, H, W)``.
        """
        picture = self.one(prediction, mask)
        differences = picture[:, [0, 1, 0]] - picture[:, [1, 2, 2]]
        places = torch.arange(picture.shape[-2], device=picture.device)[:, None] + torch.arange(picture.shape[-1], device=picture.device)
        side = 1.0 - 2.0 * (places % 2).to(picture.dtype)
        apart = torch.where(differences == 0, side * differences, differences.abs()).mean(dim=(1, 2, 3))
        colourful = saturation(picture, _DARK).mean(dim=(1, 2, 3))
        return (0.5 * torch.exp(-self._OF_DIFFERENCE * apart) + 0.5 * torch.exp(-self._OF_SATURATION * colourful)).mean()


def _chromaticity(picture: Tensor) -> Tensor:
    """R, G and B over their sum, less a third; smoothly nothing at black, and bounded where the sum is not positive."""
    total = picture.sum(dim=1, keepdim=True)
    return (picture - total / 3) * total / (total.square() + (3 * _DARK) ** 2)


@losses.register("colour_consistency")
@dataclass(frozen=True, kw_only=True)
class ColourConsistencyConfig(LossConfig):
    """Difference of chromaticity, saturation and hue to the true picture, whatever the brightness.

    Source: Zain Ul Abideen, Zhang & Liu 2026, Remove the distraction (RemDiNet), in a differentiable form.
    """

    chromaticity_weight: Annotated[float, Range(ge=0)] = 1.0
    """Factor of the mean absolute difference of R, G and B over their sum."""
    saturation_weight: Annotated[float, Range(ge=0)] = 0.5
    """Factor of the mean absolute difference of saturations, (max - min) / max."""
    hue_weight: Annotated[float, Range(ge=0)] = 0.5
    """Factor of the mean of 1 - cos of the angle between hues, weighed by the true chroma."""

    def make(self) -> ColourConsistencyLoss:
        """Return the loss."""
        return ColourConsistencyLoss(self.chromaticity_weight, self.saturation_weight, self.hue_weight)


@losses.register("colour_diversity")
@dataclass(frozen=True, kw_only=True)
class ColourDiversityConfig(LossConfig):
    """Penalty of pictures that fade to grey; looks at the prediction alone.

    Source: Zain Ul Abideen, Zhang & Liu 2026, Remove the distraction (RemDiNet), in a differentiable form.
    """

    def make(self) -> ColourDiversityLoss:
        """Return the loss."""
        return ColourDiversityLoss()
