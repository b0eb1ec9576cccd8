"""What runs of a task are compared by: declared by the task, stored with the run, read without either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from photic.core.errors import DataError
from photic.metrics.columns import ColumnValue


@dataclass(frozen=True, kw_only=True)
class ComparisonSpec:
    """What the tables of a task's predictions hold, and what is made of them when runs are compared.

    Example:
        >>> psnr = ColumnValue(name="psnr", label="PSNR (dB)", higher_is_better=True, column="psnr")
        >>> spec = ComparisonSpec(kind="denoising", samples="pictures", values=(psnr,))
        >>> ComparisonSpec.from_dict(spec.to_dict()) == spec
        True
    """

    kind: str
    """Runs are compared with runs of the same kind; such as the task's registry name."""
    samples: str
    """What a row of the table is, in the plural: pictures, patterns."""
    values: tuple[ColumnValue, ...]
    """What is made of the table; runs are ranked by the first."""
    caution: str = ""
    """A sentence that readers of intervals must know about the samples."""
    predict: str = "PICTURES/ -o predictions/"
    """What ``photic predict RUN`` takes, with capitals for what is the user's."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "values": [asdict(value) for value in self.values]}

    @classmethod
    def from_dict(cls, content: Any, where: str = "comparison") -> ComparisonSpec:
        """Read it back.

        Args:
            content: as :meth:`to_dict` gives it.
            where: file and key, for messages.

        Raises:
            DataError: it is damaged or of a newer Photic.
        """
        given = _checked(content, cls, where)
        values = given.get("values")
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise DataError(f"{where}.values: expected a list of at least one value, got {values!r}; {_REMEDY}")
        made = tuple(ColumnValue(**_checked(one, ColumnValue, f"{where}.values[{i}]")) for i, one in enumerate(values))
        if len({value.name for value in made}) < len(made):
            raise DataError(f"{where}.values: a name stands there twice; {_REMEDY}")
        return cls(**{**given, "values": made})

    def common(self, others: Sequence[ComparisonSpec]) -> ComparisonSpec:
        """Return it with the values that all others make in the same way; perhaps none."""
        made = [{(value.name, value.higher_is_better, value.columns) for value in other.values} for other in others]
        kept = tuple(value for value in self.values if all((value.name, value.higher_is_better, value.columns) in one for one in made))
        samples = self.samples if all(other.samples == self.samples for other in others) else "samples"
        return replace(self, values=kept, samples=samples)


_REMEDY = "the run was written by a newer Photic or the file is damaged"
_TYPES: dict[str, tuple[type, ...]] = {"higher_is_better": (bool,), "weight": (str, type(None)), "values": (object,)}


def _checked(content: Any, of: type, where: str) -> dict[str, Any]:
    """Return named values that a class takes, each of its type."""
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: expected named values, got {type(content).__name__}; {_REMEDY}")
    known = {field.name: field for field in fields(of)}
    for name in content:
        if name not in known:
            raise DataError(f"{where}: unknown key '{name}'; {_REMEDY}")
    for name, field in known.items():
        expected = _TYPES.get(name, (str,))
        if name not in content and isinstance(field.default, str | type(None)):
            continue
        if not isinstance(content.get(name), expected):
            raise DataError(
                f"{where}.{name}: expected {' or '.join(kind.__name__ for kind in expected)}, got {content.get(name)!r}; {_REMEDY}"
            )
    return dict(content)
