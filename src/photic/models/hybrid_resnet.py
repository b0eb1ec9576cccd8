"""Spectral encoder, residual blocks and transposed convolutions, for phase retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.phase_retrieval import Output, PhaseRetrievalConfig, PhaseRetrievalNetwork, require_divisible
from photic.models.spectral import SpectralBlock, initialised_blocks, lifter

FIRST_SCALE = 0.1


class ResidualBlock(nn.Module):
    """``x + scale * conv3x3(GELU(conv3x3(x)))``; the scale is a parameter of the network that all blocks share.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(width, width, 3, padding=1)
        self.after = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor, scale: Tensor) -> Tensor:
        """Return features ``(B, width, h, w)``."""
        change: Tensor = self.after(F.gelu(self.before(features)))
        return features + scale.to(change.dtype) * change


class HybridResNet(PhaseRetrievalNetwork):
    """Four spectral blocks, halved after the first two; residual blocks at a quarter of the resolution; two doublings.

    The blocks' shared scale starts at 0.1: then the stack begins near the identity, however deep it is.

    Args:
        num_patterns: patterns per group, C.
        size_px: side N; divisible by 4.
        output: ``real_imag`` or ``amp_phase``.
        amplitude_scale: largest amplitude of ``amp_phase``.
        width: channels at full resolution; 4 times as many at the lowest.
        modes: frequencies kept on each axis and sign; at every resolution at most half of the map's side are.
        num_residual_blocks: residual blocks at the lowest resolution.

    Raises:
        ConfigError: the side is not divisible by 4.
    """

    def __init__(
        self,
        num_patterns: int,
        size_px: int,
        *,
        output: Output = "real_imag",
        amplitude_scale: float = 2.0,
        width: int = 32,
        modes: int = 12,
        num_residual_blocks: int = 6,
    ) -> None:
        require_divisible("hybrid_resnet", size_px, lambda _: 4)
        super().__init__(num_patterns, size_px, output=output, amplitude_scale=amplitude_scale)
        kept = [max(1, min(modes, side // 2)) for side in (size_px, size_px // 2, size_px // 4)]
        self.encoder = nn.Sequential(
            lifter(num_patterns, width),
            SpectralBlock(width, kept[0]),
            _reduce(width, 2 * width),
            SpectralBlock(2 * width, kept[1]),
            _reduce(2 * width, 4 * width),
            SpectralBlock(4 * width, kept[2]),
            SpectralBlock(4 * width, kept[2]),
        )
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.residual = nn.ModuleList(ResidualBlock(4 * width) for _ in range(num_residual_blocks))
        self.decoder = nn.Sequential(_enlarge(4 * width, 2 * width), _enlarge(2 * width, width))
        initialised_blocks(self)
        self.head = nn.Conv2d(width, 2 * num_patterns, 1)
        self.start_flat(self.head)

    def parts(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return both parts ``(B, C, N, N)`` before sigmoid and tanh."""
        features: Tensor = self.encoder(amplitude)
        for block in self.residual:
            features = block(features, self.scale)
        first, second = self.head(self.decoder(features)).chunk(2, dim=1)
        return first, second


def _reduce(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GELU())


def _enlarge(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1), nn.GELU())


@models.register("hybrid_resnet")
@dataclass(frozen=True, kw_only=True)
class HybridResNetConfig(PhaseRetrievalConfig):
    """Spectral encoder and residual blocks (8.0 M parameters; 0.9 CPU-s per step at 64 px).

    Caps on modes make the number of parameters depend on the side: 8.0 M at 64 pixels, 13.2 M from 96 on, complex ones counted
    once (13.6 and 24.1 M real numbers). A training step of 16 patterns on one thread takes 0.9 CPU-seconds at 64 pixels
    and 4.1 at 128 (`benchmarks/ptycho_networks.py`). Proven settings: real_imag, loss amplitude_mae, lr 2e-4 halved on a plateau,
    batch 16, 40 epochs.
    """

    width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels at full resolution; 4 times as many at the lowest."""
    modes: Annotated[int, Range(ge=1)] = 12
    """Frequencies kept on each axis and sign; at every resolution at most half of the map's side are."""
    num_residual_blocks: Annotated[int, Range(ge=1, le=64)] = 6
    """Residual blocks at the lowest resolution."""

    def build(self) -> HybridResNet:
        """Return the network.

        Raises:
            ConfigError: num_patterns or size_px is open, or the side is not divisible by 4.
        """
        num_patterns, size_px = self.sizes()
        return HybridResNet(
            num_patterns,
            size_px,
            output=self.output,
            amplitude_scale=self.amplitude_scale,
            width=self.width,
            modes=self.modes,
            num_residual_blocks=self.num_residual_blocks,
        )
