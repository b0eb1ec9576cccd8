"""The part of a comparison's page on paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from photic.report import figures, page
from photic.report.figures import Interval
from photic.report.groups import DrawnGroup, signed
from photic.report.page import Cell, Column, Page
from photic.tracking.comparison import Comparison
from photic.tracking.measures import Value
from photic.tracking.pairing import Difference


def add_differences(made: Page, found: Comparison, groups: Sequence[DrawnGroup]) -> None:
    """Add the section: charts of the differences from the first group, a table, and how to read them."""
    if len(found.groups) < 2:
        return
    first = found.groups[0].label
    side = "; to the right of 0 is better" if all(value.higher_is_better for value in found.measure.paired) else ""
    section = made.section("Differences", f"From {first}, on the same {found.samples}{side}.")
    differences = found.differences
    if not differences:
        section.add(page.prose("No group could be paired with the first; the reasons stand at the top of this page."))
        return
    by_label = {group.label: group for group in groups}
    shown = [(difference, by_label[difference.group.label]) for difference in differences]
    several = any(len(difference.pairs) > 1 for difference in differences)
    caption = "Diamond: difference; bar: 95 % interval"
    if several:
        caption = "Diamond: mean over pairs of runs; rings: single pairs; bar: 95 % interval of the mean"
    legend = [(group.label, group.colour, False) for _, group in shown]
    charts = [
        page.figure(figures.intervals(_rows(shown, names), title=title, x_label=x_label), caption, legend)
        for title, x_label, names in _charts(found)
    ]
    # A single chart is not blown up to the width of the page: an empty block stands beside it.
    section.add(page.grid(charts if len(charts) > 1 else [*charts, Markup("")], 440))
    section.add(_table(found, shown))
    samples = found.measure.samples
    section.add(
        page.prose(
            f"Paired bootstrap: both networks are measured on the same 1000 resamples of the {found.samples}, so what makes some {samples} "
            f"hard for both cancels out. The interval tells how far the choice of {samples} moves the difference between these networks. "
            + (
                "How far another training would move it shows in the single pairs."
                if several
                else "How far another seed would move it is not in it: train each setting with several seeds to see that."
            )
            + (f" {found.measure.caution}" if found.measure.caution else "")
        )
    )


def _charts(found: Comparison) -> list[tuple[str, str, dict[str, str]]]:
    """Return title, label of the axis, and the names and titles of the values in it, of each chart."""
    paired = found.measure.paired
    if found.classes:  # all between 0 and 1, so that they share an axis
        classes = {f"ap/{name}": name for name in found.classes}
        return [
            ("All classes", "difference", {value.name: value.label for value in paired}),
            ("Average precision by class", "difference", classes),
        ]
    sides = {True: "right", False: "left"}
    return [(value.label, f"difference; {sides[value.higher_is_better]} of 0 is better", {value.name: ""}) for value in paired]


def _rows(shown: Sequence[tuple[Difference, DrawnGroup]], names: Mapping[str, str]) -> list[tuple[str, list[Interval]]]:
    return [
        (title, [_interval(difference, name, group.colour) for difference, group in shown if name in difference.values])
        for name, title in names.items()
    ]


def _table(found: Comparison, shown: Sequence[tuple[Difference, DrawnGroup]]) -> Any:
    paired = found.measure.paired
    columns = [Column(title="", number=False), Column(title=found.measure.samples.capitalize())]
    for value in paired:
        columns += [Column(title="difference", group=value.label), Column(title="95 % interval", group=value.label)]
        if value is paired[0]:
            side = "above" if value.higher_is_better else "below"
            hint = f"share of the resamples in which the value is {value.better} than that of the first"
            columns.append(Column(title=f"{side} 0", group=value.label, hint=hint))
    rows: list[list[Any]] = []
    for difference, group in shown:
        rows.append([group.name, difference.num_samples, *_cells(difference.values, paired)])
        if len(difference.pairs) > 1:
            for pair in difference.pairs:
                same = pair.first.key == pair.second.key
                member = pair.second.member if same else f"{pair.second.member} against {pair.first.member}"
                rows.append([Cell(text="", note=member), len(pair.first.table.names), *_cells(pair.values, paired)])
    return page.table(columns, rows)


def _cells(values: Mapping[str, Mapping[str, float | int]], paired: Sequence[Value]) -> list[str]:
    cells = []
    for value in paired:
        entry = values[value.name]
        cells += [signed(entry["value"]), f"{signed(entry['low'])} to {signed(entry['high'])}"]
        if value is paired[0]:
            above = float(entry["share_above_zero"])
            share = above if value.higher_is_better else 1 - above
            cells.append("–" if math.isnan(share) else f"{100 * share:.0f} %")
    return cells


def _interval(difference: Difference, name: str, colour: str) -> Interval:
    entry = difference.values[name]
    parts = [float(pair.values[name]["value"]) for pair in difference.pairs] if len(difference.pairs) > 1 else []
    return Interval(value=float(entry["value"]), low=float(entry["low"]), high=float(entry["high"]), colour=colour, parts=parts)
