"""Groups of runs on the pages of comparisons: their colours, names, and values with spread."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from markupsafe import Markup

from photic.functional.palette import BLUE, GREEN, ORANGE, PINK, SKY, VERMILION
from photic.report.page import Cell, number
from photic.tracking.compared import Group, Spread

Stroke = tuple[str, bool]
"""Colour (``#rrggbb``) of a group's lines, and whether they are dashed."""
_COLOURS = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY)


@dataclass(frozen=True)
class DrawnGroup:
    """A group of runs with its colour."""

    group: Group
    stroke: Stroke

    @property
    def label(self) -> str:
        """What sets the group apart."""
        return self.group.label

    @property
    def colour(self) -> str:
        """``#rrggbb``."""
        return self.stroke[0]

    @property
    def name(self) -> Cell:
        """Its name in a table."""
        return Cell(text=breakable(self.label), colour=self.colour)

    @property
    def legend(self) -> tuple[str, str, bool]:
        """Label, colour and whether dashed, as :func:`photic.report.page.figure` takes them."""
        return (self.label, *self.stroke)


def drawn(groups: list[Group]) -> list[DrawnGroup]:
    """Give each group a colour; they repeat after six groups, and dashes tell the next six apart."""
    return [DrawnGroup(group, (_COLOURS[i % len(_COLOURS)], i // len(_COLOURS) % 2 == 1)) for i, group in enumerate(groups)]


def breakable(text: str) -> Markup:
    """Return a text that narrow screens may break after the signs inside long names."""
    return Markup("<wbr>").join(re.findall(r"[^=_.,/-]*[=_.,/-]|[^=_.,/-]+", text))


def with_spread(spread: Spread) -> str:
    """Return mean and deviation in a sentence."""
    return number(spread.mean) + (f" ± {number(spread.deviation)}" if math.isfinite(spread.deviation) else "")


def spread_cell(spread: Spread) -> Cell:
    """Return mean and deviation in a table."""
    return Cell(text=number(spread.mean, 4), note=f"± {number(spread.deviation, 4)}" if math.isfinite(spread.deviation) else "")


def signed(value: float, digits: int = 4) -> str:
    """Return a difference with its sign; a dash if it is undefined."""
    return "–" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")
