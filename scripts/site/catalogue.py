"""Pages of what is registered: networks, losses, data sets, ... with their fields, and the recipes."""

from __future__ import annotations

import json
import re

from photic.core.catalogue import catalogue_of, kinds
from photic.core.index import Entry, FieldInfo
from photic.workflows.recipes import recipe_entries

_ROLE = re.compile(r":[a-z:]+:`~?([^`]+)`")


def pages() -> dict[str, str]:
    """Return a page for each kind, one of the recipes, and a page of all kinds, by file name."""
    made = {f"{kind}.md": _page(kind, catalogue_of(kind).entries()) for kind in kinds()}
    made["recipes.md"] = _recipes()
    rows = [f"| [{kind}]({kind}.md) | {len(catalogue_of(kind).entries())} | `photic list {kind}` |" for kind in kinds()]
    rows.append(f"| [recipes](recipes.md) | {len(recipe_entries())} | `photic list recipes` |")
    head = "Everything that goes by a name in a configuration, with its options. `photic list KIND NAME --schema` prints the same."
    made["index.md"] = f"# Components\n\n{head}\n\n" + "| kind | how many | command |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    return made


def _page(kind: str, entries: list[Entry]) -> str:
    parts = [f"# {kind.capitalize()}"]
    for entry in entries:
        parts.append(f"## {entry.name}")
        also = f" Also called {', '.join(f'`{name}`' for name in entry.aliases)}." if entry.aliases else ""
        parts.append(f"{_text(entry.summary)}{also}")
        parts.append(f"`{entry.module}.{entry.qualname}`" + (f" · Source: {_text(entry.source)}" if entry.source else ""))
        fields = entry.fields()
        parts.append("\n".join(line for field in fields for line in _field(field)) if fields else "No fields.")
    return "\n\n".join(parts) + "\n"


def _field(field: FieldInfo) -> list[str]:
    default = "required" if field.required else f"default `{json.dumps(_plain(field.default), ensure_ascii=False)}`"
    facts = [f"`{_type(field.type)}`", *([field.range.replace("<", "&lt;")] if field.range else []), default]
    return [f"`{field.name}` <span class='facts'>{' · '.join(facts)}</span>", f":   {_text(field.doc) or '—'}", ""]


def _recipes() -> str:
    parts = ["# Recipes", "`photic train recipe=NAME` starts with these settings; `--cfg job` behind it prints all of them."]
    for entry in recipe_entries():
        text = entry.file.read_text(encoding="utf-8").rstrip()
        parts += [f"## {entry.name}", _text(entry.summary), f"```yaml\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def _type(annotation: str) -> str:
    """Write an annotation as a user of YAML would read it."""
    text = re.sub(r"Literal\[([^\]]*)\]", lambda match: match.group(1).replace(", ", " | "), annotation)
    return re.sub(r"\bNone\b", "null", text)


def _text(doc: str) -> str:
    """Return a docstring's text as Markdown."""
    return _ROLE.sub(r"`\1`", doc).replace("``", "`").replace("<", "&lt;")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
