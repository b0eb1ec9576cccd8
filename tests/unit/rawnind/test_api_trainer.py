"""Trainers from Python: that they train, how often, with which loss, colours and learning rate."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
import torch
from torch.utils.data import DataLoader

from photic.apps.rawnind import CleanDenoiserTrainer, TrainingConfig, create_denoiser_trainer, create_experiment_manager
from photic.core.errors import ConfigError, DataError, TrainingError

from .api_batches import MATRIX, OTHER_MATRIX, bayer_batch, in_rec2020, packed, rgb_batch

TINY: dict[str, Any] = {"model_architecture": "unet", "filter_units": 2, "learning_rate": 1e-2}
BATCHES = {"rgb_to_rgb": rgb_batch, "bayer_to_rgb": bayer_batch}
every_kind = pytest.mark.parametrize("kind", list(BATCHES))


def trainer_of(kind: str = "rgb_to_rgb", **fields: Any) -> CleanDenoiserTrainer:
    return create_denoiser_trainer(kind, TrainingConfig(**{**TINY, **fields}))


def weights(trainer: CleanDenoiserTrainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])


@every_kind
@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_a_trainer_trains(kind, loss):
    trainer = trainer_of(kind, loss_function=loss)
    batch = BATCHES[kind]()
    before = trainer.validate([batch])["loss"]
    made = trainer.train([batch], None, None, max_steps=25)
    assert made["training_loss_history"][0] == pytest.approx(before, rel=1e-5)
    assert trainer.validate([batch])["loss"] < 0.7 * before
    assert made["final_loss"] == made["training_loss_history"][-1]


def test_it_trains_with_ms_ssim():
    trainer = trainer_of(loss_function="ms_ssim", crop_size=162, additional_metrics=["ms_ssim"])
    batch = rgb_batch(side=162, count=1)
    batch["masks"][..., :40] = 0
    made = trainer.train([batch], [batch], None, max_steps=2)
    assert 0 < made["final_loss"] < 1
    assert trainer.validate([batch])["ms_ssim"] == pytest.approx(1 - trainer.validate([batch])["loss"], abs=1e-4)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_it_makes_exactly_as_many_steps_as_it_is_told_however_short_the_loader_is(length):
    trainer = trainer_of()
    loader = DataLoader([rgb_batch(seed, count=1) for seed in range(length)], batch_size=None, shuffle=True)
    made = trainer.train(loader, None, None, 7)
    assert (made["steps_completed"], len(made["training_loss_history"]), trainer.current_step) == (7, 7, 7)
    assert {int(state["step"]) for state in trainer.optimizer.state.values()} == {7}  # what the optimizer itself counted
    assert trainer.train(loader, max_steps=0) == {
        "steps_completed": 0,
        "final_loss": pytest.approx(math.nan, nan_ok=True),
        "training_loss_history": [],
    }
    assert trainer_of(total_steps=3).train(loader)["steps_completed"] == 3


@pytest.mark.timeout(60)
def test_a_loader_without_batches_is_refused_rather_than_asked_for_ever():
    with pytest.raises(DataError, match="gave 0 batches and then none"):
        trainer_of().train([], None, None, 3)
    with pytest.raises(DataError, match="gave 2 batches and then none, 5 are wanted"):
        trainer_of().train((rgb_batch(seed) for seed in range(2)), None, None, 5)  # a generator, which cannot be iterated again
    with pytest.raises(DataError, match="validation: the loader gave no batches"):
        trainer_of().train([rgb_batch()], [], None, 1)


def test_single_steps_are_those_of_training_to_the_bit():
    batches = [rgb_batch(seed) for seed in range(3)]
    whole, single = trainer_of(), trainer_of()
    assert torch.equal(weights(whole), weights(single))  # one seed, one beginning
    made = whole.train(batches, None, None, 6)
    losses = [single.step(batches[number % 3], step=number)["loss"] for number in range(6)]
    assert losses == made["training_loss_history"]
    assert torch.equal(weights(whole), weights(single))
    whole.step(batches[0])
    single.train(batches, None, None, 1)
    assert torch.equal(weights(whole), weights(single))
    assert whole.current_step == single.current_step == 7


@every_kind
def test_a_step_uses_the_loss_of_what_process_bayer_output_gives(kind):
    trainer = trainer_of(kind, loss_function="l1", transfer_function="gamma22")
    batch = BATCHES[kind]()
    batch["masks"][..., :10] = 0
    with torch.no_grad():
        given = trainer.task.prepared(batch, trainer.device)
        made = trainer.model(given["measurement"], given["planes"], given["noise"], given["balance"])
        if kind == "bayer_to_rgb":
            made = trainer.process_bayer_output(made, batch["rgb_xyz_matrices"], batch["noisy_images"])
        loss = trainer.compute_loss(made, batch["clean_images"], batch["masks"])
    assert trainer.step(batch)["loss"] == pytest.approx(float(loss), rel=1e-6)


def test_process_bayer_output_is_the_inverse_of_each_pictures_own_matrix():
    trainer = trainer_of("bayer_to_rgb")
    output = torch.rand(2, 3, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = torch.stack([MATRIX, OTHER_MATRIX])
    made = trainer.process_bayer_output(output, matrices, packed(output))
    torch.testing.assert_close(made, in_rec2020(output, matrices), rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(made.float(), trainer.process_bayer_output(output.float(), matrices.numpy(), packed(output).float()))
    assert (made - output).abs().mean() > 0.05  # not what went in
    grey = MATRIX @ torch.tensor([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])  # what the camera sees of daylight
    white = trainer.process_bayer_output(grey.view(1, 3, 1, 1).expand(1, 3, 4, 4), MATRIX[None], torch.ones(1, 4, 2, 2))
    torch.testing.assert_close(white, torch.ones(1, 3, 4, 4), atol=1e-4, rtol=0)


def test_process_bayer_output_matches_exposure_only_if_it_is_told_to():
    generator = torch.Generator().manual_seed(1)
    camera = 0.1 + 0.5 * torch.rand(2, 3, 16, 16, generator=generator) * torch.tensor([0.5, 1.0, 0.8]).view(1, 3, 1, 1)
    matrices, bayer = torch.stack([MATRIX, OTHER_MATRIX]), packed(camera)
    never, output = trainer_of("bayer_to_rgb"), trainer_of("bayer_to_rgb", match_gain="output")
    factors = torch.tensor([0.5, 3.0]).view(2, 1, 1, 1)
    plain = never.process_bayer_output(camera, matrices, bayer)
    torch.testing.assert_close(never.process_bayer_output(camera * factors, matrices, bayer), plain * factors)
    torch.testing.assert_close(output.process_bayer_output(camera * factors, matrices, bayer), plain)  # each picture by its own factor
    clipped = bayer.clone()
    clipped[:, :, :4] = 1.0
    spoilt = output.process_bayer_output(camera, matrices, clipped)
    torch.testing.assert_close(spoilt, plain)  # what is clipped tells nothing about exposure


def test_process_bayer_output_refuses_what_it_cannot_do():
    trainer, output = trainer_of("bayer_to_rgb"), torch.rand(1, 3, 8, 8)
    with pytest.raises(DataError, match="invertible"):
        trainer.process_bayer_output(output, torch.zeros(1, 3, 3), packed(output))
    with pytest.raises(DataError, match=r"expected output \(B, 3, 2H, 2W\) and bayer_input"):
        trainer.process_bayer_output(output, MATRIX[None], torch.rand(1, 4, 8, 8))
    with pytest.raises(ConfigError, match="rgb_to_rgb"):
        trainer_of().process_bayer_output(output, MATRIX[None], packed(output))


def test_a_loss_never_scales_pictures_to_fit():
    trainer = trainer_of("bayer_to_rgb")
    with pytest.raises(DataError, match="Nothing is scaled to fit"):
        trainer.compute_loss(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8))
    small = bayer_batch()
    small["clean_images"] = small["clean_images"][..., ::2, ::2]
    with pytest.raises(DataError, match=r"clean pictures \(B, 3, 2H, 2W\), got noisy_images .* and clean_images"):
        trainer.step(small)


@pytest.mark.parametrize("name", ["mse", "l1"])
@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 16, 16), (2, 3, 16, 16)], ids=str)
def test_masked_pixels_are_left_out_of_the_loss_not_counted_as_zero(name, shape):
    trainer = trainer_of(loss_function=name)
    made, true = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.3
    wide = (mask[:, None] if mask.ndim == 3 else mask).expand_as(made)
    difference = (made - true).double().numpy()[wide.numpy()]
    expected = np.square(difference).mean() if name == "mse" else np.abs(difference).mean()
    assert float(trainer.compute_loss(made.masked_fill(~wide, math.nan), true, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(trainer.compute_loss(made, true)) == pytest.approx(float(trainer.compute_loss(made, true, torch.ones(2, 1, 16, 16))))


def test_a_learning_rate_falls_once_per_patience_and_shows_in_the_optimizer():
    trainer = trainer_of(patience=3, lr_decay_factor=0.5)
    rates = []
    for step in range(8):
        trainer.update_learning_rate({"val_loss": 1.0, "val_psnr": 20.0}, step)
        rates.append(trainer.get_current_learning_rate())
        assert {group["lr"] for group in trainer.optimizer.param_groups} == {rates[-1]}
    assert rates == pytest.approx([1e-2] * 3 + [5e-3] * 3 + [2.5e-3] * 2)
    trainer.update_learning_rate({"val_loss": 2.0, "val_psnr": 21.0}, 9)  # any value that improves
    assert trainer.get_current_learning_rate() == pytest.approx(2.5e-3)
    trainer.step(rgb_batch(), step=10)
    assert trainer.get_current_learning_rate() == pytest.approx(2.5e-3)  # not multiplied again by stepping
    counted = trainer_of(patience=2, lr_decay_factor=0.5)
    assert [counted.update_learning_rate(1.0) for _ in range(5)] == pytest.approx([1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3])


def test_training_lowers_the_rate_by_its_validations():
    trainer = trainer_of(patience=4, lr_decay_factor=0.5, validation_interval=2, learning_rate=1e-30)  # nothing ever improves
    trainer.train([rgb_batch()], [rgb_batch(1)], None, 13)
    assert [entry["step"] for entry in trainer.state.history] == [2, 4, 6, 8, 10, 12, 13]  # every two steps, and at the end
    assert [entry["lr"] for entry in trainer.state.history] == pytest.approx([1e-30, 1e-30] + [5e-31] * 2 + [2.5e-31] * 3, abs=0)


def test_training_stops_early_where_it_is_told_to():
    trainer = trainer_of(early_stopping_patience=2, validation_interval=2, learning_rate=1e-30)
    made = trainer.train([rgb_batch()], [rgb_batch(1)], None, 40)
    assert made["steps_completed"] == len(made["training_loss_history"]) == trainer.current_step == 6


@every_kind
def test_validation_pictures_are_written_as_exr(kind, tmp_path):
    trainer = trainer_of(kind, save_training_images=True, validation_interval=2, output_dir=tmp_path, match_gain="never")
    batch = BATCHES[kind](side=32)
    trainer.train([batch], [batch], None, 2)
    folder = trainer.folder / "images" / "val_step_00000002"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"0{place}_0_{place}_{name}.exr" for place in range(2) for name in ("clean", "noisy", "output")
    ]
    given = trainer.task.prepared(batch, trainer.device)
    trainer.task.eval()
    with torch.no_grad():
        made = trainer.model(given["measurement"], given["planes"], given["noise"], given["balance"])
    clean = batch["clean_images"] if kind == "bayer_to_rgb" else in_rec2020(batch["clean_images"], batch["rgb_xyz_matrices"])
    expected = {"clean": clean, "output": in_rec2020(made, batch["rgb_xyz_matrices"])}
    for name, pictures in expected.items():
        for place in range(2):
            written = pixels_of(folder / f"0{place}_0_{place}_{name}.exr")
            np.testing.assert_allclose(written, pictures[place].permute(1, 2, 0).numpy(), rtol=2e-3, atol=2e-4)
    trainer.test([batch])
    assert (trainer.folder / "images" / "test_step_00000002").is_dir()


def pixels_of(path: Path) -> np.ndarray:
    with OpenEXR.File(str(path)) as file:
        return np.array(file.channels()["RGB"].pixels)


def test_without_being_told_to_it_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = trainer_of(validation_interval=1)
    trainer.train([rgb_batch()], [rgb_batch()], None, 2)
    trainer.test([rgb_batch()])
    assert not list(tmp_path.iterdir())


def test_gain_is_matched_at_the_input_where_it_is_told_to():
    trainer, plain = trainer_of("bayer_to_rgb", match_gain="input"), trainer_of("bayer_to_rgb")
    batch = bayer_batch()
    dark = copy.deepcopy(batch)
    dark["noisy_images"] = dark["noisy_images"] / torch.tensor([4.0, 2.0]).view(2, 1, 1, 1)
    assert trainer.validate([dark])["loss"] == pytest.approx(trainer.validate([batch])["loss"], rel=1e-4)
    assert plain.validate([dark])["loss"] != pytest.approx(plain.validate([batch])["loss"], rel=1e-2)


def test_a_picture_that_tells_nothing_about_its_exposure_does_not_end_training():
    trainer = trainer_of("bayer_to_rgb", match_gain="input")
    batch = bayer_batch()
    batch["noisy_images"][0] = 0.0
    batch["masks"][0] = 0.0
    assert math.isfinite(trainer.step(batch)["loss"])
    batch["masks"][:] = 0.0
    with pytest.raises(DataError, match="mask leaves out every pixel"):
        trainer.step(batch)


def test_metrics_are_called_alike_everywhere_and_tests_are_told_apart(tmp_path):
    trainer = trainer_of(additional_metrics=["mse", "psnr"], validation_interval=2, test_interval=2, output_dir=tmp_path)
    manager = create_experiment_manager(trainer.config)
    trainer.train([rgb_batch()], [rgb_batch(1)], manager, 4, test_dataloader=[rgb_batch(2)])
    assert set(manager.history[4]) == {"loss", "mse", "psnr", "train_loss", "lr", "test_loss", "test_mse", "test_psnr"}
    assert manager.history[4]["mse"] == pytest.approx(manager.history[4]["loss"], rel=1e-4)
    assert set(manager.get_best_steps()) == {"loss", "mse", "psnr"}
    assert set(trainer.test([rgb_batch(2)])) == {"loss", "mse", "psnr"}


def test_groups_hold_every_parameter_once():
    trainer = trainer_of()
    groups = trainer.get_optimizer_param_groups()
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in trainer.model.parameters())
    assert {group["lr"] for group in groups} == {1e-2}


def test_standard_is_told_the_noise():
    trainer = trainer_of("bayer_to_rgb", model_architecture="standard", filter_units=16)
    batch = bayer_batch(side=128, count=1)
    told = trainer.task.prepared(batch, trainer.device)["noise"]
    assert told.shape == (1, 2)
    assert float(told.sum()) > 0  # estimated where the batch does not say
    batch["noise"] = torch.tensor([[1e-3, 1e-6]])
    assert torch.equal(trainer.task.prepared(batch, trainer.device)["noise"], batch["noise"])
    assert math.isfinite(trainer.step(batch)["loss"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noisy_images": None}, "has no 'noisy_images'"),
        ({"rgb_xyz_matrices": None}, "has no 'rgb_xyz_matrices'"),
        ({"rgb_xyz_matrices": torch.ones(2, 2)}, r"expected XYZ to camera \(2, 3, 3\)"),
        ({"masks": torch.ones(2, 1, 5, 5)}, "mask: expected"),
        ({"noise": torch.ones(2)}, r"expected 'noise' \(2, 2\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_batches_that_are_none_are_refused(change, message):
    batch = {name: value for name, value in {**bayer_batch(), **change}.items() if value is not None}
    with pytest.raises(DataError, match=message):
        trainer_of("bayer_to_rgb").step(batch)


def test_values_that_are_not_finite_end_training_before_the_weights():
    trainer = trainer_of()
    before, bad = weights(trainer), rgb_batch()
    bad["noisy_images"][0, 0, 0, 0] = math.nan
    for train in (lambda: trainer.step(bad), lambda: trainer.train([bad], None, None, 2)):
        with pytest.raises(TrainingError, match="the batch itself holds non-finite values"):
            train()
        assert torch.equal(weights(trainer), before)
