"""The page of a run of any application. An application derives from it and says what is its own; without one, this is the page."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from photic.core.program import program
from photic.functional.palette import BLUE, CLASS_COLOURS, VERMILION
from photic.report import figures, page, runs
from photic.report.page import Column, Page, Tile, duration, number
from photic.tracking.run import Run

T = TypeVar("T")

SPLITS = {"train": "training", "val": "validation", "test": "test"}
_MOST_CHARTS, _MOST_ROWS, _MOST_TILES = 12, 24, 3


class RunPage:
    """The page of a run, finished or not; nothing is computed with the network.

    Args:
        run: the run.
        notes: sentences for the head of the page, such as what had to be left out.

    Raises:
        DataError: its results cannot be read.
    """

    eyebrow = "Photic"
    previews = "Pictures of validation samples, as the task draws them."
    """What the pictures in ``samples/`` show, from left to right or from the top."""
    preview = "Validation samples"
    """What one of them is, for those who cannot see it."""
    sharp_previews = False
    """Show the pixels of previews as squares."""
    crop_px = "crop_px"
    """Setting of the data that says how large training crops are."""

    def __init__(self, run: Run, notes: Sequence[str] = ()) -> None:
        self.run = run
        self.notes = list(notes)
        self.config, self.results = run.config, run.results
        self.history: list[dict[str, Any]] = self.results.get("history") or []
        self.best: dict[str, Any] = self.results.get("best") or {}
        self.val: dict[str, Any] = self.best.get("val") or {}
        self.test: dict[str, Any] = self.results.get("test") or {}

    def page(self) -> Page:
        """Return the page."""
        made = Page(
            title=f"{self.run.path.parent.name} / {self.run.path.name}",
            eyebrow=self.eyebrow,
            verdict=self.verdict(),
            badges=runs.badges(self.run),
        )
        tiles = self.tiles()
        made.head += [page.tiles(tiles)] if tiles else []
        made.head += runs.unfinished(self.run)
        made.head += [page.notice(text, "warning") for text in (*self.notes, *self.advice())]
        self.add_results(made)
        self.add_training(made)
        self.add_previews(made)
        self.add_data(made)
        self.add_settings(made)
        self.add_commands(made)
        return made

    def write(self, path: Path | str | None = None) -> Path:
        """Write the page; ``report.html`` in the run's folder if no file is named."""
        return self.page().write(path or self.run.path / "report.html")

    # --- what an application says -----------------------------------------------------------------

    def verdict(self) -> str:
        """Return the result in a sentence."""
        if not self.val:
            return "No validation yet: there is nothing to judge."
        found = f"{self.best['monitor']} {number(self.best.get('value'), 4)} on validation, at epoch {self.best['epoch']:g}"
        tested = [f"{name} {number(value, 4)}" for name, value in _numbers(self.test) if name == self.best["monitor"] or name == "loss"]
        return f"{found}; on the test split {', '.join(tested)}." if tested else f"{found}."

    def tiles(self) -> list[Tile]:
        """Return the numbers that matter."""
        monitored = self.best.get("monitor")
        values = sorted(_numbers(self.val), key=lambda one: one[0] != monitored)[:_MOST_TILES]
        made = [Tile(label=name, value=number(value, 4), note="validation") for name, value in values]
        return [*made, *self.cost_tiles()]

    def advice(self) -> list[str]:
        """Return what the numbers suggest to do."""
        return []

    def add_results(self, made: Page) -> None:
        """Add sections on how good it is: here every number of validation and test, and how it is spread over samples."""
        val, test = dict(_numbers(self.val)), dict(_numbers(self.test))
        if not val and not test:
            return
        section = made.section("Values", "Of the weights that are deployed.")
        given = [(name, values) for name, values in (("validation", val), ("test", test)) if values]
        columns = [Column(title="Value", number=False), *(Column(title=name) for name, _ in given)]
        rows = [[name, *(number(values.get(name), 4) for _, values in given)] for name in dict.fromkeys([*val, *test])]
        section.add(page.table(columns, rows[:_MOST_ROWS]))
        if len(rows) > _MOST_ROWS:
            section.add(page.details(f"{len(rows) - _MOST_ROWS} more", page.table(columns, rows[_MOST_ROWS:])))
        spec = self.results.get("comparison") or {}
        values = [one for one in spec.get("values", ()) if isinstance(one, Mapping)]
        charts = [self.spread(str(one["column"]), str(one.get("label", one["column"]))) for one in values if one.get("column")]
        drawn = [chart for chart in charts if chart is not None]
        if drawn:
            section.add(page.heading("Single samples"), page.grid(drawn[:_MOST_CHARTS], 420))

    def charts(self) -> Iterator[Any]:
        """Make the charts of training, but for the learning rate: here the loss, and every value of validation."""
        yield self.loss_chart()
        names = dict.fromkeys(name for entry in self.history for name, _ in _numbers(entry.get("val") or {}) if name != "loss")
        for name in list(names)[:_MOST_CHARTS]:
            both = [self.line("training", "train", name, BLUE)] if any(name in entry.get("train", {}) for entry in self.history) else []
            yield runs.chart(name, [*both, self.line("validation", "val", name, VERMILION)], **self.marks)
        yield from self.terms_chart(known=set(names))

    def facts(self) -> dict[str, Any]:
        """Return what was trained on what, beyond what all runs have."""
        return {}

    def uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return what the trained network can do, and the commands for it."""
        task = str(self.config.get("task", {}).get("name"))
        given = (self.results.get("comparison") or {}).get("predict", "FILES -o predictions/")
        return [("Measure it again", f"{photic} evaluate {run}"), (f"Use it ({task})", f"{photic} predict {run} {given}")]

    # --- what applications build on ----------------------------------------------------------------

    @property
    def marks(self) -> dict[str, Any]:
        """What charts over epochs mark: the deployed epoch."""
        return {"mark_x": self.best.get("epoch")}

    def line(self, label: str, part: str, key: str, colour: str) -> figures.Line:
        """Return a value of the history over epochs; ``part`` is ``train`` or ``val``."""
        return runs.history_line(self.history, label, part, key, colour)

    def loss_chart(self, title: str = "Loss", key: str = "loss", **options: Any) -> Any:
        """Return training and validation of a value in one chart."""
        lines = [self.line("training", "train", key, BLUE), self.line("validation", "val", key, VERMILION)]
        return runs.chart(title, lines, **self.marks, **options)

    def terms_chart(self, known: set[str] = frozenset()) -> list[Any]:  # type: ignore[assignment]
        """Return the chart of the parts of the training loss, none where it has none."""
        terms = sorted({key for entry in self.history for key in entry.get("train", {})} - {"loss"} - known)
        if not terms:
            return []
        lines = [self.line(name, "train", name, CLASS_COLOURS[place % len(CLASS_COLOURS)]) for place, name in enumerate(terms)]
        return [runs.chart("Parts of the training loss", lines, caption="Weighted, as they are added up.", **self.marks)]

    def cost_tiles(self) -> list[Tile]:
        """Return what it took: time and parameters."""
        made = []
        if "wall_seconds" in self.results:
            steps = f"{self.history[-1]['step']:,} steps" if self.history else "with reading the data"
            made.append(Tile(label="Training time", value=duration(self.results["wall_seconds"]), note=steps))
        if parameters := self.results.get("parameters"):
            chosen = self.config.get("model", {})
            name = " ".join(str(chosen[key]) for key in ("name", "size") if key in chosen)
            made.append(Tile(label="Parameters", value=f"{parameters['total']:,}", note=name))
        return made

    def still_rising(self, key: str, name: str, least: float, unit: str = "") -> list[str]:
        """Return the advice to train longer, where a value of validation still rose by ``least`` in the last fifth of training."""
        reached = [value for entry in self.history if (value := (entry.get("val") or {}).get(key)) is not None]
        before = reached[: max(1, round(0.8 * len(reached)))]
        if self.results.get("status") != "completed" or len(reached) < 5 or max(reached) <= max(before) + least:
            return []
        gained = f"{max(reached) - max(before):.2f}{f' {unit}' if unit else ''}"
        return [f"{name} rose by {gained} in the last fifth of training: more epochs would help (the command is below)."]

    def evaluations(self, read: Callable[[Path], T], name: str = "results.json") -> list[tuple[Path, T]]:
        """Return what ``photic evaluate`` left in the run: folders, the newest first, and what ``read`` makes of them."""
        files = list((self.run.path / "evaluations").glob(f"*/{name}"))
        files.sort(key=lambda file: (-file.stat().st_mtime_ns, file.parent.name))
        return [(file.parent, read(file.parent)) for file in files]

    def spread(self, column: str, label: str, x_label: str = "share of the samples (%)", caption: str = "") -> Any | None:
        """Return a chart of a column of the tables of predictions, sorted; None where there is none."""
        lines = []
        for phase, colour in (("val", VERMILION), ("test", BLUE)):
            found = sorted(value for row in self.rows(phase) if math.isfinite(value := _number(row.get(column))))
            if found:
                share = [100 * (place + 0.5) / len(found) for place in range(len(found))]
                lines.append(figures.Line(label=SPLITS[phase], x=share, y=found, colour=colour))
        return runs.chart(label, lines, x_label=x_label, caption=caption) if lines else None

    def rows(self, phase: str) -> list[dict[str, str]]:
        """Return the table of predictions of a split; empty where there is none."""
        path = self.run.path / "predictions" / f"{phase}.csv"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    # --- sections of all applications ----------------------------------------------------------------

    def add_training(self, made: Page) -> None:
        """Add the section of curves."""
        if self.history:
            section = made.section("Training", self.training_lead())
            section.add(page.grid([*self.charts(), runs.learning_rate(self.history)], 420))

    def training_lead(self) -> str:
        """Return which epoch is deployed and why training ended."""
        return runs.training_lead(self.results)

    def add_previews(self, made: Page) -> None:
        """Add the first and the last picture of validation samples that training drew."""
        files = sorted((self.run.path / "samples").glob("step_*.png"))
        if not files:
            return
        blocks = []
        for path in dict.fromkeys((files[0], files[-1])):
            step = f"{int(path.stem.removeprefix('step_')):,}"
            words = f"{self.preview} after {step} steps"
            blocks.append(page.picture(page.png_uri(path.read_bytes()), words, f"After {step} steps.", sharp=self.sharp_previews))
        made.section("Previews", self.previews).add(page.grid(blocks, 420))

    def add_data(self, made: Page) -> None:
        """Add the section on what was trained."""
        data, chosen, loss = self.results.get("data", {}), self.config.get("data", {}), self.config.get("loss", {})
        counts, crop = data.get("counts", {}), chosen.get(self.crop_px)
        given = {
            "network": self.config.get("model", {}).get("name"),
            "loss": ", ".join((loss.get("terms") or {loss.get("name"): None}).keys()) if loss.get("name") else None,
            "samples": ", ".join(f"{counts[phase]:,} {name}" for phase, name in SPLITS.items() if phase in counts) or None,
            "training crops": f"{crop} px" if crop else None,
            "data": data.get("root") or chosen.get("name"),
            "fingerprint": data["fingerprint"][:16] if data.get("fingerprint") else None,
        }
        section = made.section("What was trained")
        section.add(page.facts(given | self.facts()))
        section.add(*(page.notice(note) for note in data.get("notes", [])))

    def add_settings(self, made: Page) -> None:
        """Add the section with seed, machine, versions and the whole configuration."""
        runs.add_settings(made, self.run)

    def add_commands(self, made: Page) -> None:
        """Add what to type next."""
        run, photic = runs.shown(self.run.path), shlex.quote(program())
        items = []
        if self.results.get("status") != "completed":
            items.append(("Go on with this run, exactly where it stopped", f"{photic} train --resume {run}"))
        if self.run.checkpoint("best").is_file():
            items += self.uses(photic, run)
            if self.results.get("status") == "completed":
                items.append(("Put the model into one file", f"{photic} bundle {run} -o model.photic"))
        items += self.further_commands(photic, run)
        if items:
            made.section("Next steps", "Exact commands; words in capitals stand for files and folders of yours.").add(page.commands(items))

    def further_commands(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return what else to type: to train on, and to compare."""
        items = []
        epochs = int((self.config.get("training") or {}).get("num_epochs") or 0)
        if epochs and self.results.get("status") == "completed":
            items.append(("Train on, for twice as many epochs", f"{photic} train --resume {run} training.num_epochs={2 * epochs}"))
        items.append(("Compare the runs of this experiment", f"{photic} compare {runs.shown(self.run.path.parent)}/*"))
        return items

    def trained_longer(self, photic: str) -> list[tuple[str, str]]:
        """Return the command that trains anew for twice as long, for schedules whose shape depends on the length."""
        recipe, epochs = self.config.get("recipe"), (self.config.get("training") or {}).get("num_epochs")
        if not recipe or not epochs or self.results.get("status") != "completed":
            return []
        root = self.config.get("data", {}).get("root")
        given = f" data.root={shlex.quote(str(root))}" if root else ""
        return [("Train for twice as long", f"{photic} train recipe={shlex.quote(str(recipe))}{given} training.num_epochs={2 * epochs}")]


def _numbers(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    """Make every number of nested values, with its place."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{place}{name} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield place + name, value


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # a word, such as a decision's name
        return math.nan
