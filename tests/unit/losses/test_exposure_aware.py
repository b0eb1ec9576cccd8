"""Losses for true pictures whose exposure is a matter of taste, against slow references."""

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses

GENERATOR = torch.Generator().manual_seed(0)
TARGET = torch.rand(3, 3, 12, 10, generator=GENERATOR)
PREDICTION = 0.6 * TARGET + 0.1 * torch.rand(3, 3, 12, 10, generator=GENERATOR)
LUMA = np.array([0.299, 0.587, 0.114])


def test_aligned_l1_equals_a_slow_reference():
    expected = []
    for picture, true in zip(PREDICTION.double().numpy(), TARGET.double().numpy(), strict=True):
        ratio = (true * LUMA[:, None, None]).sum(0).mean() / (picture * LUMA[:, None, None]).sum(0).mean()
        expected.append(np.abs(picture * ratio - true).mean())
    assert float(losses.get("aligned_l1")(PREDICTION, TARGET)) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_exposure_makes_no_difference_to_the_aligned_loss(factor):
    loss = losses.get("aligned_l1")
    torch.testing.assert_close(loss(factor * PREDICTION, TARGET), loss(PREDICTION, TARGET))


def test_a_black_prediction_still_learns():
    black = torch.zeros(1, 3, 8, 8, requires_grad=True)
    loss = losses.get("aligned_l1")(black, torch.full((1, 3, 8, 8), 0.5))
    (gradient,) = torch.autograd.grad(loss, black)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert (gradient < 0).all()


def test_log_mse_equals_a_slow_reference_and_falls_by_the_same_for_each_decibel():
    squares = ((PREDICTION - TARGET).double().numpy() ** 2).mean(axis=(1, 2, 3))
    assert float(losses.get("log_mse")(PREDICTION, TARGET)) == pytest.approx(np.log10(1 + squares / 1e-4).mean(), rel=1e-5)
    grey = torch.zeros(1, 3, 4, 4)
    loss = losses.get("log_mse", floor=1e-9)
    steps = [float(loss(grey + 10 ** (-level / 20), grey)) for level in (10, 20, 30)]
    assert steps[0] - steps[1] == pytest.approx(steps[1] - steps[2], abs=1e-3)
    assert float(loss(grey, grey)) == 0


def test_masked_log_mse_is_that_of_the_pixels_that_count_of_each_picture():
    mask = torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[1] = False  # of which nothing counts: left out of the mean
    squares = (PREDICTION - TARGET).double().square()
    each = [float(squares[row][mask[row].expand(3, -1, -1)].mean()) for row in (0, 2)]
    expected = np.mean([np.log10(1 + value / 1e-4) for value in each])
    assert float(losses.get("log_mse")(PREDICTION, TARGET, mask.float())) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["aligned_l1", "log_mse"])
def test_masks_and_other_shapes_are_refused(name):
    if name == "aligned_l1":
        with pytest.raises(ConfigError, match=f"{name}: takes no mask"):
            losses.get(name)(PREDICTION, TARGET, torch.ones(3, 1, 12, 10))
    else:
        with pytest.raises(DataError, match=f"{name}: the mask leaves out every pixel"):
            losses.get(name)(PREDICTION, TARGET, torch.zeros(3, 1, 12, 10))
    with pytest.raises(DataError, match=rf"{name}: expected .*\(3, 3, 12, 10\) and \(3, 3, 10, 12\)"):
        losses.get(name)(PREDICTION, TARGET.transpose(2, 3))
