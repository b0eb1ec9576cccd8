"""Applications and third-party extensions, found through the entry-point group ``photic.plugins``.

A plug-in is a light module (it imports nothing but :mod:`photic.core.plugins`) holding one
:class:`Plugin`. The built-in applications come in through the same door::

    [project.entry-points."photic.plugins"]
    defects = "photic.apps.defects.plugin:plugin"
"""

from __future__ import annotations

import filecmp
import importlib
import importlib.util
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from photic.core.errors import ConfigError, PhoticError, UnknownNameError, nearest
from photic.core.shelf import local_bundles, models_named

GROUP = "photic.plugins"
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]* [A-Za-z0-9][A-Za-z0-9._+!-]*")
OWN = "photic"
"""The package of the applications that come with Photic."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that a plug-in adds to the command line.

    ``target`` is ``"module:function"``; the function takes the arguments after the command's name
    and returns an exit status. It is imported only when the command is called.
    """

    summary: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What an application or an extension brings; every reference is ``"module:attribute"``, imported on use."""

    name: str
    """Short name, as in ``photic demo defects``."""
    package: str
    """Import name of the package whose sources are searched for registrations."""
    summary: str
    """One line for listings."""
    recipes: str = "recipes"
    """Folder inside the package that holds recipe files (``*.yaml``); it may be absent."""
    weights: str = "weights"
    """Folder inside the package that holds models that come with it, bundles (``*.photic``); it may be absent. A file's stem is the name
    by which commands take it."""
    demo: str | None = None
    """Runs the application's main job on generated data: ``run(folder, progress) -> DemoResult``."""
    report: str | None = None
    """Writes the application's HTML page for a run: ``write_report(run_folder, path) -> Path``."""
    formats: dict[str, str] = field(default_factory=dict)
    """Output formats of ``photic predict``: name to a ``photic.inference.outputs.PredictionFormat``."""
    readers: dict[str, str] = field(default_factory=dict)
    """Readers of measurement files: name to function. Those of ptychography are like ``photic.apps.ptycho.readers.cxi:read``."""
    predictors: dict[str, Command] = field(default_factory=dict)
    """What `photic predict` does with a model of one of its tasks: name of the task to a command, whose first argument is the model."""
    file_models: dict[str, str] = field(default_factory=dict)
    """What makes files or values of files with a trained model: name of the task to a ``photic.inference.file_model.FileModel``."""
    evaluators: dict[str, Command] = field(default_factory=dict)
    """What `photic evaluate` does with a run of one of its tasks, likewise."""
    data_commands: dict[str, Command] = field(default_factory=dict)
    """Verbs of ``photic data VERB NAME ...``, for example ``check``."""
    commands: dict[str, Command] = field(default_factory=dict)
    """Further top-level commands."""
    describers: dict[str, str] = field(default_factory=dict)
    """What `photic info` says of files of its own: ending of their names, with its dot, to a function
    ``describe(path) -> photic.workflows.info.FileInfo`` that reads no more than it must."""
    default_models: dict[str, str] = field(default_factory=dict)
    """What its commands take where no model is named: name of the task to the stem of a file in ``weights``."""

    def folder(self) -> Path:
        """Return the package's folder without importing the package itself."""
        return package_folder(self.package)

    def shipped_models(self) -> dict[str, Path]:
        """Return the name and bundle of each model that comes with the package."""
        return {path.stem: path for path in sorted((self.folder() / self.weights).glob("*.photic"))}

    def recipe_files(self) -> dict[str, Path]:
        """Return recipe name to file."""
        return {path.stem: path for path in sorted((self.folder() / self.recipes).glob("*.yaml"))}


def package_folder(package: str) -> Path:
    """Return the folder of an importable package.

    Raises:
        PhoticError: there is no such package.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PhoticError(f"package '{package}' cannot be found; is it installed in this environment?")
    return Path(next(iter(spec.submodule_search_locations)))


def load_reference(reference: str) -> Any:
    """Import ``"module:attribute"`` and return the attribute."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def installed_plugins() -> dict[str, Plugin]:
    """Return every installed plug-in by name, in alphabetical order.

    Raises:
        PhoticError: a plug-in does not load, or two share a name; the message names the package to fix.
    """
    plugins: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        plugin = _load(entry)
        known = plugins.get(plugin.name)
        if known is not None and known != plugin:
            raise PhoticError(f"two plug-ins are called '{plugin.name}': {known.package} and {plugin.package}; uninstall one")
        plugins[plugin.name] = plugin
    return plugins


def get_plugin(name: str) -> Plugin:
    """Return one plug-in.

    Raises:
        UnknownNameError: no such plug-in is installed.
    """
    plugins = installed_plugins()
    if name not in plugins:
        raise UnknownNameError(f"unknown application '{name}'{nearest(name, plugins)} (installed: {', '.join(plugins)})")
    return plugins[name]


def shipped_models() -> dict[str, Path]:
    """Return the name and bundle of each model that comes with an installed plug-in.

    Raises:
        PhoticError: two plug-ins bring a model of the same name.
    """
    found: dict[str, Path] = {}
    for plugin in installed_plugins().values():
        for name, path in plugin.shipped_models().items():
            if name in found:
                raise PhoticError(f"model '{name}' comes twice, as {found[name]} and {path}; uninstall one of the plug-ins")
            found[name] = path
    return found


