"""Where raw pictures lie and what their names say: RawNIND's folders, file names and list of scenes, folders per scene, flat folders."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from photic.apps.rawnind.files.reading import RAW_SUFFIXES
from photic.core.errors import DataError

Role = Literal["gt", "noisy"]
SCENE_FILES = ("dataset.yaml", "dataset_index.yaml", "dataset_index.yaml.gz")
"""RawNIND's list of scenes, under the names it has there and elsewhere."""
TRUTH_FOLDER = "gt"
_SENSORS = ("bayer", "x-trans")
_NAME = re.compile(
    r"^(?P<sensor>Bayer|X-Trans)_(?:UNK_)?(?P<test>TEST_)?(?P<scene>.+?)_(?P<gt>GT_)?ISO(?P<iso>[^_]+)_sha1=[0-9a-f]{40}$", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class FoundPicture:
    """A raw file, and what its place and name say about it."""

    path: Path
    name: str
    """Its path below the folder that was searched, with ``/``."""
    scene: str | None = None
    """What it shows; None where nothing says so."""
    role: Role | None = None
    """``gt``: one of the clean pictures of its scene, ``noisy``: none; None where nothing says so."""
    iso: float | None = None
    """By its name."""
    test_reserve: bool = False
    """The scene is kept for the test."""


@dataclass(frozen=True)
class Found:
    """The raw pictures of a folder."""

    root: Path
    layout: str
    """How they were laid out, in words."""
    pictures: tuple[FoundPicture, ...]
    """In order of their names."""
    notes: tuple[str, ...] = ()


def find_pictures(root: Path, *, without: Path | None = None) -> Found:
    """Find the raw files of a folder.

    What says which picture shows what, in this order: RawNIND's ``dataset.yaml`` in the folder; its file names
    (``Bayer_SCENE_GT_ISO50_sha1=....arw``); folders ``SCENE/gt/``; folders per scene. In a flat folder nothing does.

    Args:
        root: the folder; folders in it are searched, too.
        without: a folder in it that is left out (what was prepared of it).

    Raises:
        DataError: there is no such folder, no raw file in it, or the list of scenes cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with raw files")
    paths = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in RAW_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and (without is None or not path.is_relative_to(without))
    ]
    if not paths:
        raise DataError(f"{root}: no raw files in it or in folders below it (looked for {', '.join(sorted(RAW_SUFFIXES))})")
    listed = next((root / name for name in SCENE_FILES if (root / name).is_file()), None)
    if listed is not None:
        return _by_list(root, paths, listed)
    found = tuple(_placed(root, path) for path in paths)
    named = sum(_NAME.match(path.stem) is not None for path in paths)
    if named:
        layout = "RawNIND's file names" + (f" ({len(paths) - named} files have others)" if named < len(paths) else "")
    elif all(picture.scene is None for picture in found):
        layout = "a flat folder"
    else:
        layout = "folders per scene" + (" with gt/" if any(picture.role for picture in found) else "")
    return Found(root, layout, found)


def read_scenes(path: Path) -> dict[str, FoundPicture]:
    """Return file name to what RawNIND's list of scenes says about it; paths are the bare names.

    Raises:
        DataError: it cannot be read, or is no such list.
    """
    try:
        data = path.read_bytes()
        content = yaml.load(gzip.decompress(data) if path.suffix == ".gz" else data, _LOADER)
    except (OSError, EOFError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as RawNIND's list of scenes ({error})") from error
    found: dict[str, FoundPicture] = {}
    for scenes in _mapping(content, path).values():
        for scene, value in _mapping(scenes, path).items():
            entry = _mapping(value, path)
            roles: tuple[tuple[str, Role], ...] = (("clean_images", "gt"), ("noisy_images", "noisy"))
            for key, role in roles:
                for picture in entry.get(key) or ():
                    name = str(_mapping(picture, path).get("filename"))
                    iso = _iso_of(Path(name).stem)
                    found[name] = FoundPicture(Path(name), name, str(scene), role, iso, bool(entry.get("test_reserve")))
    if not found:
        raise DataError(f"{path}: names no pictures; expected sensors, their scenes, and clean_images and noisy_images in each")
    return found


def scene_in_name(stem: str) -> tuple[str, Role, bool] | None:
    """Return scene, role and whether it is kept for the test, from a file's name as RawNIND gives it (no ending); None: another name.

    >>> scene_in_name("Bayer_TEST_7D-2_GT_ISO100_sha1=" + "0" * 40)
    ('7D-2', 'gt', True)
    """
    match = _NAME.match(stem)
    if match is None:
        return None
    return match["scene"], "gt" if match["gt"] else "noisy", match["test"] is not None


def _by_list(root: Path, paths: list[Path], listed: Path) -> Found:
    known = read_scenes(listed)
    pictures, unknown = [], 0
    for path in paths:
        entry = known.get(path.name)
        if entry is None:
            unknown += 1
            pictures.append(_placed(root, path))
        else:
            name = path.relative_to(root).as_posix()
            pictures.append(FoundPicture(path, name, entry.scene, entry.role, entry.iso, entry.test_reserve))
    notes = []
    here = {path.name for path in paths}
    missing = sum(Path(name).suffix.lower() in RAW_SUFFIXES and name not in here for name in known)
    if missing:
        notes.append(
            f"{missing} of the {len(known)} pictures that {listed.name} names are not here (`photic data download rawnind` fetches them)"
        )
    if unknown:
        notes.append(f"{unknown} raw files are not named in {listed.name}; their places and names say what they show")
    return Found(root, f"RawNIND's {listed.name}", tuple(pictures), tuple(notes))


def _placed(root: Path, path: Path) -> FoundPicture:
    """Read a picture's name, or else its folders."""
    name = path.relative_to(root).as_posix()
    iso = _iso_of(path.stem)
    named = scene_in_name(path.stem)
    if named is not None:
        return FoundPicture(path, name, named[0], named[1], iso, named[2])
    folders = [part for part in path.relative_to(root).parts[:-1] if part.casefold() not in _SENSORS]
    if folders and folders[-1].casefold() == TRUTH_FOLDER:
        return FoundPicture(path, name, "/".join(folders[:-1]) or root.name, "gt", iso)
    if folders:
        role: Role | None = "noisy" if (path.parent / TRUTH_FOLDER).is_dir() else None
        return FoundPicture(path, name, "/".join(folders), role, iso)
    if (root / TRUTH_FOLDER).is_dir():
        return FoundPicture(path, name, root.name, "noisy", iso)
    return FoundPicture(path, name, iso=iso)


def _iso_of(stem: str) -> float | None:
    match = _NAME.match(stem)
    number = _NUMBER.search(match["iso"]) if match else None
    return float(number[0]) if number else None


def _mapping(value: Any, path: Path) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{path}: is no list of scenes as RawNIND has it: expected a mapping, got {type(value).__name__}")
    return value


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
