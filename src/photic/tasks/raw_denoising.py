"""Denoising of raw pictures: from a noisy mosaic or linear RGB to a clean picture, judged as it is developed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError
from photic.core.registry import tasks
from photic.data.base import PreparedData
from photic.functional.colour import linear_to_srgb
from photic.functional.raw_colour import REC2020_TO_SRGB, apply_matrix, camera_to_rec2020_batch
from photic.functional.transfer import encode
from photic.losses.base import BaseLoss, Compared, LossConfig
from photic.losses.composite import SumLoss
from photic.metrics.base import Metric
from photic.metrics.column_mean import ColumnMean
from photic.metrics.comparison import ComparisonSpec
from photic.models.base import ModelConfig
from photic.models.raw_denoising import RawDenoiser, RawDenoiserConfig
from photic.tasks.base import Batch, Phase, StepResult, Task, TaskConfig
from photic.tasks.examples import raw_pictures
from photic.tasks.interface import GraphInterface
from photic.tasks.pictures import column_values, means, means_by, named_rows, picture_metric, side_by_side
from photic.tasks.raw_ports import CLEAN, noise_model, raw_inputs, raw_preprocessing

_SHOWN = 4


class RawDenoisingGraph(nn.Module):
    """The network, as it is deployed: noisy measurements to clean pictures in camera colours.

    Args:
        network: what denoises.
    """

    def __init__(self, network: RawDenoiser) -> None:
        super().__init__()
        self.network = network

    def forward(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return clean pictures ``(B, 3, H, W)``, float32, not clamped; arguments as for :class:`RawDenoiser`."""
        made: Tensor = self.network(measurement, planes, noise, balance)
        return made.float()


