"""Folders that ``photic data generate`` draws into: new or empty ones, or those it drew into before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.core.errors import DataError


def claim_folder(out: Path, drawn: Sequence[str], *, force: bool = False) -> None:
    """See to it that a folder may be drawn into.

    Args:
        out: the folder; it need not exist.
        drawn: globs, relative to it, of what was drawn there before; with ``force`` these files are removed, and no others.
        force: accept a folder that is not empty.

    Raises:
        DataError: it is a file, or a folder that is not empty.
    """
    if out.is_file():
        raise DataError(f"{out}: a file; expected a folder to write to")
    if out.is_dir() and any(out.iterdir()):
        if not force:
            raise DataError(f"{out}: not empty; choose another folder, or add --force to replace what was generated there before")
        for pattern in drawn:
            for file in list(out.glob(pattern)):
                file.unlink()
