"""Recipes and the one way overrides are laid over them, in Python and on the command line alike.

Layers, the later ones winning: the recipe (and its ``base`` recipes), the user's own values, overrides.
Mappings merge key by key. One rule is special: where a component (a node with a ``name``: model,
loss, ...) gets another name, the old component's other values are dropped, so that a recipe's
``gamma`` never reaches a loss that has none.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photic.core import index
from photic.core.errors import ConfigError, UnknownNameError, nearest
from photic.core.plugins import installed_plugins
from photic.core.registry import registry_of

if TYPE_CHECKING:
    from photic.workflows.config import TrainConfig

Overrides = Mapping[str, Any] | Iterable[tuple[str, Any]]
Place = tuple[Any, ...]

SYNONYMS: dict[Place, Place] = {("loss", "type"): ("loss", "name"), ("experiment", "seed"): ("seed",)}
"""Accepted spellings of a setting, by place."""


@dataclass(frozen=True)
class RecipeEntry:
    """One recipe, as listed."""

    name: str
    summary: str
    """First comment line of the file."""
    plugin: str
    file: Path


def recipe_entries(pattern: str = "*") -> list[RecipeEntry]:
    """Return the recipes of all plug-ins whose name matches a pattern, in alphabetical order.

    Raises:
        ConfigError: two plug-ins bring a recipe of the same name.
    """
    found: dict[str, RecipeEntry] = {}
    for plugin in installed_plugins().values():
        for name, file in plugin.recipe_files().items():
            if name in found:
                raise ConfigError(f"recipe '{name}' exists twice, in {found[name].file} and {file}; rename one")
            found[name] = RecipeEntry(name, _summary(file), plugin.name, file)
    return [found[name] for name in sorted(found) if fnmatch.fnmatchcase(name, pattern)]


def list_recipes(pattern: str = "*") -> list[str]:
    """Return the names of the recipes that match a pattern."""
    return [entry.name for entry in recipe_entries(pattern)]


def load_recipe(name: str | Path) -> dict[str, Any]:
    """Return the values of a recipe, those of its ``base`` recipes included.

    Args:
        name: a recipe's name, or the path of a YAML file (``*.yaml``).

    Raises:
        UnknownNameError: no plug-in brings such a recipe.
        ConfigError: the file is missing, no YAML mapping, or its ``base`` leads back to itself.
    """
    return _load_recipe(str(name), ())


def resolve(recipe: str | Path | None = None, overrides: Overrides = (), *, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the plain configuration that a recipe, a user's own values and overrides amount to.

    Args:
        recipe: name or YAML file of the recipe; ``recipe`` among the overrides or in ``config`` serves as well.
        overrides: see :func:`merge`.
        config: the user's own values, between recipe and overrides.

    Raises:
        UnknownNameError: no such recipe.
        ConfigError: two different recipes are asked for, or an override cannot be applied.
    """
    changes = _changes(overrides)
    chosen: Any = recipe if recipe is not None else (config or {}).get("recipe")
    for key, value in changes:
        if key == "recipe":
            chosen = value
    if recipe is not None and str(chosen) != str(recipe):
        raise ConfigError(f"recipe: both '{recipe}' and '{chosen}' are asked for; give one")
    if chosen is not None and not isinstance(chosen, str | Path):
        raise ConfigError(f"config.recipe: expected the name of a recipe or a YAML file, got {chosen!r}")
    values: dict[str, Any] = {} if chosen is None else {"recipe": str(chosen), **load_recipe(chosen)}
    if config:
        values = merge(values, {key: value for key, value in config.items() if key != "recipe"})
    return merge(values, [(key, value) for key, value in changes if key != "recipe"])


def recipe(name: str | Path, overrides: Overrides = ()) -> TrainConfig:
    """Return a recipe as a checked configuration, with overrides.

    >>> recipe("severstal", {"loss.name": "bce_with_logits", "seed": 1}).loss.registry_name
    'bce_with_logits'

    Raises:
        UnknownNameError: no such recipe or component.
        ConfigError: an override names an unknown field or has a wrong type or value.
    """
    from photic.workflows.config import TrainConfig

    return TrainConfig.from_dict(resolve(name, overrides))


