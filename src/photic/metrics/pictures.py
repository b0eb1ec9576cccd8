"""How well pictures agree with true ones, and how colourful they are: values of single pictures, and their means over a set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.core.registry import metrics
from photic.functional import ssim as similarity
from photic.functional.colour import align_mean, delta_e_2000, saturation, srgb_to_lab
from photic.metrics.base import Metric, MetricConfig

GT_MEAN = "_gt_mean"
"""What names of values end in that were computed after scaling each picture to the mean luma of the true one."""


class PictureMetric(Metric):
    """The mean of a value that each picture has for itself.

    Predictions are clamped to [0, 1] first, as a file would; they are not rounded. Subclasses define :meth:`measure`.

    Args:
        gt_mean: whether each picture is scaled to the mean luma of the true one first, see
            :func:`photic.functional.colour.align_mean`; the value's name then ends in ``_gt_mean``.
    """

    name: ClassVar[str]
    label_text: ClassVar[str]
    needs_target: ClassVar[bool] = True
    """Whether it compares with a true picture; what judges the prediction alone takes anything for a target."""
    takes_mask: ClassVar[bool] = False
    """Whether it can leave pixels out; :meth:`measure` then takes a mask."""

    def __init__(self, *, gt_mean: bool = False) -> None:
        self.gt_mean = gt_mean
        self.reset()

    @property
    def value_name(self) -> str:
        """What the value is called in tables: ``psnr``, ``psnr_gt_mean``."""
        return f"{self.name}{GT_MEAN if self.gt_mean else ''}"

    @property
    def label(self) -> str:
        """What the value is called in words, with its unit."""
        return f"{self.label_text}{', GT mean' if self.gt_mean else ''}"

    @abstractmethod
    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the values ``(B,)`` of clamped (and aligned) pictures ``(B, 3, H, W)``."""

    @torch.no_grad()
    def values(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the value of each picture ``(B,)``, float32.

        Args:
            prediction: ``(B, 3, H, W)``.
            target: the same shape; None only where no target is needed.
            mask: ``(B, 1, H, W)``, 1 where a pixel counts; None counts all.

        Raises:
            DataError: shapes differ or are not ``(B, 3, H, W)``, pictures are too small, or the metric cannot leave pixels out.
        """
        picture, true = _checked(self.value_name, prediction, target if self.needs_target else prediction)
        if mask is None or bool((mask > 0).all()):
            return self.measure(align_mean(picture, true) if self.gt_mean else picture, true)
        if not self.takes_mask or self.gt_mean:
            raise DataError(f"{self.value_name}: cannot leave masked pixels out; use psnr, ssim or ms_ssim where pictures have masks")
        return self.measure(picture, true, mask)  # type: ignore[call-arg]  # those that take a mask take one

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take pictures ``(B, 3, H, W)`` in.

        Raises:
            DataError: as :meth:`values`.
        """
        values = self.values(prediction, target)
        self._sum += float(values.double().sum())
        self._count += len(values)

    def compute(self) -> dict[str, float]:
        """Return the mean over pictures; NaN where there were none."""
        return {self.value_name: self._sum / self._count if self._count else float("nan")}

    def reset(self) -> None:
        """Forget everything seen."""
        self._sum, self._count = 0.0, 0


class PSNR(PictureMetric):
    """Peak signal-to-noise ratio in dB, over all pixels and channels of a picture; infinite where it equals the true one.

    >>> metric = PSNR()
    >>> metric.update(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5))
    >>> round(metric.compute()["psnr"], 3)
    20.0
    """

    name = "psnr"
    label_text = "PSNR (dB)"
    takes_mask = True

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the ratios ``(B,)``."""
        return similarity.psnr(prediction, target, 1.0, mask=mask, reduction="none")


class SSIM(PictureMetric):
    """Structural similarity of red, green and blue, averaged; Gaussian window of 11 pixels and sigma 1.5, population statistics.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, Image quality assessment: from error visibility to structural similarity.

    >>> metric = SSIM()
    >>> metric.update(torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.5))
    >>> round(metric.compute()["ssim"], 6)
    1.0
    """

    name = "ssim"
    label_text = "SSIM"
    takes_mask = True

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the similarities ``(B,)``."""
        require_side(self.value_name, prediction, similarity.min_side(1))
        return similarity.ssim(prediction, target, 1.0, mask=mask, reduction="none")


