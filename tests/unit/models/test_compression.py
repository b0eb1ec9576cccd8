"""What compression networks with learnt transforms share: quality levels, noise maps, companding, what they are told."""

import re

import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import RGGB, cfa_planes, pack
from photic.functional.companding import companded, expanded
from photic.models.factorized import FactorizedConfig
from photic.models.hyperprior import HyperpriorConfig

SMALL = {"width": 4, "num_latents": 6, "num_strides": 2}


def build(cls=FactorizedConfig, **fields):
    torch.manual_seed(0)
    return cls(**{**SMALL, **fields}).build().eval()


def inputs_for(network, height=32, width=48, *, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mosaic = network.measurement == "mosaic"
    picture = torch.rand(batch, 1 if mosaic else 3, height, width, generator=generator)
    planes = cfa_planes(RGGB, height, width)[None] if mosaic else torch.ones(1, 3, height, width)
    return picture, planes, 0.01 * torch.rand(batch, 2, generator=generator), 1 + torch.rand(batch, 3, generator=generator)


@pytest.mark.parametrize(
    ("fields", "stride", "multiple"),
    [
        ({}, 8, 8),
        ({"measurement": "rgb"}, 4, 4),
        ({"num_strides": 4}, 32, 32),
        ({"num_strides": 1, "measurement": "rgb"}, 2, 2),
    ],
)
def test_strides_count_pixels_of_the_measurement(fields, stride, multiple):
    network = build(**fields)
    assert (network.stride, network.multiple, network.tile_align) == (stride, multiple, stride)
    assert build(HyperpriorConfig, **fields).multiple == 4 * multiple
    latents = network.analysed(*inputs_for(network, 64, 96))
    assert latents.shape == (2, 6, 64 // stride, 96 // stride)


@pytest.mark.parametrize(
    ("measurement", "decoder", "fitting"),
    [("rgb", "bayer_ps", "use balle"), ("rgb", "bayer_tc", "use balle"), ("mosaic", "balle", "use bayer_ps or bayer_tc")],
)
def test_a_decoder_that_makes_another_size_is_refused(measurement, decoder, fitting):
    with pytest.raises(ConfigError, match=rf"factorized\.decoder: '{decoder}'.*'{measurement}'.*{fitting}"):
        FactorizedConfig(measurement=measurement, decoder=decoder)


@pytest.mark.parametrize("measurement", ["mosaic", "rgb"])
@pytest.mark.parametrize("companding", ["none", "root"])
def test_the_encoder_sees_white_balanced_values_through_the_curve(measurement, companding):
    network = build(measurement=measurement, companding=companding)
    picture, planes, noise, balance = inputs_for(network)
    factors = balance[:, [0, 1, 1, 2]] if measurement == "mosaic" else balance
    balanced = (pack(picture) if measurement == "mosaic" else picture) * factors[:, :, None, None]
    expected = network.encoder(companded(balanced) if companding == "root" else balanced)
    assert torch.equal(network.analysed(picture, planes, noise, balance), expected)


@pytest.mark.parametrize("companding", ["none", "root"])
def test_pictures_come_back_through_the_curve_and_without_white_balance(companding):
    network = build(measurement="rgb", companding=companding)
    latents, balance = torch.randn(2, 6, 3, 4).round(), torch.tensor([[2.0, 1.0, 1.5], [1.0, 1.0, 1.0]])
    made = network.decoder(latents)
    expected = (expanded(made) if companding == "root" else made) / balance[:, :, None, None]
    torch.testing.assert_close(network.synthesised(latents, balance), expected)


def test_the_noise_map_is_the_local_standard_deviation_of_what_the_encoder_sees():
    """Measured on drawn noise, at several levels: factor 10 apart from it."""
    network = build(measurement="rgb", noise_map=True, companding="root")
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    a, b, gains = 1e-3, 1e-5, torch.tensor([2.0, 1.0, 1.5])
    for level in (0.02, 0.1, 0.4):
        clean = torch.full((1, 3, 256, 256), level)
        noisy = clean + (a * level + b) ** 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        network.analysed(noisy, torch.ones_like(clean), torch.tensor([[a, b]]), gains[None])
        spread = seen[-1][:, :3].std(dim=(2, 3)).mean().item()
        told = seen[-1][:, 3]
        assert told.mean().item() == pytest.approx(10 * spread, rel=0.05)
        assert told.std() < 0.1 * told.mean()


def test_the_noise_map_is_the_only_thing_that_looks_at_the_noise():
    for noise_map in (False, True):
        network = build(noise_map=noise_map)
        picture, planes, noise, balance = inputs_for(network)
        same = torch.equal(network.analysed(picture, planes, noise, balance), network.analysed(picture, planes, 5 * noise, balance))
        assert same != noise_map


def test_a_picture_below_black_without_noise_has_a_finite_map():
    network = build(noise_map=True, companding="root")
    picture, planes, noise, balance = inputs_for(network)
    assert torch.isfinite(network.analysed(picture - 1, planes, 0 * noise, balance)).all()


def test_quality_levels_begin_half_a_step_of_energy_apart_and_the_decoder_takes_them_back():
    network = build(num_qualities=5)
    given = inputs_for(network)
    latents = [network.analysed(*given, torch.full((2,), float(level))) for level in (1, 2, 5)]
    torch.testing.assert_close(latents[1], latents[0] * 2**0.5)
    torch.testing.assert_close(latents[2], latents[0] * 4)
    plain = build(num_qualities=1)
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if "gain" not in name})
    torch.testing.assert_close(latents[2], plain.analysed(*given))
    for level, scaled in zip((1, 2, 5), latents, strict=True):
        made = network.synthesised(scaled, given[3], torch.full((2,), float(level)))
        torch.testing.assert_close(made, plain.synthesised(latents[2], given[3]), atol=1e-5, rtol=1e-4)


