"""The page of a run that compresses raw pictures: quality over bits per pixel, by quality level and ISO value, against codecs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photic.apps.rawnind.codec_benchmark.benchmark_page import add_crops, add_curves, add_losses, difference_table, verdict
from photic.apps.rawnind.codec_benchmark.results import VALUES, Benchmark, kind_label
from photic.apps.rawnind.evaluating.report import RawPage
from photic.apps.rawnind.evaluating.scores import LABELS, level_name, shown
from photic.functional.palette import BLUE, CLASS_COLOURS, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Column, Page, Tile, number
from photic.report.run_page import SPLITS
from photic.tracking.run import Run

_QUALITIES = ("psnr", "ms_ssim")
_ESTIMATE_OFF = 0.01
"""Difference between actual and estimated size, of the latter, from which the page speaks of it."""


class RatePage(RawPage):
    """The page of a run that compresses."""

    made = "decoded"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.measured = self.evaluations(Benchmark.read, "benchmark.json")

    def verdict(self) -> str:
        """Return rate and quality, and how that compares with codecs where it was evaluated."""
        values, split = (self.test, "test") if self.test.get("bpp") is not None else (self.val, "validation")
        if not self.val or values.get("bpp") is None:
            return super().verdict()
        parts = [f"{number(values.get('bpp_actual'), 3)} bits per pixel"]
        parts += [f"{LABELS[name]} {shown(name, values.get(name))}" for name in _QUALITIES if values.get(name) is not None]
        levels = self._levels("q")
        over = f", means over {len(levels)} quality levels" if len(levels) > 1 else ""
        return f"{', '.join(parts)} on {split} pictures, developed, over all ISO values{over} (epoch {self.best['epoch']:g})."

    def tiles(self) -> list[Tile]:
        """Return the rates at the ends of the quality levels, and what it cost."""
        made = []
        levels = self._levels("q")
        ends = [levels[0], levels[-1]] if len(levels) > 1 else levels
        for label, values in ends:
            score = shown("ms_ssim", values.get("ms_ssim"))
            made.append(Tile(label=label, value=f"{number(values.get('bpp_actual'), 3)} bpp", note=f"MS-SSIM {score}, validation"))
        if not levels and self.val.get("bpp_actual") is not None:
            made.append(Tile(label="Rate", value=f"{number(self.val['bpp_actual'], 3)} bpp", note="validation, coded for real"))
        return [*made, *self.cost_tiles()]

    def advice(self) -> list[str]:
        """Say where actual sizes differ from the estimate."""
        estimated, actual = self.val.get("bpp"), self.val.get("bpp_actual")
        if estimated and actual and abs(actual / estimated - 1) > _ESTIMATE_OFF:
            return [
                f"Coded for real, validation pictures take {actual / estimated - 1:+.1%} against the estimate. Small pictures do, by a few "
                "bytes for each; of large ones it would be a fault."
            ]
        return []

    def add_results(self, made: Page) -> None:
        """Add what evaluations and validation found."""
        for folder, found in self.measured:
            self._evaluated(made, found, folder)
        self._by_level(made)
        self._single(made)

    def _evaluated(self, made: Page, found: Benchmark, folder: Path) -> None:
        """Add rate and distortion at each ISO value against codecs, each picture coded at each quality."""
        section = made.section(f"Against codecs: {folder.name.removesuffix('_codecs')}", verdict(found))
        section.add(*(page.notice(note) for note in found.notes))
        add_curves(found, section)
        for value in VALUES:
            label = kind_label("quality", value, found.anchor)
            section.add(page.heading(f"Against {found.anchor}: {label}"), difference_table(found, "quality", value, found.anchor))
        add_losses(found, section)
        add_crops(found, folder, section)
        section.add(page.prose(f"More differences, and how it was measured, are on the evaluation's own page, {folder / 'report.html'}."))

    def _by_level(self, made: Page) -> None:
        """Add what validation found, by quality level and by ISO value."""
        for mark, title, first, lead in (
            (
                "q",
                "Rate and quality",
                "Quality level",
                "Means over validation pictures of all ISO values, developed, at each quality level.",
            ),
            ("iso", "ISO values", "ISO value", "Means over validation pictures and quality levels. Noisier pictures take other bits."),
        ):
            levels = self._levels(mark)
            if not levels:
                continue
            section = made.section(title, lead)
            heads = ["bits per pixel, coded", "estimated", *(LABELS[name] for name in _QUALITIES)]
            columns = [Column(title=first, number=False), *(Column(title=head) for head in heads)]
            section.add(page.table(columns, [_row(label, values) for label, values in levels]))

    def _single(self, made: Page) -> None:
        """Add charts of the tables of predictions: quality over rate by ISO value, and actual over estimated rate."""
        phase = "test" if self.rows("test") else "val"
        rows = [_numbers(row) for row in self.rows(phase)]
        rows = [row for row in rows if row.get("bpp", 0) > 0 and row.get("bpp_actual", 0) > 0]
        if not rows:
            return
        rough = not self.measured
        lead = f"Of the {SPLITS[phase]} split, where each picture is coded at one of the quality levels"
        if rough:
            lead += ": different pictures make the points of a line, so it is rough. `photic evaluate` codes every picture at every level"
        section = made.section("Rate and distortion" if rough else "Sizes of single files", f"{lead}.")
        charts = [page.figure(drawn, "", legend) for name in _QUALITIES for drawn, legend in _by_iso(rows, name)] if rough else []
        lines = [figures.Line(label=level_name(iso), x=[row["bpp"] for row in some], y=[row["bpp_actual"] for row in some], colour=colour)
                 for iso, some, colour in _groups(rows)]  # fmt: skip
        drawn = figures.against(
            lines, title="Coded over estimated rate", x_label="bits per pixel, estimated", y_label="bits per pixel, coded"
        )
        charts.append(page.figure(drawn, "Above the dotted line files are larger than the estimate.", [line.legend for line in lines]))
        section.add(page.grid(charts, 420))

    def charts(self) -> Iterator[Any]:
        """Make the charts: loss, its two parts, and qualities by quality level."""
        for title, key in (("Loss", "loss"), ("Distortion (lambda D)", "distortion"), ("Rate (bits per pixel)", "rate")):
            yield self.loss_chart(title, key, log_y=True)
        names = [label for label, _ in self._levels("q")]
        for name in _QUALITIES:
            lines = [
                self.line(label, "val", f"{name}_q{place}", CLASS_COLOURS[place % len(CLASS_COLOURS)])
                for place, label in enumerate(names, start=1)
            ]
            yield runs.chart(LABELS[name], lines or [self.line("validation", "val", name, VERMILION)], **self.marks)
        both = [self.line("estimated", "val", "bpp", BLUE), self.line("coded", "val", "bpp_actual", VERMILION)]
        yield runs.chart("Validation, bits per pixel", both, **self.marks)

    def uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return the commands for a trained compressor."""
        return [
            ("Measure it at each ISO value against JPEG XL, JPEG, WebP and AVIF; this page then shows it", f"{photic} evaluate {run}"),
            ("The same on pictures of yours", f"{photic} benchmark-codec PICTURES/ --model {run} -o benchmark/"),
            ("Compress a picture", f"{photic} compress photo.CR2 --model {run} -o photo.phc --quality 5"),
            ("Open it again", f"{photic} decompress photo.phc --model {run} -o photo.exr"),
        ]

    def _levels(self, mark: str) -> list[tuple[str, dict[str, Any]]]:
        """Return values of validation by quality level (``q``) or ISO value (``iso``), rising, with a name for each."""
        found: dict[float, dict[str, Any]] = {}
        for key, value in self.val.items():
            name, at, level = key.rpartition(f"_{mark}")
            if at and level.replace(".", "", 1).isdigit():
                found.setdefault(float(level), {})[name] = value
        name_of = level_name if mark == "iso" else _quality_name
        return [(name_of(level), values) for level, values in sorted(found.items())]


