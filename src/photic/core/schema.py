"""Typed configuration: frozen dataclasses that check themselves, and their translation from and to dicts.

A component describes itself with one config class::

    @losses.register("focal")
    @dataclass(frozen=True, kw_only=True)
    class FocalConfig(LossConfig):
        \"\"\"Multi-label focal loss.\"\"\"

        gamma: Annotated[float, Range(ge=0)] = 2.0
        \"\"\"Focusing exponent; 0 gives binary cross-entropy (Lin et al. 2017, eq. 5).\"\"\"

The annotation carries type and range, the string under the field explains it. Both are read at run
time (to validate) and from the source (to list, see :mod:`photic.core.index`).
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union

from photic.core.catalogue import catalogue_of
from photic.core.errors import ConfigError, nearest

C = TypeVar("C", bound="Config")


@dataclass(frozen=True)
class Range:
    """Allowed values of a number (or of every item of a sequence of numbers)."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def contains(self, value: float) -> bool:
        """Say whether ``value`` is finite and inside the range."""
        if not math.isfinite(value):
            return False
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        parts = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in parts if bound is not None)


@dataclass(frozen=True)
class Registered:
    """Marks a field whose value is a config of the named registry, chosen by its ``name`` key."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base class of every configuration: immutable, keyword-only, checked when it is made.

    Raises:
        ConfigError: a field has the wrong type or lies outside its range.
    """

    registry_kind: ClassVar[str | None] = None
    registry_name: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        where = self.registry_name or type(self).__name__
        for name, hint in field_types(type(self)).items():
            value = coerce(getattr(self, name), hint, f"{where}.{name}")
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dicts, lists and scalars; a registered config carries its ``name`` first."""
        plain: dict[str, Any] = {"name": self.registry_name} if self.registry_name else {}
        plain.update((name, _plain(getattr(self, name))) for name in field_types(type(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: str = "config") -> Self:
        """Build a config from plain values.

        Args:
            values: field name to value; nested configs as nested mappings.
            path: how the place is called in error messages.

        Raises:
            ConfigError: unknown or missing field, wrong type, value out of range; the message names the path.
        """
        return from_dict(cls, values, path)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; everything is checked again."""
        return dataclasses.replace(self, **changes)


def field_types(cls: type[Config]) -> dict[str, Any]:
    """Return the resolved annotation of every field, ``Annotated`` metadata included."""
    return _field_types(typing.cast(Any, cls))


