"""Denoising and then compressing: two networks that are one, of which the first stays as it is."""

from __future__ import annotations

import copy

import pytest
import torch

from photic.core.checkpoint import load_weights
from photic.core.errors import CheckpointError, ConfigError
from photic.core.registry import losses, models, tasks
from photic.functional.cfa import RGGB, cfa_planes
from photic.models.denoise_then_compress import DenoiseThenCompressConfig
from photic.models.hyperprior import HyperpriorConfig
from photic.models.raw_identity import RawIdentityConfig
from photic.models.standard import StandardConfig

INNER = HyperpriorConfig(measurement="rgb", width=4, num_latents=6, num_strides=2, hyper_widths=(4, 4), num_qualities=2, companding="root")
CONFIG = DenoiseThenCompressConfig(denoiser=StandardConfig(size="tiny"), compressor=INNER, denoiser_from="somewhere")


def weights_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def trained_denoiser(size="tiny"):
    torch.manual_seed(7)
    network = StandardConfig(size=size).build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return network.eval()


DENOISER = trained_denoiser()


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = CONFIG.build()
    made.start(lambda source: weights_of(DENOISER))
    return made


def given(side=96, batch=2):
    generator = torch.Generator().manual_seed(0)
    mosaic = torch.rand(batch, 1, side, side, generator=generator)
    return mosaic, cfa_planes(RGGB, side, side)[None], torch.full((batch, 2), 1e-3), torch.tensor([[2.0, 1.0, 1.5]]).expand(batch, 3)


def test_it_compresses_what_the_denoiser_makes_and_tells_it_of_no_noise(network):
    measurement, planes, noise, balance = given()
    with torch.no_grad():
        made = network.eval()(measurement, planes, noise, balance)
        clean = DENOISER(measurement, planes, noise, balance)
        expected = network.compressor(clean, torch.ones_like(clean), torch.zeros(2, 2), balance)
    assert torch.equal(made.picture, expected.picture)
    assert torch.equal(made.analysed, expected.analysed)
    assert all(torch.equal(bits, expected.bits[name]) for name, bits in made.bits.items())
    assert made.bits.keys() == expected.bits.keys()


def test_the_denoiser_is_frozen_stays_in_evaluation_and_is_in_no_group(network):
    task = tasks.configure("compression", metrics=("psnr",)).build(
        CONFIG, losses.configure("rate_distortion", distortion={"name": "mse"}), {"measurement": "mosaic"}
    )
    for parent in (network, task):
        parent.train()
    for made in (network, task.network):
        assert made.training
        assert made.compressor.bit_estimator.training
        assert not any(module.training for module in made.denoiser.modules())
        assert not any(parameter.requires_grad for parameter in made.denoiser.parameters())
    held = {id(parameter) for group in task.parameter_groups(1e-3, 0.0) for parameter in group["params"]}
    assert held == {id(parameter) for parameter in task.network.compressor.parameters()}
    made = network(*given())
    (made.picture.square().mean() + sum(bits.mean() for bits in made.bits.values())).backward()
    assert all(parameter.grad is None for parameter in network.denoiser.parameters())
    assert all(parameter.grad is not None for parameter in network.encoder.parameters())


def test_what_it_is_seen_through_stands_in_the_state_once(network):
    assert network.encoder is network.compressor.encoder
    assert network.decoder is network.compressor.decoder
    assert network.bit_estimator is network.compressor.bit_estimator
    assert {name.partition(".")[0] for name in network.state_dict()} == {"denoiser", "compressor"}
    sizes = [value.numel() for value in network.state_dict().values()]
    parts = [value.numel() for part in (network.denoiser, network.compressor) for value in part.state_dict().values()]
    assert sorted(sizes) == sorted(parts)


@pytest.mark.parametrize(
    ("num_strides", "multiple", "align"),
    [(2, 48, 48), (3, 96, 48), (4, 192, 48), (5, 384, 96)],  # 48 of the denoiser with 4 hyper-latents per stride, and with the stride
)
def test_sizes_fit_both_networks(num_strides, multiple, align):
    made = CONFIG.replace(compressor=INNER.replace(num_strides=num_strides)).build()
    assert (made.stride, made.multiple, made.tile_align) == (2**num_strides, multiple, align)
    assert made.encoder_halo_px == made.compressor.encoder_halo_px + made.denoiser.margin_px
    assert made.decoder_halo == made.compressor.decoder_halo
    assert made.num_qualities == 2


def test_it_knows_nothing_of_a_denoiser_until_it_has_started():
    made = CONFIG.build()
    with pytest.raises(ConfigError, match=r"model\.denoiser_from: the denoiser is frozen and has random weights"):
        made.check_trainable()
    asked = []
    made.start(lambda source: asked.append(source) or weights_of(DENOISER))
    made.check_trainable()
    assert asked == ["somewhere"]
    for name, value in DENOISER.state_dict().items():
        assert torch.equal(made.denoiser.state_dict()[name], value)


