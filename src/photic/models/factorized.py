"""Compression with one density for each channel of the latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.codec.factorized_entropy import FactorizedEntropy
from photic.models.compression import TransformCompressor, TransformConfig


class Factorized(TransformCompressor):
    """Transforms with GDN, and latents that are independent of each other."""


@models.register("factorized")
@dataclass(frozen=True, kw_only=True)
class FactorizedConfig(TransformConfig):
    """Compression with one learnt density for each channel, no hyperprior: the simplest learnt codec (3.0 M parameters for RGB).

    Source: Ballé et al. 2017, End-to-end optimized image compression; Ballé et al. 2018, Variational image compression with a scale
    hyperprior (densities and widths).
    """

    width: Annotated[int, Range(ge=1, le=1024)] = 128
    """Channels between the convolutions."""
    num_latents: Annotated[int, Range(ge=1, le=2048)] = 192
    """Channels of the latents."""
    num_strides: Annotated[int, Range(ge=1, le=5)] = 4
    """How often the transforms halve the sides (of a mosaic: of its packed planes)."""

    def build(self) -> Factorized:
        """Return the network."""
        return Factorized(self, FactorizedEntropy(self.num_latents), self.width, self.num_strides)