@cache
def _field_types(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def from_dict(cls: type[C], values: Mapping[str, Any], path: str = "config") -> C:
    """See :meth:`Config.from_dict`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected the fields of {cls.__name__}, got {_shown(values)}")
    hints = field_types(cls)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key == "name" and cls.registry_name is not None and "name" not in hints:
            continue
        if key not in hints:
            known = ", ".join(hints) or "none"
            raise ConfigError(f"{path}: unknown field '{key}'{nearest(str(key), hints)} (fields: {known})")
        arguments[key] = coerce(value, hints[key], f"{path}.{key}")
    required = [f.name for f in dataclasses.fields(cls) if f.init and _is_required(f) and f.name not in arguments]
    if required:
        setting = f"{path}.{required[0]}".removeprefix("config.")
        raise ConfigError(f"{path}: missing field '{required[0]}'; set {setting}=...")
    try:
        return cls(**arguments)
    except ConfigError as error:
        own = cls.registry_name or cls.__name__
        raise ConfigError(f"{path}{str(error).removeprefix(own)}" if str(error).startswith(own) else f"{path}: {error}") from None


def coerce(value: Any, hint: Any, path: str) -> Any:
    """Check ``value`` against a type annotation and return it in the annotated type.

    The only conversions are the harmless ones: int to float, list to tuple, text to Path, mapping to config.

    >>> coerce([3, 4], tuple[int, ...], "model.cbam_stages")
    (3, 4)
    """
    limits: Range | None = None
    registered: Registered | None = None
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        limits = next((extra for extra in extras if isinstance(extra, Range)), None)
        registered = next((extra for extra in extras if isinstance(extra, Registered)), None)
    result = _convert(value, hint, path, registered)
    if limits is not None:
        items = result if isinstance(result, tuple | list) else result.values() if isinstance(result, dict) else (result,)
        for item in items:
            if isinstance(item, int | float) and not isinstance(item, bool) and not limits.contains(item):
                raise ConfigError(f"{path}: expected a value {limits}, got {item!r}")
    return result


def _convert(value: Any, hint: Any, path: str, registered: Registered | None) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, hint, path, registered)
    if origin is Annotated:
        return coerce(value, hint, path)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        choices = ", ".join(repr(choice) for choice in arguments)
        hinted = nearest(value, [c for c in arguments if isinstance(c, str)]) if isinstance(value, str) else ""
        raise ConfigError(f"{path}: expected one of {choices}, got {_shown(value)}{hinted}")
    if origin in (tuple, list):
        return _convert_sequence(value, hint, path, registered)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}: expected named values such as {{a: ...}}, got {_shown(value)}")
        return {key: _dict_item(key, item, arguments[1], f"{path}.{key}", registered) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Config):
        return _convert_config(value, hint, path, registered)
    return _convert_scalar(value, hint, path)


def _convert_union(value: Any, hint: Any, path: str, registered: Registered | None) -> Any:
    members = typing.get_args(hint)
    if value is None and type(None) in members:
        return None
    problems = []
    # An exact type wins over a convertible one: 1 stays an int in `int | float`, 'x' a str in `Path | str`.
    for member in members:
        if isinstance(member, type) and type(value) is member:
            return value
    for member in members:
        if member is type(None):
            continue
        try:
            return coerce(value, Annotated[member, registered] if registered else member, path)
        except ConfigError as error:
            problems.append(str(error))
    if len(problems) == 1:
        raise ConfigError(problems[0])
    out_of_range = [text for text in problems if "expected a value" in text or "unknown field" in text]
    if out_of_range:
        raise ConfigError(out_of_range[0])
    raise ConfigError(f"{path}: expected {type_name(hint)}, got {_shown(value)}")


def _convert_sequence(value: Any, hint: Any, path: str, registered: Registered | None) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: expected {type_name(hint)} such as [a, b], got {_shown(value)}")
    if origin is list or arguments[-1] is Ellipsis:
        items = [_nested(item, arguments[0], f"{path}[{i}]", registered) for i, item in enumerate(value)]
    else:
        if len(value) != len(arguments):
            raise ConfigError(f"{path}: expected {len(arguments)} values, got {len(value)}: {_shown(value)}")
        items = [_nested(item, kind, f"{path}[{i}]", registered) for i, (item, kind) in enumerate(zip(value, arguments, strict=True))]
    return items if origin is list else tuple(items)


def _nested(value: Any, hint: Any, path: str, registered: Registered | None) -> Any:
    return coerce(value, Annotated[hint, registered] if registered else hint, path)


def _dict_item(key: str, value: Any, hint: Any, path: str, registered: Registered | None) -> Any:
    if registered is not None:
        if value is False:  # `false` switches a named component off, like `null`
            value = None
        elif value is True:  # `true` switches it on with its defaults
            value = {"name": key}
        elif isinstance(value, Mapping) and "name" not in value:
            value = {"name": key, **value}
    return _nested(value, hint, path, registered)


def _convert_config(value: Any, base: type[Config], path: str, registered: Registered | None) -> Config:
    if isinstance(value, base):
        return value
    if registered is None:
        return from_dict(base, value, path)
    catalogue = catalogue_of(registered.kind)
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected the name and fields of one of {registered.kind}, got {_shown(value)}")
    if "name" not in value:
        raise ConfigError(f"{path}: missing 'name'; set {path.removeprefix('config.')}.name to one of: {', '.join(catalogue.names())}")
    name = value["name"]
    if not isinstance(name, str):
        raise ConfigError(f"{path}.name: expected a name, got {_shown(name)}")
    config_class = catalogue.config_class(name, path=f"{path}.name")
    if not issubclass(config_class, base):
        raise ConfigError(f"{path}.name: '{name}' is a {config_class.__name__}, expected a {base.__name__}")
    return from_dict(config_class, value, path)


def _convert_scalar(value: Any, hint: Any, path: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is type(None) and value is None:
        return None
    raise ConfigError(f"{path}: expected {type_name(hint)}, got {_shown(value)}")


def type_name(hint: Any) -> str:
    """Name an annotation as a user would say it.

    >>> type_name(tuple[int, ...] | None)
    'a list of int or null'
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(member) for member in arguments)
    if origin in (tuple, list):
        return f"a list of {type_name(arguments[0])}"
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if hint is type(None):
        return "null"
    named = {int: "int", float: "float", bool: "true or false", str: "text", Path: "a path"}
    return named.get(hint) or str(getattr(hint, "__name__", hint))


def _shown(value: Any) -> str:
    text = repr(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return f"{text} ({type(value).__name__})"


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
