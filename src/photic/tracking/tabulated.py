"""How runs are compared whose task says what its table holds: values made from columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from photic.core.errors import DataError
from photic.metrics.columns import ColumnPair, column_difference
from photic.metrics.comparison import ComparisonSpec
from photic.metrics.inputs import Floats
from photic.tracking.measures import LOSS, Measure, SharedTables, Value
from photic.tracking.run import Run

_SAME = 1e-4  # weights are written with six digits, and sums of float32 differ in the last ones from machine to machine


@dataclass(frozen=True)
class SampleTable:
    """Numbers of each sample of a split, as ``predictions/<split>.csv`` keeps them."""

    split: str
    names: tuple[str, ...]
    columns: dict[str, Floats]
    """Those that the comparison needs, ``(N,)`` each; NaN where a sample has none."""


class TableMeasure(Measure[SampleTable]):
    """Runs whose values are made from the columns of their tables.

    Args:
        spec: which values.
        notes: what a reader must know about them.
    """

    def __init__(self, spec: ComparisonSpec, notes: Sequence[str] = ()) -> None:
        self.spec = spec
        self.notes = notes
        self.kind = spec.kind
        self.samples = spec.samples
        self.paired = tuple(Value(value.name, value.label, value.higher_is_better) for value in spec.values)
        self.values = self.paired if any(value.name == LOSS.name for value in self.paired) else (*self.paired, LOSS)
        self.curves = tuple(("val", value.name, f"Validation {value.label}") for value in spec.values)
        self.predict = spec.predict
        self.caution = spec.caution

    def remark(self, split: str, values: Sequence[Value]) -> str:
        """Return which way is better."""
        parts = []
        for higher, word in ((True, "higher"), (False, "lower")):
            labels = [value.label for value in values if value.higher_is_better is higher]
            parts += [f"{word} is better for {' and '.join(labels)}"] if labels else []
        return ", ".join(parts)

    def read(self, run: Run, split: str) -> SampleTable | None:
        """Return the columns that the values need."""
        path = run.path / "predictions" / f"{split}.csv"
        if not path.is_file():
            return None
        with path.open(encoding="utf-8", newline="") as handle:
            header, *rows = list(csv.reader(handle)) or [[]]
        needed = list(dict.fromkeys(name for value in self.spec.values for name in value.columns))
        missing = [name for name in needed if name not in header[1:]]
        if missing or not rows or any(len(row) != len(header) for row in rows):
            columns = ", ".join(["the sample's name", *needed])
            raise DataError(f"{path}: expected rows with {columns}; the table is damaged, write it again: photic train --resume {run.path}")
        names = tuple(row[0] for row in rows)
        if len(set(names)) < len(names):
            raise DataError(f"{path}: a sample has two rows; the table is damaged, write it again: photic train --resume {run.path}")
        return SampleTable(split, names, {name: _numbers([row[header.index(name)] for row in rows], name, path) for name in needed})

    def values_of(self, results: dict[str, Any], table: SampleTable) -> dict[str, float]:
        """Return the values over the table."""
        return {value.name: value.of(table.columns) for value in self.spec.values}

    def undefined(self, results: dict[str, Any], table: SampleTable) -> list[tuple[str, str]]:
        """Return values that some samples do not have."""
        found = []
        for value in self.spec.values:
            count = int((~value.defined(table.columns)).sum())
            found += [(value.label, f"no finite number for {count} of {len(table.names)} {self.samples}")] if count else []
        return found

    def pooled(self, tables: Sequence[SampleTable]) -> dict[str, float]:
        """Return the values over the rows of all folds."""
        columns = {name: np.concatenate([table.columns[name] for table in tables]) for name in tables[0].columns}
        return {value.name: value.of(columns) for value in self.spec.values}

    def mismatch(self, first: SampleTable, second: SampleTable) -> str:
        """Refuse other weights: they belong to the samples, so these are others under the same names."""
        order = _order(first, second)
        for name in dict.fromkeys(value.weight for value in self.spec.values if value.weight is not None):
            one, two = first.columns[name], second.columns[name][order]
            wrong = ~np.isclose(one, two, rtol=_SAME, atol=0.0, equal_nan=True)
            if wrong.any():
                row = int(np.argmax(wrong))
                return (
                    f"{int(wrong.sum())} of {len(wrong)} {self.samples} have another {name}, such as {first.names[row]} "
                    f"({one[row]:g} and {two[row]:g}): they have the same names and are others"
                )
        return ""

    def difference(self, pairs: Sequence[SharedTables[SampleTable]]) -> dict[str, dict[str, float | int]]:
        """Return differences of all values."""
        made = []
        for pair in pairs:
            order = _order(pair.first, pair.second)
            made.append(ColumnPair(pair.names, pair.first.columns, {name: column[order] for name, column in pair.second.columns.items()}))
        return column_difference(made, self.spec.values)


def _order(like: SampleTable, of: SampleTable) -> list[int]:
    rows = {name: row for row, name in enumerate(of.names)}
    return [rows[name] for name in like.names]


def _numbers(cells: Sequence[str], name: str, path: Any) -> Floats:
    numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        try:
            numbers[row] = float(cell) if cell.strip() else np.nan
        except ValueError:
            raise DataError(f"{path}: row {row + 2}, column '{name}': expected a number or nothing, got '{cell}'") from None
    return numbers
