"""A learnt density of one value per channel, of any shape: its cumulative is a small monotone network."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTERS = (3, 3, 3)
"""Widths between the layers of the cumulative's network."""
_SCALE = 10.0
"""Spread of the density at first."""
TAIL_MASS = 1e-9
"""Probability left outside the outer quantiles."""


class Density(nn.Module):
    """Densities of ``num_channels`` independent values; :meth:`likelihood` gives the probability of unit intervals.

    Source: Ballé et al. 2018, Variational image compression with a scale hyperprior, appendix 6.1.

    Args:
        num_channels: how many densities.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_channels = num_channels
        widths = (1, *FILTERS, 1)
        spread = _SCALE ** (1 / (len(FILTERS) + 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            slope = math.log(math.expm1(1 / spread / outputs))
            self.matrices.append(nn.Parameter(torch.full((num_channels, outputs, inputs), slope)))
            self.biases.append(nn.Parameter(torch.empty(num_channels, outputs, 1).uniform_(-0.5, 0.5)))
        for width in FILTERS:
            self.factors.append(nn.Parameter(torch.zeros(num_channels, width, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-_SCALE, 0.0, _SCALE]).repeat(num_channels, 1))
        """Where the cumulative is TAIL_MASS / 2, a half, and 1 - TAIL_MASS / 2; moved by :meth:`quantile_loss` alone."""

    def logits(self, values: Tensor, *, frozen: bool = False) -> Tensor:
        """Return logits of the cumulative at ``(num_channels, 1, n)`` values; ``frozen`` gives the network no gradient."""
        for layer, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            if frozen:
                matrix, bias = matrix.detach(), bias.detach()
            values = torch.matmul(F.softplus(matrix), values) + bias
            if layer < len(self.factors):
                factor = self.factors[layer].detach() if frozen else self.factors[layer]
                values = values + torch.tanh(factor) * torch.tanh(values)
        return values

    def likelihood(self, values: Tensor) -> Tensor:
        """Return the probability of ``[v - 1/2, v + 1/2]`` for values ``(num_channels, n)``."""
        lower = self.logits(values[:, None] - 0.5)
        upper = self.logits(values[:, None] + 0.5)
        # on the side where both sigmoids are small, so that their difference keeps its digits
        sign = -torch.sign(lower + upper).detach()
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()[:, 0]

    def quantile_loss(self) -> Tensor:
        """Return how far the cumulative at the quantiles is from what it should be, in logits, summed over channels."""
        outer = math.log(2 / TAIL_MASS - 1)
        wanted = self.quantiles.new_tensor([-outer, 0.0, outer])
        return (self.logits(self.quantiles[:, None], frozen=True)[:, 0] - wanted).abs().sum()

    @torch.no_grad()
    def tabulated(self, num_symbols: int) -> tuple[Tensor, Tensor]:
        """Return probabilities ``(num_channels, num_symbols)`` of successive integers in double precision, and the first integer of each.

        The integers lie around the middle of what the quantiles span.
        """
        low, median, high = self.quantiles.double().unbind(dim=1)
        middle = torch.where(high - low < num_symbols, (low + high) / 2, median)
        lowest = (middle - num_symbols / 2).round().clamp(-(2.0**14), 2.0**14)
        values = lowest[:, None] + torch.arange(num_symbols, dtype=torch.float64, device=lowest.device)
        return _double(self).likelihood(values), lowest.int()


def _double(density: Density) -> Density:
    made = Density(density.num_channels).to(density.quantiles.device)
    made.load_state_dict(density.state_dict())
    return made.double()
