"""What is registered under which name: the tables behind the registries.

Kept apart from :mod:`photic.core.registry` so that the configuration schema can look names up without
knowing how components are registered. Looking a name up imports only the file that registers it.
"""

from __future__ import annotations

import fnmatch
import importlib
from typing import Any

from photic.core import index
from photic.core.errors import ConfigError, UnknownNameError, nearest


class Catalogue:
    """The components of one kind: those the sources register, and those added at run time.

    Args:
        kind: plural name, as on the command line (``photic list models``).
        singular: how one is called in messages (``model``).
    """

    def __init__(self, kind: str, singular: str) -> None:
        self.kind = kind
        self.singular = singular
        self.classes: dict[str, type[Any]] = {}
        """Config class by name and synonym, as far as imported."""
        self.added: dict[str, index.Entry] = {}
        """Entries that no source file of Photic or a plug-in registers."""
        self._places: dict[str, str] = {}

    def add(self, entry: index.Entry, config_class: type[Any]) -> None:
        """Add a component under its name and synonyms.

        Raises:
            ConfigError: a name is taken by another class.
        """
        place = f"{entry.module}.{entry.qualname}"
        indexed = index.entries(self.kind)
        spellings = (entry.name, *entry.aliases)
        for name in spellings:
            known = indexed.get(name)
            taken = self._places.get(name) or (f"{known.module}.{known.qualname}" if known else None)
            if taken not in (None, place):
                raise ConfigError(f"{self.kind}: the name '{name}' is taken by {taken}; choose another name for {place}")
        for name in spellings:
            self.classes[name] = config_class
            self._places[name] = place
        if entry.name not in indexed:
            self.added[entry.name] = entry

    def entries(self, pattern: str = "*") -> list[index.Entry]:
        """Return the entries whose name matches a pattern such as ``convnext*``, without importing them."""
        known = {name: entry for name, entry in index.entries(self.kind).items() if name == entry.name} | self.added
        return [known[name] for name in sorted(known) if fnmatch.fnmatchcase(name, pattern)]

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names that match a pattern."""
        return [entry.name for entry in self.entries(pattern)]

    def config_class(self, name: str, path: str | None = None) -> type[Any]:
        """Return the config class registered under a name or synonym.

        Raises:
            UnknownNameError: there is none; the message offers the nearest names.
        """
        if name not in self.classes:
            entry = index.entries(self.kind).get(name)
            if entry is None:
                names = self.names()
                where = f"{path}: " if path else ""
                known = f"(`photic list {self.kind}` shows all: {', '.join(names)})"
                raise UnknownNameError(f"{where}unknown {self.singular} '{name}'{nearest(name, names)} {known}")
            importlib.import_module(entry.module)
        return self.classes[name]

    def __contains__(self, name: object) -> bool:
        return name in self.classes or name in index.entries(self.kind)


_CATALOGUES = {
    kind: Catalogue(kind, singular)
    for kind, singular in (
        ("models", "model"),
        ("losses", "loss"),
        ("metrics", "metric"),
        ("augmentations", "augmentation"),
        ("datasets", "dataset"),
        ("tasks", "task"),
        ("optimizers", "optimizer"),
        ("schedules", "schedule"),
    )
}


def catalogue_of(kind: str) -> Catalogue:
    """Return the catalogue of a kind.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind not in _CATALOGUES:
        raise UnknownNameError(f"unknown kind '{kind}'{nearest(kind, _CATALOGUES)} (kinds: {', '.join(_CATALOGUES)})")
    return _CATALOGUES[kind]


def kinds() -> list[str]:
    """Return the kinds of components."""
    return list(_CATALOGUES)
