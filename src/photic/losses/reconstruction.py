"""Losses of a picture against the true one: pixel by pixel, edge by edge, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.functional.ssim import MS_SSIM_WEIGHTS, min_side, ms_ssim, ssim
from photic.losses.base import LossConfig
from photic.losses.picture import PictureLoss, kept, mean_of


class L1Loss(PictureLoss):
    """Mean absolute difference of pixels.

    >>> round(float(L1Loss()(torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.5))), 6)
    0.25
    """

    name: ClassVar[str] = "l1"

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean absolute difference of pictures ``(B, C, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``.

        Raises:
            DataError: shapes differ, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        return mean_of((kept(prediction, mask) - kept(target, mask)).abs(), mask)


class MSELoss(PictureLoss):
    """Mean squared difference of pixels.

    >>> round(float(MSELoss()(torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.5))), 6)
    0.0625
    """

    name: ClassVar[str] = "mse"

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean squared difference of pictures ``(B, C, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``.

        Raises:
            DataError: shapes differ, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        return mean_of((kept(prediction, mask) - kept(target, mask)).square(), mask)


class CharbonnierLoss(PictureLoss):
    """Mean of sqrt(d^2 + eps^2) of the differences d: absolute differences, rounded off at zero.

    Source: Charbonnier et al. 1994, Two deterministic half-quadratic regularization algorithms for computed imaging.

    Args:
        eps: difference below which it is quadratic; also its value where both are equal.

    Raises:
        ConfigError: eps is not positive.

    >>> round(float(CharbonnierLoss(1e-3)(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4))), 6)
    0.001
    """

    name: ClassVar[str] = "charbonnier"

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        if not eps > 0:
            raise ConfigError(f"charbonnier.eps: expected a value > 0, got {eps!r}")
        self.eps = float(eps)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"eps": self.eps}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean rounded-off difference of pictures ``(B, C, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``.

        Raises:
            DataError: shapes differ, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        difference = kept(prediction, mask) - kept(target, mask)
        return mean_of(kept(torch.sqrt(difference.square() + self.eps**2), mask), mask)


class LocalMeanLoss(PictureLoss):
    """Mean squared difference of the means of square blocks, channel by channel: what is seen of colour and brightness from afar.

    A block's mean is that of its pixels that count, and it counts by their number, as do blocks that the border cuts short. It is never
    above the mean squared difference of pixels, and without a tolerance the same for differences that are constant within blocks.

    Losses of structure barely see that a dark picture turns grey, and pixels one by one are dear where few bits are to be spent: a
    compressor trained with those alone gives up mean colours first, which people see first.

    Args:
        block_px: side of a block.
        tolerance: what differences of means are allowed to be; of larger ones, what goes beyond is squared.

    Raises:
        ConfigError: not a positive number of pixels, or a negative tolerance.

    >>> checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8).expand(1, 3, 16, 16)
    >>> loss = LocalMeanLoss(16)
    >>> float(loss(checks, 1 - checks)), float(loss(checks, checks + 0.5))
    (0.0, 0.25)
    """

    name: ClassVar[str] = "local_mean"

    def __init__(self, block_px: int = 16, tolerance: float = 0.0) -> None:
        super().__init__()
        if block_px < 1:
            raise ConfigError(f"local_mean.block_px: expected a side >= 1, got {block_px!r}")
        if not tolerance >= 0:
            raise ConfigError(f"local_mean.tolerance: expected a value >= 0, got {tolerance!r}")
        self.block_px = int(block_px)
        self.tolerance = float(tolerance)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"block_px": self.block_px, "tolerance": self.tolerance}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean squared difference of the blocks' means of pictures ``(B, C, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``.

        Raises:
            DataError: shapes differ, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        difference = kept(prediction, mask) - kept(target, mask)
        counts = torch.ones_like(difference) if mask is None else mask.to(difference)
        numbers = self._block_sums(counts)
        apart = self._block_sums(difference).abs() / numbers.clamp_min(1)
        return (numbers * F.relu(apart - self.tolerance).square()).sum() / numbers.sum()

    def _block_sums(self, values: Tensor) -> Tensor:
        side = self.block_px
        whole = F.pad(values, (0, -values.shape[-1] % side, 0, -values.shape[-2] % side))
        return F.avg_pool2d(whole, side, divisor_override=1)


class SobelEdgeLoss(PictureLoss):
    """Mean absolute difference of Sobel gradients, along rows and along columns, channel by channel.

    The kernels are the plain ones, [1, 2, 1] across [-1, 0, 1]; only where all their nine pixels lie inside, and count, does a place count.

    >>> ramp = torch.arange(5.0).expand(1, 3, 5, 5)
    >>> float(SobelEdgeLoss()(ramp, torch.zeros(1, 3, 5, 5)))
    4.0
    """

    name: ClassVar[str] = "sobel_edge"

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean absolute difference of the gradients of pictures ``(B, C, H, W)``.

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``.

        Raises:
            DataError: shapes differ, pictures below 3 x 3 pixels, or the mask leaves no 3 x 3 neighbourhood.
        """
        prediction, target = self.two(prediction, target)
        if min(prediction.shape[-2:]) < 3:
            raise DataError(f"sobel_edge: expected pictures of at least 3 x 3 pixels, got {tuple(prediction.shape)}")
        mask = self.pixels(mask, prediction.shape)
        difference = kept(prediction, mask) - kept(target, mask)
        inner = None if mask is None else F.max_pool2d((~mask).to(difference.dtype), 3, stride=1) == 0
        if inner is not None and not bool(inner.any()):
            raise DataError("sobel_edge: the mask leaves no neighbourhood of 3 x 3 pixels, so there is no loss; correct the mask")
        # The gradient of the difference is the difference of the gradients.
        columns, rows = _smooth(_slope(difference, -1), -2), _smooth(_slope(difference, -2), -1)
        return 0.5 * (mean_of(kept(columns.abs(), inner), inner) + mean_of(kept(rows.abs(), inner), inner))


