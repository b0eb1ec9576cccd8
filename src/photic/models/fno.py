"""Fourier neural operator, for phase retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.phase_retrieval import Output, PhaseRetrievalConfig, PhaseRetrievalNetwork, require_divisible
from photic.models.spectral import SpectralBlock, initialised_blocks, lifter


class FourierOperator(PhaseRetrievalNetwork):
    """Four spectral blocks at full resolution, between a lifter and three small convolutions.

    Source: Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations.

    Args:
        num_patterns: patterns per group, C.
        size_px: side N; even.
        output: ``real_imag`` or ``amp_phase``.
        amplitude_scale: largest amplitude of ``amp_phase``.
        width: channels.
        modes: frequencies kept on each axis and sign; at most N/2 are.
        num_blocks: spectral blocks.

    Raises:
        ConfigError: the side is odd.
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
        num_blocks: int = 4,
    ) -> None:
        require_divisible("fno", size_px, lambda _: 2)
        super().__init__(num_patterns, size_px, output=output, amplitude_scale=amplitude_scale)
        modes = min(modes, size_px // 2)
        self.body = nn.Sequential(
            lifter(num_patterns, width),
            *(SpectralBlock(width, modes) for _ in range(num_blocks)),
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
        )
        initialised_blocks(self)
        self.head = nn.Conv2d(width, 2 * num_patterns, 1)
        self.start_flat(self.head)

    def parts(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return both parts ``(B, C, N, N)`` before sigmoid and tanh."""
        first, second = self.head(self.body(amplitude)).chunk(2, dim=1)
        return first, second


@models.register("fno")
@dataclass(frozen=True, kw_only=True)
class FourierOperatorConfig(PhaseRetrievalConfig):
    """Fourier neural operator at full resolution (1.2 M parameters, 0.6 CPU-s per step at 64 px).

    1.25 M parameters, a complex one counted once: 2.43 M real numbers. A training step of 16 patterns on one thread takes 0.6
    CPU-seconds at 64 pixels and 4.0 at 128 (`benchmarks/ptycho_networks.py`).

    Source: Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations.
    """

    width: Annotated[int, Range(ge=1, le=512)] = 32
    """Channels."""
    modes: Annotated[int, Range(ge=1)] = 12
    """Frequencies kept on each axis and sign; at most half of the side are."""
    num_blocks: Annotated[int, Range(ge=1, le=32)] = 4
    """Spectral blocks."""

    def build(self) -> FourierOperator:
        """Return the network.

        Raises:
            ConfigError: num_patterns or size_px is open, or the side is odd.
        """
        num_patterns, size_px = self.sizes()
        return FourierOperator(
            num_patterns,
            size_px,
            output=self.output,
            amplitude_scale=self.amplitude_scale,
            width=self.width,
            modes=self.modes,
            num_blocks=self.num_blocks,
        )