def merge(base: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Return ``base`` with overrides laid over it; neither is changed.

    Args:
        base: nested values.
        overrides: nested values, dotted keys (``{"loss.gamma": 2.0}``) or pairs of key and value, applied
            in order. A word for a component is its name (``loss=focal``). ``{}`` empties a mapping and
            null is a value like any other; a key ``~loss.alpha`` removes what ``base`` says (with a value:
            only that value). The order of a component's name and its fields does not matter.

    Raises:
        ConfigError: something absent is to be removed, or a setting and its synonym disagree.

    >>> merge({"loss": {"name": "focal", "gamma": 3.0}}, {"loss.name": "bce_with_logits"})
    {'loss': {'name': 'bce_with_logits'}}
    """
    values = _merge_components(_component_fields(), {}, copy.deepcopy(dict(base)))
    return _merge_components(_component_fields(), values, _collected(overrides, values))


def normalised(overrides: Overrides) -> dict[str, Any]:
    """Return overrides as one nested mapping: dotted keys unfolded, synonyms replaced, words for components made names.

    Raises:
        ConfigError: a key ``~...`` would remove something, which a mapping cannot say.

    >>> normalised({"loss.type": "focal_loss", "experiment.seed": 3})
    {'loss': {'name': 'focal'}, 'seed': 3}
    """
    for key, _ in _changes(overrides):
        if key.startswith("~"):
            raise ConfigError(f"{key}: settings cannot be removed here; give a value, for example {key[1:]}=null")
    return _merge_components(_component_fields(), {}, _collected(overrides, {}))


def _collected(overrides: Overrides, values: dict[Any, Any]) -> dict[Any, Any]:
    """Return all overrides as one tree; what they remove is removed from ``values``."""
    collected: dict[Any, Any] = {}
    spellings: dict[Place, tuple[Place, Any]] = {}
    for key, value in _changes(overrides):
        if key.startswith("~"):
            _delete(values, collected, key, value)
            continue
        for place, leaf in _leaves(tuple(key.split(".")), value):
            true_place = _true_place(place)
            earlier, known = spellings.get(true_place, (place, leaf))
            if earlier != place and known != leaf:
                raise ConfigError(f"{_dotted(earlier)}={known} and {_dotted(place)}={leaf} are the same setting; give one of them")
            spellings[true_place] = (place, leaf)
            if leaf == {} and isinstance(leaf, Mapping):
                _remove(values, true_place)
            _collect(collected, true_place, leaf)
    return collected


def _changes(overrides: Overrides) -> list[tuple[str, Any]]:
    pairs = list(overrides.items() if isinstance(overrides, Mapping) else overrides)
    for key, _ in pairs:
        if not isinstance(key, str) or not all(key.removeprefix("~").split(".")):
            raise ConfigError(f"override {key!r}: expected a key such as loss.gamma")
    return pairs


def _leaves(place: Place, value: Any) -> Iterable[tuple[Place, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves((*place, key), item)
    else:
        yield place, copy.deepcopy(value)


def _true_place(place: Place) -> Place:
    for spelling, meant in SYNONYMS.items():
        if place[: len(spelling)] == spelling:
            return meant + place[len(spelling) :]
    return place


def _collect(tree: dict[Any, Any], place: Place, value: Any) -> None:
    """Put one override into the tree of all overrides; a word and fields for the same node are its name and its fields."""
    for key in place[:-1]:
        node = tree.get(key)
        if not isinstance(node, dict):
            node = {"name": node} if isinstance(node, str) else {}
            tree[key] = node
        tree = node
    if isinstance(value, str) and isinstance(tree.get(place[-1]), dict):
        tree[place[-1]]["name"] = value
    else:
        tree[place[-1]] = value


def _delete(values: dict[Any, Any], collected: dict[Any, Any], key: str, expected: Any) -> None:
    place = _true_place(tuple(key[1:].split(".")))
    found = False
    for tree in (values, collected):
        node = _parent(tree, place)
        if node is not None and place[-1] in node:
            if expected is not None and node[place[-1]] != expected:
                raise ConfigError(f"{key}={expected}: nothing removed, the value is {node[place[-1]]!r}; write {key} to remove it anyway")
            del node[place[-1]]
            found = True
    if not found:
        siblings = [str(name) for name in _parent(values, place) or {}]
        there = ", ".join(siblings) or "nothing"
        raise ConfigError(f"{key}: there is nothing to remove{nearest(str(place[-1]), siblings)} (set there: {there})")


def _remove(tree: dict[Any, Any], place: Place) -> None:
    node = _parent(tree, place)
    if node is not None:
        node.pop(place[-1], None)


def _parent(tree: dict[Any, Any], place: Place) -> dict[Any, Any] | None:
    node: Any = tree
    for key in place[:-1]:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


@dataclass(frozen=True)
class _Slot:
    """A field that holds a component, or components by name."""

    kind: str
    many: bool


@cache
def _component_fields() -> dict[str, _Slot]:
    return _slots(index.class_fields("photic.workflows.config", "TrainConfig"))


def _slots(fields: Iterable[index.FieldInfo]) -> dict[str, _Slot]:
    mark = "one of "
    return {f.name: _Slot(f.range.removeprefix(mark), "dict[" in f.type) for f in fields if f.range.startswith(mark)}


def component_kinds() -> dict[str, str]:
    """Return the sections of a training configuration that hold one component each, with its kind: ``{"model": "models", ...}``."""
    return {name: slot.kind for name, slot in _component_fields().items() if not slot.many}


def _merge_components(slots: Mapping[str, _Slot], old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge two mappings, of which some fields hold components."""
    merged = dict(old)
    for key, value in new.items():
        slot = slots.get(key)
        if slot is None:
            merged[key] = _merge_plain(merged.get(key), value)
        elif slot.many and isinstance(value, Mapping):
            merged[key] = _merge_named(slot.kind, merged.get(key), value)
        else:
            merged[key] = _merge_component(slot.kind, merged.get(key), value, None)
    return merged


def _merge_plain(old: Any, new: Any) -> Any:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    if "name" in old and "name" in new and old["name"] != new["name"]:
        return new
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _merge_plain(merged.get(key), value)
    return merged


def _merge_named(kind: str, old: Any, new: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge components by name, such as augmentations; an item that does not say its name is called as its key."""
    merged = dict(old) if isinstance(old, Mapping) else {}
    for key, value in new.items():
        if not (isinstance(value, Mapping) and "name" in value):
            key = _canonical(kind, key)
        known = merged.get(key)
        if value is True and isinstance(known, Mapping):
            continue  # switched on, and it has its values already
        merged[key] = _merge_component(kind, known, value, _canonical(kind, key))
    return merged


def _merge_component(kind: str, old: Any, new: Any, implied: str | None) -> Any:
    if isinstance(new, str):
        new = {"name": new}
    if not isinstance(new, Mapping):
        return new
    if "name" in new:
        new = {"name": _canonical(kind, new["name"]), **{key: value for key, value in new.items() if key != "name"}}
    kept: Mapping[Any, Any] = old if isinstance(old, Mapping) else {}
    old_name = kept.get("name", implied)
    name = new.get("name", old_name)
    if old_name is not None and name != old_name:
        kept = {}
    return _merge_components(_nested_slots(kind, name), kept, new)


def _canonical(kind: str, name: Any) -> Any:
    """Return the registered name for a name or synonym; an unknown one stays, for validation to judge."""
    entry = _entry(kind, name)
    return entry.name if entry is not None else name


def _nested_slots(kind: str, name: Any) -> dict[str, _Slot]:
    entry = _entry(kind, name)
    return _slots(entry.fields()) if entry is not None else {}


def _entry(kind: str, name: Any) -> index.Entry | None:
    return next((entry for entry in registry_of(kind).entries() if name == entry.name or name in entry.aliases), None)


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))


def _load_recipe(name: str, seen: tuple[Path, ...]) -> dict[str, Any]:
    file = _recipe_file(name, seen[-1].parent if seen else Path())
    if file in seen:
        raise ConfigError(f"recipe: 'base' leads in a circle: {' -> '.join(path.name for path in (*seen, file))}")
    values = read_yaml(file)
    base = values.pop("base", None)
    if base is None:
        return merge({}, values)
    if not isinstance(base, str):
        raise ConfigError(f"{file}: base: expected the name of a recipe, got {base!r}")
    return merge(_load_recipe(base, (*seen, file)), values)


def _recipe_file(name: str, folder: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        return (folder / name).resolve()
    known = {entry.name: entry.file for entry in recipe_entries()}
    if name not in known:
        raise UnknownNameError(f"unknown recipe '{name}'{nearest(name, known)} (`photic list recipes` shows all: {', '.join(known)})")
    return known[name].resolve()


def read_yaml(file: Path | str) -> dict[str, Any]:
    """Read a YAML file of settings; ``1e-3`` is a number (plain PyYAML makes it text), a doubled key an error.

    Raises:
        ConfigError: the file is missing, no YAML, or not a mapping.
    """
    import yaml

    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give an existing YAML file") from None
    try:
        values = yaml.load(text, Loader=_yaml_loader())
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected sections such as `model:` and `loss:`, got {type(values).__name__}")
    return values


@cache
def _yaml_loader() -> Any:
    import re

    import yaml

    fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one of libyaml where PyYAML has it: a tenth of the time

    class Loader(fastest):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node)
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", key_node.start_mark)
                seen.add(key)
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            return made

    number = re.compile(r"^[-+]?(\d[\d_]*\.?|\.\d)[\d_]*[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    return Loader


def _summary(file: Path) -> str:
    with open(file, encoding="utf-8") as handle:
        first = handle.readline().strip()
    return first.lstrip("# ").strip() if first.startswith("#") else ""
