"""A codec's transforms as a denoiser: what does not pass through the latents is gone, noise above all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.core.schema import Range
from photic.functional.cfa import pack
from photic.models.codec.transforms import LATENT_STRIDE, Analysis, Decoder, Synthesis, reach_px
from photic.models.raw_denoising import Measurement, RawDenoiser, RawDenoiserConfig


class RawAutoencoder(RawDenoiser):
    """Analysis and synthesis of the compression model without quantisation and entropy coding between them.

    It ignores ``noise`` and ``balance``, as published. There is no way around the latents, so fine detail is lost at every noise level.

    Source: Ballé et al. 2017, End-to-end optimized image compression; Brummer & De Vleeschouwer, Learning Joint Denoising,
    Demosaicing, and Compression from the Raw Natural Image Noise Dataset.

    Args:
        measurement: Bayer mosaics in RGGB order, or linear RGB.
        decoder: ``balle`` for RGB, ``bayer_ps`` or ``bayer_tc`` for mosaics.
        width: channels between the convolutions.
        num_latents: channels of the latents.
    """

    def __init__(
        self, measurement: Measurement = "mosaic", decoder: Decoder = "bayer_ps", width: int = 192, num_latents: int = 320
    ) -> None:
        super().__init__()
        self.measurement = measurement
        self.needs_rggb = measurement == "mosaic"
        self.multiple = self.tile_align = LATENT_STRIDE * (2 if self.needs_rggb else 1)
        self.margin_px = reach_px(decoder)
        self.analysis = Analysis(4 if self.needs_rggb else 3, width, num_latents)
        self.synthesis = Synthesis(decoder, width, num_latents)

    def restore(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return clean pictures ``(B, 3, H, W)``; ``planes``, ``noise`` and ``balance`` are not looked at."""
        made: Tensor = self.synthesis(self.analysis(pack(measurement) if self.needs_rggb else measurement))
        return made


@models.register("autoencoder")
@dataclass(frozen=True, kw_only=True)
class RawAutoencoderConfig(RawDenoiserConfig):
    """The compression model without entropy coding, as a denoiser (7.1 M parameters): noise does not fit through its latents.

    Source: Ballé et al. 2017, End-to-end optimized image compression; Brummer & De Vleeschouwer, Learning Joint Denoising,
    Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    decoder: Literal["balle", "bayer_ps", "bayer_tc"] | None = None
    """balle for RGB; for mosaics bayer_ps (12 planes, shuffled) or bayer_tc (one more transposed convolution). null takes balle or
    bayer_ps, as the measurement asks."""
    width: Annotated[int, Range(ge=1, le=1024)] = 192
    """Channels between the convolutions."""
    num_latents: Annotated[int, Range(ge=1, le=2048)] = 320
    """Channels of the latents, of which there is one per 16 x 16 pixels of RGB or packed planes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fitting = ("balle",) if self.measurement == "rgb" else ("bayer_ps", "bayer_tc")
        if self.decoder is not None and self.decoder not in fitting:
            raise ConfigError(
                f"{self.registry_name}.decoder: '{self.decoder}' does not make pictures of the size of the measurement "
                f"'{self.measurement}'; use {' or '.join(fitting)}"
            )

    def build(self) -> RawAutoencoder:
        """Return the network."""
        decoder: Decoder = self.decoder or ("balle" if self.measurement == "rgb" else "bayer_ps")
        return RawAutoencoder(self.measurement, decoder, self.width, self.num_latents)
