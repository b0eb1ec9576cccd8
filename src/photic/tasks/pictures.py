"""What tasks share whose result is a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import ConfigError, DataError
from photic.core.registry import metrics
from photic.metrics.columns import ColumnValue
from photic.metrics.pictures import PictureMetric


def picture_metric(name: str) -> PictureMetric:
    """Return a metric of pictures by its name.

    Raises:
        ConfigError: it does not judge pictures.
    """
    metric = metrics.get(name)
    if not isinstance(metric, PictureMetric):
        raise ConfigError(f"config.task.metrics: '{name}' does not judge pictures; see `photic list metrics`")
    return metric


def column_values(metrics: Sequence[PictureMetric]) -> tuple[ColumnValue, ...]:
    """Return how runs are compared by the columns that metrics fill."""
    return tuple(
        ColumnValue(name=metric.value_name, label=metric.label, higher_is_better=metric.higher_is_better, column=metric.value_name)
        for metric in metrics
    )


def means(names: Sequence[str], table: NDArray[Any]) -> dict[str, float]:
    """Return means over the rows of a table ``(N, K)``, of its first columns, by name; NaN is no value."""
    return {name: float(np.nanmean(table[:, place])) for place, name in enumerate(names)}


def means_by(names: Sequence[str], table: NDArray[Any], column: int) -> dict[str, dict[str, float]]:
    """Return the same for the rows of each value in a column, by that value; rows without one are left out.

    >>> means_by(["psnr"], np.array([[20.0, 100.0], [30.0, 100.0], [10.0, 6400.0]]), 1)
    {'100': {'psnr': 25.0}, '6400': {'psnr': 10.0}}
    """
    levels = np.unique(table[np.isfinite(table[:, column]), column])
    return {f"{level:g}": means(names, table[table[:, column] == level]) for level in levels.tolist()}


def named_rows(names: Sequence[str], table: NDArray[Any]) -> list[list[Any]]:
    """Return rows as they are written into files: a picture's name, and its values, empty where there is none."""
    return [[name, *("" if np.isnan(value) else f"{value:.6g}" for value in values)] for name, values in zip(names, table, strict=True)]


def side_by_side(columns: Sequence[np.ndarray], gap_px: int = 4, most_px: int = 320) -> np.ndarray:
    """Return a picture with a row per sample and a column per kind, for a look while training goes on.

    Args:
        columns: ``(B, 3, H, W)`` in [0, 1] each, such as before, after, truth.
        gap_px: white pixels between them.
        most_px: larger sides are shown with every n-th pixel.

    Raises:
        DataError: the columns differ in shape.

    >>> side_by_side([np.zeros((2, 3, 10, 20))] * 3, gap_px=4).shape
    (24, 68, 3)
    """
    if len({column.shape for column in columns}) != 1:
        raise DataError(f"side_by_side: expected columns of one shape, got {[column.shape for column in columns]}")
    step = max(1, -(-max(columns[0].shape[-2:]) // most_px))
    small = [np.clip(column[:, :, ::step, ::step], 0, 1) for column in columns]
    count, _, height, width = small[0].shape
    sheet = np.full((count * (height + gap_px) - gap_px, len(small) * (width + gap_px) - gap_px, 3), 255, dtype=np.uint8)
    for across, column in enumerate(small):
        for down, image in enumerate(column):
            top, left = down * (height + gap_px), across * (width + gap_px)
            sheet[top : top + height, left : left + width] = np.round(image.transpose(1, 2, 0) * 255)
    return sheet
