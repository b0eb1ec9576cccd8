"""Divisive normalisation against NumPy loops, the codec's transforms against counts and convolutions by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from photic.core.errors import ConfigError, DataError
from photic.models.codec.gdn import BETA_MIN, GDN, NonNegative, lower_bound
from photic.models.codec.transforms import Analysis, Synthesis, reach_px


def filled(module, seed=0):
    """Put the parameters of normalisations anywhere above their bounds."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, NonNegative):
                part.root.copy_(0.2 + torch.rand(part.root.shape, generator=generator))
    return module


def by_loops(layer, features):
    """GDN and IGDN, written out."""
    beta, gamma = (part().detach().double().numpy() for part in (layer.beta, layer.gamma))
    made = np.empty_like(features)
    for b, y, x in np.ndindex(features.shape[0], *features.shape[2:]):
        pixel = features[b, :, y, x]
        for i in range(len(pixel)):
            norm = beta[i] + sum(gamma[i, j] * pixel[j] ** 2 for j in range(len(pixel)))
            made[b, i, y, x] = pixel[i] * (np.sqrt(norm) if layer.inverse else 1 / np.sqrt(norm))
    return made


@pytest.mark.parametrize("inverse", [False, True])
def test_normalisation_equals_its_definition(inverse):
    layer = filled(GDN(4, inverse=inverse)).double()
    features = np.random.default_rng(0).normal(size=(2, 4, 3, 5))
    np.testing.assert_allclose(layer(torch.from_numpy(features)).detach().numpy(), by_loops(layer, features), rtol=1e-12)


def test_beta_begins_at_one_and_gamma_at_a_tenth_of_the_identity():
    layer = GDN(3)
    torch.testing.assert_close(layer.beta(), torch.ones(3))
    torch.testing.assert_close(layer.gamma(), 0.1 * torch.eye(3), atol=1e-9, rtol=1e-6)
    assert (layer.gamma() >= 0).all()


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_of_normalisation_equal_differences(inverse):
    layer = filled(GDN(3, inverse=inverse)).double()
    features = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    roots = [layer.beta.root, layer.gamma.root]

    def made(given, *_):
        return layer(given)

    assert torch.autograd.gradcheck(made, (features, *roots))


def test_whatever_a_step_does_beta_stays_positive_and_gamma_is_never_negative():
    layer = GDN(3).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(-7.0)
    assert (layer.beta() >= BETA_MIN * (1 - 1e-9)).all()
    assert (layer.gamma() >= 0).all()
    assert torch.isfinite(layer(torch.full((1, 3, 1, 1), 1e3, dtype=torch.float64))).all()


def test_below_the_bound_only_gradients_that_lead_back_pass():
    value = torch.tensor([-1.0, -1.0, 2.0, 2.0], requires_grad=True)
    bounded = lower_bound(value, 0.5)
    assert bounded.tolist() == [0.5, 0.5, 2.0, 2.0]
    bounded.backward(torch.tensor([1.0, -3.0, 4.0, -5.0]))
    assert value.grad.tolist() == [0.0, -3.0, 4.0, -5.0]
    with torch.no_grad():
        assert lower_bound(value, 0.5).tolist() == [0.5, 0.5, 2.0, 2.0]


def test_a_parameter_that_fell_below_its_bound_comes_back():
    part = NonNegative(torch.tensor([0.25]), 0.01)
    with torch.no_grad():
        part.root.fill_(-1.0)
    assert part().item() == pytest.approx(0.01)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (part() - 0.5).square().sum().backward()
        optimizer.step()
    assert part().item() == pytest.approx(0.5, abs=0.01)


def test_under_autocast_the_norm_is_made_in_full_precision():
    layer = filled(GDN(8))
    features = 300 * torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(2))  # squares beyond half precision
    plain = layer(features)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(features), plain)
    half = layer(features.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), plain, atol=0, rtol=2e-3)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (4, 4, 4)], ids=str)
def test_other_channels_are_refused(shape):
    with pytest.raises(DataError, match=r"GDN: expected \(B, 4, H, W\), got"):
        GDN(4)(torch.zeros(shape))
    with pytest.raises(ConfigError, match="at least one channel, got 0"):
        GDN(0)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("inputs", [3, 4])
def test_analysis_has_the_parameters_of_the_paper(inputs):
    kernels = 25 * (inputs * 192 + 2 * 192 * 192 + 192 * 320)
    biases = 3 * 192 + 320
    norms = 3 * (192 + 192**2)
    assert count(Analysis(inputs)) == kernels + biases + norms == {3: 3_505_664, 4: 3_510_464}[inputs]


