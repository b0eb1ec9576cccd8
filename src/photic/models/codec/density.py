"""A learnt density of one value per channel, of any shape: its cumulative is a small monotone network."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTERS = (3, 3, 3)
"""Widths between the layers of the cumulative's network."""
_SCALE = 10.0
"""Spread of the density at first, where no other is given."""
TAIL_MASS = 1e-9
"""Probability left outside the outer quantiles."""


class Density(nn.Module):
    """Densities of ``num_channels`` independent values; :meth:`likelihood` gives the probability of unit intervals.

    Source: Ballé et al. 2018, Variational image compression with a scale hyperprior, appendix 6.1.

    Args:
        num_channels: how many densities.
        scales: ``(num_channels,)`` spread of each at first; None is 10 for all.
    """

    def __init__(self, num_channels: int, scales: Tensor | None = None) -> None:
        super().__init__()
        self.num_channels = num_channels
        widths = (1, *FILTERS, 1)
        wide = torch.full((num_channels,), _SCALE, dtype=torch.float64) if scales is None else scales.double()
        spread = wide ** (1 / (len(FILTERS) + 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            slope = torch.log(torch.expm1(1 / spread / outputs)).float()
            self.matrices.append(nn.Parameter(slope[:, None, None].repeat(1, outputs, inputs)))
            self.biases.append(nn.Parameter(torch.empty(num_channels, outputs, 1).uniform_(-0.5, 0.5)))
        for width in FILTERS:
            self.factors.append(nn.Parameter(torch.zeros(num_channels, width, 1)))
        self.quantiles = nn.Parameter(wide.float()[:, None] * torch.tensor([-1.0, 0.0, 1.0]))
        """Where the cumulative is TAIL_MASS / 2, a half, and 1 - TAIL_MASS / 2; moved by :meth:`quantile_loss` alone."""

    def logits(self, values: Tensor, *, frozen: bool = False, which: Tensor | None = None) -> Tensor:
        """Return logits of the cumulative, of the shape of ``values``.

        Args:
            values: ``(num_channels, 1, n)``, or ``(N, 1, n)`` with ``which``.
            frozen: give the network no gradient.
            which: ``(N,)`` number of the density of each row of values; None is one row for each density.
        """
        for layer, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            if frozen:
                matrix, bias = matrix.detach(), bias.detach()
            values = torch.matmul(_chosen(F.softplus(matrix), which), values) + _chosen(bias, which)
            if layer < len(self.factors):
                factor = self.factors[layer].detach() if frozen else self.factors[layer]
                values = values + _chosen(torch.tanh(factor), which) * torch.tanh(values)
        return values

    def likelihood(self, values: Tensor, which: Tensor | None = None) -> Tensor:
        """Return the probability of ``[v - 1/2, v + 1/2]`` for values ``(num_channels, n)``, or ``(N, n)`` with ``which``."""
        lower = self.logits(values[:, None] - 0.5, which=which)
        upper = self.logits(values[:, None] + 0.5, which=which)
        return _between(lower, upper)[:, 0]

    def likelihood_of_maps(self, values: Tensor) -> Tensor:
        """Return the same for values ``(B, num_channels, h, w)``, in their shape."""
        made = self.likelihood(values.transpose(0, 1).flatten(1))
        return made.view(values.shape[1], values.shape[0], *values.shape[2:]).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """Return how far the cumulative at the quantiles is from what it should be, in logits, summed over channels."""
        outer = math.log(2 / TAIL_MASS - 1)
        wanted = self.quantiles.new_tensor([-outer, 0.0, outer])
        return (self.logits(self.quantiles[:, None], frozen=True)[:, 0] - wanted).abs().sum()

    @torch.no_grad()
    def tabulated(self, num_symbols: int, lowest: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return probabilities ``(num_channels, num_symbols)`` of successive integers in double precision, and the first integer of each.

        The integers lie around the middle of what the quantiles span, or begin at ``lowest`` ``(num_channels,)``.
        """
        first = (lowest_symbol(self.quantiles, num_symbols) if lowest is None else lowest).double()
        return copy.deepcopy(self).double().successive(first, num_symbols), first.int()

    def successive(self, lowest: Tensor, num_symbols: int) -> Tensor:
        """Return probabilities ``(num_channels, num_symbols)`` of successive integers from ``lowest`` ``(num_channels,)`` on."""
        edges = lowest[:, None] - 0.5 + torch.arange(num_symbols + 1, dtype=lowest.dtype, device=lowest.device)
        made = self.logits(edges[:, None])[:, 0]
        return _between(made[:, :-1], made[:, 1:])


def lowest_symbol(quantiles: Tensor, num_symbols: int) -> Tensor:
    """Return where a table of so many integers should begin, ``(T,)`` in double precision, for quantiles ``(T, 3)``.

    It takes the middle of the outer quantiles, and the median where the table is too short for both.
    """
    low, median, high = quantiles.double().unbind(dim=1)
    middle = torch.where(high - low < num_symbols, (low + high) / 2, median)
    return (middle - num_symbols / 2).round().clamp(-(2.0**14), 2.0**14)


def _between(lower: Tensor, upper: Tensor) -> Tensor:
    """Return the difference of the cumulatives with these logits."""
    # on the side where both sigmoids are small, so that their difference keeps its digits; in the very middle either will do
    sign = torch.where(lower + upper > 0, -1.0, 1.0)
    return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()


def _chosen(parameter: Tensor, which: Tensor | None) -> Tensor:
    return parameter if which is None else parameter.index_select(0, which)
