"""The page of a low-light run: how good its pictures are, before and after to wipe between, how it was trained, what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from photic.apps.lowlight.evaluation import GT_MEAN, LABELS, Evaluation
from photic.apps.lowlight.evaluation_page import show_evaluation
from photic.functional.palette import BLUE, VERMILION
from photic.report import figures, runs
from photic.report.page import Page, Tile, number
from photic.report.run_page import RunPage
from photic.tracking.run import Run

_PALE = 0.10
_STILL_RISING_DB = 0.1


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not, with what ``photic evaluate`` left in it; nothing is computed with the network.

    Args:
        run_folder: the run.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Raises:
        DataError: the folder is no run, or its results or an evaluation in it cannot be read.
    """
    return LowlightPage(Run.open(run_folder)).write(path)


class LowlightPage(RunPage):
    """The page of a run that brightens pictures."""

    eyebrow = "Photic · low light"
    previews = "Validation pictures in rows: before, after, true picture (black where there is none)."

    preview = "Before, after and true picture"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.measured = self.evaluations(Evaluation.read)

    def verdict(self) -> str:
        """Return PSNR and SSIM on validation, test, and against the best classical method."""
        if not self.val or "psnr" not in self.val:
            return super().verdict()
        text = f"{_scores(self.val)} on validation pictures of native size, not scaled to the true mean (epoch {self.best['epoch']:g})."
        if "psnr" in self.test:
            text = f"{_scores(self.test)} on test pictures. {text}"
        for _, found in self.measured:
            rivals = {name: found.mean(name, "psnr") or 0.0 for name in found.methods[1:]}
            if found.split == "val" and found.num_with_truth and rivals:
                name = max(rivals, key=lambda one: rivals[one])
                return f"{text} The best classical method on these pictures, {name}: {rivals[name]:.2f} dB."
        return text

    def tiles(self) -> list[Tile]:
        """Return the scores of validation, and what they cost."""
        made = []
        if "psnr" in self.val:
            note = f"{self.val['psnr_gt_mean']:.2f} dB with GT mean" if self.val.get("psnr_gt_mean") is not None else "validation"
            made.append(Tile(label="PSNR", value=f"{number(self.val['psnr'], 2)} dB", note=note))
        if "ssim" in self.val:
            note = f"MS-SSIM {number(self.val['ms_ssim'])}" if self.val.get("ms_ssim") is not None else "validation"
            made.append(Tile(label="SSIM", value=number(self.val["ssim"]), note=note))
        if self.val.get("delta_e") is not None:
            made.append(Tile(label="Colour difference", value=number(self.val["delta_e"], 1), note="ΔE2000, mean; smaller is better"))
        if not made and self.val:
            made.append(Tile(label="Validation loss", value=number(self.val.get("loss"), 4)))
        return [*made, *self.cost_tiles()]

    def advice(self) -> list[str]:
        """Say whether more epochs would help, and whether pictures came out pale."""
        made = self.still_rising("psnr", "PSNR", _STILL_RISING_DB, "dB")
        pale = self.val.get("low_colour")
        if pale:
            made.append(f"LOW_COLOR: {pale:.0%} of the validation pictures came out with a saturation below {_PALE:.2f}, that is pale.")
        return made

    def add_results(self, made: Page) -> None:
        """Add a section for each evaluation."""
        for folder, found in self.measured:
            show_evaluation(made, found, folder)

    @property
    def marks(self) -> dict[str, Any]:
        """The deployed epoch, and where stages begin."""
        return {**super().marks, "stages_x": stage_borders(self.config)}

    def training_lead(self) -> str:
        """Say what the lines mean, too."""
        staged = " Thin lines: where a stage of the schedule begins." if stage_borders(self.config) else ""
        return super().training_lead() + staged

    def charts(self) -> Iterator[Any]:
        """Make the charts: loss, scores as they are and scaled to the true mean, parts of the loss."""
        yield self.loss_chart()
        present = {key for entry in self.history for key in (entry.get("val") or {})}
        for key, title in (("psnr", "PSNR (dB)"), ("ssim", "SSIM"), ("delta_e", "Colour difference ΔE2000"), ("saturation", "Saturation")):
            if key in present:
                lines = [self.line("validation", "val", key, VERMILION)]
                if key + GT_MEAN in present:
                    scaled = self.line("scaled to the true mean", "val", key + GT_MEAN, BLUE)
                    lines.append(figures.Line(label=scaled.label, x=scaled.x, y=scaled.y, colour=BLUE, dashed=True))
                yield runs.chart(title, lines, **self.marks)
        yield from self.terms_chart()

    def uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return the commands for a trained enhancer."""
        return [
            ("Measure it picture by picture against classical methods; this page then shows them", f"{photic} evaluate {run}"),
            ("Enhance a photograph", f"{photic} predict {run} photo.jpg -o photo_bright.png --strength 0.8"),
            ("Enhance a folder", f"{photic} predict {run} photos/ -o enhanced/"),
            ("Enhance a video", f"{photic} predict {run} clip.mp4 -o bright.mp4"),
        ]

    def further_commands(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return how to train longer: anew, as the stages depend on the length."""
        return self.trained_longer(photic)


def stage_borders(config: dict[str, Any]) -> Sequence[float]:
    """Return the epochs at which later stages of a schedule in stages begin; none for other schedules."""
    fractions = (config.get("schedule") or {}).get("fractions")
    epochs = (config.get("training") or {}).get("num_epochs")
    if not fractions or not epochs:
        return ()
    return [epochs * share for share in accumulate(fractions[:-1])]


def _scores(values: dict[str, Any]) -> str:
    parts = [f"PSNR {number(values['psnr'], 2)} dB"]
    parts += [f"{LABELS[name]} {number(values[name])}" for name in ("ssim", "ms_ssim") if values.get(name) is not None]
    return ", ".join(parts)
