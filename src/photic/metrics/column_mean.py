"""Means over a column of the table that a task keeps of each sample."""

from __future__ import annotations

from torch import Tensor

from photic.core.errors import DataError
from photic.metrics.base import Metric


class ColumnMean(Metric):
    """The mean of one column over all samples that have a value, or the share of samples below a limit.

    Some values are made where the sample is (pictures of any size, one by one), and only they are kept; this is their mean over a set.

    Args:
        name: of the value.
        column: which column of the table.
        below: None is the mean; a number is the share of samples whose value is smaller.
        where: (column, value): only samples that have this value there count; None counts all.

    Example:
        >>> import torch
        >>> metric = ColumnMean("psnr", 0)
        >>> metric.update(torch.tensor([[20.0], [24.0], [float("nan")]]), torch.zeros(3, 1))
        >>> metric.compute()
        {'psnr': 22.0}
    """

    def __init__(self, name: str, column: int, below: float | None = None, where: tuple[int, float] | None = None) -> None:
        self.name = name
        self.column = column
        self.below = below
        self.where = where
        self.reset()

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take rows of the table in, ``(B, K)``; NaN is no value.

        Raises:
            DataError: no table, or one without the column.
        """
        if prediction.ndim != 2 or prediction.shape[1] <= self.column:
            raise DataError(f"{self.name}: expected a table (B, K) with more than {self.column} columns, got {tuple(prediction.shape)}")
        values = prediction[:, self.column].double()
        if self.where is not None:
            values = values[prediction[:, self.where[0]] == self.where[1]]
        values = values[~values.isnan()]
        self._sum += float((values if self.below is None else values < self.below).sum())
        self._count += len(values)

    def compute(self) -> dict[str, float]:
        """Return the mean or share; NaN where no sample had a value."""
        return {self.name: self._sum / self._count if self._count else float("nan")}

    def reset(self) -> None:
        """Forget everything seen."""
        self._sum, self._count = 0.0, 0
