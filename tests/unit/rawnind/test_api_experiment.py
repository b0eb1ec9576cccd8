"""Which checkpoints are kept, by which values, and what a folder remembers."""

from __future__ import annotations

import math

import pytest

from photic.apps.rawnind import CleanExperimentManager, TrainingConfig, create_experiment_manager
from photic.core.errors import ConfigError, DataError

VALUES = {10: (20.0, 0.9), 20: (24.0, 0.8), 30: (22.0, 0.5), 40: (23.0, 0.7), 50: (21.0, 0.6)}  # psnr and loss


def filled(folder, keep_best: int = 2) -> CleanExperimentManager:
    manager = CleanExperimentManager(folder=folder, keep_best=keep_best)
    for step, (psnr, loss) in VALUES.items():
        manager.record_metrics(step, {"psnr": psnr, "loss": loss})
        if manager.should_save_checkpoint(step):
            manager.checkpoint_path(step).parent.mkdir(exist_ok=True)
            manager.checkpoint_path(step).write_bytes(b"x")
            manager.cleanup_checkpoints()
    return manager


def test_each_value_has_its_best_step_and_psnr_is_better_high_loss_low(tmp_path):
    assert filled(tmp_path).get_best_steps() == {"psnr": 20, "loss": 30}


@pytest.mark.parametrize(("keep_best", "kept"), [(1, {20, 30}), (2, {20, 40, 30, 50}), (9, set(VALUES))])
def test_the_n_best_of_each_value_are_kept_and_the_others_removed(tmp_path, keep_best, kept):
    manager = filled(tmp_path, keep_best)
    assert {int(path.stem.removeprefix("step_")) for path in manager.checkpoints.iterdir()} == kept
    assert {step for steps in manager.get_kept_steps().values() for step in steps} == kept
    for step in VALUES:
        assert manager.should_save_checkpoint(step) == (step in kept)


def test_other_files_are_left_alone(tmp_path):
    manager = filled(tmp_path, 1)
    others = [manager.last_path, manager.checkpoints / "mine.safetensors", manager.checkpoints / "step_9.txt"]
    for path in others:
        path.write_bytes(b"mine")
    manager.checkpoint_path(10).write_bytes(b"x")
    assert manager.cleanup_checkpoints() == [manager.checkpoint_path(10)]
    assert all(path.exists() for path in others)


def test_test_scenes_and_training_choose_nothing(tmp_path):
    manager = CleanExperimentManager(folder=tmp_path)
    for step, test in ((1, 30.0), (2, 40.0)):
        manager.record_metrics(step, {"psnr": 25.0 - step, "test_psnr": test, "train_loss": 1.0 / step, "lr": 0.1 / step})
    assert manager.get_best_steps() == {"psnr": 1}
    manager.record_metrics(3, {"test_psnr": 99.0})
    assert not CleanExperimentManager(folder=tmp_path, keep_best=1).should_save_checkpoint(3)


@pytest.mark.parametrize(
    ("name", "best"), [("val_psnr", 2), ("ms_ssim", 2), ("val_ms_ssim", 2), ("mse", 1), ("val_loss", 1), ("validation_loss", 1)]
)
def test_which_way_is_better_goes_by_the_name(tmp_path, name, best):
    manager = CleanExperimentManager(folder=tmp_path)
    manager.record_metrics(1, {name: 0.1})
    manager.record_metrics(2, {name: 0.2})
    assert manager.get_best_steps() == {name: best}
    assert CleanExperimentManager(folder=tmp_path, larger_is_better={name: best != 2}).get_best_steps() == {name: 3 - best}


def test_infinite_values_count_and_nan_does_not(tmp_path):
    manager = CleanExperimentManager(folder=tmp_path)
    for step, psnr in ((1, 20.0), (2, math.inf), (3, math.nan)):
        manager.record_metrics(step, {"psnr": psnr})
    assert manager.get_best_steps() == {"psnr": 2}
    again = CleanExperimentManager(folder=tmp_path)
    assert again.history[2]["psnr"] == math.inf
    assert math.isnan(again.history[3]["psnr"])
    assert again.get_kept_steps() == {"psnr": [2, 1]}


def test_a_folder_remembers_and_values_of_a_step_come_together(tmp_path):
    filled(tmp_path).record_metrics(20, {"ms_ssim": 0.9})
    again = create_experiment_manager(folder=tmp_path)
    assert again.history[20] == {"psnr": 24.0, "loss": 0.8, "ms_ssim": 0.9}
    assert again.get_best_steps() == {"psnr": 20, "loss": 30, "ms_ssim": 20}


def test_what_is_no_step_or_number_is_refused_and_damage_is_told(tmp_path):
    manager = CleanExperimentManager(folder=tmp_path)
    for step, values in ((-1, {"psnr": 1.0}), ("1", {"psnr": 1.0}), (1, {"psnr": "high"})):
        with pytest.raises(ConfigError, match="record_metrics"):
            manager.record_metrics(step, values)
    with pytest.raises(ConfigError, match="keep_best: expected 1 or more"):
        CleanExperimentManager(folder=tmp_path, keep_best=0)
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(DataError, match="experiment.json: damaged"):
        CleanExperimentManager(folder=tmp_path)


def test_every_new_experiment_has_a_folder_of_its_own(tmp_path):
    config = TrainingConfig(output_dir=tmp_path, experiment_name="trial")
    first, second = (create_experiment_manager(config) for _ in range(2))
    assert first.folder != second.folder
    assert first.folder.parent == second.folder.parent == tmp_path / "trial"
    assert not (tmp_path / "trial").exists()  # nothing was written
    first.record_metrics(1, {"psnr": 50.0})
    second.record_metrics(2, {"psnr": 20.0})
    assert second.get_best_steps() == {"psnr": 2}
