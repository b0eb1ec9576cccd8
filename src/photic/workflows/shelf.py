"""The shelf: which models there are on this machine, those that come with Photic and those in the user's folders. Works without torch.

Only headers are read, so that hundreds of bundles are listed at once; whether every bit of a file is as it was written is looked at when
it is used, by `photic info`, or where it is asked for (``check``).
"""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from photic.core.container import Header, read_header, verify_seal
from photic.core.errors import CheckpointError, ConfigError, PhoticError, UnknownNameError, nearest
from photic.core.files import atomic_path
from photic.core.index import entries, is_known
from photic.core.plugins import advice, shipped_models
from photic.core.shelf import SUFFIX, local_bundles, models_named, user_folder
from photic.inference.description import check_bundle, is_bundle
from photic.inference.measured import Score, mapping, scores

Order = Literal["name", "task", "score", "parameters", "size", "made"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class ShelfEntry:
    """One model of the shelf."""

    name: str
    """By which commands take it, if it lies in a folder of the shelf: its file's name without the ending."""
    path: Path
    """Its bundle."""
    shipped: bool
    """Whether it comes with Photic or a plug-in."""
    size_bytes: int | None = None
    task: str | None = None
    network: str | None = None
    """Registry name of its network."""
    parameters: int | None = None
    """How many numbers it learnt."""
    scores: tuple[Score, ...] = ()
    """The values that count for its task, the most important one first; empty where nothing was measured."""
    terms: str | None = None
    """Of its training data; None where nobody stated them."""
    title: str | None = None
    """What the bundle calls itself: a name, or experiment and id of the run it was made from."""
    made: str | None = None
    """When, ISO 8601."""
    sha256: str | None = None
    """Its checksum."""
    problem: str | None = None
    """Why it cannot be used here; None for one that can."""

    @property
    def score(self) -> Score | None:
        """The value that counts most."""
        return self.scores[0] if self.scores else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**plain, "path": str(self.path), "scores": [vars(score) for score in self.scores]}


def shelf(
    patterns: Sequence[str] | str = (),
    *,
    folders: Sequence[Path | str] | None = None,
    task: str | None = None,
    order: Order = "name",
    check: bool = False,
) -> list[ShelfEntry]:
    """Return the models that come with Photic and those in folders; what is damaged or newer is among them, with the reason.

    Args:
        patterns: names, or patterns with ``*`` and ``?``, of which one must match; empty takes all.
        folders: where bundles lie; None takes the folders of ``PHOTIC_MODELS`` or else the present one, and the user's. Folders below
            are not looked into.
        task: only models of this task.
        order: models that come with Photic stand first; among them, and among the others, by this. ``score``: by task, best first.
            ``parameters`` and ``size``: smallest first. ``made``: newest first.
        check: also read every file whole and hold it against its checksum (about 0.1 s per 100 MB).

    Raises:
        ConfigError: a folder is none.
        UnknownNameError: no installed plug-in knows the task.

    Example:
        >>> import photic
        >>> [model.name for model in photic.shelf(folders=[], task="raw_denoising")]
        ['rawdenoise']
    """
    places = None if folders is None else [Path(folder).expanduser() for folder in folders]
    for place in places or ():
        if not place.is_dir():
            raise ConfigError(f"{place}: no such folder; give one that holds bundles ({SUFFIX})")
    if task is not None and not is_known("tasks", task):
        known = list(entries("tasks"))
        raise UnknownNameError(f"unknown task '{task}'{nearest(task, known)} (`photic list tasks` shows all: {', '.join(known)})")
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    shipped = {path.resolve(): path for path in shipped_models().values()}
    local = [path for path in local_bundles(places) if path.resolve() not in shipped]
    chosen = [
        (path, comes)
        for comes, paths in ((True, list(shipped.values())), (False, local))
        for path in paths
        if not wanted or any(fnmatch.fnmatchcase(path.stem, pattern) for pattern in wanted)
    ]
    found = [_entry(path, shipped=comes, check=check) for path, comes in chosen]
    found = [one for one in found if task is None or one.task == task]
    return sorted(found, key=lambda one: (not one.shipped, _rank(one, order), one.name, str(one.path)))


