"""What every loss shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from torch import Tensor, nn

from photic.core.schema import Config, Range


@dataclass(frozen=True, kw_only=True)
class LossConfig(Config):
    """Base of every loss's config."""

    weight: Annotated[float, Range(ge=0)] = 1.0
    """Factor of this loss in the total."""

    def build(self) -> BaseLoss:
        """Return the loss."""
        raise NotImplementedError


class BaseLoss(nn.Module):
    """A loss: ``forward(prediction, target, mask=None) -> scalar``.

    Settings derived from the training data (class weights) are made once by :meth:`fit` and kept in
    buffers, so that they are saved with the run and not guessed again.
    """

    def get_params(self) -> dict[str, Any]:
        """Return the settings the loss was made with."""
        raise NotImplementedError

    def fit(self, labels: Tensor, objects: Tensor | None = None) -> Self:
        """Derive settings from the whole training split; losses without such settings return themselves.

        Args:
            labels: ``(N, C)`` binary labels of all training samples.
            objects: ``(N, C)`` numbers of objects of each class, where known.
        """
        return self

    def terms(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the named parts of the loss; their sum is :meth:`forward`."""
        return {type(self).__name__: self(prediction, target, mask)}

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss as a scalar."""
        raise NotImplementedError
