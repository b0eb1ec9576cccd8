"""Registries: one per kind of component, filled where the component is defined."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from photic.core import index
from photic.core.catalogue import Catalogue, catalogue_of, kinds
from photic.core.errors import ConfigError
from photic.core.schema import Config, Range, Registered, field_types

__all__ = ["Registry", "kinds", "lazy_attributes", "registry_of"]

T = TypeVar("T")


class Registry:
    """The components of one kind, by name: registers them, lists them, builds them.

    Args:
        catalogue: the table of names.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.kind = catalogue.kind
        self.singular = catalogue.singular
        setattr(self, f"list_{self.kind}", self.names)  # the spelling users know: `get_registry().list_models()`

    def register(self, name: str, cls: type[T] | None = None, *, description: str | None = None, aliases: tuple[str, ...] = ()) -> Any:
        """Register a config class, as a decorator or by call; a plain class gets a config made from its signature.

        Args:
            name: the one name of the component.
            cls: the class, when called rather than used as a decorator.
            description: one line for listings; the docstring's first line if omitted.
            aliases: accepted synonyms.

        Raises:
            ConfigError: the name is taken by another class.
        """
        if cls is None:
            return lambda decorated: self._add(name, decorated, description, aliases)
        return self._add(name, cls, description, aliases)

    def _add(self, name: str, cls: type[T], description: str | None, aliases: tuple[str, ...]) -> type[T]:
        config = cls if issubclass(cls, Config) else _config_from_signature(self.kind, name, cls)
        doc = inspect.getdoc(cls) or ""
        entry = index.Entry(
            kind=self.kind, name=name, aliases=aliases, summary=description or index.first_line(doc), module=cls.__module__,
            qualname=cls.__qualname__, file=Path(inspect.getfile(cls)), line=0, source=index.source_of(doc),
        )  # fmt: skip
        if name not in index.entries(self.kind):
            entry = _completed(entry, config)
        self.catalogue.add(entry, config)
        config.registry_kind = self.kind
        config.registry_name = name
        return cls

    def entries(self, pattern: str = "*") -> list[index.Entry]:
        """Return the entries whose name matches a pattern such as ``convnext*``, without importing them."""
        return self.catalogue.entries(pattern)

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names that match a pattern."""
        return self.catalogue.names(pattern)

    def config_class(self, name: str, path: str | None = None) -> type[Config]:
        """Return the config class registered under a name or synonym.

        Raises:
            UnknownNameError: there is none; the message offers the nearest names.
        """
        return cast("type[Config]", self.catalogue.config_class(name, path))

    def configure(self, name: str, /, **fields: Any) -> Config:
        """Return the config of a component, its fields checked."""
        return self.config_class(name).from_dict(fields, name)

    def get(self, name: str, /, *args: Any, **fields: Any) -> Any:
        """Build a component: ``get("focal", gamma=2.0)`` equals ``FocalConfig(gamma=2.0).build()``.

        Positional arguments go to ``build``: the arrays and objects that configs do not carry.
        """
        config = self.configure(name, **fields)
        return config.build(*args)  # type: ignore[attr-defined]

    def __contains__(self, name: object) -> bool:
        return name in self.catalogue


def _completed(entry: index.Entry, config: type[Config]) -> index.Entry:
    """Return an entry with the fields of its class, where the sources show others: classes made in functions, bases from elsewhere."""
    read = {info.name: info for info in entry.fields()}
    fields = [field for field in dataclasses.fields(config) if field.init]
    if list(read) == [field.name for field in fields]:
        return entry
    return dataclasses.replace(entry, given=tuple(read.get(field.name) or _field_info(config, field) for field in fields))


def _field_info(config: type[Config], field: dataclasses.Field[Any]) -> index.FieldInfo:
    hint = field_types(config)[field.name]
    extras = getattr(hint, "__metadata__", ())
    plain = typing.get_args(hint)[0] if extras else hint
    limits = " and ".join(
        str(extra) if isinstance(extra, Range) else f"one of {extra.kind}" for extra in extras if isinstance(extra, Range | Registered)
    )
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    required = made is dataclasses.MISSING
    return index.FieldInfo(field.name, inspect.formatannotation(plain), limits, None if required else made, required, "")


def _config_from_signature(kind: str, name: str, cls: type) -> type[Config]:
    """Make a config whose fields are the keyword arguments of a plain class.

    The kind's base class names the config to derive from in ``config_base``, so that such a component
    can be chosen wherever a configuration asks for one of its kind.
    """
    base: type[Config] = getattr(cls, "config_base", Config)
    inherited = {field.name for field in dataclasses.fields(base)}
    own = cls.__init__ is not object.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(cls.__init__, include_extras=True) if own else {}  # type: ignore[misc]
    accepted: list[str] = []
    fields: list[Any] = []
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:] if own else []:  # type: ignore[misc]
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise ConfigError(f"{kind}: '{name}' takes *args or **kwargs; register a config class for it instead")
        accepted.append(parameter.name)
        hint = hints.get(parameter.name, Any)
        if parameter.name in inherited:
            continue
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, dataclasses.field(default=parameter.default)))

    def build(self: Config, *args: Any) -> Any:
        return cls(*args, **{argument: getattr(self, argument) for argument in accepted})

    made = dataclasses.make_dataclass(
        f"{cls.__name__}Config",
        fields,
        bases=(base,),
        frozen=True,
        kw_only=True,
        # A base that finishes what its configs build (weights of losses) asks them for `make`.
        namespace={"make" if hasattr(base, "make") else "build": build, "__doc__": cls.__doc__},
    )
    made.__module__ = cls.__module__
    return made


models = Registry(catalogue_of("models"))
losses = Registry(catalogue_of("losses"))
metrics = Registry(catalogue_of("metrics"))
augmentations = Registry(catalogue_of("augmentations"))
datasets = Registry(catalogue_of("datasets"))
tasks = Registry(catalogue_of("tasks"))
optimizers = Registry(catalogue_of("optimizers"))
schedules = Registry(catalogue_of("schedules"))

_REGISTRIES = {r.kind: r for r in (models, losses, metrics, augmentations, datasets, tasks, optimizers, schedules)}


def registry_of(kind: str) -> Registry:
    """Return the registry of a kind.

    Raises:
        UnknownNameError: there is no such kind.
    """
    return _REGISTRIES[catalogue_of(kind).kind]


def lazy_attributes(package: str, homes: dict[str, str]) -> Callable[[str], Any]:
    """Return a module ``__getattr__`` that imports public names on first use, so that the package stays light.

    Args:
        package: import name of the package, for the error message.
        homes: public name to the module that defines it.
    """

    def load(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return load
