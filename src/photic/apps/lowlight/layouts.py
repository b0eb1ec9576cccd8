"""Where dark and true pictures lie: the folder layouts of published sets, and simple pairs of folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PAIRS = (
    ("low", "high"), ("low", "normal"), ("train_data", "train_gt"), ("test_data", "test_gt"), ("short", "long"), ("dark", "bright"),
    ("low", "gt"), ("dark", "gt"), ("input", "gt"), ("input", "target"), ("low", "target"), ("lq", "gt"), ("lowlight", "normallight"),
)  # fmt: skip
"""Names of folders that belong together; upper and lower case do not matter."""
_PHASES = {"train": "train", "training": "train", "our485": "train", "val": "val", "valid": "val", "validation": "val",
           "test": "test", "testing": "test", "eval15": "test", "eval": "test"}  # fmt: skip
_HALVES = {"train_data": "train", "test_data": "test"}
_SETS = ("real_captured", "synthetic")
_EXPECTED = (
    "pairs.csv with the columns name, low, high and perhaps scene (paths relative to the folder)",
    "low/ and high/, or: " + ", ".join(f"{low}/ and {high}/" for low, high in _PAIRS[1:]),
    "LOL-v1: our485/low, our485/high and perhaps eval15/low, eval15/high",
    "LOL-v2: Real_captured/Train/Low, .../Normal and .../Test/...; Synthetic/ likewise; or one of the two as the root",
    "train/low, train/high and perhaps val/..., test/... with any of these pairs of names",
    "See-in-the-Dark as pictures: short/ and long/ with names such as 00001_00_0.04s.png and 00001_00_10s.png",
)


@dataclass(frozen=True)
class FolderPair:
    """A folder of dark pictures and the folder of the true ones."""

    layout: str
    """The names of the two, as found."""
    low: Path
    """Folder of dark pictures."""
    high: Path
    """Folder of true pictures."""
    prefix: str = ""
    """Comes before the names of the pictures, so that names of several folders differ."""
    phase: str | None = None
    """``train``, ``val`` or ``test`` if the folders say so."""


def find_folders(root: Path) -> list[FolderPair]:
    """Return the pairs of folders of a root, whichever layout it has; empty if it has none."""
    found = list(_pairs_in(root, "", None))
    if found:
        return found
    folders = _subfolders(root)
    for name, folder in folders.items():
        if name in _PHASES:
            found += _pairs_in(folder, f"{folder.name}/", _PHASES[name])
    for name in _SETS:
        if name in folders:
            for phase, folder in _subfolders(folders[name]).items():
                if phase in _PHASES:
                    found += _pairs_in(folder, f"{folders[name].name}/{folder.name}/", _PHASES[phase])
    return found


def describe_layouts() -> str:
    """Return the layouts as lines of a message."""
    return "".join(f"\n  {line}" for line in _EXPECTED)


def hint_at_other_root(root: Path) -> str:
    """Say which folder in or above a root has a layout, if one has."""
    for other in (*_subfolders(root).values(), root.parent):
        if (other / "pairs.csv").is_file() or find_folders(other):
            return f"; did you mean data.root={other}?"
    return ""


def _pairs_in(folder: Path, prefix: str, phase: str | None) -> Iterator[FolderPair]:
    """Yield the first known pair of names; train_data and test_data beside each other are two halves of one set."""
    folders = _subfolders(folder)
    known = [(low, high) for low, high in _PAIRS if low in folders and high in folders]
    halves = [names for names in known if names[0] in _HALVES]
    if len(halves) == len(_HALVES):
        for low, high in halves:
            title = folders[low].name
            yield FolderPair(f"{prefix}{title} and {folders[high].name}", folders[low], folders[high], f"{prefix}{title}/", _HALVES[low])
    elif known:
        low, high = known[0]
        yield FolderPair(f"{prefix}{folders[low].name} and {folders[high].name}", folders[low], folders[high], prefix, phase)


def _subfolders(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
