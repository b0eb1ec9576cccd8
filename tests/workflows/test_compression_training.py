"""Training of compression from end to end: what a run says of bits, warm starts, sweeps, a frozen denoiser, resuming, bundles."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import torch

import photic
from photic.cli.main import main
from photic.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.core.registry import losses, models, tasks
from photic.workflows.recipes import recipe
from photic.workflows.train import resume, train

SMALL = {
    "data.num_samples": 8,
    "data.size_px": 64,
    "data.eval_crop_px": 64,
    "data.crops_per_picture": 2,
    "data.val_fraction": 0.25,
    "data.test_fraction": 0.25,
    "data.batch_size": 4,
    "model.width": 8,
    "model.num_latents": 16,
    "model.hyper_widths": [8, 8],
    "model.num_qualities": 2,
    "training.num_epochs": 1,
}
STANDING = {"optimizer.name": "sgd", "optimizer.lr": 1e-12, "training.ema_decay": None}  # trains, and changes nothing that one could see


def config(folder, **changes):
    return recipe("quick_compress", {**SMALL, "output_dir": str(folder), **changes})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a short run."""
    return train(config(tmp_path_factory.mktemp("runs")), quiet=True, page=False)


def results_of(run):
    return json.loads((run / "results.json").read_text())


def weights_of(run, name="best"):
    return read_checkpoint(run / "checkpoints" / f"{name}.safetensors", with_state=False).deployed()