class SSIMLoss(PictureLoss):
    """1 - SSIM, see :func:`photic.functional.ssim.ssim`.

    With a mask, a window's means and variances are those of its pixels that count, and it counts by their share.

    >>> round(float(SSIMLoss()(torch.ones(1, 3, 16, 16), torch.ones(1, 3, 16, 16))), 6)
    0.0
    """

    name: ClassVar[str] = "ssim_loss"

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return one less the mean structural similarity of pictures ``(B, C, H, W)`` in [0, 1].

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``. Pictures of which nothing counts are
                left out of the mean.

        Raises:
            DataError: shapes differ, pictures are smaller than the window of 11 pixels, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        if min(prediction.shape[-2:]) < min_side(1):
            raise DataError(f"ssim_loss: expected pictures of at least {min_side(1)} x {min_side(1)} pixels, got {_size(prediction)}")
        return 1 - ssim(prediction, target, 1.0, mask=mask)


class MSSSIMLoss(PictureLoss):
    """1 - MS-SSIM, see :func:`photic.functional.ssim.ms_ssim`. Pictures too small for the scales are refused.

    With a mask, pixels of coarser scales are means of those of their four that count, and count by their share; each scale is then
    taken as :class:`SSIMLoss` says.

    Args:
        num_scales: of the five scales, the finest so many; each one less halves the shortest side it takes, 161 pixels at five.

    Raises:
        ConfigError: not 1 to 5.

    >>> round(float(MSSSIMLoss(2)(torch.ones(1, 3, 22, 22), torch.ones(1, 3, 22, 22))), 6)
    0.0
    """

    name: ClassVar[str] = "ms_ssim_loss"

    def __init__(self, num_scales: int = len(MS_SSIM_WEIGHTS)) -> None:
        super().__init__()
        if not 1 <= num_scales <= len(MS_SSIM_WEIGHTS):
            raise ConfigError(f"ms_ssim_loss.num_scales: expected 1 to {len(MS_SSIM_WEIGHTS)}, got {num_scales!r}")
        self.num_scales = int(num_scales)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"num_scales": self.num_scales}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return one less the mean multi-scale structural similarity of pictures ``(B, C, H, W)`` in [0, 1].

        Args:
            prediction: enhanced pictures.
            target: true pictures.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(B, 1, H, W)``. Pictures of which nothing counts are
                left out of the mean.

        Raises:
            DataError: shapes differ, pictures are too small for the scales, or the mask leaves nothing.
        """
        prediction, target = self.two(prediction, target)
        mask = self.pixels(mask, prediction.shape)
        smallest = min_side(self.num_scales)
        if min(prediction.shape[-2:]) < smallest:
            fitting = [number for number in range(1, self.num_scales) if min(prediction.shape[-2:]) >= min_side(number)]
            fewer = f", or fewer scales (num_scales={fitting[-1]} fits)" if fitting else ""
            raise DataError(
                f"ms_ssim_loss: {self.num_scales} scale(s) need pictures of at least {smallest} x {smallest} pixels, "
                f"got {_size(prediction)}; use larger crops{fewer}"
            )
        return 1 - ms_ssim(prediction, target, 1.0, mask=mask, num_scales=self.num_scales)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-2]} x {picture.shape[-1]}"


def _slope(values: Tensor, axis: int) -> Tensor:
    side = values.shape[axis]
    return values.narrow(axis, 2, side - 2) - values.narrow(axis, 0, side - 2)


def _smooth(values: Tensor, axis: int) -> Tensor:
    side = values.shape[axis]
    return values.narrow(axis, 0, side - 2) + 2 * values.narrow(axis, 1, side - 2) + values.narrow(axis, 2, side - 2)


@losses.register("l1")
@dataclass(frozen=True, kw_only=True)
class L1Config(LossConfig):
    """Mean absolute difference to the true picture."""

    def make(self) -> L1Loss:
        """Return the loss."""
        return L1Loss()


@losses.register("mse")
@dataclass(frozen=True, kw_only=True)
class MSEConfig(LossConfig):
    """Mean squared difference to the true picture."""

    def make(self) -> MSELoss:
        """Return the loss."""
        return MSELoss()


@losses.register("charbonnier")
@dataclass(frozen=True, kw_only=True)
class CharbonnierConfig(LossConfig):
    """Mean absolute difference to the true picture, rounded off at zero.

    Source: Charbonnier et al. 1994, Two deterministic half-quadratic regularization algorithms for computed imaging.
    """

    eps: Annotated[float, Range(gt=0)] = 1e-3
    """Difference below which it is quadratic, in parts of the full range; also its value where both pictures are equal."""

    def make(self) -> CharbonnierLoss:
        """Return the loss."""
        return CharbonnierLoss(self.eps)


@losses.register("local_mean")
@dataclass(frozen=True, kw_only=True)
class LocalMeanConfig(LossConfig):
    """Mean squared difference of the means of square blocks to those of the true picture: keeps colours where bits are few."""

    block_px: Annotated[int, Range(ge=1)] = 16
    """Side of a block."""
    tolerance: Annotated[float, Range(ge=0)] = 0.0
    """Differences of means up to this do not count, in parts of the full range: what nobody sees need not be paid for."""

    def make(self) -> LocalMeanLoss:
        """Return the loss."""
        return LocalMeanLoss(self.block_px, self.tolerance)


@losses.register("sobel_edge")
@dataclass(frozen=True, kw_only=True)
class SobelEdgeConfig(LossConfig):
    """Mean absolute difference of Sobel gradients to those of the true picture."""

    def make(self) -> SobelEdgeLoss:
        """Return the loss."""
        return SobelEdgeLoss()


@losses.register("ssim_loss")
@dataclass(frozen=True, kw_only=True)
class SSIMLossConfig(LossConfig):
    """One less the structural similarity (SSIM) with the true picture.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, Image quality assessment: from error visibility to structural similarity.
    """

    def make(self) -> SSIMLoss:
        """Return the loss."""
        return SSIMLoss()


@losses.register("ms_ssim_loss")
@dataclass(frozen=True, kw_only=True)
class MSSSIMLossConfig(LossConfig):
    """One less the multi-scale structural similarity (MS-SSIM) with the true picture; crops must have 161 pixels at five scales.

    Source: Wang, Simoncelli and Bovik 2003, Multiscale structural similarity for image quality assessment.
    """

    num_scales: Annotated[int, Range(ge=1, le=5)] = 5
    """Number of scales, the finest first. The shortest side is 161 pixels at 5, 81 at 4, 41 at 3, 21 at 2, 11 at 1."""

    def make(self) -> MSSSIMLoss:
        """Return the loss."""
        return MSSSIMLoss(self.num_scales)
