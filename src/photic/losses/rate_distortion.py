"""The trade-off between the bits of a picture and what they cost in quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from photic.core.errors import ConfigError
from photic.core.registry import losses
from photic.core.schema import Range, Registered
from photic.losses.base import BaseLoss, Compared, LossConfig
from photic.losses.picture import PictureLoss
from photic.losses.reconstruction import MSSSIMLossConfig


class RateDistortionLoss(PictureLoss):
    """``lambda D + R``: a distortion of pictures, and their bits per pixel.

    Networks with several quality levels have a lambda for each, in equal ratios from ``lmbda_lowest`` to ``lmbda``.

    Source: Ballé et al. 2017, End-to-end optimized image compression, the rate-distortion trade-off, lambda at D.

    Args:
        distortion: a loss on pictures, D.
        lmbda: lambda of the highest quality.
        lmbda_lowest: lambda of the lowest quality; None is ``lmbda``.
        level_balance: power p of lambda that each level's trade-off is divided by, relative to the middle of all.

    Raises:
        ConfigError: the distortion does not compare pictures with true ones.
    """

    name: ClassVar[str] = "rate_distortion"

    def __init__(self, distortion: BaseLoss, lmbda: float, lmbda_lowest: float | None = None, level_balance: float = 0.0) -> None:
        super().__init__()
        if distortion.acts_on != "picture" or not distortion.needs_target or isinstance(distortion, RateDistortionLoss):
            raise ConfigError(
                f"rate_distortion.distortion: '{distortion.term_name}' does not compare a picture with the true one; use mse, "
                "ms_ssim_loss, l1 or a sum of such"
            )
        self.distortion = distortion
        self.lmbda = lmbda
        self.lmbda_lowest = lmbda if lmbda_lowest is None else lmbda_lowest
        self.level_balance = level_balance

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "lmbda": self.lmbda,
            "lmbda_lowest": self.lmbda_lowest,
            "level_balance": self.level_balance,
            "distortion": self.distortion.get_params(),
        }

    def trade_off(self, level: float) -> float:
        """Return lambda of a quality level, 0 the lowest and 1 the highest.

        >>> from photic.losses.reconstruction import MSELoss
        >>> round(RateDistortionLoss(MSELoss(), 64.0, 4.0).trade_off(0.5), 6)
        16.0
        """
        return float(self.lmbda_lowest * (self.lmbda / self.lmbda_lowest) ** level)

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``lambda D`` of pictures ``(B, C, H, W)``, at the highest quality: the loss of pictures that take no bits."""
        made: Tensor = self.lmbda * self.distortion(prediction, target, mask)
        return made

    def coded_terms(self, compared: Compared, rate_bpp: Tensor, levels: Tensor) -> dict[str, Tensor]:
        """Return the terms ``distortion`` (lambda D) and ``rate``, weighted; means over the batch.

        With a level balance p, pictures of a level with lambda count ``(middle / lambda)^p``, both their terms: the trade-off of each level
        stays what it is, but the costly levels, whose loss is larger by orders, do not drown the others. A level of whose pictures no
        pixel counts has a rate alone.

        Args:
            compared: pictures, true ones, and a mask, 1 where a pixel counts: only such pixels count in D.
            rate_bpp: bits per pixel ``(B,)``, side information included.
            levels: quality levels ``(B,)``, 0 the lowest and 1 the highest.

        Raises:
            DataError: of no picture any pixel counts, or shapes differ.
        """
        prediction, target, mask, _ = compared
        assert target is not None
        distorted: list[Tensor] = []
        rated: list[Tensor] = []
        middle = self.trade_off(0.5)
        for level in levels.unique().tolist():  # pictures of one quality share their lambda
            here = levels == level
            seen = None if mask is None else mask.expand(len(prediction), *mask.shape[1:])[here]
            lmbda = self.trade_off(level)
            counts = self.weight * here.float().mean() * (middle / lmbda) ** self.level_balance
            rated.append(counts * rate_bpp[here].mean())
            if seen is None or bool(seen.any()):
                distorted.append(counts * lmbda * self.distortion(prediction[here], target[here], seen))
        if not distorted:
            self.distortion(prediction, target, mask)  # says in its own words that nothing counts
        return {"distortion": torch.stack(distorted).sum(), "rate": torch.stack(rated).sum()}


@losses.register("rate_distortion")
@dataclass(frozen=True, kw_only=True)
class RateDistortionConfig(LossConfig):
    """Compression: lambda x distortion + bits per sensor pixel.

    Source: Ballé et al. 2017, End-to-end optimized image compression.
    """

    lmbda: Annotated[float, Range(gt=0)] = 32.0
    """What a distortion of 1 is worth in bits per sensor pixel; higher: better pictures, more bits. About 2 to 128 for ms_ssim_loss, 128 to
    8192 for mse. Of a network with several quality levels, that of the highest."""
    lmbda_lowest: Annotated[float | None, Range(gt=0)] = None
    """Of a network with several quality levels, that of the lowest; those between are in equal ratios. null: all have lmbda."""
    level_balance: Annotated[float, Range(ge=0, le=1)] = 0.0
    """Of a network with several quality levels: power of lambda that each level's loss is divided by. 0 lets the levels of high quality,
    whose loss is larger by orders, lead; 0.5 evens that out. The trade-off of each level stays the same."""
    distortion: Annotated[LossConfig, Registered("losses")] = field(default_factory=MSSSIMLossConfig)
    """The distortion D: a loss on pictures, such as ms_ssim_loss (1 - MS-SSIM), mse, or a sum of losses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lmbda_lowest is not None and self.lmbda_lowest > self.lmbda:
            raise ConfigError(
                f"rate_distortion.lmbda_lowest: expected at most lmbda ({self.lmbda:g}), got {self.lmbda_lowest:g}; higher levels are "
                "better pictures"
            )

    def make(self) -> RateDistortionLoss:
        """Return the loss."""
        return RateDistortionLoss(self.distortion.build(), self.lmbda, self.lmbda_lowest, self.level_balance)

    def build(self) -> RateDistortionLoss:
        """Return the loss, weighted."""
        loss = super().build()
        assert isinstance(loss, RateDistortionLoss)
        return loss