@pytest.mark.parametrize(
    ("decoder", "last", "num_between", "total"),
    [("balle", 3, 2, 3_505_347), ("bayer_ps", 12, 2, 3_548_556), ("bayer_tc", 3, 3, 4_464_195)],
)
def test_synthesis_has_the_parameters_of_the_paper(decoder, last, num_between, total):
    kernels = 25 * (320 * 192 + num_between * 192 * 192 + 192 * last)
    biases = (num_between + 1) * 192 + last
    norms = (num_between + 1) * (192 + 192**2)
    assert count(Synthesis(decoder)) == kernels + biases + norms == total


def test_normalisation_stands_between_convolutions_and_is_inverse_in_the_decoder():
    kinds = [type(layer) for layer in Analysis(3, 4, 6)]
    assert kinds == [nn.Conv2d, GDN, nn.Conv2d, GDN, nn.Conv2d, GDN, nn.Conv2d]
    made = list(Synthesis("bayer_tc", 4, 6))
    assert [type(layer) for layer in made] == [nn.ConvTranspose2d, GDN] * 4 + [nn.ConvTranspose2d]
    assert all(layer.inverse for layer in made if isinstance(layer, GDN))
    assert not any(layer.inverse for layer in Analysis(3, 4, 6) if isinstance(layer, GDN))
    assert isinstance(Synthesis("bayer_ps", 4, 6)[-1], nn.PixelShuffle)


@pytest.mark.parametrize(("decoder", "inputs", "scale"), [("balle", 3, 1), ("bayer_ps", 4, 2), ("bayer_tc", 4, 2)])
def test_sixteen_pixels_each_way_are_one_latent_and_come_back(decoder, inputs, scale):
    analysis, synthesis = Analysis(inputs, 4, 6), Synthesis(decoder, 4, 6)
    latents = analysis(torch.zeros(2, inputs, 48, 32))
    assert latents.shape == (2, 6, 3, 2)
    assert synthesis(latents).shape == (2, 3, 48 * scale, 32 * scale)
    assert synthesis.scale == scale


def test_one_latent_is_the_convolutions_written_out():
    """The middle latent, from a picture as large as all that it looks at."""
    analysis = filled(Analysis(1, 2, 3)).double()
    picture = np.random.default_rng(3).normal(size=(1, 1, 80, 80))
    features = picture
    for layer in analysis:
        if isinstance(layer, GDN):
            features = by_loops(layer, features)
            continue
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        around = np.pad(features, ((0, 0), (0, 0), (2, 2), (2, 2)))
        size = features.shape[-1] // 2
        made = np.empty((1, len(bias), size, size))
        for y, x in np.ndindex(size, size):
            window = around[0, :, 2 * y : 2 * y + 5, 2 * x : 2 * x + 5]
            made[0, :, y, x] = (weight * window).sum(axis=(1, 2, 3)) + bias
        features = made
    np.testing.assert_allclose(analysis(torch.from_numpy(picture)).detach().numpy(), features, rtol=1e-9, atol=1e-12)


def test_synthesis_has_the_adjoint_of_a_strided_convolution():
    """<A x, y> = <x, A^T y> for its kernels, apart from biases."""
    (layer,) = [part for part in Synthesis("balle", 2, 3).double() if isinstance(part, nn.ConvTranspose2d)][:1]
    generator = torch.Generator().manual_seed(4)
    fine, coarse = (torch.randn(1, n, s, s, generator=generator, dtype=torch.float64) for n, s in ((2, 8), (3, 4)))
    down = nn.functional.conv2d(fine, layer.weight, stride=2, padding=2)
    up = layer(coarse) - layer.bias[:, None, None]
    assert (down * coarse).sum().item() == pytest.approx((fine * up).sum().item())


@pytest.mark.parametrize(("decoder", "reach"), [("balle", 60), ("bayer_ps", 121), ("bayer_tc", 123)])
def test_reaches_are_what_the_kernels_add_up_to(decoder, reach):
    assert reach_px(decoder) == reach


def test_weights_keep_the_size_of_features():
    torch.manual_seed(0)
    layers = [*Analysis(3, 64, 64), *Synthesis("balle", 64, 64)]
    wide = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.in_channels == layer.out_channels]
    assert len(wide) == 6
    for layer in wide:
        with torch.no_grad():
            made = layer(torch.randn(1, 64, 32, 32, generator=torch.Generator().manual_seed(5)))
        assert made.std().item() == pytest.approx(1, abs=0.15)


def test_unknown_decoders_are_told():
    with pytest.raises(ConfigError, match="decoder: expected one of 'balle', 'bayer_ps', 'bayer_tc', got 'hyper'"):
        Synthesis("hyper")
