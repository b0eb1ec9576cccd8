"""Phase retrieval with the physics inside: a network guesses object patches, the forward operator says what they would have diffracted.

Unsupervised, the measurement is the target: patches of a group are made to agree where they overlap, illuminated by the probe and
propagated to the detector, and what arrives there is held against what was measured (Hoidn et al., Sci. Rep. 13:22789, 2023).
Supervised, the target is the patch of a known object, and the loss one that acts on objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError
from photic.core.registry import metrics as metric_registry
from photic.core.registry import tasks
from photic.data.base import PreparedData
from photic.functional.complex_picture import complex_panels
from photic.functional.patches import merge_groups
from photic.losses.base import BaseLoss, Compared, LossConfig
from photic.losses.composite import SumLoss
from photic.metrics.base import Metric
from photic.metrics.columns import ColumnValue
from photic.metrics.comparison import ComparisonSpec
from photic.models.base import ModelConfig
from photic.models.phase_retrieval import PhaseRetrievalConfig, PhaseRetrievalNetwork
from photic.physics.ptychography import amplitudes, exit_waves, with_modes
from photic.tasks.base import Batch, Phase, StepResult, Task, TaskConfig
from photic.tasks.examples import diffraction
from photic.tasks.interface import BATCH, GraphInterface, Port

ACTS_ON = ("diffraction", "object")
"""What losses of this task compare."""
_SHOWN = 6
"""Patterns in a preview."""


class PatchGraph(nn.Module):
    """Normalisation + network: measured amplitudes ``(B, C, N, N)`` to complex object patches ``(B, C, N, N)``.

    Args:
        network: takes normalised amplitudes.
        probes: complex ``(S, P, N, N)``, of each scan it was trained on.
        normalisation: factor on amplitudes; one number from the training set, whatever is measured later.
        intensity_scale: factor from the probe's amplitudes to measured ones.
        trained_probe: whether training changes the probes.
        trained_scale: whether training changes the intensity scale.
    """

    normalisation: Tensor
    probe_peak: Tensor

    def __init__(
        self,
        network: PhaseRetrievalNetwork,
        probes: Tensor,
        normalisation: float,
        intensity_scale: float,
        *,
        trained_probe: bool = False,
        trained_scale: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("normalisation", torch.tensor(float(normalisation)))
        peak = probes.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
        self.register_buffer("probe_peak", peak.float())
        # As real numbers: complex parameters are foreign to some optimizers, and to safetensors. Relative to the peak, so that a
        # learning rate means the same whatever the number of photons.
        for name, value, trained in (
            ("probe_parts", torch.view_as_real((probes / peak).to(torch.complex64)).clone(), trained_probe),
            ("log_scale", torch.tensor(float(np.log(intensity_scale))), trained_scale),
        ):
            if trained:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    @property
    def probes(self) -> Tensor:
        """Probes of the scans it was trained on, complex ``(S, P, N, N)``."""
        parts: Tensor = self.probe_parts  # type: ignore[assignment]
        return torch.view_as_complex(parts) * self.probe_peak

    @property
    def intensity_scale(self) -> Tensor:
        """Factor on amplitudes, from probe and object to what is measured."""
        log_scale: Tensor = self.log_scale  # type: ignore[assignment]
        return log_scale.exp()

    def forward(self, amplitude: Tensor) -> Tensor:
        """Return complex patches."""
        patches: Tensor = self.network(amplitude * self.normalisation)
        return patches


class PatchPlanes(nn.Module):
    """A :class:`PatchGraph` whose patches are two real planes, which every runtime knows.

    Args:
        graph: normalisation and network.
    """

    def __init__(self, graph: PatchGraph) -> None:
        super().__init__()
        self.complex = graph  # not `graph`, which exporters have for themselves

    def forward(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary part of patches."""
        return self.complex.network.planes(amplitude * self.complex.normalisation)


