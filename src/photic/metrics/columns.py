"""Values made from the columns of a table with a row per sample, and differences of such values with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from photic.core.errors import DataError
from photic.metrics.bootstrap import difference_intervals, shared_rows
from photic.metrics.inputs import Booleans, Floats

Columns = Mapping[str, Floats]
"""Columns of a table by name, ``(N,)`` each; NaN where a sample has no value."""


@dataclass(frozen=True, kw_only=True)
class ColumnValue:
    """A value over all samples: the mean of a column, or its mean weighted by another one.

    A ratio of sums is such a weighted mean: R_amp = sum of ``|A_model - A|`` over sum of ``A`` is the mean of the single R_amp, weighted
    by the amplitudes.

    Example:
        >>> value = ColumnValue(name="r_amp", label="R_amp", higher_is_better=False, column="r_amp", weight="amplitude")
        >>> value.of({"r_amp": np.array([0.1, 0.2]), "amplitude": np.array([30.0, 10.0])})
        0.125
    """

    name: str
    """As the history of training calls it, if it is followed there."""
    label: str
    """As people call it, short."""
    higher_is_better: bool
    column: str
    """What is averaged."""
    weight: str | None = None
    """Column of weights >= 0, which belong to the samples and not to the network; null counts all samples alike."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns it is made of."""
        return (self.column,) if self.weight is None else (self.column, self.weight)

    def defined(self, columns: Columns) -> Booleans:
        """Return which samples have what the value is made of, ``(N,)``."""
        return np.asarray(np.logical_and.reduce([np.isfinite(columns[name]) for name in self.columns]))

    def of(self, columns: Columns) -> float:
        """Return the value over all samples where it is defined; NaN if there are none, or their weights are all 0."""
        return float(self.resampled(columns, self.defined(columns), np.ones((1, len(columns[self.column]))))[0])

    def resampled(self, columns: Columns, rows: Booleans, counts: Floats) -> Floats:
        """Return the value over some rows for each resample, ``(R,)``; NaN where none of them was drawn.

        Args:
            columns: the table.
            rows: which rows to use, ``(N,)``; the value is defined there.
            counts: how often each row counts, ``(R, N)``.
        """
        values = columns[self.column][rows].astype(np.float64)
        weights = np.ones_like(values) if self.weight is None else columns[self.weight][rows].astype(np.float64)
        drawn = counts[:, rows]
        total = drawn @ weights
        return np.asarray(np.divide(drawn @ (values * weights), total, out=np.full_like(total, np.nan), where=total > 0))


@dataclass(frozen=True)
class ColumnPair:
    """Two tables of the same samples, as :func:`column_difference` takes them."""

    names: Sequence[Any]
    """What the ``N`` samples are called; a name that several pairs have is the same sample in all of them."""
    first: Columns
    """Table of the one model."""
    second: Columns
    """Table of the other, samples in the same order."""


def column_difference(
    pairs: Sequence[ColumnPair], values: Sequence[ColumnValue], *, num_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, dict[str, float | int]]:
    """Return intervals of the difference ``second - first`` of values, averaged over pairs such as the seeds of two trainings.

    As :func:`photic.metrics.mean_difference`: one resample is drawn from the samples of all pairs together, and both models are
    measured on it. A sample that one of the two has no value for counts for neither.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13 and 8.

    Args:
        pairs: what to compare.
        values: what to make of the tables.
        num_resamples: number of resamples.
        seed: the same seed gives the same intervals.
        level: share of the resampled differences inside the interval.

    Returns:
        name of the value to ``{"value", "low", "high", "num_valid", "share_above_zero"}``.

    Raises:
        DataError: no pair, a name twice in a pair, or columns of another length than the names.

    Example:
        >>> psnr = ColumnValue(name="psnr", label="PSNR", higher_is_better=True, column="psnr")
        >>> pair = ColumnPair(["a", "b"], {"psnr": np.array([30.0, 20.0])}, {"psnr": np.array([31.0, 22.0])})
        >>> column_difference([pair], [psnr])["psnr"]["value"]
        1.5
    """
    if not pairs:
        raise DataError("column_difference: expected at least one pair of tables, got none")
    for pair in pairs:
        for name in (name for value in values for name in value.columns):
            found = {len(pair.first[name]), len(pair.second[name])}
            if found != {len(pair.names)}:
                raise DataError(
                    f"column_difference: expected {len(pair.names)} values in column '{name}', one per name, got {sorted(found)}"
                )
    where, num_samples = shared_rows([pair.names for pair in pairs])
    common = [[value.defined(pair.first) & value.defined(pair.second) for value in values] for pair in pairs]

    def difference(counts: Floats) -> Floats:
        found = np.full((len(pairs), len(counts), len(values)), np.nan)
        for i, (pair, own) in enumerate(zip(pairs, where, strict=True)):
            drawn = counts[:, own]
            for j, value in enumerate(values):
                one, two = (value.resampled(table, common[i][j], drawn) for table in (pair.first, pair.second))
                found[i, :, j] = two - one
        defined = ~np.isnan(found)
        count = defined.sum(axis=0).astype(np.float64)
        total = np.where(defined, found, 0.0).sum(axis=0)
        return np.asarray(np.divide(total, count, out=np.full_like(count, np.nan), where=count > 0))

    names = [value.name for value in values]
    return difference_intervals(difference, names, num_samples, num_resamples=num_resamples, seed=seed, level=level)
