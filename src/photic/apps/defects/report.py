"""The page of a run: how good it is, where it errs, what it looks at, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from photic.apps.defects.evidence import Predictions, prepare_again, read_predictions
from photic.apps.defects.gallery import add_gallery
from photic.core.errors import PhoticError
from photic.data.base import PHASES, PreparedData
from photic.functional.palette import BLUE, ORANGE, VERMILION, class_colour
from photic.inference.predictor import LoadedModel, load
from photic.metrics.ranking import expected_calibration_error, precision_recall_curve, reliability_curve, roc_curve
from photic.report import figures, page, runs
from photic.report.page import Cell, Column, Page, Tile, number
from photic.report.run_page import RunPage
from photic.tracking.run import Run

_FEW = 20  # positives below which a class's numbers move a lot with single pictures


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not.

    Args:
        run_folder: the run.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Returns:
        The file.

    Raises:
        DataError: the folder is no run, or its results cannot be read.
    """
    return DefectsPage(Run.open(run_folder)).write(path)


class DefectsPage(RunPage):
    """The page of a run that classifies pictures."""

    eyebrow = "Photic · steel-surface defects"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        # Without a test split the validation split has to do, with a warning.
        self.predictions = read_predictions(run, "test") or read_predictions(run, "val")
        self.values: dict[str, Any] = {}
        if self.predictions is not None:
            tested = self.results.get("test") if self.predictions.split == "test" else None
            self.values = tested or self.predictions.report()
        self.prepared: PreparedData | None = None
        self.model: LoadedModel | None = None
        self.missing = ""
        if self.predictions is not None:
            try:
                self.prepared = prepare_again(run)
                self.model = load(run.path, "auto")
            except PhoticError as error:
                self.missing = str(error)

    def add_results(self, made: Page) -> None:
        """Add classes, curves and pictures."""
        if self.predictions is None:
            return
        self._classes(made, self.predictions)
        self._curves(made, self.predictions)
        if self.prepared is not None and self.model is not None:
            add_gallery(made, self.predictions, self.prepared, self.model)

    # --- the head --------------------------------------------------------------------------------

    def verdict(self) -> str:
        """Return macro-AP and macro-F1 with their intervals."""
        best = self.results.get("best")
        if self.predictions is None:
            if not best:
                return "No validation yet: there is nothing to judge."
            return f"Not tested yet. Best so far on validation: {best['monitor']} {number(best['value'])}, at epoch {best['epoch']:g}."
        intervals = self.values.get("intervals", {})
        parts = []
        for name, key in (("Macro-AP", "ap"), ("macro-F1", "f1")):
            interval = intervals.get(f"macro_{key}", {})
            span = f" ({number(interval['low'], 2)} to {number(interval['high'], 2)})" if interval.get("low") is not None else ""
            parts.append(f"{name} {number(self.values['at_tuned']['macro'][key])}{span}")
        which = "never seen in training" if self.predictions.split == "test" else "of the validation split"
        return f"{parts[0]} and {parts[1]} at tuned thresholds, on {len(self.predictions.names)} pictures {which}."

    def tiles(self) -> list[Tile]:
        """Return the scores, and how many pictures were judged rightly; what it cost, as long as there is no score."""
        predictions = self.predictions
        if predictions is None:
            return self.cost_tiles()
        macro = self.values["at_tuned"]["macro"]
        defective, flagged = np.asarray(predictions.labels.any(axis=1)), np.asarray(predictions.decisions.any(axis=1))
        exact = int((predictions.labels == predictions.decisions).all(axis=1).sum())
        made = [
            Tile(label="Macro-AP", value=number(macro["ap"]), note="average precision, mean of the classes"),
            Tile(label="Macro-F1", value=number(macro["f1"]), note=f"{number(self.values['at_0.5']['macro']['f1'])} at threshold 0.5"),
            Tile(
                label="Defective pictures flagged",
                value=f"{int((defective & flagged).sum())} of {int(defective.sum())}",
                note="any class called present",
            ),
        ]
        if not defective.all():
            clean = ~defective
            value = f"{int((clean & flagged).sum())} of {int(clean.sum())}"
            made.append(Tile(label="Clean pictures flagged", value=value, note="false alarms a line would stop for"))
        else:
            value = f"{exact} of {len(defective)}"
            made.append(Tile(label="Every label right", value=value, note="pictures without any wrong decision"))
        return made

    def advice(self) -> list[str]:
        """Say what to bear in mind with the numbers, and what had to be left out."""
        made = []
        if self.predictions is not None:
            if self.predictions.split == "val":
                made.append(
                    "There is no test split: everything below is measured on the validation split, where the thresholds were tuned "
                    "and the best epoch was chosen. Expect less on new pictures."
                )
            rare = [
                f"{name} ({count})"
                for name, count in zip(self.predictions.classes, self.predictions.labels.sum(axis=0), strict=True)
                if count < _FEW
            ]
            if rare:
                made.append(
                    f"Few pictures carry {', '.join(rare)}: a single picture moves these classes' numbers a lot. Look at the intervals."
                )
            made.extend(self.values["at_tuned"].get("notes", []))
        if self.missing:
            made.append(f"Pictures and activation maps are left out: {self.missing}")
        return made

    # --- what the numbers say --------------------------------------------------------------------

    def _classes(self, made: Page, predictions: Predictions) -> None:
        section = made.section("Classes", "Each class is decided on its own. Thresholds were tuned for F1 on the validation split.")
        half, tuned = self.values["at_0.5"], self.values["at_tuned"]
        columns = [
            Column(title="Class", number=False),
            Column(title="Pictures", hint="labelled with the class"),
            Column(title="AP", hint="average precision; a classifier that guesses gets the class's share of the pictures"),
            Column(title="95 % interval", hint="bootstrap over the pictures"),
            Column(title="AUC", hint="chance that a picture with the class is ranked above one without"),
            Column(title="ECE", hint="mean gap between probability and truth"),
            *(Column(title=name, group="at threshold 0.5") for name in ("precision", "recall", "F1")),
            *(Column(title=name, group="at the tuned threshold") for name in ("threshold", "precision", "recall", "F1")),
        ]
        errors = expected_calibration_error(predictions.probabilities, predictions.labels)
        rows = []
        for c, name in enumerate(predictions.classes):
            at_half, at_tuned = half["per_class"][name], tuned["per_class"][name]
            rows.append([
                Cell(text=name, colour=class_colour(c)),
                at_half["support"],
                number(at_half["ap"]),
                self._interval(f"ap/{c}", f"ap/{name}"),
                number(at_half["auc"]),
                number(errors[c]),
                *(number(at_half[key]) for key in ("precision", "recall", "f1")),
                number(predictions.thresholds[c]),
                *(number(at_tuned[key]) for key in ("precision", "recall", "f1")),
            ])  # fmt: skip
        footer = []
        for key, label in (("macro", "mean of classes"), ("micro", "all labels pooled")):
            total = int(predictions.labels.sum()) if key == "micro" else ""
            span = self._interval("macro_ap") if key == "macro" else ""
            ece = number(errors.mean()) if key == "macro" else ""
            scores = [number(part[key][name]) for part in (half, tuned) for name in ("precision", "recall", "f1")]
            footer.append([label, total, number(half[key]["ap"]), span, number(half[key]["auc"]), ece, *scores[:3], "", *scores[3:]])
        section.add(page.table(columns, rows, footer))
        section.add(page.heading("Decisions at the tuned thresholds"))
        tables = []
        for c, name in enumerate(predictions.classes):
            (_, false_alarms), (missed, found) = predictions.confusion[c].tolist()
            remark = f"{missed} of {missed + found} missed, {false_alarms} falsely called"
            tables.append(page.confusion(name, class_colour(c), predictions.confusion[c], remark))
        section.add(page.grid(tables, 200 if len(tables) <= 4 else 310))
        if len(predictions.classes) > 1:
            section.add(page.heading("Labelled and called together"), page.table(*_together(predictions)))
            section.add(
                page.prose(
                    "Of the pictures labelled with a row's class, how many were called each column's: its own is what was found. Much "
                    "beside that is either defects that come together (small print: how many carry both labels) or classes taken for one "
                    "another."
                )
            )

    def _interval(self, *names: str) -> Cell:
        """Return the interval of the first name that has one."""
        for name in names:
            interval = self.values.get("intervals", {}).get(name)
            if interval and interval.get("low") is not None:
                low, high = interval["low"], interval["high"]
                return Cell(text=f"{number(low, 2)} – {number(high, 2)}", span=(low, interval["value"], high))
        return Cell(text="–")

    def _curves(self, made: Page, predictions: Predictions) -> None:
        section = made.section("Curves", "What other thresholds would give; the dots are the tuned ones.")
        legend = [(name, class_colour(c), False) for c, name in enumerate(predictions.classes)]
        columns = [(predictions.probabilities[:, c], predictions.labels[:, c]) for c in range(len(predictions.classes))]
        pr = [(name, colour, precision_recall_curve(*column)) for (name, colour, _), column in zip(legend, columns, strict=True)]
        roc = [(name, colour, roc_curve(*column)) for (name, colour, _), column in zip(legend, columns, strict=True)]
        tables = predictions.confusion.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, false_rate = tables[:, 1, 1] / tables[:, 1].sum(axis=1), tables[:, 0, 1] / tables[:, 0].sum(axis=1)
            precision = tables[:, 1, 1] / tables[:, :, 1].sum(axis=1)
        bins = reliability_curve(predictions.probabilities.ravel(), predictions.labels.ravel(), 10)
        errors = expected_calibration_error(predictions.probabilities, predictions.labels)
        shown = ", ".join(f"{name} {number(error)}" for name, error in zip(predictions.classes, errors, strict=True))
        charts = [
            page.figure(figures.precision_recall(pr, list(zip(recall, precision, strict=True))), "Further up and right is better.", legend),
            page.figure(figures.roc(roc, list(zip(false_rate, recall, strict=True))), "Further up and left is better.", legend),
            page.figure(
                figures.reliability(bins),
                f"On the line, probabilities mean what they say. Below it they promise too much. Expected calibration error: {shown}.",
            ),
        ]
        section.add(page.grid(charts))

    # --- how it came about -----------------------------------------------------------------------

    def charts(self) -> Iterator[Any]:
        """Make the charts: loss, macro scores, average precision by class."""
        unit = (-0.02, 1.04)
        scores = [
            self.line("macro-AP", "val", "macro_ap", BLUE),
            self.line("macro-AUC", "val", "macro_auc", ORANGE),
            self.line("macro-F1 at 0.5", "val", "macro_f1", VERMILION),
        ]
        classes = [self.line(name, "val", f"ap/{c}", class_colour(c)) for c, name in enumerate(self.results.get("classes", []))]
        yield self.loss_chart()
        yield runs.chart("Validation", scores, y_limits=unit, **self.marks)
        yield runs.chart("Validation AP by class", classes, y_limits=unit, **self.marks)

    def add_data(self, made: Page) -> None:
        """Add the counts of pictures and classes in each split."""
        facts = self.results.get("data", {})
        section = made.section("Data")
        counts = facts.get("counts", {})
        columns = [Column(title="Split", number=False), Column(title="Pictures")]
        rows: list[list[Any]] = [[phase, counts[phase]] for phase in PHASES if phase in counts]
        if self.prepared is not None and self.prepared.labels:
            columns += [Column(title=name) for name in self.prepared.classes] + [Column(title="clean")]
            for row in rows:
                labels = self.prepared.labels[row[0]]
                row += [Cell(text=str(int(n)), note=f"{100 * n / max(1, len(labels)):.1f} %") for n in labels.sum(axis=0)]
                row.append(int((labels.sum(axis=1) == 0).sum()))
        if rows:
            section.add(page.table(columns, rows))
        section.add(
            page.facts(
                {
                    "dataset": self.results.get("names", {}).get("data"),
                    "folder": facts.get("root"),
                    "split": facts.get("split_strategy"),
                    "fingerprint": facts["fingerprint"][:16] if facts.get("fingerprint") else None,
                }
            )
        )
        section.add(*(page.notice(note) for note in facts.get("notes", [])))

    def add_settings(self, made: Page) -> None:
        """Add what the loss took from the training split, too."""
        super().add_settings(made)
        state = {
            name: value for name, value in self.results.get("loss_state", {}).items() if any(item is not None for item in np.ravel(value))
        }
        if state:
            made.sections[-1].add(page.details("What the loss took from the training split", page.preformatted(yaml.safe_dump(state))))

    def uses(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return the commands for a trained classifier."""
        root = self.config.get("data", {}).get("root")
        unlabelled = Path(root or "") / "test_images"
        pictures = shlex.quote(str(unlabelled)) if root and unlabelled.is_dir() else "PICTURES"
        return [
            ("Predict pictures, with activation maps", f"{photic} predict {run} {pictures} -o predictions.csv --maps maps"),
            ("The same in Kaggle's format", f"{photic} predict {run} {pictures} -o submission.csv --format kaggle"),
            ("Measure again", f"{photic} evaluate {run}"),
        ]

    def further_commands(self, photic: str, run: str) -> list[tuple[str, str]]:
        """Return how to train with other seeds and losses, and to watch the curves."""
        items = super().further_commands(photic, run)
        if self.results.get("recipe"):
            root = self.config.get("data", {}).get("root")
            given = {"recipe": self.results["recipe"], "data.root": root, "output_dir": self.config.get("output_dir")}
            words = " ".join(shlex.quote(f"{key}={value}") for key, value in given.items() if value is not None)
            items.append(("Train with three seeds and two losses", f"{photic} train -m {words} seed=0,1,2 loss.name=bce_with_logits,focal"))
        return [*items, ("Watch the curves in TensorBoard", f"tensorboard --logdir {runs.shown(self.run.path / 'tensorboard')}")]


def _together(predictions: Predictions) -> tuple[list[Column], list[list[Any]]]:
    """Return how many pictures with each label were called each class, and how many carry both labels; columns and rows."""
    columns = [Column(title="Labelled", number=False), Column(title="Pictures")]
    columns += [Column(title=name, group="called") for name in predictions.classes] + [Column(title="nothing", group="called")]
    labels, decisions = predictions.labels, predictions.decisions
    rows: list[list[Any]] = []
    for c, name in enumerate(predictions.classes):
        own = labels[:, c].astype(bool)
        row: list[Any] = [Cell(text=name, colour=class_colour(c)), int(own.sum())]
        for other in range(len(predictions.classes)):
            both = int((own & labels[:, other].astype(bool)).sum())
            row.append(Cell(text=str(int((own & decisions[:, other]).sum())), note="" if other == c else f"{both} both"))
        rows.append([*row, int((own & ~decisions.any(axis=1)).sum())])
    clean = ~labels.any(axis=1)
    if clean.any():
        called = [int((clean & decisions[:, other]).sum()) for other in range(len(predictions.classes))]
        rows.append(["clean", int(clean.sum()), *called, int((clean & ~decisions.any(axis=1)).sum())])
    return columns, rows
