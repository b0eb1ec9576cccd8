"""Colours that people with any colour vision can tell apart, the same for a class in every curve and picture.

Source: M. Okabe and K. Ito, Color Universal Design (2008); yellow and black are left out because they
vanish on a white page and on a dark strip.
"""

from __future__ import annotations

BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
PINK = "#cc79a7"
ORANGE = "#e69f00"
SKY = "#56b4e9"

CLASS_COLOURS = (VERMILION, SKY, GREEN, ORANGE, PINK, BLUE)


def class_colour(index: int) -> str:
    """Return the colour of class ``index`` as ``#rrggbb``; after six classes the colours repeat.

    >>> class_colour(0)
    '#d55e00'
    """
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue in 0 to 255 of ``#rrggbb``.

    >>> rgb("#d55e00")
    (213, 94, 0)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
