"""Pictures of evaluations: small ones for pages, and sheets of before, after, truth and the best classical method in rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from photic.apps.lowlight.evaluation import LABELS, Evaluation, Scored, shown
from photic.core.files import atomic_path
from photic.data.images import write_image

SMALL_PX = 640
"""Longest side of the pictures kept of an evaluation."""
ROWS = 10
"""Rows of a sheet."""
_WIDTH, _GAP, _TITLE, _HEAD = 400, 6, 26, 34
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
    heights = [round(_WIDTH * min(one.size[0] / one.size[1], 2)) for one in some]
    width = len(kinds) * (_WIDTH + _GAP) + _GAP
    canvas = Image.new("RGB", (width, _HEAD + sum(heights) + len(some) * (_TITLE + _GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(17), ImageFont.load_default(14)
    for column, kind in enumerate(kinds):
        name = f"{_NAMES[kind]}: {found.model}" if kind == "after" else _NAMES[kind]
        draw.text((_GAP + column * (_WIDTH + _GAP), 7), name, "black", large)
    top = _HEAD
    for rank, (one, height) in enumerate(zip(some, heights, strict=True), first):
        draw.text((_GAP, top + 4), _title(rank, one, found), "black", small)
        for column, kind in enumerate(kinds):
            if kind in one.pictures:
                with Image.open(folder / one.pictures[kind]) as image:
                    shown_image = image.convert("RGB").resize((_WIDTH, height), Image.Resampling.LANCZOS)
                canvas.paste(shown_image, (_GAP + column * (_WIDTH + _GAP), top + _TITLE))
        top += _TITLE + height + _GAP
    return np.asarray(canvas)


def _title(rank: int, one: Scored, found: Evaluation) -> str:
    values = one.values[found.model]
    names = [name for name in ("psnr", "ssim", "delta_e", "saturation", "mean_luma", "contrast", "noise") if name in values]
    text = f"{rank}.  {one.name}   " + "   ".join(f"{LABELS[name]} {shown(name, values[name])}" for name in names)
    if one.best is not None:
        rival = one.values[one.best]
        text += f"      best classical: {one.best}   PSNR dB {shown('psnr', rival.get('psnr'))}   SSIM {shown('ssim', rival.get('ssim'))}"
    return text.replace("Δ", "d")  # which Pillow's own typeface does not have
