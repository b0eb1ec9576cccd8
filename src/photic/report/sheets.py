"""Sheets of pictures: small versions side by side, a row per scene with a line of text above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP, _TITLE, _HEAD = 6, 26, 34


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet."""

    title: str
    pictures: Sequence[Path | None]
    """A file per column; None leaves its place empty."""
    size: tuple[int, int]
    """Height and width of the pictures that the files show."""


def draw_sheet(heads: Sequence[str], rows: Sequence[SheetRow], *, width_px: int = 400, sharp: bool = False) -> NDArray[np.uint8]:
    """Return a sheet ``(H, W, 3)``.

    Args:
        heads: what stands over the columns.
        rows: from top to bottom.
        width_px: of each column, pixels; pictures are fitted to it.
        sharp: pixels stay squares where pictures are enlarged.
    """
    heights = [round(width_px * min(row.size[0] / row.size[1], 2)) for row in rows]
    width = len(heads) * (width_px + _GAP) + _GAP
    canvas = Image.new("RGB", (width, _HEAD + sum(heights) + len(rows) * (_TITLE + _GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(17), ImageFont.load_default(14)
    how = Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS
    for column, head in enumerate(heads):
        draw.text((_GAP + column * (width_px + _GAP), 7), head, "black", large)
    top = _HEAD
    for row, height in zip(rows, heights, strict=True):
        draw.text((_GAP, top + 4), row.title, "black", small)
        for column, path in enumerate(row.pictures):
            if path is not None:
                with Image.open(path) as image:
                    shown = image.convert("RGB").resize((width_px, height), how)
                canvas.paste(shown, (_GAP + column * (width_px + _GAP), top + _TITLE))
        top += _TITLE + height + _GAP
    return np.asarray(canvas)
