"""Spectral convolution: mixing channels of the low spatial frequencies of a feature map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.core.errors import ConfigError, DataError
from photic.models.phase_retrieval import initialised


class SpectralConvolution(nn.Module):
    """Mixes the channels of each low frequency by a complex matrix of its own: as wide as the whole map in one layer.

    ``y = irfft2(W rfft2(x))`` with W zero but for the frequencies ``0 <= kx < modes`` and ``-modes <= ky < modes``. The real
    transform holds no negative kx; of ky it holds both signs, at the first and at the last rows, and both are mixed:
    without the negative ones a wave that rises to one side would pass and one that falls would not.

    Weights belong to cycles per map, so a map of another resolution is taken as well; where it is so small that its
    spectrum has fewer, only these are used. Everything is computed in float32 (or float64) whatever autocast says.

    Source: Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations, section 4.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        modes: frequencies kept on each axis and sign.

    Raises:
        ConfigError: a number is below 1.

    >>> SpectralConvolution(3, 5, modes=4)(torch.zeros(2, 3, 16, 24)).shape
    torch.Size([2, 5, 16, 24])
    """

    def __init__(self, inputs: int, outputs: int, modes: int) -> None:
        super().__init__()
        if min(inputs, outputs, modes) < 1:
            raise ConfigError(f"spectral convolution: expected inputs, outputs and modes >= 1, got {inputs}, {outputs} and {modes}")
        self.inputs, self.outputs, self.modes = inputs, outputs, modes
        # (rows of ky, columns of kx, inputs, outputs, real and imaginary part): rows 0 ... modes - 1, then -modes ... -1. Real
        # numbers, because complex parameters are foreign to checkpoints and to some optimizers; a matrix per frequency, because
        # that is the order in which they are multiplied.
        weight = torch.randn(2 * modes, modes, inputs, outputs, 2) * math.sqrt(0.25 / inputs)
        self.weight = nn.Parameter(weight)

    def kept(self, height: int, width: int) -> tuple[int, int]:
        """Return how many frequencies of each sign are used on a map: ``modes``, at most half of its side."""
        return min(self.modes, height // 2), min(self.modes, width // 2)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, outputs, h, w)`` for features ``(B, inputs, h, w)``; float32 if they were half precision.

        Raises:
            DataError: a side is shorter than 2 pixels.
        """
        height, width = features.shape[-2:]
        if min(height, width) < 2:
            raise DataError(f"spectral convolution: expected maps of at least 2 x 2 pixels, got {tuple(features.shape)}")
        with torch.autocast(features.device.type, enabled=False):
            values = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
            return self._by_products(values, height, width) if torch.compiler.is_exporting() else self._mixed(values, height, width)

    def _mixed(self, values: Tensor, height: int, width: int) -> Tensor:
        ky, kx = self.kept(height, width)
        # One axis after the other, so that the second transform is of the kept columns only.
        columns = torch.fft.rfft(values, dim=-1)[..., :kx]
        spectrum = torch.fft.fft(columns, dim=-2)
        low = torch.cat([spectrum[..., :ky, :], spectrum[..., -ky:, :]], dim=-2)
        weight = torch.cat([self.weight[:ky, :kx], self.weight[-ky:, :kx]]) if ky < self.modes else self.weight[:, :kx]
        matrices = torch.view_as_complex(weight.contiguous()).to(low.dtype).flatten(0, 1)
        mixed = low.flatten(2).permute(2, 0, 1) @ matrices  # (2 ky kx, B, outputs)
        mixed = mixed.permute(1, 2, 0).unflatten(2, (2 * ky, kx))
        # Frequencies above the kept rows are zero.
        rows = torch.cat([mixed[..., :ky, :], mixed.new_zeros(*mixed.shape[:2], height - 2 * ky, kx), mixed[..., ky:, :]], dim=-2)
        columns = torch.fft.ifft(rows, dim=-2)
        # A real map has no imaginary part at kx = 0; libraries differ in what they make of one, so there is none.
        constant = torch.complex(columns[..., :1].real, torch.zeros_like(columns[..., :1].real))
        mapped: Tensor = torch.fft.irfft(torch.cat([constant, columns[..., 1:]], dim=-1), n=width, dim=-1)
        return mapped

    def _by_products(self, values: Tensor, height: int, width: int) -> Tensor:
        """Return the same by products of real matrices, which every runtime has; few frequencies are kept, so it is no slower."""
        ky, kx = self.kept(height, width)
        rows = torch.cat([torch.arange(ky), torch.arange(height - ky, height)])
        cos_y, sin_y = (part.to(values) for part in _waves(rows, height))  # (2 ky, h)
        cos_x, sin_x = (part.to(values) for part in _waves(torch.arange(kx), width))  # (kx, w)
        real, imaginary = values @ cos_x.T, -(values @ sin_x.T)
        real, imaginary = cos_y @ real + sin_y @ imaginary, cos_y @ imaginary - sin_y @ real
        weight = torch.cat([self.weight[:ky, :kx], self.weight[-ky:, :kx]]) if ky < self.modes else self.weight[:, :kx]
        own, other = weight.flatten(0, 1).to(values).unbind(-1)  # (2 ky kx, I, O)
        real, imaginary = (part.flatten(2).permute(2, 0, 1) for part in (real, imaginary))
        real, imaginary = real @ own - imaginary @ other, real @ other + imaginary @ own
        real, imaginary = (part.permute(1, 2, 0).unflatten(2, (2 * ky, kx)) for part in (real, imaginary))
        real, imaginary = cos_y.T @ real - sin_y.T @ imaginary, cos_y.T @ imaginary + sin_y.T @ real
        share = torch.full((kx,), 2.0).index_fill(0, torch.tensor([0]), 1.0).to(values) / (height * width)
        made: Tensor = (real * share) @ cos_x - (imaginary * share) @ sin_x
        return made


def _waves(frequencies: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines ``(K, side)`` of frequencies, whole periods per side, in double precision."""
    angle = (2 * math.pi / side) * (frequencies[:, None] * torch.arange(side) % side).double()
    return angle.cos(), angle.sin()


class SpectralBlock(nn.Module):
    """``x + GELU(spectral(x) + conv3x3(x))``: what is wide by frequencies, what is narrow by neighbours.

    Args:
        width: channels.
        modes: frequencies kept on each axis and sign.
    """

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.spectral = SpectralConvolution(width, width, modes)
        self.local = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features ``(B, width, h, w)``."""
        local: Tensor = self.local(features)
        return features + F.gelu(self.spectral(features).to(local.dtype) + local)


def initialised_blocks(network: nn.Module) -> None:
    """Draw the weights of a network of spectral blocks; like :func:`initialised`, with smaller local convolutions in the blocks.

    A block adds two branches to its input: with half of the variance from each, four blocks double the features instead of
    making them five times as large.
    """
    initialised(network)
    with torch.no_grad():
        for block in network.modules():
            if isinstance(block, SpectralBlock):
                block.local.weight.mul_(0.5)


def lifter(num_patterns: int, width: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions from C patterns to ``width`` channels, GELU between them."""
    return nn.Sequential(nn.Conv2d(num_patterns, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))


def num_weights(network: nn.Module) -> int:
    """Return the number of parameters, a complex one counted once, as papers do.

    >>> num_weights(SpectralConvolution(3, 5, modes=4))
    480
    """
    spectral = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, SpectralConvolution))
    return sum(parameter.numel() for parameter in network.parameters()) - spectral // 2
