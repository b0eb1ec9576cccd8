"""Checkpoints of trainers from Python: going on exactly, and being loaded as ready models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.rawnind import (
    CleanBayerDenoiser,
    CleanDenoiser,
    TrainingConfig,
    create_bayer_denoiser,
    create_denoiser_trainer,
    create_experiment_manager,
    load_model_from_checkpoint,
)
from photic.apps.rawnind.denoising import load_denoiser
from photic.core.errors import CheckpointError, DataError, PhoticError, UnknownNameError
from photic.core.registry import models
from photic.inference.predictor import load

from .api_batches import bayer_batch, rgb_batch
from .test_api_trainer import TINY, trainer_of, weights


def three(kind: str = "rgb_to_rgb") -> list[dict[str, Any]]:
    make = {"rgb_to_rgb": rgb_batch, "bayer_to_rgb": bayer_batch}[kind]
    return [make(seed, count=1) for seed in range(3)]


def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(tmp_path):
    fields = {"output_dir": tmp_path, "validation_interval": 2, "patience": 2, "lr_decay_factor": 0.5}
    whole = trainer_of(**fields)
    validation = [rgb_batch(9)]
    whole.train(three(), validation, None, 9)
    first = trainer_of(**fields)
    first.train(three(), validation, None, 3)
    file = first.save_checkpoint(tmp_path / "here.safetensors")
    second = trainer_of(**{**fields, "seed": 7})
    assert second.resume_from_checkpoint(file) == 3
    assert second.get_current_learning_rate() == first.get_current_learning_rate()
    second.train(three(), validation, None, 6)
    assert torch.equal(weights(second), weights(whole))
    assert second.current_step == 9
    assert second.state.history[-1]["val"] == whole.state.history[-1]["val"]
    assert second.state.history[-1]["lr"] == whole.state.history[-1]["lr"]


def test_an_experiment_is_resumed_from_its_newest_checkpoint(tmp_path):
    fields = {"output_dir": tmp_path, "validation_interval": 2, "additional_metrics": ["psnr"]}
    trainer = trainer_of(**fields)
    manager = create_experiment_manager(trainer.config)
    trainer.train(three(), [rgb_batch(9)], manager, 5)
    earlier = trainer_of(**fields)
    earlier.train(three(), [rgb_batch(9)], create_experiment_manager(trainer.config), 4)
    manager.last_path.touch()  # now it is the newest
    for experiment in (manager, manager.folder, manager.folder.parent, None):
        again = trainer_of(**fields)
        assert again.resume_from_experiment(experiment) == 5
        assert torch.equal(weights(again), weights(trainer))
    with pytest.raises(CheckpointError, match="no checkpoint to go on from"):
        trainer_of(output_dir=tmp_path / "none").resume_from_experiment()


def test_the_best_checkpoint_of_an_experiment_is_that_of_validation_not_of_the_test(tmp_path):
    trainer = trainer_of(output_dir=tmp_path)
    manager = create_experiment_manager(trainer.config, keep_best=3)
    kept = {}
    for step, (psnr, test) in {1: (20.0, 1.0), 2: (30.0, 0.0), 3: (25.0, 99.0)}.items():
        trainer.step(rgb_batch(step), step=step - 1)
        manager.record_metrics(step, {"psnr": psnr, "test_psnr": test})
        kept[step] = trainer.save_checkpoint(manager.checkpoint_path(step))
    picture = np.random.default_rng(0).random((3, 20, 24), dtype=np.float32)
    best = load_model_from_checkpoint(manager.folder).denoise(picture)
    np.testing.assert_array_equal(best, load_model_from_checkpoint(kept[2]).denoise(picture))
    assert np.abs(best - load_model_from_checkpoint(kept[3]).denoise(picture)).max() > 0


@pytest.mark.parametrize(("kind", "expected"), [("rgb_to_rgb", CleanDenoiser), ("bayer_to_rgb", CleanBayerDenoiser)])
def test_what_is_trained_is_loaded_by_everything_that_loads_models(kind, expected, tmp_path):
    trainer = trainer_of(kind, output_dir=tmp_path, loss_function="l1", transfer_function="pq")
    trainer.train(three(kind), None, None, 2)
    file = trainer.save_checkpoint()
    assert file == trainer.folder / "checkpoints" / "step_00000002.safetensors"
    made = load_model_from_checkpoint(file, tile_size=256)
    assert type(made) is expected
    assert (made.architecture, made.config.filter_units, made.config.tile_size) == ("utnet2", 2, 256)
    assert torch.equal(weights(trainer), torch.cat([p.detach().flatten() for p in made.model.parameters()]))
    loaded = load(file, "cpu")
    assert loaded.task.config.transfer == "pq"  # type: ignore[attr-defined]
    assert load_denoiser(file, "cpu").task.network.measurement == trainer.model.measurement  # type: ignore[attr-defined,union-attr]
    if kind == "bayer_to_rgb":
        own = create_bayer_denoiser("unet", file, filter_units=2)
        picture = torch.rand(4, 10, 12)
        assert torch.equal(own.denoise(picture), made.denoise(picture))


def test_weights_alone_are_taken_from_models_that_were_trained_otherwise(tmp_path):
    trainer = trainer_of()
    trainer.train(three(), None, None, 2)
    file = trainer.save_checkpoint(tmp_path / "a.safetensors")
    bayer = create_denoiser_trainer("bayer_to_rgb", TrainingConfig(**TINY))
    with pytest.raises(CheckpointError, match="not written by a trainer for bayer_to_rgb"):
        bayer.resume_from_checkpoint(file)
    with pytest.raises(CheckpointError, match="the weights do not fit this network"):
        bayer.load_checkpoint(file)
    with pytest.raises(CheckpointError, match="the weights do not fit this network"):
        trainer_of(filter_units=4).load_checkpoint(file)
    assert trainer.save_checkpoint(tmp_path / "folder") == tmp_path / "folder" / "step_00000002.safetensors"


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_nothing_of_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, "evil.pt")
    for path in ("evil.pt", tmp_path / "evil.pt"):
        with pytest.raises(PhoticError):
            load_model_from_checkpoint(path)
        with pytest.raises(CheckpointError, match="refused: .*does not execute pickles"):
            create_bayer_denoiser("unet", path)
    assert not Path("executed").exists()


def test_what_is_no_model_says_so(tmp_path):
    with pytest.raises(UnknownNameError, match="no such bundle, run or checkpoint"):
        load_model_from_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(DataError, match="not a run folder"):
        load_model_from_checkpoint(tmp_path)
    broken = trainer_of().save_checkpoint(tmp_path / "broken.safetensors")
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="broken.safetensors"):
        load_model_from_checkpoint(broken)


def test_networks_are_the_registered_ones():
    assert create_bayer_denoiser("unet").model.state_dict().keys() == models.get("utnet2").state_dict().keys()
