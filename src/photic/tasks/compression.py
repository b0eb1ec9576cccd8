"""Compression of raw pictures, denoising on the way: few bits, judged as the picture is developed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError
from photic.core.registry import tasks
from photic.core.schema import Range
from photic.data.base import PreparedData
from photic.functional.transfer import encode
from photic.losses.base import Compared, LossConfig
from photic.losses.rate_distortion import RateDistortionConfig, RateDistortionLoss
from photic.metrics.base import Metric
from photic.metrics.column_mean import ColumnMean
from photic.metrics.columns import ColumnValue
from photic.metrics.comparison import ComparisonSpec
from photic.models.base import ModelConfig
from photic.models.compression import Coded, Compressor, CompressorConfig
from photic.tasks.base import Batch, Phase, StepResult, Task, TaskConfig
from photic.tasks.examples import qualities, raw_pictures
from photic.tasks.interface import BATCH, GraphInterface, Port
from photic.tasks.pictures import column_values, means, means_by, named_rows, picture_metric, side_by_side
from photic.tasks.raw_denoising import developed, in_space
from photic.tasks.raw_ports import CLEAN, noise_model, raw_inputs, raw_preprocessing

_SHOWN = 4
_QUANTILE_SHARE = 1e-3
"""Weight of the quantiles' loss. It moves nothing else, and Adam does not see its size; the common clipping of gradients does."""
_TILE = 32
"""Latents along a tile's side in files; validation codes as files are coded."""


class CompressionGraph(nn.Module):
    """The network, as it is deployed: noisy measurements to clean pictures in camera colours, through rounded latents.

    Args:
        network: what compresses.
    """

    def __init__(self, network: Compressor) -> None:
        super().__init__()
        self.network = network

    def forward(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None) -> Coded:
        """Return pictures ``(B, 3, H, W)``, float32, not clamped, and bits; arguments as for :class:`Compressor`."""
        made: Coded = self.network(measurement, planes, noise, balance, quality)
        return made


