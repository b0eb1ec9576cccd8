"""The report of the defects application, on runs made of their public parts without training."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import photic
from photic.apps.defects.evidence import Predictions, prepare_again, read_predictions
from photic.apps.defects.gallery import choose_exhibits, draw_exhibit
from photic.apps.defects.report import write_report
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import DataError
from photic.core.program import program
from photic.tracking.run import Run, environment

from ...pages import check

NUM_SAMPLES = 120


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as training leaves it, with a network that learnt nothing and predictions that are fairly good."""
    config = photic.recipe(
        "quick_strips",
        {"data.num_samples": NUM_SAMPLES, "data.height": 32, "data.width": 64, "output_dir": str(tmp_path_factory.mktemp("runs"))},
    )
    data = config.data.prepare(config.seed)
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, data)
    run = Run.create(config.to_dict())
    (run.path / "checkpoints").mkdir()
    (run.path / "predictions").mkdir()
    (run.path / "split.json").write_text(json.dumps({phase: list(names) for phase, names in data.names.items()}))
    rng = np.random.default_rng(0)
    reports = {}
    for phase in ("val", "test"):
        labels = data.labels[phase].astype(float)
        probabilities = np.clip(0.15 + 0.55 * labels + rng.normal(0, 0.2, labels.shape), 0.001, 0.999)
        if phase == "val":
            task.calibrate(probabilities, labels)
        reports[phase] = {"loss": 0.3, **task.report(probabilities, labels)}
        header, rows = task.table(data.names[phase], probabilities, labels)
        (run.path / "predictions" / f"{phase}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in [header, *rows]))
    description = {"config": config.to_dict(), **task.description()}
    write_checkpoint(run.checkpoint("best"), Checkpoint(weights=task.state_dict(), description=description))
    values = {"loss": 0.3, "macro_ap": 0.8, "macro_auc": 0.9, "macro_f1": None, **{f"ap/{c}": 0.8 for c in range(4)}}
    history = [{"epoch": e, "step": 6 * e, "lr": 0.001 / e, "train": {"loss": 1 / e}, "val": values, "seconds": e} for e in (1.0, 2.0, 3.0)]
    run.save_results(
        status="completed",
        error=None,
        recipe="quick_strips",
        names={"task": "multilabel_classification", "model": "tiny", "loss": "bce_with_logits", "data": "synthetic_strips"},
        config=config.to_dict(),
        classes=list(data.classes),
        data={
            "root": None,
            "fingerprint": data.fingerprint,
            "counts": {phase: len(names) for phase, names in data.names.items()},
            "split_strategy": "stratified_70_15_15",
            "notes": ["a note about <the> data"],
        },
        loss_state={"alpha": [0.1, 0.2, 0.3, 0.4]},
        environment=environment(),
        parameters={"total": 61204, "trainable": 61204},
        history=history,
        best={**history[-1], "monitor": "macro_ap", "value": 0.8},
        stopped="all steps done",
        thresholds=list(task.thresholds),
        test=reports["test"],
        wall_seconds=61.0,
        peak_memory_mb=512.0,
        finished="2026-01-02T03:04:05+0000",
    )
    return run.path


@pytest.fixture
def altered(finished: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of the run with other results and without some files."""

    def alter(*removed: str, **results: Any) -> Path:
        copy = tmp_path / "experiment" / "run"
        shutil.copytree(finished, copy)
        for name in removed:
            target = copy / name
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        kept = {key: value for key, value in Run(copy).results.items() if key not in results}
        (copy / "results.json").write_text(json.dumps(kept | {key: value for key, value in results.items() if value is not ...}))
        return copy

    return alter


@pytest.fixture(scope="module")
def text(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(finished, tmp_path_factory.mktemp("page") / "page.html").read_text(encoding="utf-8")


def sections(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_the_page_of_a_finished_run_has_every_part(text: str) -> None:
    assert sections(text) == ["Classes", "Curves", "Pictures", "Training", "Data", "Settings and environment", "Next steps"]
    for heading in ("Missed", "False alarms", "Nearest to the threshold", "Found", "Decisions at the tuned thresholds"):
        assert f"<h3>{heading}</h3>" in text
    assert text.count("<svg") == 7
    assert text.count("data:image/jpeg") == text.count("<img") >= 20


def test_the_page_is_written_into_the_run_unless_told_otherwise(finished: Path) -> None:
    assert write_report(finished) == finished / "report.html"
    assert (finished / "report.html").stat().st_size > 50_000


def test_the_page_loads_nothing(text: str) -> None:
    check(text, most_bytes=3_000_000)


def test_the_verdict_and_the_table_say_what_the_results_say(text: str, finished: Path) -> None:
    test = Run(finished).results["test"]
    macro, interval = test["at_tuned"]["macro"], test["intervals"]["macro_f1"]
    verdict = re.search(r'<p class="verdict">(.*?)</p>', text)
    assert verdict is not None
    assert f"Macro-AP {macro['ap']:.3f}" in verdict[1]
    assert f"macro-F1 {macro['f1']:.3f} ({interval['low']:.2f} to {interval['high']:.2f})" in verdict[1]
    row = re.search(r'<th scope="row"[^>]*><span class="dot"[^>]*></span>scratches.*?</tr>', text, re.DOTALL)
    assert row is not None
    for place in ("at_0.5", "at_tuned"):
        for name in ("precision", "recall", "f1"):
            assert f"{test[place]['per_class']['scratches'][name]:.3f}" in row[0]


def test_rare_classes_and_notes_about_the_data_are_pointed_out(text: str) -> None:
    assert re.search(r"Few pictures carry .*inclusions \(\d+\)", text)
    assert "a note about &lt;the&gt; data" in text


def test_commands_are_exact_and_quoted(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = tmp_path / "my runs" / "exp" / "it's"
    shutil.copytree(finished, strange)
    monkeypatch.chdir(tmp_path)
    text = write_report(strange).read_text(encoding="utf-8")
    shown = [re.sub("&#39;", "'", command) for command in re.findall(r"<pre><code>(.*?)</code></pre>", text)]
    shown = [command.replace("&#34;", '"') for command in shown]
    run = """'my runs/exp/it'"'"'s'"""
    assert f"{program()} predict {run} PICTURES -o predictions.csv --maps maps" in shown
    assert f"{program()} evaluate {run}" in shown
    assert f"{program()} train --resume {run} training.num_epochs=16" in shown
    assert f"{program()} compare 'my runs/exp'/*" in shown


def test_a_run_without_test_split_is_shown_on_validation_with_a_warning(altered: Callable[..., Path]) -> None:
    text = write_report(altered("predictions/test.csv", test=...)).read_text(encoding="utf-8")
    assert "There is no test split" in text and "pictures of the validation split" in text
    assert "Pictures" in sections(text)


def test_an_interrupted_run_shows_its_curves_and_how_to_go_on(altered: Callable[..., Path]) -> None:
    run = altered(
        "predictions", status="interrupted", error="stopped by the user or the system", test=..., thresholds=..., wall_seconds=...
    )
    text = write_report(run).read_text(encoding="utf-8")
    assert sections(text) == ["Training", "Data", "Settings and environment", "Next steps"]
    assert "Not tested yet. Best so far on validation: macro_ap 0.800, at epoch 3." in text
    assert f"{program()} train --resume {run}" in text
    assert "not finished (stopped by the user or the system)" in text


def test_a_run_that_failed_before_its_first_validation_still_has_a_page(altered: Callable[..., Path]) -> None:
    gone = dict.fromkeys(("history", "best", "test", "thresholds", "stopped", "wall_seconds", "peak_memory_mb", "finished"), ...)
    run = altered("predictions", "checkpoints/best.safetensors", status="failed", error="TrainingError: loss <nan>", **gone)
    text = write_report(run).read_text(encoding="utf-8")
    assert "No validation yet" in text and "TrainingError: loss &lt;nan&gt;" in text
    assert "photic predict" not in text and "Next steps" in sections(text)


def test_a_run_killed_before_it_wrote_anything_still_has_a_page(altered: Callable[..., Path]) -> None:
    run = altered("predictions", "checkpoints/best.safetensors")
    (run / "results.json").unlink()
    assert "Next steps" in sections(write_report(run).read_text(encoding="utf-8"))


def test_changed_data_leave_the_pictures_out_and_the_page_says_so(altered: Callable[..., Path]) -> None:
    run = altered(data={"fingerprint": "another", "counts": {"test": 18}, "notes": []})
    text = write_report(run).read_text(encoding="utf-8")
    assert "Pictures" not in sections(text) and "<img" not in text
    assert "Pictures and activation maps are left out: the data have changed since the run" in text


def test_a_lost_checkpoint_leaves_the_pictures_out_and_the_page_says_so(altered: Callable[..., Path]) -> None:
    text = write_report(altered("checkpoints/best.safetensors")).read_text(encoding="utf-8")
    assert "Pictures" not in sections(text)
    assert re.search("activation maps are left out: .*no checkpoint", text)


def test_a_damaged_table_of_predictions_is_an_error(altered: Callable[..., Path]) -> None:
    run = altered()
    (run / "predictions" / "test.csv").write_text("file,label:scratches\nx,1\n")
    with pytest.raises(DataError, match=r"test\.csv: expected rows of file, label:scratches"):
        write_report(run)


def test_predictions_are_read_back_as_written(finished: Path) -> None:
    predictions = read_predictions(Run(finished), "test")
    assert predictions is not None
    data = prepare_again(Run(finished))
    assert list(predictions.names) == data.names["test"]
    assert (predictions.labels == data.labels["test"]).all()
    report, saved = predictions.report(), Run(finished).results["test"]
    assert report["at_tuned"]["macro"]["f1"] == pytest.approx(saved["at_tuned"]["macro"]["f1"])


def predictions_of(probabilities: list[list[float]], labels: list[list[int]], thresholds: list[float]) -> Predictions:
    names = tuple(f"p{row}" for row in range(len(labels)))
    return Predictions("test", names, ("a", "b")[: len(thresholds)], np.array(labels) > 0, np.array(probabilities), np.array(thresholds))


def test_margins_measure_the_way_from_the_threshold_to_the_end() -> None:
    margins = predictions_of([[0.0], [0.1], [0.2], [0.6], [1.0]], [[0]] * 5, [0.2]).margins[:, 0]
    assert margins == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert predictions_of([[1.0]], [[1]], [1.0]).margins == pytest.approx(0)


def test_exhibits_are_the_most_wrong_the_least_sure_and_the_surest() -> None:
    probabilities = [[0.1, 0.0], [0.4, 0.0], [0.9, 0.9], [0.6, 0.0], [0.99, 0.1], [0.51, 0.0], [0.0, 0.95]]
    labels = [[1, 0], [1, 0], [0, 0], [0, 0], [1, 0], [1, 0], [0, 1]]
    exhibits = choose_exhibits(predictions_of(probabilities, labels, [0.5, 0.5]), most=3)
    shown = {kind: [(exhibit.row, exhibit.column) for exhibit in found] for kind, found in exhibits.items()}
    assert shown["missed"] == [(0, 0), (1, 0)]
    assert shown["false alarm"] == [(2, 0), (3, 0)]  # picture 2 once, although two classes are wrong
    assert shown["uncertain"][0] == (5, 0)
    assert not {row for row, _ in shown["uncertain"]} & {0, 1, 2, 3}
    assert shown["found"] == [(4, 0), (6, 1), (5, 0)]


def test_perfect_predictions_have_nothing_missed() -> None:
    exhibits = choose_exhibits(predictions_of([[0.9], [0.1]], [[1], [0]], [0.5]))
    assert exhibits["missed"] == exhibits["false alarm"] == []
    assert [exhibit.row for exhibit in exhibits["found"]] == [0]


def test_small_pictures_are_enlarged_and_the_mask_surrounds_the_defect_without_covering_it() -> None:
    image = np.full((32, 200, 3), 90, dtype=np.uint8)
    mask = np.zeros((32, 200), dtype=bool)
    mask[10:12, 50:60] = True
    plain, shown = draw_exhibit(image, np.zeros((32, 200)), mask, "#0072b2")
    assert plain.shape == shown.shape == (160, 1000, 3)
    white = (shown == 255).all(axis=2)
    assert white.any() and not white[50:60, 250:300].any()
    rows, columns = np.nonzero(white)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (46, 63, 246, 303)
    native, _ = draw_exhibit(np.zeros((256, 1600, 3), dtype=np.uint8), np.zeros((256, 1600)), None, "#0072b2")
    assert native.shape == (256, 1600, 3)


@pytest.mark.real
def test_native_strips_and_their_masks_are_shown(real_data: Path, tmp_path: Path) -> None:
    """A run on the real strips: pictures in their own size, masks where train.csv has them."""
    config = photic.recipe(
        "severstal", {"data.root": str(real_data / "defects" / "severstal"), "model.name": "tiny", "output_dir": str(tmp_path)}
    )
    data = config.data.prepare(config.seed)
    task = config.task.build(config.model, config.loss, data)
    run = Run.create(config.to_dict())
    (run.path / "checkpoints").mkdir()
    (run.path / "predictions").mkdir()
    (run.path / "split.json").write_text(json.dumps({phase: list(names) for phase, names in data.names.items()}))
    labels = data.labels["test"].astype(float)
    header, rows = task.table(data.names["test"], np.clip(labels, 0.2, 0.8), labels)
    (run.path / "predictions" / "test.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in [header, *rows]))
    write_checkpoint(
        run.checkpoint("best"), Checkpoint(weights=task.state_dict(), description={"config": config.to_dict(), **task.description()})
    )
    run.save_results(status="completed", classes=list(data.classes), data={"fingerprint": data.fingerprint}, thresholds=[0.5] * 4)
    text = write_report(run.path).read_text(encoding="utf-8")
    assert "None." in text and text.count("<img") >= 10
    first = re.search(r'<img src="data:image/jpeg;base64,([^"]+)"', text)
    assert first is not None
    with Image.open(io.BytesIO(base64.b64decode(first[1]))) as image:
        assert image.size == (1600, 256)


def test_the_report_imports_no_lightning() -> None:
    code = "import sys, photic.apps.defects.report; assert not [n for n in sys.modules if n.split('.')[0] in ('lightning', 'hydra')]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
