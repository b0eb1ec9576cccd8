"""The page of a comparison: values of groups, differences with intervals, overlaid curves, settings, next steps."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from photic.core.program import program
from photic.functional.palette import BLUE, GREEN, ORANGE, PINK, SKY, VERMILION
from photic.report import figures, overlays, page
from photic.report.figures import Interval
from photic.report.page import Cell, Column, Page, Tile, duration, number
from photic.tracking.compared import METRICS, ComparedRun, Group, Spread, setting
from photic.tracking.comparison import Comparison
from photic.tracking.pairing import Difference

_COLOURS = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY)
_MOST_TILES = 6


def write_comparison(comparison: Comparison, path: Path | str, left_out: Mapping[Path, str] | None = None) -> Path:
    """Write the page of a comparison.

    Args:
        comparison: what was found.
        path: the file to write.
        left_out: what was given and could not be compared, and why.

    Returns:
        The file.
    """
    target = Path(path)
    return _ComparisonPage(comparison, target, left_out or {}).page().write(target)


class _ComparisonPage:
    """Everything the sections share."""

    def __init__(self, found: Comparison, target: Path, left_out: Mapping[Path, str]) -> None:
        self.found = found
        self.target = target
        self.left_out = left_out
        # Colours repeat after six groups; dashes tell the next six apart.
        self.strokes = [(_COLOURS[i % len(_COLOURS)], i // len(_COLOURS) % 2 == 1) for i in range(len(found.groups))]
        self.several = any(len(group.runs) > 1 for group in found.groups)

    def page(self) -> Page:
        found = self.found
        experiments = list(dict.fromkeys(run.path.resolve().parent.name for run in found.runs))
        pictures = {len(run.predictions.names) for run in found.runs}
        made = Page(
            title=" + ".join(experiments),
            eyebrow="Photic · comparison of runs",
            verdict=self._verdict(),
            badges=[
                ("runs", str(len(found.runs))),
                ("groups", str(len(found.groups))),
                *(("data", name) for name in dict.fromkeys(run.results.get("names", {}).get("data") for run in found.runs) if name),
                ("test pictures", " to ".join(str(count) for count in sorted({min(pictures), max(pictures)}))),
            ],
        )
        if len(found.groups) <= _MOST_TILES:
            made.head.append(page.tiles([self._tile(group) for group in found.groups]))
        made.head += [page.notice(note, "warning") for note in found.notes]
        made.head += [page.notice(f"{path}: left out, {reason}") for path, reason in self.left_out.items()]
        self._values(made)
        self._differences(made)
        self._training(made)
        self._recall(made)
        self._settings(made)
        self._runs(made)
        self._commands(made)
        return made

    # --- what the numbers say ------------------------------------------------------------------------

    def _tile(self, group: Group) -> Tile:
        spread = group.spread("macro_ap")
        runs = f"over {len(group.runs)} runs" if len(group.runs) > 1 else "one run"
        deviation = f"± {number(spread.deviation)} " if math.isfinite(spread.deviation) else ""
        return Tile(label=group.label, value=number(spread.mean), note=f"macro AP, {deviation}{runs}")

    def _verdict(self) -> str:
        groups = [group for group in self.found.groups if math.isfinite(group.spread("macro_ap").mean)]
        if not groups:
            return "No macro AP is defined on these test pictures: there is nothing to rank."
        if len(self.found.groups) == 1:
            value = _with_spread(groups[0].spread("macro_ap"))
            return f"{len(groups[0].runs)} runs that differ only in their {_what_varies(groups[0])}: macro AP {value} on the test pictures."
        first = self.found.groups[0]
        best = max(groups, key=lambda group: group.spread("macro_ap").mean)
        highest = f"{best.label} has the highest macro AP, {_with_spread(best.spread('macro_ap'))}"
        differences = {difference.group.label: difference for difference in self.found.differences}
        others = sorted(groups[1:], key=lambda group: -group.spread("macro_ap").mean)
        if best is not first:
            return f"{highest}; {self._against_first(differences.get(best.label))}"
        return f"{highest}. Next is {others[0].label}; {self._against_first(differences.get(others[0].label))}" if others else f"{highest}."

    def _against_first(self, difference: Difference | None) -> str:
        first = self.found.groups[0].label
        if difference is None:
            return f"there is no paired difference from {first}, for the reason below."
        entry = difference.values["macro_ap"]
        value, low, high = (float(entry[name]) for name in ("value", "low", "high"))
        if math.isnan(low):
            return f"on the same pictures {_signed(value, 3)} against {first}, with too few pictures for an interval."
        judged = "no more" if low <= 0 <= high else "more"
        better, pairs = difference.num_better("macro_ap"), len(difference.pairs)
        seeds = f". Higher in {better} of {pairs} pairs of runs." if pairs > 1 else "."
        return (
            f"on the same pictures {_signed(value, 3)} against {first} (95 % interval {_signed(low, 3)} to {_signed(high, 3)}), "
            f"{judged} than the choice of pictures explains{seeds}"
        )

    def _values(self, made: Page) -> None:
        lead = "On the test pictures, F1 at the thresholds tuned on validation."
        if self.several:
            lead += " Mean ± sample standard deviation over the runs of a group"
            lead += "." if self.found.same_pictures else ", each tested on its own split."
        section = made.section("Values", lead)
        names = self.found.metrics
        columns = [
            Column(title="", number=False),
            Column(title="Runs"),
            *(Column(title=METRICS[name]) for name in names),
            Column(title="Best epoch", hint="by the monitored validation value"),
            Column(title="Time", hint="wall time of training, mean"),
        ]
        rows: list[list[Any]] = []
        for position, group in enumerate(self.found.groups):
            rows.append([
                self._name(position),
                len(group.runs),
                *(_cell(group.spread(name)) for name in names),
                number(group.spread("best_epoch").mean, 1).removesuffix(".0"),
                _time(group.spread("wall_seconds").mean),
            ])  # fmt: skip
            if group.pooled:
                pooled = [_cell(group.pooled[name]) if name in group.pooled else "" for name in names]
                rows.append([Cell(text="", note="folds pooled"), "", *pooled, "", ""])
        section.add(page.table(columns, rows))
        if any(group.pooled for group in self.found.groups):
            section.add(
                page.prose(
                    "Folds pooled: the predictions of all folds in one table, each picture once. It needs no mean over folds with hardly a "
                    "picture of a rare class, but ranks pictures that different networks judged against each other."
                )
            )
        if "loss" not in names:
            section.add(page.prose("Test losses are left out: the groups minimise different ones, whose values mean different things."))
        section.add(page.heading("Average precision by class"))
        columns = [Column(title="", number=False), *(Column(title=name) for name in self.found.classes)]
        rows = []
        for position, group in enumerate(self.found.groups):
            rows.append([self._name(position), *(_cell(group.spread(f"ap/{name}")) for name in self.found.classes)])
            if group.pooled:
                pooled = [_cell(group.pooled[f"ap/{name}"]) if f"ap/{name}" in group.pooled else "" for name in self.found.classes]
                rows.append([Cell(text="", note="folds pooled"), *pooled])
        section.add(page.table(columns, rows))

    def _differences(self, made: Page) -> None:
        if len(self.found.groups) < 2:
            return
        first = self.found.groups[0].label
        section = made.section("Differences", f"From {first}, on the same test pictures; to the right of 0 is better.")
        differences = self.found.differences
        if not differences:
            section.add(page.prose("No group could be paired with the first; the reasons stand at the top of this page."))
            return
        positions = {group.label: position for position, group in enumerate(self.found.groups)}
        legend = [(difference.group.label, self.strokes[positions[difference.group.label]][0], False) for difference in differences]

        def rows(names: Mapping[str, str]) -> list[tuple[str, list[Interval]]]:
            return [
                (
                    title,
                    [_interval(one, name, colour) for one, (_, colour, _) in zip(differences, legend, strict=True) if name in one.values],
                )
                for name, title in names.items()
            ]

        several = any(len(difference.pairs) > 1 for difference in differences)
        caption = "Diamond: difference; bar: 95 % interval"
        if several:
            caption = "Diamond: mean over pairs of runs; rings: single pairs; bar: 95 % interval of the mean"
        classes = {f"ap/{name}": name for name in self.found.classes}
        charts = [
            page.figure(
                figures.intervals(rows({"macro_ap": "macro AP", "macro_f1": "macro F1"}), title="All classes", x_label="difference"),
                caption, legend,
            ),
            page.figure(figures.intervals(rows(classes), title="Average precision by class", x_label="difference"), caption, legend),
        ]  # fmt: skip
        section.add(page.grid(charts, 440))
        ap, f1 = METRICS["macro_ap"], METRICS["macro_f1"]
        columns = [
            Column(title="", number=False),
            Column(title="Pictures"),
            Column(title="difference", group=ap),
            Column(title="95 % interval", group=ap),
            Column(title="above 0", group=ap, hint="share of the resamples in which the value is higher than that of the first"),
            Column(title="difference", group=f1),
            Column(title="95 % interval", group=f1),
        ]
        table: list[list[Any]] = []
        for difference in differences:
            table.append([self._name(positions[difference.group.label]), difference.num_pictures, *_difference_cells(difference.values)])
            if len(difference.pairs) > 1:
                for pair in difference.pairs:
                    same = pair.first.key == pair.second.key
                    member = pair.second.member if same else f"{pair.second.member} against {pair.first.member}"
                    table.append([Cell(text="", note=member), len(pair.first.predictions.names), *_difference_cells(pair.values)])
        section.add(page.table(columns, table))
        section.add(
            page.prose(
                "Paired bootstrap: both networks are measured on the same 1000 resamples of the test pictures, so what makes a picture "
                "hard for both cancels out. The interval tells how far the choice of pictures moves the difference between these networks. "
                + (
                    "How far another training would move it shows in the single pairs."
                    if several
                    else "How far another seed would move it is not in it: train each setting with several seeds to see that."
                )
            )
        )

    def _training(self, made: Page) -> None:
        section = made.section("Training")
        charts = overlays.training(self.found.groups, self.strokes)
        if not charts:
            section.add(page.prose("The runs kept no history."))
            return
        section.lead = "Thin lines: single runs; strong: their mean, as far as all of them went." if self.several else ""
        section.add(page.figure(Markup(""), legend=self._legend()), page.grid(charts))
        if "loss" not in self.found.metrics:
            section.add(page.prose("The groups minimise different losses: compare the shapes of their loss curves, not the heights."))

    def _recall(self, made: Page) -> None:
        section = made.section("Precision over recall", "A line per run, on its test pictures; further up and right is better.")
        charts = {name: overlays.recall(self.found.groups, self.strokes, name) for name in self.found.classes}
        drawn = [chart for chart in charts.values() if chart is not None]
        section.add(page.figure(Markup(""), legend=self._legend()), page.grid(drawn))
        empty = [name for name, chart in charts.items() if chart is None]
        if empty:
            section.add(page.prose(f"Without positives in any test split, so without a curve: {', '.join(empty)}."))

    def _legend(self) -> list[tuple[str, str, bool]]:
        return [(group.label, *stroke) for group, stroke in zip(self.found.groups, self.strokes, strict=True)]

    # --- how it came about ---------------------------------------------------------------------------

    def _settings(self, made: Page) -> None:
        if len(self.found.groups) < 2:
            return
        section = made.section("Settings that differ")
        if not self.found.settings:
            section.add(page.prose("None: these runs are repeats of one another."))
            return
        columns = [Column(title="", number=False), *(Column(title=group.label, number=False) for group in self.found.groups)]
        rows = [
            [_breakable(key), *(setting(group.settings[key]) if key in group.settings else "–" for group in self.found.groups)]
            for key in self.found.settings
        ]
        section.add(page.table(columns, rows))

    def _runs(self, made: Page) -> None:
        section = made.section("Runs")
        columns = [
            Column(title="", number=False),
            Column(title="Run", number=False),
            *(Column(title=METRICS[name]) for name in ("macro_ap", "macro_f1")),
            Column(title="Best epoch"),
            Column(title="Time"),
            Column(title="Parameters"),
            Column(title="Memory"),
        ]
        rows: list[list[Any]] = []
        for position, group in enumerate(self.found.groups):
            for run in group.runs:
                facts = run.facts
                rows.append([
                    Cell(text=_breakable(group.label), note=run.member, colour=self.strokes[position][0]),
                    self._link(run),
                    *(number(run.values[name], 4) for name in ("macro_ap", "macro_f1")),
                    Cell(text=_count(facts["best_epoch"]), note=f"of {_count(facts['epochs'])}"),
                    _time(facts["wall_seconds"]),
                    _count(facts["parameters"]),
                    "–" if math.isnan(facts["peak_memory_mb"]) else f"{facts['peak_memory_mb']:,.0f} MB",
                ])  # fmt: skip
        section.add(page.table(columns, rows))

    def _link(self, run: ComparedRun) -> str | Markup:
        report = run.path / "report.html"
        if not report.is_file():
            return run.path.name
        way = quote(Path(os.path.relpath(report.resolve(), self.target.resolve().parent)).as_posix())
        return Markup('<a href="{}">{}</a>').format(way, run.path.name)

    def _commands(self, made: Page) -> None:
        section = made.section("Go on", "Exact commands; PICTURES/ stands for a folder of yours.")
        best = max(self.found.runs, key=lambda run: np.nan_to_num(run.values["macro_ap"], nan=-1.0))
        started = dict.fromkeys(run.results.get("environment", {}).get("command") for run in self.found.runs)
        items = [("These runs were started with", command) for command in started if command]
        items += [
            ("Predict your own pictures with the best of them", f"{program()} predict {_path(best.path)} PICTURES/ -o predictions.csv"),
            ("Compare again", f"{program()} compare {' '.join(_path(run.path) for run in self.found.runs)} -o {_path(self.target)}"),
        ]
        section.add(page.commands(items))

    def _name(self, position: int) -> Cell:
        return Cell(text=_breakable(self.found.groups[position].label), colour=self.strokes[position][0])


def _breakable(text: str) -> Markup:
    """Return a text that narrow screens may break after the signs inside long names."""
    return Markup("<wbr>").join(re.findall(r"[^=_.,/-]*[=_.,/-]|[^=_.,/-]+", text))


def _what_varies(group: Group) -> str:
    seeds, folds = ({run.key[part] for run in group.runs} for part in (0, 1))
    return " and ".join(word for word, values in (("seed", seeds), ("fold", folds)) if len(values) > 1)


def _with_spread(spread: Spread) -> str:
    return number(spread.mean) + (f" ± {number(spread.deviation)}" if math.isfinite(spread.deviation) else "")


def _cell(spread: Spread) -> Cell:
    return Cell(text=number(spread.mean, 4), note=f"± {number(spread.deviation, 4)}" if math.isfinite(spread.deviation) else "")


def _interval(difference: Difference, name: str, colour: str) -> Interval:
    entry = difference.values[name]
    parts = [float(pair.values[name]["value"]) for pair in difference.pairs] if len(difference.pairs) > 1 else []
    return Interval(value=float(entry["value"]), low=float(entry["low"]), high=float(entry["high"]), colour=colour, parts=parts)


def _difference_cells(values: Mapping[str, Mapping[str, float | int]]) -> list[str]:
    cells = []
    for name in ("macro_ap", "macro_f1"):
        entry = values[name]
        cells += [_signed(entry["value"]), f"{_signed(entry['low'])} to {_signed(entry['high'])}"]
        if name == "macro_ap":
            share = float(entry["share_above_zero"])
            cells.append("–" if math.isnan(share) else f"{100 * share:.0f} %")
    return cells


def _signed(value: float, digits: int = 4) -> str:
    return "–" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def _count(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def _time(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _path(path: Path) -> str:
    whole = path.resolve()
    return shlex.quote(str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole))
