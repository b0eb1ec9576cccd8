"""Charts as inline SVG, drawn without pyplot and its global state.

Ink and grid take the colours of the page (light, dark, print); the lines of classes keep theirs, which
people with any colour vision can tell apart (:mod:`photic.functional.palette`).
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from photic.functional.palette import BLUE
from photic.metrics.ranking import PrecisionRecallCurve, ReliabilityCurve, RocCurve

# Stand-ins that the SVG's text is searched for; no chart uses them as real colours.
_INK, _QUIET, _GRID = "#010203", "#010204", "#010205"
_STAND_INS = {_INK: "currentColor", _QUIET: "var(--quiet)", _GRID: "var(--grid)"}
_SIZE = (4.2, 2.8)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart."""

    label: str
    x: ArrayLike
    y: ArrayLike
    colour: str
    """``#rrggbb``."""
    dashed: bool = False
    faint: bool = False
    """Thin and half transparent: one of several behind a stronger line."""
    strong: bool = False
    """Thick: the one that it is about."""
    point: tuple[float, float] | None = None
    """A place on it to mark."""

    @property
    def legend(self) -> tuple[str, str, bool]:
        """Return label, colour and whether dashed, as :func:`photic.report.page.figure` takes them."""
        return self.label, self.colour, self.dashed


def curves(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str = "epoch",
    y_label: str = "",
    y_limits: tuple[float, float] | None = None,
    log_y: bool = False,
    mark_x: float | None = None,
    stages_x: Sequence[float] = (),
    ticks_x: Sequence[tuple[float, str]] = (),
    markers: bool = True,
) -> Markup:
    """Return values over training, or over anything else that is counted.

    Args:
        lines: what to draw; a value that is None or NaN leaves a gap.
        title: what is shown.
        x_label: what runs along the axis.
        y_label: what the values are, where the title does not say it.
        y_limits: range of the values; found if omitted.
        log_y: logarithmic values.
        mark_x: a place on the axis to mark with a dotted line.
        stages_x: places where something changed, such as the stages of a schedule; thin lines.
        ticks_x: places to name along the axis, and their names; found if omitted.
        markers: mark the points of a line that has few.
    """
    figure, axes = _chart(title, x_label, y_label)
    for line in lines:
        x, y = _numbers(line.x), _numbers(line.y)
        axes.plot(x, y, marker="o" if markers and len(x) <= 15 and not line.faint else None, markersize=3, **_stroke(line))
    if log_y:
        axes.set_yscale("log")
        _plain_numbers(axes)
    if y_limits is not None:
        axes.set_ylim(*y_limits)
    if ticks_x:
        axes.set_xticks([place for place, _ in ticks_x], [name for _, name in ticks_x])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if mark_x is not None:
        axes.axvline(mark_x, color=_QUIET, linewidth=1, linestyle=":")
    for place in stages_x:
        axes.axvline(place, color=_GRID, linewidth=1.6)
    return _svg(figure, title)


def over_rate(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, markers: bool = True, log_y: bool = False) -> Markup:
    """Return qualities over rates, on a logarithmic axis, with a mark at each point that was measured.

    Args:
        lines: rates above 0 along x; strong ones are drawn last.
        title: what is shown.
        x_label: the rate and its unit.
        y_label: the quality and its unit.
        markers: mark the points.
        log_y: logarithmic qualities.
    """
    figure, axes = _chart(title, x_label, y_label, height=3.3)
    draw_over_rate(axes, lines, markers=markers)
    if log_y:
        axes.set_yscale("log")
        _plain_numbers(axes)
    return _svg(figure, f"{title}: {y_label} over {x_label}")


