"""From the words of a command line to configurations; the only importer of Hydra and OmegaConf.

Hydra parses the grammar of overrides and composes the user's own YAML files (with their defaults
lists) as plain dicts. Laying them over a recipe is :func:`photic.workflows.recipes.resolve`'s work,
the same as in Python; the typed schema judges the outcome.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from photic.cli.parser import shown
from photic.core.errors import ConfigError
from photic.core.registry import registry_of
from photic.core.schema import Config
from photic.workflows.recipes import component_kinds, list_recipes, merge, resolve

if TYPE_CHECKING:
    from photic.workflows.config import TrainConfig


@dataclass(frozen=True)
class Change:
    """One override of one job."""

    key: str
    """Dotted key, with ``~`` before it where something is removed."""
    value: Any

    def __str__(self) -> str:
        return self.key if self.key.startswith("~") and self.value is None else f"{self.key}={shown(self.value)}"


@dataclass(frozen=True)
class Job:
    """One training of a command line."""

    changes: tuple[Change, ...]
    title: str
    """What is particular to it in a sweep, such as ``seed=1 loss.name=focal``."""
    begins: bool = True
    """Whether it is the first along the last sweep, so that there is no job before it that differs from it in that sweep alone."""


@dataclass(frozen=True)
class UserConfig:
    """Where the user's own YAML lies."""

    folder: Path
    name: str | None = None
    """File name without ``.yaml``; None only makes the folder's groups available (``model=mine``)."""


def jobs(overrides: Sequence[str], *, multirun: bool = False, user: UserConfig | None = None) -> list[Job]:
    """Parse overrides and expand their sweeps, as Hydra's basic sweeper does: every combination, the last sweep fastest.

    Args:
        overrides: in Hydra's grammar (``loss.gamma=2``, ``~loss.alpha``, ``seed=0,1,2``).
        multirun: whether sweeps are allowed.
        user: the user's YAML; its ``hydra.sweeper.params`` count as overrides in a sweep.

    Raises:
        ConfigError: an override is malformed, or sweeps without ``multirun``.
    """
    texts = list(overrides)
    if multirun and user is not None and user.name is not None:
        texts = [*_sweeper_params(user), *texts]
    choices = [_parsed(text, multirun) for text in texts]
    last = {options[0].key: position for position, options in enumerate(choices)}  # a key given twice: the last one counts
    choices = [options for position, options in enumerate(choices) if last.get(options[0].key) == position]
    swept = {options[0].key for options in choices if len(options) > 1}
    fastest = next((len(options) for options in reversed(choices) if len(options) > 1), 1)
    return [
        Job(combination, " ".join(str(change) for change in combination if change.key in swept), begins=number % fastest == 0)
        for number, combination in enumerate(itertools.product(*choices))
    ]


def configuration(job: Job, user: UserConfig | None = None) -> TrainConfig:
    """Return the checked configuration of a job.

    Raises:
        ConfigError: nothing to start from, an unknown field, a wrong value, a reference that leads nowhere.
        UnknownNameError: an unknown recipe or component.
    """
    from photic.workflows.config import TrainConfig

    return TrainConfig.from_dict(resolved(job, user))


def resolved(job: Job, user: UserConfig | None = None) -> dict[str, Any]:
    """Return the plain configuration of a job, before the schema sees it; see :func:`configuration`."""
    changes: tuple[Change, ...] = job.changes
    values: dict[str, Any] | None = None
    if user is not None:
        values, changes = _compose(user, changes)
    has_recipe = any(change.key == "recipe" for change in changes) or (values or {}).get("recipe") is not None
    if not has_recipe and (user is None or user.name is None):
        raise ConfigError(
            f"nothing to train: start from a recipe with recipe=NAME (recipes: {', '.join(list_recipes())}) "
            "or from your own YAML with --config-dir DIR --config-name NAME"
        )
    plain = resolve(None, [(change.key, change.value) for change in changes], config=values)
    return _interpolated(plain)


