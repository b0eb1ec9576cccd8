"""Trainers from Python of networks that compress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from photic.apps.rawnind.api.architectures import compressor_config
from photic.apps.rawnind.api.base_trainer import CleanTrainer
from photic.apps.rawnind.api.experiment import weights_file
from photic.apps.rawnind.api.image_metrics import full_mask
from photic.apps.rawnind.api.paired_compression import PairedCompressionTask
from photic.apps.rawnind.api.training_config import LOSSES, TrainingConfig, config_for
from photic.core.checkpoint import read_weights
from photic.core.errors import DataError
from photic.core.registry import losses
from photic.core.seeding import derive_seed
from photic.losses.rate_distortion import RateDistortionConfig
from photic.models.codec.entropy import EntropyModel
from photic.tasks.compression import CompressionGraph


class CleanDenoiseCompressTrainer(CleanTrainer):
    """Trains a network that denoises while it compresses, for lambda D + R, on batches of noisy and clean pictures.

    Batches are those of :class:`photic.apps.rawnind.CleanDenoiserTrainer`; they may also have ``quality`` ``(B,)``, where the network has
    several levels. R is in bits per sensor pixel: of Bayer pictures, ``(2H)(2W)`` for packed planes ``(4, H, W)``; side information counts.

    Steps give ``loss``, and its terms ``distortion`` (lambda D), ``rate`` (R) and ``quantiles`` (moves nothing but the quantiles of the
    entropy model's densities). Validation and test give ``bpp`` and ``bpp_actual`` too, what the streams really take.

    Args:
        training_type: ``rgb_to_rgb`` or ``bayer_to_rgb``.
        config: a :class:`TrainingConfig`, its fields as a dict, or a YAML file; the usual one if None, which trains a `hyperprior`.

    Raises:
        ConfigError: no such kind of training, settings that do not fit it, no such device, or a network that does not compress.

    >>> config = TrainingConfig(model_architecture="many_priors", filter_units=1, compression_lambda=64, model_options={"num_latents": 4})
    >>> trainer = CleanDenoiseCompressTrainer("bayer_to_rgb", config)
    >>> trainer.get_current_learning_rate()
    0.0001
    >>> sorted(group["name"] for group in trainer.get_optimizer_param_groups() if group["lr"] > 2e-4)
    ['auxiliary_plain', 'entropy_plain']
    """

    task: PairedCompressionTask

    def __init__(self, training_type: str, config: TrainingConfig | Mapping[str, Any] | str | Path | None = None) -> None:
        made, measurement = config_for(training_type, config, model_architecture="hyperprior")
        self.loss_config = RateDistortionConfig.from_dict(
            {
                "lmbda": made.trade_off,
                "lmbda_lowest": made.compression_lambda_lowest,
                "distortion": losses.configure(LOSSES[made.loss_function]).to_dict(),
            },
            "TrainingConfig.compression_lambda",
        )
        self.model_config = compressor_config(
            made.model_architecture,
            measurement,
            encoder_arch=made.encoder_arch,
            decoder_arch=made.decoder_arch,
            filter_units=made.filter_units,
            options=made.model_options,
            where="TrainingConfig.model_architecture",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(made.seed, "weights"))
            network = self.model_config.build()
        network.start(lambda source: read_weights(weights_file(source)))
        task = PairedCompressionTask(
            CompressionGraph(network),
            self.loss_config.build(),
            metrics=made.additional_metrics,
            transfer=made.transfer_function,
            match_gain=made.match_gain,
            entropy_lr_multiplier=made.bit_estimator_lr_multiplier,
        )
        super().__init__(training_type, made, task)

    @property
    def compression_lambda(self) -> float:
        """Weight of the distortion in lambda D + R; of the highest quality, where there are several."""
        return self.loss_config.lmbda

    @property
    def encoder(self) -> nn.Module:
        """The network's part that makes latents of pictures."""
        return self.task.network.encoder

    @property
    def decoder(self) -> nn.Module:
        """The network's part that makes pictures of latents."""
        return self.task.network.decoder

    @property
    def bit_estimator(self) -> EntropyModel:
        """The network's part that says how many bits latents take."""
        return self.task.network.bit_estimator

    def described(self) -> dict[str, Any]:
        """Return the configuration of task, network and loss."""
        return {"task": self.task.config.to_dict(), "model": self.model_config.to_dict(), "loss": self.loss_config.to_dict()}

    def save_checkpoint(self, path: Path | str | None = None, step: int | None = None) -> Path:
        """Write weights, the integer tables that belong to them, and everything needed to go on, whole or not at all."""
        self.bit_estimator.ready()
        return super().save_checkpoint(path, step)

    def compute_joint_loss(
        self, predictions: Tensor, ground_truth: Tensor, bpp: Tensor | Mapping[str, Tensor] | float, masks: Any = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return lambda D + R, and its parts ``distortion`` (lambda D) and ``rate`` (R); of networks with several levels, at the highest.

        Args:
            predictions: ``(B, 3, H, W)`` as :meth:`process_bayer_output` gives them, or of RGB training the network's.
            ground_truth: the same shape.
            bpp: bits per sensor pixel, side information included: one number, or ``(B,)``; or the bits of each part ``(B,)`` as the network
                gives them (``trainer.model(...).bits``), which are divided by the pixels here.
            masks: what counts in D, as for :meth:`compute_loss`.

        Raises:
            DataError: shapes differ, nothing counts, or as many rates as pictures are needed.
        """
        number = len(predictions)
        if isinstance(bpp, Mapping):
            bpp = torch.stack(list(bpp.values())).sum(dim=0) / (predictions.shape[-1] * predictions.shape[-2])
        rate = torch.as_tensor(bpp, dtype=torch.float32, device=predictions.device)
        if rate.ndim > 1 or rate.numel() not in (1, number):
            raise DataError(f"compute_joint_loss: expected bits per pixel as one number or ({number},), got {tuple(rate.shape)}")
        mask = None if masks is None else full_mask(masks, ground_truth, each=False).float()
        highest = predictions.new_full((number,), float(self.task.network.num_qualities))
        with torch.autocast(predictions.device.type, enabled=False):
            parts = self.task.traded(self.task.encoded(predictions, ground_truth, mask), rate.expand(number), highest)
        return torch.stack(list(parts.values())).sum(), parts


def create_denoise_compress_trainer(
    training_type: str, config: TrainingConfig | Mapping[str, Any] | str | Path | None = None
) -> CleanDenoiseCompressTrainer:
    """Return a trainer of a network that compresses; see :class:`CleanDenoiseCompressTrainer`.

    >>> config = TrainingConfig(model_architecture="hyperprior", filter_units=2, compression_lambda=4)
    >>> create_denoise_compress_trainer("rgb_to_rgb", config).model.measurement
    'rgb'
    """
    return CleanDenoiseCompressTrainer(training_type, config)
