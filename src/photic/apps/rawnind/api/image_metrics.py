"""Metrics of a picture against the true one, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError, UnknownNameError
from photic.core.registry import metrics as registry
from photic.functional.ssim import ms_ssim
from photic.metrics.pictures import PictureMetric

METRICS = ("mse", "ms_ssim", "psnr")
"""What is measured where nothing else is said."""
MS_SSIM_TOO_SMALL_PX = 160
"""Side up to which MS-SSIM has no five scales: (11 - 1) 2^4."""


def compute_image_metrics(predicted: Any, ground_truth: Any, metrics: Sequence[str] = METRICS, mask: Any = None) -> dict[str, float]:
    """Return metrics of a picture, or their means over a batch; white is 1, nothing is clamped.

    Args:
        predicted: ``(C, H, W)`` or ``(B, C, H, W)``, tensor or array.
        ground_truth: the same shape.
        metrics: ``mse``, ``psnr`` (dB; infinite where both pictures are equal), ``ms_ssim`` (sides of 161 pixels at least), and other
            registered metrics of pictures, such as ``ssim`` and ``delta_e``, which are for encoded pictures in [0, 1] and clamp them.
        mask: what counts (nonzero): ``(H, W)``, ``(1, H, W)``, ``(B, 1, H, W)`` or the pictures' own shape. ``mse`` and ``psnr`` are
            over these values alone, and so are the windows of ``ms_ssim``; other metrics see the true picture where nothing counts.

    Raises:
        ConfigError: an unknown metric.
        DataError: shapes differ, the mask leaves nothing of a picture, or a picture is too small for a metric.

    >>> true = np.full((3, 8, 8), 0.5)
    >>> {name: round(value, 3) for name, value in compute_image_metrics(true + 0.1, true, ("mse", "psnr")).items()}
    {'mse': 0.01, 'psnr': 20.0}
    >>> compute_image_metrics(true, true, ["psnr"])
    {'psnr': inf}
    """
    check_metrics(metrics)
    first, second = _pictures(predicted, "predicted"), _pictures(ground_truth, "ground_truth")
    if first.shape != second.shape:
        raise DataError(
            f"compute_image_metrics: expected two pictures of one shape, got {tuple(first.shape)} and {tuple(second.shape)}; nothing is "
            "scaled to fit"
        )
    rows = picture_values(first, second, metrics, None if mask is None else full_mask(mask, second))
    return {name: float(np.mean(rows[:, place].cpu().numpy())) for place, name in enumerate(metrics)}


def check_metrics(names: Sequence[str], where: str = "metrics") -> None:
    """Refuse what is no metric of pictures.

    Raises:
        ConfigError: an unknown name, with those that are known.
    """
    if isinstance(names, str):
        raise ConfigError(f"{where}: expected several names such as ['mse', 'psnr'], got '{names}'")
    for name in names:
        if name in METRICS:
            continue
        try:
            found = registry.get(name)
        except UnknownNameError as error:
            raise ConfigError(f"{where}: {error}") from None
        if not isinstance(found, PictureMetric):
            raise ConfigError(f"{where}: '{name}' does not judge pictures; use {', '.join(METRICS)} or others of `photic list metrics`")


def higher_is_better(name: str) -> bool:
    """Return whether more of a value is better; what is no registered metric of pictures is a loss, and less of it is."""
    if name == "mse" or name not in registry:
        return False
    return bool(getattr(registry.get(name), "higher_is_better", False))


@torch.no_grad()
def picture_values(predicted: Tensor, true: Tensor, names: Sequence[str], mask: Tensor | None = None) -> Tensor:
    """Return the values of each picture ``(B, K)``, float64; NaN where the mask leaves nothing of it.

    Args:
        predicted: ``(B, C, H, W)``.
        true: the same shape.
        names: of K metrics.
        mask: the same shape, booleans.

    Raises:
        DataError: a picture is too small for a metric.
    """
    if mask is not None:
        predicted = torch.where(mask, predicted, true)
    columns = []
    error = (predicted.double() - true.double()).square().flatten(1)
    mse = error.mean(dim=1) if mask is None else error.sum(dim=1) / mask.flatten(1).sum(dim=1)
    for name in names:
        if name == "mse":
            columns.append(mse)
        elif name == "psnr":
            columns.append(-10 * torch.log10(mse))  # of 0 it is infinite
        elif name == "ms_ssim":
            if min(true.shape[-2:]) <= MS_SSIM_TOO_SMALL_PX:
                raise DataError(f"ms_ssim: needs more than {MS_SSIM_TOO_SMALL_PX} pixels on both sides, got {tuple(true.shape[-2:])}")
            columns.append(ms_ssim(predicted.float(), true.float(), 1.0, mask=mask, reduction="none"))
        else:
            metric: PictureMetric = registry.get(name)
            columns.append(metric.values(predicted.float(), true.float()))
    return torch.stack([column.to(mse) for column in columns], dim=1) if columns else mse.new_zeros(len(mse), 0)


def full_mask(mask: Any, like: Tensor, *, each: bool = True) -> Tensor:
    """Return a mask in the shape of pictures ``(B, C, H, W)``, as booleans.

    Args:
        mask: what counts, nonzero.
        like: the pictures.
        each: refuse masks that leave nothing of one of the pictures.

    Raises:
        DataError: it does not fit, or leaves nothing of a picture.
    """
    flags = torch.as_tensor(mask).to(like.device) != 0
    batch, _, height, width = like.shape
    if flags.ndim == 3 and flags.shape == (batch, height, width) and batch != 1:
        flags = flags[:, None]
    try:
        wide = flags.expand(like.shape)
    except RuntimeError:
        raise DataError(
            f"mask: expected ({height}, {width}), ({batch}, 1, {height}, {width}) or {tuple(like.shape)}, got {tuple(flags.shape)}"
        ) from None
    empty = ~wide.flatten(1).any(dim=1)
    if each and bool(empty.any()):
        raise DataError(f"mask: leaves nothing of picture {int(empty.nonzero()[0])}; nonzero marks what counts")
    return wide


def _pictures(values: Any, what: str) -> Tensor:
    pictures = torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values)
    pictures = pictures[None] if pictures.ndim == 3 else pictures
    if pictures.ndim != 4 or not pictures.numel() or not pictures.is_floating_point():
        raise DataError(f"{what}: expected a picture (C, H, W) or (B, C, H, W) of floats, got {tuple(pictures.shape)} {pictures.dtype}")
    return pictures
