"""Settings of networks that are used from Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from photic.apps.rawnind.api.architectures import FILTER_UNITS, compressor_config, network_config
from photic.apps.rawnind.api.experiment import weights_file
from photic.core.checkpoint import load_weights, read_weights
from photic.core.errors import ConfigError
from photic.core.schema import Config, Range
from photic.inference.devices import device_name, usable_device
from photic.inference.predictor import LoadedModel
from photic.losses.rate_distortion import RateDistortionConfig
from photic.models.raw_denoising import Measurement, RawDenoiser
from photic.tasks.compression import CompressionConfig, CompressionGraph, CompressionTask

_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(Config):
    """A denoiser, or a network that compresses: which one, and how pictures go through it."""

    architecture: str = "standard"
    """standard (the best), unet (= utnet2), utnet3, autoencoder, identity; for compression standard (= hyperprior), many_priors,
    hyperprior, factorized, denoise_then_compress; or one that a plug-in brings."""
    encoder_arch: str | None = None
    """Of networks that compress: Balle, the only one."""
    decoder_arch: str | None = None
    """Of networks that compress: Balle for RGB, BayerPS or BayerTC for Bayer mosaics; null is Balle."""
    filter_units: Annotated[int, Range(ge=1)] = FILTER_UNITS
    """Channels at the network's first level; `standard` has 16, 32, 48 and 64 (tiny, small, base, large). Of networks that compress, 32 are
    their published width."""
    enable_preupsampling: bool = False
    """U-Nets for mosaics enlarge the packed planes before the network: sharper, and four times the computation."""
    checkpoint_path: Path | None = None
    """Trained weights: a checkpoint, run or bundle of Photic, or plain safetensors; null leaves them as they are drawn."""
    tile_size: Annotated[int | None, Range(ge=1)] = None
    """Side of the tiles that pictures are cut into, in sensor pixels; twice the overlap at least. null is 1536. Of compressed pictures,
    side of the parts that can be decoded without the others; null is 32 latents."""
    tile_overlap: Annotated[int | None, Range(ge=0)] = None
    """Pixels that neighbouring tiles share, at least; as many as a trained network needs for seams not to show are shared in any case.
    Twice the network's reach and 16 pixels more make tiles equal the whole whatever the weights are."""
    device: str | int = "cpu"
    """cpu, cuda, cuda:1, auto; or -1 for the CPU and the number of a GPU. Also takes a torch.device."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the network's convolutions; auto is fp16 on a GPU and fp32 elsewhere. Also takes float32, bfloat16 and float16."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further fields of the network's config, such as {activation: prelu}."""

    def __post_init__(self) -> None:
        if isinstance(self.precision, str):
            object.__setattr__(self, "precision", _PRECISIONS.get(self.precision, self.precision))
        object.__setattr__(self, "device", device_name(self.device))
        super().__post_init__()

    def network(self, measurement: Measurement) -> RawDenoiser:
        """Return the network, with its weights, on its device, in evaluation mode.

        Raises:
            ConfigError: no such architecture or device.
            CheckpointError: the weights cannot be read or do not fit.
        """
        self._refuse("encoder_arch", "decoder_arch", why="is for networks that compress (create_compressor)")
        place = usable_device(self.device)
        made = network_config(
            self.architecture,
            measurement,
            filter_units=self.filter_units,
            enable_preupsampling=self.enable_preupsampling,
            options=self.options,
        ).build()
        if self.checkpoint_path is not None:
            file = weights_file(self.checkpoint_path)
            load_weights(made, read_weights(file), file)
        return made.eval().to(place)

    def compressor(self) -> LoadedModel:
        """Return the network that compresses, with its weights, on its device, in evaluation mode, as models from files are.

        Raises:
            ConfigError: no such architecture or device, or a setting that is for denoisers.
            CheckpointError: the weights cannot be read or do not fit.
        """
        self.check_compressing()
        place = usable_device(self.device)
        config = compressor_config(
            self.architecture,
            encoder_arch=self.encoder_arch,
            decoder_arch=self.decoder_arch,
            filter_units=self.filter_units,
            options=self.options,
        )
        network = config.build()
        source = Path(self.architecture)
        if self.checkpoint_path is not None:
            source = weights_file(self.checkpoint_path)
            load_weights(network, read_weights(source), source)
        loss, task = RateDistortionConfig(), CompressionConfig()
        made = CompressionTask(CompressionGraph(network), loss.build(), task).eval().to(place)
        described = {"task": task.to_dict(), "model": config.to_dict(), "loss": loss.to_dict()}
        return LoadedModel(made, described, made.description(), source, place)

    def check_compressing(self) -> None:
        """Refuse settings that are for denoisers alone.

        Raises:
            ConfigError: there are such.
        """
        self._refuse("enable_preupsampling", "tile_overlap", "precision", why="is for denoisers; compression has none")

    def _refuse(self, *names: str, why: str) -> None:
        for name in names:
            if getattr(self, name) not in (None, False, "auto", "fp32"):
                raise ConfigError(f"{name}: {why}; leave it out")


def created_config(architecture: str | InferenceConfig, fields: dict[str, Any], options: dict[str, Any]) -> InferenceConfig:
    """Return the config of a factory: the one it was given, or one made of its arguments.

    Args:
        architecture: its first argument.
        fields: its other named arguments.
        options: ``tile_size``, ``tile_overlap``, ``precision``, and fields of the network's config.

    Raises:
        ConfigError: a config and other arguments were given.
    """
    if isinstance(architecture, InferenceConfig):
        plain = InferenceConfig()
        given = [name for name, value in fields.items() if value != getattr(plain, name)] + list(options)
        if given:
            raise ConfigError(f"{given[0]}: give it in the InferenceConfig, or give no InferenceConfig")
        return architecture
    own = {name: options.pop(name) for name in ("tile_size", "tile_overlap", "precision") if name in options}
    return InferenceConfig(architecture=architecture, **fields, **own, options=options)
