"""The catalogue of registered components, read from the sources without executing them.

Listing must not import torch (two seconds), yet configs sit beside their ``nn.Module``. So names,
summaries and fields are read from the syntax tree of the files that register them. A contract test
holds the catalogue against the imported classes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from photic.core.errors import PhoticError
from photic.core.plugins import installed_plugins, package_folder

# Which packages of Photic itself register components of a kind; applications and extensions may register any kind.
PACKAGES = {
    "models": "photic.models",
    "losses": "photic.losses",
    "metrics": "photic.metrics",
    "augmentations": "photic.data",
    "datasets": "photic.data",
    "tasks": "photic.tasks",
    "optimizers": "photic.optim",
    "schedules": "photic.optim",
}
_EMPTY = {"dict": dict, "list": list, "tuple": tuple}
_DECORATOR = re.compile(r"^@(\w+)\.register\(", re.MULTILINE)


@dataclass(frozen=True)
class FieldInfo:
    """One field of a config, as far as the source tells."""

    name: str
    type: str
    range: str
    default: Any
    required: bool
    doc: str


@dataclass(frozen=True)
class Entry:
    """One registered component."""

    kind: str
    name: str
    aliases: tuple[str, ...]
    summary: str
    module: str
    qualname: str
    file: Path
    line: int
    source: str
    """The paper or origin named under ``Source:`` in the docstring; empty if none is."""
    given: tuple[FieldInfo, ...] | None = None
    """The fields of a component that was registered at run time and that the sources do not show."""

    def fields(self) -> list[FieldInfo]:
        """Return the config's fields, inherited ones first, read from the sources."""
        if self.given is not None:
            return list(self.given)
        return list(_class_fields(_find_class(self.file, self.module, self.qualname)).values())


@cache
def entries(kind: str) -> dict[str, Entry]:
    """Return every component of a kind that Photic or an installed plug-in registers, by name.

    Raises:
        PhoticError: two files register the same name.
    """
    packages = [PACKAGES[kind]] if kind in PACKAGES else []
    packages += [plugin.package for plugin in installed_plugins().values()]
    found: dict[str, Entry] = {}
    for package in packages:
        for entry in _scan(package, kind):
            for name in (entry.name, *entry.aliases):
                if name in found and found[name].module != entry.module:
                    raise PhoticError(f"{kind}: '{name}' is registered twice, in {found[name].module} and {entry.module}; rename one")
                found[name] = entry
    return dict(sorted((name, entry) for name, entry in found.items() if name == entry.name)) | {
        name: entry for name, entry in found.items() if name != entry.name
    }


def is_known(kind: str, name: str) -> bool:
    """Say whether Photic or an installed plug-in registers a component of this name; ten times as fast as :func:`entries` where it does."""
    return name in _plain_names(kind) or name in entries(kind)


@cache
def _plain_names(kind: str) -> frozenset[str]:
    """Return the names, without synonyms, that stand behind decorators in the sources, which are not parsed for it."""
    packages = [PACKAGES[kind], *(plugin.package for plugin in installed_plugins().values())]
    pattern = re.compile(rf'^@{kind}\.register\(\s*"([^"]+)"', re.MULTILINE)
    files = [file for package in dict.fromkeys(packages) for file in package_folder(package).rglob("*.py")]
    return frozenset(name for file in files for name in pattern.findall(file.read_text(encoding="utf-8")))


def class_fields(module: str, qualname: str) -> list[FieldInfo]:
    """Return the fields of a config class that a module defines or imports, inherited ones first, read from the sources.

    Raises:
        PhoticError: there is no such module.
    """
    file = _module_file(module)
    if file is None:
        raise PhoticError(f"module '{module}' cannot be found; is it installed in this environment?")
    return list(_class_fields(_find_class(file, module, qualname)).values())


def _scan(package: str, kind: str) -> Iterator[Entry]:
    folder = package_folder(package)
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if any(match.group(1) == kind for match in _DECORATOR.finditer(text)):
            relative = file.relative_to(folder).with_suffix("")
            parts = [part for part in relative.parts if part != "__init__"]
            yield from _registrations(file, ".".join([package, *parts]), kind)


def _registrations(file: Path, module: str, kind: str) -> Iterator[Entry]:
    for node in _parse(file).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Attribute)
                and decorator.func.attr == "register"
                and isinstance(decorator.func.value, ast.Name)
                and decorator.func.value.id == kind
            ):
                keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
                doc = ast.get_docstring(node) or ""
                yield Entry(
                    kind=kind,
                    name=ast.literal_eval(decorator.args[0]),
                    aliases=tuple(keywords.get("aliases", ())),
                    summary=keywords.get("description") or first_line(doc),
                    module=module,
                    qualname=node.name,
                    file=file,
                    line=node.lineno,
                    source=source_of(doc),
                )


def first_line(doc: str) -> str:
    """Return the first line of a docstring."""
    return doc.strip().partition("\n")[0].strip()


def source_of(doc: str) -> str:
    """Return what stands under or behind ``Source:`` in a docstring, on one line."""
    match = re.search(r"^Source:[ \t]*(.*(?:\n[ \t]+\S.*)*)", doc, re.MULTILINE)
    return " ".join(match.group(1).split()) if match else ""


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


