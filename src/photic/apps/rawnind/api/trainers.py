"""Trainers of denoisers from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from photic.apps.rawnind.api.architectures import network_config
from photic.apps.rawnind.api.base_trainer import CleanTrainer
from photic.apps.rawnind.api.paired_denoising import PairedDenoisingTask
from photic.apps.rawnind.api.training_config import LOSSES, TrainingConfig, config_for
from photic.core.registry import losses
from photic.core.seeding import derive_seed
from photic.losses.base import LossConfig
from photic.tasks.raw_denoising import RawDenoisingConfig, RawDenoisingGraph


class CleanDenoiserTrainer(CleanTrainer):
    """Trains a denoiser on batches of noisy and clean pictures.

    Batches are mappings: ``noisy_images`` ``(B, 3, H, W)`` and ``clean_images`` of the same shape for ``rgb_to_rgb``; for ``bayer_to_rgb``
    packed ``(B, 4, H, W)``, and clean ``(B, 3, 2H, 2W)`` in linear Rec.2020, with ``rgb_xyz_matrices`` ``(B, 3, 3)``. They may have
    ``masks`` (nonzero counts), ``image_paths``, ``noise`` ``(B, 2)`` (else it is estimated, where the network heeds it), and ``balances``
    ``(B, 3)``.

    Args:
        training_type: ``rgb_to_rgb`` or ``bayer_to_rgb``.
        config: a :class:`TrainingConfig`, its fields as a dict, or a YAML file; the usual one if None.

    Raises:
        ConfigError: no such kind of training, settings that do not fit it, no such device, or a network without parameters.

    >>> trainer = CleanDenoiserTrainer("rgb_to_rgb", TrainingConfig(model_architecture="unet", filter_units=2))
    >>> batch = {"noisy_images": torch.rand(1, 3, 16, 16), "clean_images": torch.rand(1, 3, 16, 16)}
    >>> trainer.train([batch], None, None, max_steps=3)["steps_completed"]
    3
    """

    def __init__(self, training_type: str, config: TrainingConfig | Mapping[str, Any] | str | Path | None = None) -> None:
        made, measurement = config_for(training_type, config)
        self.loss_config = cast(LossConfig, losses.configure(LOSSES[made.loss_function]))
        self.model_config = network_config(made.model_architecture, measurement, filter_units=made.filter_units, options=made.model_options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(made.seed, "weights"))
            graph = RawDenoisingGraph(self.model_config.build())
        task = PairedDenoisingTask(
            graph,
            self.loss_config.build(),
            metrics=made.additional_metrics,
            transfer=made.transfer_function,
            match_gain=made.match_gain,
        )
        super().__init__(training_type, made, task)

    def described(self) -> dict[str, Any]:
        """Return the configuration of task, network and loss."""
        task = RawDenoisingConfig(space="rec2020" if self.task.is_bayer else "camera", transfer=self.config.transfer_function)
        return {"task": task.to_dict(), "model": self.model_config.to_dict(), "loss": self.loss_config.to_dict()}


def create_denoiser_trainer(
    training_type: str, config: TrainingConfig | Mapping[str, Any] | str | Path | None = None
) -> CleanDenoiserTrainer:
    """Return a trainer of a denoiser; see :class:`CleanDenoiserTrainer`.

    >>> config = TrainingConfig(model_architecture="unet", filter_units=2, crop_size=32)
    >>> create_denoiser_trainer("bayer_to_rgb", config).get_current_learning_rate()
    0.0003
    """
    return CleanDenoiserTrainer(training_type, config)
