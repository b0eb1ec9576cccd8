"""Spectral convolution against a Fourier sum written out in NumPy, and the networks made of it."""

import math

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.models import get_registry
from photic.models.spectral import SpectralBlock, SpectralConvolution, num_weights

SMALL = {"num_patterns": 1, "size_px": 16, "width": 4, "modes": 3}
NETWORKS = ["fno", "hybrid", "hybrid_resnet"]
every_network = pytest.mark.parametrize("name", NETWORKS)


def layer(inputs=2, outputs=3, modes=2, seed=0):
    torch.manual_seed(seed)
    return SpectralConvolution(inputs, outputs, modes).double()


def waves(height, width, ky, kx):
    """Return exp(2 pi i (ky y / H + kx x / W))."""
    y, x = np.arange(height)[:, None], np.arange(width)
    return np.exp(2j * np.pi * (ky * y / height + kx * x / width))


def slow(convolution, features):
    """Sum over the frequencies that are kept, one wave at a time."""
    weight = torch.view_as_complex(convolution.weight.detach()).numpy()
    batch, _, height, width = features.shape
    kept_y, kept_x = min(convolution.modes, height // 2), min(convolution.modes, width // 2)
    result = np.zeros((batch, convolution.outputs, height, width))
    for ky in range(-kept_y, kept_y):
        for kx in range(kept_x):
            wave = waves(height, width, ky, kx)
            coefficients = (features * wave.conj()).sum(axis=(2, 3)) / (height * width)  # (B, inputs)
            mixed = coefficients @ weight[ky, kx]
            # The real transform leaves out -kx, whose coefficient is the complex conjugate: the wave's real part counts twice.
            result += (1 if kx == 0 else 2) * (mixed[:, :, None, None] * wave).real
    return result


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (7, 9), (4, 4), (3, 8), (2, 2)])
def test_it_equals_the_fourier_sum_wave_by_wave(size):
    convolution = layer()
    features = np.random.default_rng(0).normal(size=(2, 2, *size))
    np.testing.assert_allclose(convolution(torch.from_numpy(features)).detach().numpy(), slow(convolution, features), atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_waves_that_rise_and_waves_that_fall_pass_alike_and_train_weights_of_their_own(sign):
    """With one corner of the spectrum only, waves of negative ky are lost."""
    convolution = layer(1, 1, modes=3)
    wave = torch.from_numpy(waves(16, 16, sign * 2, 1).real)[None, None]
    output = convolution(wave)
    factor = torch.view_as_complex(convolution.weight.detach())[sign * 2, 1, 0, 0]
    assert output.abs().max().item() == pytest.approx(abs(factor.item()), rel=0.05)
    output.square().sum().backward()
    touched = {tuple(place.tolist()) for place in torch.nonzero(convolution.weight.grad.abs().sum(dim=(2, 3, 4)) > 1e-9)}
    assert touched == {(2 if sign > 0 else 4, 1)}  # rows 0, 1, 2, -3, -2, -1


@pytest.mark.parametrize(("ky", "kx"), [(4, 0), (3, 1), (-4, 1), (0, 3), (5, 5)])
def test_frequencies_beyond_the_modes_are_stopped(ky, kx):
    wave = torch.from_numpy(waves(16, 16, ky, kx).real)[None, None]
    assert layer(1, 1, modes=3)(wave).abs().max() < 1e-12


def test_every_kept_weight_gets_a_gradient_but_what_a_real_map_cannot_show():
    convolution = layer(2, 2, modes=3)
    convolution(torch.randn(2, 2, 12, 12, dtype=torch.float64)).pow(3).sum().backward()
    assert (convolution.weight.grad.abs().amax(dim=(2, 3, 4)) > 0).all()


def test_its_gradient_agrees_with_finite_differences():
    convolution = layer()
    features = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    weight = convolution.weight.detach().clone().requires_grad_()

    def call(x, w):
        return torch.func.functional_call(convolution, {"weight": w}, (x,))

    assert torch.autograd.gradcheck(call, (features, weight))


def test_the_same_picture_at_twice_the_resolution_gives_the_same_function():
    """Weights belong to cycles per map."""
    convolution = layer(2, 2, modes=4)
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(2, 7, 4)) + 1j * rng.normal(size=(2, 7, 4))

    def drawn(side):
        parts = [[coefficients[c, ky + 3, kx] * waves(side, side, ky, kx) for ky in range(-3, 4) for kx in range(4)] for c in range(2)]
        return torch.from_numpy(np.array(parts).sum(axis=1).real)[None]

    coarse, fine = convolution(drawn(16)), convolution(drawn(32))
    torch.testing.assert_close(fine[..., ::2, ::2], coarse)


def test_modes_are_capped_at_half_of_the_maps_side():
    convolution = layer(1, 1, modes=12)
    assert [convolution.kept(*size) for size in ((64, 64), (24, 24), (16, 64), (6, 5))] == [(12, 12), (12, 12), (8, 12), (3, 2)]
    features = np.random.default_rng(0).normal(size=(1, 1, 6, 5))
    np.testing.assert_allclose(convolution(torch.from_numpy(features)).detach().numpy(), slow(convolution, features), atol=1e-12)


