"""The page of a run that denoises raw pictures: how good it is at each ISO value, crops, how it was trained, what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from photic.apps.rawnind.evaluating.evaluation_page import HINTS, show_evaluation
from photic.apps.rawnind.evaluating.scores import LABELS, Evaluation, level_name, shown
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.functional.palette import CLASS_COLOURS, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Column, Page, Tile, number
from photic.report.run_page import RunPage
from photic.tracking.run import Run

_STILL_RISING_DB = 0.1
_AT = "_iso"
"""Between the name of a value and the ISO value, in validation's results."""


class RawPage(RunPage):
    """What the pages of all runs on raw pictures share.

    Args:
        run: finished or not.

    Raises:
        DataError: its results or an evaluation in it cannot be read.
    """

    eyebrow = "Photic · raw"
    made = "denoised"
    """What becomes of pictures."""
    preview = "Measured picture, result and truth"

    @property
    def previews(self) -> str:  # type: ignore[override]
        """What the pictures of validation samples show."""
        return f"Validation pictures in rows: as measured (a mosaic shows its filters), {self.made}, truth."

    def facts(self) -> dict[str, Any]:
        """Return what the network takes."""
        return {"measurement": self.config.get("model", {}).get("measurement")}

    def add_data(self, made: Page) -> None:
        """Add what was trained, and the noise that was made, if it was."""
        super().add_data(made)
        isos = [float(iso) for iso in self.config.get("data", {}).get("val_iso") or () if iso]
        if isos:
            made.sections[-1].add(page.grid([_noise_chart(sorted(isos))], 420))

    def further_commands(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return how to train longer."""
        return self.trained_longer(photic)


class DenoisingPage(RawPage):
    """The page of a run that denoises."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.measured = self.evaluations(Evaluation.read)

    def verdict(self) -> str:
        """Return PSNR and MS-SSIM on validation, test, and against the best classical method."""
        if not self.val or self.val.get("psnr") is None:
            return super().verdict()
        text = f"{_scores(self.val)} on validation pictures, developed, over all ISO values (epoch {self.best['epoch']:g})."
        if self.test.get("psnr") is not None:
            text = f"{_scores(self.test)} on test pictures. {text}"
        for _, found in self.measured:
            rival = found.best_classical()
            if found.split in ("val", "test") and rival is not None:
                own, other = found.mean(found.model, "psnr"), found.mean(rival, "psnr")
                which = {"val": "validation", "test": "test"}[found.split]
                return (
                    f"{text} Evaluated on {which} pictures: {number(own, 2)} dB; the best classical method, {rival}: {number(other, 2)} dB."
                )
        return text

    def tiles(self) -> list[Tile]:
        """Return PSNR, over all and at the ends of the ISO values, and what it cost."""
        made = []
        if self.val.get("psnr") is not None:
            made.append(Tile(label="PSNR", value=f"{number(self.val['psnr'], 2)} dB", note="validation, developed"))
        levels = [(iso, values["psnr"]) for iso, values in _levels(self.val).items() if values.get("psnr") is not None]
        for iso, value in (levels[0], levels[-1]) if len(levels) > 1 else ():
            made.append(Tile(label=level_name(iso), value=f"{number(value, 2)} dB", note="validation"))
        if not made and self.val:
            made.append(Tile(label="Validation loss", value=number(self.val.get("loss"), 4)))
        return [*made, *self.cost_tiles()]

    def advice(self) -> list[str]:
        """Say whether more epochs would help, and where a classical method is better."""
        made = self.still_rising("psnr", "PSNR", _STILL_RISING_DB, "dB")
        for _, found in self.measured:
            for iso in found.levels:
                some = found.at(iso)
                rival = found.best_classical(some)
                own, other = found.mean(found.model, "psnr", some), None if rival is None else found.mean(rival, "psnr", some)
                if own is not None and other is not None and own < other:
                    made.append(
                        f"At {level_name(iso)} ({found.data}, {found.split}) {rival} is better: {other:.2f} dB against {own:.2f} dB."
                    )
        return made

    def add_results(self, made: Page) -> None:
        """Add a section for each evaluation, and validation by ISO value where no evaluation of it says more."""
        for folder, found in self.measured:
            show_evaluation(made, found, folder)
        levels = _levels(self.val)
        if not levels or any(found.split == "val" for _, found in self.measured):
            return
        section = made.section("ISO values", "Means over validation pictures, developed.")
        names = [name for name in LABELS if any(values.get(name) is not None for values in levels.values())]
        columns = [Column(title="ISO value", number=False), *(Column(title=LABELS[name], hint=HINTS[name]) for name in names)]
        rows = [[level_name(iso), *(shown(name, values.get(name)) for name in names)] for iso, values in levels.items()]
        section.add(page.table(columns, rows))

    def charts(self) -> Iterator[Any]:
        """Make the charts: loss, PSNR and MS-SSIM, over all and by ISO value."""
        yield self.loss_chart()
        present = {key for entry in self.history for key in (entry.get("val") or {})}
        for key, title in (("psnr", "PSNR (dB)"), ("ms_ssim", "MS-SSIM")):
            if key in present:
                yield runs.chart(title, [self.line("validation", "val", key, VERMILION)], **self.marks)
            levels = [iso for iso, values in _levels(dict.fromkeys(present, 0.0)).items() if key in values]
            if len(levels) > 1:
                lines = [
                    self.line(level_name(iso), "val", f"{key}{_AT}{iso:g}", CLASS_COLOURS[place % len(CLASS_COLOURS)])
                    for place, iso in enumerate(levels)
                ]
                yield runs.chart(f"{title} by ISO value", lines, **self.marks)
        yield from self.terms_chart()

    def uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return the commands for a trained denoiser."""
        return [
            ("Measure it at each ISO value against classical methods; this page then shows it", f"{photic} evaluate {run}"),
            ("Denoise a raw file", f"{photic} predict {run} photo.CR2 -o photo.dng --strength 0.8"),
            ("Denoise a folder", f"{photic} predict {run} shoot/ -o clean/"),
        ]


def _levels(values: dict[str, Any]) -> dict[float, dict[str, float | None]]:
    """Return values of validation by ISO value, rising."""
    found: dict[float, dict[str, float | None]] = {}
    for key, value in values.items():
        name, at, iso = key.partition(_AT)
        if at:
            found.setdefault(float(iso), {})[name] = value
    return dict(sorted(found.items()))


def _noise_chart(isos: list[float]) -> Any:
    """Return the chart of the noise of a typical camera over brightness, at the ISO values of validation."""
    levels = np.geomspace(1e-3, 1, 40)
    lines = []
    for place, iso in enumerate(isos):
        noise = noise_at(iso)
        deviation = 100 * np.sqrt(noise.shot * levels + noise.read)
        lines.append(figures.Line(label=level_name(iso), x=100 * levels, y=deviation, colour=CLASS_COLOURS[place % len(CLASS_COLOURS)]))
    drawn = figures.over_rate(lines, title="Noise that was made", x_label="brightness (% of white)", y_label="deviation (% of white)",
                              markers=False, log_y=True)  # fmt: skip
    said = "Standard deviation of a typical camera, as validation sees it: photons and electronics, before white balance."
    return page.figure(drawn, said, [line.legend for line in lines])


def _scores(values: dict[str, Any]) -> str:
    parts = [f"PSNR {number(values['psnr'], 2)} dB"]
    if values.get("ms_ssim") is not None:
        parts.append(f"MS-SSIM {number(values['ms_ssim'])}")
    return ", ".join(parts)
