"""The published U-Nets for raw pictures: layers counted by hand, what they look at, and what they do not."""

import pytest
import torch
from torch import nn

from photic.core.errors import ConfigError, DataError
from photic.core.registry import models
from photic.functional.cfa import RGGB, cfa_planes, pack
from photic.models.cost import cost_of
from photic.models.utnet import UTNet, UTNet2Config, UTNet3Config

PX = 2**20


def by_hand(width, inputs, outputs):
    """Weights and biases of a U-Net, layer by layer."""
    f, count = width, 0
    for level in range(5):
        wide = f * 2**level
        below = inputs if level == 0 else wide // 2
        count += 9 * below * wide + wide + 9 * wide * wide + wide  # down
        if level < 4:
            count += 4 * (2 * wide) * wide + wide  # enlarged from below
            count += 9 * (2 * wide) * wide + wide + 9 * wide * wide + wide  # joined with the skip
    return count + f * outputs + outputs


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def measured(network, side, batch=1, seed=0):
    """A noisy picture as the network takes it, with its planes, noise and balance, float64."""
    generator = torch.Generator().manual_seed(seed)
    channels = 1 if network.measurement == "mosaic" else 3
    picture = torch.rand(batch, channels, side, side, generator=generator, dtype=torch.float64)
    planes = cfa_planes(RGGB, side, side)[None] if channels == 1 else torch.ones(1, 3, side, side)
    return picture, planes, torch.rand(batch, 2, generator=generator), 1 + torch.rand(batch, 3, generator=generator)


@pytest.mark.parametrize(
    ("config", "inputs", "outputs"),
    [
        (UTNet2Config(), 4, 12),
        (UTNet2Config(preupsample=True), 4, 3),
        (UTNet2Config(measurement="rgb"), 3, 3),
        (UTNet2Config(width=5), 4, 12),
    ],
)
def test_parameters_equal_a_count_by_hand(config, inputs, outputs):
    assert count(config.build()) == by_hand(config.width, inputs, outputs)


@pytest.mark.parametrize("preupsample", [False, True])
def test_both_bayer_heads_have_the_published_7_76_million(preupsample):
    assert round(count(UTNet2Config(preupsample=preupsample).build()) / 1e6, 2) == 7.76


def test_prelu_adds_one_slope_per_convolution():
    plain, learnt = (UTNet2Config(activation=name).build() for name in ("leaky_relu", "prelu"))
    assert count(learnt) - count(plain) == 18
    assert [float(slope.detach()) for slope in learnt.parameters() if slope.shape == (1,)] == [pytest.approx(0.2)] * 18


def test_utnet3_has_two_residual_blocks_of_eight_widths_before_its_head():
    f = 32
    more = (f * 8 * f + 8 * f) + 4 * (9 * (8 * f) ** 2 + 8 * f) + (8 - 1) * f * 12
    assert count(UTNet3Config().build()) - count(UTNet2Config().build()) == more
    assert more > 2.3e6


@pytest.mark.parametrize(
    ("config", "gmacs"),
    [(UTNet2Config(), 48.5), (UTNet2Config(preupsample=True), 193), (UTNet2Config(measurement="rgb"), 193)],
)
def test_it_costs_what_was_published_per_megapixel_of_the_sensor(config, gmacs):
    network, side = config.build(), 128
    given = [tensor.float() for tensor in measured(network, side)]
    assert cost_of(network, *given).gmacs * PX / side**2 == pytest.approx(gmacs, rel=0.005)


def test_unet_is_another_name_of_utnet2():
    assert models.config_class("unet") is models.config_class("utnet2") is UTNet2Config
    assert models.configure("unet").to_dict()["name"] == "utnet2"


def test_weights_are_drawn_so_that_gradients_keep_their_size():
    torch.manual_seed(0)
    network = UTNet3Config(width=16).build()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert (layer.bias == 0).all()
    for layer in (network.down[2][2], network.up[3][0], network.enlarge[3], network.widen[1].first):
        fed = layer.out_channels * layer.kernel_size[0] ** 2
        assert layer.weight.std().item() == pytest.approx((2 / (1 + 0.2**2) / fed) ** 0.5, rel=0.02)