class ReconstructionGraph(nn.Module):
    """What a picture is after compression and decompression, without the bits: encoder, rounding as in files, decoder.

    Latents come out with the pictures, so that they can be compared: rounding turns a difference in the last digit into a whole step now
    and then, and what a picture is after that step is not the network's precision.

    Args:
        network: what compresses; its integer tables are made if they are not there.
    """

    rounded = ("latents",)
    """Outputs that are rounded."""

    def __init__(self, network: Compressor) -> None:
        super().__init__()
        network.bit_estimator.ready()
        self.network = network

    def forward(
        self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor, quality: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures, rounded latents and latents before rounding; arguments as for :class:`Compressor`, qualities cut to its."""
        return self.network.reconstructed(measurement, planes, noise, balance, self._level(quality))

    def following(self, *inputs: Tensor, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what it gives for inputs where latents are rounded as in ``outputs``: the same but for the picture."""
        measurement, balance = inputs[0], inputs[3]
        quality = self._level(inputs[4] if len(inputs) > 4 else None)
        _, rounded, analysed = self(*inputs)
        picture = self.network.synthesised(outputs[1], balance, quality)
        return picture[..., : measurement.shape[-2], : measurement.shape[-1]], rounded, analysed

    def _level(self, quality: Tensor | None) -> Tensor | None:
        return None if quality is None else quality.clamp(1, self.network.num_qualities)


class CompressionTask(Task):
    """From noisy raw pictures to clean ones through few bits.

    Args:
        graph: the network.
        criterion: the trade-off.
        config: space and transfer function of the distortion, metrics, learning rates.
        iso: ISO values that validation pictures have, for values of each.
    """

    graph: CompressionGraph
    criterion: RateDistortionLoss
    usage: str = (
        "    photic compress photo.CR2 --model FILE -o photo.phc --quality 5\n    photic decompress photo.phc --model FILE -o photo.exr\n\n"
        "Input: raw files of Bayer cameras, or developed pictures where the network takes RGB.\n"
        "Output: .phc files, and from them linear DNG, OpenEXR, TIFF, PNG or JPEG with white balance and EXIF kept."
    )
    limits = (
        "It is no archive: the mosaic and its noise are gone, and detail that was taken for noise with them.",
        "A `.phc` file is decoded by this model alone; keep this file as long as those.",
        "It relies on being told the noise (a and b of the variance a x + b), or on an estimate.",
        "Quality and bits trade against each other: compare with others at like bits per pixel.",
    )

    def __init__(
        self, graph: CompressionGraph, criterion: RateDistortionLoss, config: CompressionConfig, iso: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.graph, self.criterion, self.config, self.iso = graph, criterion, config, tuple(iso)
        self._metrics = [picture_metric(name) for name in config.metrics]
        if self.network.measurement == "rgb":
            self.usage = self.usage.replace("photo.CR2", "photo.jpg").replace("photo.exr", "photo.png")

    @property
    def network(self) -> Compressor:
        """The network inside the graph."""
        return self.graph.network

    @property
    def columns(self) -> list[str]:
        """Names of the values that are kept of each picture, in order."""
        return [*(metric.value_name for metric in self._metrics), "bpp", "bpp_actual", "iso", "quality"]

    def start(self, read: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Take in the weights of parts that come trained, such as a denoiser before the compression.

        Raises:
            ConfigError: they are needed and the config names none.
            CheckpointError: they are of another network.
        """
        self.network.start(read)
        self.network.check_trainable()

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and decoded pictures.

        Takes ``measurement`` ``(B, 1 or 3, H, W)``, ``planes``, ``target`` ``(B, 3, H, W)``, ``noise`` ``(B, 2)``, ``balance`` ``(B, 3)``,
        ``xyz_to_camera`` ``(B, 3, 3)``, and perhaps ``mask`` ``(B, 1, H, W)`` (all counts, where it is missing), ``iso`` ``(B,)`` and
        ``quality`` ``(B,)``. Without the last, training draws levels, and validation goes through them picture by picture, so that each
        ISO value meets each level.

        Raises:
            DataError: prediction and target differ in size.
            ConfigError: in training, the network lacks what it must start from (see :meth:`start`).
        """
        if phase == "train":
            self.network.check_trainable()
        target, mask = batch["target"].float(), batch.get("mask")
        quality = self._qualities(batch, phase)
        coded = self.graph(batch["measurement"], batch["planes"], batch["noise"], batch["balance"], quality)
        if coded.picture.shape != target.shape:  # never scaled to fit
            raise DataError(f"compression: the network gives {tuple(coded.picture.shape)}, the target is {tuple(target.shape)}")
        with torch.autocast(target.device.type, enabled=False):
            compared = Compared(self.judged(coded.picture, batch), self.judged(target, batch), mask)
            terms = self.traded(compared, self.rate_bpp(coded), quality)
            if phase == "train":
                terms |= self.auxiliary_terms()
        picture = coded.picture.detach()

        def preview() -> np.ndarray:
            first = slice(0, _SHOWN)
            noisy = batch["measurement"] if batch["measurement"].shape[1] == 3 else batch["measurement"] * batch["planes"]
            columns = [developed(part, batch)[first].cpu().numpy() for part in (noisy, picture, target)]
            return side_by_side(columns)

        reduced = None
        if phase != "train":
            values = self._values(coded, target, batch, quality)
            reduced = (values, torch.zeros_like(values))
        return StepResult(
            loss=torch.stack(list(terms.values())).sum(), terms=terms, prediction=picture, target=target, preview=preview, reduced=reduced
        )

    @staticmethod
    def rate_bpp(coded: Coded) -> Tensor:
        """Return the estimated bits per pixel ``(B,)`` of the picture (per sensor pixel, of a mosaic), side information included."""
        return torch.stack(list(coded.bits.values())).sum(dim=0) / (coded.picture.shape[-1] * coded.picture.shape[-2])

    def traded(self, compared: Compared, rate_bpp: Tensor, quality: Tensor) -> dict[str, Tensor]:
        """Return the terms ``distortion``, which is lambda D, and ``rate``.

        Args:
            compared: pictures as losses see them.
            rate_bpp: bits per pixel ``(B,)``.
            quality: levels ``(B,)``, from 1.
        """
        highest = self.network.num_qualities
        levels = torch.ones_like(quality) if highest == 1 else (quality - 1) / (highest - 1)
        return self.criterion.coded_terms(compared, rate_bpp, levels)

    def auxiliary_terms(self) -> dict[str, Tensor]:
        """Return the term ``quantiles`` of training, which moves nothing but the quantiles, where there are any."""
        if not self.network.bit_estimator.auxiliary_parameters():
            return {}
        return {"quantiles": _QUANTILE_SHARE * self.network.auxiliary_loss()}

    def judged(self, picture: Tensor, batch: Batch) -> Tensor:
        """Return a picture in camera colours as losses see it: in the space and through the transfer function of the config."""
        seen: Tensor = encode(in_space(picture, batch, self.config.space), self.config.transfer)
        return seen

    def _qualities(self, batch: Batch, phase: Phase) -> Tensor:
        """Return quality levels ``(B,)`` of a batch."""
        given, count, number = batch.get("quality"), self.network.num_qualities, len(batch["target"])
        device = batch["target"].device
        if given is not None:
            levels: Tensor = given.to(device, torch.float32)
            return levels
        if phase == "train":
            return torch.randint(1, count + 1, (number,), device=device).float()
        index = batch.get("index")
        places = torch.arange(number, device=device) if index is None else index.to(device)
        around = math.lcm(count, max(1, len(self.iso)))
        if around < count * len(self.iso):  # otherwise an ISO value would always meet the same levels
            places = places + places // around
        return (1 + places % count).float()

    @torch.no_grad()
    def _values(self, coded: Coded, target: Tensor, batch: Batch, quality: Tensor) -> Tensor:
        """Return the values of each picture ``(B, K)``, of what a viewer sees (masked pixels are left out), and the bits it takes."""
        shown, true = developed(coded.picture.detach(), batch), developed(target, batch)
        columns = [metric.values(shown, true, batch.get("mask")) for metric in self._metrics]
        pixels = target.shape[-1] * target.shape[-2]
        columns.append(self.rate_bpp(coded))
        columns.append(self.actual_bits(coded) / pixels)
        iso = batch.get("iso")
        columns.append(torch.full((len(target),), float("nan"), device=target.device) if iso is None else iso.float())
        columns.append(quality)
        return torch.stack([column.to(torch.float64) for column in columns], dim=1)

    @torch.no_grad()
    def actual_bits(self, coded: Coded) -> Tensor:
        """Return the bits ``(B,)``, float64, of the streams that pictures are really coded into; the network is in evaluation mode."""
        coder = self.network.bit_estimator.coder()
        files = [coder.encode(latents, _TILE) for latents in coded.analysed.float()]
        sizes = [len(file.side) + sum(map(len, file.tiles)) for file in files]
        return 8 * torch.tensor(sizes, dtype=torch.float64, device=coded.analysed.device)

    def predict(self, batch: Batch) -> Tensor:
        """Return decoded pictures ``(B, 3, H, W)`` in camera colours, of the highest quality where the batch has no ``quality``."""
        coded: Coded = self.graph(batch["measurement"], batch["planes"], batch["noise"], batch["balance"], batch.get("quality"))
        return coded.picture

    def interface(self) -> GraphInterface:
        """Return noisy measurements in, pictures as they come out of a file, and latents, out."""
        network = self.network
        inputs = raw_inputs(network.measurement, rggb=True)
        if network.num_qualities > 1:
            levels = (1.0, float(network.num_qualities))
            inputs += (Port("quality", "float32", (BATCH,), "Quality level, fractions allowed.", None, levels),)
        shape = (BATCH, network.bit_estimator.num_latents, "latent_height", "latent_width")
        rounded = Port("latents", "float32", shape, f"Latents as the decoder gets them, one per {network.stride} pixels each way.")
        analysed = Port("analysed", "float32", shape, "Latents before they are rounded.")
        return GraphInterface(inputs, (CLEAN, rounded, analysed))

    def tensor_graph(self) -> nn.Module:
        """Return encoder, rounding and decoder, without the bits."""
        return ReconstructionGraph(self.network)

    def example(self, batch: int = 2, size: tuple[int, int] | None = None, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return made-up noisy raw pictures, with quality levels where there are several."""
        given = raw_pictures(batch, size or (96, 128), seed, self.network.measurement)
        return (*given, qualities(batch, seed, self.network.num_qualities)) if self.network.num_qualities > 1 else given

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups of the encoder, the decoder, hyper-transforms, densities and their quantiles; the last two learn faster.

        Only weights of convolutions decay.
        """
        fast = dict.fromkeys(("entropy", "auxiliary"), self.config.entropy_lr_multiplier) | dict.fromkeys(
            ("hyper", "gains"), self.config.hyper_lr_multiplier
        )
        groups = []
        for name, parameters in self.network.parameter_parts().items():
            rate = lr * fast.get(name, 1.0)
            for kind, decay, chosen in (
                (name, weight_decay, [p for p in parameters if p.ndim == 4]),
                (f"{name}_plain", 0.0, [p for p in parameters if p.ndim != 4]),
            ):
                if chosen:
                    groups.append({"name": kind, "params": chosen, "lr": rate, "weight_decay": decay})
        learnt = [p for p in self.criterion.parameters() if p.requires_grad]
        return [*groups, {"name": "loss", "params": learnt, "lr": lr, "weight_decay": 0.0}] if learnt else groups

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass over a split: means over its pictures, over each ISO value, and over each quality level."""
        names = self.columns[:-2]
        iso, quality = len(names), len(names) + 1
        made: dict[str, Metric] = {}
        for number, value in enumerate(names):
            made[value] = ColumnMean(value, number)
            for level in self.iso:
                made[f"{value}_iso{level:g}"] = ColumnMean(f"{value}_iso{level:g}", number, where=(iso, level))
            if self.network.num_qualities > 1:
                for level in range(1, self.network.num_qualities + 1):
                    made[f"{value}_q{level}"] = ColumnMean(f"{value}_q{level}", number, where=(quality, float(level)))
        return made

    def report(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Return means over the split, over each ISO value and over each quality level."""
        names = self.columns[:-2]
        by = {"iso": means_by(names, prediction, -2), "quality": means_by(names, prediction, -1)}
        return {**means(names, prediction), **by, "pictures": len(prediction)}

    def table(self, names: Sequence[str], prediction: np.ndarray, target: np.ndarray) -> tuple[list[str], list[list[Any]]]:
        """Return one row per picture: its name, values, bits per pixel, ISO value and quality level."""
        return ["file", *self.columns], named_rows(names, prediction)

    @property
    def comparison(self) -> ComparisonSpec | None:
        """Means over pictures of every metric and of the bits per pixel."""
        bits = ColumnValue(name="bpp_actual", label="bits per pixel", higher_is_better=False, column="bpp_actual")
        return ComparisonSpec(
            kind="compression",
            samples="pictures",
            values=(*column_values(self._metrics), bits),
            caution="Quality and bits trade against each other: compare runs at like bits per pixel (`photic benchmark-codec` draws both).",
            predict="photo.CR2 -o photo.phc",
        )

    def description(self) -> dict[str, Any]:
        """Return what a reader of the weights needs: what goes in, what is done around the network, noise, levels, how pictures are cut."""
        network = self.network
        return {
            "input": "raw files (mosaic)" if network.measurement == "mosaic" else "pictures and raw files (rgb)",
            "measurement": network.measurement,
            "iso": list(self.iso),
            "num_qualities": network.num_qualities,
            "processing": {
                "before": raw_preprocessing(network.measurement, rggb=True),
                "after": {
                    "values": "linear camera colours, black 0, white 1, not clamped, not white-balanced",
                    "latents": "rounded to whole numbers",
                    "levels": f"1 to {network.num_qualities}, fractions between them too" if network.num_qualities > 1 else "one",
                },
                "noise": noise_model(),
                "tiling": {
                    "latent_px": network.stride,
                    "encoder_margin_px": network.encoder_halo_px,
                    "decoder_margin_px": network.decoder_halo * network.stride,
                    "align_px": network.tile_align,
                    "padded_to_multiple_px": network.multiple,
                },
            },
        }


@tasks.register("compression")
@dataclass(frozen=True, kw_only=True)
class CompressionConfig(TaskConfig):
    """Noisy raw pictures (mosaic or linear RGB) to clean ones through few bits, trained for a trade-off of rate and distortion."""

    metrics: tuple[str, ...] = ("psnr", "ms_ssim")
    """Registry names of the metrics computed on validation, from developed pictures; also for each ISO value and quality level."""
    space: Literal["camera", "rec2020"] = "camera"
    """Where the distortion compares: camera colours after white balance, or linear Rec.2020."""
    transfer: Literal["none", "gamma22", "pq"] = "gamma22"
    """Transfer function before the distortion; never on the network's input."""
    hyper_lr_multiplier: Annotated[float, Range(gt=0)] = 1.0
    """How much faster the transforms of hyper-latents, and the gains of quality levels, learn than the transforms of pictures. Where the
    latter start as wavelets they have little to learn, and high rates would unlearn it: then 10."""
    entropy_lr_multiplier: Annotated[float, Range(gt=0)] = 10.0
    """How much faster densities and their quantiles learn than the transforms."""

    def build(self, model: ModelConfig, loss: LossConfig, data: PreparedData | Mapping[str, Any]) -> CompressionTask:
        """Return the task.

        Raises:
            ConfigError: the network does not compress raw pictures, takes another kind of measurement than the data give, or the loss is
                no trade-off with a rate.
        """
        if not isinstance(model, CompressorConfig):
            raise ConfigError(f"config.model.name: '{model.registry_name}' does not compress raw pictures; see `photic list models`")
        given = data.extras.get("measurement") if isinstance(data, PreparedData) else data.get("measurement")
        if given is not None and given != model.measurement:
            raise ConfigError(
                f"config.model.measurement: the network takes {model.measurement}, the data give {given}; set data.measurement or "
                "model.measurement"
            )
        if isinstance(data, PreparedData) and not isinstance(loss, RateDistortionConfig):  # a bundle holds no loss
            raise ConfigError(
                f"config.loss.name: compression needs the trade-off with the rate, loss.name=rate_distortion; got '{loss.registry_name}', "
                "which can be its distortion (loss.distortion.name)"
            )
        iso = data.extras.get("iso", ()) if isinstance(data, PreparedData) else data.get("iso", ())
        return CompressionTask(CompressionGraph(model.build()), cast("RateDistortionLoss", loss.build()), self, iso)