def test_a_run_says_estimated_and_actual_bits_for_each_iso_value_and_level(base):
    results = results_of(base.run)
    assert results["status"] == "completed"
    assert results["started_from"] is None
    val, test = results["history"][-1]["val"], results["test"]
    for name in ("bpp", "bpp_actual", "psnr"):
        assert {name, f"{name}_q1", f"{name}_q2", f"{name}_iso400", f"{name}_iso12800"} <= set(val)
        assert set(test["quality"]) == {"1", "2"}
        assert set(test["iso"]) == {"400", "12800"}
    assert val["bpp_actual"] == pytest.approx(val["bpp"], rel=0.02, abs=8 * 16 / 64**2)
    assert test["bpp_actual"] == pytest.approx(test["bpp"], rel=0.02, abs=8 * 16 / 64**2)
    with open(base.run / "predictions" / "test.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["file", "psnr", "bpp", "bpp_actual", "iso", "quality"]
    assert sum(float(row["bpp_actual"]) for row in rows) / len(rows) == pytest.approx(test["bpp_actual"], rel=1e-4)
    assert {(row["iso"], row["quality"]) for row in rows} == {(iso, level) for iso in ("400", "12800") for level in ("1", "2")}
    assert {value["name"] for value in results["comparison"]["values"]} == {"psnr", "bpp_actual"}


def test_a_saved_network_has_the_tables_that_its_bits_were_counted_with(base):
    saved, estimator = weights_of(base.run), photic.load(base.run).task.network.bit_estimator
    assert estimator.is_fixed == 1
    estimator.ready()
    assert all(torch.equal(value, saved[f"graph.network.bit_estimator.{name}"]) for name, value in estimator.state_dict().items())
    estimator.fix()  # and these are the tables of the weights
    assert all(torch.equal(value, saved[f"graph.network.bit_estimator.{name}"]) for name, value in estimator.state_dict().items())


def test_a_warm_start_begins_with_the_best_weights_and_nothing_else(base, tmp_path):
    started = train(config(tmp_path, **STANDING, **{"training.start_from": str(base.run)}), quiet=True, page=False)
    best = base.run / "checkpoints" / "best.safetensors"
    record = results_of(started.run)["started_from"]
    assert (record["source"], record["file"]) == (str(base.run), str(best.resolve()))
    before, after = weights_of(base.run), weights_of(started.run)
    for name, value in before.items():
        if "tables" not in name and value.is_floating_point():
            torch.testing.assert_close(after[name], value, atol=1e-6, rtol=1e-5)
    history = started.results["history"]
    assert history[0]["val"]["loss"] == pytest.approx(results_of(base.run)["best"]["value"], rel=1e-3)
    assert started.results["best"]["step"] == len(json.loads((started.run / "split.json").read_text())["train"]) * 2 // 4  # from 0 on


def test_other_settings_of_the_network_are_refused_before_there_is_a_run(base, tmp_path):
    with pytest.raises(CheckpointError, match="the weights do not fit this network"):
        train(config(tmp_path, **{"model.width": 6, "training.start_from": str(base.run)}), quiet=True, page=False)
    with pytest.raises(ConfigError, match="'previous' is the job before it"):
        train(config(tmp_path, **{"training.start_from": "previous"}), quiet=True, page=False)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_does_not_look_at_where_it_started(base, tmp_path):
    source = shutil.copy(base.run / "checkpoints" / "best.safetensors", tmp_path / "source.safetensors")
    started = train(config(tmp_path / "runs", **{"training.start_from": str(source)}), quiet=True, page=False)
    (tmp_path / "source.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"training\.start_from cannot change when a run is resumed"):
        resume(started.run, {"training.start_from": None}, quiet=True, page=False)
    resumed = resume(started.run, {"training.num_epochs": 2}, quiet=True, page=False)
    assert len(resumed.results["history"]) == 2
    assert resumed.results["started_from"]["file"] == str(source)


def test_a_run_stopped_before_its_first_checkpoint_begins_again_from_the_same_weights(base, tmp_path):
    source = tmp_path / "source.safetensors"
    shutil.copy(base.run / "checkpoints" / "best.safetensors", source)
    started = train(config(tmp_path / "runs", **{"training.start_from": str(source)}), quiet=True, page=False)
    first = weights_of(started.run)
    for file in (started.run / "checkpoints").iterdir():
        file.unlink()
    resume(started.run, quiet=True, page=False)
    assert all(torch.equal(value, first[name]) for name, value in weights_of(started.run).items())
    for file in (started.run / "checkpoints").iterdir():
        file.unlink()
    write_checkpoint(source, Checkpoint(first))
    with pytest.raises(DataError, match="the weights it started from have changed since"):
        resume(started.run, quiet=True, page=False)


def test_a_sweep_over_lambda_hands_weights_on(tmp_path, capsys):
    fields = [f"{key}={str(value).replace(' ', '')}" for key, value in SMALL.items()]
    sweep = ["loss.lmbda=4096,1024", "loss.lmbda_lowest=64", "training.start_from=previous"]
    assert main(["train", "-m", "recipe=quick_compress", *fields, *sweep, f"output_dir={tmp_path}", "--quiet"]) == 0
    runs = {results_of(file.parent)["config"]["loss"]["lmbda"]: file.parent for file in tmp_path.glob("*/*/results.json")}
    assert set(runs) == {4096.0, 1024.0}
    assert results_of(runs[4096.0])["started_from"] is None
    assert results_of(runs[1024.0])["started_from"]["file"] == str((runs[4096.0] / "checkpoints" / "best.safetensors").resolve())
    out = capsys.readouterr().out
    assert "[1/2] loss.lmbda=4096\nstarts from random weights\n" in out
    assert f"[2/2] loss.lmbda=1024\nstarts from {runs[4096.0]}\n" in out


@pytest.fixture
def denoiser(tmp_path):
    """Return a checkpoint of a small denoiser, as its training would leave it."""
    torch.manual_seed(3)
    model = models.configure("standard", size="tiny")
    task = tasks.configure("raw_denoising", metrics=("psnr",)).build(model, losses.configure("l1"), {})
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    weights = {name: value.clone() for name, value in task.state_dict().items()}
    return write_checkpoint(tmp_path / "denoiser.safetensors", Checkpoint(weights, description={"config": {"model": model.to_dict()}}))


def test_a_frozen_denoiser_comes_into_the_run_once_and_stays_to_the_bit(denoiser, tmp_path):
    inner = {"name": "hyperprior", "measurement": "rgb", "num_strides": 2, "width": 6, "num_latents": 8, "hyper_widths": [6, 6]}
    two_steps = {
        "model": {
            "name": "denoise_then_compress",
            "denoiser": {"name": "standard", "size": "tiny"},
            "denoiser_from": str(denoiser),
            "compressor": inner,
        },
        "training.ema_decay": 0.9,
    }
    small = {key: value for key, value in SMALL.items() if not key.startswith("model.")}
    configured = recipe("quick_compress", {**small, **two_steps, "output_dir": str(tmp_path / "runs")})
    with pytest.raises(ConfigError, match=r"config\.model\.denoiser_from: the denoiser is frozen and has random weights"):
        train(configured.replace(model=configured.model.replace(denoiser_from=None)), quiet=True, page=False)
    assert not (tmp_path / "runs").exists()
    run = train(configured, quiet=True, page=False).run
    kept = read_checkpoint(denoiser).weights
    denoiser.unlink()  # from here on it is in the run
    resume(run, {"training.num_epochs": 2}, quiet=True, page=False)
    results = results_of(run)
    assert results["parameters"]["trainable"] < results["parameters"]["total"]
    for checkpoint in ("best", "last"):
        saved = weights_of(run, checkpoint)
        for name, value in kept.items():
            assert torch.equal(saved[name.replace("graph.network.", "graph.network.denoiser.")], value), name
    assert main(["bundle", str(run), "-o", str(tmp_path / "two.photic")]) == 0
    bundled, loaded = (photic.load(source).task.network for source in (tmp_path / "two.photic", run))
    assert all(torch.equal(value, bundled.state_dict()[name]) for name, value in loaded.state_dict().items())
    bundled.check_trainable()
