"""The page of a run that denoises raw pictures: how good it is at each ISO value, crops, how it was trained, what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from photic.apps.rawnind.evaluating.scores import LABELS, Evaluation, level_name, shown
from photic.core.program import program
from photic.functional.palette import BLUE, CLASS_COLOURS, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Column, Page, Section, Tile, duration, number
from photic.tracking.run import Run

_SPLITS = (("train", "training"), ("val", "validation"), ("test", "test"))
_STILL_RISING_DB = 0.1
_AT = "_iso"
"""Between the name of a value and the ISO value, in validation's results."""
_HINTS = {
    "psnr": "peak signal-to-noise ratio of developed pictures; larger is better, 3 dB is half the error's energy",
    "ms_ssim": "structural similarity over five scales, at most 1; of pictures with sides of 161 pixels and more",
}


class RunReport:
    """The page of a run that denoises; everything its sections share.

    Args:
        run: finished or not.

    Raises:
        DataError: its results or an evaluation in it cannot be read.
    """

    made = "denoised"
    """What becomes of pictures."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config, self.results = run.config, run.results
        self.history: list[dict[str, Any]] = self.results.get("history") or []
        self.best: dict[str, Any] = self.results.get("best") or {}
        self.val: dict[str, Any] = self.best.get("val") or {}
        self.test: dict[str, Any] = self.results.get("test") or {}
        files = sorted((run.path / "evaluations").glob("*/results.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        self.evaluations = [(file.parent, Evaluation.read(file.parent)) for file in files]

    def page(self) -> Page:
        """Return the page."""
        made = Page(
            title=f"{self.run.path.parent.name} / {self.run.path.name}",
            eyebrow="Photic · raw",
            verdict=self._verdict(),
            badges=runs.badges(self.results),
        )
        made.head += [page.tiles(self._tiles()), *runs.unfinished(self.run), *(page.notice(text, "warning") for text in self._advice())]
        for folder, found in self.evaluations:
            show_evaluation(made, found, folder)
        self._by_iso(made)
        self._training(made)
        self._previews(made)
        self._data(made)
        runs.add_settings(made, self.run)
        self._commands(made)
        return made

    def _verdict(self) -> str:
        if not self.val:
            return "No validation yet: there is nothing to judge."
        if self.val.get("psnr") is None:
            return f"Validation loss {number(self.val.get('loss'), 4)} at epoch {self.best['epoch']:g}."
        text = f"{_scores(self.val)} on validation pictures, developed, over all ISO values (epoch {self.best['epoch']:g})."
        if self.test.get("psnr") is not None:
            text = f"{_scores(self.test)} on test pictures. {text}"
        for _, found in self.evaluations:
            rival = found.best_classical()
            if found.split in ("val", "test") and rival is not None:
                own, other = found.mean(found.model, "psnr"), found.mean(rival, "psnr")
                return f"{text} On {found.split} pictures: {number(own, 2)} dB, the best classical method, {rival}: {number(other, 2)} dB."
        return text

    def _tiles(self) -> list[Tile]:
        made = []
        if self.val.get("psnr") is not None:
            made.append(Tile(label="PSNR", value=f"{number(self.val['psnr'], 2)} dB", note="validation, developed"))
        levels = [(iso, values["psnr"]) for iso, values in _levels(self.val).items() if values.get("psnr") is not None]
        for iso, value in (levels[0], levels[-1]) if len(levels) > 1 else ():
            made.append(Tile(label=level_name(iso), value=f"{number(value, 2)} dB", note="validation"))
        if not made and self.val:
            made.append(Tile(label="Validation loss", value=number(self.val.get("loss"), 4)))
        if "wall_seconds" in self.results:
            steps = f"{self.history[-1]['step']:,} steps" if self.history else "with reading the data"
            made.append(Tile(label="Training time", value=duration(self.results["wall_seconds"]), note=steps))
        parameters = self.results.get("parameters", {})
        if parameters:
            chosen = self.config.get("model", {})
            name = " ".join(str(chosen[key]) for key in ("name", "size") if key in chosen)
            made.append(Tile(label="Parameters", value=f"{parameters['total']:,}", note=name))
        return made

    def _advice(self) -> list[str]:
        """Return what the numbers suggest to do."""
        made = []
        reached = [value for entry in self.history if (value := (entry.get("val") or {}).get("psnr")) is not None]
        before = reached[: max(1, round(0.8 * len(reached)))]
        if self.results.get("status") == "completed" and len(reached) >= 5 and max(reached) > max(before) + _STILL_RISING_DB:
            gained = max(reached) - max(before)
            made.append(f"PSNR rose by {gained:.2f} dB in the last fifth of training: more epochs would help (the command is below).")
        for _, found in self.evaluations:
            for iso in found.levels:
                some = found.at(iso)
                rival = found.best_classical(some)
                own, other = found.mean(found.model, "psnr", some), None if rival is None else found.mean(rival, "psnr", some)
                if own is not None and other is not None and own < other:
                    made.append(
                        f"At {level_name(iso)} ({found.data}, {found.split}) {rival} is better: {other:.2f} dB against {own:.2f} dB."
                    )
        return made

    # --- how it came about -----------------------------------------------------------------------

    def _by_iso(self, made: Page) -> None:
        """Validation by ISO value, where no evaluation of it says more."""
        levels = _levels(self.val)
        if not levels or any(found.split == "val" for _, found in self.evaluations):
            return
        section = made.section("ISO values", "Means over validation pictures, developed.")
        names = [name for name in LABELS if any(values.get(name) is not None for values in levels.values())]
        columns = [Column(title="", number=False), *(Column(title=LABELS[name], hint=_HINTS[name]) for name in names)]
        rows = [[level_name(iso), *(shown(name, values.get(name)) for name in names)] for iso, values in levels.items()]
        section.add(page.table(columns, rows))

    def _training(self, made: Page) -> None:
        if not self.history:
            return
        section = made.section("Training", runs.training_lead(self.results))
        options: dict[str, Any] = {"mark_x": self.best.get("epoch")}

        def line(label: str, part: str, key: str, colour: str) -> figures.Line:
            return runs.history_line(self.history, label, part, key, colour)

        charts = [runs.chart("Loss", [line("training", "train", "loss", BLUE), line("validation", "val", "loss", VERMILION)], **options)]
        present = {key for entry in self.history for key in (entry.get("val") or {})}
        for key, title in (("psnr", "PSNR (dB)"), ("ms_ssim", "MS-SSIM")):
            if key in present:
                charts.append(runs.chart(title, [line("validation", "val", key, VERMILION)], **options))
            levels = [iso for iso, values in _levels(dict.fromkeys(present, 0.0)).items() if key in values]
            if len(levels) > 1:
                lines = [
                    line(level_name(iso), "val", f"{key}{_AT}{iso:g}", CLASS_COLOURS[place % len(CLASS_COLOURS)])
                    for place, iso in enumerate(levels)
                ]
                charts.append(runs.chart(f"{title} by ISO value", lines, **options))
        section.add(page.grid([*charts, runs.learning_rate(self.history)], 420))

    def _previews(self, made: Page) -> None:
        files = sorted((self.run.path / "samples").glob("step_*.png"))
        if not files:
            return
        section = made.section("Previews", f"Validation pictures in rows: as measured (a mosaic shows its filters), {self.made}, truth.")
        chosen = [files[0], files[-1]] if len(files) > 1 else files
        steps = [int(path.stem.removeprefix("step_")) for path in chosen]
        blocks = [
            page.picture(
                page.png_uri(path.read_bytes()), f"Measured, {self.made} and truth, after {step:,} steps", f"After {step:,} steps."
            )
            for path, step in zip(chosen, steps, strict=True)
        ]
        section.add(page.grid(blocks, 420))

    def _data(self, made: Page) -> None:
        data, chosen = self.results.get("data", {}), self.config.get("data", {})
        section = made.section("What was trained")
        counts, crop = data.get("counts", {}), chosen.get("crop_px")
        section.add(
            page.facts(
                {
                    "network": self.config.get("model", {}).get("name"),
                    "measurement": self.config.get("model", {}).get("measurement"),
                    "loss": ", ".join((self.config.get("loss", {}).get("terms") or {self.config.get("loss", {}).get("name"): None}).keys()),
                    "pictures": ", ".join(f"{counts[phase]:,} {name}" for phase, name in _SPLITS if phase in counts) or None,
                    "training crops": f"{crop} px" if crop else None,
                    "data": chosen.get("root") or chosen.get("name"),
                    "fingerprint": data["fingerprint"][:16] if data.get("fingerprint") else None,
                }
            )
        )
        section.add(*(page.notice(note) for note in data.get("notes", [])))

    def _commands(self, made: Page) -> None:
        run, photic = runs.shown(self.run.path), shlex.quote(program())
        items = []
        if self.results.get("status") != "completed":
            items.append(("Go on with this run, exactly where it stopped", f"{photic} train --resume {run}"))
        if self.run.checkpoint("best").is_file():
            items += self._uses(photic, run)
            items.append(("Put the model into one file", f"{photic} bundle {run} -o model.photic"))
        recipe, epochs = self.config.get("recipe"), (self.config.get("training") or {}).get("num_epochs")
        if recipe and epochs and self.results.get("status") == "completed":
            root = self.config.get("data", {}).get("root")
            given = f" data.root={shlex.quote(str(root))}" if root else ""
            command = f"{photic} train recipe={shlex.quote(str(recipe))}{given} training.num_epochs={2 * epochs}"
            items.append(("Train for twice as long", command))
        if items:
            made.section("Next steps", "Exact commands.").add(page.commands(items))

    def _uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return what the trained network can do, and the commands for it."""
        return [
            ("Measure it at each ISO value against classical methods; this page then shows it", f"{photic} evaluate {run}"),
            ("Denoise a raw file", f"{photic} predict {run} photo.CR2 -o photo.dng --strength 0.8"),
            ("Denoise a folder", f"{photic} predict {run} shoot/ -o clean/"),
        ]


