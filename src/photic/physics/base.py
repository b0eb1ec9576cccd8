"""What every forward operator shares."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class ForwardOperator(Protocol):
    """How an object becomes a measurement: a linear part with its adjoint, what a detector sees of it, and the detector's noise."""

    def apply(self, object_: Tensor) -> Tensor:
        """Return the linear part of the object, ``A x``."""
        ...

    def adjoint(self, field: Tensor) -> Tensor:
        """Return ``A* y``: ``<A x, y> = <x, A* y>`` for all x and y."""
        ...

    def measure(self, object_: Tensor) -> Tensor:
        """Return the measurement without noise."""
        ...

    def sample_noise(self, measurement: Tensor, generator: torch.Generator) -> Tensor:
        """Return a measurement with the noise of the detector."""
        ...
