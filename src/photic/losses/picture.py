"""What losses on pictures, blend masks and curve maps share: what they take, and in which words they refuse the rest."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.losses.base import ActsOn, BaseLoss


class PictureLoss(BaseLoss):
    """A loss on pictures ``(B, C, H, W)``, computed in float32 at least. Nothing is clamped, and a NaN stays one."""

    acts_on: ActsOn = "picture"
    name: ClassVar[str]
    num_channels: ClassVar[int | None] = None
    """Channels it takes; None takes any number."""

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {}

    def one(self, prediction: Tensor, mask: Tensor | None) -> Tensor:
        """Return what is judged alone.

        Raises:
            ConfigError: a mask was given.
            DataError: another shape or kind of number.
        """
        self.refuse_mask(mask)
        return self._float(prediction, "prediction")

    def two(self, prediction: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what is compared, in one type.

        Raises:
            DataError: shapes differ, or another shape or kind of number.
        """
        other = None if target is None else tuple(target.shape)
        if target is None or prediction.shape != target.shape:
            shape = f"(B, {self.num_channels or 'C'}, H, W)"
            raise DataError(f"{self.name}: expected prediction and target of one shape {shape}, got {tuple(prediction.shape)} and {other}")
        prediction = self._float(prediction, "prediction")
        return prediction, self._float(target, "target").to(prediction.dtype)

    def refuse_mask(self, mask: Tensor | None) -> None:
        """Refuse a mask, where no pixel can be judged without those around it.

        Raises:
            ConfigError: there is one.
        """
        if mask is not None:
            raise ConfigError(
                f"{self.name}: takes no mask (got {tuple(mask.shape)}): it judges regions or whole pictures, not single pixels. "
                "Leave the mask out, or use a loss of single pixels, such as l1"
            )

    def pixels(self, mask: Tensor | None, shape: torch.Size) -> Tensor | None:
        """Return a mask in full shape ``(B, C, H, W)``, True where a value counts.

        Raises:
            DataError: it does not broadcast, or leaves nothing.
        """
        if mask is None:
            return None
        try:
            mask = mask.bool().expand(shape)
        except RuntimeError:
            raise DataError(
                f"{self.name}: expected a mask that broadcasts to {tuple(shape)}, such as (B, 1, H, W), got {tuple(mask.shape)}"
            ) from None
        if not bool(mask.any()):
            raise DataError(f"{self.name}: the mask leaves out every pixel, so there is no loss; True (or 1) marks the pixels that count")
        return mask

    def _float(self, values: Tensor, what: str) -> Tensor:
        channels = self.num_channels
        fits = values.ndim == 4 and values.numel() > 0 and channels in (None, values.shape[1])
        if not fits or not torch.is_floating_point(values):
            raise DataError(
                f"{self.name}: expected a {what} (B, {channels or 'C'}, H, W) of floats, got {tuple(values.shape)} {values.dtype}"
            )
        return values.to(torch.promote_types(values.dtype, torch.float32))


def kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the values with zeros where they do not count: a product with zero would keep a NaN, and its gradient."""
    return values if mask is None else values.masked_fill(~mask, 0.0)


def mean_of(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over the values that count; those that do not must be zero."""
    return values.mean() if mask is None else values.sum() / mask.sum()
