"""What every registered optimizer and schedule keeps to."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from photic.core.registry import optimizers, schedules
from photic.optim.optimizers import OptimizerConfig
from photic.optim.schedules import Schedule, ScheduleConfig

every_optimizer = pytest.mark.parametrize("name", optimizers.names())
every_schedule = pytest.mark.parametrize("name", schedules.names())
COURSES = [(1, 1), (1, 2), (10, 10), (7, 700), (100, 10_000)]  # steps per epoch, all steps


def groups(*parameters: nn.Parameter, lr: float = 0.05, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"name": str(number), "params": [parameter], "lr": lr, "weight_decay": weight_decay} for number, parameter in enumerate(parameters)
    ]


def quadratic(parameter: nn.Parameter) -> torch.Tensor:
    """Badly scaled: the curvature differs by a factor of ten."""
    return (torch.linspace(1, 10, parameter.numel()) * (parameter - 1) ** 2).sum()


def descend(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, num_steps: int, factor: Any = lambda _: 1.0) -> float:
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * factor(step)
        optimizer.zero_grad()
        loss = quadratic(parameter)
        loss.backward()
        optimizer.step()
    return quadratic(parameter).item()


@every_optimizer
def test_an_optimizer_reduces_a_quadratic(name: str) -> None:
    parameter = nn.Parameter(torch.zeros(4))
    start = quadratic(parameter).item()
    config = optimizers.configure(name)
    assert isinstance(config, OptimizerConfig)
    optimizer = config.build(groups(parameter))
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert descend(optimizer, parameter, 200) < 0.01 * start


@every_optimizer
def test_an_optimizer_keeps_each_groups_own_rate_decay_and_name(name: str) -> None:
    first, second = (nn.Parameter(torch.ones(2)) for _ in range(2))
    given = [*groups(first, lr=0.1, weight_decay=0.0), *groups(second, lr=0.01, weight_decay=0.5)]
    made = optimizers.get(name, given, lr=1.0, weight_decay=0.9).param_groups
    assert [(group["lr"], group["weight_decay"], group["name"]) for group in made] == [(0.1, 0.0, "0"), (0.01, 0.5, "0")]


@every_optimizer
def test_weight_decay_shrinks_weights_that_have_no_gradient_and_zero_decay_does_not(name: str) -> None:
    decayed, kept = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = optimizers.get(name, [*groups(decayed, weight_decay=0.5), *groups(kept)])
    for _ in range(3):
        for parameter in (decayed, kept):
            parameter.grad = torch.zeros(2)
        optimizer.step()
    assert decayed.max() < 1
    assert torch.equal(kept, torch.ones(2))


@every_optimizer
def test_an_optimizer_goes_on_exactly_from_its_saved_state(name: str) -> None:
    parameter = nn.Parameter(torch.zeros(4))
    optimizer = optimizers.get(name, groups(parameter))
    descend(optimizer, parameter, 5)
    twin = nn.Parameter(parameter.detach().clone())
    other = optimizers.get(name, groups(twin))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    descend(optimizer, parameter, 5)
    descend(other, twin, 5)
    assert torch.equal(parameter, twin)


@every_optimizer
def test_an_optimizers_state_can_be_kept_in_a_checkpoint(name: str, tmp_path: Any) -> None:
    from photic.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

    parameter = nn.Parameter(torch.zeros(4))
    optimizer = optimizers.get(name, groups(parameter))
    descend(optimizer, parameter, 3)
    file = write_checkpoint(tmp_path / "state.safetensors", Checkpoint({}, state={"optimizer": optimizer.state_dict()}))
    twin = nn.Parameter(parameter.detach().clone())
    other = optimizers.get(name, groups(twin))
    other.load_state_dict(read_checkpoint(file).state["optimizer"])
    assert descend(other, twin, 3) == descend(optimizer, parameter, 3)


@every_schedule
@pytest.mark.parametrize("course", COURSES, ids=str)
def test_a_schedules_factor_is_a_share_of_the_highest_rate_at_every_step(name: str, course: tuple[int, int]) -> None:
    config = schedules.configure(name)
    assert isinstance(config, ScheduleConfig)
    schedule = config.build(*course)
    assert isinstance(schedule, Schedule)
    factors = [schedule.factor(step) for step in range(course[1])]
    assert all(math.isfinite(factor) and 0 < factor <= 1 for factor in factors)


@every_schedule
def test_a_schedule_reaches_the_full_rate(name: str) -> None:
    schedule = schedules.get(name, 100, 2000)
    assert max(schedule.factor(step) for step in range(2000)) == pytest.approx(1, abs=1e-3)


@every_schedule
def test_a_schedule_is_a_function_of_the_step_whatever_was_asked_before(name: str) -> None:
    forward, backward = (schedules.get(name, 10, 100) for _ in range(2))
    there = [forward.factor(step) for step in range(100)]
    back = [backward.factor(step) for step in reversed(range(100))]
    assert there == back[::-1]


@every_schedule
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_schedule_goes_on_exactly_from_its_saved_state(name: str, mode: Any) -> None:
    import json

    observed = [0.5, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.9, 0.1]
    schedule, resumed = (schedules.get(name, 10, 140) for _ in range(2))
    for number, value in enumerate(observed):
        schedule.observe(value, mode)
        resumed.observe(value, mode)
        fresh = schedules.get(name, 10, 140)
        fresh.load_state_dict(json.loads(json.dumps(resumed.state_dict())))
        resumed = fresh
        assert resumed.factor(10 * number) == schedule.factor(10 * number)


@pytest.mark.parametrize("schedule", schedules.names())
@pytest.mark.parametrize("optimizer", optimizers.names())
def test_together_they_reduce_a_quadratic(optimizer: str, schedule: str) -> None:
    parameter = nn.Parameter(torch.zeros(4))
    start = quadratic(parameter).item()
    course = schedules.get(schedule, 20, 200)
    assert descend(optimizers.get(optimizer, groups(parameter)), parameter, 200, course.factor) < 0.05 * start
