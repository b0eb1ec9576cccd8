"""Learning-rate schedules: their shape, and that they are functions of the step."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from photic.core.registry import schedules


def test_warmup_cosine_rises_linearly_then_falls_to_the_floor() -> None:
    schedule = schedules.get("warmup_cosine", 10, 100, warmup_epochs=2.0, final_factor=0.1)
    assert [schedule.factor(step) for step in (0, 9, 19)] == pytest.approx([1 / 20, 10 / 20, 1.0])
    assert schedule.factor(20) == pytest.approx(1.0)
    middle = 20 + (99 - 20) / 2
    assert schedule.factor(middle) == pytest.approx(0.55, abs=1e-9)
    assert schedule.factor(99) == pytest.approx(0.1)
    falling = [schedule.factor(step) for step in range(20, 100)]
    assert falling == sorted(falling, reverse=True)


def test_warmup_longer_than_a_short_trial_is_its_beginning() -> None:
    schedule = schedules.get("warmup_cosine", 18, 3, warmup_epochs=5.0)
    assert [schedule.factor(step) for step in range(3)] == pytest.approx([1 / 90, 2 / 90, 3 / 90])


def test_one_cycle_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=200, cycle_momentum=False)
    ours = schedules.get("one_cycle", 20, 200)
    for step in range(200):
        assert ours.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        if step < 199:
            theirs.step()


def test_patience_lowers_the_rate_and_can_be_restored_in_between() -> None:
    schedule = schedules.get("patience", 10, 1000, patience=1, factor=0.5)
    values = [0.1, 0.2, 0.2, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]
    expected = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    for value, factor in zip(values, expected, strict=True):
        restored = schedules.get("patience", 10, 1000, patience=1, factor=0.5)
        restored.load_state_dict(copy.deepcopy(schedule.state_dict()))
        schedule = restored
        schedule.observe(value, "max")
        assert schedule.factor(5) == factor


@pytest.mark.parametrize("name", schedules.names())
@pytest.mark.parametrize(("per_epoch", "total"), [(1, 1), (3, 2), (5, 37), (100, 10_000)])
def test_every_schedule_stays_in_range(name: str, per_epoch: int, total: int) -> None:
    schedule = schedules.get(name, per_epoch, total)
    for step in {0, 1, total // 3, total // 2, total - 1}:
        assert 0 <= schedule.factor(step) <= 1
        assert math.isfinite(schedule.factor(step))
