"""A schedule in three stages: learning rates of the parts of a network, and weights of the terms of its loss.

Everything is a function of the optimizer step alone. So there is nothing that a resumed run could have forgotten, and nothing that is
multiplied step by step until it is nil.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, fields
from typing import Annotated

from photic.core.errors import ConfigError
from photic.core.registry import schedules
from photic.core.schema import Range
from photic.optim.schedules import Schedule, ScheduleConfig

NEVER_RAMPED = ("reconstruction", "ssim")
"""Terms that hold the picture together: never below the weight of their stage."""


@schedules.register("three_stages")
@dataclass(frozen=True, kw_only=True)
class ThreeStagesConfig(ScheduleConfig):
    """Reconstruction warm-up, structure, perceptual refinement; for a `sum` loss whose terms have these names.

    Source: Zain Ul Abideen, Zhang & Liu 2026, Remove the distraction, Pattern Recognition 179 (RemDiNet).
    """

    fractions: Annotated[tuple[float, float, float], Range(gt=0, lt=1)] = (0.10, 0.65, 0.25)
    """Shares of all steps; they sum to 1."""
    reconstruction: Annotated[tuple[float, float, float], Range(ge=0)] = (1.2, 1.2, 1.1)
    """Weight of this term in each stage; never ramped."""
    exposure: Annotated[tuple[float, float, float], Range(ge=0)] = (0.0, 0.07, 0.04)
    """Weight in each stage."""
    edge: Annotated[tuple[float, float, float], Range(ge=0)] = (0.0, 0.12, 0.15)
    """Weight in each stage."""
    ssim: Annotated[tuple[float, float, float], Range(ge=0)] = (0.80, 0.65, 0.55)
    """Weight of this term in each stage; never ramped."""
    colour: Annotated[tuple[float, float, float], Range(ge=0)] = (0.20, 0.07, 0.08)
    """Weight in each stage."""
    diversity: Annotated[tuple[float, float, float], Range(ge=0)] = (0.30, 0.07, 0.08)
    """Weight in each stage."""
    mask: Annotated[tuple[float, float, float], Range(ge=0)] = (0.0, 0.03, 0.05)
    """Weight in each stage."""
    perceptual: Annotated[tuple[float, float, float], Range(ge=0)] = (0.0, 0.0, 0.03)
    """Weight in each stage."""
    ramp_epochs: Annotated[float, Range(ge=0)] = 20.0
    """Epochs over which the auxiliary terms of a stage come in, along half a cosine; a shorter stage shortens it."""
    mix_epochs: Annotated[tuple[float, float], Range(ge=0)] = (15.0, 5.0)
    """Epochs over which the loss of the stage before fades out at the beginning of the second and third stage, linearly."""
    frozen_group: str = "mask"
    """Parameter group that stands still at the beginning of the second stage."""
    unfreeze_epochs: Annotated[float, Range(ge=0)] = 15.0
    """Epochs into the second stage after which that group learns again, once and for all."""
    unfrozen_lr: Annotated[float, Range(gt=0)] = 2e-5
    """Its learning rate from then on, absolute, until the third stage multiplies it with `final_factor`."""
    final_factor: Annotated[float, Range(gt=0, le=1)] = 0.2
    """Factor on all learning rates in the third stage."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isclose(sum(self.fractions), 1.0, abs_tol=1e-6):
            raise ConfigError(f"three_stages.fractions: expected shares that sum to 1, got {list(self.fractions)}")

    def build(self, steps_per_epoch: int, num_steps: int) -> ThreeStages:
        """Return the schedule."""
        return ThreeStages(self, steps_per_epoch, num_steps)

    def table(self) -> dict[str, tuple[float, float, float]]:
        """Return the weights by term."""
        return {name: getattr(self, name) for name in _TERMS}


_TERMS = ("reconstruction", "exposure", "edge", "ssim", "colour", "diversity", "mask", "perceptual")
assert set(_TERMS) <= {field.name for field in fields(ThreeStagesConfig)}


class ThreeStages(Schedule):
    """See :class:`ThreeStagesConfig`; all positions in optimizer steps since the beginning.

    Args:
        config: shares, weights, ramps.
        steps_per_epoch: optimizer steps in one pass.
        num_steps: of the whole training; fewer than three steps leave the later stages without one.

    Example:
        >>> schedule = ThreeStagesConfig().build(steps_per_epoch=10, num_steps=1000)
        >>> schedule.starts
        (0, 100, 750)
        >>> schedule.rate(249, "mask", 1e-4), schedule.rate(250, "mask", 1e-4)
        (0.0, 2e-05)
    """

    def __init__(self, config: ThreeStagesConfig, steps_per_epoch: int, num_steps: int) -> None:
        self.config = config
        first, second, _ = config.fractions
        self.starts = (0, round(first * num_steps), round((first + second) * num_steps))
        ends = (*self.starts[1:], num_steps)
        lengths = [end - start for start, end in zip(self.starts, ends, strict=True)]

        def steps(epochs: float, stage: int) -> int:
            return min(round(epochs * steps_per_epoch), lengths[stage])

        self._ramps = [steps(config.ramp_epochs, stage) for stage in range(3)]
        self._mixes = [0, steps(config.mix_epochs[0], 1), steps(config.mix_epochs[1], 2)]
        self.unfreezes_at = self.starts[1] + steps(config.unfreeze_epochs, 1)
        """Step from which the frozen group learns again."""

    def stage(self, step: int) -> int:
        """Return 0, 1 or 2."""
        return bisect_right(self.starts, step) - 1

    def factor(self, step: int) -> float:
        """Return 1, in the third stage ``final_factor``."""
        return self.config.final_factor if self.stage(step) == 2 else 1.0

    def rate(self, step: int, group: str, base_lr: float) -> float:
        """Return the learning rate of a group; that of the frozen group is 0, then absolute."""
        if group.removesuffix("_plain") == self.config.frozen_group and step >= self.starts[1]:
            return self.config.unfrozen_lr * self.factor(step) if step >= self.unfreezes_at else 0.0
        return base_lr * self.factor(step)

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of every term.

        The loss of a stage is mixed with that of the stage before. Its auxiliary terms go from the weight they had to their own along
        a ramp; those in ``NEVER_RAMPED`` never fall below the weight of the stage they are in, not even where that is more than before.
        """
        stage = self.stage(step)
        since = step - self.starts[stage]
        new = 1.0 if since >= self._mixes[stage] else since / self._mixes[stage]
        ramp = 1.0 if since >= self._ramps[stage] else 0.5 * (1 - math.cos(math.pi * since / self._ramps[stage]))
        weights = {}
        for name, of_stage in self.config.table().items():
            own = of_stage[stage]
            before = of_stage[stage - 1] if stage else own if name in NEVER_RAMPED else 0.0
            if name in NEVER_RAMPED:
                weights[name] = max(own, before + new * (own - before))
            else:
                weights[name] = before + new * ramp * (own - before)
        return weights
