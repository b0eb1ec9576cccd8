"""Charts in which groups of runs lie over one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from photic.metrics.ranking import precision_recall_curve
from photic.report import figures, page
from photic.report.figures import Line
from photic.report.groups import DrawnGroup, Stroke
from photic.tracking.compared import Group

_LOSSES = (("train", "loss", "Training loss"), ("val", "loss", "Validation loss"))


def training(groups: Sequence[DrawnGroup], curves: Sequence[tuple[str, str, str]]) -> tuple[list[Markup], bool]:
    """Return charts over epochs: losses, values, and whatever chose the best epochs, as far as the runs kept them.

    Args:
        groups: what to draw.
        curves: ``train`` or ``val``, name in the history and title of each value beside the losses.

    Returns:
        The charts, and whether different losses got charts of their own, since their values lie far apart.
    """
    charts = []
    losses = [_lines(groups, part, key) for part, key, _ in _LOSSES]
    clusters = _clusters(losses[0])
    for (*_, title), lines in zip(_LOSSES, losses, strict=True):
        for cluster in clusters:
            chosen = [line for name in cluster for line in lines.get(name, [])]
            name = f" ({', '.join(cluster)})" if len(clusters) > 1 else ""
            charts += [page.figure(figures.curves(chosen, title=title + name))] if chosen else []
    known = {(part, key) for part, key, _ in (*_LOSSES, *curves)}
    monitored = dict.fromkeys(str((run.config.get("training") or {}).get("monitor")) for one in groups for run in one.group.runs)
    others = [("val", key, f"Validation {key}") for key in monitored if ("val", key) not in known]
    for part, key, title in (*curves, *others):
        lines_of_value = [line for lines in _lines(groups, part, key).values() for line in lines]
        charts += [page.figure(figures.curves(lines_of_value, title=title))] if lines_of_value else []
    return charts, len(clusters) > 1


def _lines(groups: Sequence[DrawnGroup], part: str, key: str) -> dict[str, list[Line]]:
    """Return the lines of a value by the loss that was minimised."""
    found: dict[str, list[Line]] = {}
    for one in groups:
        loss = str((one.group.runs[0].config.get("loss") or {}).get("name"))
        found.setdefault(loss, []).extend(epochs(one.group, one.stroke, part, key))
    return found


def _clusters(lines: Mapping[str, Sequence[Line]]) -> list[list[str]]:
    """Return names of losses whose values can share an axis: their ranges overlap."""
    values = {name: np.concatenate([np.asarray(line.y, dtype=float) for line in own]) for name, own in lines.items() if own}
    clusters: list[list[str]] = []
    top = -np.inf
    for name in sorted(values, key=lambda one: float(values[one].min())):
        if clusters and values[name].min() <= top:
            clusters[-1].append(name)
        else:
            clusters.append([name])
        top = max(top, float(values[name].max()))
    order = list(lines)
    return sorted((sorted(cluster, key=order.index) for cluster in clusters), key=lambda cluster: order.index(cluster[0]))


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


def recall(groups: Sequence[DrawnGroup], name: str) -> Markup | None:
    """Return precision over recall of one class, a line per run; None if no run was tested with a positive of it."""
    lines = []
    for group in groups:
        colour, dashed = group.stroke
        for run in group.group.runs:
            if name not in run.table.classes:
                continue
            column = run.table.classes.index(name)
            labels = run.table.labels[:, column]
            if labels.any():
                curve = precision_recall_curve(run.table.probabilities[:, column], labels)
                faint = len(group.group.runs) > 1
                lines.append(Line(label=group.label, x=curve.recall, y=curve.precision, colour=colour, dashed=dashed, faint=faint))
    return page.figure(figures.recall_lines(lines, title=name)) if lines else None
