"""The fixed square root: what it is, and that it comes back."""

import numpy as np
import pytest
import torch

from photic.functional.companding import OFFSET, companded, expanded

VALUES = torch.cat([torch.logspace(-12, 1, 200, dtype=torch.float64), torch.zeros(1), -torch.logspace(-12, 0, 200, dtype=torch.float64)])


def test_it_is_the_root_beyond_an_offset():
    x = VALUES.numpy()
    expected = np.sign(x) * (np.sqrt(np.abs(x) + OFFSET) - np.sqrt(OFFSET))
    np.testing.assert_allclose(companded(VALUES).numpy(), expected, rtol=1e-12, atol=1e-15)


def test_expanding_takes_it_back():
    torch.testing.assert_close(expanded(companded(VALUES)), VALUES, rtol=1e-6, atol=1e-16)  # small ones lose digits under the root
    single = VALUES.float()
    torch.testing.assert_close(expanded(companded(single)), single, rtol=1e-3, atol=1e-8)


def test_both_are_odd_and_rise():
    grid = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    for curve in (companded, expanded):
        assert torch.equal(curve(-grid), -curve(grid))
        assert (curve(grid).diff() > 0).all()
        assert curve(torch.zeros(1)) == 0


@pytest.mark.parametrize("level", [0.01, 0.1, 1.0])
def test_noise_of_photons_becomes_the_same_at_every_level(level):
    electrons = np.random.default_rng(0).poisson(20_000 * level, 200_000) / 20_000
    spread = companded(torch.from_numpy(electrons)).std().item()
    assert spread == pytest.approx(0.5 / 20_000**0.5, rel=0.07)  # what the offset takes away at 0.01 is 5 %


@pytest.mark.parametrize("value", [-1e-4, 0.0, 1e-4, 0.5])
def test_gradients_are_the_slopes(value):
    for curve in (companded, expanded):
        x = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        curve(x).backward()
        step = 1e-7
        slope = (curve(torch.tensor(value + step, dtype=torch.float64)) - curve(torch.tensor(value - step, dtype=torch.float64))) / (
            2 * step
        )
        if value:
            assert x.grad.item() == pytest.approx(slope.item(), rel=1e-4)
        assert torch.isfinite(x.grad)
