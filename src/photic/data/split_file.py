"""Saved splits: the ``split.json`` of a run, read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.data.base import PHASES


def read_split(
    path: Path, names: Sequence[str], *, required: Sequence[str] = PHASES, foreign: str | None = None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Read a saved split: phase to list of names.

    Args:
        path: the JSON file, given as ``data.split_file``.
        names: of all samples, in the order of their rows.
        required: phases that must be there and not empty; others may be.
        foreign: names that begin so are none of this split's business; None knows none.

    Returns:
        Rows of each phase, empty ones left out, and what a user should know.

    Raises:
        DataError: no such file, no split, a name that is not in the data or comes twice, a required part without a name.
    """
    where = f"data.split_file={path}"
    content = _content(path, where, required)
    parts = {phase: [name for name in part if foreign is None or not name.startswith(foreign)] for phase, part in content.items()}
    rows = {name: row for row, name in enumerate(names)}
    used: dict[str, str] = {}
    for phase, part in parts.items():
        for name in part:
            if name not in rows:
                missing = sum(other not in rows for others in parts.values() for other in others)
                raise DataError(
                    f"{where}: '{name}' ({phase}) is not in the data ({missing} such names); use the data the split was made for"
                )
            if name in used:
                raise DataError(f"{where}: '{name}' is in {used[name]} and again in {phase}; a picture belongs to one split")
            used[name] = phase
    for phase in required:
        if not parts[phase]:
            raise DataError(f"{where}: the {phase} split is empty")
    left_out = len(rows) - len(used)
    notes = (f"{left_out} pictures are in no split of {path.name} and are left out",) if left_out else ()
    return {phase: np.array([rows[name] for name in parts[phase]], dtype=np.int64) for phase in PHASES if parts.get(phase)}, notes


def _content(path: Path, where: str, required: Sequence[str]) -> dict[str, list[str]]:
    if not path.is_file():
        raise DataError(f"{where}: no such file; expected the split.json of a run")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{where}: not JSON that can be read ({error}); expected the split.json of a run") from error
    known = isinstance(content, dict) and set(required) <= set(content) <= set(PHASES)
    if not known or not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in content.values()):
        optional = [phase for phase in PHASES if phase not in required]
        listed = ", ".join(required) + (f" and perhaps {', '.join(optional)}" if optional else "")
        raise DataError(f"{where}: expected lists of names under {listed}, as in the split.json of a run")
    return {phase: content[phase] for phase in PHASES if phase in content}
