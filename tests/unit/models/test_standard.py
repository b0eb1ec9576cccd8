"""The standard denoiser: begins as the classical demosaicer, keeps means, follows exposure, sees no further than it says."""

from __future__ import annotations

import pytest
import torch

from photic.core.registry import models
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes, mosaic_of
from photic.functional.demosaic import malvar, normalised_convolution

NOISE = torch.tensor([[2e-3, 1e-5]])
BALANCE = torch.tensor([[2.0, 1.0, 1.5]])


def network(**fields):
    """Return a small network with weights that do something, as after training."""
    torch.manual_seed(0)
    made = models.get("standard", size="tiny", **fields).eval()
    with torch.no_grad():
        made.last.weight.normal_(0, 0.05)
        made.last.bias.normal_(0, 0.5)
    return made


def scene(height=96, width=96, batch=1):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.1


@pytest.mark.parametrize("pattern", [*BAYER.values(), XTRANS])
def test_untrained_it_is_the_classical_demosaicer_on_balanced_colours(pattern):
    torch.manual_seed(0)
    made = models.get("standard", size="tiny", keep_mean=False).eval()
    with torch.no_grad():
        made.last.weight.zero_()
        made.last.bias[3:] = -30.0  # the gate shut
        planes = cfa_planes(pattern, 48, 96)[None]
        mosaic = mosaic_of(scene(48, 96), planes)
        gains = BALANCE[:, :, None, None]
        demosaic = normalised_convolution if pattern == XTRANS else malvar
        expected = demosaic(mosaic * (planes * gains).sum(1, keepdim=True), planes) / gains
        torch.testing.assert_close(made(mosaic, planes, NOISE, BALANCE), expected, atol=1e-5, rtol=0)


def test_patterns_may_be_mixed_in_a_batch():
    made = network()
    planes = torch.stack([cfa_planes(RGGB, 48, 48), cfa_planes(XTRANS, 48, 48)])
    mosaic = mosaic_of(scene(48, 48, 2), planes)
    noise, balance = NOISE.expand(2, 2), BALANCE.expand(2, 3)
    with torch.no_grad():
        both = made(mosaic, planes, noise, balance)
        for row in range(2):
            alone = made(mosaic[row : row + 1], planes[row : row + 1], NOISE, BALANCE)
            torch.testing.assert_close(both[row : row + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("measurement", ["mosaic", "rgb"])
def test_brighter_pictures_with_brighter_noise_give_the_same_picture_brighter(measurement):
    made = network(measurement=measurement)
    planes = cfa_planes(RGGB, 96, 96)[None] if measurement == "mosaic" else torch.ones(1, 3, 96, 96)
    seen = mosaic_of(scene(), planes) if measurement == "mosaic" else scene()
    with torch.no_grad():
        one = made(seen, planes, NOISE, BALANCE)
        other = made(4 * seen, planes, NOISE * torch.tensor([4.0, 16.0]), BALANCE)
    torch.testing.assert_close(other, 4 * one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.003, 0.1, 0.5, 0.98, 1.0])
def test_flat_patches_keep_their_level_in_every_colour_whatever_was_learnt(level):
    made = network()
    colour = level * torch.tensor([0.5, 1.0, 0.7]).view(1, 3, 1, 1)
    planes = cfa_planes(RGGB, 144, 144)[None]
    with torch.no_grad():
        out = made(mosaic_of(colour.expand(1, 3, 144, 144), planes), planes, NOISE, BALANCE)
    means = out[..., 48:-48, 48:-48].mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(means, colour, rtol=2e-3, atol=2e-6)


def test_white_balance_only_helps_to_compare_colours():
    """The result is in the camera's own colours: twice the balance with half the sensitivity is the same scene."""
    made = network()
    planes = cfa_planes(RGGB, 96, 96)[None]
    sensitivity = torch.tensor([0.5, 1.0, 1.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        one = made(mosaic_of(scene(), planes), planes, torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0]]))
        other = made(mosaic_of(sensitivity * scene(), planes), planes, torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 1.0, 1.0]]))
    torch.testing.assert_close(other, sensitivity * one, atol=1e-5, rtol=1e-4)


def test_half_precision_keeps_the_bits_of_pictures():
    made = network()
    planes = cfa_planes(RGGB, 96, 96)[None]
    seen = mosaic_of(scene(), planes)
    with torch.no_grad():
        full = made(seen, planes, torch.tensor([[1e-6, 1e-10]]), BALANCE)
        with torch.autocast("cpu", torch.bfloat16):
            half = made(seen, planes, torch.tensor([[1e-6, 1e-10]]), BALANCE)
    assert half.dtype == torch.float32
    # what the network adds is rounded to 8 bits, relative to what it adds; the demosaicer's picture is not
    assert (half - full).abs().max() < 0.02 * (full - malvar(seen, planes)).abs().max()


def test_sizes():
    counts = {}
    for size in ("tiny", "small", "base", "large"):
        counts[size] = sum(parameter.numel() for parameter in models.get("standard", size=size).parameters())
    assert counts["tiny"] < counts["small"] < 1_000_000 < counts["base"] < counts["large"] < 13_000_000
    assert 4 * counts["small"] < 6_000_000  # bytes that are shipped
