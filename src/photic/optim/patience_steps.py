"""A learning rate that is lowered once per so many optimizer steps without improvement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from photic.core.registry import schedules
from photic.core.schema import Range
from photic.optim.schedules import Schedule, ScheduleConfig

Mode = Literal["max", "min"]


@schedules.register("patience_steps")
@dataclass(frozen=True, kw_only=True)
class PatienceStepsConfig(ScheduleConfig):
    """A lower rate once per so many optimizer steps in which validation has not improved; `patience` counts validations instead."""

    factor: Annotated[float, Range(gt=0, lt=1)] = 0.85
    """What the rate is multiplied with when patience runs out."""
    patience_steps: Annotated[int, Range(ge=1)] = 1000
    """Optimizer steps without improvement after which it is; counted from the last improvement or the last time. A validation finds out,
    and multiplies once at most, however long ago the last one was."""

    def build(self, steps_per_epoch: int, num_steps: int) -> Schedule:
        """Return the schedule."""
        return StepPatience(self.factor, self.patience_steps)


class StepPatience(Schedule):
    """See :class:`PatienceStepsConfig`.

    Args:
        decay: what the rate is multiplied with.
        patience_steps: optimizer steps that are waited for.

    >>> schedule = StepPatience(0.5, patience_steps=2)
    >>> for step, loss in enumerate([1.0, 1.0, 1.0, 1.0, 0.9]):
    ...     schedule.observe_at(step, loss, "min")
    >>> schedule.factor(5)
    0.5
    """

    def __init__(self, decay: float, patience_steps: int) -> None:
        self.decay, self.patience_steps = decay, patience_steps
        self.level = 1.0
        self.best: dict[str, float] = {}
        self.last = -1
        """Step of the last observation."""
        self.improved = False
        """Whether the last observation was an improvement."""
        self.since: int | None = None
        """Step from which steps without improvement count."""

    def factor(self, step: int) -> float:
        """Return the present level."""
        return self.level

    def observe(self, value: float, mode: Mode) -> None:
        """Take a value in, one step after the last one."""
        self.observe_at(self.last + 1, value, mode)

    def observe_at(self, step: int, value: float, mode: Mode) -> None:
        """Take the value of a validation after ``step`` optimizer steps in."""
        self.observe_values(step, {"": (value, mode)})

    def observe_values(self, step: int, values: Mapping[str, tuple[float, Mode]]) -> None:
        """Take several values in, each with which way is better: one that improves is an improvement. NaN is none."""
        better = [name for name, (value, mode) in values.items() if self._improves(name, value, mode)]
        self.best.update({name: values[name][0] for name in better})
        self.last, self.improved = step, bool(better)
        if better or self.since is None:
            self.since = step
        elif step - self.since >= self.patience_steps:
            self.level, self.since = self.level * self.decay, step

    def _improves(self, name: str, value: float, mode: Mode) -> bool:
        best = self.best.get(name)
        return not math.isnan(value) and (best is None or (value > best if mode == "max" else value < best))

    def state_dict(self) -> dict[str, Any]:
        """Return level, best values and steps."""
        return {"level": self.level, "best": dict(self.best), "last": self.last, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.level, self.best, self.last, self.since = state["level"], dict(state["best"]), state["last"], state["since"]