class MSSSIM(PictureMetric):
    """Multi-scale structural similarity of red, green and blue at five scales, averaged; sides of 161 pixels at least.

    Source: Wang, Simoncelli and Bovik 2003, Multiscale structural similarity for image quality assessment.

    >>> metric = MSSSIM()
    >>> metric.update(torch.full((1, 3, 161, 161), 0.5), torch.full((1, 3, 161, 161), 0.5))
    >>> round(metric.compute()["ms_ssim"], 6)
    1.0
    """

    name = "ms_ssim"
    label_text = "MS-SSIM"
    takes_mask = True

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the similarities ``(B,)``."""
        require_side(self.value_name, prediction, similarity.min_side())
        return similarity.ms_ssim(prediction, target, 1.0, mask=mask, reduction="none")


class DeltaE(PictureMetric):
    """Mean colour difference CIEDE2000 of the pixels; about 1 is just noticeable.

    Source: Sharma, Wu and Dalal 2005, The CIEDE2000 color-difference formula.

    >>> metric = DeltaE()
    >>> metric.update(torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.5))
    >>> round(metric.compute()["delta_e"], 4)
    0.0
    """

    name = "delta_e"
    label_text = "ΔE2000"
    higher_is_better = False

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean differences ``(B,)``."""
        return delta_e_2000(srgb_to_lab(prediction), srgb_to_lab(target)).mean(dim=(1, 2, 3))


class Saturation(PictureMetric):
    """Mean saturation of the prediction, (max - min) / max of the channels; the target is not looked at.

    >>> metric = Saturation()
    >>> metric.update(torch.tensor([0.8, 0.4, 0.4]).view(1, 3, 1, 1), torch.zeros(1, 3, 1, 1))
    >>> round(metric.compute()["saturation"], 4)
    0.5
    """

    name = "saturation"
    label_text = "saturation"
    needs_target = False

    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean saturations ``(B,)``."""
        return saturation(prediction).mean(dim=(1, 2, 3))


_MADE: dict[str, Callable[[], PictureMetric]] = {
    "psnr": PSNR,
    "ssim": SSIM,
    "ms_ssim": MSSSIM,
    "delta_e": DeltaE,
    "saturation": Saturation,
    "psnr_gt_mean": lambda: PSNR(gt_mean=True),
    "ssim_gt_mean": lambda: SSIM(gt_mean=True),
    "ms_ssim_gt_mean": lambda: MSSSIM(gt_mean=True),
    "delta_e_gt_mean": lambda: DeltaE(gt_mean=True),
}
VALUES = tuple(_MADE)
"""Names of the values of a picture that need nothing but it and the true one."""
_OF_MS_SSIM = ("ms_ssim", "ms_ssim_gt_mean")


def picture_values(
    prediction: Tensor, target: Tensor, names: Sequence[str] = VALUES, *, small: Literal["leave_out", "raise"] = "raise"
) -> dict[str, Tensor]:
    """Return the values of each picture: the very numbers whose means the metrics of these names are.

    Args:
        prediction: ``(B, 3, H, W)``; clamped to [0, 1].
        target: the same shape.
        names: which values, of :data:`VALUES`.
        small: what to do about MS-SSIM where a side is shorter than 161 pixels: ``leave_out`` gives a result without it, ``raise`` refuses.

    Returns:
        Name to values ``(B,)``, in the order of ``names``.

    Raises:
        ConfigError: an unknown name.
        DataError: shapes differ or are not ``(B, 3, H, W)``, or pictures are too small.

    >>> found = picture_values(torch.full((2, 3, 16, 16), 0.4), torch.full((2, 3, 16, 16), 0.5), small="leave_out")
    >>> list(found)
    ['psnr', 'ssim', 'delta_e', 'saturation', 'psnr_gt_mean', 'ssim_gt_mean', 'delta_e_gt_mean']
    >>> found["psnr"]
    tensor([20., 20.])
    """
    unknown = [name for name in names if name not in _MADE]
    if unknown:
        raise ConfigError(f"picture_values: unknown values {', '.join(unknown)}; known: {', '.join(VALUES)}")
    if small not in ("leave_out", "raise"):
        raise ConfigError(f"picture_values: small: expected 'leave_out' or 'raise', got {small!r}")
    too_small = prediction.ndim == 4 and min(prediction.shape[-2:]) < similarity.min_side()
    wanted = [name for name in names if not (small == "leave_out" and too_small and name in _OF_MS_SSIM)]
    return {name: _MADE[name]().values(prediction, target) for name in wanted}


def _checked(name: str, prediction: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return both in float32, the prediction clamped; NaN stays NaN."""
    other = None if target is None else tuple(target.shape)
    if target is None or prediction.shape != target.shape or prediction.ndim != 4 or prediction.shape[1] != 3 or not prediction.numel():
        raise DataError(
            f"{name}: expected prediction and target of one shape (B, 3, H, W), in [0, 1], got {tuple(prediction.shape)} and {other}"
        )
    if not torch.is_floating_point(prediction) or not torch.is_floating_point(target):
        raise DataError(
            f"{name}: expected pictures of floats in [0, 1], got {prediction.dtype} and {target.dtype}; divide 8-bit ones by 255"
        )
    return prediction.float().clamp(0, 1), target.float()


