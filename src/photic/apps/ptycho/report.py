"""The page of a ptychography run: how well its network explains scans, what its objects look like, how it was trained, what to do next."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.core.program import program
from photic.functional.palette import BLUE, ORANGE, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Cell, Column, Page, Section, Tile, duration, number
from photic.tracking.run import Run

_MOST_SHOWN = 3
_STILL_FALLING = 0.02
_POOR_TRANSFER = 1.5
_PICTURES = (
    ("comparison", "Object and reference", "Both aligned on one grid; errors are reconstruction minus reference."),
    ("reconstruction/amplitude", "Amplitude", "Stitched from the patches of all positions."),
    ("reconstruction/phase", "Phase", "Around its mean; a constant means nothing."),
    ("r_amp", "R_amp over the scan", "Each dot is a position; dark places are explained well."),
    ("frc", "Ring correlation of two halves", "Two objects, each from a random half of the patterns."),
    ("frc_reference", "Ring correlation with the reference", "How fine the detail is that both share."),
)


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not; nothing is computed with the network.

    Args:
        run_folder: the run; what ``photic evaluate`` left in its ``evaluations`` is shown, too.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Returns:
        The file.

    Raises:
        DataError: the folder is no run, or its results cannot be read.
    """
    run = Run.open(run_folder)
    return _Report(run).page().write(path or run.path / "report.html")


@dataclass(frozen=True)
class _Evaluated:
    """What ``photic evaluate`` left in a folder."""

    folder: Path
    values: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    def picture(self, name: str) -> bytes | None:
        path = self.folder / f"{name}.png"
        return path.read_bytes() if path.is_file() else None


