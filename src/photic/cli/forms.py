"""Fields of a config as JSON Schema, complete enough to generate a form from; made from the index, so nothing is imported."""

from __future__ import annotations

import ast
import re
from typing import Any

from photic.core.index import FieldInfo, entries

_SCALARS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "Path": {"type": "string", "format": "path"},
    "None": {"type": "null"},
    "Any": {},
}
_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


def json_schema(fields: list[FieldInfo]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a config's fields.

    A field that holds components carries ``x-registry`` with their kind; its choices are what
    ``photic list KIND --json`` prints.
    """
    return {
        "type": "object",
        "properties": {field.name: _field(field) for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _field(field: FieldInfo) -> dict[str, Any]:
    schema = _type(ast.parse(field.type, mode="eval").body)
    if field.range.startswith("one of "):
        schema = {"type": "object", "x-registry": field.range.removeprefix("one of "), "x-type": field.type}
    else:
        _limit(schema, {_BOUNDS[sign]: float(bound) for sign, bound in re.findall(r"([<>]=?) (\S+)", field.range)})
    if not field.required and isinstance(field.default, str) and "x-registry" in schema:
        component = _component(field.default, schema["x-registry"])
        if component is not None:
            schema["default"] = component
    elif not field.required:
        schema["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    schema["description"] = field.doc
    return schema


def _component(text: str, kind: str) -> dict[str, Any] | None:
    """Return a default such as ``HyperpriorConfig(measurement='rgb')`` as its values by field, the name first; None if it is no component.

    >>> _component("StandardConfig", "models")
    {'name': 'standard'}
    """
    node = ast.parse(text, mode="eval").body
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    made = ast.unparse(call.func)
    entry = next((entry for entry in entries(kind).values() if entry.qualname == made), None)
    return None if entry is None else {"name": entry.name, **{str(k.arg): ast.literal_eval(k.value) for k in call.keywords}}


def _type(node: ast.expr) -> dict[str, Any]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return {"anyOf": _alternatives(node)}
    if isinstance(node, ast.Subscript):
        return _generic(ast.unparse(node.value), node.slice)
    name = ast.unparse(node)
    return dict(_SCALARS.get(name, {"type": "object", "x-type": name}))


def _alternatives(node: ast.expr) -> list[dict[str, Any]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _alternatives(node.left) + _alternatives(node.right)
    return [_type(node)]


def _generic(name: str, inside: ast.expr) -> dict[str, Any]:
    items = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
    if name == "Literal":
        return {"enum": [ast.literal_eval(item) for item in items]}
    if name == "Annotated":
        return _type(items[0])
    if name == "dict":
        return {"type": "object", "additionalProperties": _type(items[1])}
    if name == "list" or (name == "tuple" and isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis):
        return {"type": "array", "items": _type(items[0])}
    if name == "tuple":
        return {"type": "array", "prefixItems": [_type(item) for item in items], "minItems": len(items), "maxItems": len(items)}
    return {"type": "object", "x-type": name}


def _limit(schema: dict[str, Any], bounds: dict[str, float]) -> None:
    """Put bounds on every number in a schema, as the range of a field holds for its items too."""
    if not bounds:
        return
    if schema.get("type") in ("integer", "number"):
        schema.update(bounds)
    for part in [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), schema.get("items"), schema.get("additionalProperties")]:
        if isinstance(part, dict):
            _limit(part, bounds)
