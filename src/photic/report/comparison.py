"""The page of a comparison: values of groups, differences with intervals, overlaid curves, settings, next steps."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from photic.core.program import program
from photic.report import overlays, page
from photic.report.differences import add_differences
from photic.report.groups import breakable, drawn, signed, spread_cell, with_spread
from photic.report.page import Cell, Column, Page, Section, Tile, duration, number
from photic.report.runs import shown
from photic.tracking.compared import ComparedRun, Group, setting
from photic.tracking.comparison import Comparison
from photic.tracking.pairing import Difference

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
        self.groups = drawn(found.groups)
        self.several = any(len(group.runs) > 1 for group in found.groups)

    def page(self) -> Page:
        found = self.found
        experiments = list(dict.fromkeys(run.path.resolve().parent.name for run in found.runs))
        counts = {len(run.table.names) for run in found.runs}
        made = Page(
            title=" + ".join(experiments),
            eyebrow="Photic · comparison of runs",
            verdict=self._verdict(),
            badges=[
                ("runs", str(len(found.runs))),
                ("groups", str(len(found.groups))),
                *(("data", name) for name in dict.fromkeys(run.results.get("names", {}).get("data") for run in found.runs) if name),
                (found.samples, " to ".join(str(count) for count in sorted({min(counts), max(counts)}))),
            ],
        )
        if len(found.groups) <= _MOST_TILES:
            made.head.append(page.tiles([self._tile(group) for group in found.groups]))
        made.head += [page.notice(note, "warning") for note in found.notes]
        made.head += [page.notice(f"{path}: left out, {reason}") for path, reason in self.left_out.items()]
        self._values(made)
        add_differences(made, found, self.groups)
        self._training(made)
        if found.classes:
            self._recall(made)
        self._settings(made)
        self._runs(made)
        self._commands(made)
        return made

    # --- what the numbers say ------------------------------------------------------------------------

    def _tile(self, group: Group) -> Tile:
        spread = group.spread(self.found.ranking.name)
        runs = f"over {len(group.runs)} runs" if len(group.runs) > 1 else "one run"
        deviation = f"± {number(spread.deviation)} " if math.isfinite(spread.deviation) else ""
        return Tile(label=group.label, value=number(spread.mean), note=f"{self.found.ranking.label}, {deviation}{runs}")

    def _verdict(self) -> str:
        found, ranking = self.found, self.found.ranking
        best = found.best
        if best is None:
            return f"No {ranking.label} is defined on these {found.samples}: there is nothing to rank."
        if len(found.groups) == 1:
            value = with_spread(best.spread(ranking.name))
            varied = _what_varies(best)
            return f"{len(best.runs)} runs that differ only in their {varied}: {ranking.label} {value} on the {found.samples}."
        highest = f"{best.label} has the {ranking.best} {ranking.label}, {with_spread(best.spread(ranking.name))}"
        differences = {difference.group.label: difference for difference in found.differences}
        if best is not found.groups[0]:
            return f"{highest}; {self._against_first(differences.get(best.label))}"
        others = [group for group in found.groups[1:] if math.isfinite(group.spread(ranking.name).mean)]
        if not others:
            return f"{highest}."
        second = max(others, key=lambda group: ranking.gain(group.spread(ranking.name).mean))
        return f"{highest}. Next is {second.label}; {self._against_first(differences.get(second.label))}"

    def _against_first(self, difference: Difference | None) -> str:
        first, ranking, samples = self.found.groups[0].label, self.found.ranking, self.found.measure.samples
        if difference is None:
            return f"there is no paired difference from {first}, for the reason below."
        entry = difference.values[ranking.name]
        value, low, high = (float(entry[name]) for name in ("value", "low", "high"))
        if math.isnan(low):
            return f"on the same {samples} {signed(value, 3)} against {first}, with too few {samples} for an interval."
        judged = "no more" if low <= 0 <= high else "more"
        better, pairs = difference.num_better(ranking.name), len(difference.pairs)
        seeds = f". {ranking.better.capitalize()} in {better} of {pairs} pairs of runs." if pairs > 1 else "."
        return (
            f"on the same {samples} {signed(value, 3)} against {first} (95 % interval {signed(low, 3)} to {signed(high, 3)}), "
            f"{judged} than the choice of {samples} explains{seeds}"
        )

    def _values(self, made: Page) -> None:
        found = self.found
        lead = f"On the {found.samples}, {found.remark}."
        if self.several:
            lead += " Mean ± sample standard deviation over the runs of a group"
            lead += "." if found.same_samples else ", each measured on its own split."
        section = made.section("Values", lead)
        columns = [
            Column(title="", number=False),
            Column(title="Runs"),
            *(Column(title=value.label) for value in found.values),
            Column(title="Best epoch", hint="by the monitored validation value"),
            Column(title="Time", hint="wall time of training, mean"),
        ]
        rows: list[list[Any]] = []
        for one in self.groups:
            group = one.group
            rows.append([
                one.name,
                len(group.runs),
                *(spread_cell(group.spread(name)) for name in found.metrics),
                number(group.spread("best_epoch").mean, 1).removesuffix(".0"),
                _time(group.spread("wall_seconds").mean),
            ])  # fmt: skip
            if group.pooled:
                pooled = [spread_cell(group.pooled[name]) if name in group.pooled else "" for name in found.metrics]
                rows.append([Cell(text="", note="folds pooled"), "", *pooled, "", ""])
        section.add(page.table(columns, rows))
        if not found.same_loss and "loss" not in found.metrics:
            text = (
                f"{found.split.capitalize()} losses are left out: the groups minimise different ones, whose values mean different things."
            )
            section.add(page.prose(text))
        if any(group.pooled for group in found.groups):
            section.add(page.prose("Folds pooled: the predictions of all folds in one table, each sample once."))
        if found.classes:
            self._classes(section)

    def _classes(self, section: Section) -> None:
        if any(group.pooled for group in self.found.groups):
            section.add(
                page.prose(
                    "Pooling needs no mean over folds with hardly a picture of a rare class, but ranks pictures that different networks "
                    "judged against each other."
                )
            )
        section.add(page.heading("Average precision by class"))
        columns = [Column(title="", number=False), *(Column(title=name) for name in self.found.classes)]
        rows: list[list[Any]] = []
        for one in self.groups:
            rows.append([one.name, *(spread_cell(one.group.spread(f"ap/{name}")) for name in self.found.classes)])
            pooled = one.group.pooled
            if pooled:
                cells = [spread_cell(pooled[f"ap/{name}"]) if f"ap/{name}" in pooled else "" for name in self.found.classes]
                rows.append([Cell(text="", note="folds pooled"), *cells])
        section.add(page.table(columns, rows))

    def _training(self, made: Page) -> None:
        section = made.section("Training")
        charts, apart = overlays.training(self.groups, self.found.measure.curves)
        if not charts:
            section.add(page.prose("The runs kept no history."))
            return
        section.lead = "Thin lines: single runs; strong: their mean, as far as all of them went." if self.several else ""
        section.add(page.figure(Markup(""), legend=self._legend()), page.grid(charts))
        if apart:
            section.add(page.prose("The groups minimise different losses whose values lie far apart: each loss has its own charts."))
        elif not self.found.same_loss:
            section.add(page.prose("The groups minimise different losses: compare the shapes of their loss curves, not the heights."))

    def _recall(self, made: Page) -> None:
        section = made.section("Precision over recall", f"A line per run, on its {self.found.samples}; further up and right is better.")
        charts = {name: overlays.recall(self.groups, name) for name in self.found.classes}
        drawn = [chart for chart in charts.values() if chart is not None]
        section.add(page.figure(Markup(""), legend=self._legend()), page.grid(drawn))
        empty = [name for name, chart in charts.items() if chart is None]
        if empty:
            section.add(page.prose(f"Without positives in any {self.found.split} split, so without a curve: {', '.join(empty)}."))

    def _legend(self) -> list[tuple[str, str, bool]]:
        return [group.legend for group in self.groups]

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
            [breakable(key), *(setting(group.settings[key]) if key in group.settings else "–" for group in self.found.groups)]
            for key in self.found.settings
        ]
        section.add(page.table(columns, rows))

    def _runs(self, made: Page) -> None:
        section = made.section("Runs")
        columns = [
            Column(title="", number=False),
            Column(title="Run", number=False),
            *(Column(title=value.label) for value in self.found.measure.paired),
            Column(title="Best epoch"),
            Column(title="Time"),
            Column(title="Parameters"),
            Column(title="Memory"),
        ]
        rows: list[list[Any]] = []
        for group in self.groups:
            for run in group.group.runs:
                facts = run.facts
                rows.append([
                    Cell(text=breakable(group.label), note=run.member, colour=group.colour),
                    self._link(run),
                    *(number(run.values[value.name], 4) for value in self.found.measure.paired),
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
        found, ranking = self.found, self.found.ranking
        section = made.section("Go on", "Exact commands; words in capitals stand for files and folders of yours.")
        defined = [run for run in found.runs if math.isfinite(run.values[ranking.name])]
        best = max(defined or found.runs, key=lambda run: ranking.gain(run.values[ranking.name]))
        started = dict.fromkeys(run.results.get("environment", {}).get("command") for run in found.runs)
        items = [("These runs were started with", command) for command in started if command]
        items += [
            ("Use the best of them on data of your own", f"{program()} predict {shown(best.path)} {found.measure.predict}"),
            ("Compare again", f"{program()} compare {' '.join(shown(run.path) for run in found.runs)} -o {shown(self.target)}"),
        ]
        section.add(page.commands(items))


def _what_varies(group: Group) -> str:
    seeds, folds = ({run.key[part] for run in group.runs} for part in (0, 1))
    return " and ".join(word for word, values in (("seed", seeds), ("fold", folds)) if len(values) > 1)


def _count(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def _time(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