def test_without_a_source_it_starts_nothing_and_cannot_be_trained():
    made = CONFIG.replace(denoiser_from=None).build()
    made.start(lambda source: pytest.fail("nothing to read"))
    with pytest.raises(ConfigError, match="name a trained one"):
        made.check_trainable()


def test_a_task_refuses_to_train_behind_random_weights_and_evaluates_all_the_same():
    loss = losses.configure("rate_distortion", distortion={"name": "mse"})
    task = tasks.configure("compression", metrics=("psnr",)).build(CONFIG.replace(denoiser_from=None), loss, {})
    measurement, planes, noise, balance = given()
    batch = {"measurement": measurement, "planes": planes.expand(2, -1, -1, -1), "noise": noise, "balance": balance}
    batch |= {"target": torch.rand(2, 3, 96, 96), "xyz_to_camera": torch.eye(3).expand(2, 3, 3)}
    for refused in (lambda: task.step(batch, "train"), lambda: task.start(lambda source: {})):
        with pytest.raises(ConfigError, match="denoiser_from"):
            refused()
    with torch.no_grad():
        assert torch.isfinite(task.eval().step(batch, "val").loss)


def test_a_trained_network_brings_its_own_denoiser(network):
    other = copy.deepcopy(CONFIG.replace(denoiser_from=None)).build()
    load_weights(other, network.state_dict(), "a bundle")
    other.check_trainable()
    with torch.no_grad():
        assert torch.equal(other.eval()(*given()).picture, network.eval()(*given()).picture)


def test_a_denoiser_of_another_size_is_refused_by_its_shapes():
    made = CONFIG.build()
    before = weights_of(made)
    with pytest.raises(CheckpointError, match=r"model\.denoiser_from=somewhere: the weights do not fit this network"):
        made.start(lambda source: weights_of(trained_denoiser("small")))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_classical_demosaicer_needs_no_weights():
    made = CONFIG.replace(denoiser=RawIdentityConfig(), denoiser_from=None).build()
    made.check_trainable()
    made.train()(*given())


def test_trained_as_one_the_denoiser_learns_with_the_encoder_from_random_weights_or_given_ones():
    fields = {"denoiser": CONFIG.denoiser, "compressor": INNER}
    made = models.configure("denoise_and_compress", **fields).build()
    made.check_trainable()
    assert {id(p) for p in made.denoiser.parameters()} < {id(p) for p in made.parameter_parts()["encoder"]}
    made = models.configure("denoise_and_compress", **fields, denoiser_from="somewhere").build()
    made.start(lambda source: weights_of(DENOISER))
    assert all(torch.equal(value, made.denoiser.state_dict()[name]) for name, value in DENOISER.state_dict().items())
    assert all(module.training for module in made.train().denoiser.modules())
    coded = made(*given())
    (coded.picture.square().mean() + sum(bits.mean() for bits in coded.bits.values())).backward()
    assert all(parameter.grad is not None for parameter in made.denoiser.parameters())


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"denoiser\.measurement: the network takes rgb, its denoiser mosaic"):
        CONFIG.replace(measurement="rgb")
    with pytest.raises(ConfigError, match=r"compressor\.measurement: expected rgb, got mosaic"):
        CONFIG.replace(compressor=HyperpriorConfig())
    with pytest.raises(ConfigError, match=r"compressor\.noise_map: a denoised picture has no noise"):
        CONFIG.replace(compressor=INNER.replace(noise_map=True))
    with pytest.raises(ConfigError, match="expected a TransformConfig"):
        models.configure("denoise_then_compress", compressor="denoise_then_compress")


def test_its_defaults_are_the_standard_denoiser_and_a_hyperprior_for_rgb():
    config = models.configure("denoise_then_compress")
    assert (config.denoiser, config.compressor) == (StandardConfig(), HyperpriorConfig(measurement="rgb"))
    assert type(config).from_dict(config.to_dict()) == config


def test_under_autocast_the_denoiser_runs_as_the_rest_does(network):
    measurement, planes, noise, balance = given()
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        made = network(measurement, planes, noise, balance)
        clean = network.denoised(measurement, planes, noise, balance)
    with torch.no_grad():
        exact = network.denoised(measurement, planes, noise, balance)
    assert (made.picture.dtype, clean.dtype) == (torch.float32, torch.float32)
    assert not clean.requires_grad
    assert 0 < (clean - exact).abs().max() < 0.05
    made.picture.square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.encoder.parameters())


def test_a_compressor_that_was_trained_before_is_taken_in_whole():
    torch.manual_seed(3)
    trained = weights_of(INNER.build())
    made = CONFIG.replace(compressor_from="rgb").build()
    read = {"somewhere": weights_of(DENOISER), "rgb": trained}
    made.start(read.__getitem__)
    assert all(torch.equal(value, trained[name]) for name, value in made.compressor.state_dict().items())
    assert made.compressor.state_dict().keys() == trained.keys()
    with pytest.raises(CheckpointError, match=r"model\.compressor_from=rgb: the weights do not fit this network"):
        made.start({"somewhere": weights_of(DENOISER), "rgb": weights_of(INNER.replace(width=6).build())}.__getitem__)
