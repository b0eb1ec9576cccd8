"""Losses of phase retrieval: on diffraction amplitudes, and on complex object patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.losses.base import ActsOn, BaseLoss, LossConfig


class _AmplitudeLoss(BaseLoss):
    """A loss of modelled and measured diffraction amplitudes ``(B, C, N, N)``."""

    acts_on: ActsOn = "diffraction"
    name: ClassVar[str]

    def _inputs(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return both in float32 (or float64) and the mask in full shape; what is masked out is zero in both.

        Raises:
            DataError: shapes differ, values are complex, or the mask leaves nothing.
        """
        _require_same_shape(self.name, prediction, target)
        for what, values in (("prediction", prediction), ("target", target)):
            if values.is_complex():
                raise DataError(
                    f"{self.name}: expected real amplitudes, got a {what} {tuple(values.shape)} {values.dtype}; pass its modulus"
                )
        prediction = prediction if prediction.dtype == torch.float64 else prediction.float()
        mask = _full_mask(self.name, mask, prediction.shape)
        return _kept(prediction, mask), _kept(target.to(prediction.dtype), mask), mask

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {}


class PoissonNLLLoss(_AmplitudeLoss):
    """Poisson negative log-likelihood of the counts: the mean of ``lambda - n log lambda``, over the mean of n.

    ``n = target ** 2`` are the measured intensities, ``lambda = prediction ** 2 + eps`` the modelled ones. The term
    ``log n!``, which does not depend on the prediction, is left out. One factor on all
    intensities, modelled and measured, changes the loss by a constant only.

    Source: Thibault & Guizar-Sicairos 2012, Maximum-likelihood refinement for coherent diffractive imaging, eq. 2.

    Args:
        eps: intensity added to the modelled one, so that a measured photon where none is expected costs a finite amount.

    Raises:
        ConfigError: eps is not positive.

    >>> loss = PoissonNLLLoss()
    >>> bool(loss(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).isclose(torch.ones(())))
    True
    """

    name: ClassVar[str] = "poisson_nll"

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        if not eps > 0:
            raise ConfigError(f"poisson_nll.eps: expected a value > 0, got {eps!r}")
        self.eps = float(eps)

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {"eps": self.eps}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the likelihood's negative logarithm for modelled and measured amplitudes ``(B, C, N, N)``.

        Args:
            prediction: modelled amplitudes.
            target: measured amplitudes, square roots of counts.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(N, N)``.

        Raises:
            DataError: shapes differ, values are complex, the mask leaves nothing, or nothing was measured.
        """
        modelled, measured, mask = self._inputs(prediction, target, mask)
        counts = measured.square()
        rate = modelled.square() + self.eps
        losses_of_pixels = rate - counts * torch.log(rate)
        return _normalised(self.name, losses_of_pixels, counts, mask)


class AmplitudeMAELoss(_AmplitudeLoss):
    """Mean absolute difference of modelled and measured amplitudes, over the mean of the measured ones: R_amp.

    >>> loss = AmplitudeMAELoss()
    >>> float(loss(torch.full((1, 1, 4, 4), 3.0), torch.full((1, 1, 4, 4), 2.0)))
    0.5
    """

    name: ClassVar[str] = "amplitude_mae"

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the relative error for modelled and measured amplitudes ``(B, C, N, N)``.

        Args:
            prediction: modelled amplitudes.
            target: measured amplitudes, square roots of counts.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(N, N)``.

        Raises:
            DataError: shapes differ, values are complex, the mask leaves nothing, or nothing was measured.
        """
        modelled, measured, mask = self._inputs(prediction, target, mask)
        return _normalised(self.name, (modelled - measured).abs(), measured, mask)


