"""Settings of training from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from photic.apps.rawnind.api.architectures import FILTER_UNITS, compresses, compressor_config, network_config
from photic.apps.rawnind.api.image_metrics import MS_SSIM_TOO_SMALL_PX, check_metrics
from photic.core.errors import ConfigError, nearest
from photic.core.schema import Config, Range
from photic.inference.devices import device_name, usable_device
from photic.models.raw_denoising import Measurement
from photic.workflows.recipes import read_yaml

INPUT_CHANNELS: dict[str, int] = {"rgb_to_rgb": 3, "bayer_to_rgb": 4}
LOSSES = {"mse": "mse", "l1": "l1", "ms_ssim": "ms_ssim_loss"}
"""Names of losses here, and in the registry."""
DENOISING_RATE, COMPRESSION_RATE = 3e-4, 1e-4
LAMBDAS = {"mse": 4096.0, "l1": 128.0, "ms_ssim": 32.0}
"""Trade-off of compression by the loss, where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """How a network is trained from Python.

    A denoiser with :func:`photic.apps.rawnind.create_denoiser_trainer`, one that compresses with
    :func:`photic.apps.rawnind.create_denoise_compress_trainer`.

    >>> TrainingConfig(model_architecture="unet", loss_function="ms_ssim", crop_size=161).learning_rate
    0.0003
    """

    model_architecture: str = "standard"
    """standard (the best), unet (= utnet2), utnet3, autoencoder; for compression standard (= hyperprior), many_priors, hyperprior,
    factorized, denoise_then_compress; or one that a plug-in brings."""
    encoder_arch: str | None = None
    """Of networks that compress: Balle, the only one."""
    decoder_arch: str | None = None
    """Of networks that compress: Balle for RGB, BayerPS or BayerTC for mosaics; null: Balle or BayerPS."""
    model_options: dict[str, Any] = field(default_factory=dict)
    """Further fields of the network's config, such as {activation: prelu}."""
    input_channels: int | None = None
    """3 for RGB, 4 for packed Bayer planes; null: as the kind of training asks."""
    output_channels: int = 3
    """Always red, green and blue: 3."""
    filter_units: Annotated[int, Range(ge=1)] = FILTER_UNITS
    """Channels at the network's first level; `standard` has 16, 32, 48 and 64 (tiny, small, base, large). Of networks that compress, 32 are
    their published width."""
    learning_rate: float | None = None
    """Of Adam, above 0; null becomes 3e-4, and 1e-4 where compression_lambda or the architecture says that the network compresses."""
    gradient_clip_norm: Annotated[float | None, Range(gt=0)] = None
    """Largest norm of the gradient; null does not clip, but becomes 1 where the learning rate would be 1e-4."""
    batch_size: Annotated[int, Range(ge=1)] = 4
    """Crops per step, of the datasets made for this config."""
    crop_size: Annotated[int, Range(ge=1)] = 256
    """Side of training crops in sensor pixels, even for Bayer."""
    val_crop_size: Annotated[int | None, Range(ge=1)] = None
    """Side of validation crops likewise; null: crop_size."""
    test_crop_size: Annotated[int | None, Range(ge=1)] = None
    """Side of test crops likewise; null: val_crop_size."""
    num_crops_per_image: Annotated[int, Range(ge=1)] = 1
    """Crops of each picture per pass."""
    total_steps: Annotated[int, Range(ge=1)] = 10_000
    """Optimizer steps of the whole training; those that were really made count."""
    validation_interval: Annotated[int, Range(ge=1)] = 1000
    """Optimizer steps between validations; another one is made at the end."""
    test_interval: Annotated[int | None, Range(ge=1)] = None
    """Optimizer steps between tests, where `train` is given test pictures; null: only where `test` is called. Tests choose nothing."""
    loss_function: Literal["mse", "l1", "ms_ssim"] = "mse"
    """What is minimised; ms_ssim needs crops of 161 pixels."""
    transfer_function: Literal["none", "gamma22", "pq"] = "none"
    """What pictures pass through before the loss; never on the network's input."""
    match_gain: Literal["never", "input", "output"] = "never"
    """Bring noisy and clean pictures to one exposure by one factor per picture: never; the network's input is multiplied to have the clean
    picture's (input); its output is multiplied to have its input's (output)."""
    additional_metrics: tuple[str, ...] = ()
    """Further values of validation and test: mse, psnr, ms_ssim, and other metrics of pictures."""
    patience: Annotated[int, Range(ge=1)] = 1000
    """Optimizer steps without improvement of any validation value after which the learning rate is lowered."""
    lr_decay_factor: Annotated[float, Range(gt=0, lt=1)] = 0.85
    """What it is multiplied with then, once."""
    early_stopping_patience: Annotated[int | None, Range(ge=1)] = None
    """Validations without improvement of any value after which training stops; null never stops early."""
    device: str | int = "cpu"
    """cpu, cuda, cuda:1, auto; or -1 for the CPU and the number of a GPU. Also takes a torch.device."""
    save_training_images: bool = False
    """Write the first pictures of every validation and test as OpenEXR files."""
    output_dir: Path = Path("runs")
    """Folder of all experiments."""
    experiment_name: str = "raw_denoise_python"
    """Folder in it; every training has one of its own there, with checkpoints, values and pictures."""
    keep_best: Annotated[int, Range(ge=1)] = 2
    """Checkpoints that are kept for each value of validation, the best ones."""
    seed: Annotated[int, Range(ge=0)] = 42
    """Draws the weights that training begins with."""
    compression_lambda: Annotated[float | None, Range(gt=0)] = None
    """Weight of the distortion in lambda D + R, for compression: 2, 4, 32, 64, 128 and 4096 are published. null: 32 for ms_ssim, 128 for
    l1, 4096 for mse. Denoisers have no rate."""
    compression_lambda_lowest: Annotated[float | None, Range(gt=0)] = None
    """Of networks with several quality levels (model_options: num_qualities), that of the lowest; those between are in equal ratios, and
    compression_lambda is that of the highest. null: all have the same."""
    bit_estimator_lr_multiplier: Annotated[float, Range(gt=0)] = 10.0
    """Learning rate of the entropy model's densities and quantiles relative to the network's, for compression."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", device_name(self.device))
        super().__post_init__()
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", COMPRESSION_RATE if self.compresses else DENOISING_RATE)
        if self.gradient_clip_norm is None and self.compresses:
            object.__setattr__(self, "gradient_clip_norm", 1.0)
        check_rate(self.rate)
        if self.input_channels not in (None, 3, 4):
            raise ConfigError(f"TrainingConfig.input_channels: expected 3 (RGB) or 4 (packed Bayer planes), got {self.input_channels}")
        if self.output_channels != 3:
            raise ConfigError(f"TrainingConfig.output_channels: expected 3 (red, green, blue), got {self.output_channels}")
        self._check_network()
        check_metrics(self.additional_metrics, "TrainingConfig.additional_metrics")
        if self.input_channels == 4:
            self.check_bayer()
        self._check_ms_ssim()

    @property
    def measurement(self) -> Measurement:
        """What the network takes, as far as this config says."""
        return "mosaic" if self.input_channels == 4 else "rgb"

    @property
    def compresses(self) -> bool:
        """Whether a network is meant that compresses, as far as this config says."""
        return self.compression_lambda is not None or compresses(self.model_architecture)

    @property
    def trade_off(self) -> float:
        """Lambda: what a distortion of 1 is worth in bits per sensor pixel."""
        return LAMBDAS[self.loss_function] if self.compression_lambda is None else self.compression_lambda

    @property
    def rate(self) -> float:
        """The learning rate, which is known once the config is made."""
        assert self.learning_rate is not None
        return self.learning_rate

    @property
    def experiments(self) -> Path:
        """Folder of all trainings of this experiment, each of which has one in it."""
        return self.output_dir / self.experiment_name

    @property
    def crops(self) -> dict[str, int]:
        """Sides of crops in training, validation and test, with the field that says so."""
        val = self.val_crop_size or self.crop_size
        return {"crop_size": self.crop_size, "val_crop_size": val, "test_crop_size": self.test_crop_size or val}

    def check_bayer(self) -> None:
        """Refuse crops that mosaics cannot have.

        Raises:
            ConfigError: an odd side.
        """
        for name, side in self.crops.items():
            if side % 2:
                raise ConfigError(f"TrainingConfig.{name}: crops of a Bayer mosaic need even sides, got {side}; use {side + 1}")

    def _check_network(self) -> None:
        where, units, options = "TrainingConfig.model_architecture", self.filter_units, self.model_options
        if compresses(self.model_architecture, synonyms=self.compresses):
            encoder, decoder = self.encoder_arch, self.decoder_arch
            compressor_config(
                self.model_architecture, encoder_arch=encoder, decoder_arch=decoder, filter_units=units, options=options, where=where
            )
            return
        network_config(self.model_architecture, self.measurement, filter_units=units, options=options, where=where)
        for name in ("encoder_arch", "decoder_arch", "compression_lambda_lowest"):
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"TrainingConfig.{name}: '{self.model_architecture}' does not compress; leave it out, or choose a network that does"
                )

    def _check_ms_ssim(self) -> None:
        sides = dict(self.crops)
        if self.loss_function != "ms_ssim":
            del sides["crop_size"]  # training measures the loss alone
            if "ms_ssim" not in self.additional_metrics:
                return
        for name, side in sides.items():
            if side <= MS_SSIM_TOO_SMALL_PX:
                raise ConfigError(
                    f"TrainingConfig.{name}: ms_ssim needs crops of more than {MS_SSIM_TOO_SMALL_PX} pixels (five scales of an 11-pixel "
                    f"window), got {side}; use {MS_SSIM_TOO_SMALL_PX + 1} or more, or another loss_function and metrics"
                )

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """Read a YAML file of fields.

        Raises:
            ConfigError: it cannot be read, or has unknown or impossible values.
        """
        return cls.from_dict(read_yaml(path), str(path))

    @classmethod
    def of(cls, config: Any, **usual: Any) -> Self:
        """Return a config from one, from fields as a mapping, or from a YAML file's path; None is the usual one.

        Args:
            config: any of these.
            **usual: fields where a mapping, a file or None leaves them out.

        Raises:
            ConfigError: none of these.
        """
        if config is None:
            return cls(**usual)
        if isinstance(config, cls):
            return config
        if isinstance(config, str | Path):
            return cls.from_dict({**usual, **read_yaml(config)}, str(config))
        if isinstance(config, dict):
            return cls.from_dict({**usual, **config}, cls.__name__)
        raise ConfigError(f"config: expected a {cls.__name__}, its fields as a dict, or a YAML file, got {type(config).__name__}")


def check_rate(value: float) -> None:
    """Refuse what is no learning rate.

    Raises:
        ConfigError: it is not above 0, or not finite.
    """
    if not 0 < value < float("inf"):
        raise ConfigError(f"TrainingConfig.learning_rate: expected a finite value above 0, got {value}")


def check_training_type(name: str, known: Sequence[str] = tuple(INPUT_CHANNELS)) -> None:
    """Refuse what is no kind of training.

    Raises:
        ConfigError: there is no such kind.
    """
    if name not in known:
        raise ConfigError(f"training_type: expected one of {', '.join(known)}, got {name!r}{nearest(str(name), known)}")


def config_for(training_type: str, config: Any, **usual: Any) -> tuple[TrainingConfig, Measurement]:
    """Return the config of a training, and what its network takes.

    Args:
        training_type: ``rgb_to_rgb`` or ``bayer_to_rgb``.
        config: as :meth:`TrainingConfig.of` takes it.
        **usual: likewise.

    Raises:
        ConfigError: no such kind of training, settings that do not fit it, or no such device.
    """
    check_training_type(training_type)
    made = TrainingConfig.of(config, **usual)
    channels = INPUT_CHANNELS[training_type]
    if made.input_channels not in (None, channels):
        raise ConfigError(f"TrainingConfig.input_channels: {training_type} takes {channels} channels, not {made.input_channels}")
    if channels == 4:
        made.check_bayer()
    usable_device(made.device)  # before anything is made
    return made, "mosaic" if channels == 4 else "rgb"
