"""Pages of the Python interface: which names stand on which; mkdocstrings writes them out from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent.parent / "src"
PACKAGES = {
    "core": "Configurations, registries, plug-ins, checkpoints, errors.",
    "functional": "Pure functions on arrays and tensors: no state, no files.",
    "physics": "Forward operators: what an object or a scene measures.",
    "models": "Networks. Every configuration of a network is also in the [catalogue](../catalogue/models.md).",
    "losses": "Losses ([catalogue](../catalogue/losses.md)).",
    "metrics": "Metrics ([catalogue](../catalogue/metrics.md)), intervals, comparisons.",
    "data": "Samples, splits, augmentation, pictures and photographs.",
    "tasks": "Network, loss and metrics around one deployable graph.",
    "optim": "Optimizers, schedules, averaged weights.",
    "inference": "Loading what was trained, predicting, bundles.",
    "workflows": "Train, resume, evaluate, predict, compare: configuration in, result out.",
}
"""Packages that users touch, each a page."""
APPLICATIONS = {
    "photic.apps.lowlight": "Low-light photographs",
    "photic.apps.ptycho": "Ptychography",
    "photic.apps.rawnind": "Raw photographs",
}
"""Packages whose exported names are a page."""
_FROM_REGISTRIES = """\
## Components by name

`photic.list_models()`, `photic.list_losses()`, ... return the names of a kind; `photic.create_model(name, **fields)`,
`photic.create_loss(name, **fields)`, ... build one. Kinds are models, losses, metrics, augmentations, datasets, tasks, optimizers and
schedules; the [catalogue](../catalogue/index.md) shows what there is.
"""


def pages() -> dict[str, str]:
    """Return a page for each package, by file name; the index is ``import photic``."""
    made = {"index.md": f"# import photic\n\n{_exported('photic')}\n\n{_FROM_REGISTRIES}"}
    for package, text in PACKAGES.items():
        modules = "\n\n".join(f"::: {module}" for module in _modules(package))
        made[f"{package}.md"] = f"# photic.{package}\n\n{text}\n\n{modules}\n"
    for package, title in APPLICATIONS.items():
        name = package.rpartition(".")[2]
        made[f"apps_{name}.md"] = f"# {package}\n\n{title}: what `from {package} import ...` offers.\n\n{_exported(package)}\n"
    return made


def _modules(package: str) -> list[str]:
    folder = SOURCES / "photic" / package
    return [
        ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        for path in sorted(folder.rglob("*.py"))
        if not path.name.startswith("_") and "__pycache__" not in path.parts
    ]


def _exported(package: str) -> str:
    """Return what a package exports, by its imports for type checkers: links to what stands on other pages, then the rest, written out."""
    tree = ast.parse((SOURCES.joinpath(*package.split(".")) / "__init__.py").read_text(encoding="utf-8"))
    homes = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module not in ("photic", "photic.core")
        for alias in node.names
    }
    elsewhere = {name: home for name, home in sorted(homes.items()) if home.split(".")[1] in PACKAGES}
    rows = [f"| [`{package}.{name}`][{home}] | {_summary(home)} |" for name, home in elsewhere.items()]
    table = ["\n".join(["| name | what |", "|---|---|", *rows])] if rows else []
    return "\n\n".join([*table, *(f"::: {home}" for name, home in sorted(homes.items()) if name not in elsewhere)])


def _summary(home: str) -> str:
    """Return the first line of the docstring of a function or class."""
    module, _, name = home.rpartition(".")
    tree = ast.parse((SOURCES.joinpath(*module.split(".")).with_suffix(".py")).read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name)
    return (ast.get_docstring(found) or "").partition("\n")[0].replace("|", "\\|")