def require_side(name: str, picture: Tensor, smallest: int) -> None:
    """Refuse pictures with a side of less than ``smallest`` pixels.

    Raises:
        DataError: they are smaller.
    """
    height, width = picture.shape[-2:]
    if min(height, width) < smallest:
        raise DataError(
            f"{name}: needs pictures of at least {smallest} x {smallest} pixels, got {height} x {width}; "
            "measure whole pictures, or leave this metric out"
        )


@metrics.register("psnr")
@dataclass(frozen=True, kw_only=True)
class PSNRConfig(MetricConfig):
    """Peak signal-to-noise ratio of pictures, dB; mean over pictures."""

    gt_mean: bool = False
    """Scale each picture to the mean luma of the true one first; the value is then called `psnr_gt_mean`."""

    def build(self) -> PSNR:
        """Return the metric."""
        return PSNR(gt_mean=self.gt_mean)


@metrics.register("ssim")
@dataclass(frozen=True, kw_only=True)
class SSIMConfig(MetricConfig):
    """Structural similarity of pictures (SSIM, RGB, Gaussian window); mean over pictures."""

    gt_mean: bool = False
    """Scale each picture to the mean luma of the true one first; the value is then called `ssim_gt_mean`."""

    def build(self) -> SSIM:
        """Return the metric."""
        return SSIM(gt_mean=self.gt_mean)


@metrics.register("ms_ssim")
@dataclass(frozen=True, kw_only=True)
class MSSSIMConfig(MetricConfig):
    """Multi-scale structural similarity of pictures (MS-SSIM) of at least 161 pixels; mean over pictures."""

    gt_mean: bool = False
    """Scale each picture to the mean luma of the true one first; the value is then called `ms_ssim_gt_mean`."""

    def build(self) -> MSSSIM:
        """Return the metric."""
        return MSSSIM(gt_mean=self.gt_mean)


@metrics.register("delta_e")
@dataclass(frozen=True, kw_only=True)
class DeltaEConfig(MetricConfig):
    """Mean colour difference CIEDE2000 of pictures; mean over pictures."""

    gt_mean: bool = False
    """Scale each picture to the mean luma of the true one first; the value is then called `delta_e_gt_mean`."""

    def build(self) -> DeltaE:
        """Return the metric."""
        return DeltaE(gt_mean=self.gt_mean)


@metrics.register("psnr_gt_mean")
@dataclass(frozen=True, kw_only=True)
class PSNRAlignedConfig(PSNRConfig):
    """PSNR after scaling each picture to the mean luma of the true one."""

    gt_mean: Literal[True] = True
    """Always; `psnr` is the one without."""


@metrics.register("ssim_gt_mean")
@dataclass(frozen=True, kw_only=True)
class SSIMAlignedConfig(SSIMConfig):
    """SSIM after scaling each picture to the mean luma of the true one."""

    gt_mean: Literal[True] = True
    """Always; `ssim` is the one without."""


@metrics.register("ms_ssim_gt_mean")
@dataclass(frozen=True, kw_only=True)
class MSSSIMAlignedConfig(MSSSIMConfig):
    """MS-SSIM after scaling each picture to the mean luma of the true one."""

    gt_mean: Literal[True] = True
    """Always; `ms_ssim` is the one without."""


@metrics.register("delta_e_gt_mean")
@dataclass(frozen=True, kw_only=True)
class DeltaEAlignedConfig(DeltaEConfig):
    """CIEDE2000 after scaling each picture to the mean luma of the true one."""

    gt_mean: Literal[True] = True
    """Always; `delta_e` is the one without."""


@metrics.register("saturation")
@dataclass(frozen=True, kw_only=True)
class SaturationConfig(MetricConfig):
    """Mean saturation of the predicted pictures; needs no true ones."""

    def build(self) -> Saturation:
        """Return the metric."""
        return Saturation()
