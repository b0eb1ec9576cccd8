"""The pages for people: what is served and how to use it, and the description of every address. No script, nothing from a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from photic.inference.serve.options import FILE, FORMAT, expected
from photic.inference.serve.served import Served
from photic.inference.serve.settings import ServeConfig

_USUAL = (".jpg", ".dng", ".npz")
"""Endings for an example, the first that a model takes."""


def home(models: Mapping[str, Served], config: ServeConfig, base: str, *, with_token: bool) -> str:
    """Return the first page: models, a form for each, how to call them.

    Args:
        models: by name.
        config: limits.
        base: scheme and host that the reader used.
        with_token: whether clients need a token.
    """
    shown = []
    for model in models.values():
        fields = _fields(model)
        # A browser sends an input that is left empty, which is no value of anything: only what has one is asked for.
        asked = [field for field in fields if field["choices"] or field["default"]]
        entry = {
            "facts": model.facts,
            "fields": asked,
            "further": [field["name"] for field in fields if field not in asked],
            "command": _command(model, base, with_token),
            "accept": ",".join(model.model.endings),
            "measured": _measured(model.facts["metrics"]),
        }
        shown.append(entry)
    return _environment().get_template("home.html").render(models=shown, config=config, with_token=with_token, file=FILE)


def manual(document: Mapping[str, Any]) -> str:
    """Return the page that shows an OpenAPI description.

    Args:
        document: as :func:`photic.inference.serve.openapi.document` gives it.
    """
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        _environment()
        .get_template("manual.html")
        .render(document=document, operations=operations, schema=_schema_text, fields=_described_fields)
    )


def _fields(model: Served) -> list[dict[str, Any]]:
    made = [_field(name, schema) for name, schema in model.form.fields.items()]
    if model.form.formats:
        made.append(
            _field(FORMAT, {"enum": list(model.form.formats), "description": "Ending of the result; left out, what suits the file."})
        )
    return made


def _field(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    choices = schema.get("enum") or (["true", "false"] if schema.get("type") == "boolean" else [])
    default = schema.get("default")
    return {
        "name": name,
        "choices": [str(choice) for choice in choices],
        "expected": expected(schema),
        "default": "" if default is None else str(default).lower() if isinstance(default, bool) else str(default),
        "description": schema.get("description", ""),
    }


def _described_fields(operation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of an operation's form, for a table."""
    content = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if content is None:
        return []
    schema = content["schema"]
    rows = []
    for name, described in schema["properties"].items():
        kind = "a file" if name == FILE else expected(described)
        rows.append({**_field(name, described), "expected": kind, "needed": name in schema["required"]})
    return rows


def _command(model: Served, base: str, with_token: bool) -> str:
    token = ' -H "Authorization: Bearer $PHOTIC_TOKEN"' if with_token else ""
    result = " -OJ" if model.gives_file else ""
    ending = next((ending for ending in _USUAL if ending in model.model.endings), model.model.endings[0])
    return f"curl{token} -F {FILE}=@NAME{ending}{result} {base}{model.facts['url']}"


def _measured(metrics: Mapping[str, Any] | None) -> str:
    """Return the plain numbers among what was measured on the test split."""
    test = (metrics or {}).get("test") or {}
    return ", ".join(f"{name} {value:.4g}" for name, value in test.items() if isinstance(value, float) and name != "loss")


def _schema_text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("photic.inference.serve"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
