"""The hyper-synthesis in integers: means and scales that are the same on every machine, at every number of threads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError

FRACTION_BITS = 10
"""Means and scales are integers in units of 2^-10."""
_WEIGHT_BITS = 16
_FINEST = 13
"""Weights are integers of at most 16 bits and a sign, in units of 2^-13, or coarser where there are large ones."""
_MOST = 2.0**22
"""Activations are cut there: 2^16 x 2^22 x 2^14 terms stay below 2^53, so that sums in double precision are exact in any order."""
_MOST_CHANNELS = 2**14 // 9
"""At 3 x 3 taps each, which is what both kinds of convolution have per value."""
HALO = 3
"""Hyper-latents around a rectangle of them that its means and scales depend on: 1 + 1/2 + 1/4, rounded up, and one more."""


class IntegerSynthesis(nn.Module):
    """Transposed 5 x 5 convolutions of stride 2 with ReLU, and a 3 x 3 convolution, all in integers held in float64.

    Every product and partial sum is an integer below 2^53, which double precision holds exactly whatever the order of summation;
    so results do not depend on threads, vector units or libraries.

    Source: Ballé et al. 2019, Integer networks for data compression with latent-variable models.

    Args:
        layers: the layers in floating point, of which it takes the shapes.

    Raises:
        ConfigError: so many channels that sums could pass 2^53.
    """

    shifts: Tensor

    def __init__(self, layers: Sequence[nn.Conv2d | nn.ConvTranspose2d]) -> None:
        super().__init__()
        self.count = len(layers)
        widest = max(layer.in_channels for layer in layers)
        if widest > _MOST_CHANNELS:
            raise ConfigError(f"hyper_widths: sums over {widest} channels would not be exact; at most {_MOST_CHANNELS} are possible")
        for number, layer in enumerate(layers):
            self.register_buffer(f"weight{number}", torch.zeros(layer.weight.shape, dtype=torch.int32))
            self.register_buffer(f"bias{number}", torch.zeros(layer.out_channels, dtype=torch.int64))
        self.register_buffer("shifts", torch.zeros(len(layers), dtype=torch.int32))

    @torch.no_grad()
    def set(self, layers: Sequence[nn.Conv2d | nn.ConvTranspose2d], factors: Tensor) -> None:
        """Take the weights of layers in floating point, and factors ``(C,)`` of what the last one gives.

        Raises:
            DataError: a weight is not finite.
        """
        for number, layer in enumerate(layers):
            assert layer.bias is not None
            weight, bias = layer.weight.double(), layer.bias.double()
            if number == self.count - 1:
                weight, bias = weight * factors.double()[:, None, None, None], bias * factors.double()
            if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
                raise DataError(f"hyper-synthesis: layer {number} has weights that are not finite; training went astray")
            largest = max(float(weight.abs().max()), 2.0**-40)
            bits = min(_FINEST, int(torch.floor(torch.log2(torch.tensor((2**_WEIGHT_BITS - 1) / largest, dtype=torch.float64)))))
            before = 0 if number == 0 else FRACTION_BITS
            getattr(self, f"weight{number}").copy_(torch.round(weight * 2.0**bits))
            getattr(self, f"bias{number}").copy_(torch.round(bias * 2.0 ** (bits + before)).clamp(-(2.0**50), 2.0**50))
            self.shifts[number] = bits + before - FRACTION_BITS

    def forward(self, hyper: Tensor) -> Tensor:
        """Return integers ``(B, C, 4 h, 4 w)`` in units of 2^-10 for integer hyper-latents ``(B, N, h, w)``, both held in float64.

        It computes on the CPU, and gives the result on the device of ``hyper``.
        """
        if torch.compiler.is_exporting():
            return self._by_products(hyper)
        made = hyper.double().cpu()
        for number in range(self.count):
            weight = getattr(self, f"weight{number}").double().cpu()
            bias = getattr(self, f"bias{number}").double().cpu()
            last = number == self.count - 1
            if last:
                made = F.conv2d(made, weight, bias, padding=1)
            else:
                made = F.conv_transpose2d(made, weight, bias, stride=2, padding=2, output_padding=1)
            step = 2.0 ** int(self.shifts[number])  # a power of two: dividing by it is exact
            made = torch.floor((made + step / 2) / step).clamp(-_MOST if last else 0.0, _MOST)
        return made.to(hyper.device)

    def _by_products(self, hyper: Tensor) -> Tensor:
        """Return the same integers by products of matrices, which runtimes have in double precision where they have no convolutions."""
        made = hyper.double()
        for number in range(self.count):
            weight, bias = getattr(self, f"weight{number}").double(), getattr(self, f"bias{number}").double()[:, None, None]
            last = number == self.count - 1
            made = (_convolved(made, weight) if last else _enlarged(made, weight)) + bias
            step = torch.pow(2.0, self.shifts[number].double())
            made = torch.floor((made + step / 2) / step).clamp(-_MOST if last else 0.0, _MOST)
        return made


def _convolved(features: Tensor, weight: Tensor) -> Tensor:
    """Return ``F.conv2d(features, weight, padding=1)`` of 3 x 3 weights."""
    taps = [(y, x) for y in range(3) for x in range(3)]
    return _gathered(features, [(y, x, weight[:, :, y, x]) for y, x in taps])


def _enlarged(features: Tensor, weight: Tensor) -> Tensor:
    """Return ``F.conv_transpose2d(features, weight, stride=2, padding=2, output_padding=1)`` of 5 x 5 weights.

    Value 2 i + p of the result has the taps k of the parity p, each at place i + 1 - (k - p) / 2 of the features.
    """
    steps = [[(k, 2 - (k - parity) // 2) for k in range(parity, 5, 2)] for parity in range(2)]
    parts = [
        _gathered(features, [(y, x, weight[:, :, ky, kx].T) for ky, y in rows for kx, x in columns]) for rows in steps for columns in steps
    ]
    return F.pixel_shuffle(torch.stack(parts, dim=2).flatten(1, 2), 2)


def _gathered(features: Tensor, taps: Sequence[tuple[int, int, Tensor]]) -> Tensor:
    """Return the sum over taps of a matrix ``(O, I)`` times features ``(B, I, H, W)`` at an offset of (y - 1, x - 1), zero outside."""
    height, width = features.shape[-2:]
    around = F.pad(features, (1, 1, 1, 1))
    made: Tensor = sum((matrix @ around[..., y : y + height, x : x + width].flatten(2) for y, x, matrix in taps), start=torch.zeros(()))
    shaped: Tensor = made.unflatten(-1, (height, width))
    return shaped
