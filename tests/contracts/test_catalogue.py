"""What every registered component of every kind keeps to, and that the catalogue read from the sources tells the truth about it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
import typing
from pathlib import Path
from typing import Any

import pytest

from photic.core import index
from photic.core.errors import ConfigError, PhoticError
from photic.core.registry import kinds, registry_of
from photic.core.schema import Config, Range, Registered, field_types

ENTRIES = [(kind, name) for kind in kinds() for name in registry_of(kind).names()]
# What cannot be left at its default; the message must say so, and name the field.
REQUIRED: dict[tuple[str, str], dict[str, Any]] = {("losses", "sum"): {"terms": {"main": {"name": "bce_with_logits"}}}}

every_entry = pytest.mark.parametrize(("kind", "name"), ENTRIES, ids=[f"{kind}-{name}" for kind, name in ENTRIES])


def config_class(kind: str, name: str) -> type[Config]:
    return registry_of(kind).config_class(name)


def defaults(kind: str, name: str) -> Config:
    return registry_of(kind).configure(name, **REQUIRED.get((kind, name), {}))


def is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_entries_and_no_two_share_a_name_or_synonym(kind: str) -> None:
    entries = registry_of(kind).entries()
    spellings = [spelling for entry in entries for spelling in (entry.name, *entry.aliases)]
    assert entries
    assert len(spellings) == len(set(spellings))


@every_entry
def test_the_catalogue_leads_to_the_class_that_bears_the_name(kind: str, name: str) -> None:
    (entry,) = registry_of(kind).entries(name)
    cls = config_class(kind, name)
    assert (entry.kind, entry.name) == (kind, name) == (cls.registry_kind, cls.registry_name)
    assert (entry.module, entry.qualname) == (cls.__module__, cls.__qualname__)
    assert entry.file == Path(inspect.getfile(cls))
    assert inspect.getsource(cls).splitlines()[0].startswith(f"@{kind}.register(")
    for alias in entry.aliases:
        assert config_class(kind, alias) is cls


@every_entry
def test_its_docstring_says_what_it_is_for_in_one_line(kind: str, name: str) -> None:
    (entry,) = registry_of(kind).entries(name)
    doc = inspect.getdoc(config_class(kind, name)) or ""
    assert entry.summary == index.first_line(doc)
    assert len(entry.summary) >= 10
    assert entry.summary.endswith(".")
    assert entry.source == index.source_of(doc)


@every_entry
def test_the_catalogue_lists_the_fields_of_the_imported_class_in_their_order(kind: str, name: str) -> None:
    (entry,) = registry_of(kind).entries(name)
    assert [field.name for field in entry.fields()] == [field.name for field in dataclasses.fields(config_class(kind, name))]


@every_entry
def test_every_field_has_the_type_range_default_and_text_that_the_catalogue_shows(kind: str, name: str) -> None:
    (entry,) = registry_of(kind).entries(name)
    cls = config_class(kind, name)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for info in entry.fields():
        field, hint = fields[info.name], field_types(cls)[info.name]
        metadata = getattr(hint, "__metadata__", ())
        ranges = " and ".join(str(extra) for extra in metadata if isinstance(extra, Range))
        slots = " and ".join(f"one of {extra.kind}" for extra in metadata if isinstance(extra, Registered))
        assert info.doc, info.name
        assert info.type == plain_annotation(field.type), info.name
        assert info.range == (slots or ranges), info.name
        assert info.required == is_required(field), info.name
        if field.default is not dataclasses.MISSING:
            expected = str(field.default) if isinstance(field.default, Path) else field.default
            assert (info.default, type(info.default)) == (expected, type(expected)), info.name
        elif not is_required(field):
            made = field.default_factory()  # type: ignore[misc]
            if isinstance(made, Config):  # a component, shown as the source writes it
                assert str(info.default).partition("(")[0] == type(made).__name__, info.name
                continue
            assert info.default == made, f"{info.name}: the catalogue shows {info.default!r} for {made!r}"


def plain_annotation(annotation: Any) -> str:
    """Return an annotation as written, without ``Annotated``."""
    tree = ast.parse(annotation, mode="eval").body if isinstance(annotation, str) else ast.parse(repr(annotation), mode="eval").body
    if isinstance(tree, ast.Subscript) and ast.unparse(tree.value) == "Annotated":
        assert isinstance(tree.slice, ast.Tuple)
        tree = tree.slice.elts[0]
    return ast.unparse(tree)


@every_entry
def test_its_defaults_are_valid_and_come_back_from_plain_values_and_from_json(kind: str, name: str) -> None:
    config = defaults(kind, name)
    plain = config.to_dict()
    assert next(iter(plain)) == "name"
    assert plain["name"] == name
    assert type(config) is config_class(kind, name)
    assert type(config).from_dict(plain) == config
    assert type(config).from_dict(json.loads(json.dumps(plain))) == config
    fields = {key: value for key, value in plain.items() if key != "name"}
    assert registry_of(kind).configure(name, **fields) == config


@every_entry
def test_it_is_immutable(kind: str, name: str) -> None:
    config = defaults(kind, name)
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, None)


@every_entry
def test_it_needs_no_settings_or_asks_for_them_by_name(kind: str, name: str) -> None:
    missing = REQUIRED.get((kind, name))
    if missing is None:
        registry_of(kind).configure(name)
    else:
        with pytest.raises(ConfigError, match=rf"{name}\.({'|'.join(missing)})|missing field '({'|'.join(missing)})'"):
            registry_of(kind).configure(name)


@every_entry
def test_a_misspelt_field_is_answered_with_the_right_one(kind: str, name: str) -> None:
    for field in dataclasses.fields(config_class(kind, name)):
        misspelt = field.name + "z"
        with pytest.raises(ConfigError, match=rf"unknown field '{misspelt}'; did you mean .*'{field.name}'"):
            registry_of(kind).configure(name, **{misspelt: 1})


@every_entry
def test_a_wrong_type_is_refused_with_the_field_and_what_came(kind: str, name: str) -> None:
    """An object of a class of ours fits no field."""
    foreign = type("Foreign", (), {"__repr__": lambda _: "<foreign>"})()
    for key, hint in field_types(config_class(kind, name)).items():
        if hint is Any:
            continue
        with pytest.raises(ConfigError, match=rf"{name}\.{key}.*: expected .*<foreign>"):
            registry_of(kind).configure(name, **{**REQUIRED.get((kind, name), {}), key: foreign})


@every_entry
def test_a_number_outside_its_range_or_not_finite_is_refused(kind: str, name: str) -> None:
    for key, hint in field_types(config_class(kind, name)).items():
        ranges = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Range)]
        for limits in ranges:
            bad = [bound - 1 for bound in (limits.ge, limits.gt) if bound is not None]
            bad += [bound + 1 for bound in (limits.le, limits.lt) if bound is not None]
            bad += [bound for bound in (limits.gt, limits.lt) if bound is not None]
            if float in numbers_in(hint):
                bad += [math.nan, math.inf]
            for value in bad:
                wrong = like(getattr(defaults(kind, name), key), hint, int(value) if float not in numbers_in(hint) else value)
                with pytest.raises(ConfigError, match=rf"{name}\.{key}"):
                    registry_of(kind).configure(name, **{**REQUIRED.get((kind, name), {}), key: wrong})


def numbers_in(hint: Any) -> set[type]:
    found = {hint} if hint in (int, float) else set()
    return found.union(*(numbers_in(argument) for argument in typing.get_args(hint)))


def like(default: Any, hint: Any, value: float) -> Any:
    """Return ``value`` in the form the field takes: itself, or a sequence of it."""
    if isinstance(default, tuple):
        return [value] * len(default)
    scalar = any(member in (int, float) for member in (hint, *typing.get_args(hint), *typing.get_args(typing.get_args(hint)[0])))
    return value if scalar else [value]


@every_entry
def test_its_json_schema_describes_every_field(kind: str, name: str) -> None:
    from photic.cli.forms import json_schema

    (entry,) = registry_of(kind).entries(name)
    schema = json_schema(entry.fields())
    assert json.loads(json.dumps(schema)) == schema
    for field in dataclasses.fields(config_class(kind, name)):
        described = schema["properties"][field.name]
        assert described["description"]
        assert described.keys() & {"type", "anyOf", "enum", "x-type"}, field.name
        assert (field.name in schema["required"]) == is_required(field)


@pytest.mark.parametrize("kind", kinds())
def test_an_unknown_name_is_answered_with_the_nearest(kind: str) -> None:
    name = registry_of(kind).names()[0]
    with pytest.raises(PhoticError, match=rf"unknown {registry_of(kind).singular} '{name}z'; did you mean .*'{name}'"):
        registry_of(kind).configure(name + "z")
