"""Training on the real Siemens star: a moment of it is better than none, on the half it was trained on and on the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import photic
from photic.data.base import PreparedData
from photic.data.loader import evaluation_batches
from photic.tasks.base import Task

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    return real_data / "ptycho"


@pytest.fixture(scope="module")
def config(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    small = {
        "data.path": str(folder / "siemens_train.npz"),
        "data.test_path": str(folder / "siemens_test.npz"),
        "data.probe_iterations": 0,
        "data.n_groups": 120,
        "model.width_factor": 0.125,
        "training.num_epochs": 2,
        "trainer.num_threads": 1,
        "output_dir": str(tmp_path_factory.mktemp("runs")),
    }
    return photic.recipe("ptycho_pinn", small)


@pytest.fixture(scope="module")
def untrained(config: Any) -> tuple[Task, PreparedData]:
    torch.manual_seed(0)
    data = config.data.prepare(config.seed)
    return config.task.build(config.model, config.loss, data).eval(), data


@pytest.fixture(scope="module")
def trained(config: Any) -> photic.TrainResult:
    return photic.train(config, quiet=True)


def r_amp_of(untrained: tuple[Task, PreparedData], phase: str) -> float:
    """Return the untrained network's, pattern by pattern as training measures it."""
    task, data = untrained
    metric = task.make_metrics()["r_amp"]
    with torch.inference_mode():
        for batch in evaluation_batches(data.splits[phase], 32, 0):
            metric.update(*task.step(batch, "val").kept())
    return metric.compute()["r_amp"]


def test_two_epochs_lower_the_validation_r_amp(untrained: tuple[Task, PreparedData], trained: photic.TrainResult) -> None:
    before = r_amp_of(untrained, "val")
    found = [entry["val"]["r_amp"] for entry in trained.results["history"]]
    assert 0.2 < before < 0.7
    assert found[0] < before
    assert found[1] < 0.95 * before


def test_what_was_learnt_holds_on_the_half_that_was_not_seen(untrained: tuple[Task, PreparedData], trained: photic.TrainResult) -> None:
    assert trained.results["test"]["r_amp"] < r_amp_of(untrained, "test")


@pytest.mark.slow
def test_a_network_trained_on_one_half_reconstructs_the_other(folder: Path, tmp_path: Path) -> None:
    """The recipe as it stands: R_amp of the stitched object at most 0.25 there, and at most 1.5 times that of its own half."""
    from photic.apps.ptycho import PtychoModel

    model = PtychoModel(architecture="cnn", N=128, width_factor=0.25, num_threads=1)
    model.train(folder / "siemens_train.npz", output_dir=tmp_path, quiet=True)
    own, other = (model.infer(folder / f"siemens_{half}.npz", stitching=True).r_amp for half in ("train", "test"))
    assert own is not None
    assert other is not None
    assert other <= 0.25
    assert other <= 1.5 * own
