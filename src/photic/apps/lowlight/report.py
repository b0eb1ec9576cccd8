"""The page of a low-light run: how good its pictures are, before and after to wipe between, how it was trained, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from markupsafe import Markup

from photic.apps.lowlight.evaluation import GT_MEAN, LABELS, TRUTH, Evaluation, Scored, shown
from photic.core.program import program
from photic.functional.palette import BLUE, CLASS_COLOURS, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Column, Page, Section, Tile, duration, number
from photic.tracking.run import Run

_MOST_SHOWN = 6
"""Pictures shown of the worst and of the best."""
_PALE = 0.10
_STILL_RISING_DB = 0.1
_SPLITS = (("train", "training"), ("val", "validation"), ("test", "test"))
_HINTS = {
    "psnr": "peak signal-to-noise ratio; larger is better",
    "ssim": "structural similarity, at most 1",
    "ms_ssim": "structural similarity over five scales, at most 1; published tables often call it SSIM",
    "delta_e": "mean colour difference CIEDE2000; smaller is better, 2 is just noticed",
    "saturation": "mean of the picture; to be held against that of the true pictures",
    "mean_luma": "mean brightness, 0 to 1",
    "contrast": "standard deviation of brightness",
    "noise": "estimated standard deviation, levels of 255; fine texture counts, too",
}


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not; nothing is computed with the network.

    Args:
        run_folder: the run; what ``photic evaluate`` left in its ``evaluations`` is shown, too.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Returns:
        The file.

    Raises:
        DataError: the folder is no run, or its results or an evaluation in it cannot be read.
    """
    run = Run.open(run_folder)
    return _Report(run).page().write(path or run.path / "report.html")