def show_evaluation(made: Page, found: Evaluation, folder: Path, title: str | None = None) -> Section:
    """Add what an evaluation found, in a section of its own: means by ISO value, a chart, sheets of crops."""
    own = {"val": "Validation pictures", "test": "Test pictures", "train": "Training pictures"}
    section = made.section(title or own.get(found.split, f"Pictures of {folder.name}"), found.summary())
    heads = found.heads()
    for value in found.values:
        section.add(page.heading(LABELS[value]))
        columns = [Column(title=heads[0], number=False), *(Column(title=head, hint=_HINTS[value]) for head in heads[1:])]
        section.add(page.table(columns, found.rows(value)))
    known = [iso for iso in found.levels if iso is not None]
    if len(known) > 1:
        charts = [_chart(found, value, known) for value in found.values]
        section.add(page.grid(charts, 420))
    section.add(*(page.notice(note) for note in found.notes))
    for iso in found.levels:
        path = folder / f"sheet_{level_name(iso).lower().replace(' ', '_')}.png"
        if path.is_file():
            with Image.open(path) as image:
                uri = page.jpeg_uri(np.asarray(image.convert("RGB")), 90)
            section.add(page.details(f"Crops at {level_name(iso)}", page.picture(uri, f"Crops at {level_name(iso)}")))
    return section