class _Report:
    """Everything the sections share."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config, self.results = run.config, run.results
        self.facts: dict[str, Any] = self.results.get("ptychography", {})
        self.history: list[dict[str, Any]] = self.results.get("history") or []
        self.best: dict[str, Any] = self.results.get("best") or {}
        self.test: dict[str, Any] = self.results.get("test") or {}
        self.evaluations = _evaluations(run.path / "evaluations")

    def page(self) -> Page:
        made = Page(
            title=f"{self.run.path.parent.name} / {self.run.path.name}",
            eyebrow="Photic · ptychography",
            verdict=self._verdict(),
            badges=runs.badges(self.results),
        )
        made.head += [page.tiles(self._tiles()), *runs.unfinished(self.run), *(page.notice(text, "warning") for text in self._advice())]
        self._evaluated(made)
        self._training(made)
        self._previews(made)
        self._data(made)
        runs.add_settings(made, self.run)
        self._commands(made)
        return made

    # --- the head --------------------------------------------------------------------------------

    @property
    def validated(self) -> float | None:
        """R_amp on validation patterns at the best epoch."""
        value: float | None = (self.best.get("val") or {}).get("r_amp")
        return value

    def _verdict(self) -> str:
        if self.validated is None:
            return "No validation yet: there is nothing to judge."
        meaning = "R_amp is the share of the measured amplitude that the forward model of the predicted patches misses; noise has its part."
        found = f"R_amp {number(self.validated)} on validation patterns, at epoch {self.best['epoch']:g}"
        if "r_amp" not in self.test:
            return f"{found}. {meaning}"
        return f"R_amp {number(self.test['r_amp'])} on {self.test['groups']:,} test patterns; {found}. {meaning}"

    def _tiles(self) -> list[Tile]:
        made = [Tile(label="Best validation R_amp", value=number(self.validated), note="smaller is better; 0 explains every count")]
        if self.test:
            worst = f"worst pattern {number(self.test.get('r_amp_worst'))}"
            made.append(Tile(label="Test R_amp", value=number(self.test.get("r_amp")), note=worst))
        parameters = self.results.get("parameters", {})
        network = self.config.get("model", {}).get("name", "network")
        if "wall_seconds" in self.results:
            steps = f"{self.history[-1]['step']:,} steps" if self.history else "with reading the data"
            made.append(Tile(label="Training time", value=duration(self.results["wall_seconds"]), note=steps))
        if parameters:
            made.append(Tile(label="Parameters", value=f"{parameters['total']:,}", note=str(network)))
        return made

    def _advice(self) -> list[str]:
        """Return what the numbers suggest to do."""
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

    def _evaluated(self, made: Page) -> None:
        if not self.evaluations:
            return
        section = made.section("Objects", "What `photic evaluate` found: whole scans, stitched.")
        section.add(page.table(*_evaluation_table(self.evaluations)))
        for found in self.evaluations[:_MOST_SHOWN]:
            _show(section, found)
        if len(self.evaluations) > _MOST_SHOWN:
            more = ", ".join(found.name for found in self.evaluations[_MOST_SHOWN:])
            section.add(page.prose(f"Pictures of the {_MOST_SHOWN} newest; those of {more} lie in the run's folder, under evaluations."))

    def _patterns(self) -> list[Markup]:
        """Return the chart of single groups, if their values are there."""
        lines = []
        for phase, label, colour in (("val", "validation", VERMILION), ("test", "test", BLUE)):
            found = _predicted(self.run.path / "predictions" / f"{phase}.csv")
            if len(found):
                share = 100 * (np.arange(len(found)) + 0.5) / len(found)
                lines.append(figures.Line(label=label, x=share, y=np.sort(found), colour=colour))
        return [runs.chart("R_amp of single groups", lines, x_label="share of the groups (%)", caption=self._worst())] if lines else []

    def _worst(self) -> str:
        rows = _rows(self.run.path / "predictions" / "test.csv") or _rows(self.run.path / "predictions" / "val.csv")
        worst = sorted(rows, key=lambda row: -float(row["r_amp"]))[:3]
        return "Worst: " + ", ".join(f"{row['file']} ({float(row['r_amp']):.3f})" for row in worst) + " (file:row)."

    # --- how it came about -----------------------------------------------------------------------

    def _training(self, made: Page) -> None:
        if not self.history:
            return
        section = made.section("Training", runs.training_lead(self.results))
        mark = self.best.get("epoch")

        def line(label: str, part: str, key: str, colour: str) -> figures.Line:
            return runs.history_line(self.history, label, part, key, colour)

        loss = [line("training", "train", "loss", BLUE), line("validation", "val", "loss", VERMILION)]
        charts = [runs.chart("Loss", loss, mark_x=mark)]
        charts.append(runs.chart("R_amp", [line("validation", "val", "r_amp", VERMILION)], mark_x=mark))
        terms = sorted({key for entry in self.history for key in entry.get("train", {}) if key not in ("loss", "r_amp")})
        if terms:
            colours = (BLUE, VERMILION, ORANGE)
            parts = [line(name, "train", name, colours[i % len(colours)]) for i, name in enumerate(terms)]
            charts.append(runs.chart("Parts of the training loss", parts, mark_x=mark))
        section.add(page.grid([*charts, *self._patterns(), runs.learning_rate(self.history)], 420))

    def _previews(self, made: Page) -> None:
        files = sorted((self.run.path / "samples").glob("step_*.png"))
        if not files:
            return
        section = made.section(
            "Previews",
            "Six validation patterns in columns. From the top: amplitude of the predicted patch, its phase, "
            "the pattern it would diffract, the pattern that was measured. Outside the probe's light a patch means nothing.",
        )
        chosen = [files[0], files[-1]] if len(files) > 1 else files
        steps = [int(path.stem.removeprefix("step_")) for path in chosen]
        shown = [
            page.picture(page.png_uri(path.read_bytes()), f"Predicted patches after {step:,} steps", f"After {step:,} steps.", sharp=True)
            for path, step in zip(chosen, steps, strict=True)
        ]
        section.add(page.grid(shown, 420))

    def _data(self, made: Page) -> None:
        data, config = self.results.get("data", {}), self.config
        section = made.section("What was trained")
        chosen, task = config.get("data", {}), config.get("task", {})
        switches = {"train_probe": "probe", "train_intensity_scale": "intensity scale", "refine_positions": "positions"}
        learned = [name for switch, name in switches.items() if task.get(switch)]
        counts = data.get("counts", {})
        modes = self.facts.get("num_modes")
        section.add(
            page.facts(
                {
                    "network": config.get("model", {}).get("name"),
                    "target": "known object (supervised)" if chosen.get("supervised") else "the measurement itself (unsupervised)",
                    "patterns": f"{self.facts['size_px']} x {self.facts['size_px']} px" if self.facts else None,
                    "together in a group": chosen.get("gridsize", 1) ** 2,
                    "groups": ", ".join(f"{counts[phase]:,} {name}" for phase, name in _SPLITS if phase in counts) or None,
                    "scans": ", ".join(dict.fromkeys(self.facts.get("scans", []))) or None,
                    "probe": (f"{modes} incoherent modes" if modes > 1 else "1 mode") if modes else None,
                    "trained beside the network": ", ".join(learned) or None,
                    "amplitudes normalised by": f"{self.facts['normalisation']:.4g}" if self.facts else None,
                    "data": data.get("root"),
                    "fingerprint": data["fingerprint"][:16] if data.get("fingerprint") else None,
                }
            )
        )
        section.add(*(page.notice(note) for note in data.get("notes", [])))

    def _commands(self, made: Page) -> None:
        run, photic = runs.shown(self.run.path), shlex.quote(program())
        finished = self.results.get("status") == "completed"
        chosen = self.config.get("data", {})
        given = chosen.get("test_path") or chosen.get("path")
        scans = [given] if isinstance(given, str) else list(given or [])
        named = " ".join(map(shlex.quote, scans)) if scans else "SCAN"
        items = []
        if not finished:
            items.append(("Go on with this run, exactly where it stopped", f"{photic} train --resume {run}"))
        if self.run.checkpoint("best").is_file():
            again = f"{photic} evaluate {run}" + ("" if scans else " data.path=SCAN")
            items += [
                ("Reconstruct a scan", f"{photic} predict {run} {named} -o object"),
                ("The same, and go on with iterations through the same physics", f"{photic} predict {run} {named} -o refined --refine 20"),
                ("Without the network, to compare with", f"{photic} reconstruct {named} --iterations 100 -o baseline"),
                ("Judge whole scans; the pictures then appear on this page", again),
                ("One file for a colleague", f"{photic} bundle {run} -o model.photic"),
            ]
        epochs = int(self.config.get("training", {}).get("num_epochs", 0))
        if finished and epochs:
            items.append(("Train on, for twice as many epochs", f"{photic} train --resume {run} training.num_epochs={2 * epochs}"))
        items.append(("Compare the runs of this experiment", f"{photic} compare {runs.shown(self.run.path.parent)}/*"))
        items.append(("Watch the curves in TensorBoard", f"tensorboard --logdir {runs.shown(self.run.path / 'tensorboard')}"))
        lead = "Exact commands." if scans else "Exact commands. SCAN stands for a file of yours."
        made.section("Next steps", lead).add(page.commands(items))


_SPLITS = (("train", "training"), ("val", "validation"), ("test", "test"))


def _evaluations(folder: Path) -> list[_Evaluated]:
    """Return what lies in the run's evaluations, the newest first.

    Raises:
        DataError: a file of results is damaged.
    """
    found = []
    for path in folder.glob("*/results.json"):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path}: no valid JSON ({error}); evaluate again, or delete the folder") from error
        if not isinstance(values, dict) or "r_amp" not in values:
            raise DataError(f"{path}: expected the results of an evaluation, with 'r_amp'; evaluate again, or delete the folder")
        found.append((path.stat().st_mtime_ns, path.parent.name, _Evaluated(path.parent, values)))
    return [evaluated for *_, evaluated in sorted(found, key=lambda item: item[:2], reverse=True)]


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
            Column(title=f"{name} {what}", group="against a reference") for what in ("amplitude", "phase") for name in ("SSIM", "PSNR")
        ]
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
            row += [number(against[part]["ssim"]) if against else "–" for part in ("amplitude", "phase")]
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
        content = found.picture(name)
        if content is None:
            continue
        is_wide = name == "comparison"
        shown = page.picture(page.png_uri(content), f"{title}, {found.name}", caption, most_px=640 if is_wide else None)
        (wide if is_wide else side_by_side).append(shown)
    section.add(*wide)
    if side_by_side:
        section.add(page.grid(side_by_side, 420))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _predicted(path: Path) -> NDArray[np.float64]:
    return np.array([float(row["r_amp"]) for row in _rows(path)])
