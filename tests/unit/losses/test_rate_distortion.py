"""The rate-distortion trade-off against its formula, written out picture by picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses
from photic.losses.base import Compared
from photic.losses.rate_distortion import RateDistortionConfig, RateDistortionLoss
from photic.losses.reconstruction import L1Config, MSEConfig

BATCH, SHAPE = 5, (5, 3, 6, 8)
LEVELS = torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0])


def make(distortion="mse", **fields):
    return losses.configure("rate_distortion", distortion={"name": distortion}, **fields).build()


def batch(seed=0):
    rng = np.random.default_rng(seed)
    prediction, target = (torch.from_numpy(rng.random(SHAPE)) for _ in range(2))
    return prediction, target, torch.from_numpy(rng.random(BATCH))


def slow(prediction, target, rate, levels, mask=None, *, high, low, power=0.0, weight=1.0, distance=lambda d: d * d):
    """lambda D + R: D the mean over the pixels that count of a level's pictures, each level by its share of the batch."""
    distortion, bits = [], []
    for level in sorted(set(levels.tolist())):
        rows = [row for row in range(len(levels)) if levels[row].item() == level]
        differences = [
            distance(float(prediction[row, channel, y, x] - target[row, channel, y, x]))
            for row in rows
            for channel, y, x in np.ndindex(prediction.shape[1:])
            if mask is None or mask[row, 0, y, x]
        ]
        lmbda = math.exp((1 - level) * math.log(low) + level * math.log(high))
        counts = weight * len(rows) / len(levels) * (math.sqrt(low * high) / lmbda) ** power
        if differences:
            distortion.append(counts * lmbda * math.fsum(differences) / len(differences))
        bits.append(counts * math.fsum(float(rate[row]) for row in rows) / len(rows))
    return math.fsum(distortion), math.fsum(bits)


def terms(loss, compared, rate, levels):
    return {name: float(value) for name, value in loss.coded_terms(Compared(*compared), rate, levels).items()}


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("distortion", ["mse", "l1"])
def test_it_is_lambda_times_distortion_plus_rate_by_the_formula(distortion, power):
    prediction, target, rate = batch()
    mask = torch.from_numpy(np.random.default_rng(3).random((BATCH, 1, 6, 8)) < 0.6)
    loss = make(distortion, lmbda=200.0, lmbda_lowest=2.0, level_balance=power, weight=1.5)
    expected = slow(
        prediction, target, rate, LEVELS, mask, high=200.0, low=2.0, power=power, weight=1.5,
        distance=abs if distortion == "l1" else lambda d: d * d,
    )  # fmt: skip
    found = terms(loss, (prediction, target, mask), rate, LEVELS)
    assert list(found) == ["distortion", "rate"]
    assert (found["distortion"], found["rate"]) == pytest.approx(expected, rel=1e-6)


def test_of_one_level_it_is_lambda_d_plus_r_and_of_pictures_without_bits_lambda_d():
    prediction, target, rate = batch()
    loss = make(lmbda=32.0)
    found = terms(loss, (prediction, target), rate, torch.ones(BATCH))
    distortion = float((prediction - target).square().mean())
    assert found["distortion"] == pytest.approx(32 * distortion)
    assert found["rate"] == pytest.approx(float(rate.mean()))
    assert float(loss(prediction, target)) == pytest.approx(32 * distortion)


def test_a_larger_lambda_weighs_the_distortion_and_never_the_rate():
    prediction, target, rate = batch()
    low, high = (terms(make(lmbda=lmbda), (prediction, target), rate, torch.ones(BATCH)) for lmbda in (8.0, 64.0))
    assert high["distortion"] == pytest.approx(8 * low["distortion"])
    assert high["rate"] == low["rate"]