def _levels(values: dict[str, Any]) -> dict[float, dict[str, float | None]]:
    """Return values of validation by ISO value, rising."""
    found: dict[float, dict[str, float | None]] = {}
    for key, value in values.items():
        name, at, iso = key.partition(_AT)
        if at:
            found.setdefault(float(iso), {})[name] = value
    return dict(sorted(found.items()))


def _chart(found: Evaluation, value: str, known: list[float]) -> Any:
    """Values over stops of ISO, a line per method."""
    stops = [float(np.log2(iso / 100)) for iso in known]
    lines = []
    for place, method in enumerate(found.methods):
        means = np.array([found.mean(method, value, found.at(iso)) for iso in known], dtype=float)
        lines.append(
            figures.Line(label=method, x=stops, y=means, colour=CLASS_COLOURS[place % len(CLASS_COLOURS)], dashed=method in found.classical)
        )
    drawn = figures.curves(lines, title=f"{LABELS[value]} over ISO", x_label="stops above ISO 100")
    return page.figure(drawn, "", [line.legend for line in lines])


def _scores(values: dict[str, Any]) -> str:
    parts = [f"PSNR {number(values['psnr'], 2)} dB"]
    if values.get("ms_ssim") is not None:
        parts.append(f"MS-SSIM {number(values['ms_ssim'])}")
    return ", ".join(parts)