def add_to_shelf(source: Path | str, name: str | None = None, *, force: bool = False) -> ShelfEntry:
    """Copy a bundle into the user's folder, whole or not at all, so that every command takes it by its name.

    Args:
        source: the bundle; it is checked as a whole.
        name: by which commands are to take it; None is that of its file.
        force: replace a model of that name in the user's folder.

    Raises:
        CheckpointError: the file is missing, damaged, altered, of a newer format, or no bundle.
        ConfigError: the name is none, is taken, or the folder cannot be written.
    """
    source = Path(source)
    chosen = source.stem if name is None else name
    if not _NAME.fullmatch(chosen):
        raise ConfigError(f"name '{chosen}': expected letters, digits, and . _ + - between them, at most 100; give one with --name")
    _whole(source)
    target = user_folder() / f"{chosen}{SUFFIX}"
    others = [path for path in (shipped_models().get(chosen), *models_named(chosen)) if path is not None]
    others = [path for path in others if path.resolve() not in (target.resolve(), source.resolve())]
    if others:
        raise ConfigError(f"name '{chosen}': is taken by {others[0]}; give another one with --name")
    if target.exists():
        if target.resolve() == source.resolve():
            raise ConfigError(f"{source}: lies in the user's folder already; commands take it as {chosen}")
        if not force:
            raise ConfigError(f"{target}: is there already; give another name (--name), or force (--force) to replace it")
    try:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
            _whole(temporary)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror or error}; nothing was changed there") from error
    return _entry(target, shipped=False, check=False)


def remove_from_shelf(name: str, *, force: bool = False) -> Path:
    """Delete a model from the user's folder; return where it lay.

    Args:
        name: by which commands take it.
        force: really delete it.

    Raises:
        UnknownNameError: the user's folder holds no model of this name.
        ConfigError: not forced, or the file cannot be deleted.
    """
    path = user_folder() / f"{name}{SUFFIX}"
    own = [bundle.stem for bundle in local_bundles([user_folder()])]
    if name not in own:
        elsewhere = [str(other) for other in (shipped_models().get(name), *models_named(name)) if other is not None]
        where = f"; {elsewhere[0]} is none of yours to remove here" if elsewhere else nearest(name, own)
        raise UnknownNameError(f"{name}: no such model in {user_folder()}{where} (there are: {', '.join(own) or 'none'})")
    if not force:
        raise ConfigError(f"{path}: would be deleted; say --force to do so")
    try:
        path.unlink()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be deleted: {error.strerror or error}") from error
    return path


def _entry(path: Path, *, shipped: bool, check: bool) -> ShelfEntry:
    """Return what the header of a file says, or what is wrong with it."""
    size = None
    try:
        header = read_header(path)
        size = path.stat().st_size
        _check(header, path)
        if check and header.sha256 is not None:
            verify_seal(path, header.sha256)
    except (PhoticError, OSError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        return ShelfEntry(name=path.stem, path=path, shipped=shipped, size_bytes=size, problem=reason)
    description = header.description
    config = description["config"]
    return ShelfEntry(
        name=path.stem,
        path=path,
        shipped=shipped,
        size_bytes=size,
        task=config["task"]["name"],
        network=config["model"]["name"],
        parameters=mapping(description["parameters"]).get("total"),
        scores=tuple(scores(description)),
        terms=description["data"]["terms"],
        title=description["name"],
        made=description["created"],
        sha256=header.sha256,
        problem=_missing(description),
    )


def _check(header: Header, path: Path) -> None:
    if not is_bundle(header.description):
        raise CheckpointError(f"{path}: a checkpoint of a training run, no bundle; make one: photic bundle RUN -o {path.name}")
    check_bundle(header.description, header.sha256 is not None, path)


def _whole(path: Path) -> None:
    """Refuse what is no bundle, or not as it was written."""
    header = read_header(path)
    _check(header, path)
    assert header.sha256 is not None, "an unsealed bundle is refused"
    verify_seal(path, header.sha256)


def _missing(description: dict[str, Any]) -> str | None:
    """Return which parts of a model are not installed here."""
    config = description["config"]
    lacking = [f"the {what} '{config[what]['name']}'" for what in ("task", "model") if not is_known(f"{what}s", config[what]["name"])]
    if not lacking:
        return None
    return f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not known here{advice(description['requires'])}"


def _rank(entry: ShelfEntry, order: Order) -> tuple[Any, ...]:
    if order == "task":
        return (entry.task is None, entry.task)
    if order == "score":
        score = entry.score
        if score is None:
            return (entry.task is None, entry.task or "", True, 0.0)
        return (False, entry.task or "", False, score.value if score.higher_is_better is False else -score.value)
    if order in ("parameters", "size"):
        value = entry.parameters if order == "parameters" else entry.size_bytes
        return (value is None, value)
    if order == "made":
        return (entry.made is None, tuple(-ord(letter) for letter in entry.made or ""))
    return ()