class PtychographyTask(Task):
    """From diffraction patterns to object patches, judged by physics or by a known object.

    Args:
        graph: normalisation and network, with the probes.
        criterion: a loss on diffraction or on objects, or a sum of such losses.
        config: what is trained beside the network.
        mask: bool ``(N, N)``, which detector pixels count.
        num_positions: positions of all training scans, for position refinement.
        names: what the scans are called.
        refined_probe: whether the probes are better than those the scans came with.
        scaled_probe: whether probes were scaled to the counts of their scans, which those of other scans then need, too.
    """

    graph: PatchGraph
    criterion: BaseLoss
    mask: Tensor
    usage = (
        "    photic predict FILE SCAN.npz -o FOLDER\n\n"
        "Input: a ptychographic scan (raw NPZ, CXI, ptychodus or PtyLab HDF5): diffraction amplitudes, positions in object pixels, probe.\n"
        "Output: the complex object, stitched over all positions, with coverage and pictures; `--refine N` goes on with N iterations "
        "through the forward model. Amplitudes are scaled by one number of the training set, which is stored here."
    )
    limits = (
        "It holds for scans like those of training: the same probe, distance, wavelength and pixel size. R_amp of another scan says how "
        "well it fits there.",
        "Patterns have the size it was trained on; others must be cropped, padded or binned before.",
        "R_amp compares amplitudes, so it says nothing of a phase ramp or of a constant phase, which ptychography cannot know.",
    )

    def __init__(
        self,
        graph: PatchGraph,
        criterion: BaseLoss,
        config: PtychographyConfig,
        *,
        mask: Tensor,
        num_positions: int,
        names: Sequence[str] = (),
        refined_probe: bool = False,
        scaled_probe: bool = False,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.criterion = criterion
        self.config = config
        self.num_positions = num_positions
        self.scan_names = tuple(names)
        self.refined_probe = refined_probe or config.train_probe
        self.scaled_probe = scaled_probe
        self.register_buffer("mask", mask)
        self.shifts = nn.Parameter(torch.zeros(num_positions, 2)) if config.refine_positions else None
        """Corrections ``(M, 2)`` of the recorded positions, [x, y] in pixels."""

    @property
    def network(self) -> PhaseRetrievalNetwork:
        """The network inside the graph."""
        return self.graph.network

    def step(self, batch: Batch, phase: Phase) -> StepResult:
        """Return loss and patches.

        Takes ``measurement`` ``(B, C, N, N)`` amplitudes, ``target`` (the same, or complex patches where the object is known),
        ``offsets`` ``(B, C, 2)`` positions relative to their mean, ``rows`` ``(B, C)`` and ``scan`` ``(B,)``.
        """
        measured, target = batch["measurement"], batch["target"]
        patches = self.graph(measured)
        with torch.autocast(measured.device.type, enabled=False):  # phases and counts need float32
            modelled = self.modelled(patches, batch)
            terms = self.criterion.terms_on(
                {
                    "diffraction": Compared(modelled, measured.float(), self.mask),
                    "object": Compared(patches, target if target.is_complex() else None, self.network.support()),
                }
            )
        loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        counted = self.mask.to(modelled.dtype)
        with torch.no_grad():
            reduced = (((modelled - measured).abs() * counted).sum(dim=(1, 2, 3)), (measured * counted).sum(dim=(1, 2, 3)))
        shown = [part[:_SHOWN, 0].detach() for part in (patches, modelled, measured)]

        def preview() -> np.ndarray:
            objects, *patterns = (part.cpu().numpy() for part in shown)
            return complex_panels(objects, patterns)

        return StepResult(loss=loss, terms=terms, prediction=patches.detach(), target=target, preview=preview, reduced=reduced)

    def modelled(self, patches: Tensor, batch: Batch) -> Tensor:
        """Return the amplitudes ``(B, C, N, N)`` that patches would diffract to, after the patches of each group were made to agree."""
        offsets = batch["offsets"].to(patches.real.dtype)
        if self.shifts is not None and self.training:
            offsets = offsets + self.shifts[batch["rows"]]
        if patches.shape[1] > 1:
            patches = merge_groups(patches, offsets, self.network.support())
        probe = self.graph.probes[batch["scan"]][:, None]
        return self.graph.intensity_scale * amplitudes(exit_waves(patches, probe))

    def predict(self, batch: Batch) -> Tensor:
        """Return complex patches ``(B, C, N, N)``."""
        patches: Tensor = self.graph(batch["measurement"])
        return patches

    def interface(self) -> GraphInterface:
        """Return amplitudes in, the real and the imaginary plane of object patches out."""
        side, together = self.network.size_px, self.network.num_patterns
        shape = (BATCH, together, side, side)
        said = f"Diffraction amplitudes (roots of counts) as measured, zero frequency at index {side // 2}" + (
            "." if together == 1 else f"; groups of {together} neighbouring positions."
        )
        given = Port("amplitude", "float32", shape, said, "square root of photons", (0.0, None))
        planes = [Port(part, "float32", shape, f"{part.capitalize()} part of the object's patches.") for part in ("real", "imaginary")]
        return GraphInterface((given,), tuple(planes))

    def tensor_graph(self) -> nn.Module:
        """Return the graph with complex patches as two planes."""
        return PatchPlanes(self.graph)

    def example(self, batch: int = 2, size: tuple[int, int] | None = None, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return made-up patterns: of random objects behind the probe it was trained with."""
        side = self.network.size_px
        if size not in (None, (side, side)):
            raise ConfigError(f"size: this network takes patterns of {side} x {side} pixels and no others, got {size}")
        probe = self.graph.probes[0].detach().cpu()
        return (diffraction(batch, self.network.num_patterns, probe, float(self.graph.intensity_scale), seed),)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups by part: network (biases are not decayed), probe, intensity scale, positions, a loss that learns."""
        rates = {"probe": self.config.probe_lr_factor, "positions": self.config.positions_lr_factor}
        groups: dict[str, dict[str, Any]] = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            own = {"graph.probe_parts": "probe", "graph.log_scale": "scale", "shifts": "positions"}
            part = own.get(name, "loss" if name.startswith("criterion.") else "network")
            decayed = part == "network" and parameter.ndim > 1
            group = groups.setdefault(
                part if decayed or part != "network" else "network_plain",
                {
                    "name": part if decayed or part != "network" else "network_plain",
                    "params": [],
                    "lr": lr * rates.get(part, 1.0),
                    "weight_decay": weight_decay if decayed else 0.0,
                },
            )
            group["params"].append(parameter)
        return list(groups.values())

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass over a split."""
        return {name: metric_registry.get(name) for name in self.config.metrics}

    def report(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Return R_amp over the split, and the spread over groups."""
        each = prediction / np.maximum(target, 1e-30)
        return {
            "r_amp": float(prediction.sum() / max(float(target.sum()), 1e-30)),
            "r_amp_median": float(np.median(each)),
            "r_amp_worst": float(each.max()),
            "groups": len(each),
        }

    def table(self, names: Sequence[str], prediction: np.ndarray, target: np.ndarray) -> tuple[list[str], list[list[Any]]]:
        """Return one row per group: its name, R_amp, and the summed measured amplitude."""
        rows: list[list[Any]] = [
            [name, f"{difference / max(total, 1e-30):.6g}", f"{total:.6g}"]
            for name, difference, total in zip(names, prediction.tolist(), target.tolist(), strict=True)
        ]
        return ["file", "r_amp", "amplitude"], rows

    @property
    def comparison(self) -> ComparisonSpec:
        """R_amp over all groups: their single R_amp, weighted by measured amplitude, is the ratio of the sums."""
        return ComparisonSpec(
            kind="ptychography",
            samples="patterns" if self.network.num_patterns == 1 else "groups of patterns",
            values=(ColumnValue(name="r_amp", label="R_amp", higher_is_better=False, column="r_amp", weight="amplitude"),),
            caution="Patterns of one scan overlap and resemble each other, so the intervals are rather too narrow, "
            "and they say nothing about other scans.",
            predict="SCAN.npz -o reconstruction/",
        )

    def description(self) -> dict[str, Any]:
        """Return what a reader of the weights needs: sizes, what the training set was normalised with, what is done around the network."""
        probes = self.graph.probes
        side, together = self.network.size_px, self.network.num_patterns
        return {
            "input": f"diffraction patterns of {side} x {side} px, {together} at a time",
            "ptychography": {
                "size_px": self.network.size_px,
                "num_patterns": self.network.num_patterns,
                "num_scans": probes.shape[0],
                "num_modes": probes.shape[1],
                "num_positions": self.num_positions,
                "normalisation": float(self.graph.normalisation),
                "refined_probe": self.refined_probe,
                "scaled_probe": self.scaled_probe,
                "scans": list(self.scan_names),
                "gridsize": round(together**0.5),
                "intensity_scale": float(self.graph.intensity_scale.detach()),
            },
            "processing": {
                "before": {
                    "values": "amplitudes (square roots of counts), zero frequency in the middle of the detector, times the training set's "
                    "normalisation",
                    "groups": "a pattern alone" if together == 1 else f"{together} patterns that overlap; positions relative to their mean",
                },
                "after": {
                    "values": "complex object patches, one for each pattern",
                    "stitching": "patches at their positions, averaged with the probe's intensity as weight",
                    "probe": "the model's where the command is not told otherwise: training refined it"
                    if self.refined_probe and probes.shape[0] == 1
                    else "the scan's" + (", scaled to its counts as in training" if self.scaled_probe else ""),
                },
            },
        }


@tasks.register("ptychography")
@dataclass(frozen=True, kw_only=True)
class PtychographyConfig(TaskConfig):
    """Diffraction patterns to complex object patches, by physics (unsupervised) or by a known object."""

    metrics: tuple[str, ...] = ("r_amp",)
    """Registry names of the metrics computed on validation."""
    num_modes: int | None = None
    """Incoherent modes of the probe; null takes as many as the data bring. More than those start small and are trained."""
    train_probe: bool = False
    """Refine the probe together with the network."""
    probe_lr_factor: float = 0.1
    """Factor on the learning rate of the probe, whose largest amplitude counts as one."""
    train_intensity_scale: bool = False
    """Learn the factor between modelled and measured amplitudes."""
    refine_positions: bool = False
    """Learn a correction of each position; needs gridsize 2 or more, since a pattern alone does not know where it lies."""
    positions_lr_factor: float = 10.0
    """Factor on the learning rate of position corrections, in pixels."""

    def build(self, model: ModelConfig, loss: LossConfig, data: PreparedData | Mapping[str, Any]) -> PtychographyTask:
        """Return the task.

        Raises:
            ConfigError: the network is none for phase retrieval, its sizes are not the data's, the loss acts on something else, or an
                option needs other data.
        """
        if not isinstance(model, PhaseRetrievalConfig):
            raise ConfigError(f"config.model.name: '{model.registry_name}' is no network for phase retrieval; see `photic list models`")
        facts = _facts(data)
        sizes = {"size_px": facts["size_px"], "num_patterns": facts["num_patterns"]}
        for name, wanted in sizes.items():
            if getattr(model, name) not in (None, wanted):
                raise ConfigError(f"config.model.{name}: {getattr(model, name)} does not fit the data, which have {wanted}; leave it out")
        if self.refine_positions and facts["num_patterns"] == 1:
            raise ConfigError("config.task.refine_positions: needs groups of overlapping patterns; set data.gridsize=2")
        probes = _with_modes(facts["probes"], self.num_modes)
        if self.num_modes is not None and probes.shape[1] > facts["probes"].shape[1] and not self.train_probe:
            raise ConfigError("config.task.num_modes: further modes of the probe start as a guess; set task.train_probe=true as well")
        network = model.replace(**sizes).build()
        assert isinstance(network, PhaseRetrievalNetwork)
        criterion = loss.build()
        for part in _leaves(criterion):
            if isinstance(data, PreparedData) and part.acts_on not in ACTS_ON:  # a bundle, from a description, holds no loss
                raise ConfigError(
                    f"config.loss: '{part.term_name}' acts on {part.acts_on}, and this task compares {' and '.join(ACTS_ON)}; "
                    "see `photic list losses`"
                )
            if part.acts_on == "object" and part.needs_target and not facts["supervised"]:
                raise ConfigError(
                    f"config.loss: '{part.term_name}' compares with a known object; set data.supervised=true (scans need an objectGuess)"
                )
        graph = PatchGraph(
            network,
            probes,
            facts["normalisation"],
            facts["intensity_scale"],
            trained_probe=self.train_probe,
            trained_scale=self.train_intensity_scale,
        )
        return PtychographyTask(
            graph,
            criterion,
            self,
            mask=facts["mask"],
            num_positions=facts["num_positions"],
            names=facts["scans"],
            refined_probe=facts["refined_probe"],
            scaled_probe=facts["scaled_probe"],
        )


def _facts(data: PreparedData | Mapping[str, Any]) -> dict[str, Any]:
    """Return what the task must know, from prepared data or from a saved description (whose weights are still to be loaded)."""
    if isinstance(data, PreparedData):
        if "probes" not in data.extras:
            raise DataError("the data set brings no probe; the task 'ptychography' needs one of the ptychographic data sets")
        return dict(data.extras)
    saved = {"refined_probe": False, "scaled_probe": False, **data["ptychography"]}
    size_px = saved["size_px"]
    probes = torch.zeros(saved["num_scans"], saved["num_modes"], size_px, size_px, dtype=torch.complex64)
    mask = torch.ones(size_px, size_px, dtype=torch.bool)
    return {**saved, "probes": probes, "mask": mask, "intensity_scale": 1.0, "supervised": True}


def _with_modes(probes: Tensor, num_modes: int | None) -> Tensor:
    if num_modes is None or num_modes == probes.shape[1]:
        return probes
    return torch.stack([with_modes(probe, num_modes) for probe in probes])


def _leaves(criterion: BaseLoss) -> Iterator[BaseLoss]:
    """Yield the losses inside sums of losses."""
    if isinstance(criterion, SumLoss):
        for part in criterion.named_parts().values():
            yield from _leaves(part)
    else:
        yield criterion