def changes_of(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    """Return overrides without sweeps as pairs of key and value, for commands that change an existing configuration."""
    return [(change.key, change.value) for change in jobs(overrides)[0].changes]


# --- grammar ---------------------------------------------------------------------------------------------------------------------------


def _parsed(text: str, multirun: bool) -> list[Change]:
    """Return what one override says: one change, or one for each value of a sweep."""
    override = _parse(text)
    if override.package is not None:
        raise ConfigError(f"override '{text}': packages (@{override.package}) are for defaults lists in YAML files; write the whole key")
    key = override.key_or_group.replace("/", ".")
    if key == "hydra" or key.startswith("hydra."):
        raise ConfigError(f"override '{text}': Photic runs jobs itself, so Hydra's own settings have no effect; leave it out")
    if override.is_delete():
        key = f"~{key}"
    value: Any = override.value()
    if not override.is_sweep_override():
        return [Change(key, value)]
    if isinstance(value, IntervalSweep):
        raise ConfigError(f"override '{text}': an interval has no list of values; write {key}=a,b,c or {key}=range(start,stop,step)")
    items = value.filter(_names_for(key, text)) if isinstance(value, Glob) else list(override.sweep_iterator())
    if not items:
        raise ConfigError(f"override '{text}': there is no value in this sweep")
    if not multirun:
        raise ConfigError(_sweep_message(text, len(items)))
    return [Change(key, _plain(item)) for item in items]


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(_grammar_message(text, error)) from None
    if not override.key_or_group:
        raise ConfigError(f"override '{text}': there is no key before '='; write key=value, for example loss.gamma=2.0")
    return override


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def _names_for(key: str, text: str) -> list[str]:
    section = key.removesuffix(".name")
    if section == "recipe":
        return list_recipes()
    if section not in component_kinds():
        raise ConfigError(
            f"override '{text}': glob() chooses among registered names, so it works for recipe, {', '.join(component_kinds())}"
        )
    return registry_of(component_kinds()[section]).names()


def _grammar_message(text: str, error: HydraException) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        known = list_recipes()
        example = f"recipe={text}" if text in known else f"~{key} or {key}=value" if re.fullmatch(r"[\w.]+", key) else "loss.gamma=2.0"
        return f"override '{text}': expected key=value; did you mean {example}?"
    if not re.fullmatch(r"[~+]{0,2}[\w./@:$-]+", key):
        return f"override '{text}': '{key}' is no key; write names joined by dots, for example model.cbam_stages=[3,4]"
    reason = " ".join(str(error).split())
    command = shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")
    opening, closing = value[:1], value[-1:]
    if opening in "[{" and opening and closing != {"[": "]", "{": "}"}[opening]:
        hint = f"a list is written {key}=[a,b] and a mapping {key}={{a:1,b:2}}, without spaces or in quotes of the shell"
    else:
        hint = f"if the value is meant as text, quote it: {command}"
    return f"override '{text}': the value cannot be read ({reason}); {hint}"


def _sweep_message(text: str, num_values: int) -> str:
    key, _, value = text.partition("=")
    return (
        f"override '{text}' is a sweep of {num_values} values; add -m to run one training for each, "
        f"write {key}=[{value}] for a list, or quote the value for a text with commas"
    )


# --- the user's YAML -------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _hydra(user: UserConfig) -> Iterator[None]:
    folder = user.folder.resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {user.folder}: no such folder")
    if user.name is not None and not any((folder / f"{user.name.removesuffix('.yaml')}{end}").is_file() for end in (".yaml", ".yml")):
        there = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"--config-name {user.name}: no {user.name.removesuffix('.yaml')}.yaml in {user.folder} (files there: {there})")
    _publish()
    # 1.4 knows one behaviour only and warns about the argument; 1.3 warns without it.
    version = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    try:
        with hydra.initialize_config_dir(config_dir=str(folder), job_name="photic", **version):
            yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        place = f"--config-name {user.name}" if user.name else f"--config-dir {user.folder}"
        raise ConfigError(f"{place}: {_unspaced(error)}") from None


def _publish() -> None:
    """Make every component a choice of its group, so that a defaults list can say ``- model: tiny`` and ``- recipe: severstal``."""
    store = ConfigStore.instance()
    for section, kind in component_kinds().items():
        for name in registry_of(kind).names():
            store.store(group=section, name=name, node={section: {"name": name}}, package="_global_", provider="photic")
    for name in list_recipes():
        store.store(group="recipe", name=name, node={"recipe": name}, package="_global_", provider="photic")


