"""``photic list``: catalogues, read from the sources so that nothing heavy is imported."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from photic.cli.parser import Parser, Section, columns, terminal_width
from photic.core.errors import ConfigError, PhoticError, UnknownNameError, nearest
from photic.core.index import Entry, FieldInfo
from photic.core.plugins import installed_plugins
from photic.core.registry import kinds, registry_of
from photic.workflows.recipes import recipe_entries

EXAMPLES = (
    ("photic list models", "all networks"),
    ("photic list models 'convnext*'", "some of them"),
    ("photic list models 'remdinet*' --cost", "parameters and multiply-accumulate operations of each"),
    ("photic list losses focal --schema", "fields, types, ranges and defaults of one"),
    ("photic list augmentations --schema --json", "everything, for machines: JSON Schema of each"),
)
OTHER_KINDS = ("recipes", "plugins")


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "list", "Show what there is, and the options of each.", EXAMPLES, _sections, usage="KIND [PATTERN] [--schema] [--cost] [--json]"
    )
    made.add_argument("kind", metavar="KIND", nargs="?", help=", ".join([*kinds(), *OTHER_KINDS]))
    made.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="a name, or a pattern with * and ?")
    made.add_argument("--schema", action="store_true", help="show the fields of each")
    made.add_argument("--cost", action="store_true", help="models: parameters and GMAC of each, with its defaults, for a standard input")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    made = parser()
    options = made.parse_args(arguments)
    if options.kind is None:
        print(made.format_help(), end="")
        return 0
    if options.cost and options.kind != "models":
        raise ConfigError(f"--cost: {options.kind} have none; `photic list models --cost` shows that of networks")
    if options.cost and options.schema and not options.json:
        raise ConfigError("--cost and --schema make two tables; ask for one, or for --json")
    if options.kind in OTHER_KINDS:
        if options.schema:
            raise ConfigError(f"--schema: {options.kind} have no fields; `photic train recipe=NAME --cfg job` prints a recipe's settings")
        rows = _recipes() if options.kind == "recipes" else _plugins()
        rows = [row for row in rows if fnmatch.fnmatchcase(row["name"], options.pattern)]
        _require(rows, options.kind, options.pattern, [row["name"] for row in (_recipes() if options.kind == "recipes" else _plugins())])
        print(json.dumps(rows, indent=2, ensure_ascii=False) if options.json else "\n".join(_table(rows)))
        return 0
    if options.kind not in kinds():
        known = [*kinds(), *OTHER_KINDS]
        raise UnknownNameError(f"unknown kind '{options.kind}'{nearest(options.kind, known)} (kinds: {', '.join(known)})")
    entries = _entries(options.kind, options.pattern)
    costs = [_cost(entry.name) for entry in entries] if options.cost else []
    if options.json:
        rows = [as_json(entry, fields=options.schema) for entry in entries]
        if costs:
            rows = [{**row, "cost": cost} for row, cost in zip(rows, costs, strict=True)]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif options.cost:
        print("\n".join(_cost_table([entry.name for entry in entries], costs)))
    elif options.schema:
        print("\n\n".join("\n".join(_schema(entry)) for entry in entries))
    else:
        print("\n".join(_table([as_json(entry, fields=False) for entry in entries])))
    return 0


def as_json(entry: Entry, *, fields: bool) -> dict[str, Any]:
    """Return a catalogue entry as JSON values; with its fields as index rows and as JSON Schema if asked."""
    plain: dict[str, Any] = {
        "kind": entry.kind,
        "name": entry.name,
        "aliases": list(entry.aliases),
        "summary": entry.summary,
        "module": entry.module,
        "class": entry.qualname,
        "source": entry.source,
    }
    if fields:
        from photic.cli.forms import json_schema

        found = entry.fields()
        plain["fields"] = [{**dataclasses.asdict(field), "default": _jsonable(field.default)} for field in found]
        plain["schema"] = {"title": entry.name, "description": entry.summary, **json_schema(found)}
    return plain


def _cost(name: str) -> dict[str, Any]:
    """Return what a network costs as JSON values; the reason instead where it cannot be said. Imports torch."""
    from photic.models.cost import standard_cost

    try:
        cost, shape = standard_cost(name)
    except PhoticError as error:
        return {"reason": str(error)}
    return {"num_parameters": cost.num_parameters, "num_macs": cost.num_macs, "input": list(shape)}


def _cost_table(names: Sequence[str], costs: Sequence[dict[str, Any]]) -> list[str]:
    rows = [("network", "parameters", "GMAC", "input")]
    for name, cost in zip(names, costs, strict=True):
        if "reason" in cost:
            rows.append((name, "-", "-", cost["reason"]))
        else:
            rows.append((name, f"{cost['num_parameters']:,}", f"{cost['num_macs'] / 1e9:.3f}", " x ".join(map(str, cost["input"]))))
    wide = [max(len(row[column]) for row in rows) for column in (1, 2)]
    rows = [(name, number.rjust(wide[0]), macs.rjust(wide[1]), given) for name, number, macs, given in rows]
    note = (
        "With default settings (4 classes, 1 diffraction pattern) and one input, batch x channels x height x width. GMAC: billions of "
        "multiply-accumulate operations of convolutions, linear layers and attention, half the count of floating-point operations."
    )
    return [*columns(rows), "", *textwrap.wrap(note, terminal_width())]


def _entries(kind: str, pattern: str) -> list[Entry]:
    registry = registry_of(kind)
    every = registry.entries()
    found = [entry for entry in every if any(fnmatch.fnmatchcase(name, pattern) for name in (entry.name, *entry.aliases))]
    _require(found, kind, pattern, [entry.name for entry in every])
    return found


def _require(found: Sequence[Any], kind: str, pattern: str, known: Sequence[str]) -> None:
    if not found and (known or pattern != "*"):  # that there is nothing at all is an answer
        raise UnknownNameError(
            f"no {kind} match '{pattern}'{nearest(pattern, known)} (`photic list {kind}` shows all: {', '.join(known) or 'none'})"
        )


def _recipes() -> list[dict[str, Any]]:
    return [{"name": entry.name, "summary": entry.summary, "module": entry.plugin, "file": str(entry.file)} for entry in recipe_entries()]


def _plugins() -> list[dict[str, Any]]:
    return [
        {
            "name": plugin.name,
            "summary": plugin.summary,
            "module": plugin.package,
            "recipes": sorted(plugin.recipe_files()),
            "demo": plugin.demo is not None,
            "data_commands": sorted(plugin.data_commands),
            "commands": sorted(plugin.commands),
        }
        for plugin in installed_plugins().values()
    ]


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = [(_with_aliases(row), row["summary"], row["module"]) for row in rows]
    return columns(cells, wrapped=1) if cells else ["none"]


def _with_aliases(row: dict[str, Any]) -> str:
    return f"{row['name']} ({', '.join(row['aliases'])})" if row.get("aliases") else str(row["name"])


def _schema(entry: Entry) -> list[str]:
    head = [entry.name + (f" (also: {', '.join(entry.aliases)})" if entry.aliases else "")]
    head += textwrap.wrap(entry.summary, terminal_width(), initial_indent="  ", subsequent_indent="  ")
    facts = [("class", f"{entry.module}.{entry.qualname}"), ("source", entry.source)]
    for name, text in facts:
        if text:
            head += textwrap.wrap(f"{name}: {text}", terminal_width(), initial_indent="  ", subsequent_indent="    ")
    fields = entry.fields()
    if not fields:
        return [*head, "", "  no fields"]
    aligned = columns([("field", "type", "range", "default"), *(_row(field) for field in fields)])
    lines = [*head, "", f"  {aligned[0]}"]
    for field, row in zip(fields, aligned[1:], strict=True):
        lines.append(f"  {row}")
        lines += textwrap.wrap(field.doc, terminal_width(), initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines


def _row(field: FieldInfo) -> tuple[str, str, str, str]:
    default = "required" if field.required else json.dumps(_jsonable(field.default), ensure_ascii=False)
    return field.name, _type_text(field.type), field.range or "-", default


def _type_text(annotation: str) -> str:
    """Write an annotation as a user of YAML would read it: null for None, choices without ``Literal``."""
    import re

    text = re.sub(r"Literal\[([^\]]*)\]", lambda match: match.group(1).replace(", ", " | "), annotation)
    text = re.sub(r"tuple\[(.*), \.\.\.\]", r"list of (\1)", text)
    return re.sub(r"\bNone\b", "null", re.sub(r"\bstr\b", "text", re.sub(r"\bPath\b", "path", text)))


def _jsonable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _sections() -> list[Section]:
    rows = [(kind, f"{len(registry_of(kind).entries())}") for kind in kinds()]
    rows += [("recipes", f"{len(recipe_entries())}"), ("plugins", f"{len(installed_plugins())}")]
    return [("kinds, and how many there are", "\n".join(columns(rows)))]
