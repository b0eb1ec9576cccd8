"""Trainers of networks that compress, from Python: what is minimised, what moves how fast, checkpoints."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.rawnind import (
    CleanDenoiseCompressTrainer,
    TrainingConfig,
    create_denoise_compress_trainer,
    create_denoiser_trainer,
)
from photic.core.errors import ConfigError, DataError, TrainingError

from .api_batches import MATRIX, OTHER_MATRIX, bayer_batch, in_rec2020, packed, rgb_batch

OPTIONS: dict[str, dict[str, Any]] = {
    "hyperprior": {"num_latents": 6},
    "many_priors": {"num_latents": 6, "num_priors": 3},
    "factorized": {"num_latents": 6},
}
BATCHES = {"rgb_to_rgb": rgb_batch, "bayer_to_rgb": bayer_batch}
every_kind = pytest.mark.parametrize("kind", list(BATCHES))
every_network = pytest.mark.parametrize("network", list(OPTIONS))


def trainer_of(kind: str = "rgb_to_rgb", network: str = "hyperprior", **fields: Any) -> CleanDenoiseCompressTrainer:
    usual = {"model_architecture": network, "filter_units": 1, "model_options": OPTIONS[network], "learning_rate": 1e-3}
    return create_denoise_compress_trainer(kind, TrainingConfig(**{**usual, **fields}))


def weights(trainer: CleanDenoiseCompressTrainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])


def test_defaults_are_the_published_ones():
    config = TrainingConfig(model_architecture="ManyPriors")
    assert (config.learning_rate, config.gradient_clip_norm, config.bit_estimator_lr_multiplier) == (1e-4, 1.0, 10.0)
    assert (TrainingConfig().learning_rate, TrainingConfig().gradient_clip_norm) == (3e-4, None)
    assert TrainingConfig(model_architecture="autoencoder").learning_rate == 3e-4  # a denoiser
    assert TrainingConfig(model_architecture="autoencoder", compression_lambda=4).learning_rate == 1e-4
    assert TrainingConfig(model_architecture="hyperprior", learning_rate=2e-3, gradient_clip_norm=5).rate == 2e-3
    assert TrainingConfig.from_dict(config.to_dict()) == config
    by_loss = {"mse": 4096.0, "l1": 128.0, "ms_ssim": 32.0}
    assert {name: trainer_of(loss_function=name).compression_lambda for name in by_loss} == by_loss
    for value in (2, 4, 32, 64, 128, 4096):
        assert trainer_of(compression_lambda=value).compression_lambda == value
    none = create_denoise_compress_trainer("bayer_to_rgb", {"filter_units": 1, "model_options": OPTIONS["hyperprior"]})
    assert (none.config.model_architecture, none.get_current_learning_rate()) == ("hyperprior", 1e-4)


@every_kind
@every_network
def test_a_trainer_trains(kind, network):
    trainer = trainer_of(kind, network, compression_lambda=64.0, learning_rate=3e-3)
    batch = BATCHES[kind]()
    before = trainer.validate([batch])
    assert set(before) == {"loss", "distortion", "rate", "bpp", "bpp_actual"}
    made = trainer.train([batch], None, None, max_steps=8)
    after = trainer.validate([batch])
    assert made["steps_completed"] == trainer.current_step == 8
    assert after["loss"] < before["loss"]
    assert after["loss"] == pytest.approx(after["distortion"] + after["rate"], rel=1e-5)
    assert after["rate"] == pytest.approx(after["bpp"], rel=1e-5)
    assert trainer.model.encoder is trainer.encoder
    assert trainer.model.decoder is trainer.decoder
    assert trainer.model.bit_estimator is trainer.bit_estimator


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("transfer", ["none", "gamma22"])
def test_the_joint_loss_is_lambda_d_plus_r(loss, transfer):
    trainer = trainer_of(loss_function=loss, transfer_function=transfer, compression_lambda=64.0)
    made, true = (torch.rand(2, 3, 16, 12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    mask = torch.rand(2, 1, 16, 12, generator=torch.Generator().manual_seed(2)) < 0.4
    spoilt = made.masked_fill(~mask, math.nan)
    first, second = ((part.double().numpy() ** (1 / 2.2)) if transfer == "gamma22" else part.double().numpy() for part in (made, true))
    chosen = (first - second)[np.broadcast_to(mask.numpy(), made.shape)]
    distortion = np.square(chosen).mean() if loss == "mse" else np.abs(chosen).mean()
    bits = {"latents": torch.tensor([100.0, 300.0]), "hyper": torch.tensor([20.0, 20.0])}
    total, parts = trainer.compute_joint_loss(spoilt, true, bits, mask)
    rate = (120 + 320) / 2 / (16 * 12)
    assert set(parts) == {"distortion", "rate"}
    assert float(parts["distortion"]) == pytest.approx(64 * distortion, rel=1e-3)
    assert float(parts["rate"]) == pytest.approx(rate, rel=1e-6)
    assert float(total) == pytest.approx(64 * distortion + rate, rel=1e-3)
    assert float(trainer.compute_loss(spoilt, true, mask)) == pytest.approx(distortion, rel=1e-3)  # D alone
    each = torch.tensor([120.0, 320.0]) / (16 * 12)
    for rates in (rate, torch.tensor(rate), each):
        assert float(trainer.compute_joint_loss(spoilt, true, rates, mask)[0]) == pytest.approx(float(total), rel=1e-6)


def test_the_joint_loss_leads_back_to_the_picture_and_the_bits():
    trainer = trainer_of(compression_lambda=4.0)
    made, bpp = torch.rand(2, 3, 8, 8, requires_grad=True), torch.tensor([0.5, 1.0], requires_grad=True)
    trainer.compute_joint_loss(made, torch.rand(2, 3, 8, 8), bpp)[0].backward()
    assert made.grad is not None
    assert bpp.grad is not None
    assert bpp.grad.tolist() == [0.5, 0.5]
    with pytest.raises(DataError, match="Nothing is scaled to fit"):
        trainer.compute_joint_loss(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 4, 4), 0.5)
    with pytest.raises(DataError, match=r"as one number or \(2,\), got \(3,\)"):
        trainer.compute_joint_loss(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.ones(3))


@every_kind
def test_a_step_minimises_the_joint_loss_of_what_process_bayer_output_gives(kind):
    trainer = trainer_of(kind, "factorized", loss_function="l1", transfer_function="gamma22", compression_lambda=32.0)
    batch = BATCHES[kind]()
    batch["masks"][..., :10] = 0
    trainer.task.eval()
    with torch.no_grad():
        given = trainer.task.prepared(batch, trainer.device)
        coded = trainer.model(given["measurement"], given["planes"], given["noise"], given["balance"])
        made = coded.picture
        if kind == "bayer_to_rgb":
            assert made.shape[-2:] == (2 * batch["noisy_images"].shape[2], 2 * batch["noisy_images"].shape[3])
            made = trainer.process_bayer_output(made, batch["rgb_xyz_matrices"], batch["noisy_images"])
        total, parts = trainer.compute_joint_loss(made, batch["clean_images"], coded.bits, batch["masks"])
    found = trainer.validate([batch])
    assert found["loss"] == pytest.approx(float(total), rel=1e-5)
    assert found["distortion"] == pytest.approx(float(parts["distortion"]), rel=1e-5)
    assert found["rate"] == pytest.approx(float(parts["rate"]), rel=1e-5)
    step = trainer.step(batch)
    assert set(step) == {"loss", "distortion", "rate", "quantiles", "learning_rate"}
    assert step["loss"] == pytest.approx(step["distortion"] + step["rate"] + step["quantiles"], rel=1e-5)


def test_process_bayer_output_is_the_inverse_of_each_pictures_own_matrix():
    trainer = trainer_of("bayer_to_rgb", "factorized")
    output = torch.rand(2, 3, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = torch.stack([MATRIX, OTHER_MATRIX])
    made = trainer.process_bayer_output(output, matrices, packed(output))
    torch.testing.assert_close(made, in_rec2020(output, matrices), rtol=2e-4, atol=2e-5)
    assert (made - output).abs().mean() > 0.05
    with pytest.raises(ConfigError, match="rgb_to_rgb"):
        trainer_of().process_bayer_output(output, matrices, packed(output))


@every_kind
@every_network
def test_every_group_moves_in_a_step_at_its_own_rate(kind, network):
    trainer = trainer_of(kind, network, learning_rate=1e-3, bit_estimator_lr_multiplier=7.0, gradient_clip_norm=1e30)
    groups = trainer.get_optimizer_param_groups()
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in trainer.model.parameters())
    part = {group["name"]: group["name"].removesuffix("_plain") for group in groups}
    expected = {"encoder", "decoder", "entropy", "auxiliary", *(["hyper"] if network == "hyperprior" else [])}
    assert set(part.values()) == expected
    factor = {"entropy": 7.0, "auxiliary": 7.0}
    assert all(group["lr"] == pytest.approx(1e-3 * factor.get(part[group["name"]], 1.0)) for group in groups)
    with torch.no_grad():
        for parameter in trainer.encoder.parameters():
            if parameter.ndim == 4:
                parameter.mul_(3.0)  # latents that do not all round to 0, so that every layer of the decoder sees something
    before = {group["name"]: [p.detach().clone() for p in group["params"]] for group in groups}
    trainer.step(BATCHES[kind]())
    for group in groups:
        moved = max(float((p.detach() - old).abs().max()) for p, old in zip(group["params"], before[group["name"]], strict=True))
        assert 0.5 * group["lr"] < moved < 1.01 * group["lr"]  # Adam's first step is as long as its rate where the gradient is not tiny
    ids = {id(p) for group in groups if part[group["name"]] in {"entropy", "hyper", "auxiliary"} for p in group["params"]}
    assert ids == {id(p) for p in trainer.bit_estimator.parameters()}


def test_patience_lowers_every_group_by_the_same_factor_once():
    trainer = trainer_of(patience=2, lr_decay_factor=0.5)
    before = {group["name"]: group["lr"] for group in trainer.optimizer.param_groups}
    for step in range(4):
        trainer.update_learning_rate({"loss": 1.0}, step)
    assert {group["name"]: group["lr"] / before[group["name"]] for group in trainer.optimizer.param_groups} == {
        name: pytest.approx(0.5) for name in before
    }
    trainer.step(rgb_batch(), step=5)
    assert trainer.get_current_learning_rate() == pytest.approx(5e-4)


def test_masked_pixels_are_left_out_and_all_bits_count():
    trainer = trainer_of("bayer_to_rgb", "factorized")
    batch = bayer_batch()
    batch["masks"][..., :16] = 0
    plain = trainer.validate([batch])
    spoilt = copy.deepcopy(batch)
    spoilt["clean_images"][..., :16] = 7.0
    assert trainer.validate([spoilt])["distortion"] == pytest.approx(plain["distortion"], rel=1e-6)
    batch["masks"][:] = 1
    assert trainer.validate([batch])["rate"] == plain["rate"]  # a mask saves no bits
    batch["masks"][:] = 0
    with pytest.raises(DataError, match="mask leaves out every pixel"):
        trainer.step(batch)


def test_a_higher_lambda_buys_a_better_picture_with_more_bits():
    found = []
    for value in (2.0, 4096.0):
        trainer = trainer_of(network="factorized", compression_lambda=value, learning_rate=1e-2, filter_units=2)
        batch = rgb_batch(side=32)
        batch["clean_images"] = torch.nn.functional.interpolate(batch["clean_images"][..., :4, :4], size=32, mode="bilinear")
        batch["noisy_images"] = batch["clean_images"]
        trainer.train([batch], None, None, 30)
        values = trainer.validate([batch])
        found.append((values["bpp"], values["distortion"] / value))
    assert found[0][0] < found[1][0]
    assert found[0][1] > found[1][1]


def test_levels_of_quality_have_a_lambda_each():
    options = {**OPTIONS["hyperprior"], "num_qualities": 3}
    trainer = trainer_of(compression_lambda=64.0, compression_lambda_lowest=4.0, model_options=options)
    batch = rgb_batch(count=1)
    shown = {}
    for level in (1.0, 2.0, 3.0):
        with torch.no_grad():
            given = trainer.task.prepared({**batch, "quality": torch.tensor([level])}, trainer.device)
            trainer.task.eval()
            result = trainer.task.step(given, "val")
            shown[level] = float(result.terms["distortion"] / trainer.compute_loss(result.prediction, batch["clean_images"]))
    assert shown == {1.0: pytest.approx(4.0, rel=1e-4), 2.0: pytest.approx(16.0, rel=1e-4), 3.0: pytest.approx(64.0, rel=1e-4)}
    assert math.isfinite(trainer.step(batch)["loss"])
    with pytest.raises(DataError, match=r"expected 'quality' \(1,\)"):
        trainer.step({**batch, "quality": torch.ones(2)})
    with pytest.raises(ConfigError, match="lmbda_lowest: expected at most lmbda"):
        trainer_of(compression_lambda=4.0, compression_lambda_lowest=64.0, model_options=options)


def test_single_steps_are_those_of_training_to_the_bit_and_leave_random_numbers_alone():
    batches = [rgb_batch(seed, count=1) for seed in range(2)]
    whole, single = trainer_of(), trainer_of()
    made = whole.train(batches, None, None, 4)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    losses = [single.step(batches[number % 2], step=number)["loss"] for number in range(4)]
    assert torch.equal(torch.rand(1), expected)
    assert losses == made["training_loss_history"]  # the noise in place of rounding is that of the step
    assert torch.equal(weights(whole), weights(single))


def test_bits_alone_do_not_keep_the_rate_up():
    trainer = trainer_of(network="factorized", learning_rate=1e-30, patience=2, lr_decay_factor=0.5, validation_interval=1)
    falling = iter(range(100, 0, -1))
    plain = trainer.task.step

    def cheaper(batch: Any, phase: Any) -> Any:
        result = plain(batch, phase)
        if phase == "val":
            assert result.reduced is not None
            result.reduced[0][:, -2:] = next(falling)
        return result

    trainer.task.step = cheaper  # type: ignore[method-assign]
    trainer.train([rgb_batch()], [rgb_batch(1)], None, 4)
    assert [entry["lr"] for entry in trainer.state.history] == pytest.approx([1e-30, 1e-30, 5e-31, 5e-31], abs=0)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("bayer_to_rg", {}, r"training_type: expected one of rgb_to_rgb, bayer_to_rgb, got 'bayer_to_rg'"),
        ("rgb_to_rgb", {"model_architecture": "unet"}, r"model_architecture: 'unet' does not compress raw pictures"),
        ("rgb_to_rgb", {"decoder_arch": "BayerPS"}, r"decoder: 'bayer_ps' does not make pictures .* measurement 'rgb'; use balle"),
        ("bayer_to_rgb", {"decoder_arch": "Balle"}, r"decoder: 'balle' does not make pictures .* use bayer_ps or bayer_tc"),
        ("bayer_to_rgb", {"input_channels": 3}, r"bayer_to_rgb takes 4 channels, not 3"),
        ("bayer_to_rgb", {"crop_size": 33}, r"crop_size: crops of a Bayer mosaic need even sides"),
        ("rgb_to_rgb", {"compression_lambda": 0.0}, r"compression_lambda: expected a value"),
        ("rgb_to_rgb", {"compression_lambda": -4.0}, r"compression_lambda: expected a value"),
        ("rgb_to_rgb", {"bit_estimator_lr_multiplier": 0.0}, r"bit_estimator_lr_multiplier: expected a value"),
        ("rgb_to_rgb", {"gradient_clip_norm": 0.0}, r"gradient_clip_norm: expected a value"),
        ("rgb_to_rgb", {"encoder_arch": "Bale"}, r"encoder_arch: expected one of Balle, got 'Bale'; did you mean 'Balle'"),
        ("rgb_to_rgb", {"model_options": {"num_latens": 4}}, r"unknown option 'num_latens'; did you mean 'num_latents'"),
        ("rgb_to_rgb", {"device": "cuda:99"}, r"device 'cuda:99' is not available here"),
        ("rgb_to_rgb", {"learning_rate": 0.0}, r"learning_rate: expected a finite value above 0"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_training_refuses_says_why(kind, fields, message):
    with pytest.raises(ConfigError, match=message):
        create_denoise_compress_trainer(kind, TrainingConfig(**{"model_architecture": "hyperprior", "filter_units": 1, **fields}))


def test_parts_of_compression_are_refused_for_denoisers():
    for name, value in {"decoder_arch": "Balle", "encoder_arch": "Balle", "compression_lambda_lowest": 2.0}.items():
        with pytest.raises(ConfigError, match=f"TrainingConfig.{name}: 'unet' does not compress"):
            TrainingConfig(model_architecture="unet", **{name: value})
    with pytest.raises(ConfigError, match="'hyperprior' does not denoise raw pictures"):
        create_denoiser_trainer("rgb_to_rgb", TrainingConfig(model_architecture="hyperprior"))
    made = create_denoiser_trainer(
        "rgb_to_rgb", TrainingConfig(model_architecture="unet", filter_units=2, model_options={"activation": "prelu"})
    )
    assert any("PReLU" in type(layer).__name__ for layer in made.model.modules())


def test_settings_come_from_yaml(tmp_path):
    file = tmp_path / "training.yaml"
    file.write_text(
        "model_architecture: ManyPriors\nencoder_arch: Balle\ndecoder_arch: BayerTC\nfilter_units: 1\n"
        "model_options: {num_latents: 4, num_priors: 2}\ncompression_lambda: 128\ndevice: -1\n"
    )
    trainer = create_denoise_compress_trainer("bayer_to_rgb", file)
    assert (trainer.decoder.decoder, trainer.compression_lambda, trainer.config.device) == ("bayer_tc", 128.0, "cpu")
    assert TrainingConfig.from_yaml(file) == trainer.config


def test_values_that_are_not_finite_end_training_before_the_weights():
    trainer = trainer_of(network="factorized")
    before, bad = weights(trainer), rgb_batch()
    bad["clean_images"][0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match="loss term 'distortion' turned nan"):
        trainer.step(bad)
    assert torch.equal(weights(trainer), before)
