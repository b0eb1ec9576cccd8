"""The mean-scale hyperprior: its size, its rate by SciPy, integers in its distribution."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from photic.core.errors import BitstreamError, ConfigError
from photic.models.codec import gaussian
from photic.models.codec.hyper_entropy import MeanScaleHyperprior
from photic.models.codec.wavelet_start import start_as_wavelets
from photic.models.hyperprior import HyperpriorConfig

NUM, WIDTH = 4, 3


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_its_parameters_are_those_of_the_papers():
    """CompressAI counts 7,028,003 for the same network (mbt2018-mean): its densities have one layer of 3 x 3 more each, 15 parameters."""
    n, m = 128, 192
    norms = 6 * (n + n**2)
    analysis = 25 * (3 * n + 2 * n * n + n * m) + 3 * n + m
    synthesis = 25 * (m * n + 2 * n * n + n * 3) + 3 * n + 3
    hyper_analysis = 9 * m * n + 2 * 25 * n * n + 3 * n
    hyper_synthesis = 25 * (n * m + m * (m * 3 // 2)) + 9 * (m * 3 // 2) * 2 * m + m + m * 3 // 2 + 2 * m
    total = count(HyperpriorConfig(measurement="rgb").build())
    assert total == norms + analysis + synthesis + hyper_analysis + hyper_synthesis + 46 * n == 7_026_083
    assert 7_028_003 - total == 15 * n


def test_narrower_hyper_syntheses_are_as_wide_as_told():
    narrow = HyperpriorConfig(width=2, num_latents=6, hyper_widths=(5, 7)).build().bit_estimator
    assert [tuple(layer.weight.shape[:2]) for layer in (narrow.synthesis[0], narrow.synthesis[2])] == [(2, 5), (5, 7)]
    assert tuple(narrow.synthesis[4].weight.shape) == (12, 7, 3, 3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = MeanScaleHyperprior(NUM, WIDTH)
    with torch.no_grad():  # hyper-latents, means and scales that are not all about the same
        model.analysis[-1].weight.mul_(20)
        model.synthesis[-1].weight.mul_(30)
        model.synthesis[-1].bias[NUM:].fill_(3.0)
    return model


@pytest.fixture
def latents():
    return 5 * torch.randn(2, NUM, 8, 12, generator=torch.Generator().manual_seed(2))


def test_training_counts_bits_of_noisy_values_under_means_and_scales_of_rounded_hyper_latents(model, latents):
    torch.manual_seed(3)
    made = model(latents)
    torch.manual_seed(3)
    with torch.no_grad():
        hyper = model.analysis(latents)
        noisy_hyper = hyper + torch.empty_like(hyper).uniform_(-0.5, 0.5)
        noisy = latents + torch.empty_like(latents).uniform_(-0.5, 0.5)
        means, scales = (part.numpy() for part in model.synthesis(hyper.round()).double().chunk(2, dim=1))
        distance = np.abs(noisy.double().numpy() - means)
        scales = np.maximum(scales, gaussian.SCALE_MIN)
        likelihood = norm.cdf(0.5 - distance, scale=scales) - norm.cdf(-0.5 - distance, scale=scales)
        bits = -np.log2(np.maximum(likelihood, 1e-9)).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(made.bits["latents"].numpy(), bits, rtol=1e-4)
        by_channel = [model.density.likelihood(noisy_hyper[0, c].flatten().expand(WIDTH, -1))[c] for c in range(WIDTH)]
        assert made.bits["hyper"][0].item() == pytest.approx(-torch.cat(by_channel).log2().sum().item(), rel=1e-4)
        rounded = np.round(latents.numpy() - means) + means
        np.testing.assert_allclose(made.latents.numpy(), rounded, atol=1e-5)


def test_in_evaluation_means_are_whole_steps_and_scales_of_64(model, latents):
    model.eval().fix()
    with torch.no_grad():
        hyper = model.hyper_of(latents)
        assert torch.equal(hyper, hyper.round())
        assert hyper.unique().numel() > 3, "the hyper-latents say something"
        means, levels = model.distribution(hyper)
        plain, scales = model.synthesis(hyper).chunk(2, dim=1)
    assert torch.equal(means * 1024, (means * 1024).round())
    torch.testing.assert_close(means, plain, atol=0.02, rtol=0)
    assert levels.min() >= 0
    assert levels.max() <= 63
    assert levels.unique().numel() > 10
    inside = (scales > gaussian.SCALE_MIN * 2) & (scales < gaussian.SCALE_MAX / 2)
    assert inside.any()
    ratio = gaussian.scale_levels()[levels][inside] / scales[inside]
    assert (
        ratio.log().abs() < 0.55 * np.log(gaussian.SCALE_MAX / gaussian.SCALE_MIN) / 63 + 0.1
    ).all()  # the integers' steps of the least scales
    made = model(latents)
    residual = made.latents - means
    torch.testing.assert_close(residual, residual.round(), atol=1e-5, rtol=0)
    assert (made.latents - latents).abs().max() <= 0.5 + 1e-5


def test_evaluation_counts_what_the_tables_say(model, latents):
    model.eval().fix()
    made = model(latents)
    with torch.no_grad():
        hyper = model.hyper_of(latents)
        means, levels = model.distribution(hyper)
    distance = (latents - means).round().abs().double().numpy()
    scales = gaussian.scale_levels()[levels].numpy()
    likelihood = norm.cdf(0.5 - distance, scale=scales) - norm.cdf(-0.5 - distance, scale=scales)
    usual = likelihood > 2.0**-18  # integers of 2^-24 say less of what is rarer
    assert usual.mean() > 0.9
    bits = model.scale_tables.bits((latents - means).round(), levels).numpy()
    np.testing.assert_allclose(bits[usual], -np.log2(likelihood[usual]), atol=0.02)
    assert made.bits["latents"].sum().item() == pytest.approx(bits.sum(), rel=1e-5)
    assert made.bits["hyper"].min() > 0


def test_autocast_changes_nothing_of_what_is_coded(model, latents):
    model.eval().fix()
    plain, coder = model(latents[:1]), model.coder()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(latents[:1]).latents, plain.latents)
        encoded = coder.encode(latents[0], 4)
    again = coder.encode(latents[0], 4)
    assert (encoded.side, encoded.tiles) == (again.side, again.tiles)
    assert torch.equal(encoded.latents, plain.latents[0])


def test_values_far_away_are_coded_exactly(model):
    latents = torch.zeros(NUM, 4, 4)
    latents[0, 1, 2], latents[3, 0, 0] = 30_000, -30_000
    encoded = model.coder().encode(latents, 8)
    assert (encoded.latents - latents).abs().max() <= 0.5 + 2**-9  # of which single precision has few digits left
    assert torch.equal(model.coder().open(encoded.side, (4, 4), 8).tile(0, 0, encoded.tiles[0]), encoded.latents)


def test_latents_of_a_size_without_whole_hyper_latents_are_none_of_this_model(model):
    with pytest.raises(BitstreamError, match="latents of 6 x 8 are no multiples of 4"):
        model.coder().open(b"", (6, 8), 4)


def test_a_side_part_that_is_damaged_is_refused(model, latents):
    coder = model.coder()
    side = coder.encode(latents[0], 8).side
    for damaged in (side[: len(side) // 2], side + b"\1" * 9):
        with pytest.raises(BitstreamError):
            coder.open(damaged, (8, 12), 8)


def test_evaluation_sees_latents_relative_to_their_spread_as_training_does(model, latents):
    spread = torch.tensor([0.5, 2.0, 4.0, 8.0])
    model.spread.copy_(spread)
    model.eval()
    model.fix()
    with torch.no_grad():
        relative = latents / spread[:, None, None]
        expected = model.synthesis(model.analysis(relative).round()).chunk(2, dim=1)[0] * spread[:, None, None]
        assert torch.equal(model.hyper_of(latents), model.analysis(relative).round())
        assert torch.allclose(model.distribution(model.hyper_of(latents))[0], expected, atol=0.1)


@pytest.mark.parametrize("strides", [2, 3, 4])
def test_wavelet_latents_have_the_same_step_in_orthonormal_coefficients_whatever_the_number_of_strides(strides):
    """A detail latent is the mean over a block of 4^strides pixels; the orthonormal coefficient is 2^strides times that."""
    made = HyperpriorConfig(measurement="rgb", width=8, num_latents=24, num_strides=strides, num_qualities=3, start="wavelet").build()
    step_px = 2**strides / made.log_gain[-1].exp()
    torch.testing.assert_close(step_px, torch.full_like(step_px, 8 / 120))
    torch.testing.assert_close(made.log_inverse_gain, -made.log_gain)


def test_means_keep_their_step_at_every_level_whatever_training_does():
    config = HyperpriorConfig(measurement="rgb", width=8, num_latents=24, num_strides=3, num_qualities=3, start="wavelet")
    free, held = config.build(), config.replace(mean_step=0.02).build()
    means = start_as_wavelets(free.encoder, free.decoder)[1]
    held.load_state_dict(free.state_dict())
    for network in (free, held):
        with torch.no_grad():
            network.log_gain[:2, means] = -1.0
            network.log_inverse_gain[:2, means] = 1.0
    light = torch.linspace(0.1, 0.6, 64).expand(1, 3, 64, 64).clone()
    given = (light, torch.ones(1, 3, 1, 1).expand(1, 3, 64, 64), torch.zeros(1, 2), torch.ones(1, 3))
    for level in (1.0, 1.5, 2.0, 3.0):
        quality = torch.tensor([level])
        top, asked = (held.analysed(*given, torch.tensor([at])) for at in (3.0, level))
        gain = (asked / top)[0].flatten(1).nanmedian(dim=1).values
        expected = torch.exp(torch.lerp(torch.tensor(math.log(50.0)), held.log_gain[-1, means], max(0.0, level - 2)))
        torch.testing.assert_close(gain[means] * held.log_gain[-1, means].exp(), expected, rtol=1e-4, atol=0)
        torch.testing.assert_close(asked[:, ~means], free.analysed(*given, quality)[:, ~means])
    assert held.decoding().tensors["log_inverse_gain"][:2, means].exp().allclose(torch.tensor(0.02))
    held(*given, torch.tensor([1.0])).picture.sum().backward()
    assert held.log_gain.grad[:, means].eq(0).all() and held.log_gain.grad[0, ~means].ne(0).any()


def test_means_are_known_of_wavelets_alone():
    with pytest.raises(ConfigError, match="mean_step: with start=random no latents are known to be means"):
        HyperpriorConfig(num_qualities=2, mean_step=0.02)
