"""Charts in which groups of runs lie over one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from photic.metrics.ranking import precision_recall_curve
from photic.report import figures, page
from photic.report.figures import Line
from photic.tracking.compared import Group

Stroke = tuple[str, bool]
"""Colour (``#rrggbb``) of a group's lines, and whether they are dashed."""

_CURVES = (
    ("train", "loss", "Training loss"),
    ("val", "loss", "Validation loss"),
    ("val", "macro_ap", "Validation macro AP"),
    ("val", "macro_auc", "Validation macro AUC"),
    ("val", "macro_f1", "Validation macro F1 at 0.5"),
)


def training(groups: Sequence[Group], strokes: Sequence[Stroke]) -> list[Markup]:
    """Return a chart over epochs for each kind of loss and metric that the runs kept."""
    charts = []
    for part, key, title in _CURVES:
        lines = [line for group, stroke in zip(groups, strokes, strict=True) for line in epochs(group, stroke, part, key)]
        if lines:
            charts.append(page.figure(figures.curves(lines, title=title)))
    return charts


def epochs(group: Group, stroke: Stroke, part: str, key: str) -> list[Line]:
    """Return the lines of a group over epochs: its runs, and their mean if there are several.

    Args:
        group: the runs.
        stroke: how they are drawn.
        part: ``train`` or ``val``.
        key: name of the value in that part of the history.
    """
    style: dict[str, Any] = {"label": group.label, "colour": stroke[0], "dashed": stroke[1]}
    series: list[dict[float, float]] = []
    for run in group.runs:
        values = {entry["epoch"]: (entry.get(part) or {}).get(key) for entry in run.results.get("history") or []}
        series.append({epoch: float(value) for epoch, value in values.items() if value is not None})
    series = [one for one in series if one]
    if len(series) < 2:
        return [Line(x=list(one), y=list(one.values()), **style) for one in series]
    # Where some runs have ended, a mean over the others would jump.
    shared = sorted(set.intersection(*(set(one) for one in series)))
    mean = Line(x=shared, y=[float(np.mean([one[epoch] for one in series])) for epoch in shared], **style)
    return [*(Line(x=list(one), y=list(one.values()), faint=True, **style) for one in series), mean]


def recall(groups: Sequence[Group], strokes: Sequence[Stroke], name: str) -> Markup | None:
    """Return precision over recall of one class, a line per run; None if no run was tested on a positive of it."""
    lines = []
    for group, (colour, dashed) in zip(groups, strokes, strict=True):
        for run in group.runs:
            if name not in run.predictions.classes:
                continue
            column = run.predictions.classes.index(name)
            labels = run.predictions.labels[:, column]
            if labels.any():
                curve = precision_recall_curve(run.predictions.probabilities[:, column], labels)
                faint = len(group.runs) > 1
                lines.append(Line(label=group.label, x=curve.recall, y=curve.precision, colour=colour, dashed=dashed, faint=faint))
    return page.figure(figures.recall_lines(lines, title=name)) if lines else None
