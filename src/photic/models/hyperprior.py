"""Compression with a mean-scale hyperprior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.core.schema import Range
from photic.models.codec.hyper_entropy import MeanScaleHyperprior
from photic.models.codec.transforms import Analysis, Synthesis
from photic.models.codec.wavelet_start import LATENTS_PER_UNIT, MEANS_STEP, start_as_wavelets
from photic.models.compression import TransformCompressor, TransformConfig


class Hyperprior(TransformCompressor):
    """Transforms with GDN, and a hyperprior that says what each latent is likely to be.

    Args:
        config: all settings.
    """

    def __init__(self, config: HyperpriorConfig) -> None:
        entropy = MeanScaleHyperprior(config.num_latents, config.width, config.hyper_widths)
        super().__init__(config, entropy, config.widths or config.width, config.num_strides)
        if config.start == "wavelet":
            assert isinstance(self.encoder, Analysis)
            assert isinstance(self.decoder, Synthesis)
            assert self.log_gain is not None
            assert self.log_inverse_gain is not None
            spread, means = start_as_wavelets(self.encoder, self.decoder)
            finer = 2.0 ** (config.num_strides - 3)  # a mean over larger blocks stands for more pixels: the same error weighs more
            entropy.start(spread * finer)
            with torch.no_grad():
                self.log_gain[:, means] *= MEANS_STEP
                self.log_inverse_gain[:, means] *= MEANS_STEP
                self.log_gain.add_(math.log(LATENTS_PER_UNIT * finer))
                self.log_inverse_gain.sub_(math.log(LATENTS_PER_UNIT * finer))
            if config.mean_step is not None:
                self.hold_gains(means, 1 / config.mean_step)


@models.register("hyperprior")
@dataclass(frozen=True, kw_only=True)
class HyperpriorConfig(TransformConfig):
    """Compression with a mean-scale hyperprior, for mosaics and RGB, one or several quality levels (7.0 M parameters for RGB).

    Source: Ballé et al. 2018, Variational image compression with a scale hyperprior; Minnen et al. 2018, Joint autoregressive and
    hierarchical priors for learned image compression (mean and scale, without the autoregressive part).
    """

    width: Annotated[int, Range(ge=1, le=1024)] = 128
    """Channels between the convolutions, and of the hyper-latents."""
    widths: tuple[int, ...] | None = None
    """Channels of the encoder after each stride but the last, for example [24, 48, 96] with four strides; the decoder mirrors them. null is
    width everywhere."""
    num_latents: Annotated[int, Range(ge=1, le=2048)] = 192
    """Channels of the latents."""
    num_strides: Annotated[int, Range(ge=1, le=5)] = 4
    """How often the transforms halve the sides (of a mosaic: of its packed planes)."""
    hyper_widths: tuple[int, int] | None = None
    """Channels between the hyper-synthesis' convolutions; null is num_latents and 3/2 num_latents, as published."""

    start: Literal["random", "wavelet"] = "random"
    """First weights of the transforms: random, as published, or wavelet: Haar wavelet packets of decorrelated colours and their inverse, so
    that training begins with pictures. wavelet is for several quality levels, with decoder balle or bayer_ps."""

    mean_step: Annotated[float | None, Range(gt=0, le=1)] = None
    """With start=wavelet: largest step that mean colours of blocks are rounded to at any quality level, in parts of the full range (behind
    companding). Low levels take bits from them first, since losses of structure hardly see them, and dark pictures lose their colours; null
    lets them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mean_step is not None and self.start != "wavelet":
            raise ConfigError(
                f"{self.registry_name}.mean_step: with start={self.start} no latents are known to be means; use start=wavelet"
            )
        if self.widths is not None and (len(self.widths) != self.num_strides - 1 or min(self.widths, default=1) < 1):
            raise ConfigError(
                f"{self.registry_name}.widths: expected {self.num_strides - 1} numbers of channels, one after each of {self.num_strides} "
                f"strides but the last, got {list(self.widths)}"
            )
        if self.start == "wavelet" and self.num_qualities < 2:
            raise ConfigError(
                f"{self.registry_name}.start: wavelet sets the gains of quality levels, of which there are none with num_qualities=1; use "
                "several, or start=random"
            )
        if self.start == "wavelet" and self.width < 4:
            raise ConfigError(f"{self.registry_name}.width: start=wavelet needs 4 channels or more, got {self.width}")
        if self.start == "wavelet" and self.decoder == "bayer_tc":
            raise ConfigError(f"{self.registry_name}.start: wavelet needs decoder=bayer_ps or balle; use start=random with bayer_tc")

    def build(self) -> Hyperprior:
        """Return the network."""
        return Hyperprior(self)
