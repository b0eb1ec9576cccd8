"""Keeping videos steady: the measure, smoothed decisions, cuts, gains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from photic.apps.lowlight.steadiness import CutDetector, SmoothedDecision, SteadyBrightness, luminance_variation
from photic.core.errors import ConfigError, DataError


def test_the_measure_is_relative_and_sees_flicker_not_level():
    generator = np.random.default_rng(0)
    means = 10 + 0.1 * generator.normal(size=4000)
    assert luminance_variation(means) == pytest.approx(0.1 * math.sqrt(2) / 10, rel=0.05)
    assert luminance_variation(7 * means) == pytest.approx(luminance_variation(means))
    slow = np.linspace(10, 20, 1000)  # a light that is turned up does not flicker
    assert luminance_variation(slow) < 1e-9
    flicker = means + 0.3 * (-1.0) ** np.arange(4000)
    assert luminance_variation(flicker) > 3 * luminance_variation(means)


@pytest.mark.parametrize("means", [[1.0, 2.0], [0.0, 0.0, 0.0], [[1.0, 2.0, 3.0]]])
def test_too_little_to_measure_is_refused(means):
    with pytest.raises(DataError, match="three frames"):
        luminance_variation(means)


def test_a_lasting_change_arrives_with_the_time_constant():
    smooth = SmoothedDecision(2.0, fps=10)
    for _ in range(300):
        smooth.next(torch.zeros(1, 2))
    steps = [float(smooth.next(torch.ones(1, 2))[0, 0]) for _ in range(60)]
    assert steps[19] == pytest.approx(1 - math.exp(-1), abs=1e-4)
    assert steps == sorted(steps)


def test_the_first_frames_are_averaged_evenly():
    smooth = SmoothedDecision(5.0, fps=30)
    values = torch.arange(10.0)
    found = [float(smooth.next(value.view(1, 1))) for value in values]
    np.testing.assert_allclose(found, np.cumsum(values.numpy()) / np.arange(1, 11), rtol=1e-6)


def test_no_time_smooths_nothing_and_a_reset_forgets():
    smooth = SmoothedDecision(0, fps=30)
    for value in (1.0, 5.0, 2.0):
        assert float(smooth.next(torch.tensor([[value]]))) == value
    smooth = SmoothedDecision(1, fps=30)
    smooth.next(torch.tensor([[9.0]]))
    smooth.reset()
    assert float(smooth.next(torch.tensor([[1.0]]))) == 1


def test_networks_without_a_decision_are_served():
    assert SmoothedDecision(1, fps=30).next(torch.zeros(1, 0)).shape == (1, 0)


@pytest.mark.parametrize(("seconds", "fps"), [(-1, 30), (float("nan"), 30), (1, 0), (1e9, 30)])
def test_impossible_times_are_refused(seconds, fps):
    with pytest.raises(ConfigError, match="smooth"):
        SmoothedDecision(seconds, fps)


def overviews(number: int, seed: int, noise: float = 0.02) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scene = 0.15 * torch.rand(1, 3, 8, 8, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return [(scene + noise * torch.randn(scene.shape, generator=generator)).clamp(0, 1) for _ in range(number)]


def test_cuts_are_found_and_noise_is_none():
    found = [detector_answers(overviews(20, 1) + overviews(20, 2) + overviews(20, 3))]
    assert found[0] == [20, 40]


def test_a_pan_and_a_fade_are_no_cuts():
    generator = torch.Generator().manual_seed(0)
    wide = 0.15 * torch.nn.functional.interpolate(torch.rand(1, 3, 8, 40, generator=generator), (64, 400), mode="bilinear")
    assert detector_answers([wide[..., 3 * step : 3 * step + 64] for step in range(100)]) == []
    still = overviews(1, 4)[0]
    assert detector_answers([still * (1 + 0.03 * step) for step in range(60)]) == []


def detector_answers(frames: list[torch.Tensor]) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def test_gains_hold_flicker_down_to_that_of_the_input():
    generator = np.random.default_rng(0)
    before = 12 * (1 + 0.002 * generator.normal(size=600))
    after = 90 * (1 + 0.02 * generator.normal(size=600))  # ten times as restless
    steady = SteadyBrightness(1.0, 30)
    made = np.array([y * steady.gain(x, y) for x, y in zip(before, after, strict=True)])
    assert luminance_variation(after) > 9 * luminance_variation(before)
    assert luminance_variation(made[30:]) <= 1.1 * luminance_variation(before[30:])
    assert made.mean() == pytest.approx(90, rel=0.01)


def test_what_is_steadier_than_the_input_is_left_alone():
    generator = np.random.default_rng(1)
    before = 12 * (1 + 0.02 * generator.normal(size=200))
    steady = SteadyBrightness(1.0, 30)
    assert {steady.gain(x, 90 * (x / 12) ** 0.5) for x in before} == {1.0}


def test_a_real_change_of_the_light_passes():
    steady = SteadyBrightness(1.0, 30)
    before = [10.0] * 60 + [20.0] * 60
    gains = [steady.gain(x, 8 * x) for x in before]
    np.testing.assert_allclose(gains, 1, atol=1e-6)


def test_gains_are_bounded_and_black_has_none():
    steady = SteadyBrightness(1.0, 30)
    for _ in range(50):
        steady.gain(10, 80)
    assert steady.gain(10, 800) == pytest.approx(1 / 1.15)
    assert steady.gain(0, 5) == 1
    assert steady.gain(5, 0) == 1