def test_noise_balance_and_planes_are_ignored_as_published():
    network = UTNet2Config(width=4).build().double()
    picture, planes, noise, balance = measured(network, 32)
    made = network(picture, planes, noise, balance)
    assert torch.equal(made, network(picture, planes, 0 * noise, torch.ones_like(balance)))


def test_the_packed_network_sees_red_greens_and_blue_in_this_order():
    network = UTNet2Config(width=4).build().double()
    picture, *others = measured(network, 32)
    seen = []
    network.down[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(picture, *others)
    assert torch.equal(seen[0], pack(picture))
    assert torch.equal(seen[0][0, :, 0, 0], picture[0, 0, :2, :2].flatten())


def test_each_of_the_twelve_planes_is_one_colour_of_one_pixel_of_four():
    network = UTNet2Config(width=4).build().double()
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.arange(12.0))
    made = network(*measured(network, 32))
    assert made[0, :, :2, :2].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]


def test_preupsampled_planes_are_bilinear_between_samples_of_their_colour():
    network = UTNet2Config(width=4, preupsample=True).build().double()
    picture, *others = measured(network, 32)
    seen = []
    network.down[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(picture, *others)
    red = picture[0, 0, ::2, ::2]
    assert seen[0].shape == (1, 4, 32, 32)
    assert seen[0][0, 0, 2, 2].item() == pytest.approx(float(0.75**2 * red[1, 1] + 0.1875 * (red[0, 1] + red[1, 0]) + red[0, 0] / 16))


@pytest.mark.parametrize(
    "config",
    [
        UTNet2Config(width=1),
        UTNet2Config(width=1, preupsample=True),
        UTNet2Config(width=1, measurement="rgb"),
        UTNet3Config(width=1),
    ],
    ids=lambda config: f"{config.registry_name} {config.measurement} {config.preupsample}",
)
def test_the_margin_is_how_far_it_really_looks(config):
    """With positive weights and means for maxima nothing cancels, so that every path has a gradient."""
    network = config.build().double()
    network.halve = nn.AvgPool2d(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    margin, multiple = network.margin_px, network.multiple
    middle = multiple * -(-margin // multiple)
    picture, planes, noise, balance = measured(network, multiple * -(-(middle + multiple + margin) // multiple))
    row = picture[:, :, :multiple, :].clone()  # a band as wide as the picture is enough along one axis
    row.requires_grad_()
    made = network(row, planes[:, :, :multiple], noise, balance)
    reaches = []
    for place in range(middle, middle + multiple):
        (gradient,) = torch.autograd.grad(made[0, 0, 0, place], row, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
        reaches.append(max(place - int(touched[0]), int(touched[-1]) - place))
    assert max(reaches) == margin


@pytest.mark.parametrize(("config", "multiple"), [(UTNet2Config(width=2), 32), (UTNet2Config(width=2, measurement="rgb"), 16)])
def test_it_is_padded_to_sixteen_pixels_of_what_the_network_sees(config, multiple):
    network = config.build()
    assert network.multiple == network.tile_align == multiple
    assert network.needs_rggb == (config.measurement == "mosaic")
    seen = []
    network.down[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    network.double()(*measured(network, multiple + 1))
    assert seen == [32]


def test_rgb_pictures_cannot_be_enlarged_before_the_network():
    with pytest.raises(ConfigError, match=r"utnet2\.preupsample: RGB pictures have the sensor's resolution already"):
        UTNet2Config(measurement="rgb", preupsample=True)
    with pytest.raises(ConfigError, match=r"utnet3\.preupsample"):
        UTNet3Config(measurement="rgb", preupsample=True)


def test_packed_planes_where_a_mosaic_belongs_are_refused():
    network = UTNet(width=2)
    with pytest.raises(DataError, match=r"expected \(mosaic\) \(B, 1, H, W\), got \(1, 4, 16, 16\)"):
        network(torch.zeros(1, 4, 16, 16), torch.ones(1, 3, 16, 16), torch.zeros(1, 2), torch.ones(1, 3))
