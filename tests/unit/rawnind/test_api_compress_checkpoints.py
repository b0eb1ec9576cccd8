"""Checkpoints of networks that compress, trained from Python: going on exactly, and being loaded as ready models."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from photic.apps.rawnind import (
    CleanCompressor,
    TrainingConfig,
    create_compressor,
    create_denoise_compress_trainer,
    create_denoiser_trainer,
    create_experiment_manager,
    load_model_from_checkpoint,
)
from photic.apps.rawnind.compressing.encoding import load_compressor
from photic.core.errors import CheckpointError, ConfigError
from photic.inference.bundle import write_bundle
from photic.inference.description import describe
from photic.inference.predictor import load

from .api_batches import bayer_batch, rgb_batch
from .test_api_compress_trainer import BATCHES, every_kind, every_network, trainer_of, weights


@every_network
def test_actual_bits_are_those_of_real_bitstreams(network, tmp_path):
    trainer = trainer_of("bayer_to_rgb", network, compression_lambda=4096.0)
    batch = bayer_batch(side=128)
    trainer.train([bayer_batch()], None, None, 3)
    found = trainer.validate([batch])
    compressor = load_model_from_checkpoint(trainer.save_checkpoint(tmp_path))
    given = trainer.task.prepared(batch, trainer.device)
    bits = 0
    for image, balance, noise in zip(batch["noisy_images"], given["balance"], given["noise"].tolist(), strict=True):
        parts = compressor.compress(image, balance=balance, noise=noise).parts
        bits += parts["side"] + parts["tiles"]
    assert found["bpp_actual"] == pytest.approx(bits / 2 / 128**2, rel=1e-6)
    assert abs(found["bpp"] - found["bpp_actual"]) < 0.01 * found["bpp"] + 8 * 64 / 128**2


@every_network
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(network, tmp_path):
    fields = {"output_dir": tmp_path, "validation_interval": 2, "network": network}
    batches, validation = [rgb_batch(seed, count=1) for seed in range(2)], [rgb_batch(9, count=1)]
    whole = trainer_of(**fields)
    whole.train(batches, validation, None, 5)
    first = trainer_of(**fields)
    manager = create_experiment_manager(first.config)
    first.train(batches, validation, manager, 2)
    second = trainer_of(**{**fields, "seed": 7})
    assert second.resume_from_experiment(manager) == 2
    second.config = first.config  # the seed of the noise is the config's
    second.train(batches, validation, None, 3)
    assert torch.equal(weights(second), weights(whole))
    assert second.state.history[-1]["val"] == whole.state.history[-1]["val"]


@every_kind
def test_what_is_trained_is_loaded_by_everything_that_loads_models(kind, tmp_path):
    trainer = trainer_of(kind, output_dir=tmp_path, loss_function="l1", transfer_function="pq", compression_lambda=4096.0)
    batch = BATCHES[kind]()
    trainer.train([batch], [batch], None, 2)
    trainer.step(batch)  # tables made for the validation are those of other weights
    file = trainer.save_checkpoint()
    assert file == trainer.folder / "checkpoints" / "step_00000003.safetensors"
    made = load_model_from_checkpoint(file, tile_size=256)
    assert type(made) is CleanCompressor
    assert (made.architecture, made.config.tile_size, made.measurement) == ("hyperprior", 256, trainer.model.measurement)
    for own, other in zip(trainer.model.state_dict().items(), made.model.state_dict().items(), strict=True):
        assert own[0] == other[0]
        assert torch.equal(own[1], other[1])
    fresh = copy.deepcopy(made.model)
    fresh.bit_estimator.fix()
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), made.model.state_dict().values(), strict=True))
    loaded = load(file, "cpu")
    assert (loaded.task.config.transfer, loaded.task.criterion.lmbda) == ("pq", 4096.0)  # type: ignore[attr-defined]
    facts = describe({**loaded.config, "data": {"name": "raw_synthetic"}}, {}, "tiny")
    facts |= {"card": "# tiny", "created": "2026-01-01", "photic": "0"}
    bundle = write_bundle(tmp_path / "model.photic", load_compressor(file, "cpu").task, facts)
    image, noise = batch["noisy_images"][0], (1e-3, 1e-5)
    stream = made.compress(image, noise=noise)
    own = create_compressor(made.config)
    for other in (load_model_from_checkpoint(bundle), own, create_compressor("hyperprior", checkpoint_path=file, **made.config.options)):
        assert torch.equal(other.decompress(stream), made.decompress(stream))
        again = other.compress(image, noise=noise)
        assert {name: again.parts[name] for name in ("side", "tiles")} == {name: stream.parts[name] for name in ("side", "tiles")}
        assert again.header.model == stream.header.model
    with pytest.raises(ConfigError, match="precision: is for denoisers"):
        load_model_from_checkpoint(file, precision="bf16")


def test_the_best_checkpoint_is_that_of_the_loss_not_of_the_picture_or_the_bits(tmp_path):
    trainer = trainer_of(network="factorized", output_dir=tmp_path, additional_metrics=["psnr"], keep_best=3)
    manager = create_experiment_manager(trainer.config)
    kept = {}
    for step, (loss, psnr, bpp) in {1: (3.0, 20.0, 0.1), 2: (2.0, 25.0, 0.5), 3: (9.0, 30.0, 9.0)}.items():
        trainer.step(rgb_batch(step), step=step - 1)
        manager.record_metrics(step, {"loss": loss, "psnr": psnr, "bpp": bpp, "bpp_actual": bpp, "rate": bpp, "distortion": 1.0})
        kept[step] = trainer.save_checkpoint(manager.checkpoint_path(step))
    assert manager.get_best_steps() == {"loss": 2, "psnr": 3}
    best, expected = load_model_from_checkpoint(manager.folder), load_model_from_checkpoint(kept[2])
    assert all(torch.equal(a, b) for a, b in zip(best.model.parameters(), expected.model.parameters(), strict=True))


def test_checkpoints_of_denoisers_are_not_taken(tmp_path):
    denoiser = create_denoiser_trainer("rgb_to_rgb", TrainingConfig(model_architecture="unet", filter_units=2))
    file = denoiser.save_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="the weights do not fit this network"):
        trainer_of().load_checkpoint(file)
    with pytest.raises(CheckpointError, match="not written by a trainer for bayer_to_rgb"):
        trainer_of("bayer_to_rgb").resume_from_checkpoint(file)


def test_denoising_first_learns_behind_a_trained_denoiser_that_stays_as_it_is(tmp_path):
    denoiser = create_denoiser_trainer("bayer_to_rgb", TrainingConfig(model_architecture="standard", filter_units=16))
    file = denoiser.save_checkpoint(tmp_path / "denoiser.safetensors")
    options = {
        "denoiser": {"name": "standard", "size": "tiny"},
        "compressor": {"name": "factorized", "measurement": "rgb", "width": 4, "num_latents": 4},
    }
    config = TrainingConfig(model_architecture="denoise_then_compress", model_options={**options, "denoiser_from": str(file)})
    trainer = create_denoise_compress_trainer("bayer_to_rgb", config)
    before = weights(trainer)
    frozen = {id(p) for p in trainer.model.denoiser.parameters()}
    assert not frozen & {id(p) for group in trainer.get_optimizer_param_groups() for p in group["params"]}
    assert math.isfinite(trainer.step(bayer_batch(side=64, count=1))["loss"])
    assert not torch.equal(weights(trainer), before)
    for own, original in zip(trainer.model.denoiser.parameters(), denoiser.model.parameters(), strict=True):
        assert torch.equal(own, original)
    made = load_model_from_checkpoint(trainer.save_checkpoint(tmp_path))
    assert made.decompress(made.compress(bayer_batch(side=64)["noisy_images"][0])).shape == (3, 64, 64)
    blind = create_denoise_compress_trainer(
        "bayer_to_rgb", TrainingConfig(model_architecture="denoise_then_compress", model_options=options)
    )
    with pytest.raises(ConfigError, match="the denoiser is frozen and has random weights"):
        blind.step(bayer_batch(side=64, count=1))


def test_pictures_of_validation_are_written(tmp_path):
    trainer = trainer_of("bayer_to_rgb", "factorized", save_training_images=True, validation_interval=1, output_dir=tmp_path)
    trainer.train([bayer_batch()], [bayer_batch()], None, 1)
    names = sorted(path.name for path in (trainer.folder / "images" / "val_step_00000001").iterdir())
    assert names == [f"0{place}_0_{place}_{name}.exr" for place in range(2) for name in ("clean", "noisy", "output")]
