"""Learning-rate schedules as functions of the optimizer step: nothing to restore, so resuming is exact.

Only :class:`PatienceSchedule` remembers anything (it listens to validation), and says so in its state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from photic.core.errors import ConfigError
from photic.core.registry import schedules
from photic.core.schema import Config, Range


class Schedule:
    """Factor on the learning rate, by optimizer step."""

    def factor(self, step: int) -> float:
        """Return the factor in (0, 1] for optimizer step ``step`` (the first is 0)."""
        raise NotImplementedError

    def rate(self, step: int, group: str, base_lr: float) -> float:
        """Return the learning rate of a parameter group at optimizer step ``step``; 0 freezes the group for that step.

        Args:
            step: the first is 0.
            group: the group's name.
            base_lr: the group's own highest rate.
        """
        return base_lr * self.factor(step)

    def weights(self, step: int) -> dict[str, float] | None:
        """Return the weights of the loss's named terms at optimizer step ``step``; None leaves them as they are configured."""
        return None

    def observe(self, value: float, mode: Literal["max", "min"]) -> None:
        """Take in the monitored value of a validation."""

    def observe_at(self, step: int, value: float, mode: Literal["max", "min"]) -> None:
        """Take in the monitored value of a validation after ``step`` optimizer steps; what counts steps overrides this."""
        self.observe(value, mode)

    def state_dict(self) -> dict[str, Any]:
        """Return what the schedule remembers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Config):
    """Base of every schedule's config."""

    def build(self, steps_per_epoch: int, num_steps: int) -> Schedule:
        """Return the schedule.

        Args:
            steps_per_epoch: optimizer steps in one pass over the training split.
            num_steps: optimizer steps of the whole training.
        """
        raise NotImplementedError


@schedules.register("constant")
@dataclass(frozen=True, kw_only=True)
class ConstantConfig(ScheduleConfig):
    """The same learning rate throughout."""

    def build(self, steps_per_epoch: int, num_steps: int) -> Schedule:
        """Return the schedule."""
        return _Curve(lambda _: 1.0)


@schedules.register("warmup_cosine")
@dataclass(frozen=True, kw_only=True)
class WarmupCosineConfig(ScheduleConfig):
    """Linear warm-up, then half a cosine down to a floor.

    Source: Loshchilov & Hutter 2017, SGDR: Stochastic gradient descent with warm restarts, eq. 5 (without restarts).
    """

    warmup_epochs: Annotated[float, Range(ge=0)] = 5.0
    """Epochs until the full learning rate; fractions allowed."""
    final_factor: Annotated[float, Range(ge=0, le=1)] = 0.01
    """Factor at the last step."""

    def build(self, steps_per_epoch: int, num_steps: int) -> Schedule:
        """Return the schedule.

        Raises:
            ConfigError: the warm-up is as long as the training.
        """
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if warmup >= num_steps and warmup > 0:
            # A short trial of a long recipe (`training.max_steps=3`) is legitimate: it sees the warm-up only.
            return _Curve(lambda step: min(1.0, (step + 1) / warmup))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = min(1.0, (step - warmup) / max(1, num_steps - 1 - warmup))
            return self.final_factor + (1 - self.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))

        return _Curve(factor)


@schedules.register("one_cycle")
@dataclass(frozen=True, kw_only=True)
class OneCycleConfig(ScheduleConfig):
    """Cosine up from a small rate, then cosine down to almost nothing.

    Source: Smith & Topin 2018, Super-convergence.
    """

    rise: Annotated[float, Range(gt=0, lt=1)] = 0.3
    """Share of all steps spent rising."""
    initial_factor: Annotated[float, Range(gt=0, le=1)] = 0.04
    """Factor at the first step."""
    final_factor: Annotated[float, Range(ge=0, le=1)] = 4e-6
    """Factor at the last step."""

    def build(self, steps_per_epoch: int, num_steps: int) -> Schedule:
        """Return the schedule."""
        peak = max(1.0, self.rise * num_steps - 1)
        last = max(peak + 1, num_steps - 1)

        def factor(step: int) -> float:
            if step <= peak:
                return _cosine(self.initial_factor, 1.0, step / peak)
            return _cosine(1.0, self.final_factor, min(1.0, (step - peak) / (last - peak)))

        return _Curve(factor)


@schedules.register("patience")
@dataclass(frozen=True, kw_only=True)
class PatienceConfig(ScheduleConfig):
    """Linear warm-up, then a lower rate whenever validation has not improved for some time."""

    factor: Annotated[float, Range(gt=0, lt=1)] = 0.5
    """What the rate is multiplied with when patience runs out."""
    patience: Annotated[int, Range(ge=0)] = 5
    """Validations without improvement that are waited for."""
    warmup_epochs: Annotated[float, Range(ge=0)] = 0.0
    """Epochs until the full learning rate."""
    min_factor: Annotated[float, Range(ge=0, le=1)] = 1e-3
    """Floor of the factor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_factor > self.factor:
            raise ConfigError(f"patience.min_factor: expected at most factor ({self.factor}), got {self.min_factor}")

    def build(self, steps_per_epoch: int, num_steps: int) -> Schedule:
        """Return the schedule."""
        return PatienceSchedule(self, round(self.warmup_epochs * steps_per_epoch))


class PatienceSchedule(Schedule):
    """See :class:`PatienceConfig`."""

    def __init__(self, config: PatienceConfig, warmup_steps: int) -> None:
        self.config = config
        self.warmup_steps = warmup_steps
        self.level = 1.0
        self.best: float | None = None
        self.waited = 0

    def factor(self, step: int) -> float:
        """Return the present level, during warm-up scaled down."""
        rising = (step + 1) / self.warmup_steps if step < self.warmup_steps else 1.0
        return self.level * rising

    def observe(self, value: float, mode: Literal["max", "min"]) -> None:
        """Lower the level when the monitored value has not improved for more than ``patience`` validations."""
        if self.best is None or (value > self.best if mode == "max" else value < self.best):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.config.patience:
            self.level = max(self.config.min_factor, self.level * self.config.factor)
            self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Return level, best value and validations waited."""
        return {"level": self.level, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.level, self.best, self.waited = state["level"], state["best"], state["waited"]


class _Curve(Schedule):
    def __init__(self, curve: Any) -> None:
        self.curve = curve

    def factor(self, step: int) -> float:
        return float(self.curve(step))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