class ComplexMAELoss(BaseLoss):
    """Mean modulus of the difference of complex patches, over the mean modulus of the true ones; for supervised training.

    >>> loss = ComplexMAELoss()
    >>> float(loss(torch.full((1, 1, 4, 4), 1j), torch.full((1, 1, 4, 4), 2j)))
    0.5
    """

    acts_on: ActsOn = "object"
    name: ClassVar[str] = "complex_mae"

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {}

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the relative error for complex patches ``(B, C, N, N)``.

        Args:
            prediction: predicted object patches.
            target: true object patches.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(N, N)``.

        Raises:
            DataError: shapes differ, the mask leaves nothing, or the true patches are zero everywhere.
        """
        _require_same_shape(self.name, prediction, target)
        mask = _full_mask(self.name, mask, prediction.shape)
        predicted = _kept(_complex(self.name, prediction), mask)
        true = _kept(_complex(self.name, target).to(predicted.dtype), mask)
        return _normalised(self.name, (predicted - true).abs(), true.abs(), mask)


class TotalVariationLoss(BaseLoss):
    """Mean modulus of the differences of complex patches to their right and lower neighbours: smooth with sharp edges.

    It looks at the prediction alone. A difference counts where both of its pixels do.

    Source: Rudin, Osher, Fatemi 1992, Nonlinear total variation based noise removal algorithms (the anisotropic form).

    >>> steps = torch.tensor([[0, 1], [0, 1]], dtype=torch.complex64)[None, None]
    >>> float(TotalVariationLoss()(steps, steps))
    0.5
    """

    acts_on: ActsOn = "object"
    needs_target = False
    name: ClassVar[str] = "total_variation"

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {}

    def value(self, prediction: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the total variation of complex patches ``(B, C, N, N)`` per difference.

        Args:
            prediction: predicted object patches.
            target: not looked at; may be anything.
            mask: 1 where a pixel counts; of a shape that broadcasts, for example ``(N, N)``.

        Raises:
            DataError: there are no two neighbours, or the mask leaves none.
        """
        patches = _complex(self.name, prediction)
        if patches.ndim < 2 or min(patches.shape[-2:]) < 2:
            raise DataError(f"total_variation: expected patches (B, C, N, N) of at least 2 x 2 pixels, got {tuple(prediction.shape)}")
        mask = _full_mask(self.name, mask, patches.shape)
        patches = _kept(patches, mask)
        total = patches.real.new_zeros(())
        number: Tensor | int = 0
        for axis in (-2, -1):
            side = patches.shape[axis]
            before, after = (patches.narrow(axis, start, side - 1) for start in (0, 1))
            difference = (after - before).abs()
            if mask is None:
                number = number + difference.numel()
            else:
                both = mask.narrow(axis, 0, side - 1) & mask.narrow(axis, 1, side - 1)
                difference = difference.masked_fill(~both, 0.0)
                number = number + both.sum()
            total = total + difference.sum()
        if not bool(number > 0):
            raise DataError("total_variation: the mask leaves no two neighbouring pixels, so there is no loss; correct the mask")
        return total / number


def _require_same_shape(name: str, prediction: Tensor, target: Tensor) -> None:
    if prediction.ndim != 4 or prediction.shape != target.shape:
        raise DataError(
            f"{name}: expected prediction and target of one shape (B, C, N, N), got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )


def _full_mask(name: str, mask: Tensor | None, shape: torch.Size) -> Tensor | None:
    if mask is None:
        return None
    try:
        mask = mask.bool().expand(shape)
    except RuntimeError:
        raise DataError(f"{name}: expected a mask that broadcasts to {tuple(shape)}, such as (N, N), got {tuple(mask.shape)}") from None
    if not bool(mask.any()):
        raise DataError(f"{name}: the mask leaves out every pixel, so there is no loss; True (or 1) marks the pixels that count")
    return mask


def _kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the values with zeros where they do not count: a product with zero would keep a NaN, and its gradient."""
    return values if mask is None else values.masked_fill(~mask, 0.0)


def _complex(name: str, patches: Tensor) -> Tensor:
    if not patches.is_complex():
        raise DataError(f"{name}: expected complex object patches (B, C, N, N), got {tuple(patches.shape)} {patches.dtype}")
    return patches


def _normalised(name: str, losses_of_pixels: Tensor, observed: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean loss over the mean of what was observed, both over the pixels that count.

    Raises:
        DataError: the observed mean is zero.
    """
    if mask is not None:
        losses_of_pixels = losses_of_pixels.masked_fill(~mask, 0.0)
    total = observed.sum()  # sums instead of means: both have the same number of pixels, and what does not count is zero
    if bool(total == 0):
        raise DataError(
            f"{name}: the target {tuple(observed.shape)} is zero wherever it counts, so there is nothing to compare with; "
            "leave empty patterns out of the data, and check that the mask is True where pixels are valid"
        )
    return losses_of_pixels.sum() / total


@losses.register("poisson_nll")
@dataclass(frozen=True, kw_only=True)
class PoissonNLLConfig(LossConfig):
    """Poisson negative log-likelihood of the counts, over their mean; on diffraction amplitudes.

    Source: Thibault & Guizar-Sicairos 2012, Maximum-likelihood refinement for coherent diffractive imaging.
    """

    eps: Annotated[float, Range(gt=0)] = 1e-6
    """Intensity added to the modelled one; bounds the cost of a photon where none is expected. In the data's (normalised) intensities."""

    def make(self) -> PoissonNLLLoss:
        """Return the loss."""
        return PoissonNLLLoss(self.eps)


@losses.register("amplitude_mae")
@dataclass(frozen=True, kw_only=True)
class AmplitudeMAEConfig(LossConfig):
    """Mean absolute difference of diffraction amplitudes, over their mean (R_amp)."""

    def make(self) -> AmplitudeMAELoss:
        """Return the loss."""
        return AmplitudeMAELoss()


@losses.register("complex_mae")
@dataclass(frozen=True, kw_only=True)
class ComplexMAEConfig(LossConfig):
    """Mean modulus of the difference to true object patches, over their mean modulus; for supervised training."""

    def make(self) -> ComplexMAELoss:
        """Return the loss."""
        return ComplexMAELoss()


@losses.register("total_variation")
@dataclass(frozen=True, kw_only=True)
class TotalVariationConfig(LossConfig):
    """Total variation of object patches, per difference of neighbours: smooth with sharp edges; a small weight is usual.

    Source: Rudin, Osher, Fatemi 1992, Nonlinear total variation based noise removal algorithms.
    """

    def make(self) -> TotalVariationLoss:
        """Return the loss."""
        return TotalVariationLoss()
