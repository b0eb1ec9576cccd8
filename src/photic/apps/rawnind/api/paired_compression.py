"""Compression as it is trained from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from photic.apps.rawnind.api.paired_task import MatchGain, PairedTask
from photic.core.errors import DataError
from photic.functional.transfer import Transfer
from photic.losses.rate_distortion import RateDistortionLoss
from photic.models.compression import Coded
from photic.tasks.base import Batch, Phase, StepResult
from photic.tasks.compression import CompressionConfig, CompressionGraph, CompressionTask


class PairedCompressionTask(PairedTask, CompressionTask):
    """Compression whose targets are in linear Rec.2020 (mosaics) or in the colours of the input (RGB).

    Validation and test also have ``bpp``, the bits per sensor pixel that the integer tables say, and ``bpp_actual``, those of the streams
    that pictures are really coded into.

    Args:
        graph: the network.
        criterion: the trade-off.
        metrics: names of what is measured in validation and test, see :func:`photic.apps.rawnind.compute_image_metrics`.
        transfer: what pictures pass through before the distortion.
        match_gain: ``never``, ``input`` or ``output``.
        entropy_lr_multiplier: how much faster densities and their quantiles learn.
    """

    criterion: RateDistortionLoss

    def __init__(
        self,
        graph: CompressionGraph,
        criterion: RateDistortionLoss,
        *,
        metrics: tuple[str, ...],
        transfer: Transfer,
        match_gain: MatchGain,
        entropy_lr_multiplier: float,
    ) -> None:
        super().__init__(
            graph,
            criterion,
            CompressionConfig(
                metrics=(),
                space="rec2020" if graph.network.measurement == "mosaic" else "camera",
                transfer=transfer,
                entropy_lr_multiplier=entropy_lr_multiplier,
            ),
        )
        self.values, self.transfer, self.match_gain = metrics, transfer, match_gain
        self.measurement = graph.network.measurement
        self.heeds_noise = bool(getattr(graph.network, "noise_map", True))

    def prepared(self, batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        """Return a batch of the Python interface as the task takes it, with its ``quality`` ``(B,)``, if it says so.

        Raises:
            DataError: something is missing, or shapes do not belong together.
        """
        made = super().prepared(batch, device)
        if batch.get("quality") is not None:
            number = len(made["target"])
            made["quality"] = torch.as_tensor(batch["quality"]).to(device, torch.float32)
            if made["quality"].shape != (number,):
                raise DataError(f"batch: expected 'quality' ({number},), got {tuple(made['quality'].shape)}")
        return made

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and decoded pictures for a batch as :meth:`prepared` gives it.

        Raises:
            ConfigError: in training, the network lacks what it must start from.
        """
        if phase == "train":
            self.network.check_trainable()
        measurement, noise = self.matched(batch)
        quality = self._qualities(batch, phase)
        coded: Coded = self.graph(measurement, batch["planes"], noise, batch["balance"], quality)
        shown = self.finished(coded.picture, measurement, batch["planes"], batch["xyz_to_camera"])
        rate = self.rate_bpp(coded)
        with torch.autocast(shown.device.type, enabled=False):
            terms = self.traded(self.encoded(shown, batch["target"], batch.get("mask")), rate, quality)
            if phase == "train":
                terms |= self.auxiliary_terms()
        reduced = None
        if phase != "train":
            pixels = shown.shape[-1] * shown.shape[-2]
            values = self.measured(shown, batch, phase)
            values = torch.cat([values, torch.stack([rate.to(values), self.actual_bits(coded).to(values) / pixels], dim=1)], dim=1)
            reduced = (values, torch.zeros_like(values))
        return StepResult(
            loss=torch.stack(list(terms.values())).sum(), terms=terms, prediction=shown.detach(), target=batch["target"], reduced=reduced
        )

    def compared(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the distortion D, normalised by the values that count."""
        with torch.autocast(prediction.device.type, enabled=False):
            made: Tensor = self.criterion.distortion(*self.encoded(prediction, target, mask)[:3])
        return made

    @property
    def columns(self) -> list[str]:
        """Names of the values that are kept of each picture."""
        return [*self.values, "bpp", "bpp_actual"]
