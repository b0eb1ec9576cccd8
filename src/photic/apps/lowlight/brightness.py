"""What an evaluation's pictures say of brightness: how it is distributed before and after, and which tone curve that amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photic.apps.lowlight.evaluation import Scored
from photic.functional.palette import BLUE, ORANGE, VERMILION
from photic.report import figures, page
from photic.report.figures import Line

_WIDTH = 4
"""Levels of 255 that a bin takes."""
_ENOUGH = 20
"""Pixels of a picture below which a bin of its tone curve is left empty."""
_FEW = 3
"""Pictures that a median needs, if there are so many."""
_LOOKS = {"before": ("before", ORANGE, False), "after": ("after", VERMILION, False), "truth": ("true picture", BLUE, True)}


@dataclass(frozen=True, eq=False)
class Brightness:
    """Of several pictures; bins of 4 levels of 255."""

    histograms: Mapping[str, NDArray[np.float64]]
    """``before``, ``after``, ``truth``: percent of the pixels in each bin ``(64,)``, mean over pictures."""
    curves: Mapping[str, NDArray[np.float64]]
    """``after``, ``truth``: mean level by level of before, a row per picture ``(N, 64)``; NaN where a picture has hardly a pixel."""


def brightness_of(some: Sequence[Scored], folder: Path) -> Brightness:
    """Read the small pictures of an evaluation.

    Args:
        some: pictures whose files are there, each with before and after.
        folder: the evaluation's.
    """
    shares: dict[str, list[NDArray[np.float64]]] = {}
    curves: dict[str, list[NDArray[np.float64]]] = {}
    for one in some:
        levels = {kind: _grey(folder / one.pictures[kind]) for kind in _LOOKS if kind in one.pictures}
        for kind, values in levels.items():
            counts = np.bincount(values // _WIDTH, minlength=256 // _WIDTH)
            shares.setdefault(kind, []).append(100 * counts / counts.sum())
            if kind != "before":
                curves.setdefault(kind, []).append(_curve(levels["before"], values))
    return Brightness(
        {kind: np.mean(rows, axis=0) for kind, rows in shares.items()}, {kind: np.array(rows) for kind, rows in curves.items()}
    )


def charts(found: Brightness) -> list[Any]:
    """Return the charts: histograms, and tone curves of all pictures with their median."""
    middle = _WIDTH * (np.arange(256 // _WIDTH) + 0.5) - 0.5
    lines = [Line(label=_LOOKS[kind][0], x=middle, y=share, colour=_LOOKS[kind][1]) for kind, share in found.histograms.items()]
    histogram = figures.curves(lines, title="Brightness of pixels", x_label="level of 255", y_label="% of the pixels")
    toned, strong = [], []
    for kind, rows in found.curves.items():
        name, colour, dashed = _LOOKS[kind]
        if kind == "after":
            toned += [Line(label=name, x=middle, y=row, colour=colour, faint=True) for row in rows]
        strong.append(Line(label=f"{name}, median", x=middle, y=_median(rows), colour=colour, dashed=dashed, strong=True))
    same = Line(label="unchanged", x=[0, 255], y=[0, 255], colour="#8a8a8a", faint=True)
    tone = figures.curves([same, *toned, *strong], title="Tone curve", x_label="level before", y_label="mean level after", markers=False)
    said = "Thin: single pictures. Where a thin line bends away from the rest, the network judged that picture otherwise."
    return [
        page.figure(histogram, "Mean over the pictures, each counting alike.", [line.legend for line in lines]),
        page.figure(tone, said, [line.legend for line in strong]),
    ]


def _grey(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.int64).ravel()


def _curve(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of after by level of before; NaN in bins with hardly a pixel, and everywhere if they show different parts."""
    if len(before) != len(after):
        return np.full(256 // _WIDTH, np.nan)
    place = before // _WIDTH
    counts = np.bincount(place, minlength=256 // _WIDTH)
    sums = np.bincount(place, weights=after, minlength=256 // _WIDTH)
    made = np.full(len(counts), np.nan)
    np.divide(sums, counts, out=made, where=counts >= _ENOUGH)
    return made


def _median(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each column over the pictures that have it; NaN where hardly a picture has."""
    least = min(_FEW, len(rows))
    return np.array([np.median(known) if (known := column[np.isfinite(column)]).size >= least else np.nan for column in rows.T])
