"""The page of a ptychography run: how well its network explains scans, what its objects look like, how it was trained, what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from photic.core.errors import DataError
from photic.functional.palette import VERMILION
from photic.report import page, runs
from photic.report.page import Cell, Column, Page, Section, Tile, number
from photic.report.run_page import RunPage
from photic.tracking.run import Run

_MOST_SHOWN = 3
_STILL_FALLING = 0.02
_POOR_TRANSFER = 1.5
_PICTURES = (
    ("comparison", "Object and reference", "Both aligned on one grid; errors are reconstruction minus reference."),
    ("reconstruction/amplitude", "Amplitude", "Stitched from the patches of all positions."),
    ("reconstruction/phase", "Phase", "Around its mean; a constant means nothing."),
    ("reconstruction/probe", "Probe", "Amplitude and phase of each mode; the phase fades out where there is no light."),
    ("reconstruction/coverage", "Coverage", "How well each pixel was seen; what lies outside the line is not to be trusted."),
    ("r_amp", "R_amp over the scan", "Each dot is a position; dark places are explained well."),
    ("frc", "Ring correlation of two halves", "Two objects, each from a random half of the patterns."),
    ("frc_reference", "Ring correlation with the reference", "How fine the detail is that both share."),
)


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not, with what ``photic evaluate`` left in it; nothing is computed with the network.

    Args:
        run_folder: the run.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Raises:
        DataError: the folder is no run, or its results or an evaluation in it cannot be read.
    """
    return PtychoPage(Run.open(run_folder)).write(path)


@dataclass(frozen=True)
class _Evaluated:
    """What ``photic evaluate`` left in a folder."""

    folder: Path
    values: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def resolved(self) -> str:
        """Say in a sentence how fine the detail is that two halves of the scan share, and the whole and a reference."""
        parts = [("two halves of it agree", self.values["halves"])]
        if self.values.get("against"):
            parts.append(("it agrees with the reference", self.values["against"]))
        said = " and ".join(f"{words} {_down_to(found)}" for words, found in parts)
        return f"Of {self.name} (R_amp {number(self.values['r_amp'])}) {said}."

    def picture(self, name: str) -> str | None:
        return page.file_uri(self.folder, f"{name}.png") if (self.folder / f"{name}.png").is_file() else None


def _down_to(comparison: dict[str, Any]) -> str:
    period = _period(comparison, "1/7")
    return "in rings of all frequencies (1/7 is never crossed)" if period == "no crossing" else f"down to periods of {period} (FRC at 1/7)"