def test_lambdas_of_the_levels_are_in_equal_ratios():
    loss = make(lmbda=128.0, lmbda_lowest=2.0)
    found = [loss.trade_off(level / 6) for level in range(7)]
    assert found == pytest.approx([2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
    assert make(lmbda=7.0).trade_off(0.3) == pytest.approx(7.0)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_the_balance_of_levels_changes_what_a_level_counts_and_not_its_trade_off(power):
    prediction, target, rate = batch()
    loss = make(lmbda=128.0, lmbda_lowest=2.0, level_balance=power)
    counts = []
    for level in (0.0, 0.5, 1.0):
        found = terms(loss, (prediction, target), rate, torch.full((BATCH,), level))
        plain = terms(make(lmbda=loss.trade_off(level)), (prediction, target), rate, torch.ones(BATCH))
        counts.append(found["rate"] / plain["rate"])
        assert found["distortion"] / plain["distortion"] == pytest.approx(counts[-1])
    assert counts == pytest.approx([8.0**power, 1.0, 0.125**power])


@pytest.mark.parametrize("garbage", [7.0, math.nan, math.inf])
def test_what_is_under_the_mask_changes_neither_loss_nor_gradient(garbage):
    prediction, target, rate = batch()
    mask = torch.ones(BATCH, 1, 6, 8, dtype=torch.bool)
    mask[:, :, :, 5:] = False
    mask[1] = False
    found = []
    for spoilt in (target, torch.where(mask, target, garbage)):
        own = prediction.clone().requires_grad_()
        made = make(lmbda=32.0, lmbda_lowest=4.0, level_balance=0.5).coded_terms(Compared(own, spoilt, mask), rate, LEVELS)
        made["distortion"].backward()
        found.append((float(made["distortion"].detach()), float(made["rate"]), own.grad))
    assert found[0][:2] == found[1][:2]
    assert torch.equal(found[0][2], found[1][2])
    assert (found[0][2].expand(SHAPE)[~mask.expand(SHAPE)] == 0).all()
    assert (found[0][2][mask.expand(SHAPE)] != 0).all()


def test_a_level_of_which_no_pixel_counts_has_a_rate_alone():
    prediction, target, rate = batch()
    mask = torch.ones(BATCH, 1, 6, 8, dtype=torch.bool)
    mask[2] = False  # the only picture of the level in the middle
    found = terms(make(lmbda=200.0, lmbda_lowest=2.0), (prediction, target, mask), rate, LEVELS)
    assert (found["distortion"], found["rate"]) == pytest.approx(slow(prediction, target, rate, LEVELS, mask, high=200.0, low=2.0))
    with pytest.raises(DataError, match="leaves out every pixel"):
        terms(make(), (prediction, target, torch.zeros_like(mask)), rate, LEVELS)


def test_gradients_of_the_terms_go_where_they_belong():
    prediction, target, rate = batch()
    prediction.requires_grad_()
    rate.requires_grad_()
    made = make(lmbda=32.0, lmbda_lowest=4.0).coded_terms(Compared(prediction, target), rate, LEVELS)
    (distorted,) = torch.autograd.grad(made["distortion"], prediction, retain_graph=True)
    (rated,) = torch.autograd.grad(made["rate"], rate)
    assert (distorted != 0).all()
    torch.testing.assert_close(rated, torch.full_like(rate, 1 / BATCH))
    assert torch.autograd.grad(made["distortion"], rate, allow_unused=True) == (None,)


def test_a_sum_of_losses_is_one_distortion():
    prediction, target, rate = batch()
    both = {"name": "sum", "terms": {"far": {"name": "mse", "weight": 10.0}, "near": {"name": "l1"}}}
    loss = losses.configure("rate_distortion", lmbda=3.0, distortion=both).build()
    found = terms(loss, (prediction, target), rate, torch.ones(BATCH))
    assert found["distortion"] == pytest.approx(3 * float(10 * (prediction - target).square().mean() + (prediction - target).abs().mean()))
    assert loss.get_params()["distortion"]["far"]["weight"] == 10.0


@pytest.mark.parametrize(
    "distortion",
    [
        {"name": "focal"},
        {"name": "total_variation"},
        {"name": "rate_distortion"},
        {"name": "sum", "terms": {"a": {"name": "mse"}, "b": {"name": "focal"}}},
    ],
    ids=lambda fields: fields["name"],
)
def test_what_compares_no_pictures_is_no_distortion(distortion):
    with pytest.raises(ConfigError, match="does not compare a picture with the true one"):
        losses.configure("rate_distortion", distortion=distortion).build()


def test_the_lowest_lambda_is_not_above_the_highest():
    with pytest.raises(ConfigError, match=r"rate_distortion\.lmbda_lowest: expected at most lmbda \(4\), got 8"):
        RateDistortionConfig(lmbda=4.0, lmbda_lowest=8.0)
    for wrong in ({"lmbda": 0.0}, {"lmbda_lowest": -1.0}, {"level_balance": 1.5}):
        with pytest.raises(ConfigError):
            RateDistortionConfig(**wrong)


def test_its_weight_acts_on_both_terms_once():
    prediction, target, rate = batch()
    plain, twice = (
        terms(RateDistortionConfig(distortion=distortion, weight=weight).build(), (prediction, target), rate, LEVELS)
        for weight, distortion in ((1.0, MSEConfig()), (2.0, MSEConfig()))
    )
    assert twice == pytest.approx({name: 2 * value for name, value in plain.items()})
    inner = terms(RateDistortionLoss(L1Config(weight=3.0).build(), 5.0), (prediction, target), rate, torch.ones(BATCH))
    assert inner["distortion"] == pytest.approx(15 * float((prediction - target).abs().mean()))
