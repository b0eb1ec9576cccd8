"""R_amp from sums over patterns, against the amplitudes it is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.core.registry import metrics
from photic.metrics.base import Metric
from photic.metrics.diffraction import RAmp


def patterns() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    measured = generator.random((7, 8, 8)) * np.arange(1, 8)[:, None, None]  # patterns of very different brightness
    return measured + 0.2 * generator.normal(size=measured.shape), measured


def fed(sizes: list[int]) -> dict[str, float]:
    modelled, measured = (torch.from_numpy(values) for values in patterns())
    metric, start = RAmp(), 0
    for size in sizes:
        part = slice(start, start + size)
        metric.update((modelled[part] - measured[part]).abs().sum(dim=(1, 2)), measured[part].sum(dim=(1, 2)))
        start += size
    return metric.compute()


@pytest.mark.parametrize("sizes", [[7], [1, 2, 4], [3, 3, 1]])
def test_it_is_the_ratio_of_sums_over_all_patterns_not_a_mean_of_ratios(sizes: list[int]) -> None:
    modelled, measured = patterns()
    expected = np.abs(modelled - measured).sum() / measured.sum()
    assert fed(sizes) == {"r_amp": pytest.approx(expected, rel=1e-12)}
    means = np.mean(np.abs(modelled - measured).sum(axis=(1, 2)) / measured.sum(axis=(1, 2)))
    assert abs(means - expected) > 0.01


def test_many_small_numbers_do_not_get_lost() -> None:
    metric = RAmp()
    for _ in range(2000):
        metric.update(torch.full((100,), 1e-3), torch.full((100,), 1.0))
    assert metric.compute()["r_amp"] == pytest.approx(1e-3, rel=1e-6)


def test_less_is_better_and_nothing_measured_is_no_number() -> None:
    metric = RAmp()
    assert metric.higher_is_better is False
    assert math.isnan(metric.compute()["r_amp"])
    metric.update(torch.zeros(2), torch.zeros(2))
    assert math.isnan(metric.compute()["r_amp"])
    metric.update(torch.ones(1), torch.full((1,), 4.0))
    assert metric.compute() == {"r_amp": 0.25}
    metric.reset()
    assert math.isnan(metric.compute()["r_amp"])


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((3, 8, 8), (3, 8, 8)), ((), ())])
def test_anything_but_two_vectors_is_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(DataError, match="r_amp: expected two vectors of one length"):
        RAmp().update(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_it_is_registered() -> None:
    made = metrics.get("r_amp")
    assert isinstance(made, RAmp)
    assert isinstance(made, Metric)
