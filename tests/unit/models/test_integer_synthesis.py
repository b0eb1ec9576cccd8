"""The hyper-synthesis in integers against Python's own integers."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from photic.core.errors import DataError
from photic.models.codec.entropy import MOST_VALUE
from photic.models.codec.integer_synthesis import FRACTION_BITS, HALO, IntegerSynthesis

MOST = 2**22


def layers_of(width=3, first=4, second=5, last=6, *, scale=0.3, seed=0):
    torch.manual_seed(seed)
    layers = [
        nn.ConvTranspose2d(width, first, 5, stride=2, padding=2, output_padding=1),
        nn.ConvTranspose2d(first, second, 5, stride=2, padding=2, output_padding=1),
        nn.Conv2d(second, last, 3, padding=1),
    ]
    with torch.no_grad():
        for layer in layers:
            layer.weight.normal_(std=scale)
            layer.bias.normal_(std=scale)
    return layers


def made_of(layers, factors=None):
    synthesis = IntegerSynthesis(layers)
    synthesis.set(layers, torch.ones(layers[-1].out_channels) if factors is None else factors)
    return synthesis


def upwards(given, weight):
    """A transposed 5 x 5 convolution of stride 2: each input adds its kernel around twice its place."""
    inputs, height, width = len(given), len(given[0]), len(given[0][0])
    outputs = len(weight[0])
    made = [[[0] * (2 * width) for _ in range(2 * height)] for _ in range(outputs)]
    for i, o, y, x, dy, dx in itertools.product(range(inputs), range(outputs), range(height), range(width), range(5), range(5)):
        row, column = 2 * y + dy - 2, 2 * x + dx - 2
        if 0 <= row < 2 * height and 0 <= column < 2 * width:
            made[o][row][column] += given[i][y][x] * weight[i][o][dy][dx]
    return made


def level(given, weight):
    """A 3 x 3 convolution."""
    inputs, height, width = len(given), len(given[0]), len(given[0][0])
    made = [[[0] * width for _ in range(height)] for _ in range(len(weight))]
    for o, i, y, x, dy, dx in itertools.product(range(len(weight)), range(inputs), range(height), range(width), range(3), range(3)):
        row, column = y + dy - 1, x + dx - 1
        if 0 <= row < height and 0 <= column < width:
            made[o][y][x] += given[i][row][column] * weight[o][i][dy][dx]
    return made


def by_python(synthesis, hyper):
    """The same in Python integers, which have no largest one; also the largest sum that came up."""
    features, largest = hyper.long().tolist(), 0
    for number in range(synthesis.count):
        weight, bias = getattr(synthesis, f"weight{number}").tolist(), getattr(synthesis, f"bias{number}").tolist()
        shift, last = int(synthesis.shifts[number]), number == synthesis.count - 1
        sums = level(features, weight) if last else upwards(features, weight)
        features = []
        for channel, offset in zip(sums, bias, strict=True):
            rows = [[value + offset for value in row] for row in channel]
            largest = max(largest, *(abs(value) for row in rows for value in row))
            rounded = [[(2 * v + (1 << shift)) >> (shift + 1) if shift >= 0 else v << -shift for v in row] for row in rows]
            features.append([[min(max(v, -MOST if last else 0), MOST) for v in row] for row in rounded])
    return features, largest


@pytest.mark.parametrize("scale", [1e-3, 0.3, 40.0, 900.0], ids=str)
def test_it_equals_pythons_integers(scale):
    synthesis = made_of(layers_of(scale=scale))
    hyper = torch.randint(-20, 21, (1, 3, 3, 2), generator=torch.Generator().manual_seed(1)).double()
    expected, _ = by_python(synthesis, hyper[0])
    assert synthesis(hyper)[0].long().tolist() == expected


def test_nothing_overflows_at_the_largest_values():
    """All weights and hyper-latents at their bounds, and the sums of as many terms as the default network has stay below 2^53."""
    layers = layers_of(2, 2, 2, 2, scale=1.0)
    with torch.no_grad():
        for layer in layers:
            layer.weight.fill_(7.9)  # of the largest that have units of 2^-13
            layer.bias.fill_(1e9)
    synthesis = made_of(layers)
    assert max(int(getattr(synthesis, f"weight{number}").max()) for number in range(3)) <= 2**16 - 1
    for sign in (1, -1):
        hyper = torch.full((1, 2, 3, 3), float(sign * MOST_VALUE), dtype=torch.float64)
        expected, largest = by_python(synthesis, hyper[0])
        assert synthesis(hyper)[0].long().tolist() == expected
        assert largest <= 2**53
    most_terms = 9 * 288  # 3 x 3 taps of the last layer; transposed ones have at most 9 of 25 at a place
    assert (2**16 - 1) * MOST * most_terms + 2**50 < 2**53


def test_sums_of_the_widest_network_at_its_bounds_are_exact():
    """Random signs, so that partial sums go up and down: double precision and 64-bit integers agree in every digit."""
    layers = layers_of(128, 192, 288, 4)
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.from_numpy(generator.choice([-7.99, 7.99], layer.weight.shape)))
    synthesis = made_of(layers)
    features = torch.from_numpy(generator.integers(-MOST, MOST + 1, (1, 288, 3, 3)))
    last = nn.functional.conv2d(features.double(), synthesis.weight2.double(), synthesis.bias2.double(), padding=1)
    whole = nn.functional.unfold(features.double(), 3, padding=1).long()[0]  # 288 x 9 values each
    exact = synthesis.weight2.view(4, -1).long() @ whole + synthesis.bias2[:, None]
    assert torch.equal(last.view(4, -1).long(), exact)


def test_it_is_the_synthesis_in_floating_point_within_its_steps():
    layers = layers_of(8, 12, 16, 10, scale=0.1)
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()
    hyper = torch.randint(-6, 7, (2, 8, 5, 4), generator=torch.Generator().manual_seed(2)).double()
    found = made_of(layers)(hyper) * 2.0**-FRACTION_BITS
    expected = network(hyper).detach()
    assert found.shape == expected.shape == (2, 10, 20, 16)
    # each layer rounds its weights to 2^-14 and its values to 2^-11; the sums over some 100 terms of that are small beside the values
    assert (found - expected).abs().max() < 0.02
    assert expected.abs().max() > 2


def test_factors_multiply_what_the_last_layer_gives():
    layers = layers_of(scale=0.1)
    factors = torch.tensor([1.0, 0.25, 3.0, 10.0, 1.0, 40.0])
    hyper = torch.randint(-6, 7, (1, 3, 4, 4), generator=torch.Generator().manual_seed(2)).double()
    plain = made_of(layers)(hyper) * factors[:, None, None]
    scale = plain.abs().amax(dim=(0, 2, 3), keepdim=True)
    assert ((made_of(layers, factors)(hyper) - plain).abs() < 0.02 * scale).all()


def test_a_part_with_its_halo_is_that_of_the_whole():
    synthesis = made_of(layers_of())
    hyper = torch.randint(-20, 21, (1, 3, 12, 11), generator=torch.Generator().manual_seed(3)).double()
    whole = synthesis(hyper)
    part = synthesis(hyper[:, :, 5 - HALO : 7 + HALO, 4 - HALO : 8 + HALO])
    inner = part[:, :, 4 * HALO : 4 * (HALO + 2), 4 * HALO : 4 * (HALO + 4)]
    assert torch.equal(inner, whole[:, :, 20:28, 16:32])


def test_weights_at_zero_make_zeros():
    layers = layers_of(scale=0.0)
    assert (made_of(layers)(torch.full((1, 3, 2, 2), 5.0)) == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_weights_that_are_not_finite_are_refused(part, value):
    layers = layers_of()
    with torch.no_grad():
        getattr(layers[1], part).view(-1)[0] = value
    with pytest.raises(DataError, match="hyper-synthesis: layer 1 has weights that are not finite"):
        made_of(layers)
