"""Denoising as it is trained from Python."""

from __future__ import annotations

import torch
from torch import Tensor

from photic.apps.rawnind.api.paired_task import MatchGain, PairedTask
from photic.apps.rawnind.denoising import heeds_noise
from photic.functional.transfer import Transfer
from photic.losses.base import BaseLoss
from photic.tasks.base import Batch, Phase, StepResult
from photic.tasks.raw_denoising import RawDenoisingConfig, RawDenoisingGraph, RawDenoisingTask


class PairedDenoisingTask(PairedTask, RawDenoisingTask):
    """Denoising whose targets are in linear Rec.2020 (mosaics) or in the colours of the input (RGB).

    Args:
        graph: the network.
        criterion: a loss on pictures.
        metrics: names of what is measured in validation and test, see :func:`photic.apps.rawnind.compute_image_metrics`.
        transfer: what pictures pass through before the loss.
        match_gain: ``never``, ``input`` or ``output``.
    """

    def __init__(
        self, graph: RawDenoisingGraph, criterion: BaseLoss, *, metrics: tuple[str, ...], transfer: Transfer, match_gain: MatchGain
    ) -> None:
        super().__init__(graph, criterion, RawDenoisingConfig(metrics=(), space="rec2020", transfer=transfer))
        self.values, self.transfer, self.match_gain = metrics, transfer, match_gain
        self.measurement = graph.network.measurement
        self.heeds_noise = heeds_noise(graph.network)

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and clean pictures for a batch as :meth:`prepared` gives it."""
        measurement, noise = self.matched(batch)
        made = self.graph(measurement, batch["planes"], noise, batch["balance"])
        shown = self.finished(made, measurement, batch["planes"], batch["xyz_to_camera"])
        loss = self.compared(shown, batch["target"], batch.get("mask"))
        reduced = None
        if phase != "train":
            values = self.measured(shown, batch, phase)
            reduced = (values, torch.zeros_like(values))
        return StepResult(
            loss=loss, terms={self.criterion.term_name: loss}, prediction=shown.detach(), target=batch["target"], reduced=reduced
        )

    def compared(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss, normalised by the values that count."""
        with torch.autocast(prediction.device.type, enabled=False):
            terms = self.criterion.terms_on({"picture": self.encoded(prediction, target, mask)})
        return torch.stack(list(terms.values())).sum()
