"""Where bundles of this machine lie: the folders in which a model is found by its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".photic"
"""Ending of bundles."""
SEARCH_PATH = "PHOTIC_MODELS"
"""Environment variable: folders with bundles, separated as in ``PATH``; they are looked at in place of the present folder."""


def user_folder() -> Path:
    r"""Return the folder for models of the present user, by the conventions of the system; it need not exist.

    ``$XDG_DATA_HOME/photic/models`` (``~/.local/share/photic/models``), ``~/Library/Application Support/photic/models`` on macOS,
    ``%LOCALAPPDATA%\photic\models`` on Windows.
    """
    given, home = os.environ.get("XDG_DATA_HOME", ""), Path.home()
    if given and Path(given).is_absolute():  # the convention: a relative one is to be ignored
        base = Path(given)
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = home / ".local" / "share"
    return base / "photic" / "models"


def shelf_folders() -> tuple[Path, ...]:
    """Return the folders in which bundles go by their names: those of ``PHOTIC_MODELS``, or else the present one; and the user's."""
    given = [Path(part).expanduser() for part in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if part]
    return (*(given or (Path(),)), user_folder())


def local_bundles(folders: Sequence[Path] | None = None) -> list[Path]:
    """Return the files in folders, not in those below, whose names are those of bundles; each once.

    Args:
        folders: None takes :func:`shelf_folders`. One that is missing or may not be read holds none.
    """
    found: dict[Path, Path] = {}
    for folder in shelf_folders() if folders is None else folders:
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX) and not name.startswith("."))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            found.setdefault((folder / name).resolve(), folder / name)
    return list(found.values())


def models_named(name: str) -> list[Path]:
    """Return the bundles of the shelf's folders that go by a name, which is that of the file without its ending."""
    if not name or name in (".", "..") or Path(name).name != name:
        return []
    found: dict[Path, Path] = {}
    for folder in shelf_folders():
        path = folder / f"{name}{SUFFIX}"
        if path.is_file():
            found.setdefault(path.resolve(), path)
    return list(found.values())