class PtychoPage(RunPage):
    """The page of a run that reconstructs scans."""

    eyebrow = "Photic · ptychography"
    previews = (
        "Six validation patterns in columns. From the top: amplitude of the predicted patch, its phase, "
        "the pattern it would diffract, the pattern that was measured. Outside the probe's light a patch means nothing."
    )
    preview = "Predicted patches"
    sharp_previews = True

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.seen: dict[str, Any] = self.results.get("ptychography", {})
        self.measured = [_Evaluated(folder, values) for folder, values in self.evaluations(_read)]

    # --- the head --------------------------------------------------------------------------------

    @property
    def validated(self) -> float | None:
        """R_amp on validation patterns at the best epoch."""
        value: float | None = self.val.get("r_amp")
        return value

    def verdict(self) -> str:
        """Return R_amp, and how fine the detail is that two halves of an evaluated scan share."""
        if self.validated is None:
            return super().verdict()
        text = f"R_amp {number(self.validated)} on validation patterns, at epoch {self.best['epoch']:g}."
        if "r_amp" in self.test:
            text = f"R_amp {number(self.test['r_amp'])} on {self.test['groups']:,} test patterns; {text}"
        if self.measured:
            text += f" {self.measured[0].resolved}"
        meaning = "R_amp is the share of the measured amplitude that the forward model of the predicted patches misses; noise has its part."
        return f"{text} {meaning}"

    def tiles(self) -> list[Tile]:
        """Return R_amp of validation and test, and what it cost."""
        made = [Tile(label="Best validation R_amp", value=number(self.validated), note="smaller is better; 0 explains every count")]
        if self.test:
            worst = f"worst pattern {number(self.test.get('r_amp_worst'))}"
            made.append(Tile(label="Test R_amp", value=number(self.test.get("r_amp")), note=worst))
        return [*made, *self.cost_tiles()]

    def advice(self) -> list[str]:
        """Say whether more epochs would help, and whether the network carries over to the test scans."""
        made = []
        values = [(entry.get("val") or {}).get("r_amp") for entry in self.history]
        reached = [value for value in values if value is not None]
        before = reached[: max(1, round(0.8 * len(reached)))]
        finished = self.results.get("status") == "completed"
        if finished and len(reached) >= 5 and min(reached) < (1 - _STILL_FALLING) * min(before):
            made.append("R_amp was still falling in the last fifth of training: more epochs would help (the command is below).")
        tested = self.test.get("r_amp")
        if tested is not None and self.validated is not None and tested > _POOR_TRANSFER * self.validated:
            ratio = tested / self.validated
            made.append(
                f"R_amp on the test scans is {ratio:.1f} times that on validation: the network does not carry over to them. Check "
                "that probe, photons and detector are the same, train on more patterns or scans, or go on with iterations (--refine)."
            )
        return made

    # --- what came out -----------------------------------------------------------------------------

    def add_results(self, made: Page) -> None:
        """Add what was found of whole scans."""
        if not self.measured:
            return
        section = made.section("Objects", "What `photic evaluate` found: whole scans, stitched.")
        section.add(page.table(*_evaluation_table(self.measured)))
        for found in self.measured[:_MOST_SHOWN]:
            _show(section, found)
        if len(self.measured) > _MOST_SHOWN:
            more = ", ".join(found.name for found in self.measured[_MOST_SHOWN:])
            section.add(page.prose(f"Pictures of the {_MOST_SHOWN} newest; those of {more} lie in the run's folder, under evaluations."))

    def charts(self) -> Iterator[Any]:
        """Make the charts: loss, R_amp, parts of the loss, single groups."""
        yield self.loss_chart()
        yield runs.chart("R_amp", [self.line("validation", "val", "r_amp", VERMILION)], **self.marks)
        yield from self.terms_chart(known={"r_amp"})
        spread = self.spread("r_amp", "R_amp of single groups", "share of the groups (%)", caption=self._worst())
        if spread is not None:
            yield spread

    def _worst(self) -> str:
        rows = self.rows("test") or self.rows("val")
        worst = sorted(rows, key=lambda row: -float(row["r_amp"]))[:3]
        return "Worst: " + ", ".join(f"{row['file']} ({float(row['r_amp']):.3f})" for row in worst) + " (file:row)."

    def facts(self) -> dict[str, Any]:
        """Return what the network was shown, and what else was trained."""
        chosen, task = self.config.get("data", {}), self.config.get("task", {})
        switches = {"train_probe": "probe", "train_intensity_scale": "intensity scale", "refine_positions": "positions"}
        learned = [name for switch, name in switches.items() if task.get(switch)]
        modes = self.seen.get("num_modes")
        return {
            "target": "known object (supervised)" if chosen.get("supervised") else "the measurement itself (unsupervised)",
            "patterns": f"{self.seen['size_px']} x {self.seen['size_px']} px" if self.seen else None,
            "together in a group": chosen.get("gridsize", 1) ** 2,
            "scans": ", ".join(dict.fromkeys(self.seen.get("scans", []))) or None,
            "probe": (f"{modes} incoherent modes" if modes > 1 else "1 mode") if modes else None,
            "trained beside the network": ", ".join(learned) or None,
            "amplitudes normalised by": f"{self.seen['normalisation']:.4g}" if self.seen else None,
        }

    def uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return the commands for a trained network."""
        chosen = self.config.get("data", {})
        given = chosen.get("test_path") or chosen.get("path")
        scans = [given] if isinstance(given, str) else list(given or [])
        named = " ".join(map(shlex.quote, scans)) if scans else "SCAN"
        return [
            ("Reconstruct a scan", f"{photic} predict {run} {named} -o object"),
            ("The same, and go on with iterations through the same physics", f"{photic} predict {run} {named} -o refined --refine 20"),
            ("Without the network, to compare with", f"{photic} reconstruct {named} --iterations 100 -o baseline"),
            ("Judge whole scans; the pictures then appear on this page", f"{photic} evaluate {run}" + ("" if scans else " data.path=SCAN")),
        ]

    def further_commands(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return how to watch the curves, too."""
        logs = runs.shown(self.run.path / "tensorboard")
        return [*super().further_commands(photic, run), ("Watch the curves in TensorBoard", f"tensorboard --logdir {logs}")]


