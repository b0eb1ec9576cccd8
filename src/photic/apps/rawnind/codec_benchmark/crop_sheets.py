"""Crops of the same picture at about the same rate, side by side: at the least and at the most noise."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.codec_benchmark.codecs import ANCHOR
from photic.apps.rawnind.codec_benchmark.rate_distortion import Crops
from photic.apps.rawnind.codec_benchmark.results import Method, Point, RateCrops
from photic.data.images import write_image
from photic.report.sheets import SheetRow, draw_sheet

ROWS = 6
"""Pictures on a sheet, evenly over all."""
_SHOWN_PX = 256
_MOST_AT_RATES = 2
"""Pictures of a level whose crops are kept at several rates."""
_USUAL_BPP = 0.25
"""Rate of the crops where no model of ours sets one."""
_COLUMNS = (ANCHOR, "JPEG")
"""Codecs on a sheet, beside ours and denoisers with a codec behind them."""


def matched(points: Sequence[Point], methods: Sequence[str], lead: str | None) -> dict[str, Point]:
    """Return a point of each method, all of about the same rate.

    Args:
        points: of one scene.
        methods: whose points are wanted.
        lead: the method at one of whose rates the others are taken, that at which they come nearest to it; None: at about 0.25 bpp.
    """

    def near(method: str, bpp: float) -> Point:
        return min((point for point in points if point.method == method), key=lambda point: abs(math.log(point.bpp / bpp)))

    rates = [point.bpp for point in points if point.method == lead] or [_USUAL_BPP]
    target = min(rates, key=lambda bpp: sum(abs(math.log(near(method, bpp).bpp / bpp)) for method in methods))
    return {method: near(method, target) for method in methods}


@dataclass
class SheetMaker:
    """Takes crops as they come, and writes sheets of them at the end.

    Args:
        folder: where the sheets go; the crops into ``crops`` in it.
        methods: everything that is measured.
        levels: names of the levels of noise that get a sheet.
        reference: what the picture that results are compared with is called.
    """

    folder: Path
    methods: Sequence[Method]
    levels: Sequence[str]
    reference: str
    rows: dict[str, list[SheetRow]] = field(default_factory=dict)
    rate_crops: list[RateCrops] = field(default_factory=list)
    heads: dict[str, list[str]] = field(default_factory=dict)

    def take(self, crops: Crops) -> None:
        """Keep one scene's crops, if its level gets a sheet."""
        level = crops.scene.level.name
        if level not in self.levels:
            return
        there = {point.method for point in crops.points}
        wanted = [one.label for one in self.methods if one.kind in ("ours", "chain") or one.label in _COLUMNS]
        heads = [label for label in wanted if label in there]
        self.heads[level] = [*heads, self.reference]
        lead = next((one.label for one in self.methods if one.kind == "ours"), None)
        chosen = matched(crops.points, heads, lead)
        number = len(self.rows.setdefault(level, []))
        if lead is not None and number < _MOST_AT_RATES:
            self.rate_crops.append(self._at_rates(crops, lead, number))
        paths = [self._written(level, number, label, crops.parts[label, point.setting]) for label, point in chosen.items()]
        paths.append(self._written(level, number, self.reference, crops.true))
        said = "   ".join(f"{label} {point.bpp:.3f} bpp {point.psnr:.1f} dB" for label, point in chosen.items())
        self.rows[level].append(SheetRow(f"{crops.scene.name}   {said}", paths, (crops.true.shape[0], crops.true.shape[1])))

    def _at_rates(self, crops: Crops, lead: str, number: int) -> RateCrops:
        """Write a method's crops of a scene at its least, middle and largest rate."""
        level = crops.scene.level.name
        points = sorted((point for point in crops.points if point.method == lead), key=lambda point: point.bpp)
        chosen = dict.fromkeys(points[round(place)] for place in np.linspace(0, len(points) - 1, 3))
        parts = {}
        for rank, point in enumerate(chosen, 1):
            path = self._written(level, number, f"{lead} rate {rank}", crops.parts[lead, point.setting])
            parts[f"{point.bpp:.3f} bpp, {point.psnr:.1f} dB"] = path.relative_to(self.folder).as_posix()
        reference = self._written(level, number, self.reference, crops.true).relative_to(self.folder).as_posix()
        size = (crops.true.shape[0], crops.true.shape[1])
        return RateCrops(picture=crops.scene.name, level=level, size=size, parts=parts, reference=reference)

    def write(self) -> list[Path]:
        """Write a sheet for each level; return the files."""
        made = []
        for level, rows in self.rows.items():
            picked = sorted({round(place) for place in np.linspace(0, len(rows) - 1, min(ROWS, len(rows)))})
            sheet = draw_sheet(self.heads[level], [rows[place] for place in picked], width_px=_SHOWN_PX, sharp=True)
            made.append(write_image(self.folder / f"crops_{_plain(level)}.png", sheet))
        return made

    def _written(self, level: str, number: int, label: str, part: NDArray[np.uint8]) -> Path:
        return write_image(self.folder / "crops" / f"{_plain(level)}_{number:04d}_{_plain(label)}.png", part)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