def _compose(user: UserConfig, changes: Sequence[Change]) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the user's values, and the changes that were not choices of the user's own groups (``model=mine``)."""
    with _hydra(user):
        choices = {change.key: change for change in changes if _is_choice(change)}
        own = {key for key, change in choices.items() if _is_own(user, change)}
        words = {key: f"{_group(key)}={change.value}" for key, change in choices.items()}
        while True:
            try:
                composed = hydra.compose(config_name=user.name, overrides=list(words.values()))
                break
            except HydraException as error:
                # The group is not in the defaults list: append the user's own choice; a registered name needs no Hydra.
                missing = re.search(r"Could not override '([^'@]+)", str(error))
                key = missing.group(1).replace("/", ".") if missing else ""
                if key not in words or words[key].startswith("+"):
                    raise
                if key in own:
                    words[key] = f"+{words[key]}"
                else:
                    del words[key]
        values = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}, tuple(change for change in changes if change.key not in own)


def _group(key: str) -> str:
    return key.replace(".", "/")


def _is_choice(change: Change) -> bool:
    if not isinstance(change.value, str) or change.key.startswith("~"):
        return False
    return change.value in GlobalHydra.instance().config_loader().get_group_options(_group(change.key))


def _is_own(user: UserConfig, change: Change) -> bool:
    if (user.folder / _group(change.key) / f"{change.value}.yaml").is_file():
        return True
    kind = component_kinds().get(change.key)
    published = registry_of(kind).names() if kind is not None else list_recipes() if change.key == "recipe" else []
    return change.value not in published


def _sweeper_params(user: UserConfig) -> list[str]:
    """Return ``hydra.sweeper.params`` of the user's YAML as overrides."""
    with _hydra(user):
        composed = hydra.compose(config_name=user.name, return_hydra_config=True)
        params = OmegaConf.to_container(composed.hydra.sweeper, resolve=False)
    found = params.get("params") if isinstance(params, dict) else None
    return [f"{key}={value if isinstance(value, str) else shown(value)}" for key, value in (found or {}).items()]


# --- references between values -------------------------------------------------------------------------------------------------------


def _interpolated(values: dict[str, Any]) -> dict[str, Any]:
    """Replace ``${seed}`` and the like by what they refer to, default values included."""
    open_places = [place for place, leaf in _leaf_items(values, ()) if leaf == "???"]
    if open_places:
        raise ConfigError(f"config.{'.'.join(open_places[0])}: has no value yet (???); set {'.'.join(open_places[0])}=...")
    if not any(isinstance(leaf, str) and "${" in leaf for _, leaf in _leaf_items(values, ())):
        return values
    tree = OmegaConf.create(merge(_defaults(values), values))
    try:
        complete = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        place = getattr(error, "full_key", None) or "?"
        raise ConfigError(
            f"config.{place}: {str(error).splitlines()[0]}; '${{key}}' refers to a whole dotted key of the configuration"
        ) from None
    picked = _picked(values, complete)
    assert isinstance(picked, dict)
    return picked


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    from photic.workflows.config import TrainConfig

    defaults = _field_defaults(TrainConfig)
    for section, kind in component_kinds().items():
        node = values.get(section)
        name = node.get("name") if isinstance(node, Mapping) else None
        if isinstance(name, str) and "${" not in name:
            fields = _field_defaults(registry_of(kind).config_class(name, path=f"config.{section}.name"))
            defaults[section] = {"name": name, **fields}
    return defaults


def _field_defaults(cls: type[Config]) -> dict[str, Any]:
    import dataclasses

    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = _as_plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = _as_plain(field.default_factory())
    return found


def _as_plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [_as_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _picked(shape: Any, complete: Any) -> Any:
    """Return ``shape`` with its references replaced; values that hold none stay what they are."""
    if isinstance(shape, Mapping):
        return {key: _picked(item, complete[key]) for key, item in shape.items()}
    if isinstance(shape, list):
        return [_picked(item, other) for item, other in zip(shape, complete, strict=True)]
    return complete if isinstance(shape, str) and "${" in shape else shape


def _leaf_items(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaf_items(item, (*place, str(key)))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _leaf_items(item, (*place, str(position)))
    else:
        yield place, value


def _unspaced(error: Exception) -> str:
    return " ".join(str(error).split())
