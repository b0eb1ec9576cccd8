"""The convolutional network for phase retrieval, and what all such networks get from their base."""

import math

import pytest
import torch
from torch import nn

from photic.core.errors import ConfigError
from photic.models import get_registry
from photic.models.phase_retrieval import PhaseRetrievalNetwork, require_divisible
from photic.models.ptycho_cnn import num_levels


def make(size_px=32, num_patterns=1, width_factor=0.1, **fields):
    return get_registry().get("cnn", num_patterns=num_patterns, size_px=size_px, width_factor=width_factor, **fields)


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


class Fixed(PhaseRetrievalNetwork):
    """Gives what it is told, so that the base can be seen alone."""

    def __init__(self, first, second, size_px=8, **settings):
        super().__init__(first.shape[1], size_px, **settings)
        self.given = first, second

    def parts(self, amplitude):
        return self.given


# The base -----------------------------------------------------------------------------------------------------------


def test_real_and_imaginary_part_are_taken_as_they_are():
    first, second = torch.randn(2, 1, 3, 8, 8)
    assert torch.equal(Fixed(first[None, 0], second[None, 0])(torch.zeros(1, 3, 8, 8)), torch.complex(first, second))


def test_amplitude_and_phase_are_bounded_by_sigmoid_and_tanh():
    first, second = 5 * torch.randn(2, 1, 3, 8, 8, dtype=torch.float64)
    patches = Fixed(first, second, output="amp_phase", amplitude_scale=1.5)(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(patches.abs(), 1.5 / (1 + torch.exp(-first)))
    torch.testing.assert_close(patches.angle(), math.pi * torch.tanh(second))


def test_a_central_square_is_put_around_the_centre_and_the_rest_is_zero():
    first = torch.ones(1, 2, 4, 4)
    patches = Fixed(first, first, predicted_px=4)(torch.zeros(1, 2, 8, 8))
    expected = torch.zeros(8, 8, dtype=torch.complex64)
    expected[2:6, 2:6] = 1 + 1j  # index N/2 = 4 is the patch's centre, and index 2 of the square
    assert torch.equal(patches, expected.expand(1, 2, 8, 8))
    assert torch.equal(Fixed(first, first, predicted_px=4).support(), expected != 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_ends_before_the_complex_number(dtype):
    first, second = torch.randn(2, 1, 1, 8, 8)
    low = Fixed(first.to(dtype), second.to(dtype), output="amp_phase")(torch.zeros(1, 1, 8, 8))
    full = Fixed(first.to(dtype).float(), second.to(dtype).float(), output="amp_phase")(torch.zeros(1, 1, 8, 8))
    assert low.dtype == torch.complex64
    assert torch.equal(low, full)


@pytest.mark.parametrize(
    ("output", "scale", "start"), [("real_imag", 2.0, 1.0), ("amp_phase", 2.0, 1.0), ("amp_phase", 5.0, 1.0), ("amp_phase", 1.0, 0.9)]
)
def test_heads_start_at_amplitude_one_or_as_near_as_the_scale_allows(output, scale, start):
    head = nn.Conv2d(6, 4, 1)
    base = PhaseRetrievalNetwork(2, 8, output=output, amplitude_scale=scale)
    base.start_flat(head)
    given = head.bias.detach().view(1, 4, 1, 1).expand(1, 4, 8, 8).chunk(2, dim=1)
    patches = Fixed(*given, output=output, amplitude_scale=scale)(torch.zeros(1, 2, 8, 8))
    torch.testing.assert_close(patches, torch.full((1, 2, 8, 8), start, dtype=torch.complex64))
    assert head.weight.abs().max() > 0  # so that the layers before learn from the first step on


def test_a_head_without_bias_is_refused():
    with pytest.raises(ConfigError, match="the last layers need a bias"):
        PhaseRetrievalNetwork(1, 8).start_flat(nn.Conv2d(6, 2, 1, bias=False))


def test_an_unknown_output_is_refused():
    with pytest.raises(ConfigError, match="expected one of real_imag, amp_phase, got 'polar'"):
        PhaseRetrievalNetwork(1, 8, output="polar")


def test_the_support_is_not_saved_with_the_weights():
    assert "supported" not in make().state_dict()


def test_nearest_sides_are_named_even_where_there_is_none_below():
    with pytest.raises(ConfigError, match=r"net\.size_px: 9 is not divisible by 16.*16 is the nearest side"):
        require_divisible("net", 9, lambda _: 16)


# The network --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size_px", "widths"),
    [(16, [64, 128, 256]), (32, [64, 128, 256]), (64, [64, 128, 256]), (128, [32, 64, 128, 256]), (256, [16, 32, 64, 128, 256])],
)
def test_widths_follow_the_side(size_px, widths):
    with torch.device("meta"):
        network = make(size_px, width_factor=1.0)
    assert network.widths == widths
    assert len(widths) == num_levels(size_px)


def test_it_has_about_two_and_a_third_million_parameters_at_64_pixels():
    assert num_parameters(make(64, width_factor=1.0)) / 1e6 == pytest.approx(2.3, rel=0.1)
    assert num_parameters(make(64, width_factor=0.25)) < 150_000


@pytest.mark.parametrize("size_px", [16, 24, 48, 64, 128])
def test_it_predicts_the_central_half(size_px):
    network = make(size_px, 2).eval()
    support = network.support()
    quarter = size_px // 4
    assert support.sum() == (size_px // 2) ** 2
    assert support[quarter : 3 * quarter, quarter : 3 * quarter].all()
    patches = network(torch.rand(1, 2, size_px, size_px))
    assert ((patches[0, 0] != 0) == support).all()


def test_a_big_probe_gets_a_prediction_everywhere():
    network = make(32, 2, probe_big=True).eval()
    assert network.support().all()
    with torch.no_grad():
        patches = network(torch.rand(2, 2, 32, 32))
    assert (patches != 0).all()
    assert network.state_dict().keys() > make(32, 2).state_dict().keys()


def test_the_border_head_has_no_say_in_the_centre():
    network, amplitude = make(32, 1, probe_big=True).eval(), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before = network(amplitude)
        network.border_head.bias.add_(1.0)
        changed = (network(amplitude) != before)[0, 0]
    centre = make(32).support()
    assert torch.equal(changed, ~centre)


def test_the_border_is_smooth_at_the_scale_of_four_pixels():
    """It is interpolated from a quarter of the resolution: along a row, four pixels have one slope."""
    network = make(32, 1, probe_big=True, output="real_imag").eval()
    with torch.no_grad():
        network.border_head.weight.mul_(100)
        row = network(torch.rand(1, 1, 32, 32))[0, 0, 0].real
    slopes = row.diff()[2:-1].view(-1, 4)[:, :3]
    assert slopes.abs().max() > 1e-3
    torch.testing.assert_close(slopes, slopes[:, :1].expand_as(slopes), atol=1e-5, rtol=1e-3)


def test_real_and_imaginary_part_come_from_one_decoder_each():
    network, amplitude = make(32, 1, output="real_imag").eval(), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before = network(amplitude)
        network.second_head.bias.add_(1.0)
        change = network(amplitude) - before
    torch.testing.assert_close(change, 1j * network.support()[None, None].to(change))


@pytest.mark.parametrize(
    ("size_px", "divisor", "nearest"), [(60, 8, "56 and 64"), (100, 8, "96 and 104"), (129, 16, "128 and 144"), (250, 16, "240 and 256")]
)
def test_sides_that_cannot_be_halved_often_enough_are_refused_with_the_nearest(size_px, divisor, nearest):
    with pytest.raises(ConfigError, match=rf"cnn\.size_px: {size_px} is not divisible by {divisor}, .*; {nearest} are the nearest sides"):
        make(size_px)


def test_it_learns_where_a_spot_of_the_object_lies_from_its_diffraction():
    """A phase spot at one of four places, seen through a small probe: unsupervised would do; supervised is quicker."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(*[torch.arange(16) - 8.0] * 2, indexing="ij")
    probe = torch.exp(-(x.square() + y.square()) / 8)
    spots = [torch.exp(-((x - dx).square() + (y - dy).square()) / 4) for dx, dy in ((-2, -1), (2, 1), (-1, 2), (1, -3))]
    objects = torch.stack([torch.polar(1 - 0.3 * spot, spot) for spot in spots])[:, None]
    amplitude = torch.fft.fftshift(torch.fft.fft2(probe * objects, norm="ortho"), dim=(-2, -1)).abs()
    amplitude = amplitude * 8 / amplitude.square().sum(dim=(2, 3)).mean().sqrt()
    network = make(16, 1, width_factor=0.125)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    support = network.support()
    errors = []
    for _ in range(150):
        optimizer.zero_grad()
        error = (network(amplitude) - objects)[..., support].abs().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.35 * errors[0]
