"""A sheet of pairs: each dark picture above its true one, with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from photic.data.photo.depth import Pixels, as_kind

Bytes = NDArray[np.uint8]
_WIDTH_PX, _HEIGHT_PX, _GAP_PX, _TEXT_PX = 180, 120, 6, 14
_COLUMNS = 8
_INK, _PAPER = (40, 40, 40), (245, 245, 245)


@dataclass(frozen=True)
class Cell:
    """A pair on the sheet."""

    name: str
    """What stands below it."""
    low: Bytes
    """Thumbnail of the dark picture."""
    high: Bytes | None
    """Thumbnail of the true picture."""


def thumbnail(pixels: Pixels) -> Bytes:
    """Return a picture ``(H, W, 3)`` reduced to fit into a cell; smaller ones stay as they are."""
    image = Image.fromarray(as_kind(pixels, np.uint8))
    image.thumbnail((_WIDTH_PX, _HEIGHT_PX), Image.Resampling.BOX)
    return np.array(image)


def contact_sheet(cells: Sequence[Cell]) -> Bytes:
    """Return the sheet, ``(H, W, 3)`` uint8."""
    columns = min(_COLUMNS, len(cells))
    pictures = 2 if any(cell.high is not None for cell in cells) else 1
    step = (_WIDTH_PX + _GAP_PX, pictures * _HEIGHT_PX + _TEXT_PX + 2 * _GAP_PX)
    sheet = Image.new("RGB", (columns * step[0] + _GAP_PX, -(-len(cells) // columns) * step[1] + _GAP_PX), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, cell in enumerate(cells):
        left, top = number % columns * step[0] + _GAP_PX, number // columns * step[1] + _GAP_PX
        for row, picture in enumerate((cell.low, cell.high)):
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (left + (_WIDTH_PX - picture.shape[1]) // 2, top + row * _HEIGHT_PX))
        draw.text((left, top + pictures * _HEIGHT_PX + 1), cell.name[-30:], fill=_INK, font=font)
    return np.array(sheet)