def against(lines: Sequence[Line], *, title: str, x_label: str, y_label: str) -> Markup:
    """Return points of two values that should be equal, on logarithmic axes, with the diagonal on which they are.

    Args:
        lines: values above 0, each with a mark and without a line between them.
        title: what is shown.
        x_label: one value and its unit.
        y_label: the other.
    """
    figure, axes = _chart(title, x_label, y_label, height=3.3)
    everything = np.concatenate([np.concatenate([_numbers(line.x), _numbers(line.y)]) for line in lines])
    ends = [float(everything.min()), float(everything.max())]
    axes.plot(ends, ends, color=_QUIET, linewidth=1, linestyle=":")
    for line in lines:
        axes.plot(_numbers(line.x), _numbers(line.y), "o", markersize=3, alpha=0.7, color=line.colour, markeredgewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_numbers(axes)
    _plain_rates(axes)
    return _svg(figure, f"{title}: {y_label} over {x_label}")


def draw_over_rate(axes: Axes, lines: Sequence[Line], *, markers: bool = True) -> None:
    """Draw qualities over rates into axes of any figure, as :func:`over_rate` does."""
    axes.set_xscale("log")
    for line in sorted(lines, key=lambda line: line.strong):
        size = (4.5 if line.strong else 2.6) if markers else 0
        axes.plot(_numbers(line.x), _numbers(line.y), marker="o", markersize=size, label=line.label, **_stroke(line))
    _plain_rates(axes)


def precision_recall(
    curves_by_class: Sequence[tuple[str, str, PrecisionRecallCurve]], points: Sequence[tuple[float, float] | None]
) -> Markup:
    """Return precision over recall, a line per class.

    Args:
        curves_by_class: name, colour and curve.
        points: recall and precision of each class at its threshold, or None.
    """
    figure, axes = _chart("Precision over recall", "recall", "precision")
    for (_, colour, curve), point in zip(curves_by_class, points, strict=True):
        _recall_steps(axes, curve.recall, curve.precision, color=colour, linewidth=1.7)
        _dot(axes, point, colour)
    _unit_square(axes)
    return _svg(figure, "Precision over recall, a line per class")


def recall_lines(lines: Sequence[Line], *, title: str) -> Markup:
    """Return precision over recall of several classifiers.

    Args:
        lines: recall along x, precision along y, as :class:`PrecisionRecallCurve` orders them (recall falls).
        title: what is shown, such as the class.
    """
    figure, axes = _chart(title, "recall", "precision")
    for line in lines:
        _recall_steps(axes, _numbers(line.x), _numbers(line.y), **_stroke(line))
    _unit_square(axes)
    return _svg(figure, f"{title}: precision over recall")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its interval in a chart."""

    value: float
    low: float
    high: float
    colour: str
    """``#rrggbb``."""
    parts: Sequence[float] = ()
    """Values that ``value`` is the mean of; small rings."""


def intervals(rows: Sequence[tuple[str, Sequence[Interval]]], *, title: str, x_label: str) -> Markup:
    """Return values with intervals around zero, a row for each name and in it a line for each of its intervals.

    Args:
        rows: from the top: name and intervals; an interval that is NaN leaves only its value.
        title: what is shown.
        x_label: what runs along the axis.
    """
    count = sum(max(1, len(items)) for _, items in rows)
    figure, axes = _chart(title, x_label, height=0.95 + 0.17 * count + 0.13 * len(rows))
    axes.axvline(0, color=_QUIET, linewidth=1)
    place, ticks = 0.0, []
    for _, items in rows:
        ticks.append(place + (max(1, len(items)) - 1) / 2)
        for item in items:
            axes.plot([item.low, item.high], [place, place], color=item.colour, linewidth=3, alpha=0.45, solid_capstyle="round")
            axes.plot(item.parts, [place] * len(item.parts), "o", markersize=3.2, markerfacecolor="none", markeredgecolor=item.colour)
            axes.plot([item.value], [place], "D", markersize=4.5, color=item.colour)
            place += 1
        place += 0.75
    axes.set_yticks(ticks, [name for name, _ in rows])
    axes.set_ylim(place - 0.75 - 0.25, -0.75)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    return _svg(figure, title)


def roc(curves_by_class: Sequence[tuple[str, str, RocCurve]], points: Sequence[tuple[float, float] | None]) -> Markup:
    """Return true over false positive rate, a line per class.

    Args:
        curves_by_class: name, colour and curve.
        points: false and true positive rate of each class at its threshold, or None.
    """
    figure, axes = _chart("Found over falsely called (ROC)", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=_GRID, linewidth=1)
    for (_, colour, curve), point in zip(curves_by_class, points, strict=True):
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, linewidth=1.7)
        _dot(axes, point, colour)
    _unit_square(axes)
    return _svg(figure, "True over false positive rate, a line per class")


def reliability(curve: ReliabilityCurve) -> Markup:
    """Return what came true over what was promised; the area of a point grows with the number of decisions behind it."""
    figure, axes = _chart("Came true over promised", "probability given", "share that was there")
    axes.plot([0, 1], [0, 1], color=_GRID, linewidth=1)
    filled = curve.count > 0
    axes.plot(curve.confidence[filled], curve.frequency[filled], color=BLUE, linewidth=1)
    axes.scatter(
        curve.confidence[filled], curve.frequency[filled], s=10 + 90 * curve.count[filled] / curve.count.max(), color=BLUE, zorder=3
    )
    _unit_square(axes)
    return _svg(figure, "Share of positives over probability, all classes together")


def _stroke(line: Line) -> dict[str, Any]:
    weak: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.5} if line.faint else {"linewidth": 2.8 if line.strong else 1.7}
    return {"color": line.colour, "linestyle": "--" if line.dashed else "-", **weak}


def _chart(title: str, x_label: str, y_label: str = "", *, height: float | None = None) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE if height is None else (_SIZE[0], height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_INK)
    axes.set_xlabel(x_label, fontsize=9, color=_QUIET)
    axes.set_ylabel(y_label, fontsize=9, color=_QUIET)
    axes.tick_params(labelsize=8, colors=_QUIET, length=0)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_QUIET)
    return figure, axes


def _plain_rates(axes: Axes) -> None:
    """Write the numbers along a logarithmic axis as people do."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _plain_numbers(axes: Axes) -> None:
    """Write the numbers at a logarithmic axis as people do, some in every range: powers of ten alone may be none."""
    low, high = sorted(axes.get_ylim())
    if high < 10 * low:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _recall_steps(axes: Axes, recall: np.ndarray, precision: np.ndarray, **style: Any) -> None:
    """Draw the steps whose area is the average precision.

    Thresholds rise along the arrays and recall falls: a precision holds from its recall down to the next one.
    """
    axes.plot(np.append(recall, 0.0), np.append(precision, precision[-1]), drawstyle="steps-post", **style)


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)


def _dot(axes: Axes, point: tuple[float, float] | None, colour: str) -> None:
    if point is not None and all(math.isfinite(value) for value in point):
        axes.plot(*point, marker="o", markersize=6, color=colour, markeredgecolor=_INK, markeredgewidth=0.8)


def _numbers(values: Any) -> np.ndarray:
    return np.array([math.nan if value is None else float(value) for value in values])


def _svg(figure: Figure, description: str) -> Markup:
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": description}
    content = io.StringIO()
    with matplotlib.rc_context(settings):  # the canvas itself: `savefig` draws twice, once only to lay the chart out
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = content.getvalue()
    text = text[text.index("<svg") :]
    for stand_in, wanted in _STAND_INS.items():
        text = text.replace(stand_in, wanted)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)  # names such as axes_1, which a second chart would repeat
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "matplotlib writes a viewBox"
    body = text[text.index(">", text.index("<svg")) + 1 :]
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return Markup(f'<svg role="img" aria-label="{escape(description)}" {box[0]} {links}>{body}')
