"""Sensors: mosaics as linear operators, noise of the variance that is promised."""

from __future__ import annotations

import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import BAYER, XTRANS, cfa_planes
from photic.physics.mosaic import Mosaic
from photic.physics.sensor_noise import SensorNoise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("pattern", [*BAYER.values(), XTRANS])
def test_adjoint_of_the_mosaic(pattern):
    sensor = Mosaic(cfa_planes(pattern, 24, 18).double())
    picture = torch.randn(2, 3, 24, 18, generator=generator(), dtype=torch.float64)
    mosaic = torch.randn(2, 1, 24, 18, generator=generator(1), dtype=torch.float64)
    one, other = (sensor.apply(picture) * mosaic).sum(), (picture * sensor.adjoint(mosaic)).sum()
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    # sampling twice is sampling once
    torch.testing.assert_close(sensor.apply(sensor.adjoint(mosaic)), mosaic)
    assert torch.equal(sensor.measure(picture), sensor.apply(picture))


def test_planes_have_three_colours():
    with pytest.raises(DataError, match="planes"):
        Mosaic(torch.zeros(1, 8, 8))


@pytest.mark.parametrize("shot, read", [(0.01, 0.0), (0.0, 1e-4), (2e-3, 1e-5), (0.05, 4e-3)])
@pytest.mark.parametrize("level", [0.02, 0.2, 0.5])
def test_mean_and_variance(shot, read, level):
    noise = SensorNoise(shot=shot, read=read, floor=-10, ceiling=10)
    seen = noise.sample(torch.full((400, 500), level), generator())
    expected = shot * level + read
    assert seen.var().item() == pytest.approx(expected, rel=0.03)
    assert seen.mean().item() == pytest.approx(level, abs=4 * (expected / 200_000) ** 0.5)
    assert noise.variance(torch.tensor(level)).item() == pytest.approx(expected)


def test_rows_share_their_noise():
    seen = SensorNoise(shot=0, read=1e-6, row=1e-2).sample(torch.full((2000, 50), 0.5), generator())
    assert seen.mean(dim=1).std().item() == pytest.approx(1e-2, rel=0.06)
    assert (seen - seen.mean(dim=1, keepdim=True)).std().item() == pytest.approx(1e-3, rel=0.05)


def test_values_are_rounded_to_steps_and_clipped_where_the_sensor_clips():
    noise = SensorNoise(shot=0.01, read=1e-3, steps=255, floor=-0.0625)
    seen = noise.sample(torch.linspace(0, 1, 10_000), generator())
    assert seen.max() == 1
    assert seen.min() == pytest.approx(-0.0625)
    inside = seen[seen > -0.0625]
    torch.testing.assert_close(inside * 255, (inside * 255).round(), atol=1e-4, rtol=0)


def test_without_noise_nothing_changes_below_black_nor_above():
    clean = torch.linspace(-0.5, 1, 50)
    assert torch.equal(SensorNoise(shot=0, read=0).sample(clean, generator()), clean)
    assert torch.equal(SensorNoise(shot=0.1, read=0).sample(torch.tensor([-0.25]), generator()), torch.tensor([-0.25]))


def test_the_same_generator_gives_the_same_noise():
    noise = SensorNoise(shot=0.01, read=1e-4, row=1e-3)
    clean = torch.full((3, 20, 20), 0.3)
    assert torch.equal(noise.sample(clean, generator(4)), noise.sample(clean, generator(4)))
    assert not torch.equal(noise.sample(clean, generator(4)), noise.sample(clean, generator(5)))


@pytest.mark.parametrize("wrong", [{"shot": -1, "read": 0}, {"shot": 0, "read": 0, "steps": 0}, {"shot": 0, "read": 0, "floor": 2.0}])
def test_impossible_noise_is_refused(wrong):
    with pytest.raises(ConfigError, match="SensorNoise"):
        SensorNoise(**wrong)
