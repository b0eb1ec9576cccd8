"""What a deployed graph takes and gives: names, shapes with named axes, types and units. Works without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from photic.core.errors import DataError

DTYPES = ("float32", "float64", "int64", "uint8", "bool")
"""Types of numbers that ports may have."""
BATCH = "batch"
"""Name of the axis along which samples do not know of each other."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_PORTS, _MOST_AXES, _MOST_TEXT, _MOST_SIDE = 16, 8, 500, 1 << 20
_FIELDS = ("name", "dtype", "shape", "meaning", "unit", "range")


@dataclass(frozen=True)
class Port:
    """One tensor that goes in or comes out.

    Raises:
        DataError: a field is not what it should be.

    >>> Port("picture", "float32", ("batch", 3, "height", "width"), "Photographs, sRGB-encoded.", "share of white", (0.0, 1.0)).free
    ('batch', 'height', 'width')
    """

    name: str
    """Lower-case letters, digits and underscores; also its name in exported files."""
    dtype: str
    """One of :data:`DTYPES`."""
    shape: tuple[str | int, ...]
    """Axes in order: a number where the size is fixed, a name where it is free; axes of one name are of one size."""
    meaning: str
    """What it is, a sentence or two."""
    unit: str | None = None
    """Unit of the values, where they have one."""
    range: tuple[float | None, float | None] | None = None
    """Least and largest value; None is no limit on that side."""

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise DataError(f"port {str(self.name)[:64]!r}: {problem}")

    def _problem(self) -> str | None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            return "a name is lower-case letters, digits and underscores, at most 64"
        if self.dtype not in DTYPES:
            return f"dtype: expected one of {', '.join(DTYPES)}"
        if not isinstance(self.shape, tuple) or len(self.shape) > _MOST_AXES or not all(map(_is_axis, self.shape)):
            return f"shape: expected at most {_MOST_AXES} axes, names or whole numbers from 1"
        if not isinstance(self.meaning, str) or not 0 < len(self.meaning) <= _MOST_TEXT:
            return f"meaning: expected text of at most {_MOST_TEXT} characters"
        if self.unit is not None and (not isinstance(self.unit, str) or len(self.unit) > _MOST_TEXT):
            return "unit: expected a short text"
        if self.range is not None and not _is_range(self.range):
            return "range: expected the least and the largest value, the least first"
        return None

    @property
    def free(self) -> tuple[str, ...]:
        """Names of its axes whose size is free."""
        return tuple(axis for axis in self.shape if isinstance(axis, str))


@dataclass(frozen=True)
class GraphInterface:
    """What goes into a deployed graph, in the order of its arguments, and what comes out.

    Raises:
        DataError: none or very many ports, or two of one name.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __post_init__(self) -> None:
        for side, ports in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not isinstance(ports, tuple) or not 0 < len(ports) <= _MOST_PORTS or not all(isinstance(port, Port) for port in ports):
                raise DataError(f"interface.{side}: expected 1 to {_MOST_PORTS} ports")
        names = [port.name for port in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise DataError(f"interface: two ports have one name: {', '.join(names)}")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            side: [{**asdict(port), "shape": list(port.shape), "range": None if port.range is None else list(port.range)} for port in ports]
            for side, ports in (("inputs", self.inputs), ("outputs", self.outputs))
        }

    @classmethod
    def from_json(cls, value: Any, where: str = "interface") -> GraphInterface:
        """Return the interface that JSON values describe; they may come from anywhere.

        Args:
            value: as :meth:`to_json` gives it.
            where: what errors call it.

        Raises:
            DataError: the values describe none.

        >>> port = Port("x", "float32", ("batch", 2), "Two numbers.")
        >>> made = GraphInterface((port,), (Port("y", "float32", ("batch",), "Their sum."),))
        >>> GraphInterface.from_json(made.to_json()) == made
        True
        """
        if not isinstance(value, Mapping) or set(value) != {"inputs", "outputs"}:
            raise DataError(f"{where}: expected an object with inputs and outputs")
        sides = {}
        for side in ("inputs", "outputs"):
            given = value[side]
            if not isinstance(given, list) or len(given) > _MOST_PORTS:
                raise DataError(f"{where}.{side}: expected 1 to {_MOST_PORTS} ports")
            sides[side] = tuple(_port(item, f"{where}.{side}[{number}]") for number, item in enumerate(given))
        try:
            return cls(**sides)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def signature(self) -> tuple[tuple[tuple[str, str, tuple[str | int, ...]], ...], ...]:
        """Return names, types and shapes: what a program depends on."""
        return tuple(tuple((port.name, port.dtype, port.shape) for port in ports) for ports in (self.inputs, self.outputs))

    def lines(self) -> list[str]:
        """Return a line for each port, for people: ``takes  picture (batch, 3, height, width) float32: Photographs ...``."""
        return [
            f"{word}  {port.name} ({', '.join(map(str, port.shape))}) {port.dtype}{_limits(port)}: {port.meaning}"
            for word, ports in (("takes", self.inputs), ("gives", self.outputs))
            for port in ports
        ]


def _port(value: Any, where: str) -> Port:
    if not isinstance(value, Mapping) or set(value) != set(_FIELDS):
        raise DataError(f"{where}: expected an object with {', '.join(_FIELDS)}")
    shape, limits = value["shape"], value["range"]
    if not isinstance(shape, list) or not (limits is None or isinstance(limits, list)):
        raise DataError(f"{where}: expected shape as a list, and range as a list or null")
    try:
        return Port(**{**value, "shape": tuple(shape), "range": None if limits is None else tuple(limits)})
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _is_axis(axis: Any) -> bool:
    return (type(axis) is int and 1 <= axis <= _MOST_SIDE) or (isinstance(axis, str) and _NAME.fullmatch(axis) is not None)


def _is_range(limits: Any) -> bool:
    if not isinstance(limits, tuple) or len(limits) != 2:
        return False
    known = [limit for limit in limits if limit is not None]
    finite = all(type(limit) in (int, float) and math.isfinite(limit) for limit in known)
    return finite and known == sorted(known)


def _limits(port: Port) -> str:
    low, high = port.range or (None, None)
    unit = f" {port.unit}" if port.unit else ""
    if low is None and high is None:
        return f",{unit}" if unit else ""
    return f", {'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}{unit}"
