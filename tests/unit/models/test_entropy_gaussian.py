"""Gaussians over integers against SciPy; the 64 scales of files."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from photic.models.codec import gaussian


def test_likelihoods_equal_scipys():
    values = torch.linspace(-40, 40, 321, dtype=torch.float64)
    for scale in (0.11, 0.5, 1.0, 3.7, 32.0, 100.0):
        found = gaussian.likelihood(values, torch.full_like(values, scale)).numpy()
        x = np.abs(values.numpy())
        expected = norm.cdf(-x + 0.5, scale=scale) - norm.cdf(-x - 0.5, scale=scale)  # the lower tail keeps its digits in SciPy, too
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)


def test_single_precision_is_near_in_the_tails():
    values = torch.tensor([-9.0, -5.0, -1.0, 0.0, 2.0, 6.0, 9.0])
    found = gaussian.likelihood(values, torch.ones(7)).double().numpy()
    x = np.abs(values.double().numpy())
    np.testing.assert_allclose(found, norm.cdf(0.5 - x) - norm.cdf(-0.5 - x), rtol=1e-4)


def test_scales_below_the_least_are_the_least_and_can_come_back():
    scales = torch.tensor([0.01, -3.0, 0.01], requires_grad=True)
    values = torch.tensor([0.0, 0.0, 1.0])
    made = gaussian.likelihood(values, scales)
    torch.testing.assert_close(made.detach(), gaussian.likelihood(values, torch.full((3,), gaussian.SCALE_MIN)))
    (-made.log2().sum()).backward()
    assert scales.grad[:2].tolist() == [0.0, 0.0]  # a wider one would cost bits at the mean
    assert scales.grad[2] < 0  # one away from it, a wider one saves some, so descent raises the scale


def test_probabilities_of_all_integers_add_up_to_one():
    values = torch.arange(-1300, 1301, dtype=torch.float64).expand(64, -1)
    scales = gaussian.scale_levels()[:, None].expand_as(values)
    torch.testing.assert_close(gaussian.likelihood(values, scales).sum(dim=1), torch.ones(64, dtype=torch.float64))


def test_scales_are_64_in_equal_ratios():
    levels = gaussian.scale_levels()
    assert len(levels) == 64
    assert levels[0].item() == pytest.approx(0.11)
    assert levels[-1].item() == pytest.approx(128)
    np.testing.assert_allclose((levels[1:] / levels[:-1]).numpy(), (128 / 0.11) ** (1 / 63))


@pytest.mark.parametrize("unit", [2.0**-10, 2.0**-6])
def test_a_scale_in_integers_takes_the_nearest_level_by_ratio(unit):
    limits, levels = gaussian.scale_limits(unit), gaussian.scale_levels()
    units = torch.arange(0, int(150 / unit), 7)
    found = torch.bucketize(units, limits)
    scales = (units * unit).clamp_min(1e-6).double()
    nearest = (scales.log()[:, None] - levels.log()).abs().argmin(dim=1)
    away = found != nearest
    assert away.float().mean() < 0.02  # limits are cut to integers
    assert ((found - nearest).abs() <= 1).all()


def test_tables_are_the_likelihoods_up_to_five_deviations():
    probabilities, lowest = gaussian.tabulated()
    assert probabilities.shape == (64, gaussian.NUM_SYMBOLS - 1)
    zero = 5 * 128
    assert set(lowest.tolist()) == {-zero}
    np.testing.assert_allclose(probabilities[:, zero], norm.cdf(0.5, scale=gaussian.scale_levels()) * 2 - 1, rtol=1e-9)
    assert (1 - probabilities.sum(dim=1)).max() < 1e-6