@dataclass(frozen=True)
class _Class:
    """A class in the sources."""

    file: Path
    module: str
    node: ast.ClassDef

    def bases(self) -> list[_Class]:
        """Return the base classes whose sources are known, in the order written."""
        found = (_find_class(self.file, self.module, base.id) for base in self.node.bases if isinstance(base, ast.Name))
        return [base for base in found if base is not None]

    def lineage(self) -> Iterator[_Class]:
        """Return the class and everything it derives from, the nearest first."""
        yield self
        for base in self.bases():
            yield from base.lineage()

    def is_config(self) -> bool:
        """Say whether it derives from ``Config``; what does not is a plain class, whose config is made from its signature."""
        return any((one.module, one.node.name) == ("photic.core.schema", "Config") for one in self.lineage())


@cache
def _find_class(file: Path, module: str, name: str) -> _Class | None:
    """Return the class that a module defines or imports under a name."""
    for node in _parse(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _Class(file, module, node)
        if isinstance(node, ast.ImportFrom) and node.module:
            original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
            target = _module_file(node.module) if original is not None else None
            if original is not None:
                return _find_class(target, node.module, original) if target is not None else None
    return None


@cache
def _class_fields(found: _Class | None) -> dict[str, FieldInfo]:
    if found is None:
        return {}
    if not found.is_config():
        return _signature_fields(found)
    fields: dict[str, FieldInfo] = {}
    for base in reversed(found.bases()):
        fields.update(_class_fields(base))
    body = found.node.body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(statement.annotation, ast.Subscript) and _name(statement.annotation.value) == "ClassVar":
            continue
        doc = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant) and isinstance(following.value.value, str):
            doc = " ".join(following.value.value.split())
        name = statement.target.id
        fields[name] = _field(name, statement.annotation, statement.value, doc)
    return fields


def _signature_fields(found: _Class) -> dict[str, FieldInfo]:
    """Return the fields of the config that a registry makes for a plain class: those of the kind's base, and its own arguments."""
    fields: dict[str, FieldInfo] = {}
    for one in found.lineage():
        base = next((s.value for s in one.node.body if isinstance(s, ast.AnnAssign) and _name(s.target) == "config_base"), None)
        if isinstance(base, ast.Name):
            fields.update(_class_fields(_find_class(one.file, one.module, base.id)))
            break
    for one in found.lineage():
        init = next((s for s in one.node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
        if init is None:
            continue
        documented = _documented_arguments(f"{ast.get_docstring(one.node) or ''}\n{ast.get_docstring(init) or ''}")
        positional = [*init.args.posonlyargs, *init.args.args][1:]
        given = [*[None] * (len(positional) - len(init.args.defaults)), *init.args.defaults]
        for argument, default in [*zip(positional, given, strict=True), *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]:
            annotation = argument.annotation or ast.Name("Any")
            if argument.arg not in fields:
                fields[argument.arg] = _field(argument.arg, annotation, default, documented.get(argument.arg, ""))
        break
    return fields


def _documented_arguments(doc: str) -> dict[str, str]:
    """Return what stands under ``Args:`` in a docstring, by argument."""
    section = re.search(r"^Args:\n((?:[ \t]+\S.*\n?|[ \t]*\n)*)", doc, re.MULTILINE)
    found = re.findall(r"^    (\w+)[^:\n]*:((?:.*)(?:\n {6,}\S.*)*)", section.group(1), re.MULTILINE) if section else []
    return {name: " ".join(text.split()) for name, text in found}


def _module_file(module: str) -> Path | None:
    parent, _, leaf = module.rpartition(".")
    try:
        folder = package_folder(parent or leaf)
    except PhoticError:  # a class from outside (not a package): it brings no config fields
        return None
    candidates = (folder / f"{leaf}.py", folder / leaf / "__init__.py") if parent else (folder / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)


def _field(name: str, annotation: ast.expr, default: ast.expr | None, doc: str) -> FieldInfo:
    limits = ""
    if isinstance(annotation, ast.Subscript) and _name(annotation.value) == "Annotated" and isinstance(annotation.slice, ast.Tuple):
        annotation, *extras = annotation.slice.elts
        limits = " and ".join(text for text in map(_limits, extras) if text)
    return FieldInfo(name, ast.unparse(annotation), limits, _default(default), default is None, doc)


def _limits(extra: ast.expr) -> str:
    if not isinstance(extra, ast.Call):
        return ""
    if _name(extra.func) == "Registered":
        return f"one of {ast.literal_eval(extra.args[0])}"
    if _name(extra.func) != "Range":
        return ""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return " and ".join(f"{signs[k.arg]} {ast.literal_eval(k.value):g}" for k in extra.keywords if k.arg in signs)


def _default(value: ast.expr | None) -> Any:
    """Return a default as a plain value where the source tells it, else as source text."""
    if value is None:
        return None
    if isinstance(value, ast.Call) and _name(value.func) == "Path" and len(value.args) == 1:
        return _default(value.args[0])
    if isinstance(value, ast.Call) and _name(value.func) == "field":
        factory = next((k.value for k in value.keywords if k.arg == "default_factory"), None)
        if isinstance(factory, ast.Lambda):
            return _default(factory.body)
        if factory is not None and _name(factory) in _EMPTY:
            return _EMPTY[_name(factory)]()
        value = factory or value
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
