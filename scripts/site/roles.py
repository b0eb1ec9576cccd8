"""Docstrings say ``:func:`name``` where they speak of something: in the site that is a link, where the site has a place for it."""

from __future__ import annotations

import re
from typing import Any

from griffe import AliasResolutionError, Extension, NameResolutionError, Object

_ROLE = re.compile(r":(?:mod|func|class|meth|attr|data|exc|obj):`~?([\w.]+)`")


class Roles(Extension):
    """Turns roles into references that may be missing."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(lambda match: _reference(obj, match.group(1)), obj.docstring.value)


def _reference(obj: Object, name: str) -> str:
    try:
        path = name if name.startswith("photic.") else obj.resolve(name)
    except (NameResolutionError, AliasResolutionError, KeyError):
        path = name
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
