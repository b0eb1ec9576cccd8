"""A denoiser and compression of what it makes: in two steps, or learnt together as one network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from photic.core.checkpoint import load_weights
from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.core.schema import Registered
from photic.models.codec.entropy import EntropyModel
from photic.models.compression import Compressor, CompressorConfig, Decoding, TransformCompressor, TransformConfig
from photic.models.hyperprior import HyperpriorConfig
from photic.models.raw_denoising import RawDenoiser, RawDenoiserConfig
from photic.models.standard import StandardConfig


class DenoiseThenCompress(Compressor):
    """A denoiser, and a network that compresses the RGB picture it makes.

    In two steps the denoiser is trained before, and stays as it is. Trained as one, it learns what is worth its bits: what it leaves is
    coded, what it removes is not.

    Source: Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset (both
    methods; their joint encoder has no denoiser in front).

    Args:
        denoiser: makes the clean picture.
        compressor: takes linear RGB, and is told that there is no noise.
        denoiser_from: what the denoiser's weights are read from when training starts.
        compressor_from: likewise the compressor's.
        frozen: two steps: the denoiser is not trained, and stays in evaluation mode.
    """

    def __init__(
        self,
        denoiser: RawDenoiser,
        compressor: TransformCompressor,
        denoiser_from: str | None = None,
        compressor_from: str | None = None,
        *,
        frozen: bool = True,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser.requires_grad_(False).eval() if frozen else denoiser
        self.frozen = frozen
        self.compressor = compressor
        self.denoiser_from = denoiser_from
        self.compressor_from = compressor_from
        self.measurement = denoiser.measurement
        self.num_qualities = compressor.num_qualities
        self.stride = compressor.stride
        self.multiple = math.lcm(compressor.multiple, denoiser.multiple)
        self.tile_align = math.lcm(compressor.tile_align, denoiser.tile_align)
        self.encoder_halo_px = compressor.encoder_halo_px + denoiser.margin_px
        self.decoder_halo = compressor.decoder_halo
        self._has_trained_denoiser = next(denoiser.parameters(), None) is None

    # Views of the inner network's modules: as attributes they would stand in the state twice.

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """What makes latents of denoised pictures."""
        return self.compressor.encoder

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        """What makes pictures of latents."""
        return self.compressor.decoder

    @property
    def bit_estimator(self) -> EntropyModel:  # type: ignore[override]
        """How probable latents are."""
        return self.compressor.bit_estimator

    def train(self, mode: bool = True) -> DenoiseThenCompress:
        """Go to training or evaluation; a frozen denoiser stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.denoiser.eval()
        return self

    def start(self, read: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Read the weights of denoiser and compressor, where the config names any."""
        if self.denoiser_from is not None:
            load_weights(self.denoiser, read(self.denoiser_from), f"model.denoiser_from={self.denoiser_from}")
            self._has_trained_denoiser = True
        if self.compressor_from is not None:
            load_weights(self.compressor, read(self.compressor_from), f"model.compressor_from={self.compressor_from}")

    def check_trainable(self) -> None:
        """Refuse to train behind a frozen denoiser that has never been trained.

        Raises:
            ConfigError: it has random weights.
        """
        if self.frozen and not self._has_trained_denoiser:
            raise ConfigError(
                "config.model.denoiser_from: the denoiser is frozen and has random weights; name a trained one, model.denoiser_from=X "
                "(a model that comes with Photic such as rawdenoise, a bundle, run or checkpoint), with its settings in model.denoiser.*"
            )

    def denoised(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return what is compressed: clean pictures ``(B, 3, H, W)`` float32, linear, in camera colours; frozen, without gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            clean: Tensor = self.denoiser(measurement, planes, noise, balance)
        return clean.float()

    def analysed(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None) -> Tensor:
        """Return latents ``(B, C, h, w)`` of denoised pictures, scaled for the quality, not rounded."""
        clean = self.denoised(measurement, planes, noise, balance)
        return self.compressor.analysed(clean, torch.ones_like(clean), torch.zeros_like(noise), balance, quality)

    def rescaled(self, latents: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Return latents ``(B, C, h, w)`` that were analysed for one quality as those for another."""
        return self.compressor.rescaled(latents, before, after)

    def synthesised(self, latents: Tensor, balance: Tensor, quality: Tensor | None = None) -> Tensor:
        """Return pictures ``(B, 3, H, W)`` float32 in camera colours of rounded latents."""
        return self.compressor.synthesised(latents, balance, quality)

    def decoding(self) -> Decoding:
        """Return what decoding depends on: the inner network, and how pictures are continued for both."""
        settings, tensors = self.compressor.decoding()
        return Decoding({**settings, "measurement": self.measurement, "multiple": self.multiple}, tensors)

    def parameter_parts(self) -> dict[str, list[nn.Parameter]]:
        """Return trainable parameters by part: those of the inner network; a denoiser that learns is part of the encoder."""
        parts = self.compressor.parameter_parts()
        return {**parts, "encoder": [*(p for p in self.denoiser.parameters() if p.requires_grad), *parts["encoder"]]}

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        super()._load_from_state_dict(*arguments, **named)
        self._has_trained_denoiser = True  # it comes with the weights


@models.register("denoise_then_compress")
@dataclass(frozen=True, kw_only=True)
class DenoiseThenCompressConfig(CompressorConfig):
    """A trained denoiser, frozen, and compression of the picture it makes: what compressing and denoising at once is compared with.

    Source: Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    denoiser: Annotated[RawDenoiserConfig, Registered("models")] = field(default_factory=StandardConfig)
    """The denoiser, with the settings it was trained with; it takes the same measurement."""
    compressor: Annotated[TransformConfig, Registered("models")] = field(default_factory=lambda: HyperpriorConfig(measurement="rgb"))
    """What compresses the denoiser's picture; it takes rgb."""
    denoiser_from: str | None = None
    """Where the denoiser's weights come from when training starts: the name of a model that comes with Photic (rawdenoise), a bundle, a run
    or a checkpoint. A trained model brings its own."""
    compressor_from: str | None = None
    """Likewise the compressor's, for example of a run of rgb_compress on clean pictures (with the settings of model.compressor); null
    begins as model.compressor says."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = self.registry_name
        if self.denoiser.measurement != self.measurement:
            raise ConfigError(
                f"{where}.denoiser.measurement: the network takes {self.measurement}, its denoiser {self.denoiser.measurement}; set "
                "model.measurement and model.denoiser.measurement alike"
            )
        if self.compressor.measurement != "rgb":
            raise ConfigError(
                f"{where}.compressor.measurement: expected rgb, got {self.compressor.measurement}: a denoiser's picture has three colours "
                "at each pixel"
            )
        if self.compressor.noise_map:
            raise ConfigError(f"{where}.compressor.noise_map: a denoised picture has no noise to tell of; set it to false")

    def build(self) -> DenoiseThenCompress:
        """Return the network; the denoiser's weights are random until :meth:`DenoiseThenCompress.start`."""
        return self._network(frozen=True)

    def _network(self, *, frozen: bool) -> DenoiseThenCompress:
        compressor = self.compressor.build()
        assert isinstance(compressor, TransformCompressor)
        return DenoiseThenCompress(self.denoiser.build(), compressor, self.denoiser_from, self.compressor_from, frozen=frozen)


@models.register("denoise_and_compress")
@dataclass(frozen=True, kw_only=True)
class DenoiseAndCompressConfig(DenoiseThenCompressConfig):
    """A denoiser and compression as one network, trained together for one trade-off of rate and distortion.

    Source: Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and Compression from the Raw Natural Image Noise Dataset.
    """

    def build(self) -> DenoiseThenCompress:
        """Return the network; it learns from the denoiser's random weights, or from those that ``denoiser_from`` names."""
        return self._network(frozen=False)
