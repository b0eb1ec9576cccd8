"""How predictions on files are written: text formats, a line at a time, and pictures with activation maps.

``csv`` and ``jsonl`` are defined here. Applications bring further formats through
:attr:`photic.core.plugins.Plugin.formats`, each a subclass of :class:`PredictionFormat`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from photic.core.errors import UnknownNameError, nearest
from photic.core.plugins import installed_plugins, load_reference
from photic.functional.palette import class_colour
from photic.inference.activation import Map, Picture, overlay

_INK, _PAPER, _MUTED = "#ffffff", "#16191d", "#a8b0b8"
_MIN_WIDTH, _LINE = 800, 26


@dataclass(frozen=True)
class Prediction:
    """What is known about one picture."""

    file: Path
    """As it was given or found."""
    size: tuple[int, int]
    """Height and width in pixels."""
    probabilities: NDArray[np.floating[Any]]
    """``(C,)`` in [0, 1]."""
    decisions: NDArray[np.bool_]
    """``(C,)``: the probability reaches the class's threshold."""
    maps: dict[int, Map]
    """Activation maps ``(H, W)`` in [0, 1] of the classes decided present, where somebody asked for them."""


class PredictionFormat:
    """Turns predictions into lines of text, one picture after the other.

    Args:
        classes: names of the classes.
        thresholds: probability from which each class counts as present.
    """

    needs_maps: ClassVar[bool] = False
    """Whether :attr:`Prediction.maps` must be filled."""

    def __init__(self, classes: Sequence[str], thresholds: Sequence[float]) -> None:
        self.classes = tuple(classes)
        self.thresholds = tuple(thresholds)

    def check(self, files: Sequence[Path]) -> None:
        """Refuse files that this format cannot tell apart, before anything is computed.

        Raises:
            DataError: the files clash.
        """

    def header(self) -> str:
        """Return what stands before the first prediction, line ends included."""
        return ""

    def lines(self, prediction: Prediction) -> str:
        """Return the text of one picture, line ends included."""
        raise NotImplementedError


class CSVFormat(PredictionFormat):
    """One row per picture: file, a probability per class, a decision (0 or 1) per class."""

    def header(self) -> str:
        """Return the column names."""
        return csv_line(["file", *(f"probability:{name}" for name in self.classes), *(f"decision:{name}" for name in self.classes)])

    def lines(self, prediction: Prediction) -> str:
        """Return the picture's row."""
        shown = (f"{value:.6f}" for value in prediction.probabilities)
        return csv_line([str(prediction.file), *shown, *(int(value) for value in prediction.decisions)])


class JSONLinesFormat(PredictionFormat):
    """One JSON object per picture: file, size, and probability, threshold and decision by class."""

    def lines(self, prediction: Prediction) -> str:
        """Return the picture's object."""
        content = {
            "file": str(prediction.file),
            "height": prediction.size[0],
            "width": prediction.size[1],
            "probabilities": {name: round(float(value), 6) for name, value in zip(self.classes, prediction.probabilities, strict=True)},
            "thresholds": dict(zip(self.classes, self.thresholds, strict=True)),
            "decisions": {name: bool(value) for name, value in zip(self.classes, prediction.decisions, strict=True)},
        }
        return json.dumps(content, ensure_ascii=False) + "\n"


def csv_line(values: Iterable[Any]) -> str:
    """Return one line of CSV, quoted where needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def prediction_format(name: str) -> type[PredictionFormat]:
    """Return a format by name: ``csv``, ``jsonl``, or one that an installed application brings.

    Raises:
        UnknownNameError: there is no such format.
    """
    known: dict[str, type[PredictionFormat] | str] = {"csv": CSVFormat, "jsonl": JSONLinesFormat}
    for plugin in installed_plugins().values():
        known.update(plugin.formats)
    if name not in known:
        raise UnknownNameError(f"unknown output format '{name}'{nearest(name, known)} (formats: {', '.join(known)})")
    found = known[name]
    chosen: type[PredictionFormat] = load_reference(found) if isinstance(found, str) else found
    return chosen


def draw_maps(image: Picture, prediction: Prediction, classes: Sequence[str]) -> Image.Image:
    """Return a sheet: the picture as it is, then once per class decided present with that class's map laid over it.

    Small pictures are enlarged by a whole factor so that the sheet is at least 800 pixels wide; others keep
    their pixels.

    Args:
        image: uint8 ``(H, W, 3)``.
        prediction: with :attr:`Prediction.maps`.
        classes: names of the classes.
    """
    height, width = image.shape[:2]
    scale = max(1, -(-_MIN_WIDTH // width))
    panels: list[tuple[str, str, str, Picture]] = [(prediction.file.name, _INK, f"{width} × {height} px", image)]
    for index, activation in prediction.maps.items():
        colour = class_colour(index)
        panels.append((classes[index], colour, f"probability {prediction.probabilities[index]:.3f}", overlay(image, activation, colour)))
    sheet = Image.new("RGB", (width * scale, len(panels) * (height * scale + _LINE)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = _font()
    top = 0
    for title, colour, remark, panel in panels:
        left = 8
        if colour != _INK:
            draw.rectangle((left, top + 7, left + 11, top + 18), fill=colour)
            left += 20
        draw.text((left, top + _LINE // 2), title, fill=_INK, font=font, anchor="lm")
        draw.text((left + 14 + draw.textlength(title, font=font), top + _LINE // 2), remark, fill=_MUTED, font=font, anchor="lm")
        picture = Image.fromarray(panel)
        if scale > 1:
            picture = picture.resize((width * scale, height * scale), Image.Resampling.NEAREST)
        sheet.paste(picture, (0, top + _LINE))
        top += height * scale + _LINE
    return sheet


@cache
def _font() -> ImageFont.FreeTypeFont:
    # Matplotlib brings a font of Latin, Greek and Cyrillic letters; Pillow's own lacks most of them.
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size=14)


def map_names(files: Sequence[Path]) -> list[str]:
    """Return a PNG name for each file, all different: the stem where that suffices, else with suffix and folders.

    >>> map_names([Path("a/1.jpg"), Path("a/2.jpg")])
    ['1.png', '2.png']
    >>> map_names([Path("a/1.jpg"), Path("b/1.jpg")])
    ['a_1.jpg.png', 'b_1.jpg.png']
    """
    names = [file.stem for file in files]
    depth = 1
    while len(set(names)) < len(names):
        longer = ["_".join(part.strip("/\\:") for part in file.parts[-depth:]) for file in files]
        if longer == names:  # nothing left to tell them apart by: `x_y` and `x/y`
            longer = [f"{name}_{number}" for number, name in enumerate(names)]
        names = longer
        depth += 1
    return [f"{name}.png" for name in names]
