"""Docstrings as the site's Markdown: ``:func:`name``` becomes a link, where the site has a place for it; examples become code."""

from __future__ import annotations

import re
from typing import Any

from griffe import AliasResolutionError, Extension, NameResolutionError, Object

_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *\n).+)*", re.MULTILINE)
_ROLE = re.compile(r":(?:mod|func|class|meth|attr|data|exc|obj):`~?([\w.]+)`")


class Roles(Extension):
    """Turns roles into references that may be missing."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = _ROLE.sub(lambda match: _reference(obj, match.group(1)), obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(_as_code, text)


def _as_code(match: re.Match[str]) -> str:
    """Return an example as the fence that Markdown wants."""
    indent = match["indent"]
    return f"{indent}```pycon\n{match.group(0)}\n{indent}```"


def _reference(obj: Object, name: str) -> str:
    try:
        path = name if name.startswith("photic.") else obj.resolve(name)
    except (NameResolutionError, AliasResolutionError, KeyError):
        path = name
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
