"""Comparison of runs whose task says what its table holds: on written runs whose numbers are known, and on trained ones."""

from __future__ import annotations

import csv
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import photic
from photic.core.errors import DataError
from photic.metrics.columns import ColumnValue
from photic.metrics.comparison import ComparisonSpec
from photic.tracking.run import Run
from photic.workflows.compare import CompareResult, compare

PSNR = ColumnValue(name="psnr", label="PSNR", higher_is_better=True, column="psnr")
ERROR = ColumnValue(name="error", label="error", higher_is_better=False, column="error", weight="light")
SPEC = ComparisonSpec(
    kind="denoising", samples="photographs", values=(ERROR, PSNR), caution="Few lamps.", predict="DARK.raw -o bright/"
).to_dict()
TINY = {
    "data.size_px": 16, "data.num_samples": 60, "data.probe_diameter_px": 8.0, "model.width_factor": 0.125,
    "training.num_epochs": 2, "training.preview_every_validations": None,
}  # fmt: skip


class Shelf:
    """A folder that runs are written into as training leaves them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def run(
        self,
        *,
        seed: int = 0,
        loss: str = "mae",
        error: float = 0.2,
        spec: dict[str, Any] | None = SPEC,
        splits: Sequence[str] = ("val", "test"),
        test: Sequence[int] = range(20),
        fold: tuple[int, int] | None = None,
        shuffle: bool = False,
        light: float = 1.0,
        cells: dict[int, str] | None = None,
        width: int = 16,
        data: str = "abc",
    ) -> Path:
        """Write one run.

        Args:
            seed: of the run.
            loss: its name.
            error: about how large the errors are.
            spec: what the results say about the table.
            splits: those with a table.
            test: numbers of the samples.
            fold: number of the fold and of all folds.
            shuffle: whether the rows have another order.
            light: factor on the weights.
            cells: PSNR by row, as text.
            width: of the network.
            data: fingerprint.
        """
        self.count += 1
        path = self.root / "dark" / f"2026-{self.count:03d}-{loss}"
        (path / "checkpoints").mkdir(parents=True)
        (path / "predictions").mkdir()
        config = {
            "recipe": "dark", "experiment": "dark", "label": None, "seed": seed, "output_dir": str(self.root),
            "model": {"name": "unet", "width": width}, "loss": {"name": loss}, "training": {"monitor": "ssim", "monitor_mode": "max"},
            "data": {"name": "raw", "root": "/data", "num_folds": fold and fold[1], "fold": fold[0] if fold else 0},
        }  # fmt: skip
        (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        history = [
            {"epoch": float(n), "train": {"loss": 1 / n}, "val": {"loss": 2 / n, "error": 1 / n, "psnr": 20.0 + n, "ssim": 1 - 1 / n}}
            for n in (1, 2, 3)
        ]
        Run(path).save_results(
            status="completed", names={"task": "denoising", "data": "raw", "loss": loss}, config=config, classes=[],
            data={"root": "/data", "fingerprint": data}, history=history, best={"epoch": 2.0, "val": {"loss": 1.0}, "monitor": "ssim"},
            comparison=spec, wall_seconds=60.0, peak_memory_mb=900.0, parameters={"total": 10, "trainable": 9},
            **({"test": {"loss": error / 2}} if "test" in splits else {}),
        )  # fmt: skip
        generator = np.random.default_rng([seed, self.count])
        rows = [
            [f"d{i:02d}.raw", f"{generator.normal(30, 2):.6g}", f"{error + generator.normal(0, 0.02):.6g}", f"{light * (10 + i % 7):.6g}"]
            for i in test
        ]
        for row, cell in (cells or {}).items():
            rows[row][1] = cell
        if shuffle:
            rows = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
        for split in splits:
            with (path / "predictions" / f"{split}.csv").open("w", newline="", encoding="utf-8") as handle:
                writer = csv.writer(handle)
                writer.writerows([["file", "psnr", "error", "light"], *rows])
        return path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "runs")


def sums(run: Path, split: str = "test") -> tuple[float, float]:
    """Return error and PSNR of a run's table, plainly."""
    with (run / "predictions" / f"{split}.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    weights = sum(float(row["light"]) for row in rows)
    return sum(float(row["error"]) * float(row["light"]) for row in rows) / weights, statistics.mean(float(row["psnr"]) for row in rows)


def page_of(result: CompareResult) -> str:
    assert result.report is not None
    return result.report.read_text(encoding="utf-8")


def verdict(result: CompareResult) -> str:
    return (re.search(r'class="verdict">(.*?)</p>', page_of(result)) or [""])[1]


def test_values_are_made_from_the_table_and_grouped_over_seeds(shelf: Shelf) -> None:
    runs = [shelf.run(seed=seed, loss=loss, error=error) for seed in (0, 1, 2) for loss, error in (("mae", 0.2), ("mse", 0.3))]
    result = compare(runs, page=False)
    found = result.comparison
    assert (found.split, found.samples, found.classes, found.metrics) == ("test", "test photographs", [], ["error", "psnr"])
    for group, own in zip(found.groups, (runs[0::2], runs[1::2]), strict=True):
        for i, name in enumerate(("error", "psnr")):
            values = [sums(run)[i] for run in own]
            spread = group.spread(name)
            assert (spread.mean, spread.deviation) == pytest.approx((np.mean(values), statistics.stdev(values)))
    assert "test values (higher is better for PSNR, lower is better for error; mean ± standard deviation over runs)" in result.table()
    assert "below 0 is better for error" in result.table() and "Few lamps." in result.table()
    assert "average precision" not in result.table()
    assert found.differences[0].values["error"]["value"] == pytest.approx(
        np.mean([sums(b)[0] - sums(a)[0] for a, b in zip(runs[0::2], runs[1::2], strict=True)])
    )


def test_the_lower_error_is_the_better_one(shelf: Shelf) -> None:
    good, bad = shelf.run(error=0.2), shelf.run(error=0.3, width=8)
    first = compare([good, bad], shelf.root / "page.html")
    assert first.comparison.best is first.comparison.groups[0]
    assert re.match(
        r"model.width=16 has the lowest error, 0\.\d+\. Next is model.width=8; on the same photographs \+0\.\d+ against.*more than the "
        r"choice of photographs explains\.",
        verdict(first),
    )
    assert first.comparison.differences[0].num_better("error") == 0
    turned = compare([bad, good], shelf.root / "page.html")
    assert re.match(r"model.width=16 has the lowest error, .*; on the same photographs −0\.", verdict(turned))
    assert turned.comparison.differences[0].num_better("error") == 1
    text = page_of(turned)
    assert "left of 0 is better" in text and "right of 0 is better" in text
    assert re.search(r"<th[^>]*>.*?below 0.*?</th>", text, re.DOTALL) and ">100 %<" in text
    assert good.name in (re.search(r"predict (\S+) DARK\.raw -o bright/", text) or [""])[0], "the better one is offered"


def test_the_page_has_curves_of_losses_values_and_what_was_monitored_and_nothing_of_classes(shelf: Shelf) -> None:
    result = compare([shelf.run(), shelf.run(seed=1), shelf.run(width=8)], shelf.root / "page.html")
    text = page_of(result)
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Values", "Differences", "Training", "Settings that differ", "Runs", "Go on"]
    for title in ("Training loss", "Validation loss", "Validation error", "Validation PSNR", "Validation ssim"):
        assert f">{title}<" in text
    assert not re.search("recall|average precision|F1|pictures", text.partition("<main")[2])
    assert "loss" in result.comparison.metrics and not result.comparison.ranking.higher_is_better


def test_losses_far_apart_get_charts_of_their_own(shelf: Shelf) -> None:
    mae, poisson = shelf.run(), shelf.run(loss="poisson")
    history = Run(poisson).results["history"]
    for entry in history:
        entry["train"]["loss"] -= 7
    Run(poisson).save_results(history=history)
    result = compare([mae, poisson], shelf.root / "page.html")
    assert "loss" not in result.comparison.metrics
    for title in ("Training loss (mae)", "Training loss (poisson)", "Validation loss (poisson)"):
        assert f">{title}<" in page_of(result)
    assert "Training loss (mae)" not in page_of(compare([mae, shelf.run(loss="mse")], shelf.root / "page.html"))


def test_the_order_of_rows_does_not_matter(shelf: Shelf) -> None:
    first, second = shelf.run(), shelf.run(width=8, shuffle=True)
    difference = compare([first, second], page=False).comparison.differences[0]
    assert difference.values["psnr"]["value"] == pytest.approx(sums(second)[1] - sums(first)[1])
    straight = Shelf(shelf.root / "again")
    other = compare([straight.run(), straight.run(width=8)], page=False).comparison.differences[0]
    assert difference.values["error"]["value"] == pytest.approx(other.values["error"]["value"])


def test_other_samples_are_not_paired_even_under_the_same_names(shelf: Shelf) -> None:
    first = shelf.run()
    other = compare([first, shelf.run(width=8, test=range(5, 25))], page=False)
    assert other.comparison.differences == []
    assert "since they were tested on other photographs (20 and 20, 15 in common)" in other.table()
    brighter = compare([first, shelf.run(width=8, light=2.0)], page=False)
    assert brighter.comparison.differences == []
    assert "20 of 20 photographs have another light, such as d00.raw (10 and 20)" in brighter.table()
    same = compare([first, shelf.run(width=8, light=1 + 1e-6, data="xyz")], page=False)
    assert len(same.comparison.differences) == 1 and "taken to be the same" in same.table()


def test_samples_without_a_number_are_told(shelf: Shelf) -> None:
    result = compare([shelf.run(cells={0: "", 3: "inf"}), shelf.run(width=8)], page=False)
    assert "PSNR: no finite number for 2 of 20 photographs in the test split, in model.width=16, seed 0" in result.table()
    with pytest.raises(DataError, match=r"test\.csv: row 4, column 'psnr': expected a number or nothing, got 'bad'"):
        compare([shelf.run(cells={2: "bad"}), shelf.run(width=8)], page=False)


def test_damaged_tables_are_refused(shelf: Shelf) -> None:
    first, second = shelf.run(), shelf.run(width=8)
    table = second / "predictions" / "test.csv"
    whole = table.read_text(encoding="utf-8")
    for text, message in (
        (whole.replace("light", "dark"), "expected rows with the sample's name, error, light, psnr"),
        (whole + whole.splitlines()[-1] + "\n", "a sample has two rows"),
        (whole[:-4], "expected a number|damaged|expected rows"),
        ("", "expected rows with"),
    ):
        table.write_text(text if text != whole[:-4] else whole.rstrip().rpartition(",")[0] + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=message):
            compare([first, second], page=False)
    table.unlink()
    with pytest.raises(DataError, match=r"test\.csv: missing; write it again: photic train --resume"):
        compare([first, second], page=False)


def test_folds_are_pooled_over_their_rows(shelf: Shelf) -> None:
    folds = [shelf.run(fold=(fold, 2), test=range(20 * fold, 20 * fold + 10 * (fold + 1))) for fold in range(2)]
    result = compare(folds, shelf.root / "page.html")
    (_, first), (_, second) = (sums(fold) for fold in folds)
    assert result.comparison.groups[0].pooled["psnr"].mean == pytest.approx((10 * first + 20 * second) / 30)
    assert "folds pooled" in result.table() and "each sample once" in page_of(result)


def test_without_any_test_split_validation_is_compared_and_said(shelf: Shelf) -> None:
    runs = [shelf.run(splits=["val"]), shelf.run(splits=["val"], width=8)]
    result = compare(runs, shelf.root / "page.html", json=shelf.root / "all.json")
    assert result.comparison.split == "validation"
    group = result.comparison.groups[0]
    assert (group.spread("error").mean, group.spread("loss").mean) == pytest.approx((sums(runs[0], "val")[0], 1.0))
    assert "no run has a test split: all values are of the validation split" in result.table()
    assert result.table().startswith("validation values (") and "on the same validation photographs\n" in result.table()
    text = page_of(result)
    assert "no run has a test split" in text and not re.search("test (photographs|values)", text)
    assert json.loads((shelf.root / "all.json").read_text())["split"] == "validation"


def test_where_one_run_has_a_test_split_those_without_are_left_out(shelf: Shelf) -> None:
    runs = [shelf.run(splits=["val"]), shelf.run(seed=1), shelf.run(seed=2)]
    result = compare(runs, page=False)
    assert [run.path for run in result.comparison.runs] == runs[1:]
    assert "no test split" in result.left_out[runs[0]]


def test_runs_of_another_kind_are_left_out_by_name(shelf: Shelf) -> None:
    runs = [shelf.run(), shelf.run(seed=1), shelf.run(spec={**SPEC, "kind": "deblurring"})]
    assert re.search(r"left out, of another kind \(deblurring\) than \S+ \(denoising\)", compare(runs, page=False).table())
    with pytest.raises(DataError, match=r"got 1:\n.*of another kind \(deblurring\)"):
        compare([runs[0], runs[2]])


def test_runs_that_say_nothing_about_their_table_are_left_out_with_what_to_do(shelf: Shelf) -> None:
    runs = [shelf.run(), shelf.run(seed=1), shelf.run(spec=None), shelf.run()]
    old = Run(runs[3])
    content = {key: value for key, value in old.results.items() if key != "comparison"}
    (old.path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    left_out = compare(runs, page=False).left_out
    assert left_out[runs[2]] == "its task 'denoising' does not say what of its table is compared (Task.comparison)"
    assert f"photic train --resume {runs[3]}" in left_out[runs[3]]


def test_runs_of_two_versions_are_compared_by_what_both_have(shelf: Shelf) -> None:
    older = {**SPEC, "values": SPEC["values"][1:]}
    result = compare([shelf.run(), shelf.run(seed=1, spec=older)], page=False)
    assert [value.name for value in result.comparison.measure.paired] == ["psnr"]
    assert "error: left out, since not all runs have it" in result.table()
    other = {**SPEC, "values": [{**SPEC["values"][0], "column": "psnr"}]}
    with pytest.raises(DataError, match="no value in common that is made in the same way"):
        compare([shelf.run(), shelf.run(seed=1, spec=other)])


# --- trained runs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two tiny reconstructions of the same generated scan."""
    settings = {**TINY, "output_dir": str(tmp_path_factory.mktemp("scans"))}
    configs = [photic.recipe("quick_ptycho", {**settings, "loss.name": name}) for name in ("amplitude_mae", "poisson_nll")]
    return [photic.train(config, quiet=True, page=False).run for config in configs]


def test_trained_reconstructions_compare_with_the_values_in_their_results(scans: list[Path], tmp_path: Path) -> None:
    result = photic.compare(scans, tmp_path / "page.html", json=tmp_path / "all.json")
    assert [group.label for group in result.comparison.groups] == ["loss=amplitude_mae", "loss=poisson_nll"]
    tests = [Run(run).results["test"] for run in scans]
    for group, test in zip(result.comparison.groups, tests, strict=True):
        assert group.spread("r_amp").mean == pytest.approx(test["r_amp"], rel=1e-5)
    entry = result.comparison.differences[0].values["r_amp"]
    assert entry["value"] == pytest.approx(tests[1]["r_amp"] - tests[0]["r_amp"], abs=1e-5)
    assert entry["low"] <= entry["value"] <= entry["high"]
    text = page_of(result)
    assert "lowest R_amp" in verdict(result) and ">Validation R_amp<" in text
    assert "predict" in text and "SCAN.npz" in text
    assert json.loads((tmp_path / "all.json").read_text())["values"] == [{"name": "r_amp", "label": "R_amp", "higher_is_better": False}]


def test_a_classification_beside_reconstructions_is_left_out(scans: list[Path], finished_run: Path) -> None:
    result = compare([*scans, finished_run], page=False)
    assert re.match(r"of another kind \(classification\) than .* \(ptychography\)", result.left_out[finished_run])
    with pytest.raises(DataError, match=r"of another kind \(ptychography\) than"):
        compare([finished_run, *scans])


def test_resuming_a_finished_run_of_an_older_version_makes_it_comparable(scans: list[Path]) -> None:
    run = Run(scans[0])
    before = run.results
    (run.path / "results.json").write_text(json.dumps({k: v for k, v in before.items() if k != "comparison"}), encoding="utf-8")
    with pytest.raises(DataError, match="could be compared; add that: photic train --resume"):
        compare(scans)
    photic.resume(run.path, quiet=True, page=False)
    assert run.results["comparison"] == before["comparison"]
    assert run.results["test"] == before["test"]


def test_classifications_without_a_test_split_are_compared_on_validation(small_config: Any, finished_run: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("bce_with_logits", "focal"):
        run = photic.train(small_config({"output_dir": str(tmp_path), "loss.name": name}), quiet=True, page=False).run
        results = {key: value for key, value in Run(run).results.items() if key != "test"}
        (run / "results.json").write_text(json.dumps(results), encoding="utf-8")
        runs.append(run)
    result = compare(runs, tmp_path / "page.html")
    assert "validation values (F1 at the thresholds tuned on these very pictures)" in result.table()
    for run in result.comparison.runs:
        best = run.results["best"]["val"]
        assert run.values["macro_ap"] == pytest.approx(best["macro_ap"], abs=1e-4)
        assert run.values["loss"] == best["loss"]


def test_comparing_imports_neither_torch_nor_the_task(shelf: Shelf) -> None:
    runs = [str(shelf.run()), str(shelf.run(width=8))]
    code = (
        "import sys; from photic.workflows.compare import compare; "
        f"compare({runs!r}, {str(shelf.root / 'page.html')!r}); "
        "print(sorted({'torch', 'lightning', 'photic.tasks'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
