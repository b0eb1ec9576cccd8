"""Losses of an enhanced picture for which nobody knows the true one: exposure, colour balance, and the structure of the dark picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.functional.colour import luma
from photic.losses.base import ActsOn, LossConfig
from photic.losses.picture import PictureLoss


class ExposureLoss(PictureLoss):
    """A push towards the light where a picture is dark: the mean of max(0, level - Y)^2 over patches, Y their mean luma.

    Patches at the level or above it add nothing, and the gradient falls smoothly to zero there. It stands in for a true picture, so
    samples that have one are left out.

    Args:
        level: mean luma that is bright enough, in (0, 1].
        patch_px: side of a patch; what is left over at the right and lower edge makes smaller patches.

    Raises:
        ConfigError: a setting is out of range.

    >>> import torch
    >>> round(float(ExposureLoss()(torch.full((1, 3, 32, 32), 0.25), None)), 6)
    0.04
    """

    name: ClassVar[str] = "exposure"
    num_channels: ClassVar[int | None] = 3
    needs_target = False
    only_without_target = True

    def __init__(self, level: float = 0.45, patch_px: int = 16) -> None:
        super().__init__()
        self.level, self.patch_px = _level_and_patch(self.name, level, patch_px)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"level": self.level, "patch_px": self.patch_px}

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return how far patches of pictures ``(B, 3, H, W)`` in [0, 1] fall short of the level.

        Args:
            prediction: enhanced pictures.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no pictures ``(B, 3, H, W)``.
        """
        picture = self.one(prediction, mask)
        return (self.level - _regions(luma(picture), self.patch_px)).relu().square().mean()


class ExposureControlLoss(PictureLoss):
    """Mean of ``|Y - level|`` over patches, Y their mean intensity: as bright as well-exposed pictures are, everywhere.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE), L_exp.

    Args:
        level: intensity aimed at, in (0, 1].
        patch_px: side of a patch; what is left over at the right and lower edge makes smaller patches.

    Raises:
        ConfigError: a setting is out of range.

    >>> import torch
    >>> round(float(ExposureControlLoss()(torch.full((1, 3, 32, 32), 0.25), None)), 6)
    0.35
    """

    name: ClassVar[str] = "exposure_control"
    num_channels: ClassVar[int | None] = 3
    needs_target = False

    def __init__(self, level: float = 0.6, patch_px: int = 16) -> None:
        super().__init__()
        self.level, self.patch_px = _level_and_patch(self.name, level, patch_px)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"level": self.level, "patch_px": self.patch_px}

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return how far patches of pictures ``(B, 3, H, W)`` in [0, 1] are from the level.

        Args:
            prediction: enhanced pictures.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no pictures ``(B, 3, H, W)``.
        """
        picture = self.one(prediction, mask)
        return (_regions(picture.mean(dim=1, keepdim=True), self.patch_px) - self.level).abs().mean()


class ColourConstancyLoss(PictureLoss):
    """Squared differences of the means of two channels, summed over the three pairs: on average, the world is grey.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE), L_col: the sum of squares, no root of it.

    >>> import torch
    >>> red = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    >>> float(ColourConstancyLoss()(red, None))
    0.125
    """

    name: ClassVar[str] = "colour_constancy"
    num_channels: ClassVar[int | None] = 3
    needs_target = False

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return how unequal the channels of pictures ``(B, 3, H, W)`` are, mean over pictures.

        Args:
            prediction: enhanced pictures.
            target: not looked at; may be anything.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: no pictures ``(B, 3, H, W)``.
        """
        means = self.one(prediction, mask).mean(dim=(2, 3))
        return (means - means.roll(1, dims=1)).square().sum(dim=1).mean()


