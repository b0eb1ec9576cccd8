"""Options of a model as fields of a form: their JSON Schema, and their values from texts."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from photic.core.errors import ConfigError, nearest
from photic.core.schema import Config, Range, field_types
from photic.inference.file_model import FileModel, FileOptions
from photic.inference.serve.naming import shown
from photic.inference.serve.problems import Problem

FILE = "file"
"""The field with the upload."""
FORMAT = "format"
"""The field that chooses the ending of the result."""
_KEPT = ("tile_px", "batch_size")
"""Options about the memory of the machine that computes, not about the result: no business of clients."""
_TRUTH = {"true": True, "false": False}
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


class _NoValueError(Exception):
    """A text that means no value of a type."""


@dataclass(frozen=True)
class Form:
    """Which options a model takes from clients."""

    options_type: type[FileOptions]
    fields: Mapping[str, Mapping[str, Any]]
    """JSON Schema of each option by name; a value of null is one that is left out."""
    formats: tuple[str, ...]
    """Endings that a result may have, without their dots; empty where there is no choice."""

    def options(self, texts: Mapping[str, Sequence[str]]) -> FileOptions:
        """Return the options that the texts of a form mean.

        Args:
            texts: what was sent for each field, without the file.

        Raises:
            Problem: an unknown field, one that came twice, or a value that it cannot have.
        """
        known = [FILE, *self.fields, *([FORMAT] if self.formats else [])]
        hints, values = field_types(self.options_type), {}
        for name, given in texts.items():
            if name not in known:
                raise _refused(f"unknown field {shown(name)}{nearest(name, known)} (fields: {', '.join(known)})")
            if name == FILE:
                raise _refused(f"field '{FILE}': expected a file, got text; with curl: -F {FILE}=@NAME")
            text = _only(name, given)
            if name in self.fields:
                try:
                    values[name] = _value(text, hints[name])
                except _NoValueError:
                    raise _refused(f"field '{name}': expected {expected(self.fields[name])}, got {shown(text)}") from None
        try:
            return self.options_type.from_dict(values, "field ")
        except ConfigError as error:
            raise _refused(re.sub(r"^field \.(\w+)", r"field '\1'", str(error))) from error

    def format(self, texts: Mapping[str, Sequence[str]]) -> str | None:
        """Return the ending, with its dot, that the result shall have; None where that is left to the model.

        Raises:
            Problem: it cannot be written.
        """
        if FORMAT not in texts:
            return None
        text = _only(FORMAT, texts[FORMAT])
        if text not in self.formats:
            raise _refused(f"field '{FORMAT}': expected one of {', '.join(self.formats)}, got {shown(text)}")
        return f".{text}"


def form_of(model: FileModel, name: str) -> Form:
    """Return the form of a model.

    Args:
        model: the model.
        name: what it is called, for messages.

    Raises:
        ConfigError: an option has a name that the form needs, or has no default and a type that no text can mean.
    """
    kind = model.options_type
    docs, fields = field_docs(kind), {}
    for field in dataclasses.fields(kind):
        if field.name in (FILE, FORMAT):
            raise ConfigError(f"{name}: its option '{field.name}' has the name of a field that every form has; rename the option")
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        # Of a path nothing is offered: strangers could read files of this machine.
        schema = None if field.name in _KEPT else _schema(field_types(kind)[field.name])
        if schema is not None:
            default = {} if needed or field.default in (None, dataclasses.MISSING) else {"default": field.default}
            fields[field.name] = {**schema, **default, "description": docs.get(field.name, "")}
        elif needed:
            raise ConfigError(f"{name}: its option '{field.name}' has no default and cannot be sent in a form; it cannot be served")
    return Form(kind, fields, tuple(ending.removeprefix(".") for ending in model.writable))


def field_docs(kind: type[Config]) -> dict[str, str]:
    """Return what stands under each field of a config class and its bases, on one line each."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if not issubclass(one, Config) or one is Config:
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(node, ast.ClassDef), "the source of a class is one"
        for statement, following in zip(node.body, node.body[1:], strict=False):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def expected(schema: Mapping[str, Any]) -> str:
    """Name what a field takes, for people.

    >>> expected({"type": "number", "minimum": 0, "maximum": 2})
    'a number, at least 0, at most 2'
    """
    if "anyOf" in schema:
        return " or ".join(expected(part) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    names = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    named = schema.get("title", names[schema["type"]])
    return ", ".join([named, *(f"{word} {schema[key]:g}" for key, word in words.items() if key in schema)])


def _refused(message: str) -> Problem:
    return Problem(422, "bad_field", message)


def _only(name: str, texts: Sequence[str]) -> str:
    if len(texts) != 1:
        raise _refused(f"field '{name}': came {len(texts)} times, expected once")
    return texts[0]


# --- types as schemas, and values of them ---


def _members(hint: Any) -> Iterator[Any]:
    """Yield the alternatives of a type but null, ranges put onto each."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        limits = next((extra for extra in arguments[1:] if isinstance(extra, Range)), None)
        yield from (member if limits is None else Annotated[member, limits] for member in _members(arguments[0]))
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from _members(member)
    elif hint is not type(None):
        yield hint


def _taken_apart(member: Any) -> tuple[Any, Range | None]:
    if typing.get_origin(member) is Annotated:
        inside, limits = typing.get_args(member)
        return inside, limits
    return member, None


def _schema(hint: Any) -> dict[str, Any] | None:
    """Return the JSON Schema of a type's texts; None where no text can mean a value of it."""
    parts = [_schema_of(*_taken_apart(member)) for member in _members(hint)]
    usable = [part for part in parts if part is not None]
    if not usable or len(usable) < len(parts):
        return None
    return usable[0] if len(usable) == 1 else {"anyOf": usable}


def _schema_of(kind: Any, limits: Range | None) -> dict[str, Any] | None:
    if typing.get_origin(kind) is Literal:
        return {"enum": list(typing.get_args(kind))}
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if not all(item in (int, float) for item in items):
            return None
        within = f", each {limits}" if limits is not None else ""
        return {
            "type": "string",
            "pattern": f"^{','.join([_NUMBER] * len(items))}$",
            "title": f"{len(items)} numbers with commas between{within}",
        }
    if kind not in _NAMES or kind is Path:
        return None
    schema: dict[str, Any] = {"type": _NAMES[kind]}
    if limits is not None:
        bounds = {"minimum": limits.ge, "exclusiveMinimum": limits.gt, "maximum": limits.le, "exclusiveMaximum": limits.lt}
        schema |= {key: bound for key, bound in bounds.items() if bound is not None}
    return schema


def _value(text: str, hint: Any) -> Any:
    """Return the value of a type that a text means; whether it is in range, the config says."""
    for member in _members(hint):
        kind, _ = _taken_apart(member)
        if typing.get_origin(kind) is Literal:
            found = next((choice for choice in typing.get_args(kind) if str(choice) == text), None)
            if found is not None:
                return found
        elif typing.get_origin(kind) is tuple:
            parts, items = text.split(","), typing.get_args(kind)
            if len(parts) == len(items):
                return tuple(_scalar(part, item) for part, item in zip(parts, items, strict=True))
        else:
            return _scalar(text, kind)
    raise _NoValueError


def _scalar(text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is bool and text in _TRUTH:
        return _TRUTH[text]
    if kind is int and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if kind is float and re.fullmatch(_NUMBER, text) and math.isfinite(float(text)):
        return float(text)
    raise _NoValueError
