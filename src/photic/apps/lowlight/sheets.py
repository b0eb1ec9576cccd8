"""Pictures of evaluations: small ones for pages, and sheets of before, after, truth and the best classical method in rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photic.apps.lowlight.evaluation import LABELS, Evaluation, Scored, shown
from photic.core.files import atomic_path
from photic.data.images import write_image
from photic.report.sheets import SheetRow, draw_sheet

SMALL_PX = 640
"""Longest side of the pictures kept of an evaluation."""
ROWS = 10
"""Rows of a sheet."""
_NAMES = {"before": "before", "after": "after", "truth": "true picture", "best": "best classical method"}


def write_small(path: Path, picture: NDArray[np.float32]) -> Path:
    """Write a picture ``(H, W, 3)`` in [0, 1] as JPEG, averaged down so that no side has more than 640 pixels."""
    image = Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    image.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.BOX)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        image.save(temporary, format="JPEG", quality=90)
    return path


def write_sheets(found: Evaluation, folder: Path) -> list[Path]:
    """Write sheets of ten pictures each, the worst first, from the small pictures of an evaluation; older sheets are removed.

    Returns:
        ``sheet_1.png``, ``sheet_2.png``, ... in the folder.
    """
    for old in folder.glob("sheet_*.png"):
        old.unlink()
    drawn = [one for one in found.scored if one.pictures]
    paths = []
    for number, start in enumerate(range(0, len(drawn), ROWS), 1):
        paths.append(write_image(folder / f"sheet_{number}.png", sheet(found, drawn[start : start + ROWS], folder, first=start + 1)))
    return paths


def sheet(found: Evaluation, some: Sequence[Scored], folder: Path, first: int = 1) -> NDArray[np.uint8]:
    """Return a sheet ``(H, W, 3)`` with a row per picture.

    Args:
        found: the evaluation.
        some: its pictures to show.
        folder: where their small pictures lie.
        first: rank of the first of them.
    """
    kinds = [kind for kind in _NAMES if any(kind in one.pictures for one in some)]
    heads = [f"{_NAMES[kind]}: {found.model}" if kind == "after" else _NAMES[kind] for kind in kinds]
    rows = [
        SheetRow(
            _title(rank, one, found),
            [folder / one.pictures[kind] if kind in one.pictures else None for kind in kinds],
            (one.size[0], one.size[1]),
        )
        for rank, one in enumerate(some, first)
    ]
    return draw_sheet(heads, rows)


def _title(rank: int, one: Scored, found: Evaluation) -> str:
    values = one.values[found.model]
    names = [name for name in ("psnr", "ssim", "delta_e", "saturation", "mean_luma", "contrast", "noise") if name in values]
    text = f"{rank}.  {one.name}   " + "   ".join(f"{LABELS[name]} {shown(name, values[name])}" for name in names)
    if one.best is not None:
        rival = one.values[one.best]
        text += f"      best classical: {one.best}   PSNR dB {shown('psnr', rival.get('psnr'))}   SSIM {shown('ssim', rival.get('ssim'))}"
    return text.replace("Δ", "d")  # which Pillow's own typeface does not have