class SpatialConsistencyLoss(PictureLoss):
    """Neighbouring regions differ after brightening as they did before.

    The sum of (``|Y_i - Y_j| - |I_i - I_j|``)^2 over the neighbours j of a region i, mean over regions. Y and I are mean intensities
    of regions of the brightened and the dark picture; regions at the edge have fewer than four neighbours.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE), L_spa.

    Args:
        region_px: side of a region; what is left over at the right and lower edge makes smaller regions.

    Raises:
        ConfigError: region_px is below 1.

    >>> import torch
    >>> dark = torch.zeros(1, 3, 4, 8)
    >>> bright = torch.cat([torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)], dim=3)
    >>> float(SpatialConsistencyLoss()(bright, dark))
    0.25
    """

    acts_on: ActsOn = "brightening"
    name: ClassVar[str] = "spatial_consistency"
    num_channels: ClassVar[int | None] = 3
    needs_target = False

    def __init__(self, region_px: int = 4) -> None:
        super().__init__()
        if region_px < 1:
            raise ConfigError(f"spatial_consistency.region_px: expected a value >= 1, got {region_px!r}")
        self.region_px = int(region_px)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"region_px": self.region_px}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return how differently regions of pictures ``(B, 3, H, W)`` contrast.

        Args:
            prediction: brightened pictures.
            target: the dark pictures they were made of.
            mask: not possible.

        Raises:
            ConfigError: a mask was given.
            DataError: shapes differ or are not ``(B, 3, H, W)``, or there are no two regions.
        """
        self.refuse_mask(mask)
        bright, dark = (_regions(part.mean(dim=1, keepdim=True), self.region_px) for part in self.two(prediction, target))
        rows, columns = bright.shape[-2:]
        if rows * columns < 2:
            raise DataError(
                f"spatial_consistency: expected pictures of at least two regions of {self.region_px} pixels, got {tuple(prediction.shape)}"
            )
        total = bright.new_zeros(())
        for axis in (-2, -1):
            changes = (bright.diff(dim=axis).abs() - dark.diff(dim=axis).abs()).square()
            total = total + 2 * changes.sum()  # either region of a pair is the other one's neighbour
        return total / bright.numel()


def _level_and_patch(name: str, level: float, patch_px: int) -> tuple[float, int]:
    if not 0 < level <= 1:
        raise ConfigError(f"{name}.level: expected a value > 0 and <= 1, got {level!r}")
    if patch_px < 1:
        raise ConfigError(f"{name}.patch_px: expected a value >= 1, got {patch_px!r}")
    return float(level), int(patch_px)


def _regions(values: Tensor, side_px: int) -> Tensor:
    """Means ``(B, 1, rows, columns)`` of squares; those cut short by an edge are means of what they have."""
    return F.avg_pool2d(values, side_px, ceil_mode=True, count_include_pad=False)


@losses.register("exposure")
@dataclass(frozen=True, kw_only=True)
class ExposureConfig(LossConfig):
    """Push towards the light where patches of a picture without a true one are darker than a level."""

    level: Annotated[float, Range(gt=0, le=1)] = 0.45
    """Mean luma of a patch that is bright enough; at it or above it nothing is added."""
    patch_px: Annotated[int, Range(ge=1)] = 16
    """Side of a patch, pixels."""

    def make(self) -> ExposureLoss:
        """Return the loss."""
        return ExposureLoss(self.level, self.patch_px)


@losses.register("exposure_control")
@dataclass(frozen=True, kw_only=True)
class ExposureControlConfig(LossConfig):
    """Distance of the mean intensity of patches to a well-exposed level; looks at the prediction alone.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE).
    """

    level: Annotated[float, Range(gt=0, le=1)] = 0.6
    """Intensity aimed at."""
    patch_px: Annotated[int, Range(ge=1)] = 16
    """Side of a patch, pixels."""

    def make(self) -> ExposureControlLoss:
        """Return the loss."""
        return ExposureControlLoss(self.level, self.patch_px)


@losses.register("colour_constancy")
@dataclass(frozen=True, kw_only=True)
class ColourConstancyConfig(LossConfig):
    """Squared differences of the means of the channels: the world is grey on average; looks at the prediction alone.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE).
    """

    def make(self) -> ColourConstancyLoss:
        """Return the loss."""
        return ColourConstancyLoss()


@losses.register("spatial_consistency")
@dataclass(frozen=True, kw_only=True)
class SpatialConsistencyConfig(LossConfig):
    """Contrast of neighbouring regions stays what it was in the dark picture.

    Source: Guo et al. 2020, Zero-Reference Deep Curve Estimation (Zero-DCE).
    """

    region_px: Annotated[int, Range(ge=1)] = 4
    """Side of a region, pixels."""

    def make(self) -> SpatialConsistencyLoss:
        """Return the loss."""
        return SpatialConsistencyLoss(self.region_px)
