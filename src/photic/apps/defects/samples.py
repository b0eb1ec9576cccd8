"""Samples of labelled pictures: decoded when asked for, resized only on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from photic.apps.defects.layouts.table import LabelTable, Size
from photic.apps.defects.rle import fill
from photic.core.errors import DataError
from photic.data.images import read_image, resize_picture, to_measurement

Picture = NDArray[np.uint8]


PictureSource = Callable[[int], Picture]
"""Gives the picture ``(H, W, 3)`` uint8 of a row of a label table."""


class PictureFiles:
    """Pictures of a table's files.

    Args:
        table: whose files.
        size: (height, width) to resize to; null leaves pictures as they are.
        cache: keep decoded pictures in memory.
    """

    def __init__(self, table: LabelTable, size: Size | None, cache: bool) -> None:
        self.table = table
        self.size = size
        self.cached: dict[int, Picture] | None = {} if cache else None

    def __call__(self, row: int) -> Picture:
        """Return the picture ``(H, W, 3)`` of a row.

        Raises:
            DataError: the file is damaged, or has changed since the set was prepared.
        """
        if self.cached is not None and row in self.cached:
            return self.cached[row]
        picture = read_image(self.table.path(row))
        expected = self.table.sizes[row]
        if expected is not None and picture.shape[:2] != expected:
            raise DataError(
                f"{self.table.path(row)}: {picture.shape[0]}x{picture.shape[1]} pixels, but {expected[0]}x{expected[1]} when the set was"
                " prepared; the file has changed, start again"
            )
        picture = resize_picture(picture, self.size)
        if self.cached is not None:
            self.cached[row] = picture
        return picture


class GreyPictures:
    """Grey pictures kept in memory.

    Args:
        pictures: ``(H, W)`` uint8 of every row.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    def __call__(self, row: int) -> Picture:
        """Return the picture ``(H, W, 3)`` of a row."""
        return np.repeat(self.pictures[row][:, :, None], 3, axis=2)


class LabelledPictures:
    """Some rows of a label table as samples, in a fixed order, never augmented.

    Args:
        table: labels and masks.
        rows: which rows, in order.
        pictures: gives the picture of a row.
        size: (height, width) of what ``pictures`` gives, if not the table's own.
        with_masks: also give ``mask``; a class that is labelled but has no mask there is empty in it.
    """

    def __init__(self, table: LabelTable, rows: NDArray[np.int64], pictures: PictureSource, size: Size | None, with_masks: bool) -> None:
        self.table, self.rows, self.pictures, self.size, self.with_masks = table, rows, pictures, size, with_masks

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, position: int, draw: int = 0) -> dict[str, Any]:
        """Return ``measurement`` ``(3, H, W)`` in [0, 1], ``target`` ``(C,)``, ``index`` and perhaps ``mask`` ``(C, H, W)``.

        ``draw`` makes no difference: nothing here is random.

        Raises:
            DataError: the picture cannot be read.
        """
        row = int(self.rows[position])
        sample: dict[str, Any] = {
            "measurement": to_measurement(self.pictures(row)),
            "target": torch.from_numpy(self.table.labels[row].astype(np.float32)),
            "index": row,
        }
        if self.with_masks:
            sample["mask"] = read_masks(self.table, row, self.size)
        return sample


def read_masks(table: LabelTable, row: int, size: Size | None = None) -> Tensor:
    """Return the masks of a row, ``(C, H, W)`` bool.

    Args:
        table: whose masks.
        row: which picture.
        size: (height, width) to resize to; a pixel is masked if any part of it was, so that small defects survive.
    """
    native = table.sizes[row]
    assert native is not None, "tables with unreadable pictures are refused before"
    wanted = size or native
    masks = np.zeros((len(table.classes), *wanted), dtype=bool)
    for column in range(len(table.classes)):
        runs = table.runs.get((row, column))
        if runs is not None:
            mask = fill(runs, *native)
            masks[column] = mask if wanted == native else _resize_mask(mask, wanted)
    return torch.from_numpy(masks)


def _resize_mask(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    share = Image.fromarray(mask.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(share) > 0