def test_without_a_level_the_highest_is_taken():
    network = build(num_qualities=3)
    given = inputs_for(network)
    highest = torch.full((2,), 3.0)
    assert torch.equal(network.analysed(*given), network.analysed(*given, highest))
    assert torch.equal(network(*given).picture, network(*given, highest).picture)


def test_each_picture_has_its_own_level_and_between_levels_factors_are_in_equal_ratios():
    network = build(num_qualities=4)
    with torch.no_grad():
        network.log_gain.add_(0.3 * torch.randn(network.log_gain.shape, generator=torch.Generator().manual_seed(1)))
    given = inputs_for(network)
    mixed = network.analysed(*given, torch.tensor([1.0, 2.5]))
    low, high = (network.analysed(*given, torch.full((2,), level)) for level in (2.0, 3.0))
    torch.testing.assert_close(mixed[0], network.analysed(*given, torch.ones(2))[0])
    torch.testing.assert_close(mixed[1], low[1].sign() * (low[1] * high[1]).sqrt(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("levels", [[0.5, 1.0], [1.0, 3.5], [float("nan"), 1.0], [1.0], [[1.0], [2.0]]], ids=str)
def test_levels_that_do_not_exist_are_refused(levels):
    network = build(num_qualities=3)
    with pytest.raises(DataError, match=re.escape(f"quality: expected (2,) levels from 1 to 3, got {levels}")):
        network(*inputs_for(network), torch.tensor(levels))


def test_a_network_of_one_level_takes_any_and_has_no_factors():
    network = build()
    assert network.log_gain is None
    given = inputs_for(network)
    assert torch.equal(network(*given).picture, network(*given, torch.ones(2)).picture)


@pytest.mark.parametrize("fields", [{}, {"num_qualities": 3}], ids=str)
def test_parts_of_the_parameters_are_all_of_them_once(fields):
    network = build(HyperpriorConfig, **fields)
    parts = network.parameter_parts()
    assert set(parts) == {"encoder", "decoder", "hyper", "entropy", "auxiliary", *(["gains"] if fields else [])}
    everyone = [id(parameter) for part in parts.values() for parameter in part]
    assert len(everyone) == len(set(everyone))
    assert set(everyone) == {id(parameter) for parameter in network.parameters()}
    assert parts["auxiliary"] == [network.bit_estimator.density.quantiles]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert all(names[id(p)].startswith(("bit_estimator.analysis", "bit_estimator.synthesis")) for p in parts["hyper"])
    if fields:
        assert [names[id(p)] for p in parts["gains"]] == ["log_gain", "log_inverse_gain"]


def test_frozen_parameters_are_in_no_part():
    network = build(HyperpriorConfig)
    network.encoder.requires_grad_(False)
    assert network.parameter_parts()["encoder"] == []


def test_a_step_down_the_rate_lowers_it():
    """Of the same latents, seen with the same noise."""
    network = build(HyperpriorConfig).train()
    given = inputs_for(network, 64, 64)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rates = []
    for _ in range(15):
        torch.manual_seed(1)
        rate = torch.stack(list(network(*given).bits.values())).sum()
        rates.append(rate.item())
        optimizer.zero_grad()
        rate.backward()
        optimizer.step()
    assert rates[-1] < 0.97 * rates[0]
