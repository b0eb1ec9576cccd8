"""The moving average of weights, against the recurrence written out."""

from __future__ import annotations

import torch
from torch import nn

from photic.optim.ema import WeightAverage


def test_average_follows_the_recurrence() -> None:
    module = nn.Linear(2, 1)
    average = WeightAverage(module, decay=0.9)
    expected = module.weight.detach().clone()
    for n in range(40):
        with torch.no_grad():
            module.weight += 0.1 * (n + 1)
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    torch.testing.assert_close(average.weights["weight"], expected)


def test_swapped_average_is_taken_back_exactly() -> None:
    module = nn.BatchNorm1d(3)
    average = WeightAverage(module, decay=0.5)
    module(torch.randn(8, 3))
    average.update()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    held = {name: value.clone() for name, value in average.weights.items()}
    average.swap()
    assert torch.equal(module.running_mean, held["running_mean"])
    average.swap()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(torch.equal(held[name], value) for name, value in average.weights.items())
    assert average.weights["num_batches_tracked"] == 1
