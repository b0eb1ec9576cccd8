"""Convolutional encoder with two decoders, for phase retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.phase_retrieval import Output, PhaseRetrievalConfig, PhaseRetrievalNetwork, initialised, require_divisible

DEEPEST_WIDTH = 256


def num_levels(size_px: int) -> int:
    """Return how often patterns of this side are halved: 3 times up to 127 pixels, 4 up to 255, 5 from 256 on.

    >>> [num_levels(side) for side in (32, 64, 128, 256)]
    [3, 3, 4, 5]
    """
    return min(max(size_px.bit_length() - 4, 3), 5)


class PtychoCNN(PhaseRetrievalNetwork):
    """Halves the patterns to a code of 256 channels and decodes it twice: amplitude and phase (or real and imaginary part).

    Encoder levels are two 3 x 3 convolutions with ReLU and 2 x 2 maximum pooling, decoder levels two 3 x 3
    convolutions with ReLU and a doubling. The code, not the place in the pattern, carries the object's position: patterns live in
    reciprocal space, so there are no skips. The decoders end at side N/2: only the central square, which an oversampled
    probe lights, is predicted.

    Args:
        num_patterns: patterns per group, C.
        size_px: side N; divisible by 8 up to 127 pixels, by 16 up to 255, by 32 from 256 on.
        output: ``amp_phase`` or ``real_imag``.
        amplitude_scale: largest amplitude of ``amp_phase``.
        width_factor: factor on all widths.
        probe_big: predict the border, too, from the code, at a quarter of the resolution; for probes that light more than N/2.

    Raises:
        ConfigError: the side is not divisible as needed.
    """

    def __init__(
        self,
        num_patterns: int,
        size_px: int,
        *,
        output: Output = "amp_phase",
        amplitude_scale: float = 2.0,
        width_factor: float = 1.0,
        probe_big: bool = False,
    ) -> None:
        require_divisible("cnn", size_px, lambda side: 2 ** num_levels(side))
        predicted = None if probe_big else size_px // 2
        super().__init__(num_patterns, size_px, output=output, amplitude_scale=amplitude_scale, predicted_px=predicted)
        depth = num_levels(size_px)
        self.widths = [max(4, round(width_factor * DEEPEST_WIDTH / 2**level)) for level in reversed(range(depth))]
        levels = [
            nn.Sequential(*_two_convolutions(inputs, outputs), nn.MaxPool2d(2))
            for inputs, outputs in zip([num_patterns, *self.widths], self.widths, strict=False)
        ]
        self.encoder = nn.Sequential(*levels)
        self.first = self._decoder()
        self.second = self._decoder()
        coarse = max(4, self.widths[-1] // 4)
        self.border = self._border(coarse) if probe_big else None
        initialised(self)
        self.first_head = nn.Conv2d(self.widths[0], num_patterns, 3, padding=1)
        self.second_head = nn.Conv2d(self.widths[0], num_patterns, 3, padding=1)
        self.start_flat(self.first_head, self.second_head)
        self.border_head = nn.Conv2d(coarse, 2 * num_patterns, 3, padding=1) if probe_big else None
        if self.border_head is not None:
            self.start_flat(self.border_head)

    def _decoder(self) -> nn.Sequential:
        narrowing = self.widths[::-1]
        # Doubled after the convolutions: a quarter less time than before them; in two short trainings on simulated data no worse.
        levels = (nn.Sequential(*_two_convolutions(a, b), nn.Upsample(scale_factor=2)) for a, b in pairwise(narrowing))
        return nn.Sequential(*levels)

    def _border(self, width: int) -> nn.Sequential:
        quarter = (self.size_px // 4, self.size_px // 4)
        return nn.Sequential(
            nn.Conv2d(self.widths[-1], width, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(size=quarter),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )

    def parts(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the decoders give, ``(B, C, N/2, N/2)`` each, or ``(B, C, N, N)`` with ``probe_big``."""
        code = self.encoder(amplitude)
        first, second = self.first_head(self.first(code)), self.second_head(self.second(code))
        if self.border is None or self.border_head is None:
            return first, second
        coarse = self.border_head(self.border(code))
        around = F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)
        edge = self.size_px // 4
        is_centre = torch.zeros_like(self.supported)
        is_centre[edge:-edge, edge:-edge] = True
        centre = F.pad(torch.cat([first, second], dim=1), (edge,) * 4)
        first, second = torch.where(is_centre, centre, around.to(centre.dtype)).chunk(2, dim=1)
        return first, second


def _two_convolutions(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()]


@models.register("cnn")
@dataclass(frozen=True, kw_only=True)
class PtychoCNNConfig(PhaseRetrievalConfig):
    """Convolutional encoder with decoders for amplitude and phase: for two cores too (2.3 M parameters; 0.9 CPU-s per step at 64 px).

    A training step of 16 patterns on one thread takes 0.9 CPU-seconds at 64 pixels and 1.5 at 128; 0.1 and 0.2 with
    width_factor 0.25 (`benchmarks/ptycho_networks.py`).

    Source: Hoidn, Mishra, Mehta 2023, Physics constrained unsupervised deep learning for rapid, high resolution scanning
        coherent diffraction reconstruction.
    """

    output: Literal["real_imag", "amp_phase"] = "amp_phase"
    """What the decoders give: amplitude (sigmoid * scale) and phase (pi * tanh), or real and imaginary part."""
    width_factor: Annotated[float, Range(gt=0, le=4)] = 1.0
    """Factor on all widths, 64-128-256 at 64 pixels; parameters and time grow with its square."""
    probe_big: bool = False
    """Predict the border around the central N/2 square, too, at a quarter of the resolution; for probes that light more than N/2."""

    def build(self) -> PtychoCNN:
        """Return the network.

        Raises:
            ConfigError: num_patterns or size_px is open, or the side is not divisible as needed.
        """
        num_patterns, size_px = self.sizes()
        return PtychoCNN(
            num_patterns,
            size_px,
            output=self.output,
            amplitude_scale=self.amplitude_scale,
            width_factor=self.width_factor,
            probe_big=self.probe_big,
        )
