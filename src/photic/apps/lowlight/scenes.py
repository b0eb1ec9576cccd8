"""Which pairs show one scene, and splits that never have a scene on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photic.apps.lowlight.pairing import PairTable, Problem
from photic.core.errors import DataError
from photic.core.files import sha256_of
from photic.data.base import PHASES
from photic.data.near_duplicates import Signature, group_signatures, reduced, signature
from photic.data.photo.depth import Pixels, as_kind
from photic.data.photo.files import read_photo
from photic.data.split import random_split

Indices = dict[str, NDArray[np.int64]]
UNPAIRED_PREFIX = "unpaired/"
"""Comes before the names of dark pictures without truth that are mixed into training."""


def scene_numbers(table: PairTable) -> list[int]:
    """Return the scene of every pair as a number from 0, by first appearance."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(pair.scene, len(numbers)) for pair in table.pairs]


def signature_of(pixels: Pixels) -> Signature:
    """Return the fine structure of a picture ``(H, W, 3)``, which exposure hardly changes; two of one scene correlate."""
    return signature(reduced(Image.fromarray(as_kind(pixels, np.uint8))))


def join_scenes(table: PairTable, *, compare: bool = True) -> PairTable:
    """Join scenes that are one: their true (or else dark) pictures are the same file twice, or nearly the same picture.

    Pictures whose scene the data give are compared as files alone.

    Args:
        table: the pairs.
        compare: look at the pixels of pictures whose scene nobody gave (about 12 ms each for 600 x 400).

    Returns:
        The table with its scenes and notes. Pictures that cannot be decoded are among its problems.
    """
    files = [pair.high or pair.low for pair in table.pairs]
    sizes: dict[int, list[int]] = {}
    for row, file in enumerate(files):
        sizes.setdefault(file.stat().st_size, []).append(row)
    contents: dict[str, list[int]] = {}
    for row in (row for rows in sizes.values() if len(rows) > 1 for row in rows):
        contents.setdefault(sha256_of(files[row]), []).append(row)
    table = _joined(table, list(contents.values()), "identical")
    asked = [row for row, pair in enumerate(table.pairs) if compare and not pair.scene_given]
    if not asked:
        return table

    def look(row: int) -> Signature | Problem:
        try:
            return signature_of(read_photo(files[row]).pixels)
        except DataError as error:
            return Problem("unreadable", str(error), (table.pairs[row].name,))

    with ThreadPoolExecutor() as pool:
        found = dict(zip(asked, pool.map(look, asked), strict=True))
    wrong = [problem for problem in found.values() if isinstance(problem, Problem)]
    rows = [row for row, value in found.items() if not isinstance(value, Problem)]
    if rows:
        groups = group_signatures(np.stack([value for value in found.values() if not isinstance(value, Problem)]))
        members: dict[int, list[int]] = {}
        for row, group in zip(rows, groups.tolist(), strict=True):
            members.setdefault(group, []).append(row)
        table = _joined(table, list(members.values()), "nearly the same")
    return table.without(wrong)


def _joined(table: PairTable, groups: Sequence[Sequence[int]], why: str) -> PairTable:
    """Join the scenes of the rows of each group."""
    into: dict[str, str] = {}

    def first(scene: str) -> str:
        while scene in into:
            scene = into[scene]
        return scene

    for group in groups:
        scenes = [first(table.pairs[row].scene) for row in group]
        into.update({scene: scenes[0] for scene in dict.fromkeys(scenes[1:]) if scene != scenes[0]})
    if not into:
        return table
    pairs = tuple(replace(pair, scene=first(pair.scene)) for pair in table.pairs)
    note = (
        f"{len(into)} scenes were joined with others, since their pictures are {why} (for example {' and '.join(next(iter(into.items())))})"
    )
    return replace(table, pairs=pairs, notes=(*table.notes, note))


def split_by_scene(table: PairTable, val_fraction: float, test_fraction: float = 0.0, seed: int = 0) -> tuple[Indices, tuple[str, ...]]:
    """Split pairs so that no scene is on two sides; parts given by the folders stay as they are.

    Args:
        table: the pairs.
        val_fraction: share of the pairs for validation.
        test_fraction: share for the test; 0 makes none.
        seed: draws which scenes go where.

    Returns:
        Rows of ``train``, ``val`` and perhaps ``test``, and what a user should know.

    Raises:
        DataError: there are too few scenes, or a scene lies in two parts that the folders give.
    """
    scenes = np.array(scene_numbers(table))
    given = np.array([pair.phase or "train" for pair in table.pairs])
    _refuse_leaks(table, scenes, given)
    fixed = {phase: np.flatnonzero(given == phase) for phase in ("val", "test") if (given == phase).any()}
    pool = np.flatnonzero(given == "train")
    shares = {phase: share for phase, share in (("val", val_fraction), ("test", test_fraction)) if share and phase not in fixed}
    units: NDArray[np.int64] = np.unique(scenes[pool], return_inverse=True)[1]
    num_scenes = len(np.unique(units))
    if num_scenes < len(shares) + 1:
        raise DataError(
            f"{table.root}: {num_scenes} scene{'s' if num_scenes != 1 else ''} cannot be split into train, {', '.join(shares)} without"
            " a scene on two sides; add pictures, or give a split in data.split_file"
        )
    indices: Indices = dict(fixed)
    if shares:
        ratios = np.array([1 - sum(shares.values()), *shares.values()])
        parts = random_split(units, ratios, seed)
        indices |= {phase: pool[rows] for phase, rows in zip(("train", *shares), parts, strict=True)}
    else:
        indices["train"] = pool
    notes = tuple(f"{phase}: the part of that name in the folders ({len(rows)} pictures)" for phase, rows in fixed.items())
    shared = len(table.pairs) - int(scenes.max()) - 1
    if shared:
        notes = (*notes, f"{int(scenes.max()) + 1} scenes among {len(table.pairs)} pictures; pictures of one scene stay in one split")
    return {phase: indices[phase] for phase in PHASES if phase in indices}, notes


def _refuse_leaks(table: PairTable, scenes: NDArray[np.int64], given: NDArray[np.str_]) -> None:
    for scene in np.unique(scenes):
        own = np.flatnonzero(scenes == scene)
        if len(set(given[own].tolist())) > 1:
            listed = ", ".join(f"{table.pairs[row].name} ({given[row]})" for row in own[:4])
            raise DataError(
                f"{table.root}: one scene lies in two parts that the folders give: {listed}; what is trained on would be measured on. "
                "Move these pictures into one part, or give a split in data.split_file"
            )
