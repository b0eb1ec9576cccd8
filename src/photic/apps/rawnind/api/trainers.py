"""Trainers of denoisers from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from photic.apps.rawnind.api.architectures import network_config
from photic.apps.rawnind.api.base_trainer import CleanTrainer
from photic.apps.rawnind.api.image_metrics import full_mask
from photic.apps.rawnind.api.paired_task import PairedDenoisingTask
from photic.apps.rawnind.api.training_config import INPUT_CHANNELS, LOSSES, TrainingConfig, check_training_type
from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.core.seeding import derive_seed
from photic.functional.cfa import unpack
from photic.inference.devices import usable_device
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
        check_training_type(training_type)
        made = TrainingConfig.of(config)
        channels = INPUT_CHANNELS[training_type]
        if made.input_channels not in (None, channels):
            raise ConfigError(f"TrainingConfig.input_channels: {training_type} takes {channels} channels, not {made.input_channels}")
        if channels == 4:
            made.check_bayer()
        usable_device(made.device)  # before anything is made
        self.loss_config = cast(LossConfig, losses.configure(LOSSES[made.loss_function]))
        self.model_config = network_config(made.model_architecture, "mosaic" if channels == 4 else "rgb", filter_units=made.filter_units)
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

    def compute_loss(self, predictions: Tensor, ground_truth: Tensor, masks: Any = None) -> Tensor:
        """Return the loss of pictures, after the transfer function, over what counts.

        Args:
            predictions: ``(B, 3, H, W)`` as :meth:`process_bayer_output` gives them, or of RGB training the network's.
            ground_truth: the same shape.
            masks: ``(B, 1, H, W)``, ``(B, H, W)`` or the same shape; nonzero counts; None: everything.

        Raises:
            DataError: shapes differ (nothing is scaled to fit), or nothing counts.
        """
        return self.task.compared(predictions, ground_truth, None if masks is None else full_mask(masks, ground_truth, each=False).float())

    def process_bayer_output(self, output: Tensor, xyz_matrices: Any, bayer_input: Tensor) -> Tensor:
        """Return the network's pictures in linear Rec.2020, matched in exposure to what it was given, if so configured.

        Each picture's matrix is inverted as it is. With ``match_gain="output"``, each picture is multiplied by one factor first: the mean
        of the mosaic over that of the picture at the same samples, where the mosaic is not clipped.

        Args:
            output: ``(B, 3, 2H, 2W)`` in the camera's colours.
            xyz_matrices: ``(B, 3, 3)``, XYZ (D65) to camera.
            bayer_input: ``(B, 4, H, W)`` packed.

        Raises:
            ConfigError: this trainer's pictures are RGB.
            DataError: other shapes, or a matrix that cannot be inverted.
        """
        if not self.task.is_bayer:
            raise ConfigError("process_bayer_output: this trainer is rgb_to_rgb, whose pictures stay in their colours")
        if output.ndim != 4 or bayer_input.shape != (len(output), 4, output.shape[2] // 2, output.shape[3] // 2) or output.shape[1] != 3:
            raise DataError(
                f"process_bayer_output: expected output (B, 3, 2H, 2W) and bayer_input (B, 4, H, W), got {tuple(output.shape)} and "
                f"{tuple(bayer_input.shape)}"
            )
        matrices = self.task.matrices(xyz_matrices, len(output), output.device)
        return self.task.finished(output, unpack(bayer_input), self.task.planes(output), matrices)


def create_denoiser_trainer(
    training_type: str, config: TrainingConfig | Mapping[str, Any] | str | Path | None = None
) -> CleanDenoiserTrainer:
    """Return a trainer of a denoiser; see :class:`CleanDenoiserTrainer`.

    >>> config = TrainingConfig(model_architecture="unet", filter_units=2, crop_size=32)
    >>> create_denoiser_trainer("bayer_to_rgb", config).get_current_learning_rate()
    0.0003
    """
    return CleanDenoiserTrainer(training_type, config)