def _by_iso(rows: list[dict[str, float]], name: str) -> list[tuple[Any, list[tuple[str, str, bool]]]]:
    """Return the chart of a quality over the rate, a line per ISO value, with its legend; none where no row has the quality."""
    lines = []
    for iso, some, colour in _groups(rows):
        points = []
        for level in sorted({row["quality"] for row in some if math.isfinite(row.get("quality", math.nan))}):
            own = [row for row in some if row["quality"] == level and math.isfinite(row.get(name, math.nan))]
            if own:
                points.append((sum(row["bpp_actual"] for row in own) / len(own), sum(row[name] for row in own) / len(own)))
        points.sort()
        if points:
            lines.append(figures.Line(label=level_name(iso), x=[x for x, _ in points], y=[y for _, y in points], colour=colour))
    if not lines:
        return []
    drawn = figures.over_rate(lines, title=f"{LABELS[name]} over rate", x_label="bits per pixel, coded", y_label=LABELS[name])
    return [(drawn, [line.legend for line in lines])]


def _groups(rows: list[dict[str, float]]) -> list[tuple[float | None, list[dict[str, float]], str]]:
    """Return rows by rising ISO value, those without one last, each with a colour."""
    known = sorted({row["iso"] for row in rows if math.isfinite(row.get("iso", math.nan))})
    groups: list[tuple[float | None, list[dict[str, float]]]] = [(iso, [row for row in rows if row.get("iso") == iso]) for iso in known]
    others = [row for row in rows if not math.isfinite(row.get("iso", math.nan))]
    groups += [(None, others)] if others else []
    return [(iso, some, CLASS_COLOURS[place % len(CLASS_COLOURS)]) for place, (iso, some) in enumerate(groups)]


def _numbers(row: dict[str, str]) -> dict[str, float]:
    """Return the numbers of a row of a table of predictions; an empty cell is NaN."""
    return {name: float(text) if text else math.nan for name, text in row.items() if name != "file"}


def _quality_name(level: float) -> str:
    return f"quality {level:g}"


def _row(label: str, values: dict[str, Any]) -> list[Any]:
    rates = [number(values.get(name), 4) for name in ("bpp_actual", "bpp")]
    return [label, *rates, *(shown(name, values.get(name)) for name in _QUALITIES)]