def _read(folder: Path) -> dict[str, Any]:
    """Return the results of an evaluation.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "results.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no valid JSON ({error}); evaluate again, or delete the folder") from error
    if not isinstance(values, dict) or "r_amp" not in values:
        raise DataError(f"{path}: expected the results of an evaluation, with 'r_amp'; evaluate again, or delete the folder")
    return values


def _evaluation_table(found: Sequence[_Evaluated]) -> tuple[list[Column], list[list[Any]]]:
    columns = [
        Column(title="Scan", number=False),
        Column(title="Patterns"),
        Column(title="R_amp", hint="of the stitched object over all patterns"),
        Column(title="5 to 95 %", hint="R_amp of single patterns"),
        Column(title="FRC 0.5", group="full period, two halves", hint="where the ring correlation of two halves falls below 0.5"),
        Column(title="FRC 1/7", group="full period, two halves"),
    ]
    compared = any(one.values.get("against") for one in found)
    if compared:
        columns += [
            Column(title=name, group=f"{part}, against a reference") for part in ("amplitude", "phase") for name in ("SSIM", "PSNR dB")
        ]
        columns += [Column(title=name, group="full period, reference") for name in ("FRC 0.5", "FRC 1/7")]
    rows = []
    for one in found:
        spread, halves = one.values["r_amp_of_patterns"], one.values["halves"]
        row: list[Any] = [
            Cell(text=one.name, note=str(one.values.get("method", ""))),
            f"{one.values['patterns']:,}",
            number(one.values["r_amp"]),
            f"{number(spread['5 %'], 2)} – {number(spread['95 %'], 2)}",
            *(_period(halves, threshold) for threshold in ("0.5", "1/7")),
        ]
        if compared:
            against = one.values.get("against")
            for part in ("amplitude", "phase"):
                row += [number(against[part]["ssim"]), number(against[part]["psnr_db"], 1)] if against else ["–", "–"]
            row += [_period(against, threshold) if against else "–" for threshold in ("0.5", "1/7")]
        rows.append(row)
    return columns, rows


def _period(comparison: dict[str, Any], threshold: str) -> str:
    pixels, metres = comparison["frc_period_px"][threshold], comparison["frc_period_m"][threshold]
    if pixels is None:
        return "no crossing"
    return f"{pixels:.3g} px" if metres is None else f"{1e9 * metres:.3g} nm"


def _show(section: Section, found: _Evaluated) -> None:
    section.add(page.heading(found.name))
    wide: list[Markup] = []
    side_by_side: list[Markup] = []
    for name, title, caption in _PICTURES:
        uri = found.picture(name)
        if uri is None:
            continue
        is_wide = name == "comparison"
        shown = page.picture(uri, f"{title}, {found.name}", caption, most_px=640 if is_wide else None)
        (wide if is_wide else side_by_side).append(shown)
    section.add(*wide)
    if side_by_side:
        section.add(page.grid(side_by_side, 420))
