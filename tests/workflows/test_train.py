"""Training end to end on generated strips: what is written, what is tested, how it stops."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import photic
from photic.core.checkpoint import read_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from photic.tracking.run import Run


def test_a_run_leaves_everything_that_was_promised(finished_run: Path) -> None:
    results = json.loads((finished_run / "results.json").read_text())
    assert results["status"] == "completed"
    assert results["schema"] == 1
    assert results["names"] == {"task": "multilabel_classification", "model": "tiny", "loss": "bce_with_logits", "data": "synthetic_strips"}
    assert results["config"]["seed"] == 42
    assert len(results["history"]) == 2
    assert results["best"]["monitor"] == "macro_ap"
    assert results["data"]["fingerprint"]
    assert results["environment"]["packages"]["torch"]
    assert results["wall_seconds"] > 0
    assert results["peak_memory_mb"] > 0
    assert set(results["test"]) >= {"loss", "at_0.5", "at_tuned", "intervals"}
    for name in ("config.yaml", "metrics.jsonl", "split.json", "report.html", "predictions/val.csv", "predictions/test.csv"):
        assert (finished_run / name).is_file(), name
    assert list((finished_run / "tensorboard").glob("events*"))
    lines = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    assert any("val/macro_ap" in line for line in lines)


def test_split_is_saved_and_disjoint(finished_run: Path) -> None:
    split = json.loads((finished_run / "split.json").read_text())
    names = [name for phase in ("train", "val", "test") for name in split[phase]]
    assert len(names) == len(set(names)) == 120


def test_the_test_uses_the_best_weights_not_the_last(small_config) -> None:
    """A learning rate that ruins the network after the first epoch makes the two differ."""
    result = photic.train(
        small_config(
            {
                "training.num_epochs": 3,
                "optimizer.name": "sgd",
                "optimizer.lr": 0.01,
                "training.monitor": "loss",
                "training.monitor_mode": "min",
            }
        ),
        quiet=True,
    )
    best = read_checkpoint(result.run / "checkpoints" / "best.safetensors")
    model = photic.load(result.run)
    saved = best.deployed()
    assert all(torch.equal(value, saved[name]) for name, value in model.task.state_dict().items())
    assert best.description["step"] == result.results["best"]["step"]
    lowest = min(entry["val"]["loss"] for entry in result.results["history"])
    assert result.results["best"]["value"] == lowest


def test_thresholds_are_tuned_on_validation_and_stored_with_the_weights(finished_run: Path) -> None:
    from photic.metrics.multilabel import tune_thresholds

    with open(finished_run / "predictions" / "val.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    classes = [name.removeprefix("label:") for name in rows[0] if name.startswith("label:")]
    probabilities = np.array([[float(row[f"probability:{c}"]) for c in classes] for row in rows])
    labels = np.array([[int(row[f"label:{c}"]) for c in classes] for row in rows])
    stored = read_checkpoint(finished_run / "checkpoints" / "best.safetensors").description
    assert stored["classes"] == classes
    assert stored["thresholds"] == pytest.approx(list(tune_thresholds(probabilities, labels)), abs=1e-5)
    assert json.loads((finished_run / "results.json").read_text())["thresholds"] == stored["thresholds"]


def test_loaded_model_predicts_what_the_test_saw(finished_run: Path, small_config) -> None:
    model = photic.load(finished_run)
    config = small_config()
    data = config.data.prepare(config.seed)
    batch = torch.stack([data.splits["test"].sample(i, 0)["measurement"] for i in range(3)])
    with open(finished_run / "predictions" / "test.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))[:3]
    expected = np.array([[float(row[f"probability:{c}"]) for c in model.classes] for row in rows])
    np.testing.assert_allclose(model.predict_batch(batch).numpy(), expected, atol=1e-5)


def test_step_prediction_is_the_deployable_graphs(finished_run: Path, small_config) -> None:
    model = photic.load(finished_run)
    config = small_config()
    sample = config.data.prepare(config.seed).splits["val"].sample(0, 0)
    batch = {"measurement": sample["measurement"][None], "target": sample["target"][None]}
    with torch.inference_mode():
        assert torch.equal(model.task.step(batch, "val").prediction, model.task.deployable()(batch["measurement"]))
        assert torch.equal(model.task.predict(batch), model.task.deployable()(batch["measurement"]))


def test_same_configuration_gives_the_same_bits(small_config) -> None:
    runs = [photic.train(small_config({"training.num_epochs": 1}), quiet=True, page=False).run for _ in range(2)]
    first, second = (read_checkpoint(run / "checkpoints" / "last.safetensors").weights for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = photic.train(small_config({"training.num_epochs": 1, "seed": 1}), quiet=True, page=False).run
    other = read_checkpoint(third / "checkpoints" / "last.safetensors").weights
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "overrides",
    [
        {"loss.name": "focal", "loss.alpha": "dynamic"},
        {"loss.name": "asymmetric"},
        {"schedule.name": "patience", "training.ema_decay": 0.9},
        {"schedule.name": "constant", "optimizer.name": "sgd", "training.gradient_clip_norm": None},
        {"training.max_steps": 3, "training.gradient_accumulation": 2, "training.channels_last": True},
        {"trainer.precision": "bf16-mixed", "trainer.accelerator": "cpu"},
        {"training.validate_every_steps": 2, "training.early_stopping_patience": 1, "optimizer.lr": 1e-8},
    ],
    ids=lambda overrides: " ".join(f"{key}={value}" for key, value in overrides.items()),
)
def test_settings_train(small_config, overrides: dict) -> None:
    result = photic.train(small_config(overrides), quiet=True, page=False)
    assert result.results["status"] == "completed"
    if "training.max_steps" in overrides:
        assert result.results["history"][-1]["step"] == 3
    if "training.early_stopping_patience" in overrides:
        assert "did not improve" in result.results["stopped"]
    if overrides.get("loss.alpha") == "dynamic":
        assert len(result.results["loss_state"]["alpha_per_class"]) == 4


def test_augmentation_touches_only_the_training_split(small_config) -> None:
    config = small_config()
    data = config.data.prepare(config.seed)
    for phase in ("val", "test"):
        samples = [data.splits[phase].sample(1, draw)["measurement"] for draw in range(6)]
        assert all(torch.equal(samples[0], other) for other in samples[1:])
    train = [data.splits["train"].sample(1, draw)["measurement"] for draw in range(6)]
    assert not all(torch.equal(train[0], other) for other in train[1:])


def test_resume_of_a_finished_run_with_more_epochs_goes_on(small_config) -> None:
    run = photic.train(small_config({"schedule.name": "constant"}), quiet=True, page=False).run
    longer = photic.resume(run, {"training.num_epochs": 3}, quiet=True, page=False)
    whole = photic.train(small_config({"schedule.name": "constant", "training.num_epochs": 3}), quiet=True, page=False).run
    assert len(longer.results["history"]) == 3
    first, second = (read_checkpoint(path / "checkpoints" / "last.safetensors").weights for path in (run, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resume_refuses_what_would_make_it_another_run(finished_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"model cannot change when a run is resumed"):
        photic.resume(finished_run, {"model.name": "timm"})
    with pytest.raises(ConfigError, match=r"data\.batch_size cannot change"):
        photic.resume(finished_run, {"data.batch_size": 3})


def test_resume_with_other_data_is_refused(small_config) -> None:
    run = photic.train(small_config({"training.num_epochs": 1}), quiet=True, page=False).run
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("num_samples: 120", "num_samples: 121"))
    with pytest.raises(DataError, match="not those this run was started with"):
        photic.resume(run, {"training.num_epochs": 2})


def test_resume_from_a_truncated_checkpoint_is_refused_and_leaves_it(small_config) -> None:
    run = photic.train(small_config({"training.num_epochs": 1}), quiet=True, page=False).run
    last = run / "checkpoints" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"last\.safetensors: damaged or truncated"):
        photic.resume(run, {"training.num_epochs": 2})
    assert last.is_file()


def test_non_finite_loss_stops_names_term_and_batch_and_keeps_the_last_good_checkpoint(small_config) -> None:
    """An absurd learning rate sends the weights to infinity within a few steps."""
    config = small_config(
        {
            "optimizer.name": "sgd",
            "optimizer.lr": 1e30,
            "schedule.name": "warmup_cosine",
            "schedule.warmup_epochs": 0,
            "training.gradient_clip_norm": None,
            "training.validate_every_steps": 1,
            "loss": {"name": "sum", "terms": {"a": {"name": "bce_with_logits"}, "b": {"name": "focal"}}},
            "label": "explodes",
        }
    )
    expected = r"(loss term '[ab]' turned (nan|inf) at batch \d+ \(samples \[|gradient turned non-finite at batch \d+)"
    with pytest.raises(TrainingError, match=expected):
        photic.train(config, quiet=True, page=False)
    run = Run(max(Path(config.output_dir).glob("*/*explodes*")))
    assert run.results["status"] == "failed"
    assert "TrainingError" in run.results["error"]
    for path in (run.path / "checkpoints").glob("*.safetensors"):
        assert all(torch.isfinite(value).all() for value in read_checkpoint(path).weights.values())


def test_run_folder_appears_only_for_runs_that_can_start(small_config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.model\.num_classes: 3 does not fit the data, which have 4 classes"):
        photic.train(small_config({"output_dir": str(tmp_path), "model.num_classes": 3}), quiet=True, page=False)
    assert list(tmp_path.iterdir()) == []


def test_unknown_monitor_names_what_there_is(small_config) -> None:
    with pytest.raises(ConfigError, match=r"config\.training\.monitor: validation gives no 'macro_pa'; did you mean 'macro_ap'"):
        photic.train(small_config({"training.monitor": "macro_pa"}), quiet=True, page=False)


def test_ctrl_c_ends_cleanly_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    small = ["data.num_samples=120", "data.height=32", "data.width=64", "trainer.num_threads=1"]
    arguments = ["recipe=quick_strips", f"output_dir={tmp_path}", *small]
    process = subprocess.Popen(
        [sys.executable, "-m", "photic", "train", *arguments, "training.num_epochs=2000"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    deadline = time.monotonic() + 120
    for line in process.stdout:
        assert time.monotonic() < deadline
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 130, rest
    assert "resume" in rest
    assert "Traceback" not in rest
    (run,) = (path.parent for path in tmp_path.glob("*/*/config.yaml"))
    assert Run(run).results["status"] == "interrupted"
    done = photic.resume(run, {"training.num_epochs": 4}, quiet=True)
    assert done.results["status"] == "completed"


def test_evaluate_repeats_the_test_of_training(finished_run: Path) -> None:
    found = photic.evaluate(finished_run)
    assert found.values["at_tuned"]["macro"]["ap"] == pytest.approx(Run(finished_run).results["test"]["at_tuned"]["macro"]["ap"])
    assert "macro" in found.table()
    assert (finished_run / "evaluations" / "test.json").is_file()
    with pytest.raises(ConfigError, match="expected one of train, val, test"):
        photic.evaluate(finished_run, "tset")
    with pytest.raises(ConfigError, match=r"only data\.\* can be changed"):
        photic.evaluate(finished_run, overrides={"loss.name": "focal"})


def test_a_page_is_written_unless_it_is_not_wanted(small_config) -> None:
    first = photic.train(small_config({"training.num_epochs": 1, "schedule.name": "constant"}), quiet=True, page=False)
    assert first.report is None and not (first.run / "report.html").exists()
    assert (first.run / "predictions" / "test.csv").is_file()
    second = photic.resume(first.run, {"training.num_epochs": 2}, quiet=True)
    assert second.report == first.run / "report.html" and second.report.is_file()


def test_what_a_resume_changes_is_the_runs_configuration_from_then_on(small_config) -> None:
    run = photic.train(small_config({"training.num_epochs": 1, "schedule.name": "constant"}), quiet=True, page=False).run
    photic.resume(run, {"training.num_epochs": 2}, quiet=True, page=False)
    assert Run(run).config["training"]["num_epochs"] == 2
    assert Run(run).results["config"]["training"]["num_epochs"] == 2