class _Report:
    """Everything the sections share."""

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
        made = Page(
            title=f"{self.run.path.parent.name} / {self.run.path.name}",
            eyebrow="Photic · low light",
            verdict=self._verdict(),
            badges=runs.badges(self.results),
        )
        made.head += [page.tiles(self._tiles()), *runs.unfinished(self.run), *(page.notice(text, "warning") for text in self._advice())]
        for folder, found in self.evaluations:
            show_evaluation(made, found, folder)
        self._training(made)
        self._previews(made)
        self._data(made)
        runs.add_settings(made, self.run)
        self._commands(made)
        return made

    def _verdict(self) -> str:
        if not self.val:
            return "No validation yet: there is nothing to judge."
        if "psnr" not in self.val:
            return f"Validation loss {number(self.val.get('loss'), 4)} at epoch {self.best['epoch']:g}."
        text = f"{_scores(self.val)} on validation pictures of native size, not scaled to the true mean (epoch {self.best['epoch']:g})."
        if "psnr" in self.test:
            text = f"{_scores(self.test)} on test pictures. {text}"
        for _, found in self.evaluations:
            if found.split == "val" and found.num_with_truth:
                rivals = {name: found.mean(name, "psnr") or 0.0 for name in found.methods[1:]}
                name = max(rivals, key=lambda one: rivals[one])
                return f"{text} The best classical method on these pictures, {name}: {rivals[name]:.2f} dB."
        return text

    def _tiles(self) -> list[Tile]:
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
        if "wall_seconds" in self.results:
            steps = f"{self.history[-1]['step']:,} steps" if self.history else "with reading the data"
            made.append(Tile(label="Training time", value=duration(self.results["wall_seconds"]), note=steps))
        parameters = self.results.get("parameters", {})
        if parameters:
            made.append(Tile(label="Parameters", value=f"{parameters['total']:,}", note=str(self.config.get("model", {}).get("name", ""))))
        return made

    def _advice(self) -> list[str]:
        """Return what the numbers suggest to do."""
        made = []
        reached = [value for entry in self.history if (value := (entry.get("val") or {}).get("psnr")) is not None]
        before = reached[: max(1, round(0.8 * len(reached)))]
        if self.results.get("status") == "completed" and len(reached) >= 5 and max(reached) > max(before) + _STILL_RISING_DB:
            gained = max(reached) - max(before)
            made.append(f"PSNR rose by {gained:.2f} dB in the last fifth of training: more epochs would help (the command is below).")
        pale = self.val.get("low_colour")
        if pale:
            made.append(f"LOW_COLOR: {pale:.0%} of the validation pictures came out with a saturation below {_PALE:.2f}, that is pale.")
        return made

    # --- how it came about -----------------------------------------------------------------------

    def _training(self, made: Page) -> None:
        if not self.history:
            return
        stages = stage_borders(self.config)
        lead = runs.training_lead(self.results)
        if stages:
            lead += " Thin lines: where a stage of the schedule begins."
        section = made.section("Training", lead)
        options: dict[str, Any] = {"mark_x": self.best.get("epoch"), "stages_x": stages}

        def line(label: str, part: str, key: str, colour: str) -> figures.Line:
            return runs.history_line(self.history, label, part, key, colour)

        charts = [runs.chart("Loss", [line("training", "train", "loss", BLUE), line("validation", "val", "loss", VERMILION)], **options)]
        present = {key for entry in self.history for key in (entry.get("val") or {})}
        for key, title in (("psnr", "PSNR (dB)"), ("ssim", "SSIM"), ("delta_e", "Colour difference ΔE2000"), ("saturation", "Saturation")):
            if key in present:
                lines = [line("validation", "val", key, VERMILION)]
                if key + GT_MEAN in present:
                    scaled = runs.history_line(self.history, "scaled to the true mean", "val", key + GT_MEAN, BLUE)
                    lines.append(figures.Line(label=scaled.label, x=scaled.x, y=scaled.y, colour=BLUE, dashed=True))
                charts.append(runs.chart(title, lines, **options))
        terms = sorted({key for entry in self.history for key in entry.get("train", {}) if key != "loss"})
        if terms:
            parts = [line(name, "train", name, CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i, name in enumerate(terms)]
            charts.append(runs.chart("Parts of the training loss", parts, caption="Weighted, as they are added up.", **options))
        section.add(page.grid([*charts, runs.learning_rate(self.history)], 420))

    def _previews(self, made: Page) -> None:
        files = sorted((self.run.path / "samples").glob("step_*.png"))
        if not files:
            return
        section = made.section("Previews", "Validation pictures in rows: before, after, true picture (black where there is none).")
        chosen = [files[0], files[-1]] if len(files) > 1 else files
        steps = [int(path.stem.removeprefix("step_")) for path in chosen]
        blocks = [
            page.picture(page.png_uri(path.read_bytes()), f"Before, after and truth, after {step:,} steps", f"After {step:,} steps.")
            for path, step in zip(chosen, steps, strict=True)
        ]
        section.add(page.grid(blocks, 420))

    def _data(self, made: Page) -> None:
        data, chosen = self.results.get("data", {}), self.config.get("data", {})
        section = made.section("What was trained")
        counts = data.get("counts", {})
        crop = chosen.get("crop_px")
        section.add(
            page.facts(
                {
                    "network": self.config.get("model", {}).get("name"),
                    "loss": ", ".join((self.config.get("loss", {}).get("terms") or {self.config.get("loss", {}).get("name"): None}).keys()),
                    "pictures": ", ".join(f"{counts[phase]:,} {name}" for phase, name in _SPLITS if phase in counts) or None,
                    "training crops": f"{crop} px" if crop else "whole pictures",
                    "data": data.get("root"),
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
            items += [
                ("Measure it picture by picture against classical methods; this page then shows them", f"{photic} evaluate {run}"),
                ("Enhance a photograph", f"{photic} predict {run} photo.jpg -o photo_bright.png --strength 0.8"),
                ("Enhance a folder", f"{photic} predict {run} photos/ -o enhanced/"),
                ("Enhance a video", f"{photic} predict {run} clip.mp4 -o bright.mp4"),
                ("Put the model into one file", f"{photic} bundle {run} -o model.photic"),
            ]
        recipe, epochs = self.config.get("recipe"), (self.config.get("training") or {}).get("num_epochs")
        if recipe and epochs and self.results.get("status") == "completed":
            root = self.config.get("data", {}).get("root")
            given = f" data.root={shlex.quote(str(root))}" if root else ""
            command = f"{photic} train recipe={shlex.quote(str(recipe))}{given} training.num_epochs={2 * epochs}"
            items.append(("Train for twice as long", command))
        if items:
            made.section("Next steps", "Exact commands.").add(page.commands(items))


def show_evaluation(made: Page, found: Evaluation, folder: Path, title: str | None = None) -> None:
    """Add what an evaluation found, in a section of its own: means of all methods, the worst and the best pictures."""
    own = {"val": "Validation pictures", "test": "Test pictures", "train": "Training pictures"}
    section = made.section(title or own.get(found.split, f"Pictures of {folder.name}"), found.summary())
    section.add(page.table(*mean_table(found)))
    section.add(page.details("What the values mean", page.facts({LABELS[name]: _HINTS[name] for name in found.values if name in _HINTS})))
    if found.num_with_truth:
        section.add(page.notice(_against_truth(found)))
    _show_pictures(section, found, folder)


def mean_table(found: Evaluation) -> tuple[list[Column], list[list[str]]]:
    """Return the means of all methods, columns and rows."""
    plain = [name for name in found.values if not name.endswith(GT_MEAN)]
    scaled = [name for name in found.values if name.endswith(GT_MEAN)]
    group = "as they are" if scaled else ""
    columns = [Column(title="", number=False)]
    columns += [Column(title=LABELS[name], group=group) for name in plain]
    columns += [Column(title=LABELS[name], group="scaled to the true mean (GT mean)") for name in scaled]
    rows = [[method, *(shown(name, found.mean(method, name)) for name in (*plain, *scaled))] for method in found.rows]
    return columns, rows


def _against_truth(found: Evaluation) -> str:
    own, true = found.mean(found.model, "saturation"), found.mean(TRUTH, "saturation")
    better = sum(
        one.best is not None and (one.values[found.model].get("psnr") or 0) > (one.values[one.best].get("psnr") or 0)
        for one in found.scored
    )
    text = f"The model is nearer to the true picture than the best classical method for it in {better} of {found.num_with_truth} pictures."
    if own is not None and true is not None and true > 0:
        text += f" Its pictures have {own / true:.0%} of the true ones' saturation."
    return text


def _show_pictures(section: Section, found: Evaluation, folder: Path) -> None:
    drawn = [one for one in found.scored if "after" in one.pictures and all((folder / path).is_file() for path in one.pictures.values())]
    if not drawn:
        return
    if len(drawn) <= 2 * _MOST_SHOWN:
        groups = [("Worst first", drawn)]
    else:
        groups = [(f"The {_MOST_SHOWN} worst", drawn[:_MOST_SHOWN]), (f"The {_MOST_SHOWN} best", drawn[-_MOST_SHOWN:][::-1])]
    section.add(page.prose("Scroll sideways over a picture, or drag on a phone, to wipe between before and after."))
    for title, some in groups:
        section.add(page.heading(title))
        section.add(page.grid([_picture(one, found, folder) for one in some], 420))


def _picture(one: Scored, found: Evaluation, folder: Path) -> Markup:
    uris = {kind: page.jpeg_file_uri((folder / path).read_bytes()) for kind, path in one.pictures.items()}
    values = one.values[found.model]
    names = [name for name in ("psnr", "ssim", "delta_e", "mean_luma", "noise") if name in values]
    caption = f"{one.name}: " + ", ".join(f"{LABELS[name]} {shown(name, values[name])}" for name in names)
    if one.best is not None:
        caption += f"; {one.best}: PSNR dB {shown('psnr', one.values[one.best].get('psnr'))}"
    blocks = [page.slider(uris["before"], uris["after"], alternative=f"{one.name} before and after", caption=caption, size=one.size)]
    if "truth" in uris:
        blocks.append(page.details("true picture", page.picture(uris["truth"], f"{one.name}, true picture")))
    if "best" in uris:
        blocks.append(page.details(f"{one.best}", page.picture(uris["best"], f"{one.name} by {one.best}")))
    return Markup("").join(blocks)


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
