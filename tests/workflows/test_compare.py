"""Comparison of runs: on written run folders whose every number is known, and on runs that were trained."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import yaml

import photic
from photic.cli.main import main
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.metrics import multilabel_report
from photic.tracking.run import Run
from photic.workflows.compare import CompareResult, compare

CLASSES = ("pits", "patches", "scratches")


class Shelf:
    """A folder that runs are written into as training leaves them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def run(
        self,
        *,
        seed: int = 0,
        loss: str = "bce_with_logits",
        skill: float = 0.3,
        test: Sequence[int] | None = None,
        classes: Sequence[str] = CLASSES,
        experiment: str = "steel",
        status: str = "completed",
        fold: tuple[int, int] | None = None,
        data: str = "abc",
        root: str | None = "/data",
        empty: Sequence[int] = (),
        shuffle: bool = False,
        swap: Sequence[str] = (),
        **settings: Any,
    ) -> Path:
        """Write one run.

        Args:
            seed: of the run and of its test split.
            loss: its name.
            skill: how far positives are ranked above negatives.
            test: numbers of the test pictures; a third of 90, by seed, if omitted.
            classes: names.
            experiment: folder.
            status: in the results.
            fold: number of the fold and of all folds.
            data: fingerprint.
            root: folder of the data; None for generated data.
            empty: classes without positives.
            shuffle: whether rows and columns of the predictions have another order.
            swap: pictures whose labels are the opposite.
            settings: further values of the configuration, ``__`` for a dot.
        """
        self.count += 1
        names = [
            f"p{number:02d}.png" for number in (list(test) if test is not None else numpy_generator(seed, "pick").permutation(90)[:30])
        ]
        truth = np.array([[self._label(name, c, swap) for c in classes] for name in names])
        truth[:, list(empty)] = 0
        generator = np.random.default_rng([seed, self.count])
        probabilities = np.clip(generator.normal(0.35, 0.15, truth.shape) + skill * truth, 0, 1).round(4)
        thresholds = generator.uniform(0.3, 0.6, len(classes)).round(3)
        path = self.root / experiment / f"2026-{self.count:03d}-{loss}"
        (path / "checkpoints").mkdir(parents=True)
        config = {
            "recipe": experiment, "experiment": experiment, "label": None, "seed": seed, "output_dir": str(self.root),
            "model": {"name": "tiny", "width": 16, "num_classes": None},
            "loss": {"name": loss, "weight": 1.0, **({"gamma": 2.0} if loss == "focal" else {})},
            "data": {
                "name": "voc", "root": root, "num_workers": self.count, "num_folds": fold and fold[1], "fold": fold[0] if fold else 0,
                "augment": {"horizontal_flip": {"name": "horizontal_flip", "probability": 0.5}},
            },
            "optimizer": {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.999]},
        }  # fmt: skip
        for key, value in settings.items():
            *place, last = key.split("__")
            node: Any = config
            for part in place:
                node = node[part]
            node[last] = value
        (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        report = {"at_tuned": multilabel_report(probabilities, truth, thresholds, classes=classes)}
        history = [
            {"epoch": float(n), "train": {"loss": 1 / n}, "val": {"loss": 2 / n, "macro_ap": 1 - 1 / n, "macro_auc": 0.7, "macro_f1": None}}
            for n in range(1, 4 + seed)
        ]
        Run(path).save_results(
            status=status, error="killed" if status == "interrupted" else None, names={"data": "voc", "loss": loss}, config=config,
            classes=list(classes), thresholds=thresholds.tolist(), data={"root": root, "fingerprint": data},
            test={"loss": 0.4 + skill, **report}, history=history, best={"epoch": 2.0}, wall_seconds=61.0 + seed, peak_memory_mb=900.0,
            parameters={"total": 1000, "trainable": 900}, environment={"command": f"photic train loss.name={loss}"},
        )  # fmt: skip
        order = np.random.default_rng(self.count).permutation(len(names)) if shuffle else range(len(names))
        columns = list(reversed(range(len(classes)))) if shuffle else list(range(len(classes)))
        if shuffle:
            Run(path).save_results(classes=[classes[c] for c in columns], thresholds=thresholds[columns].tolist())
        (path / "predictions").mkdir()
        with (path / "predictions" / "test.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["file", *(f"label:{classes[c]}" for c in columns), *(f"probability:{classes[c]}" for c in columns)])
            writer.writerows([names[i], *truth[i, columns], *probabilities[i, columns]] for i in order)
        return path

    @staticmethod
    def _label(name: str, label: str, swap: Sequence[str]) -> int:
        present = np.random.default_rng([int(name[1:3]), sum(map(ord, label))]).random() < 0.4
        return int(present != (name in swap))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "runs")


def rows_of(run: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read names, labels and probabilities of a run's test table, plainly."""
    with (run / "predictions" / "test.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    labels = np.array([[int(row[f"label:{name}"]) for name in CLASSES] for row in rows])
    return [row["file"] for row in rows], labels, np.array([[float(row[f"probability:{name}"]) for name in CLASSES] for row in rows])


def thresholds_of(run: Path) -> np.ndarray:
    results = Run(run).results
    return np.array([dict(zip(results["classes"], results["thresholds"], strict=True))[name] for name in CLASSES])


def notes(result: CompareResult) -> str:
    return "\n".join(result.comparison.notes)


# --- what can be compared ----------------------------------------------------------------------------


def test_fewer_than_two_runs_are_refused(shelf: Shelf) -> None:
    run = shelf.run()
    for given in ([], [run], [run, run], [run, run / "config.yaml"], run.parent):
        with pytest.raises(DataError, match="expected two finished runs or more, got [01]"):
            compare(given)


def test_what_does_not_exist_is_refused_by_name(shelf: Shelf) -> None:
    with pytest.raises(DataError, match=r"steel/typo: does not exist"):
        compare([shelf.run(), shelf.root / "steel" / "typo"])


def test_unfinished_runs_are_left_out_and_named(shelf: Shelf) -> None:
    finished = [shelf.run(seed=seed) for seed in (0, 1)]
    stopped = shelf.run(seed=2, status="interrupted")
    result = compare(shelf.root, page=False)
    assert [run.path for run in result.comparison.runs] == finished
    assert list(result.left_out) == [stopped]
    assert f"photic train --resume {stopped}" in result.table()
    with pytest.raises(DataError, match=rf"got 1:\n.*{stopped.name}: not finished \(interrupted: killed\)"):
        compare([finished[0], stopped])


def test_a_run_without_a_test_split_is_left_out(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed) for seed in (0, 1, 2)]
    Run(runs[1]).save_results(test=None)
    assert "no test split" in compare(runs, page=False).left_out[runs[1]]


def test_folders_and_patterns_stand_for_their_runs_in_the_order_given(shelf: Shelf) -> None:
    first, second = shelf.run(experiment="b"), shelf.run(experiment="b", seed=1)
    third = shelf.run(experiment="a", seed=2)
    found = [run.path for run in compare([shelf.root / "b", str(shelf.root / "*")], page=False).comparison.runs]
    assert found == [first, second, third]
    assert [run.path for run in compare([third, first], page=False).comparison.runs] == [third, first]


def test_the_page_of_the_last_time_is_no_run_and_not_worth_a_word(shelf: Shelf) -> None:
    shelf.run(), shelf.run(seed=1)
    folder = shelf.root / "steel"
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    for _ in range(2):
        result = compare(sorted(folder.iterdir()), json=folder / "all.json")
        assert result.left_out == {folder / "notes.txt": "not a run"}


def test_a_damaged_table_of_predictions_is_refused(shelf: Shelf) -> None:
    runs = [shelf.run(), shelf.run(seed=1)]
    table = runs[1] / "predictions" / "test.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, lines[-1]]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="a picture has two rows"):
        compare(runs)
    table.unlink()
    with pytest.raises(DataError, match=r"test\.csv: missing"):
        compare(runs)


# --- groups ------------------------------------------------------------------------------------------


def test_runs_that_differ_only_in_their_seed_form_a_group_with_mean_and_sample_deviation(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed, loss=loss) for seed in (0, 1, 2) for loss in ("bce_with_logits", "focal")]
    found = compare(runs, page=False).comparison
    assert [(group.label, [run.key[0] for run in group.runs]) for group in found.groups] == [
        ("loss=bce_with_logits", [0, 1, 2]), ("loss=focal", [0, 1, 2]),
    ]  # fmt: skip
    values = []
    for run in runs[1::2]:
        _, labels, probabilities = rows_of(run)
        values.append(sk.average_precision_score(labels, probabilities, average="macro"))
    spread = found.groups[1].spread("macro_ap")
    assert (spread.mean, spread.deviation, spread.count) == pytest.approx((np.mean(values), statistics.stdev(values), 3))
    assert f"{np.mean(values):.4f} ± {statistics.stdev(values):.4f}" in compare(runs, page=False).table()


def test_only_settings_that_differ_are_shown_and_nothing_incidental(shelf: Shelf) -> None:
    first = shelf.run(experiment="a", label=None)
    second = shelf.run(experiment="b", loss="focal", optimizer__lr=2e-3, label="mine", data__augment={}, model__num_classes=3)
    found = compare([first, second], page=False).comparison
    augment = ["data.augment.horizontal_flip.name", "data.augment.horizontal_flip.probability"]
    assert found.settings == ["loss.name", *augment, "optimizer.lr", "loss.gamma"]
    assert "loss.gamma" not in found.groups[0].settings and found.groups[1].settings["loss.gamma"] == 2.0


def test_the_same_data_in_another_folder_are_the_same_and_changed_data_are_not(shelf: Shelf) -> None:
    same = compare([shelf.run(), shelf.run(seed=1, root="/elsewhere", data__root="/elsewhere")], page=False).comparison
    assert len(same.groups) == 1
    other = compare([shelf.run(), shelf.run(seed=1, root="/elsewhere", data="xyz")], page=False).comparison
    assert other.settings == ["data.root", "data.fingerprint"]
    assert [group.label for group in other.groups] == ["data.root=/data", "data.root=/elsewhere"]


def test_labels_are_the_shortest_words_that_tell_groups_apart(shelf: Shelf) -> None:
    def labels(*settings: dict[str, Any]) -> list[str]:
        return [group.label for group in compare([shelf.run(**one) for one in settings], page=False).comparison.groups]

    many = {"model__width": 8, "optimizer__lr": 0.1, "optimizer__betas": [0.5, 0.9], "loss__weight": 2.0}
    assert labels({}, {"loss": "focal"}, {"loss": "focal", "loss__gamma": 3.0}) == [
        "loss=bce_with_logits", "loss=focal, loss.gamma=2.0", "loss=focal, loss.gamma=3.0",
    ]  # fmt: skip
    assert labels({}, {"optimizer__lr": 0.1, "model__width": 8}) == [
        "model.width=16, optimizer.lr=0.001",
        "model.width=8, optimizer.lr=0.1",
    ]
    assert labels({}, many) == ["model.width=16", "model.width=8"]
    assert labels({"label": "base"}, {"label": "wide", **many}) == ["base", "wide"]
    assert labels({}, {"model__extra": 1}) == ["no model.extra", "model.extra=1"]


def test_a_repeat_of_a_seed_is_shown_apart_since_it_says_nothing_about_spread(shelf: Shelf) -> None:
    runs = [shelf.run(), shelf.run(), shelf.run(seed=1)]
    result = compare(runs, page=False)
    assert [len(group.runs) for group in result.comparison.groups] == [2, 1]
    assert [group.label for group in result.comparison.groups] == [runs[0].name, runs[1].name]
    assert f"{runs[1].name} repeats steel/{runs[0].name}" in notes(result)
    assert len(result.comparison.differences[0].pairs) == 1


def test_times_of_different_machines_are_marked_as_such(shelf: Shelf) -> None:
    runs = [shelf.run(), shelf.run(seed=1)]
    assert "times" not in notes(compare(runs, page=False))
    Run(runs[1]).save_results(environment={"cpu_threads": 8})
    assert "their times cannot be compared" in notes(compare(runs, page=False))


def test_losses_are_side_by_side_only_where_they_are_the_same_loss(shelf: Shelf) -> None:
    bce, wide, focal = shelf.run(), shelf.run(model__width=8), shelf.run(loss="focal")
    assert "loss" in compare([bce, wide], page=False).comparison.metrics
    assert "loss" not in compare([bce, focal], page=False).comparison.metrics


def test_folds_of_one_cross_validation_are_a_group_and_their_predictions_are_pooled(shelf: Shelf) -> None:
    folds = [shelf.run(fold=(fold, 3), test=range(30 * fold, 30 * fold + 30), loss=loss) for loss in ("focal", "bce") for fold in range(3)]
    result = compare(folds, page=False)
    first = result.comparison.groups[0]
    assert [run.member for run in first.runs] == ["seed 0, fold 0", "seed 0, fold 1", "seed 0, fold 2"]
    tables = [rows_of(run) for run in folds[:3]]
    labels, probabilities = (np.concatenate([table[part] for table in tables]) for part in (1, 2))
    called = np.concatenate([table[2] >= thresholds_of(run) for table, run in zip(tables, folds, strict=False)])
    assert first.pooled["macro_ap"].mean == pytest.approx(sk.average_precision_score(labels, probabilities, average="macro"))
    assert first.pooled["macro_auc"].mean == pytest.approx(sk.roc_auc_score(labels, probabilities, average="macro"))
    assert first.pooled["macro_f1"].mean == pytest.approx(sk.f1_score(labels, called, average="macro"))
    assert first.pooled["micro_f1"].mean == pytest.approx(sk.f1_score(labels, called, average="micro"))
    assert "folds pooled" in result.table()
    difference = result.comparison.differences[0]
    assert [(pair.first.key, pair.second.key) for pair in difference.pairs] == [((0, fold), (0, fold)) for fold in range(3)]
    assert difference.num_samples == 90


def test_without_all_folds_nothing_is_pooled_and_the_missing_one_is_named(shelf: Shelf) -> None:
    result = compare([shelf.run(fold=(fold, 3), test=range(30 * fold, 30 * fold + 30)) for fold in (0, 2)], page=False)
    assert result.comparison.groups[0].pooled == {}
    assert "fold 1 of 3 missing" in notes(result)


# --- differences -------------------------------------------------------------------------------------


def plain_ap(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Average precision from its definition: mean over positives of the precision among those at least as probable."""
    return float(np.mean([labels[probabilities >= limit].mean() for limit in probabilities[labels == 1]]))


def test_differences_and_intervals_are_those_of_a_slow_loop_over_the_tables(shelf: Shelf) -> None:
    # Seeds 0 and 1 share ten of their thirty test pictures.
    tests = {0: range(30), 1: range(20, 50)}
    runs = [
        shelf.run(seed=seed, test=test, loss=loss, skill=skill)
        for seed, test in tests.items()
        for loss, skill in (("bce", 0.1), ("focal", 0.4))
    ]
    difference = compare(runs, page=False).comparison.differences[0]
    tables, limits = {run: rows_of(run) for run in runs}, {run: thresholds_of(run) for run in runs}

    def statistics_of(run: Path, drawn: Sequence[str]) -> list[float]:
        names, labels, probabilities = tables[run]
        rows = [names.index(name) for name in drawn if name in names]
        y, p = labels[rows], probabilities[rows]
        assert y.any(axis=0).all()
        called = p >= limits[run]
        f1 = 2 * (y & called).sum(axis=0) / (y.sum(axis=0) + called.sum(axis=0))
        each = [plain_ap(y[:, c], p[:, c]) for c in range(3)]
        return [float(np.mean(each)), float(np.mean(f1)), *each]

    union = list(dict.fromkeys(name for run in runs[::2] for name in tables[run][0]))
    assert difference.num_samples == len(union) == 50

    def mean_of_pairs(drawn: Sequence[str]) -> np.ndarray:
        return np.mean([np.subtract(statistics_of(b, drawn), statistics_of(a, drawn)) for a, b in (runs[:2], runs[2:])], axis=0)

    names = ["macro_ap", "macro_f1", *(f"ap/{name}" for name in CLASSES)]
    assert list(difference.values) == names
    assert [difference.values[name]["value"] for name in names] == pytest.approx(mean_of_pairs(union))
    draws = numpy_generator(0, "bootstrap").integers(50, size=(1000, 50))
    samples = np.array([mean_of_pairs([union[i] for i in draw]) for draw in draws])
    for i, name in enumerate(names):
        entry = difference.values[name]
        assert (entry["low"], entry["high"]) == pytest.approx(tuple(np.quantile(samples[:, i], [0.025, 0.975])), abs=1e-9)
        assert entry["share_above_zero"] == pytest.approx((samples[:, i] > 0).mean() + (samples[:, i] == 0).mean() / 2, abs=2e-3)
    assert difference.values["macro_ap"]["low"] > 0
    assert difference.num_better("macro_ap") == 2
    one = photic.metrics.paired_bootstrap(
        rows_of(runs[0])[2], rows_of(runs[1])[2], rows_of(runs[0])[1],
        first_thresholds=thresholds_of(runs[0]), second_thresholds=thresholds_of(runs[1]), classes=CLASSES,
    )  # fmt: skip
    assert difference.pairs[0].values == one


def test_the_order_of_rows_and_classes_does_not_matter(shelf: Shelf) -> None:
    first, second = shelf.run(), shelf.run(loss="focal", shuffle=True)
    difference = compare([first, second], page=False).comparison.differences[0]
    reports = [Run(run).results["test"]["at_tuned"] for run in (first, second)]
    assert difference.values["macro_ap"]["value"] == pytest.approx(reports[1]["macro"]["ap"] - reports[0]["macro"]["ap"])
    assert difference.values["macro_f1"]["value"] == pytest.approx(reports[1]["macro"]["f1"] - reports[0]["macro"]["f1"])
    for name in CLASSES:
        expected = reports[1]["per_class"][name]["ap"] - reports[0]["per_class"][name]["ap"]
        assert difference.values[f"ap/{name}"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"test": range(5, 35)}, r"tested on other pictures \(30 and 30, 25 in common\)"),
        ({"classes": ("pits", "patches")}, r"the classes differ \(pits, patches, scratches and pits, patches\)"),
        ({"swap": ("p03.png", "p07.png")}, r"the labels of 2 test pictures have changed, such as those of p03\.png"),
        ({"root": None, "data": "xyz"}, "their data were generated differently"),
    ],
)
def test_runs_that_cannot_be_paired_get_no_difference_but_a_reason(shelf: Shelf, other: dict[str, Any], reason: str) -> None:
    first = shelf.run(test=range(30), root=other.get("root", "/data"))
    result = compare([first, shelf.run(**{"test": range(30), "loss": "focal", **other})], shelf.root / "page.html")
    assert result.comparison.differences == []
    assert re.search(rf"no paired difference from loss=bce_with_logits, since .*{reason}", notes(result))
    assert "on the same test pictures\n" not in result.table()


def test_pictures_of_the_same_name_and_labels_in_changed_data_are_paired_with_a_remark(shelf: Shelf) -> None:
    result = compare([shelf.run(), shelf.run(loss="focal", data="xyz")], page=False)
    assert len(result.comparison.differences) == 1
    assert "taken to be the same" in notes(result)


def test_seeds_without_partner_are_paired_where_the_test_pictures_are_the_same(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed, loss=loss, test=range(30)) for seed, loss in ((0, "bce"), (1, "bce"), (1, "focal"), (5, "focal"))]
    result = compare(runs, page=False)
    pairs = result.comparison.differences[0].pairs
    assert [(pair.first.key[0], pair.second.key[0]) for pair in pairs] == [(1, 1), (0, 5)]
    assert "seed 5 against seed 0" in result.table()
    alone = compare([runs[0], runs[3]], page=False).comparison
    assert alone.differences[0].pairs[0].second.key == (5, None)


def test_runs_without_partner_are_told(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed, loss=loss) for seed, loss in ((0, "bce"), (1, "bce"), (0, "focal"), (2, "focal"))]
    result = compare(runs, page=False)
    assert [pair.second.key[0] for pair in result.comparison.differences[0].pairs] == [0]
    assert re.search(
        r"loss=focal: held against loss=bce by 1 of its 2 runs with 1 of 2, since they were tested on other pictures", notes(result)
    )


def test_a_class_without_positives_is_undefined_and_told(shelf: Shelf) -> None:
    runs = [
        shelf.run(seed=seed, loss=loss, empty=[2] if seed else (), test=range(30 * seed, 30 * seed + 30))
        for seed in (0, 1)
        for loss in ("bce", "focal")
    ]
    result = compare(runs, shelf.root / "page.html")
    spread = result.comparison.groups[0].spread("ap/scratches")
    assert spread.count == 1 and math.isfinite(spread.mean) and math.isnan(spread.deviation)
    assert "class 'scratches': no positive sample in the test split, in loss=bce, seed 1 and loss=focal, seed 1" in notes(result)
    difference = result.comparison.differences[0]
    assert math.isnan(difference.pairs[1].values["ap/scratches"]["value"])
    assert difference.values["ap/scratches"]["value"] == pytest.approx(difference.pairs[0].values["ap/scratches"]["value"])
    never = compare([shelf.run(empty=[0, 1, 2]), shelf.run(empty=[0, 1, 2], loss="focal")], shelf.root / "page.html")
    assert "n/a" in never.table() and "there is nothing to rank" in (never.report or Path()).read_text(encoding="utf-8")


# --- what is written ---------------------------------------------------------------------------------


def test_the_json_holds_everything_and_no_number_that_json_lacks(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed, loss=loss, empty=[1]) for seed in (0, 1) for loss in ("bce", "focal")]
    result = compare(runs, page=False, json=shelf.root / "out" / "all.json")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    content = json.loads((shelf.root / "out" / "all.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content == result.to_dict()
    group = content["groups"][1]
    assert group["label"] == "loss=focal" and [run["path"] for run in group["runs"]] == [str(runs[1]), str(runs[3])]
    assert group["runs"][0]["values"]["macro_ap"] == pytest.approx(Run(runs[1]).results["test"]["at_tuned"]["macro"]["ap"])
    assert group["values"]["ap/patches"] == {"mean": None, "deviation": None, "count": 0}
    assert content["differences"][0]["values"]["macro_ap"].keys() == {"value", "low", "high", "num_valid", "share_above_zero"}
    assert content["differing_settings"] == ["loss.name", "loss.gamma"]


def test_the_page_lies_in_the_folder_that_the_runs_share(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = shelf.run(), shelf.run(seed=1), shelf.run(experiment="other", seed=2)
    assert compare([a, b]).report == shelf.root / "steel" / "comparison.html"
    assert compare([a, c]).report == shelf.root / "comparison.html"
    monkeypatch.chdir(a.parent)
    assert compare([a.name, b.name]).report == Path("comparison.html")
    far = Shelf(shelf.root.parent / "far").run(seed=5)
    monkeypatch.chdir(shelf.root.parent)
    assert compare([a, far]).report == Path("comparison.html")
    assert (shelf.root.parent / "comparison.html").is_file()


def test_the_page_is_one_file_that_links_the_reports_of_the_runs(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed, loss=loss, classes=("a <b>", "c & d", "e")) for seed in (0, 1) for loss in ("bce", "focal")]
    (runs[0] / "report.html").write_text("a page", encoding="utf-8")
    page = compare(runs, shelf.root / "pages" / "new.html").report
    assert page is not None
    text = page.read_text(encoding="utf-8")
    sections = re.findall(r"<h2>(.*?)</h2>", text)
    assert sections == ["Values", "Differences", "Training", "Precision over recall", "Settings that differ", "Runs", "Go on"]
    links = [link for link in re.findall(r'href="([^"#]*)"', text) if link]
    assert links == [f"../steel/{runs[0].name}/report.html"] and (page.parent / links[0]).is_file()
    assert not re.search(r'src="(?!data:)|<script|url\((?!#)|https?://(?!www\.w3\.org)', text)
    assert "a <b>" not in text and "a &lt;b&gt;" in text
    difference = compare(runs, page=False).comparison.differences[0].values["macro_ap"]
    assert f"{difference['low']:+.4f} to {difference['high']:+.4f}".replace("-", "−") in text
    assert text.count("<svg") == 2 + 4 + 3  # differences, curves (no validation F1 was kept), classes


def test_pages_of_one_group_of_twins_and_of_many_groups_can_be_written(shelf: Shelf) -> None:
    seeds = compare([shelf.run(seed=seed) for seed in (0, 1)], shelf.root / "seeds.html").report
    assert "2 runs that differ only in their seed" in (seeds or Path()).read_text(encoding="utf-8")
    twins = compare([shelf.run(), shelf.run()], shelf.root / "twins.html").report
    assert "None: these runs are repeats" in (twins or Path()).read_text(encoding="utf-8")
    many = compare([shelf.run(model__width=width) for width in range(1, 9)], shelf.root / "many.html").report
    assert 'class="dashed"' in (many or Path()).read_text(encoding="utf-8")


def test_the_verdict_says_whether_the_pictures_can_tell_the_best_from_the_first(shelf: Shelf) -> None:
    weak, strong, equal = (shelf.run(test=range(90), skill=skill, model__width=width) for width, skill in ((1, 0.02), (2, 0.5), (3, 0.03)))

    def verdict(*runs: Path) -> str:
        page = compare(runs, shelf.root / "page.html").report or Path()
        return (re.search(r'class="verdict">(.*?)</p>', page.read_text(encoding="utf-8")) or [""])[1]

    assert re.match(r"model.width=2 has the highest macro AP, .*, more than the choice of pictures explains\.", verdict(weak, strong))
    assert re.match(r"model.width=2 has the highest.* Next is model.width=1; .*−.*, more than the choice", verdict(strong, weak))
    assert "no more than the choice of pictures explains" in verdict(weak, equal)


def test_the_command_prints_the_table_and_where_page_and_json_lie(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(shelf.run(seed=seed, loss=loss)) for seed in (0, 1) for loss in ("bce", "focal")]
    page, machine = shelf.root / "p.html", shelf.root / "m.json"
    assert main(["compare", *runs, "-o", str(page), "--json", str(machine)]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{compare(runs, page=False).table()}\n\nwritten to {page}\nwritten to {machine}\n"
    assert page.is_file() and machine.is_file()
    assert main(["compare", runs[0]]) == 2
    assert "photic: error: compare: expected two finished runs or more, got 1" in capsys.readouterr().err


def test_trained_runs_compare_with_the_values_in_their_results(
    small_config: Callable[..., Any], finished_run: Path, tmp_path: Path
) -> None:
    focal = photic.train(small_config({"output_dir": str(tmp_path), "loss.name": "focal"}), quiet=True, page=False).run
    result = photic.compare([finished_run, focal], tmp_path / "page.html")
    assert result.report == tmp_path / "page.html" and result.report.is_file()
    assert [group.label for group in result.comparison.groups] == ["loss=bce_with_logits", "loss=focal"]
    tests = [Run(run).results["test"]["at_tuned"] for run in (finished_run, focal)]
    for group, test in zip(result.comparison.groups, tests, strict=True):
        assert group.spread("macro_ap").mean == test["macro"]["ap"]
    entry = result.comparison.differences[0].values["macro_ap"]
    assert entry["value"] == pytest.approx(tests[1]["macro"]["ap"] - tests[0]["macro"]["ap"], abs=1e-4)
