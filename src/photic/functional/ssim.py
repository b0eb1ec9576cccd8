"""Structural similarity and peak signal-to-noise ratio of pictures ``(B, C, H, W)``, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from photic.core.errors import ConfigError, DataError

Reduction = Literal["mean", "none"]
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli and Bovik 2003)."""
_FLOOR = 1e-6


def psnr(
    prediction: Tensor, target: Tensor, data_range: float | Tensor, *, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of each picture, or its mean over a batch.

    Args:
        prediction: ``(B, C, H, W)``.
        target: the same shape.
        data_range: peak to peak of what the pictures can hold, or ``(B,)`` for each; never taken from the type.
        mask: above 0 where a pixel counts, of a shape that broadcasts, for example ``(B, 1, H, W)``; the mean is over those pixels.
        reduction: ``none`` gives ``(B,)``, NaN where no pixel of a picture counts; ``mean`` leaves such out. Equal pictures have an
            infinite ratio.

    Raises:
        ConfigError: a range that is not above 0, or an unknown reduction.
        DataError: shapes differ or are not ``(B, C, H, W)``, or no pixel of any picture counts.

    >>> round(float(psnr(torch.full((1, 1, 4, 4), 0.1), torch.zeros(1, 1, 4, 4), 1.0)), 4)
    20.0
    """
    x, y, peak = _checked(prediction, target, data_range)
    x, y, weights = _masked(x, y, mask)
    squares = (x - y).square()
    mean = squares.mean(dim=(1, 2, 3)) if weights is None else squares.sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
    return _reduced(10 * torch.log10(peak.square() / mean), reduction, weights)


def ssim(
    prediction: Tensor,
    target: Tensor,
    data_range: float | Tensor,
    *,
    mask: Tensor | None = None,
    window: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the structural similarity of each picture, or its mean over a batch.

    Gaussian window, population statistics, and only windows that lie wholly inside count, as in the paper. It is computed in float32 at
    least, whatever the type given or an autocast, and variances around the picture's mean, so bright pictures lose no digits.

    With a mask, means and variances of a window are those of its pixels that count, and a window counts by their share of its
    Gaussian. What does not count is never looked at.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, Image quality assessment: from error visibility to structural similarity.

    Args:
        prediction: ``(B, C, H, W)``; channels are pictures of their own, averaged.
        target: the same shape.
        data_range: peak to peak of what the pictures can hold, or ``(B,)`` for each.
        mask: above 0 where a pixel counts, of a shape that broadcasts, for example ``(B, 1, H, W)``.
        window: side of the Gaussian window in pixels, odd.
        sigma: of the Gaussian, pixels.
        k1: constant of the luminance.
        k2: constant of contrast and structure.
        reduction: ``none`` gives ``(B,)``, NaN where nothing of a picture counts; ``mean`` leaves such out.

    Raises:
        ConfigError: a setting is out of range.
        DataError: shapes differ, are not ``(B, C, H, W)``, are smaller than the window, or nothing counts.

    >>> picture = torch.rand(1, 1, 16, 16)
    >>> round(float(ssim(picture, picture, 1.0)), 6)
    1.0
    """
    x, y, peak = _checked(prediction, target, data_range)
    kernel = _gaussian(window, sigma, x)
    _check_size(x, window, 1)
    x, y, weights = _masked(x, y, mask)
    whole, _ = _similarities(x, y, weights, peak=peak, kernel=kernel, k=(k1, k2))
    return _reduced(whole.mean(dim=1), reduction, weights)


def ms_ssim(
    prediction: Tensor,
    target: Tensor,
    data_range: float | Tensor,
    *,
    mask: Tensor | None = None,
    num_scales: int | None = None,
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
    window: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the multi-scale structural similarity of each picture, or its mean over a batch.

    Contrast and structure of all scales, luminance of the coarsest, each to the power of its weight; every scale halves the one before by
    means of 2 x 2 pixels, an odd side being continued by a zero at its beginning: as in the package pytorch-msssim, whose values these are.
    Values below 1e-6 (structure that is reversed can be negative) count as 1e-6.

    With a mask, a pixel of a coarser scale is the mean of those of its four that count, and counts by their share; each scale is
    then taken as :func:`ssim` says.

    Source: Wang, Simoncelli and Bovik 2003, Multiscale structural similarity for image quality assessment.

    Args:
        prediction: ``(B, C, H, W)``; channels are pictures of their own, averaged.
        target: the same shape.
        data_range: peak to peak of what the pictures can hold, or ``(B,)`` for each.
        mask: above 0 where a pixel counts, of a shape that broadcasts, for example ``(B, 1, H, W)``.
        num_scales: for pictures too small for all: use the first so many weights, made to sum to one. Values of different numbers of
            scales cannot be compared. None: all.
        weights: exponent of every scale, finest first.
        window: side of the Gaussian window in pixels, odd.
        sigma: of the Gaussian, pixels.
        k1: constant of the luminance.
        k2: constant of contrast and structure.
        reduction: ``none`` gives ``(B,)``, NaN where nothing of a picture counts; ``mean`` leaves such out.

    Raises:
        ConfigError: a setting is out of range.
        DataError: shapes differ, are not ``(B, C, H, W)``, too small for that many scales, or nothing counts.

    >>> picture = torch.rand(1, 1, 32, 32)
    >>> round(float(ms_ssim(picture, picture, 1.0, num_scales=2)), 6)
    1.0
    """
    x, y, peak = _checked(prediction, target, data_range)
    if not weights or any(not weight > 0 for weight in weights):
        raise ConfigError(f"weights: expected positive numbers, got {tuple(weights)}")
    if num_scales is not None and not 1 <= num_scales <= len(weights):
        raise ConfigError(f"num_scales: expected 1 to {len(weights)}, one for each weight at most, got {num_scales!r}")
    exponents = list(weights)
    if num_scales is not None and num_scales < len(weights):
        exponents = [weight / sum(weights[:num_scales]) for weight in weights[:num_scales]]
    kernel = _gaussian(window, sigma, x)
    _check_size(x, window, len(exponents))
    x, y, pixels = _masked(x, y, mask)
    counted = pixels
    product = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
    for scale, exponent in enumerate(exponents):
        if scale:
            x, y, counted = _halved(x, y, counted)
        whole, contrast = _similarities(x, y, counted, peak=peak, kernel=kernel, k=(k1, k2))
        value = whole if scale == len(exponents) - 1 else contrast
        # Clamped well above zero: a power below one has no finite gradient at zero.
        product = product * value.clamp_min(_FLOOR) ** exponent
    return _reduced(product.mean(dim=1), reduction, pixels)


def min_side(num_scales: int = len(MS_SSIM_WEIGHTS), window: int = 11) -> int:
    """Return the shortest side in pixels that :func:`ms_ssim` takes at so many scales.

    >>> min_side(), min_side(1)
    (161, 11)
    """
    side: int = (window - 1) * 2 ** (num_scales - 1) + 1
    return side


def _similarities(
    x: Tensor, y: Tensor, weights: Tensor | None, *, peak: Tensor, kernel: Tensor, k: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Mean similarity, and mean of its part of contrast and structure, of each channel: ``(B, C)``."""
    c1, c2 = ((constant * peak).square()[:, None, None, None] for constant in k)
    # Variances do not depend on what is taken off first; without it, they are small differences of large squares.
    if weights is None:
        middle = y.mean(dim=(2, 3), keepdim=True).detach()
        x, y = x - middle, y - middle
        mean_x, mean_y, xx, yy, xy = _filtered(torch.stack([x, y, x * x, y * y, x * y]), kernel)
    else:
        middle = ((weights * y).sum(dim=(2, 3), keepdim=True) / weights.sum(dim=(2, 3), keepdim=True).clamp_min(_FLOOR)).detach()
        x, y = x - middle, y - middle
        share, *sums = _filtered(torch.stack([weights, *(weights * part for part in (x, y, x * x, y * y, x * y))]), kernel)
        mean_x, mean_y, xx, yy, xy = (part / share.clamp_min(_FLOOR) for part in sums)
    var_x, var_y, cov = xx - mean_x * mean_x, yy - mean_y * mean_y, xy - mean_x * mean_y
    mean_x, mean_y = mean_x + middle, mean_y + middle
    contrast = (2 * cov + c2) / (var_x.clamp_min(0) + var_y.clamp_min(0) + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    if weights is None:
        return (luminance * contrast).mean(dim=(2, 3)), contrast.mean(dim=(2, 3))
    total = share.sum(dim=(2, 3)).clamp_min(_FLOOR)
    return (share * luminance * contrast).sum(dim=(2, 3)) / total, (share * contrast).sum(dim=(2, 3)) / total


def _halved(x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Means of 2 x 2 pixels; an odd side begins with a zero, which counts as much as the pixel beside it."""
    odd = (x.shape[-2] % 2, x.shape[-1] % 2)
    if weights is None:
        return F.avg_pool2d(x, 2, padding=odd), F.avg_pool2d(y, 2, padding=odd), None
    edge = (odd[1], 0, odd[0], 0)
    share = F.avg_pool2d(F.pad(weights, edge, mode="replicate"), 2)
    x, y = (F.avg_pool2d(F.pad(weights * part, edge), 2) / share.clamp_min(_FLOOR) for part in (x, y))
    return x, y, share


def _masked(x: Tensor, y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Both with zeros where they do not count, and 1 where they do; None where all does.

    Raises:
        DataError: a mask that does not broadcast, or leaves nothing.
    """
    if mask is None:
        return x, y, None
    try:
        counts = (mask > 0).expand(x.shape)
    except RuntimeError:
        raise DataError(f"expected a mask that broadcasts to {tuple(x.shape)}, such as (B, 1, H, W), got {tuple(mask.shape)}") from None
    if bool(counts.all()):
        return x, y, None
    if not bool(counts.any()):
        raise DataError("the mask leaves out every pixel of every picture, so there is nothing to compare; 1 marks what counts")
    return x.masked_fill(~counts, 0.0), y.masked_fill(~counts, 0.0), counts.to(x.dtype)


def _filtered(stack: Tensor, kernel: Tensor) -> Tensor:
    """Gaussian means ``(N, B, C, H', W')`` of ``(N, B, C, H, W)`` over all windows that lie inside."""
    height, width = stack.shape[-2:]
    with torch.autocast(device_type=stack.device.type, enabled=False):
        # As channels of one picture, not as pictures of one channel: the same numbers, and some thirty times as fast on a CPU.
        flat = stack.reshape(1, -1, height, width)
        planes = flat.shape[1]
        down, along = kernel.view(1, 1, -1, 1).expand(planes, 1, -1, 1), kernel.view(1, 1, 1, -1).expand(planes, 1, 1, -1)
        made = F.conv2d(F.conv2d(flat, down, groups=planes), along, groups=planes)
    return made.reshape(*stack.shape[:-2], *made.shape[-2:])


def _gaussian(window: int, sigma: float, like: Tensor) -> Tensor:
    if window < 1 or window % 2 == 0:
        raise ConfigError(f"window: expected an odd number of pixels, got {window!r}")
    if not sigma > 0:
        raise ConfigError(f"sigma: expected a value above 0, got {sigma!r}")
    places = torch.arange(window, dtype=torch.float64) - window // 2
    values = torch.exp(-places.square() / (2 * sigma**2))
    return (values / values.sum()).to(like)


def _checked(prediction: Tensor, target: Tensor, data_range: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if prediction.shape != target.shape or prediction.ndim != 4 or not prediction.numel():
        raise DataError(
            f"expected prediction and target of one shape (B, C, H, W), got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    if prediction.is_complex() or target.is_complex():
        raise DataError("expected real pictures; compare amplitude and phase of complex ones separately")
    kind = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    peak = torch.as_tensor(data_range, dtype=kind)  # where it was: checking a plain number must not wait for a GPU
    if peak.shape not in ((), (len(prediction),)) or not bool((peak > 0).all() & peak.isfinite().all()):
        raise ConfigError(f"data_range: expected a number above 0, or one for each of {len(prediction)} pictures, got {data_range!r}")
    peak = peak.to(prediction.device, non_blocking=True)
    return prediction.to(kind), target.to(kind), peak.expand(len(prediction))


def _check_size(x: Tensor, window: int, num_scales: int) -> None:
    smallest = min_side(num_scales, window)
    if min(x.shape[-2:]) < smallest:
        fitting = [number for number in range(1, num_scales) if min(x.shape[-2:]) >= min_side(number, window)]
        advice = f"; use num_scales={fitting[-1]}" if fitting else "; use a smaller window"
        size = f"{x.shape[-2]} x {x.shape[-1]}"
        raise DataError(f"expected pictures of at least {smallest} x {smallest} pixels for {num_scales} scale(s), got {size}{advice}")


def _reduced(values: Tensor, reduction: Reduction, weights: Tensor | None) -> Tensor:
    if reduction not in ("mean", "none"):
        raise ConfigError(f"reduction: expected 'mean' or 'none', got {reduction!r}")
    if weights is None:
        return values.mean() if reduction == "mean" else values
    known = weights.flatten(1).any(dim=1)
    if reduction == "none":
        return torch.where(known, values, float("nan"))
    return torch.where(known, values, 0.0).sum() / known.sum()
