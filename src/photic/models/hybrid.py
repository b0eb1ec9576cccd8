"""U-shaped network of spectral blocks, for phase retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.phase_retrieval import Output, PhaseRetrievalConfig, PhaseRetrievalNetwork, require_divisible
from photic.models.spectral import SpectralBlock, initialised_blocks, lifter

NUM_HALVINGS = 3


class HybridOperator(PhaseRetrievalNetwork):
    """Spectral blocks at four resolutions, down with strided convolutions and up again with skips.

    Channels are width, 2, 4 and 8 times width; each resolution has one spectral block on the way down and one on
    the way up, the lowest one block in all.

    Args:
        num_patterns: patterns per group, C.
        size_px: side N; divisible by 8.
        output: ``real_imag`` or ``amp_phase``.
        amplitude_scale: largest amplitude of ``amp_phase``.
        width: channels at full resolution.
        modes: frequencies kept on each axis and sign; at every resolution at most half of the map's side are.

    Raises:
        ConfigError: the side is not divisible by 8.
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
    ) -> None:
        require_divisible("hybrid", size_px, lambda _: 2**NUM_HALVINGS)
        super().__init__(num_patterns, size_px, output=output, amplitude_scale=amplitude_scale)
        widths = [width * 2**level for level in range(NUM_HALVINGS + 1)]
        kept = [max(1, min(modes, size_px // 2**level // 2)) for level in range(NUM_HALVINGS + 1)]
        pairs = list(pairwise(widths))
        self.lift = lifter(num_patterns, width)
        self.down_blocks = nn.ModuleList(SpectralBlock(*level) for level in zip(widths[:-1], kept[:-1], strict=True))
        self.reduce = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU()) for a, b in pairs)
        self.deepest = SpectralBlock(widths[-1], kept[-1])
        self.enlarge = nn.ModuleList(nn.Sequential(nn.ConvTranspose2d(b, a, 2, stride=2), nn.GELU()) for a, b in pairs)
        self.join = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in pairs)
        self.up_blocks = nn.ModuleList(SpectralBlock(*level) for level in zip(widths[:-1], kept[:-1], strict=True))
        initialised_blocks(self)
        self.head = nn.Conv2d(width, 2 * num_patterns, 1)
        self.start_flat(self.head)

    def parts(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return both parts ``(B, C, N, N)`` before sigmoid and tanh."""
        features: Tensor = self.lift(amplitude)
        skips = []
        for block, reduce in zip(self.down_blocks, self.reduce, strict=True):
            features = block(features)
            skips.append(features)
            features = reduce(features)
        features = self.deepest(features)
        for level in reversed(range(NUM_HALVINGS)):
            enlarged = self.enlarge[level](features)
            features = self.up_blocks[level](self.join[level](torch.cat([enlarged, skips[level]], dim=1)))
        first, second = self.head(features).chunk(2, dim=1)
        return first, second


@models.register("hybrid")
@dataclass(frozen=True, kw_only=True)
class HybridOperatorConfig(PhaseRetrievalConfig):
    """U-shaped network of spectral blocks with skips: the largest (10.8 M parameters; 0.9 CPU-s per step at 64 px).

    Caps on modes make the number of parameters depend on the side: 10.8 M at 64 pixels, 22.4 M at 128, 32.9 M from 192 on, complex
    ones counted once (20.1, 43.1, 64.1 M real numbers). A training step of 16 patterns on one thread takes 0.9 CPU-seconds
    at 64 pixels and 4.0 at 128 (`benchmarks/ptycho_networks.py`).
    """

    width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels at full resolution; 8 times as many at the lowest."""
    modes: Annotated[int, Range(ge=1)] = 12
    """Frequencies kept on each axis and sign; at every resolution at most half of the map's side are."""

    def build(self) -> HybridOperator:
        """Return the network.

        Raises:
            ConfigError: num_patterns or size_px is open, or the side is not divisible by 8.
        """
        num_patterns, size_px = self.sizes()
        return HybridOperator(
            num_patterns, size_px, output=self.output, amplitude_scale=self.amplitude_scale, width=self.width, modes=self.modes
        )