def default_model(task: str) -> Path:
    """Return the bundle that commands take for a task where no model is named.

    Raises:
        ConfigError: no installed plug-in brings one.
    """
    for plugin in installed_plugins().values():
        found = plugin.shipped_models().get(plugin.default_models.get(task, ""))
        if found is not None:
            return found
    raise ConfigError(
        f"no model for the task '{task}' comes with this installation; name one with --model: a bundle (.photic), a run or a checkpoint, "
        "as `photic train` makes them"
    )


def file_model_of(task: str) -> str | None:
    """Return the reference to what takes files with models of a task, None where no plug-in does.

    Raises:
        PhoticError: two plug-ins do.
    """
    found = {plugin.name: plugin.file_models[task] for plugin in installed_plugins().values() if task in plugin.file_models}
    if len(found) > 1:
        raise PhoticError(f"models of the task '{task}' are used by several plug-ins: {', '.join(found)}; uninstall all but one")
    return next(iter(found.values()), None)


def describer_of(path: Path | str) -> str | None:
    """Return the reference to what describes files with this ending, None where no plug-in does.

    Raises:
        PhoticError: two plug-ins describe them.
    """
    suffix = Path(path).suffix.lower()
    found = {plugin.name: plugin.describers[suffix] for plugin in installed_plugins().values() if suffix in plugin.describers}
    if len(found) > 1:
        raise PhoticError(f"{suffix} files are described by several plug-ins: {', '.join(found)}; uninstall all but one")
    return next(iter(found.values()), None)


def named_model(name: Path | str) -> Path | None:
    """Return the bundle that goes by a name: one that comes with a plug-in, or one of the folders of :mod:`photic.core.shelf`.

    Raises:
        ConfigError: several do, and they are not the same.
    """
    shipped = shipped_models().get(str(name))
    found = ([] if shipped is None else [shipped]) + models_named(str(name))
    different = [path for path in found[1:] if not filecmp.cmp(found[0], path, shallow=False)]
    if different:
        raise ConfigError(
            f"{name}: several models go by this name: {', '.join(map(str, [found[0], *different]))}; give the path of the one that is "
            "meant, or rename one (`photic models` lists them)"
        )
    return found[0] if found else None


def model_source(model: Path | str) -> Path:
    """Return the path that a model's name or path means; what exists as a path is taken as one.

    Raises:
        UnknownNameError: neither a path nor the name of a model that comes with a plug-in or lies in a folder of the shelf.
        ConfigError: several models go by the name.
    """
    path = Path(model)
    if path.exists():
        return path
    found = named_model(model)
    if found is not None:
        return found
    known = [*shipped_models(), *(bundle.stem for bundle in local_bundles())]
    come = f"models by name: {', '.join(known)}" if known else "no models come with this installation"
    raise UnknownNameError(f"{model}: no such bundle, run or checkpoint{nearest(str(model), known)} ({come}; `photic models` lists them)")


def requirement(module: str) -> str | None:
    """Return name and version of the installed package whose plug-in a module belongs to, such as ``my-lab 1.2``; None for Photic's own."""
    return next((text for package, text in _brought().items() if module == package or module.startswith(package + ".")), None)


@cache
def _brought() -> dict[str, str]:
    """Return name and version of the installed package behind each plug-in's package, Photic's own left out."""
    found = [(_load(entry).package, entry.dist) for entry in entry_points(group=GROUP)]
    return {package: f"{dist.name} {dist.version}" for package, dist in found if dist is not None and dist.name != OWN}


def explained(error: UnknownNameError, where: Path, requires: Any) -> UnknownNameError:
    """Return an error about an unknown name with the place it stands in, and the packages to install if that is what is wrong.

    Args:
        error: what was unknown.
        where: file that names it.
        requires: what :func:`requirement` said when it was made.
    """
    return UnknownNameError(f"{where}: {error}{advice(requires)}")


def advice(requires: Any) -> str:
    """Return which of the packages that something was made with are not installed, and how to install them; empty if all are.

    What comes from a file is taken for what it should be, names and versions, or not at all.
    """
    given = [text for text in requires if isinstance(text, str)] if isinstance(requires, list | tuple) else []
    missing = [text for text in given if _REQUIREMENT.fullmatch(text) and not _is_installed(text.partition(" ")[0])]
    if not missing:
        return ""
    names = " ".join(text.partition(" ")[0] for text in missing)
    which = "which is" if len(missing) == 1 else "which are"
    return f". It was made with {', '.join(missing)}, {which} not installed here: pip install {names}"


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _load(entry: EntryPoint) -> Plugin:
    source = entry.dist.name if entry.dist is not None else entry.value
    try:
        plugin = entry.load()
    except Exception as error:
        raise PhoticError(f"plug-in '{entry.name}' of package {source} does not load: {error!r}; fix or uninstall {source}") from error
    if not isinstance(plugin, Plugin):
        raise PhoticError(f"plug-in '{entry.name}' of package {source} is a {type(plugin).__name__}, expected a photic Plugin")
    return plugin
