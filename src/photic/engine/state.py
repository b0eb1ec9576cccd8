"""Where training stands: everything that is neither weights nor optimizer, in one place that can be saved."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TrainingState:
    """Counters, history and the best so far.

    Positions are counted in training batches since the beginning of the run; epochs and optimizer
    steps follow from them. So a resumed run knows where it is without asking the loop.
    """

    batches: int = 0
    """Training batches completed."""
    steps: int = 0
    """Optimizer steps completed."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the loss and its terms since the last validation, weighted by samples."""
    samples: int = 0
    """Samples since the last validation."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per validation."""
    best: dict[str, Any] | None = None
    """The entry of the best validation."""
    waited: int = 0
    """Validations since the best one."""
    seconds: float = 0.0
    """Wall time spent training, over all sessions."""
    finished: str | None = None
    """Why training ended; None while it goes on."""

    def add(self, terms: dict[str, float], num_samples: int) -> None:
        """Take a training batch's loss and terms in."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * num_samples
        self.samples += num_samples

    def take_means(self) -> dict[str, float]:
        """Return the means since the last call and start anew."""
        means = {name: total / self.samples for name, total in self.sums.items()} if self.samples else {}
        self.sums, self.samples = {}, 0
        return means

    def record(self, entry: dict[str, Any], value: float, mode: str, monitor: str = "") -> bool:
        """Add a validation to the history; return whether it is the best so far. NaN is never better.

        Where another value is monitored than before (a resumed run may choose one), what was best by the old one is none.
        """
        self.history.append(entry)
        known = None if self.best is None or self.best.get("monitor", monitor) != monitor else self.best["value"]
        better = not math.isnan(value) and (known is None or (value > known if mode == "max" else value < known))
        if better:
            self.best, self.waited = {**entry, "value": value, "monitor": monitor}, 0
        else:
            self.waited += 1
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class Plan:
    """The course of training in numbers, all in batches and optimizer steps since the beginning.

    Args:
        batches_per_epoch: training batches in one pass.
        accumulation: batches per optimizer step; an epoch's last step may take fewer.
        num_epochs: passes.
        max_steps: end after so many optimizer steps.
        validate_every_steps: optimizer steps between validations inside an epoch.
    """

    batches_per_epoch: int
    accumulation: int
    num_epochs: int
    max_steps: int | None
    validate_every_steps: int | None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass."""
        return -(-self.batches_per_epoch // self.accumulation)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        full = self.num_epochs * self.steps_per_epoch
        return full if self.max_steps is None else min(full, self.max_steps)

    @property
    def num_batches(self) -> int:
        """Batches of the whole training."""
        epochs, steps = divmod(self.num_steps, self.steps_per_epoch)
        return epochs * self.batches_per_epoch + min(steps * self.accumulation, self.batches_per_epoch)

    def epoch(self, batches: int) -> float:
        """Return how many passes ``batches`` batches are."""
        return batches / self.batches_per_epoch

    def completes_step(self, batches: int) -> bool:
        """Say whether an optimizer step ends with batch number ``batches`` (counted from 1)."""
        inside = (batches - 1) % self.batches_per_epoch + 1
        return inside % self.accumulation == 0 or inside == self.batches_per_epoch

    def next_validation(self, batches: int) -> int:
        """Return after which batch count, beyond ``batches``, validation comes next."""
        start = batches - batches % self.batches_per_epoch
        end = start + self.batches_per_epoch
        if self.validate_every_steps is not None:
            stride = self.validate_every_steps * self.accumulation
            end = min(end, start + ((batches - start) // stride + 1) * stride)
        return min(end, self.num_batches)
