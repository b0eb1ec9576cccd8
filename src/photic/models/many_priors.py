"""Compression with many priors that compete for each position of the latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.core.schema import Range
from photic.functional.coding_tables import MAX_TABLES
from photic.models.codec.many_priors_entropy import ManyPriorsEntropy
from photic.models.compression import TransformCompressor, TransformConfig


class ManyPriors(TransformCompressor):
    """Transforms with GDN, and for each position of the latents the cheapest of many priors."""


@models.register("many_priors")
@dataclass(frozen=True, kw_only=True)
class ManyPriorsConfig(TransformConfig):
    """Compression with 64 priors that compete for each position of the latents, as published for raw pictures (8.0 M parameters).

    Source: Brummer & De Vleeschouwer 2021, End-to-end optimized image compression with competition of prior distributions; Brummer & De
    Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    width: Annotated[int, Range(ge=1, le=1024)] = 192
    """Channels between the convolutions."""
    num_latents: Annotated[int, Range(ge=1, le=2048)] = 320
    """Channels of the latents."""
    num_strides: Annotated[int, Range(ge=1, le=5)] = 4
    """How often the transforms halve the sides (of a mosaic: of its packed planes)."""
    num_priors: Annotated[int, Range(ge=1, le=256)] = 64
    """Priors, each with a density for every channel."""
    num_symbols: Annotated[int, Range(ge=4, le=1024)] = 48
    """Size of each channel's table under each prior; values beyond it take some 16 bits more, so high qualities want longer ones. Tables
    are saved with the weights, 4 bytes for each symbol of each prior of each channel."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_latents * self.num_priors > MAX_TABLES:
            raise ConfigError(
                f"{self.registry_name}: num_latents x num_priors is {self.num_latents} x {self.num_priors}; at most {MAX_TABLES} tables "
                "can be coded with, so take fewer of one"
            )

    def build(self) -> ManyPriors:
        """Return the network."""
        return ManyPriors(self, ManyPriorsEntropy(self.num_latents, self.num_priors, self.num_symbols), self.width, self.num_strides)
