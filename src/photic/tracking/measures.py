"""How runs of one kind are measured when they are compared: what comparing asks of a kind, whatever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from photic.tracking.run import Run

SPLITS = {"test": "test", "val": "validation"}
"""Splits that runs are compared on, and what people call them."""


class Table(Protocol):
    """Predictions on a split, a row per sample."""

    @property
    def split(self) -> str:
        """``test`` or ``val``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the samples."""


T = TypeVar("T", bound=Table)


@dataclass(frozen=True)
class Value:
    """A value that stands for a run."""

    name: str
    label: str
    """What people call it."""
    higher_is_better: bool = True

    @property
    def better(self) -> str:
        """Return the word for the better of two such values."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def best(self) -> str:
        """Return the word for the best of several."""
        return "highest" if self.higher_is_better else "lowest"

    def gain(self, value: float) -> float:
        """Return a value so that more is better."""
        return value if self.higher_is_better else -value


LOSS = Value("loss", "loss", higher_is_better=False)
"""The loss, which every run has; comparable where it is the same loss."""


@dataclass(frozen=True)
class SharedTables(Generic[T]):
    """Tables of two runs on the same samples."""

    names: Sequence[Any]
    """Of the samples, in the order of the first table; a sample that several pairs have is called the same in all."""
    first: T
    second: T


class Measure(ABC, Generic[T]):
    """What comparing must know about runs of one kind."""

    kind: str
    """Runs are compared with runs of the same kind."""
    samples: str
    """What a row of their tables is, in the plural."""
    values: Sequence[Value]
    """Shown side by side; groups are ranked by the first."""
    paired: Sequence[Value]
    """Those of them whose paired differences are shown."""
    curves: Sequence[tuple[str, str, str]]
    """Values over training: ``train`` or ``val``, name in the history, title."""
    predict: str
    """What ``photic predict RUN`` takes, with capitals for what is the user's."""
    caution: str = ""
    """What readers of intervals must know about the samples; may be empty."""
    notes: Sequence[str] = ()
    """What readers of all values must know."""

    @abstractmethod
    def remark(self, split: str, values: Sequence[Value]) -> str:
        """Return how values on a split are to be read, a few words."""

    @abstractmethod
    def read(self, run: Run, split: str) -> T | None:
        """Return the table of a run's predictions on a split; None if there is none.

        Raises:
            DataError: it is damaged.
        """

    @abstractmethod
    def values_of(self, results: dict[str, Any], table: T) -> dict[str, float]:
        """Return the values of a run on the split of its table: those of :attr:`values` but the loss, and finer ones; else NaN."""

    @abstractmethod
    def undefined(self, results: dict[str, Any], table: T) -> list[tuple[str, str]]:
        """Return what is undefined on a run's table, and why."""

    @abstractmethod
    def pooled(self, tables: Sequence[T]) -> dict[str, float]:
        """Return the values of the tables of all folds together."""

    @abstractmethod
    def mismatch(self, first: T, second: T) -> str:
        """Return why two tables of samples with the same names cannot be held against each other, or an empty text."""

    def alien(self, first: T, second: T) -> str:
        """Return why two tables cannot be held against each other whatever their samples, or an empty text."""
        return ""

    @abstractmethod
    def difference(self, pairs: Sequence[SharedTables[T]]) -> dict[str, dict[str, float | int]]:
        """Return differences second - first, mean over pairs, with intervals, as :func:`photic.metrics.mean_difference` does."""
