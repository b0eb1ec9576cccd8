"""The OpenAPI description of a server, made of the models it has; nothing is written down twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from photic.inference.serve.naming import media_type
from photic.inference.serve.options import FILE, FORMAT
from photic.inference.serve.served import Served
from photic.inference.serve.settings import ServeConfig

_ERRORS = {
    400: "The request is malformed.",
    401: "The token is missing or wrong.",
    403: "The request comes from a web page of another origin, or names another host.",
    404: "There is no such model.",
    408: "The client was too slow.",
    413: "The request is too large.",
    415: "The request is no form, or its file is of a kind that this model does not take.",
    422: "The file or a field is not usable; the message says why.",
    500: "The server failed; the message has the number under which its log says more.",
    503: "As many requests are under way as may, or the server is stopping; Retry-After says when to come again.",
    504: "There was no answer in time.",
    507: "The server has no room for the file or its result.",
}
_ALWAYS = (400, 403, 408, 413, 500)
_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_MAYBE: dict[str, Any] = {"type": ["string", "null"]}
_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
_MAYBE_OBJECT: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": True}


def document(models: Mapping[str, Served], config: ServeConfig, version: str, *, with_token: bool) -> dict[str, Any]:
    """Return the description, OpenAPI 3.1, as JSON values.

    Args:
        models: by name.
        config: limits, which it mentions.
        version: of Photic.
        with_token: whether clients need a token.
    """
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Photic",
            "version": version,
            "summary": "Trained models: a file in, a file or JSON out",
            "description": f"A request may have {config.max_upload_mb:g} MB and is answered within {config.timeout_s:g} s. "
            'Every error is {"error": {"code", "message"}}. A field that is left out has its default.',
        },
        "paths": {
            **{f"/v1/models/{name}/predict": {"post": _predict(model, with_token)} for name, model in models.items()},
            "/v1/models": {"get": _get("listModels", "List the models", "ModelList", with_token)},
            "/v1/models/{name}": {"get": _describe(models, with_token)},
            "/health/live": {"get": _health("live", "Say that the process answers", (200,))},
            "/health/ready": {"get": _health("ready", "Say whether a prediction would be taken now", (200, 503))},
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "tags": ["server"],
                    "summary": "Numbers for Prometheus",
                    "responses": {"200": {"description": "Text.", "content": {"text/plain": {"schema": _TEXT}}}, **_errors((), with_token)},
                }
            },
        },
        "components": {"schemas": _schemas(models)},
        "tags": [{"name": "models"}, {"name": "server"}],
    }
    if with_token:
        made["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "The server's token."},
            "password": {"type": "http", "scheme": "basic", "description": "Any user, the server's token as the password; for browsers."},
        }
        made["security"] = [{"token": []}, {"password": []}]
        for place in ("/health/live", "/health/ready"):
            made["paths"][place]["get"]["security"] = []
    return made


def _predict(served: Served, with_token: bool) -> dict[str, Any]:
    model, form = served.model, served.form
    fields: dict[str, Any] = {
        FILE: {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": f"One of the {model.what}: {', '.join(model.endings)}",
        },
        **form.fields,
    }
    if form.formats:
        fields[FORMAT] = {"enum": list(form.formats), "description": "Ending of the result; left out, what suits the file."}
    kinds = sorted({media_type(ending) for ending in model.endings})
    body = {"type": "object", "properties": fields, "required": [FILE], "additionalProperties": False}
    return {
        "operationId": f"predict_{served.name}",
        "tags": ["models"],
        "summary": f"{served.facts['title']}: {served.facts['task'].replace('_', ' ')}",
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": body, "encoding": {FILE: {"contentType": ", ".join(kinds)}}}},
        },
        "responses": {"200": _answer(served), **_errors((415, 422, 503, 504, 507), with_token)},
    }


def _answer(served: Served) -> dict[str, Any]:
    if not served.gives_file:
        schema = {"$ref": f"#/components/schemas/{_schema_name(served)}" if _is_classifier(served) else "#/components/schemas/Answer"}
        return {"description": "What was found.", "content": {"application/json": {"schema": schema}}}
    files: dict[str, Any] = {media_type(ending): {"schema": {}} for ending in served.model.writable}
    return {
        "description": "The result. With Accept: application/json, what is known about it instead.",
        "headers": {
            "Content-Disposition": {"description": "The result's name: the upload's, with the result's ending.", "schema": _TEXT},
            "Photic-Values": {"description": "Facts about the result, JSON; left out above 4 KB.", "schema": _TEXT},
            "Photic-Notes": {
                "description": "What one should know about it, a JSON list of sentences; left out above 4 KB.",
                "schema": _TEXT,
            },
        },
        "content": {**files, "application/json": {"schema": {"$ref": "#/components/schemas/FileAnswer"}}},
    }


def _describe(models: Mapping[str, Served], with_token: bool) -> dict[str, Any]:
    described = _get("describeModel", "Say what a model is, takes, gives, and how good it is", "Model", with_token, (404,))
    described["parameters"] = [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": list(models)}, "description": "A model."}
    ]
    return described


def _get(operation: str, summary: str, schema: str, with_token: bool, errors: tuple[int, ...] = ()) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "operationId": operation,
        "tags": ["models"],
        "summary": summary,
        "responses": {"200": {"description": "So it is.", "content": content}, **_errors(errors, with_token)},
    }


def _health(name: str, summary: str, statuses: tuple[int, ...]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}
    said = {200: "Yes.", 503: "Not now."}
    return {
        "operationId": name,
        "tags": ["server"],
        "summary": summary,
        "responses": {
            **{str(status): {"description": said[status], "content": content} for status in statuses},
            **_errors((), with_token=False),
        },
    }


def _errors(further: tuple[int, ...], with_token: bool) -> dict[str, Any]:
    statuses = sorted({*_ALWAYS, *further, *((401,) if with_token else ())})
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(status): {"description": _ERRORS[status], "content": content} for status in statuses}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [name for name in properties if name not in optional]}


def _schemas(models: Mapping[str, Served]) -> dict[str, Any]:
    answer = {"model": _TEXT, "values": _OBJECT, "notes": _TEXTS}
    summary = {
        "name": _TEXT,
        "task": _TEXT,
        "what": {**_TEXT, "description": "What it takes, in the plural."},
        "answer": {"enum": ["file", "values"]},
        "endings": {**_TEXTS, "description": "Endings that files for it may have."},
        "formats": {**_TEXTS, "description": "What the field format may be."},
        "sha256": {**_TEXT, "description": "Of the model's file."},
        "url": {**_TEXT, "description": "Where to post files."},
    }
    model = {
        **summary,
        "title": _TEXT,
        "network": _TEXT,
        "options": {**_OBJECT, "description": "JSON Schema of each option."},
        "max_pixels": {"type": "integer", "description": "Larger pictures are refused."},
        "batched": {"type": "boolean", "description": "Whether small files of concurrent requests are computed together."},
        "classes": _TEXTS,
        "thresholds": {"type": "array", "items": {"type": "number"}},
        "interface": {"description": "What the deployed graph takes and gives; null where the file does not say."},
        "terms": {**_MAYBE, "description": "On which terms the training data may be used."},
        "metrics": _MAYBE_OBJECT,
        "card": {**_MAYBE, "description": "Markdown."},
        "device": _TEXT,
    }
    file = _object({"name": _TEXT, "media_type": _TEXT, "num_bytes": {"type": "integer"}})
    error = _object({"code": _TEXT, "message": _TEXT, "id": {**_TEXT, "description": "Number in the server's log."}}, ("id",))
    return {
        "Error": _object({"error": error}),
        "Answer": _object(answer),
        "FileAnswer": _object({**answer, "file": file}),
        "ModelList": _object({"models": {"type": "array", "items": _object(summary)}}),
        "Model": _object(model),
        "Health": _object({"status": _TEXT, "reason": _TEXT}, ("reason",)),
        **{_schema_name(served): _classification(served) for served in models.values() if _is_classifier(served)},
    }


def _is_classifier(served: Served) -> bool:
    return bool(served.facts["classes"]) and not served.gives_file


def _schema_name(served: Served) -> str:
    return f"Answer_{served.name}"


def _classification(served: Served) -> dict[str, Any]:
    """Return the schema of a classifier's answer, its classes by name."""

    def by_class(schema: dict[str, Any]) -> dict[str, Any]:
        return _object(dict.fromkeys(served.facts["classes"], schema))

    share = {"type": "number", "minimum": 0, "maximum": 1}
    values = {
        "height": {"type": "integer"},
        "width": {"type": "integer"},
        "probabilities": by_class(share),
        "thresholds": by_class(share),
        "decisions": by_class({"type": "boolean"}),
        "maps": {**_MAYBE, "description": "A PNG as a data URI, where it was asked for; null where no class is decided present."},
    }
    return _object({"model": _TEXT, "values": _object(values, ("maps",)), "notes": _TEXTS})
