"""The page of a run that compresses raw pictures: quality over bits per pixel, by quality level and ISO value."""

from __future__ import annotations

from typing import Any

from photic.apps.rawnind.evaluating.report import RunReport
from photic.apps.rawnind.evaluating.scores import LABELS, level_name, shown
from photic.functional.palette import BLUE, CLASS_COLOURS, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Column, Page, Tile, duration, number

_QUALITIES = ("psnr", "ms_ssim")
_ESTIMATE_OFF = 0.01
"""Difference between actual and estimated size, of the latter, from which the page speaks of it."""


class RateReport(RunReport):
    """The page of a run that compresses."""

    made = "decoded"

    def _verdict(self) -> str:
        if not self.val:
            return "No validation yet: there is nothing to judge."
        values, split = (self.test, "test") if self.test.get("bpp") is not None else (self.val, "validation")
        if values.get("bpp") is None:
            return f"Validation loss {number(self.val.get('loss'), 4)} at epoch {self.best['epoch']:g}."
        parts = [f"{number(values.get('bpp_actual'), 3)} bits per pixel"]
        parts += [f"{LABELS[name]} {shown(name, values.get(name))}" for name in _QUALITIES if values.get(name) is not None]
        levels = self._levels("q")
        over = f", means over {len(levels)} quality levels" if len(levels) > 1 else ""
        return f"{', '.join(parts)} on {split} pictures, developed, over all ISO values{over} (epoch {self.best['epoch']:g})."

    def _tiles(self) -> list[Tile]:
        made = []
        levels = self._levels("q")
        ends = [levels[0], levels[-1]] if len(levels) > 1 else levels
        for label, values in ends:
            score = shown("ms_ssim", values.get("ms_ssim"))
            made.append(Tile(label=label, value=f"{number(values.get('bpp_actual'), 3)} bpp", note=f"MS-SSIM {score}, validation"))
        if not levels and self.val.get("bpp_actual") is not None:
            made.append(Tile(label="Rate", value=f"{number(self.val['bpp_actual'], 3)} bpp", note="validation, coded for real"))
        if "wall_seconds" in self.results:
            steps = f"{self.history[-1]['step']:,} steps" if self.history else "with reading the data"
            made.append(Tile(label="Training time", value=duration(self.results["wall_seconds"]), note=steps))
        if parameters := self.results.get("parameters"):
            made.append(Tile(label="Parameters", value=f"{parameters['total']:,}", note=str(self.config.get("model", {}).get("name"))))
        return made

    def _advice(self) -> list[str]:
        estimated, actual = self.val.get("bpp"), self.val.get("bpp_actual")
        if estimated and actual and abs(actual / estimated - 1) > _ESTIMATE_OFF:
            return [
                f"Coded for real, validation pictures take {actual / estimated - 1:+.1%} against the estimate. Small pictures do, by a few "
                "bytes for each; of large ones it would be a fault."
            ]
        return []

    def _by_iso(self, made: Page) -> None:
        """Add what validation found, by quality level and by ISO value."""
        for mark, title, lead in (
            ("q", "Rate and quality", "Means over validation pictures of all ISO values, developed, at each quality level."),
            ("iso", "ISO values", "Means over validation pictures and quality levels. Noisier pictures take other bits at the same level."),
        ):
            levels = self._levels(mark)
            if not levels:
                continue
            section = made.section(title, lead)
            heads = ["bits per pixel, coded", "estimated", *(LABELS[name] for name in _QUALITIES)]
            columns = [Column(title="", number=False), *(Column(title=head) for head in heads)]
            section.add(page.table(columns, [_row(label, values) for label, values in levels]))
            if mark == "q" and len(levels) > 1:
                section.add(page.grid([self._over_rate(name, levels) for name in _QUALITIES], 420))

    def _over_rate(self, name: str, levels: list[tuple[str, dict[str, Any]]]) -> Any:
        points = [(values["bpp_actual"], values[name]) for _, values in levels if values.get("bpp_actual") and values.get(name) is not None]
        lines = [figures.Line(label="validation", x=[x for x, _ in points], y=[y for _, y in points], colour=VERMILION, strong=True)]
        drawn = figures.over_rate(lines, title=f"{LABELS[name]} over rate", x_label="bits per pixel", y_label=LABELS[name])
        return page.figure(drawn)

    def _training(self, made: Page) -> None:
        if not self.history:
            return
        section = made.section("Training", runs.training_lead(self.results))
        options: dict[str, Any] = {"mark_x": self.best.get("epoch")}

        def line(label: str, part: str, key: str, colour: str) -> figures.Line:
            return runs.history_line(self.history, label, part, key, colour)

        both = [("training", "train", BLUE), ("validation", "val", VERMILION)]
        charts = [
            runs.chart(title, [line(label, part, key, colour) for label, part, colour in both], log_y=True, **options)
            for title, key in (("Loss", "loss"), ("Distortion (lambda D)", "distortion"), ("Rate (bits per pixel)", "rate"))
        ]
        names = [label for label, _ in self._levels("q")]
        for name in _QUALITIES:
            lines = [
                line(label, "val", f"{name}_q{place}", CLASS_COLOURS[place % len(CLASS_COLOURS)])
                for place, label in enumerate(names, start=1)
            ]
            charts.append(runs.chart(LABELS[name], lines or [line("validation", "val", name, VERMILION)], **options))
        section.add(page.grid([*charts, runs.learning_rate(self.history)], 420))

    def _uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        return [
            ("Measure it against JPEG XL, JPEG, WebP and AVIF", f"{photic} benchmark-codec PICTURES/ --model {run} -o benchmark/"),
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


def _quality_name(level: float) -> str:
    return f"quality {level:g}"


def _row(label: str, values: dict[str, Any]) -> list[Any]:
    rates = [number(values.get(name), 4) for name in ("bpp_actual", "bpp")]
    return [label, *rates, *(shown(name, values.get(name)) for name in _QUALITIES)]
