"""Dark pictures and the true pictures that belong to them, found in the folder layouts people have."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from photic.apps.lowlight.layouts import FolderPair, describe_layouts, find_folders, hint_at_other_root
from photic.core.errors import DataError
from photic.data.images import list_images

Pairing = Literal["strict", "flexible", "none"]
PAIRS_FILE = "pairs.csv"
_COLUMNS = ("name", "low", "high")
_SHOWN = 5
_ROLES = (
    "low", "lowlight", "low_light", "dark", "under", "underexposed", "short", "input", "noisy", "lq",
    "high", "normal", "normallight", "normal_light", "bright", "well", "long", "gt", "truth", "target", "reference", "ref", "clean", "hq",
)  # fmt: skip
"""Words in a file's name that say which of the two it is."""
_WORDS = "|".join(sorted((word.replace("_", "[_-]?") for word in _ROLES), key=len, reverse=True))
# A role is a word of its own: after a separator or a digit at the end, before one at the beginning.
_AT_END = re.compile(rf"(?:[ _.-]+|(?<=\d))(?:{_WORDS})$")
_AT_BEGINNING = re.compile(rf"^(?:{_WORDS})(?:[ _.-]+|(?=\d))")
# See-in-the-Dark names: scene, frame and exposure time (00001_00_0.04s).
_EXPOSURE = re.compile(r"^(?P<scene>\d+)_(?P<frame>\d+)_(?P<seconds>\d+(?:\.\d+)?)s$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A dark picture and, where it is known, the true one."""

    name: str
    """What it is called: the dark picture's path below its folder, without the ending."""
    low: Path
    """The dark picture."""
    high: Path | None
    """The true picture; None where nobody knows it."""
    scene: str
    """What was photographed; pictures of one scene never lie on both sides of a split."""
    scene_given: bool = False
    """Files or names say so; otherwise the scene is the picture's own name until pictures are compared."""
    phase: str | None = None
    """``train``, ``val`` or ``test`` where the layout says so."""


@dataclass(frozen=True)
class Problem:
    """Something that makes files of a data set unusable as they are."""

    kind: str
    """Short name of what is wrong, for counting."""
    message: str
    """File, what was expected, what to do."""
    names: tuple[str, ...] = ()
    """The pairs it is about, if they were formed."""


@dataclass(frozen=True)
class PairTable:
    """Every pair of a folder, in order of their names."""

    root: Path
    """The folder."""
    layout: str
    """How it was laid out, in words."""
    pairs: tuple[Pair, ...]
    """What can be used."""
    problems: tuple[Problem, ...] = ()
    """What cannot, and why."""
    notes: tuple[str, ...] = ()
    """What a user should know and need not change."""

    def refuse_problems(self) -> None:
        """Raise what is wrong.

        Raises:
            DataError: there are problems; the message shows the first few and counts them.
        """
        if self.problems:
            shown = "".join(f"\n  {problem.message}" for problem in self.problems[:_SHOWN])
            more = f"\n  ... and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
            count = f"{len(self.problems)} problem" + "s" * (len(self.problems) != 1)
            raise DataError(
                f"{self.root}: {count} with the pictures (layout {self.layout}):{shown}{more}\n"
                "`photic data check lowlight ROOT` lists them all; data.faulty=skip leaves these files out"
            )

    def without(self, problems: Sequence[Problem]) -> PairTable:
        """Return the table without the pairs that further problems are about, those problems added."""
        gone = {name for problem in problems for name in problem.names}
        kept = tuple(pair for pair in self.pairs if pair.name not in gone)
        return replace(self, pairs=kept, problems=(*self.problems, *problems))


def read_pairs(root: Path | str, pairing: Pairing = "flexible") -> PairTable:
    """Find the pairs of a folder.

    A ``pairs.csv`` (columns name, low, high and perhaps scene; paths relative to the folder) comes before everything else. Without
    one, the layouts of :mod:`photic.apps.lowlight.layouts` are tried. Names are compared as a whole, never by a number they begin with.

    Args:
        root: the folder.
        pairing: ``strict`` pairs equal names (endings aside); ``flexible`` also those that are equal without words such as low, dark,
            normal or gt at either end, and See-in-the-Dark names by their scene (several short exposures to one long one); ``none``
            takes dark pictures alone.

    Raises:
        DataError: there is no such folder, nothing in it can be read as a layout, or which picture belongs to which is ambiguous.
            Smaller faults (files without a partner) are in the table's ``problems``.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"data.root={root}: {what} (from {Path.cwd()}); expected one of:{describe_layouts()}")
    if (root / PAIRS_FILE).is_file():
        return _from_csv(root, pairing)
    folders = find_folders(root)
    if pairing == "none":
        return _unpaired(root, folders)
    if not folders:
        raise DataError(
            f"data.root={root}: no pairs of folders found{hint_at_other_root(root)}; looked for:{describe_layouts()}\n"
            "dark pictures without true ones are read with data.pairing=none"
        )
    pairs: list[Pair] = []
    problems: list[Problem] = []
    for folder in folders:
        made, wrong = _matched(root, folder, pairing)
        pairs += made
        problems += wrong
    if not pairs:
        first = problems[0].message if problems else "there are no pictures in them"
        raise DataError(
            f"data.root={root}: no picture of {folders[0].low} has a partner in {folders[0].high} (pairing {pairing}): {first}"
            + ("; data.pairing=flexible also matches names that differ in a word such as low or normal" if pairing == "strict" else "")
        )
    layout = ", ".join(dict.fromkeys(folder.layout for folder in folders))
    return PairTable(root, layout, tuple(sorted(pairs, key=lambda pair: pair.name)), tuple(problems))


def key_of(name: str) -> str:
    """Return what is left of a file's name (no ending) without the words at its ends that say which of a pair it is.

    >>> key_of("12_low"), key_of("normal00001"), key_of("Castle-GT"), key_of("slow")
    ('12', '00001', 'castle', 'slow')
    """
    folder, slash, stem = name.casefold().rpartition("/")
    for pattern in (_AT_END, _AT_BEGINNING):
        rest = pattern.sub("", stem)
        stem = rest or stem
    return folder + slash + stem


def _from_csv(root: Path, pairing: Pairing) -> PairTable:
    path = root / PAIRS_FILE
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}: no column {', '.join(missing)} (columns: {', '.join(reader.fieldnames or ()) or 'none'}); "
                "expected name, low, high and perhaps scene"
            )
        rows = list(reader)
    pairs: list[Pair] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        name, low, high = ((row[column] or "").strip() for column in _COLUMNS)
        if not name or not low:
            raise DataError(f"{path}, line {line}: name and low must not be empty, got name '{name}' and low '{low}'")
        if name in lines:
            raise DataError(f"{path}, line {line}: the name '{name}' is in line {lines[name]} already; names must differ")
        lines[name] = line
        if pairing == "none":
            high = ""
        absent = [file for file in (low, high) if file and not (root / file).is_file()]
        if absent:
            problems.append(Problem("missing file", f"{path}, line {line}: no such file {root / absent[0]} (pair '{name}')"))
            continue
        if not high and pairing != "none":
            problems.append(Problem("unpaired", f"{path}, line {line}: pair '{name}' has no true picture (column high is empty)"))
            continue
        scene = (row.get("scene") or "").strip()
        pairs.append(Pair(name, root / low, root / high if high else None, scene or name, scene_given=bool(scene)))
    if not pairs and not problems:
        raise DataError(f"{path}: no rows; expected one per pair")
    return PairTable(root, PAIRS_FILE, tuple(pairs), tuple(problems))


def _unpaired(root: Path, folders: Sequence[FolderPair]) -> PairTable:
    """Return dark pictures alone: those of the dark folders of a layout, or everything in the folder."""
    if folders:
        places = [(folder.prefix, folder.low, folder.phase) for folder in folders]
        layout = "dark pictures of " + ", ".join(dict.fromkeys(folder.layout for folder in folders))
    else:
        places, layout = [("", root, None)], "a folder of dark pictures"
    pairs = [_pair(prefix, name, path, None, phase) for prefix, folder, phase in places for name, path in _named(folder).items()]
    return PairTable(root, layout, tuple(sorted(pairs, key=lambda pair: pair.name)))


def _named(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by their path in it, without the ending."""
    found: dict[str, Path] = {}
    for path in list_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{path}: {found[name].name} beside it has the same name; keep one of the two, or write a {PAIRS_FILE}")
        found[name] = path
    return found


def _matched(root: Path, folder: FolderPair, pairing: Pairing) -> tuple[list[Pair], list[Problem]]:
    lows, highs = _named(folder.low), _named(folder.high)
    partner = {name: name for name in lows if name in highs}
    if pairing == "flexible":
        if _all_match(_EXPOSURE, (*lows, *highs)):
            partner = _matched_exposures(folder, lows, highs)
        else:
            partner |= _matched_keys(folder, lows, highs, partner)
    pairs = [_pair(folder.prefix, name, lows[name], highs[other], folder.phase) for name, other in partner.items()]
    used = set(partner.values())
    problems = [
        Problem("unpaired", f"{path.relative_to(root)}: no true picture of that name in {folder.high.relative_to(root)}/")
        for name, path in lows.items()
        if name not in partner
    ]
    problems += [
        Problem("unpaired", f"{path.relative_to(root)}: no dark picture of that name in {folder.low.relative_to(root)}/")
        for name, path in highs.items()
        if name not in used
    ]
    return pairs, problems


def _matched_keys(folder: FolderPair, lows: Iterable[str], highs: Iterable[str], exact: dict[str, str]) -> dict[str, str]:
    """Pair what has no partner of exactly its name by what is left of the names."""
    of_low, of_high = _grouped(lows, key_of), _grouped(highs, key_of)
    found = {}
    for key, names in of_low.items():
        if all(name in exact for name in names) or key not in of_high:
            continue
        if len(names) > 1 or len(of_high[key]) > 1:
            raise DataError(
                f"{folder.low}: which belongs to which is ambiguous: {', '.join(names)} there, {', '.join(of_high[key])} in {folder.high}; "
                f"rename them, set data.pairing=strict, or write a {PAIRS_FILE} (name, low, high, scene)"
            )
        found[names[0]] = of_high[key][0]
    return found


def _matched_exposures(folder: FolderPair, lows: Iterable[str], highs: Iterable[str]) -> dict[str, str]:
    """Give every short exposure the long exposure of its scene."""
    long_of = _grouped(highs, _sid_scene)
    found = {}
    for name in lows:
        candidates = long_of.get(_sid_scene(name), [])
        if len(candidates) > 1:
            raise DataError(
                f"{folder.high}: scene {_sid_scene(name)} has {len(candidates)} long exposures ({', '.join(candidates)}); "
                f"expected one. Keep one, or write a {PAIRS_FILE} (name, low, high, scene)"
            )
        if candidates:
            found[name] = candidates[0]
    return found


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def _all_match(pattern: re.Pattern[str], names: Sequence[str]) -> bool:
    return bool(names) and all(pattern.match(name.rpartition("/")[2]) for name in names)


def _sid_scene(name: str) -> str:
    match = _EXPOSURE.match(name.rpartition("/")[2])
    return match["scene"] if match else name


def _pair(prefix: str, name: str, low: Path, high: Path | None, phase: str | None) -> Pair:
    scene = _sid_scene(name)
    return Pair(prefix + name, low, high, prefix + scene, phase=phase, scene_given=scene != name)


def table_fingerprint(table: PairTable) -> str:
    """Return a SHA-256 over names, scenes and sizes of files: it changes when the data do, not when they move."""
    digest = hashlib.sha256()
    for pair in table.pairs:
        sizes = [path.stat().st_size for path in (pair.low, pair.high) if path is not None]
        digest.update("\x1f".join([pair.name, pair.scene, *map(str, sizes)]).encode() + b"\n")
    return digest.hexdigest()
