"""The codec's transforms as a denoiser, and the denoiser that does nothing but demosaic."""

import pytest
import torch

from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes, mosaic_of, pack
from photic.functional.demosaic import malvar, normalised_convolution
from photic.models.codec.gdn import GDN
from photic.models.cost import cost_of
from photic.models.raw_autoencoder import RawAutoencoderConfig
from photic.models.raw_identity import RawIdentityConfig


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def given(side, *, channels=1, pattern=RGGB, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand(batch, channels, side, side, generator=generator, dtype=torch.float64)
    planes = cfa_planes(pattern, side, side)[None] if channels == 1 else torch.ones(1, 3, side, side)
    return picture, planes, torch.rand(batch, 2, generator=generator), 1 + torch.rand(batch, 3, generator=generator)


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({}, 3_510_464 + 3_548_556),
        ({"decoder": "bayer_tc"}, 3_510_464 + 4_464_195),
        ({"measurement": "rgb"}, 3_505_664 + 3_505_347),
    ],
)
def test_its_parameters_are_those_of_its_two_transforms(fields, total):
    assert count(RawAutoencoderConfig(**fields).build()) == total


def test_the_decoder_follows_the_measurement_where_it_is_open():
    small = {"width": 2, "num_latents": 2}
    assert RawAutoencoderConfig(**small).build().synthesis.decoder == "bayer_ps"
    assert RawAutoencoderConfig(measurement="rgb", **small).build().synthesis.decoder == "balle"
    assert RawAutoencoderConfig(decoder="bayer_tc", **small).build().synthesis.decoder == "bayer_tc"


@pytest.mark.parametrize(
    ("measurement", "decoder", "fitting"), [("rgb", "bayer_ps", "use balle"), ("mosaic", "balle", "use bayer_ps or bayer_tc")]
)
def test_a_decoder_that_makes_another_size_is_refused(measurement, decoder, fitting):
    with pytest.raises(ConfigError, match=rf"autoencoder\.decoder: '{decoder}'.*'{measurement}'; {fitting}"):
        RawAutoencoderConfig(measurement=measurement, decoder=decoder)


def test_it_sees_packed_planes_and_nothing_of_noise_and_balance():
    network = RawAutoencoderConfig(width=4, num_latents=6).build().double()
    picture, planes, noise, balance = given(64)
    made = network(picture, planes, noise, balance)
    assert torch.equal(made, network.synthesis(network.analysis(pack(picture))))
    assert torch.equal(made, network(picture, planes, 0 * noise, torch.ones_like(balance)))


@pytest.mark.parametrize("fields", [{"decoder": "bayer_ps"}, {"decoder": "bayer_tc"}, {"measurement": "rgb"}], ids=str)
def test_the_margin_is_how_far_it_really_looks(fields):
    """With positive weights nothing cancels, so that every path has a gradient."""
    network = RawAutoencoderConfig(width=1, num_latents=1, **fields).build().double()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                layer.weight.fill_(0.3)
                layer.bias.fill_(0.1)
            elif isinstance(layer, GDN):
                layer.gamma.root.zero_()  # dividing by what is near would cancel some
    margin, multiple = network.margin_px, network.multiple
    middle = multiple * -(-margin // multiple)
    side = multiple * -(-(middle + multiple + margin) // multiple)
    picture, planes, noise, balance = given(side, channels=3 if "measurement" in fields else 1)
    band = picture[:, :, :multiple].clone().requires_grad_()
    made = network(band, planes[:, :, :multiple], noise, balance)
    reaches = []
    for place in range(middle, middle + multiple):
        (gradient,) = torch.autograd.grad(made[0, :, :, place].sum(), band, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
        reaches.append(max(place - int(touched[0]), int(touched[-1]) - place))
    assert max(reaches) == margin


def test_it_can_learn_a_flat_picture():
    torch.manual_seed(0)
    network = RawAutoencoderConfig(width=8, num_latents=8).build()
    picture, planes, noise, balance = (tensor.float() for tensor in given(64))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (network(picture, planes, noise, balance) - 0.4).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


@pytest.mark.parametrize("name", BAYER)
def test_identity_is_malvar_in_white_balanced_colours(name):
    picture, planes, noise, balance = given(17, pattern=BAYER[name], batch=2)
    made = RawIdentityConfig().build()(picture, planes, noise, balance)
    factors = balance.double()[:, :, None, None]
    expected = malvar(picture * (planes * factors).sum(dim=1, keepdim=True), planes) / factors
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(mosaic_of(made, planes), picture)  # what was measured is kept


def test_identity_of_other_patterns_is_the_normalised_convolution():
    picture, planes, noise, _ = given(18, pattern=XTRANS)
    ones = torch.ones(1, 3)
    made = RawIdentityConfig().build()(picture, planes, noise, ones)
    torch.testing.assert_close(made, normalised_convolution(picture, planes.double()))
    torch.testing.assert_close(mosaic_of(made, planes), picture)


def test_patterns_may_be_mixed_in_a_batch():
    network = RawIdentityConfig().build()
    (picture, bayer, noise, balance), xtrans = given(18, batch=2), cfa_planes(XTRANS, 18, 18)[None]
    together = network(picture, torch.cat([bayer, xtrans]), noise, balance)
    for number, planes in enumerate((bayer, xtrans)):
        one = slice(number, number + 1)
        torch.testing.assert_close(together[one], network(picture[one], planes, noise[one], balance[one]))


def test_identity_leaves_rgb_and_flat_colours_alone():
    picture, planes, noise, balance = given(9, channels=3)
    assert torch.equal(RawIdentityConfig(measurement="rgb").build()(picture, planes, noise, balance), picture)
    colour = torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64)[None, :, None, None].expand(1, 3, 24, 24)
    for pattern in (RGGB, XTRANS):
        planes = cfa_planes(pattern, 24, 24)[None]
        made = RawIdentityConfig().build()(mosaic_of(colour, planes.double()), planes, noise, balance)
        torch.testing.assert_close(made, colour)


def test_identity_is_made_in_full_precision_under_autocast():
    picture, planes, noise, balance = (tensor.float() for tensor in given(32))
    network = RawIdentityConfig().build()
    plain = network(picture, planes, noise, balance)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(picture, planes, noise, balance), plain)


def test_identity_has_no_parameters_and_costs_next_to_nothing():
    inputs = [tensor.float() for tensor in given(64)]
    cost = cost_of(models.get("identity"), *inputs)
    assert cost.num_parameters == 0
    assert cost.num_macs <= 100 * 64 * 64