def test_it_moves_with_a_map_that_is_shifted_around():
    convolution, features = layer(), torch.randn(1, 2, 9, 10, dtype=torch.float64)
    moved = convolution(features.roll((2, 3), (2, 3)))
    torch.testing.assert_close(moved, convolution(features).roll((2, 3), (2, 3)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_computes_in_single_precision_whatever_autocast_says(dtype):
    torch.manual_seed(0)
    convolution, features = SpectralConvolution(2, 2, 3), torch.randn(1, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = convolution(features)
        halved = convolution(features.to(dtype))
    assert mixed.dtype == halved.dtype == torch.float32
    torch.testing.assert_close(mixed, convolution(features), rtol=0, atol=0)
    torch.testing.assert_close(halved, convolution(features.to(dtype).float()), rtol=0, atol=0)


def test_it_starts_with_features_no_larger_than_it_was_given():
    torch.manual_seed(0)
    features = torch.randn(4, 32, 24, 24)
    with torch.no_grad():
        assert 0.2 < SpectralConvolution(32, 32, 12)(features).std() < 1
        assert SpectralBlock(32, 12)(features).std() < 2


def test_maps_of_one_pixel_and_no_modes_are_refused():
    with pytest.raises(DataError, match=r"at least 2 x 2 pixels, got \(1, 2, 1, 8\)"):
        layer()(torch.zeros(1, 2, 1, 8, dtype=torch.float64))
    with pytest.raises(ConfigError, match="modes >= 1"):
        SpectralConvolution(2, 2, 0)


# The networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size_px", "millions"), [("fno", 64, 1.25), ("hybrid", 256, 32.0), ("hybrid_resnet", 128, 13.0)])
def test_their_sizes_are_those_of_the_design(name, size_px, millions):
    """A complex weight counts once. With one corner, the design counts 0.66, 17.2 and 7.8 million."""
    with torch.device("meta"):
        network = get_registry().get(name, num_patterns=1, size_px=size_px)
    assert num_weights(network) / 1e6 == pytest.approx(millions, rel=0.05)
    spectral = sum(part.weight.numel() // 2 for part in network.modules() if isinstance(part, SpectralConvolution))
    one_corner = {"fno": 0.66, "hybrid": 17.2, "hybrid_resnet": 7.8}[name]
    assert (num_weights(network) - spectral / 2) / 1e6 == pytest.approx(one_corner, rel=0.01)


@pytest.mark.parametrize(("name", "modes"), [("hybrid", [8, 4, 2, 1, 8, 4, 2]), ("hybrid_resnet", [8, 4, 2, 2]), ("fno", [8] * 4)])
def test_modes_are_capped_at_every_level_and_no_weight_is_left_unused(name, modes):
    network = get_registry().get(name, num_patterns=1, size_px=16, width=2)
    layers = [part for part in network.modules() if isinstance(part, SpectralConvolution)]
    assert sorted(part.modes for part in layers) == sorted(modes)
    network(torch.rand(2, 1, 16, 16)).abs().square().sum().backward()
    assert all((part.weight.grad.abs().amax(dim=(2, 3, 4)) > 0).all() for part in layers)


@every_network
def test_any_number_of_patterns_and_either_output(name):
    for number, output in ((1, "real_imag"), (4, "amp_phase")):
        network = get_registry().get(name, **SMALL | {"num_patterns": number}, output=output)
        assert network(torch.rand(1, number, 16, 16)).shape == (1, number, 16, 16)
        assert network.support().all()


@pytest.mark.parametrize(
    ("name", "size_px", "divisor", "nearest"),
    [("fno", 17, 2, "16 and 18"), ("hybrid", 20, 8, "16 and 24"), ("hybrid_resnet", 18, 4, "16 and 20")],
)
def test_sides_that_cannot_be_halved_are_refused(name, size_px, divisor, nearest):
    with pytest.raises(ConfigError, match=rf"{name}\.size_px: {size_px} is not divisible by {divisor}, .*; {nearest} are the nearest"):
        get_registry().get(name, **SMALL | {"size_px": size_px})


def test_residual_blocks_share_one_learned_scale_that_starts_at_a_tenth():
    network = get_registry().get("hybrid_resnet", **SMALL)
    assert network.scale.item() == pytest.approx(0.1)
    assert network.scale.requires_grad
    assert len(network.residual) == 6
    network(torch.rand(2, 1, 16, 16)).abs().square().sum().backward()
    assert network.scale.grad.abs() > 0
    features = torch.randn(1, 16, 4, 4)
    block = network.residual[0]
    assert torch.equal(block(features, torch.tensor(0.0)), features)
    change = block(features, torch.tensor(1.0)) - features
    torch.testing.assert_close(block(features, torch.tensor(0.1)), features + 0.1 * change)


@every_network
def test_it_learns_one_group_in_a_few_steps(name):
    torch.manual_seed(0)
    network = get_registry().get(name, **SMALL)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 16)] * 2, indexing="ij")
    target = torch.polar(1 - 0.3 * (x.square() + y.square()), x)[None, None]
    amplitude = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    errors = []
    for _ in range(60):
        optimizer.zero_grad()
        error = (network(amplitude) - target).abs().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.4 * errors[0]
    assert math.isfinite(errors[-1])
