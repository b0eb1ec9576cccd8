"""What networks share that compress raw pictures, mosaics or linear RGB, and denoise them on the way."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError
from photic.core.schema import Range
from photic.functional.borders import cropped, to_multiple
from photic.functional.cfa import pack, unpack
from photic.functional.companding import OFFSET, companded, expanded
from photic.functional.demosaic import MALVAR_REACH_PX, malvar
from photic.models.base import ModelConfig
from photic.models.codec.entropy import EntropyModel
from photic.models.codec.transforms import SYNTHESIS_HALO, Analysis, Decoder, Synthesis, Width
from photic.models.raw_denoising import Measurement

_NOISE_WINDOW_PX = 5
_NOISE_GAIN = 10.0
"""Brings standard deviations of noise to the order of one."""
_GAIN_STEP = 2.0 ** (-0.5)
"""Gains of successive quality levels at first: half the step in energy, so about twice the rate-distortion trade-off."""


class Coded(NamedTuple):
    """What compression and decompression make of a batch."""

    picture: Tensor
    """``(B, 3, H, W)``, linear, in camera colours, not clamped."""
    bits: dict[str, Tensor]
    """Bits ``(B,)`` of each part for each picture, side information included."""
    latents: Tensor
    """``(B, C, h, w)``: as the decoder got them."""
    analysed: Tensor
    """``(B, C, h, w)``: as the encoder made them, before rounding."""


class Decoding(NamedTuple):
    """Everything that decoding depends on; what has another is another model."""

    settings: dict[str, int | str]
    """Facts that are in no tensor."""
    tensors: dict[str, Tensor]
    """By name: weights of the decoder, and the integer tables and weights that latents are decoded with."""


@dataclass(frozen=True, kw_only=True)
class CompressorConfig(ModelConfig):
    """Base of the configs of networks that compress raw pictures."""

    measurement: Literal["mosaic", "rgb"] = "mosaic"
    """What the network takes: mosaic (Bayer, one value per pixel) or rgb (linear, three colours per pixel)."""

    def build(self) -> Compressor:
        """Return the network."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TransformConfig(CompressorConfig):
    """Base of the configs of networks that are a pair of learnt transforms and an entropy model."""

    decoder: Literal["balle", "bayer_ps", "bayer_tc"] | None = None
    """balle for RGB; for mosaics bayer_ps (12 planes, shuffled) or bayer_tc (one more transposed convolution). null takes balle or
    bayer_ps, as the measurement asks."""
    num_qualities: Annotated[int, Range(ge=1, le=64)] = 1
    """Quality levels of one network: each has its own factors of the latents; 1 is a network for one lambda."""
    noise_map: bool = False
    """Tell the encoder how noisy the picture is, from the noise model; for denoising while compressing."""
    front: Literal["packed", "demosaiced"] = "packed"
    """What the encoder sees of a mosaic: packed, four planes as published, or demosaiced, twelve planes of Malvar's linear demosaicer, so
    that the encoder need not learn to demosaic. RGB has neither."""
    companding: Literal["none", "root"] = "none"
    """Curve between linear values and the transforms: none (linear, as published), or root, a fixed square root whose inverse ends the
    decoder. Equal errors are then about equally visible, which short training needs; the loss's transfer function is another thing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fitting = ("balle",) if self.measurement == "rgb" else ("bayer_ps", "bayer_tc")
        if self.decoder is not None and self.decoder not in fitting:
            raise ConfigError(
                f"{self.registry_name}.decoder: '{self.decoder}' does not make pictures of the size of the measurement "
                f"'{self.measurement}'; use {' or '.join(fitting)}"
            )
        if self.front == "demosaiced" and self.measurement == "rgb":
            raise ConfigError(f"{self.registry_name}.front: RGB has no mosaic to demosaic; use front=packed, or measurement=mosaic")

    def decoder_kind(self) -> Decoder:
        """Return the decoder that fits the measurement."""
        return self.decoder or ("balle" if self.measurement == "rgb" else "bayer_ps")


class Compressor(nn.Module, ABC):
    """A network with an encoder, an entropy model and a decoder; makes a clean picture of a noisy one through few bits.

    What it makes of a pixel depends on its surroundings alone: latents of a part of a picture, with ``encoder_halo_px`` pixels around it,
    are those of the whole picture, and so are pixels of a part of the latents, with ``decoder_halo`` latents around it. Parts start at
    multiples of ``tile_align``.
    """

    config_base: ClassVar[type[CompressorConfig]] = CompressorConfig
    measurement: Measurement
    """What it takes; mosaics are Bayer and begin with red, green / green, blue."""
    num_qualities: int = 1
    """Quality levels."""
    stride: int
    """Pixels of the picture per latent, each way."""
    multiple: int
    """Sides are padded to a multiple of this, mirrored, and the result cut back."""
    tile_align: int
    """Parts of a picture start at multiples of so many pixels."""
    encoder_halo_px: int
    """How far a latent looks beyond its own pixels."""
    decoder_halo: int = SYNTHESIS_HALO
    """Latents around those of a rectangle that its pixels depend on."""
    encoder: nn.Module
    decoder: nn.Module
    bit_estimator: EntropyModel

    def why_not_exported(self, output_format: str, precision: str) -> str | None:
        """Return why there is no graph of lower precision."""
        if precision == "fp32":
            return None
        return (
            "its latents are rounded to whole numbers, and a network of lower precision rounds other values: pictures would be off by "
            "whole steps from those that .phc files decode to; export it in fp32"
        )

    @abstractmethod
    def analysed(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None) -> Tensor:
        """Return latents ``(B, C, h, w)``, scaled for the quality, not rounded; sides must be multiples of ``multiple``."""

    def rescaled(self, latents: Tensor, before: Tensor, after: Tensor) -> Tensor | None:
        """Return latents ``(B, C, h, w)`` that were analysed for one quality as those for another; None where they must be made again.

        Args:
            latents: as :meth:`analysed` gives them.
            before: quality ``(B,)`` that they were analysed for.
            after: quality ``(B,)`` that is wanted.
        """
        return None

    @abstractmethod
    def synthesised(self, latents: Tensor, balance: Tensor, quality: Tensor | None = None) -> Tensor:
        """Return pictures ``(B, 3, H, W)`` float32 in camera colours of rounded latents."""

    @abstractmethod
    def parameter_parts(self) -> dict[str, list[nn.Parameter]]:
        """Return trainable parameters by part.

        ``encoder``, ``decoder``, ``hyper`` (transforms of hyper-latents), ``entropy`` (densities), ``auxiliary`` (their quantiles).
        """

    def decoding(self) -> Decoding:
        """Return what decoding depends on, which is what files are tied to; :meth:`EntropyModel.ready` has been called.

        Of the entropy model only whole numbers count: files depend on nothing else of it.
        """
        tensors = {f"decoder.{name}": value for name, value in self.decoder.state_dict().items()}
        for name, value in self.bit_estimator.state_dict().items():
            if not value.is_floating_point():
                tensors[f"bit_estimator.{name}"] = value
        return Decoding({"measurement": self.measurement, "stride": self.stride, "multiple": self.multiple}, tensors)

    def forward(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None) -> Coded:
        """Return pictures and the bits they take.

        Args:
            measurement: ``(B, 1, H, W)`` Bayer mosaics in RGGB order or ``(B, 3, H, W)`` linear RGB, black at 0 and white at 1, not
                clamped below 0, not white-balanced.
            planes: ``(B, 3, H, W)`` or ``(1, 3, H, W)``: 1 where a pixel sees that colour; ones for RGB. Only checked.
            noise: ``(B, 2)``: a and b of the noise's variance a x + b at the clean value x.
            balance: ``(B, 3)``: factors that make a grey about grey; pictures are coded with them and come back without.
            quality: ``(B,)`` levels from 1 to ``num_qualities``, fractions allowed; None is the highest.

        Raises:
            DataError: shapes contradict each other or the network.
        """
        size = measurement.shape[-2:]
        self._check(measurement, planes, noise, balance)
        whole = to_multiple(measurement, self.multiple)
        latents = self.analysed(whole, to_multiple(planes, self.multiple), noise, balance, quality)
        estimated = self.bit_estimator(latents)
        picture = self.synthesised(estimated.latents, balance, quality)
        return Coded(picture[..., : size[0], : size[1]], estimated.bits, estimated.latents, latents)

    def reconstructed(
        self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures, rounded latents and latents before rounding, as :meth:`forward` in evaluation, without counting bits.

        Raises:
            DataError: shapes contradict each other or the network.
        """
        size = measurement.shape[-2:]
        self._check(measurement, planes, noise, balance)
        whole = to_multiple(measurement, self.multiple)
        analysed = self.analysed(whole, to_multiple(planes, self.multiple), noise, balance, quality)
        latents = self.bit_estimator.decoded(analysed)
        return cropped(self.synthesised(latents, balance, quality), size[0], size[1]), latents, analysed

    def auxiliary_loss(self) -> Tensor:
        """Return the loss of the entropy model's quantiles."""
        return self.bit_estimator.auxiliary_loss()

    def start(self, read: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Take in what parts of the network start from besides random weights.

        Args:
            read: returns a network's trained weights, given the name of a model that comes with Photic, a bundle, run or checkpoint.

        Raises:
            CheckpointError: the weights are of another network.
        """

    def check_trainable(self) -> None:
        """Refuse to train a network that lacks what it must start from.

        Raises:
            ConfigError: it does; the message says what to set.
        """

    def _check(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> None:
        channels, size, batch = (1 if self.measurement == "mosaic" else 3), measurement.shape[-2:], measurement.shape[0]
        name = type(self).__name__
        if measurement.ndim != 4 or measurement.shape[1] != channels:
            raise DataError(f"{name}: expected ({self.measurement}) (B, {channels}, H, W), got {tuple(measurement.shape)}")
        if planes.ndim != 4 or planes.shape[1] != 3 or planes.shape[-2:] != size:
            raise DataError(f"{name}: expected planes (B, 3, {size[0]}, {size[1]}), got {tuple(planes.shape)}")
        if noise.shape != (batch, 2) or balance.shape != (batch, 3):
            raise DataError(
                f"{name}: expected noise ({batch}, 2) and balance ({batch}, 3), got {tuple(noise.shape)} and {tuple(balance.shape)}"
            )


class TransformCompressor(Compressor):
    """A pair of learnt transforms around an entropy model.

    Source: Ballé et al. 2017, End-to-end optimized image compression; Brummer & De Vleeschouwer, Learning Joint Denoising, Demosaicing, and
    Compression from the Raw Natural Image Noise Dataset; the gains of quality levels: Cui et al. 2021, Asymmetric gained deep image
    compression with continuous rate adaptation.

    Args:
        config: what is common to all.
        bit_estimator: how probable latents are.
        width: channels between the transforms' convolutions.
        num_strides: how often the transforms halve the sides; of a mosaic, those of its packed planes.
    """

    least_log_gain: Tensor | None
    """``(1, num_latents)``: what logarithms of gains do not fall below, minus infinity where they are free; None where all are."""

    def __init__(self, config: TransformConfig, bit_estimator: EntropyModel, width: Width, num_strides: int) -> None:
        super().__init__()
        mosaic = config.measurement == "mosaic"
        self.measurement = config.measurement
        self.num_qualities = config.num_qualities
        self.noise_map = config.noise_map
        self.companding = config.companding
        self.demosaics = config.front == "demosaiced"
        self.stride = 2**num_strides * (2 if mosaic else 1)
        self.multiple = self.stride * bit_estimator.side_stride
        self.tile_align = self.stride
        around = (_NOISE_WINDOW_PX // 2) * (2 if mosaic else 1) if config.noise_map else 0
        self.encoder_halo_px = 2 * self.stride + 2 * max(around, MALVAR_REACH_PX if self.demosaics else 0)
        inputs = (12 if self.demosaics else 4 if mosaic else 3) + (1 if config.noise_map else 0)
        num_latents = bit_estimator.num_latents
        self.encoder = Analysis(inputs, width, num_latents, num_strides)
        self.decoder = Synthesis(config.decoder_kind(), width, num_latents, num_strides)
        self.bit_estimator = bit_estimator
        steps = torch.arange(config.num_qualities - 1, -1, -1, dtype=torch.float32)
        gains = (steps * torch.log(torch.tensor(_GAIN_STEP)))[:, None].repeat(1, num_latents)
        many = config.num_qualities > 1
        self.log_gain = nn.Parameter(gains.clone()) if many else None
        self.log_inverse_gain = nn.Parameter(-gains.clone()) if many else None
        self.register_buffer("least_log_gain", None, persistent=False)

    def hold_gains(self, channels: Tensor, least: float) -> None:
        """Let gains of some latents not fall below a value, nor their inverse rise above its inverse, whatever training does to them.

        Args:
            channels: which latents, ``(num_latents,)``, boolean.
            least: the gain.
        """
        assert self.log_gain is not None, "a network of one quality has no gains"
        held = torch.full((1, len(channels)), -torch.inf)
        held[:, channels] = math.log(least)
        self.least_log_gain = held.to(self.log_gain.device)

    def analysed(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None) -> Tensor:
        """Return latents ``(B, C, h, w)``, scaled for the quality, not rounded; ``planes`` serve to demosaic."""
        with torch.autocast(measurement.device.type, enabled=False):
            linear = measurement.float()
            gains = balance.to(linear)
            samples = pack(linear) if self.measurement == "mosaic" else linear
            gains = gains[:, [0, 1, 1, 2]] if self.measurement == "mosaic" else gains
            balanced = samples * gains[:, :, None, None]
            shown = F.pixel_unshuffle(malvar(unpack(balanced), planes.to(linear)), 2) if self.demosaics else balanced
            seen = companded(shown) if self.companding == "root" else shown
            if self.noise_map:
                seen = torch.cat([seen, self._noise_seen(balanced, noise.to(linear), gains)], dim=1)
        latents: Tensor = self.encoder(seen).float()
        gain = self._gain(self._log_gains(), quality, latents.shape[0])
        return latents if gain is None else latents * gain

    def rescaled(self, latents: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Return latents ``(B, C, h, w)`` that were analysed for one quality as those for another: only their gains differ."""
        gains = [self._gain(self._log_gains(), quality, latents.shape[0]) for quality in (before, after)]
        return latents if gains[0] is None or gains[1] is None else latents * (gains[1] / gains[0])

    def synthesised(self, latents: Tensor, balance: Tensor, quality: Tensor | None = None) -> Tensor:
        """Return pictures ``(B, 3, H, W)`` float32 in camera colours of rounded latents."""
        gain = self._gain(self._log_inverse_gains(), quality, latents.shape[0])
        made = self.decoder(latents if gain is None else latents * gain).float()
        linear: Tensor = expanded(made) if self.companding == "root" else made
        return linear / balance.to(linear)[:, :, None, None]

    def decoding(self) -> Decoding:
        """Return what decoding depends on."""
        settings, tensors = super().decoding()
        gains = self._log_inverse_gains()
        if gains is not None:
            tensors["log_inverse_gain"] = gains
        kind = self.decoder.decoder
        return Decoding({**settings, "decoder": str(kind), "companding": self.companding}, tensors)

    def parameter_parts(self) -> dict[str, list[nn.Parameter]]:
        """Return trainable parameters by part; with several quality levels there are ``gains``, too."""
        auxiliary, hyper = self.bit_estimator.auxiliary_parameters(), self.bit_estimator.transform_parameters()
        apart = {id(parameter) for parameter in (*auxiliary, *hyper)}
        gains = [gain for gain in (self.log_gain, self.log_inverse_gain) if gain is not None]
        parts: dict[str, Sequence[nn.Parameter]] = {
            "encoder": [*self.encoder.parameters()],
            "decoder": [*self.decoder.parameters()],
            **({"gains": gains} if gains else {}),
            "hyper": hyper,
            "entropy": [p for p in self.bit_estimator.parameters() if id(p) not in apart],
            "auxiliary": auxiliary,
        }
        return {name: [p for p in found if p.requires_grad] for name, found in parts.items()}

    def _log_gains(self) -> Tensor | None:
        if self.log_gain is None or self.least_log_gain is None:
            return self.log_gain
        return torch.maximum(self.log_gain, self.least_log_gain)

    def _log_inverse_gains(self) -> Tensor | None:
        if self.log_inverse_gain is None or self.least_log_gain is None:
            return self.log_inverse_gain
        return torch.minimum(self.log_inverse_gain, -self.least_log_gain)

    def _gain(self, log_gains: Tensor | None, quality: Tensor | None, batch: int) -> Tensor | None:
        """Return factors ``(B, C, 1, 1)``; between levels their logarithm is interpolated."""
        if log_gains is None:
            return None
        highest = self.num_qualities
        levels = log_gains.new_full((batch,), float(highest)) if quality is None else quality.to(log_gains)
        # A graph that is being exported cannot look at values and refuse them.
        if levels.shape != (batch,) or not (torch.compiler.is_exporting() or bool(((levels >= 1) & (levels <= highest)).all())):
            raise DataError(f"quality: expected ({batch},) levels from 1 to {highest}, got {levels.detach().cpu().tolist()}")
        below = (levels - 1).floor().long().clamp(max=highest - 2)
        share = (levels - 1 - below)[:, None]
        factors: Tensor = torch.lerp(log_gains[below], log_gains[below + 1], share).exp()[:, :, None, None]
        return factors

    def _noise_seen(self, balanced: Tensor, noise: Tensor, gains: Tensor) -> Tensor:
        """Return the noise's local standard deviation ``(B, 1, h, w)`` as the encoder sees the picture, mean of the channels."""
        around = F.avg_pool2d(balanced, _NOISE_WINDOW_PX, stride=1, padding=_NOISE_WINDOW_PX // 2, count_include_pad=False).clamp_min(0)
        factors = gains[:, :, None, None]
        variance = factors * noise[:, 0, None, None, None] * around + factors.square() * noise[:, 1, None, None, None]
        slope = 0.5 * (around + OFFSET).rsqrt() if self.companding == "root" else 1.0
        return _NOISE_GAIN * (variance.clamp_min(0).sqrt() * slope).mean(dim=1, keepdim=True)
