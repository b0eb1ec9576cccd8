"""Enhancement of pictures: a network brightens, denoises and colours; with true pictures, without, or with both in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.core.registry import tasks
from photic.data.base import PreparedData
from photic.functional.overview import OVERVIEW_PX, overview
from photic.losses.base import BaseLoss, Compared, LossConfig
from photic.losses.composite import SumLoss
from photic.metrics.base import Metric
from photic.metrics.column_mean import ColumnMean
from photic.metrics.columns import ColumnValue
from photic.metrics.comparison import ComparisonSpec
from photic.models.base import ModelConfig
from photic.models.enhancement import Enhancement, Enhancer, EnhancerConfig
from photic.tasks.base import Batch, Phase, StepResult, Task, TaskConfig
from photic.tasks.examples import pictures
from photic.tasks.interface import BATCH, GraphInterface, Port
from photic.tasks.pictures import picture_metric, side_by_side

ACTS_ON = ("picture", "brightening", "mask", "curves")
"""What losses of this task may judge; the last two only where the network has such a part."""
LOW_COLOUR, CRITICAL_COLOUR, WANTED_COLOUR = 0.10, 0.04, 0.30
"""Mean saturation below which a picture counts as pale, as grey, and what is aimed at."""
_SHOWN = 4


class EnhancementGraph(nn.Module):
    """Network + post-processing: pictures ``(B, 3, H, W)`` in [0, 1] to enhanced ones in [0, 1].

    Args:
        network: decides and enhances.
    """

    def __init__(self, network: Enhancer) -> None:
        super().__init__()
        self.network = network

    def decide(self, small: Tensor) -> Tensor:
        """Return the global decision ``(B, K)`` for overviews ``(B, 3, s, s)`` of whole pictures."""
        return self.network.decide(small)

    def enhanced(self, image: Tensor, small: Tensor | None = None, decision: Tensor | None = None) -> Enhancement:
        """Return what the network makes of pictures, not clamped, with the parts that losses judge."""
        made: Enhancement = self.network(image, small, decision)
        return made

    def forward(self, image: Tensor, small: Tensor | None = None, decision: Tensor | None = None) -> Tensor:
        """Return enhanced pictures.

        Args:
            image: whole pictures, crops or tiles.
            small: overviews of the whole pictures; None takes ``image`` for whole.
            decision: as :meth:`decide` gives it; None decides by the overview.
        """
        return self.enhanced(image, small, decision).picture.float().clamp(0, 1)


class LocalEnhancementGraph(nn.Module):
    """An :class:`EnhancementGraph` whose network decides nothing for a picture as a whole: it needs no overview.

    Args:
        graph: whose network it is.
    """

    def __init__(self, graph: EnhancementGraph) -> None:
        super().__init__()
        self.whole = graph  # not `graph`, which exporters have for themselves

    def forward(self, image: Tensor) -> Tensor:
        """Return enhanced pictures."""
        enhanced: Tensor = self.whole(image, decision=image.new_zeros(image.shape[0], 0))
        return enhanced


class EnhancementTask(Task):
    """From dark pictures to well exposed ones.

    Args:
        graph: the network.
        criterion: a loss on pictures, or a sum of losses on pictures, masks and curves.
        config: metrics and learning rates of parts.
    """

    graph: EnhancementGraph
    criterion: BaseLoss
    usage = (
        "    photic predict FILE photo.jpg -o out.png\n    photic predict FILE photos/ -o enhanced/ --strength 0.7\n"
        "    photic predict FILE clip.mp4 -o bright.mp4\n\n"
        "Input: photographs of any size, 8 or 16 bits per channel, sRGB-encoded; folders; videos.\n"
        "Output: the same picture, brightened, denoised and coloured, in the same number of bits, with EXIF and ICC profile kept. "
        "Large pictures are enhanced in tiles with one decision about exposure and colour."
    )
    limits = (
        "How bright a picture ought to be cannot be known from a dark one: `--strength` is there for that.",
        "What it shows where there was next to no light is an estimate from what other pictures look like. It is no evidence.",
        "Its values are of pictures at their own size, without any choice of strength.",
    )

    def __init__(self, graph: EnhancementGraph, criterion: BaseLoss, config: EnhancementConfig) -> None:
        super().__init__()
        self.graph = graph
        self.criterion = criterion
        self.config = config
        self._metrics = [picture_metric(name) for name in config.metrics]

    @property
    def network(self) -> Enhancer:
        """The network inside the graph."""
        return self.graph.network

    @property
    def columns(self) -> list[str]:
        """Names of the values that are kept of each picture, in order."""
        return [metric.value_name for metric in self._metrics]

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and enhanced pictures.

        Takes ``measurement`` ``(B, 3, H, W)``, ``target`` of the same shape (anything where there is none), ``has_target`` ``(B,)`` (all,
        where it is missing) and ``overview`` ``(B, 3, s, s)`` of the whole pictures (that of the measurement, where it is missing).
        """
        image, target = batch["measurement"], batch["target"]
        known = batch.get("has_target")
        known = torch.ones(len(image), dtype=torch.bool, device=image.device) if known is None else known
        made = self.graph.enhanced(image, batch.get("overview"))
        with torch.autocast(image.device.type, enabled=False):  # ratios of dark pixels need float32
            terms = self.criterion.terms_on(_compared(made, image, target, known))
        loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        picture = made.picture.detach().float().clamp(0, 1)
        shown = [part[:_SHOWN].detach() for part in (image, picture, torch.where(known[:, None, None, None], target, torch.zeros(())))]

        def preview() -> np.ndarray:
            return side_by_side([part.float().cpu().numpy() for part in shown])

        reduced = None
        if phase != "train":
            values = self._values(picture, target, known)
            reduced = (values, torch.zeros_like(values))
        return StepResult(loss=loss, terms=terms, prediction=picture, target=target, preview=preview, reduced=reduced)

    def _values(self, picture: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Return the values of each picture ``(B, K)``; NaN for those that need a target where there is none."""
        columns = []
        for metric in self._metrics:
            rows = known if metric.needs_target else torch.ones_like(known)
            column = torch.full((len(picture),), float("nan"), device=picture.device)
            if bool(rows.any()):
                column[rows] = metric.values(picture[rows], target[rows].float()).to(column.dtype)
            columns.append(column)
        return torch.stack(columns, dim=1) if columns else torch.zeros(len(picture), 0)

    def predict(self, batch: Batch) -> Tensor:
        """Return enhanced pictures ``(B, 3, H, W)`` in [0, 1]."""
        pictures: Tensor = self.graph(batch["measurement"], batch.get("overview"))
        return pictures

    def interface(self) -> GraphInterface:
        """Return pictures, and overviews where something is decided for the whole picture, in; enhanced pictures out."""
        unit, limits, shape = "share of white", (0.0, 1.0), (BATCH, 3, "height", "width")
        picture = Port("picture", "float32", shape, "Photographs or tiles of them, RGB, sRGB-encoded.", unit, limits)
        small = Port(
            "overview",
            "float32",
            (BATCH, 3, OVERVIEW_PX, OVERVIEW_PX),
            f"The whole photograph in {OVERVIEW_PX} x {OVERVIEW_PX} cells, each the mean of its share (adaptive average pooling): exposure "
            "and colour are decided by it, so all tiles of a photograph get the same.",
            unit,
            limits,
        )
        enhanced = Port("enhanced", "float32", shape, "The same, brightened, denoised and coloured, RGB, sRGB-encoded.", unit, limits)
        return GraphInterface((picture, small) if self.network.decides_globally else (picture,), (enhanced,))

    def tensor_graph(self) -> nn.Module:
        """Return the graph of pictures and overviews; of pictures alone where the network decides nothing by overviews."""
        return self.graph if self.network.decides_globally else LocalEnhancementGraph(self.graph)

    def example(self, batch: int = 2, size: tuple[int, int] | None = None, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return made-up dark pictures, with their overviews where the network needs them."""
        least = self.network.least_graph_px
        dark = 0.25 * pictures(batch, size or (max(96, least), max(128, least + 32)), seed)
        return (dark, overview(dark)) if self.network.decides_globally else (dark,)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups by the network's parts, each with its own rate, and by decay: biases and scales are not decayed."""
        groups: dict[str, dict[str, Any]] = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            inside = name.removeprefix("graph.network.")
            part = self.network.part_of(inside) if inside != name else "loss"
            decayed = parameter.ndim > 1
            label = part if decayed else f"{part}_plain"
            group = groups.setdefault(
                label,
                {
                    "name": label,
                    "params": [],
                    "lr": lr * self.config.part_lr_factors.get(part, 1.0),
                    "weight_decay": weight_decay if decayed else 0.0,
                },
            )
            group["params"].append(parameter)
        return list(groups.values())

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass over a split: means of the values of its pictures, and how many came out pale."""
        made: dict[str, Metric] = {name: ColumnMean(name, number) for number, name in enumerate(self.columns)}
        if "saturation" in self.columns:
            place = self.columns.index("saturation")
            made["low_colour"] = ColumnMean("low_colour", place, below=LOW_COLOUR)
            made["critical_colour"] = ColumnMean("critical_colour", place, below=CRITICAL_COLOUR)
        return made

    def report(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Return means over the split, the worst pictures' values, and flags of pale pictures."""
        found: dict[str, Any] = {name: _mean(prediction[:, place]) for place, name in enumerate(self.columns)}
        if "saturation" in self.columns:
            saturation = prediction[:, self.columns.index("saturation")]
            found["LOW_COLOR"] = int((saturation < LOW_COLOUR).sum())
            found["LOW_COLOR_critical"] = int((saturation < CRITICAL_COLOUR).sum())
            found["saturation_wanted"] = WANTED_COLOUR
        found["pictures"] = len(prediction)
        return found

    def table(self, names: Sequence[str], prediction: np.ndarray, target: np.ndarray) -> tuple[list[str], list[list[Any]]]:
        """Return one row per picture: its name and its values; empty where it has none."""
        rows: list[list[Any]] = [
            [name, *("" if np.isnan(value) else f"{value:.6g}" for value in values)] for name, values in zip(names, prediction, strict=True)
        ]
        return ["file", *self.columns], rows

    @property
    def comparison(self) -> ComparisonSpec | None:
        """Means over pictures of every metric, the first configured one first."""
        values = tuple(
            ColumnValue(name=m.value_name, label=m.label, higher_is_better=m.higher_is_better, column=m.value_name) for m in self._metrics
        )
        if not values:
            return None
        return ComparisonSpec(
            kind="enhancement",
            samples="pictures",
            values=values,
            caution="Values marked GT mean were computed after scaling each picture to the true mean brightness; the others were not.",
            predict="photos/ -o enhanced/",
        )

    def description(self) -> dict[str, Any]:
        """Return what a reader of the weights needs: what goes in, what is done around the network, how large pictures are cut."""
        return {
            "input": "photographs of any size, sRGB-encoded, 8 or 16 bits per channel",
            "processing": {
                "before": {
                    "values": "sRGB-encoded pictures as shares of white, 0 to 1 (8 bits / 255, 16 bits / 65535)",
                    "overview_px": OVERVIEW_PX if self.network.decides_globally else None,
                    "decision": "about exposure and colour: once for a whole picture, from its overview (averaged down to a square); "
                    "in videos, smoothed over time"
                    if self.network.decides_globally
                    else "none for a picture as a whole: each pixel from its surroundings",
                },
                "after": {"values": "clamped to 0 to 1, sRGB-encoded; strength s gives picture + s (result - picture)"},
                "tiling": {
                    "margin_px": self.network.margin_px,
                    "align_px": self.network.tile_align,
                    "padded_to_multiple_px": self.network.multiple,
                },
            },
        }


@tasks.register("enhancement")
@dataclass(frozen=True, kw_only=True)
class EnhancementConfig(TaskConfig):
    """Dark pictures to well exposed ones, with true pictures to learn from, without, or mixed."""

    metrics: tuple[str, ...] = ("psnr", "ssim", "ms_ssim", "delta_e", "saturation", "psnr_gt_mean", "ssim_gt_mean")
    """Registry names of the metrics computed on validation, from pictures at native size; with `_gt_mean` behind them, after scaling each
    picture to the mean luma of the true one."""
    part_lr_factors: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate of parts that the network names, such as `{other: 0.2}` for remdinet."""

    def build(self, model: ModelConfig, loss: LossConfig, data: PreparedData | Mapping[str, Any]) -> EnhancementTask:
        """Return the task.

        Raises:
            ConfigError: the network is no enhancer, the loss acts on what it does not have, it needs true pictures and the data have
                none, or a learning rate is for a part that the network does not have.
        """
        if not isinstance(model, EnhancerConfig):
            raise ConfigError(f"config.model.name: '{model.registry_name}' does not enhance pictures; see `photic list models`")
        network, criterion = model.build(), loss.build()
        if isinstance(data, PreparedData):  # a bundle, from a description, holds no loss
            self._check_loss(criterion, network, data)
        task = EnhancementTask(EnhancementGraph(network), criterion, self)
        parts = sorted({network.part_of(name) for name, _ in network.named_parameters()})
        unknown = sorted(set(self.part_lr_factors) - set(parts))
        if unknown:
            raise ConfigError(
                f"config.task.part_lr_factors: '{model.registry_name}' has no part {', '.join(unknown)}; it has: {', '.join(parts)}"
            )
        return task

    def _check_loss(self, criterion: BaseLoss, network: Enhancer, data: PreparedData) -> None:
        parts = criterion.named_parts() if isinstance(criterion, SumLoss) else {criterion.term_name: criterion}
        has_targets = data.extras.get("has_targets", True)
        available = {"picture", "brightening", *network.part_names}
        for name, part in parts.items():
            if part.acts_on not in ACTS_ON and part.acts_on != "parts":
                raise ConfigError(
                    f"config.loss: '{name}' acts on {part.acts_on}, not on pictures: it cannot train an enhancer; see `photic list losses`"
                )
            if part.acts_on not in available and part.acts_on != "parts":
                raise ConfigError(
                    f"config.loss: '{name}' acts on the network's {part.acts_on}, which '{type(network).__name__}' does not have; "
                    f"it has: {', '.join(sorted(available))}. Switch the term off (loss.terms.{name}=null) or choose another network"
                )
            if part.needs_target and not has_targets:
                raise ConfigError(
                    f"config.loss: '{name}' compares with true pictures, and the data have none; use the losses of recipe=zero_dce, "
                    "or data with pairs"
                )


def _compared(made: Enhancement, image: Tensor, target: Tensor, known: Tensor) -> dict[str, Compared]:
    """Return what losses are given: pictures with a true one, those without, all of them."""
    picture = made.picture.float()
    share = float(known.float().mean())
    compared = {
        "picture:known": Compared(picture[known], target[known].float(), None, share),
        "picture:unknown": Compared(picture[~known], None, None, 1 - share),
        "picture:any": Compared(picture),
        "brightening": Compared(picture, image.float()),
    }
    return compared | {name: Compared(part.float()) for name, part in made.parts.items() if name in ACTS_ON}


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
