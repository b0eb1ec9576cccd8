"""Training, validation and test by scene: no scene is on two sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from photic.core.errors import DataError
from photic.data.base import PHASES
from photic.data.split import random_split


def split_scenes(
    scenes: Sequence[str], reserved: Sequence[bool], *, val_fraction: float, test_fraction: float, seed: int, where: str
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Return the rows of ``train``, ``val`` and perhaps ``test``, and what a user should know.

    Args:
        scenes: of each row.
        reserved: which rows are kept for the test; with any, they are the test, whatever ``test_fraction`` is.
        val_fraction: share of the rows for validation.
        test_fraction: share for the test; 0 makes none, 1 leaves nothing else.
        seed: draws which scenes go where.
        where: names the data in messages.

    Raises:
        DataError: too few scenes.

    >>> split_scenes(["a", "b", "c"], [False, True, False], val_fraction=0.2, test_fraction=0.2, seed=0, where="x")[0]["test"]
    [1]
    """
    if test_fraction == 1:
        return {"test": list(range(len(scenes)))}, ("all pairs are for the test",)
    kept = {scene for scene, flag in zip(scenes, reserved, strict=True) if flag}
    fixed = [row for row, scene in enumerate(scenes) if scene in kept]
    pool = [row for row, scene in enumerate(scenes) if scene not in kept]
    shares = {"train": 1 - val_fraction - (0 if fixed else test_fraction), "val": val_fraction}
    if test_fraction and not fixed:
        shares["test"] = test_fraction
    names = sorted({scenes[row] for row in pool})
    if len(names) < len(shares):
        raise DataError(
            f"{where}: {len(names)} scene{'s' * (len(names) != 1)}{' beside those kept for the test' if fixed else ''} cannot be split "
            f"into {', '.join(shares)} without a scene on two sides; add pictures of other scenes"
            + ("" if fixed or not test_fraction else ", or set data.test_fraction=0")
            + "; to evaluate on all of them, set data.test_fraction=1"
        )
    numbers = {scene: number for number, scene in enumerate(names)}
    units = np.array([numbers[scenes[row]] for row in pool])
    ratios = np.array(list(shares.values()))
    parts = random_split(units, ratios / ratios.sum(), seed)
    rows = {phase: [pool[place] for place in part] for phase, part in zip(shares, parts, strict=True)}
    notes: tuple[str, ...] = ()
    if fixed:
        rows["test"] = fixed
        notes = (f"test: the {len(kept)} scenes that are kept for it ({len(fixed)} pairs)",)
    return {phase: rows[phase] for phase in PHASES if phase in rows}, notes
