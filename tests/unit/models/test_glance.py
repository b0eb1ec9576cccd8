"""The compact enhancer: a tone curve before training, greys that stay grey, exposure decided from the distribution of levels."""

import math

import pytest
import torch

from photic.functional.overview import overview
from photic.models.glance import BRIGHTENING, GlanceConfig, GlobalDecision, neutrality, tone_curve


def perturbed(**fields):
    torch.manual_seed(0)
    network = GlanceConfig(**fields).build().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return network


def dark(*size, seed=0):
    return 0.2 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_the_default_has_less_than_a_tenth_of_a_million_parameters():
    count = sum(parameter.numel() for parameter in GlanceConfig().build().parameters())
    assert count == 90_048


def test_the_tone_curve_keeps_black_and_white_and_rises_faster_the_larger_k():
    levels = torch.linspace(0, 1, 11)
    for k in (0.1, 10.0, 1000.0):
        made = tone_curve(levels, torch.tensor(k))
        assert made[0] == 0
        assert made[-1].item() == pytest.approx(1, abs=1e-6)
        assert (made.diff() > 0).all()
        assert made[3].item() == pytest.approx(math.log(1 + k * 0.3) / math.log(1 + k), abs=1e-5)
    assert tone_curve(levels, torch.tensor(1000.0))[1] > tone_curve(levels, torch.tensor(10.0))[1]


def test_before_training_it_is_nearly_the_tone_curve_of_the_mean_level():
    torch.manual_seed(0)
    network, image = GlanceConfig(neutral_tolerance=0).build().eval(), dark(64, 96)
    with torch.no_grad():
        made = network(image).picture
    torch.testing.assert_close(made, tone_curve(image, BRIGHTENING / image.mean()), atol=0.05, rtol=0.05)


def test_the_decision_begins_with_the_logarithm_of_the_mean_level_and_ignores_where_things_are():
    decision = GlobalDecision(16, 32)
    with torch.no_grad():
        small = overview(dark(64, 64))
        made = decision(small)
        turned = decision(small.flip(2).rot90(1, (2, 3)))
    assert made.shape == (1, 17)
    assert made[0, 0].item() == pytest.approx(math.log(small.mean()), abs=1e-5)
    torch.testing.assert_close(made, turned, atol=1e-5, rtol=1e-5)


def test_what_is_grey_stays_grey_whatever_the_weights():
    levels = torch.linspace(0, 0.25, 96).expand(1, 3, 64, 96)
    with torch.no_grad():
        made = perturbed()(levels).picture
        free = perturbed(neutral_tolerance=0)(levels).picture
    spread = made.amax(1) - made.amin(1)
    assert spread.max() < 1e-5
    assert (free.amax(1) - free.amin(1)).max() > 0.01
    assert made.std() > 0.01


def test_colours_are_left_to_the_network():
    coloured = torch.tensor([0.2, 0.1, 0.05]).view(1, 3, 1, 1).expand(1, 3, 32, 32).contiguous()
    with torch.no_grad():
        torch.testing.assert_close(perturbed()(coloured).picture, perturbed(neutral_tolerance=0)(coloured).picture, atol=1e-6, rtol=0)


def test_neutrality_is_one_for_greys_and_averages_coloured_noise_out():
    grey = torch.full((1, 3, 32, 32), 0.1)
    noise = 0.01 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tinted = grey * torch.tensor([1.0, 1.0, 0.8]).view(1, 3, 1, 1)
    assert neutrality(grey, 0.03).min() == 1
    assert neutrality(torch.zeros(1, 3, 8, 8), 0.03).min() == 1  # black is grey
    assert neutrality(grey + noise, 0.03).mean() > 0.6
    assert neutrality(tinted, 0.03).max() < 1e-6


def test_a_crop_with_the_pictures_decision_is_the_crop_of_the_enhanced_picture():
    network, image = perturbed(width=8), dark(240, 320)
    margin = network.margin_px
    with torch.no_grad():
        decision = network.decide(overview(image))
        whole = network(image).picture
        crop = network(image[..., 16:240, 32:288], decision=decision).picture
    inner = (slice(None), slice(None), slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(crop[inner], whole[..., 16:240, 32:288][inner], atol=1e-5, rtol=1e-4)


def test_a_black_picture_gives_finite_numbers_and_gradients():
    network = GlanceConfig(width=8).build()
    image = torch.zeros(1, 3, 24, 24, requires_grad=True)
    made = network(image).picture
    made.sum().backward()
    assert torch.isfinite(made).all()
    assert torch.isfinite(image.grad).all()
