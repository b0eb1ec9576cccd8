"""Compression with a mean-scale hyperprior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.codec.hyper_entropy import MeanScaleHyperprior
from photic.models.compression import TransformCompressor, TransformConfig


class Hyperprior(TransformCompressor):
    """Transforms with GDN, and a hyperprior that says what each latent is likely to be."""


@models.register("hyperprior")
@dataclass(frozen=True, kw_only=True)
class HyperpriorConfig(TransformConfig):
    """Compression with a mean-scale hyperprior, for mosaics and RGB, one or several quality levels (7.0 M parameters for RGB).

    Source: Ballé et al. 2018, Variational image compression with a scale hyperprior; Minnen et al. 2018, Joint autoregressive and
    hierarchical priors for learned image compression (mean and scale, without the autoregressive part).
    """

    width: Annotated[int, Range(ge=1, le=1024)] = 128
    """Channels between the convolutions, and of the hyper-latents."""
    num_latents: Annotated[int, Range(ge=1, le=2048)] = 192
    """Channels of the latents."""
    num_strides: Annotated[int, Range(ge=1, le=5)] = 4
    """How often the transforms halve the sides (of a mosaic: of its packed planes)."""
    hyper_widths: tuple[int, int] | None = None
    """Channels between the hyper-synthesis' convolutions; null is num_latents and 3/2 num_latents, as published."""

    def build(self) -> Hyperprior:
        """Return the network."""
        return Hyperprior(self, MeanScaleHyperprior(self.num_latents, self.width, self.hyper_widths), self.width, self.num_strides)