class RawDenoisingTask(Task):
    """From noisy raw pictures to clean ones.

    Args:
        graph: the network.
        criterion: a loss on pictures, or a sum of such losses.
        config: space and transfer function of the loss, metrics.
        iso: ISO values that validation pictures have, for values of each.
    """

    graph: RawDenoisingGraph
    criterion: BaseLoss
    usage = (
        "    photic predict FILE photo.CR2 -o photo.dng\n    photic predict FILE photos/ -o clean/ --strength 0.8\n\n"
        "Input: raw files of Bayer and, where the network takes any pattern, X-Trans cameras; linear DNG.\n"
        "Output: linear DNG, OpenEXR, TIFF, PNG or JPEG, with brightness, white balance and EXIF kept."
    )
    limits = (
        "It relies on being told the noise (a and b of the variance a x + b), or on an estimate: where these are wrong by more than a "
        "factor of about 1.5 in standard deviation, it leaves noise or smooths too much.",
        "Noise of other kinds than it learnt from, such as banding, hot pixels, or what a camera's own denoising leaves, is not removed "
        "reliably.",
        "Above the ISO values it was trained for, and in their upper range, fine detail may be made up. It is no evidence.",
    )

    def __init__(self, graph: RawDenoisingGraph, criterion: BaseLoss, config: RawDenoisingConfig, iso: Sequence[float] = ()) -> None:
        super().__init__()
        self.graph, self.criterion, self.config, self.iso = graph, criterion, config, tuple(iso)
        self._metrics = [picture_metric(name) for name in config.metrics]

    @property
    def network(self) -> RawDenoiser:
        """The network inside the graph."""
        return self.graph.network

    @property
    def columns(self) -> list[str]:
        """Names of the values that are kept of each picture, in order; the last is its ISO value."""
        return [*(metric.value_name for metric in self._metrics), "iso"]

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and clean pictures.

        Takes ``measurement`` ``(B, 1 or 3, H, W)``, ``planes``, ``target`` ``(B, 3, H, W)``, ``noise`` ``(B, 2)``, ``balance`` ``(B, 3)``,
        ``xyz_to_camera`` ``(B, 3, 3)``, and perhaps ``mask`` ``(B, 1, H, W)`` (all counts, where it is missing) and ``iso`` ``(B,)``.

        Raises:
            DataError: prediction and target differ in size.
        """
        target, mask = batch["target"].float(), batch.get("mask")
        made = self.graph(batch["measurement"], batch["planes"], batch["noise"], batch["balance"])
        if made.shape != target.shape:  # never scaled to fit
            raise DataError(f"raw_denoising: the network gives {tuple(made.shape)}, the target is {tuple(target.shape)}")
        with torch.autocast(made.device.type, enabled=False):
            compared = Compared(self.judged(made, batch), self.judged(target, batch), mask)
            terms = self.criterion.terms_on({"picture": compared})
        loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        picture = made.detach()

        def preview() -> np.ndarray:
            first = slice(0, _SHOWN)
            noisy = batch["measurement"] if batch["measurement"].shape[1] == 3 else batch["measurement"] * batch["planes"]
            columns = [developed(part, batch)[first].cpu().numpy() for part in (noisy, picture, target)]
            return side_by_side(columns)

        reduced = None
        if phase != "train":
            values = self._values(picture, target, batch)
            reduced = (values, torch.zeros_like(values))
        return StepResult(loss=loss, terms=terms, prediction=picture, target=target, preview=preview, reduced=reduced)

    def judged(self, picture: Tensor, batch: Batch) -> Tensor:
        """Return a picture in camera colours as losses see it: in the space and through the transfer function of the config."""
        seen: Tensor = encode(in_space(picture, batch, self.config.space), self.config.transfer)
        return seen

    def _values(self, picture: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return the values of each picture ``(B, K)`` and its ISO value, of what a viewer sees; masked pixels are left out."""
        shown, true = developed(picture, batch), developed(target, batch)
        columns = [metric.values(shown, true, batch.get("mask")) for metric in self._metrics]
        iso = batch.get("iso")
        columns.append(torch.full((len(picture),), float("nan"), device=picture.device) if iso is None else iso.float())
        return torch.stack([column.to(torch.float64) for column in columns], dim=1)

    def predict(self, batch: Batch) -> Tensor:
        """Return clean pictures ``(B, 3, H, W)`` in camera colours."""
        pictures: Tensor = self.graph(batch["measurement"], batch["planes"], batch["noise"], batch["balance"])
        return pictures

    def interface(self) -> GraphInterface:
        """Return noisy measurements with what is known about them in, clean pictures out."""
        return GraphInterface(raw_inputs(self.network.measurement, rggb=self.network.needs_rggb), (CLEAN,))

    def example(self, batch: int = 2, size: tuple[int, int] | None = None, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return made-up noisy raw pictures."""
        return raw_pictures(batch, size or (96, 128), seed, self.network.measurement)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return two groups: weights, which decay, and biases and scales, which do not."""
        named = [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]
        groups = {"network": [p for _, p in named if p.ndim > 1], "network_plain": [p for _, p in named if p.ndim <= 1]}
        decay = {"network": weight_decay, "network_plain": 0.0}
        return [{"name": name, "params": params, "lr": lr, "weight_decay": decay[name]} for name, params in groups.items() if params]

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass over a split: means over its pictures, and over those of each ISO value."""
        place = len(self._metrics)
        made: dict[str, Metric] = {}
        for number, metric in enumerate(self._metrics):
            made[metric.value_name] = ColumnMean(metric.value_name, number)
            for iso in self.iso:
                name = f"{metric.value_name}_iso{iso:g}"
                made[name] = ColumnMean(name, number, where=(place, iso))
        return made

    def report(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Return means over the split and over each ISO value."""
        names = self.columns[:-1]
        return {**means(names, prediction), "iso": means_by(names, prediction, -1), "pictures": len(prediction)}

    def table(self, names: Sequence[str], prediction: np.ndarray, target: np.ndarray) -> tuple[list[str], list[list[Any]]]:
        """Return one row per picture: its name, values and ISO value."""
        return ["file", *self.columns], named_rows(names, prediction)

    @property
    def comparison(self) -> ComparisonSpec | None:
        """Means over pictures of every metric, the first configured one first."""
        values = column_values(self._metrics)
        if not values:
            return None
        return ComparisonSpec(
            kind="raw denoising",
            samples="pictures",
            values=values,
            caution="Values are of developed pictures (white-balanced, sRGB-encoded); pictures at several ISO values count alike.",
            predict="photos/ -o clean/",
        )

    def description(self) -> dict[str, Any]:
        """Return what a reader of the weights needs: what goes in, what is done around the network, noise, how large pictures are cut."""
        network = self.network
        return {
            "input": f"raw files ({network.measurement})",
            "measurement": network.measurement,
            "iso": list(self.iso),
            "processing": {
                "before": raw_preprocessing(network.measurement, rggb=network.needs_rggb),
                "after": {
                    "values": "linear camera colours, black 0, white 1, not clamped, not white-balanced; "
                    "strength s up to 1 gives D + s (result - D), where D is the classical demosaicer's picture"
                },
                "noise": noise_model(),
                "tiling": {"margin_px": network.margin_px, "align_px": network.tile_align, "padded_to_multiple_px": network.multiple},
            },
        }


def in_space(picture: Tensor, batch: Batch, space: Literal["camera", "rec2020"]) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` in camera colours in the space of a loss: white-balanced camera colours, or linear Rec.2020."""
    if space == "camera":
        balanced: Tensor = picture * batch["balance"].to(picture)[:, :, None, None]
        return balanced
    return apply_matrix(picture, camera_to_rec2020_batch(batch["xyz_to_camera"], batch["balance"]).to(picture))


def developed(picture: Tensor, batch: Batch) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` in camera colours as they are shown: white-balanced, sRGB-encoded, in [0, 1]."""
    to_rec2020 = camera_to_rec2020_batch(batch["xyz_to_camera"].double(), batch["balance"].double())
    to_srgb = torch.from_numpy(REC2020_TO_SRGB).to(to_rec2020) @ to_rec2020
    return linear_to_srgb(apply_matrix(picture.float(), to_srgb.to(picture.device, torch.float32)).clamp(0, 1))


@tasks.register("raw_denoising")
@dataclass(frozen=True, kw_only=True)
class RawDenoisingConfig(TaskConfig):
    """Noisy raw pictures (mosaic or linear RGB) to clean ones, with one network from the sensor to the picture."""

    metrics: tuple[str, ...] = ("psnr", "ms_ssim")
    """Registry names of the metrics computed on validation, from developed pictures; also for each ISO value."""
    space: Literal["camera", "rec2020"] = "camera"
    """Where the loss compares: camera colours after white balance, or linear Rec.2020."""
    transfer: Literal["none", "gamma22", "pq"] = "gamma22"
    """Transfer function before the loss; never on the network's input."""

    def build(self, model: ModelConfig, loss: LossConfig, data: PreparedData | Mapping[str, Any]) -> RawDenoisingTask:
        """Return the task.

        Raises:
            ConfigError: the network does not denoise raw pictures, takes another kind of measurement than the data give, or the loss does
                not act on pictures.
        """
        if not isinstance(model, RawDenoiserConfig):
            raise ConfigError(f"config.model.name: '{model.registry_name}' does not denoise raw pictures; see `photic list models`")
        given = data.extras.get("measurement") if isinstance(data, PreparedData) else data.get("measurement")
        if given is not None and given != model.measurement:
            raise ConfigError(
                f"config.model.measurement: the network takes {model.measurement}, the data give {given}; set data.measurement or "
                "model.measurement"
            )
        criterion = loss.build()
        if isinstance(data, PreparedData):  # a bundle, from a description, holds no loss
            parts = criterion.named_parts() if isinstance(criterion, SumLoss) else {criterion.term_name: criterion}
            for name, part in parts.items():
                if part.acts_on not in ("picture", "parts"):
                    raise ConfigError(f"config.loss: '{name}' acts on {part.acts_on}, not on pictures; see `photic list losses`")
        iso = data.extras.get("iso", ()) if isinstance(data, PreparedData) else data.get("iso", ())
        return RawDenoisingTask(RawDenoisingGraph(model.build()), criterion, self, iso)
