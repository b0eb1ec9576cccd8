"""How far an exported graph is from the network it was made of: measured, never assumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.inference.export.program import as_tuple
from photic.tasks.interface import GraphInterface

Runner = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]

TOLERANCE = 1e-4
"""Largest difference that passes, relative to the largest absolute value of the output."""
TURNED_SHARE = 0.01
"""Largest share of rounded values that may be another whole number: they are where machines differ in the last digit of a half."""
_TURNED = 0.5
_ROUNDS = (5, 50)
_TIMED_S = 1.0


@dataclass(frozen=True)
class Batch:
    """Inputs of a deployed graph."""

    what: str
    """What they are, for people."""
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Difference:
    """How far one output is from the network's own over some batches."""

    output: str
    absolute: float
    """Largest."""
    relative: float
    """Largest, as a share of the largest absolute value of that output in its batch."""
    mean: float
    """Mean of the absolute differences."""
    psnr_db: float | None
    """Peak signal to noise, the peak being the largest absolute value; None where there is no difference."""
    turned: float | None = None
    """Of outputs that are rounded: share of values that are another whole number. The other numbers leave these out."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {key: value for key, value in asdict(self).items() if key != "turned" or value is not None}

    def text(self) -> str:
        """Return it for people: ``picture 1.2e-07 (relative 3e-08)``."""
        turned = "" if not self.turned else f", {100 * self.turned:.2g}% of the rounded values another whole number"
        return f"{self.output} {self.absolute:.2g} (relative {self.relative:.2g}){turned}"


@torch.inference_mode()
def own_outputs(graph: nn.Module, inputs: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what a deployed graph gives, following the rounding of ``found`` where it rounds."""
    following = getattr(graph, "following", None)
    return as_tuple(graph(*inputs) if following is None else following(*inputs, outputs=found))


def differences(graph: nn.Module, run: Runner, interface: GraphInterface, batches: Iterable[Batch]) -> list[Difference]:
    """Return how far an exported graph is from the network, for each output, over all batches.

    Raises:
        ConfigError: an output has another shape, or is not finite where the network's own is.
    """
    measures = [_Measure(port.name, port.name in getattr(graph, "rounded", ())) for port in interface.outputs]
    for batch in batches:
        found = run(batch.inputs)
        for measure, own, other in zip(measures, own_outputs(graph, batch.inputs, found), found, strict=True):
            measure.add(own, other, batch.what)
    return [measure.result() for measure in measures]


class _Measure:
    """Differences of one output, collected batch by batch."""

    def __init__(self, output: str, rounded: bool) -> None:
        self.output, self.rounded = output, rounded
        self.absolute = self.relative = self.total = self.squares = self.peak = 0.0
        self.count = self.turned = 0

    def add(self, own: Tensor, other: Tensor, what: str) -> None:
        if own.shape != other.shape:
            raise ConfigError(
                f"{what}: '{self.output}' comes out as {tuple(other.shape)} and should be {tuple(own.shape)}; nothing was written"
            )
        if not bool(torch.isfinite(other).all()):
            raise ConfigError(f"{what}: '{self.output}' comes out with values that are not finite; nothing was written")
        difference = (other.double() - own.double()).abs()
        if self.rounded:
            turned = difference > _TURNED
            self.turned += int(turned.sum())
            difference = difference.where(~turned, 0.0)
        peak = float(own.abs().max())
        largest = float(difference.max())
        self.absolute, self.peak = max(self.absolute, largest), max(self.peak, peak)
        self.relative = max(self.relative, largest / peak if peak else math.inf if largest else 0.0)
        self.total += float(difference.sum())
        self.squares += float(difference.square().sum())
        self.count += difference.numel()

    def result(self) -> Difference:
        mean_square = self.squares / max(self.count, 1)
        psnr = 10 * math.log10(self.peak**2 / mean_square) if mean_square and self.peak else None
        share = self.turned / max(self.count, 1) if self.rounded else None
        return Difference(self.output, self.absolute, self.relative, self.total / max(self.count, 1), psnr, share)


def beyond(found: Sequence[Difference], tolerance: float = TOLERANCE) -> list[Difference]:
    """Return the outputs that are farther off than is allowed."""
    return [one for one in found if one.relative > tolerance or (one.turned or 0.0) > TURNED_SHARE]


def time_ratio(graph: nn.Module, run: Runner, inputs: tuple[Tensor, ...]) -> tuple[float, float]:
    """Return the seconds that the exported graph and the network take for the same inputs: the quickest of some rounds, in turn."""

    def own() -> None:
        with torch.inference_mode():
            graph(*inputs)

    taken: dict[bool, list[float]] = {False: [], True: []}
    begun = time.perf_counter()
    for number in range(_ROUNDS[1] + 1):
        for is_own, job in ((False, lambda: run(inputs)), (True, own)):
            started = time.perf_counter()
            job()
            taken[is_own].append(time.perf_counter() - started)
        if number >= _ROUNDS[0] and time.perf_counter() - begun > _TIMED_S:
            break
    exported_s, own_s = (min(times[1:]) for times in (taken[False], taken[True]))  # in the first round memory is set up
    return exported_s, own_s
