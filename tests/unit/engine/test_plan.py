"""Positions of steps, validations and ends, against counting them one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from photic.engine.state import Plan, TrainingState

plans = st.builds(
    Plan,
    batches_per_epoch=st.integers(1, 13),
    accumulation=st.integers(1, 5),
    num_epochs=st.integers(1, 4),
    max_steps=st.none() | st.integers(1, 30),
    validate_every_steps=st.none() | st.integers(1, 5),
)


def walk(plan: Plan) -> tuple[list[int], list[int], int]:
    """Return the batch counts that end a step, those followed by validation, and the number of batches."""
    steps, validations, batches = [], [], 0
    for _ in range(plan.num_epochs):
        window = 0
        in_epoch = 0
        for inside in range(1, plan.batches_per_epoch + 1):
            batches += 1
            window += 1
            last = inside == plan.batches_per_epoch
            if window == plan.accumulation or last:
                window = 0
                in_epoch += 1
                steps.append(batches)
                ended = plan.max_steps is not None and len(steps) == plan.max_steps
                due = plan.validate_every_steps is not None and in_epoch % plan.validate_every_steps == 0
                if last or ended or due:
                    validations.append(batches)
                if ended:
                    return steps, validations, batches
    return steps, validations, batches


@given(plans)
def test_plan_agrees_with_counting(plan: Plan) -> None:
    steps, validations, batches = walk(plan)
    assert plan.num_steps == len(steps)
    assert plan.num_batches == batches
    assert [b for b in range(1, batches + 1) if plan.completes_step(b) or b == batches] == steps
    found, position = [], 0
    while position < batches:
        position = plan.next_validation(position)
        found.append(position)
    assert found == validations


def test_nan_is_never_the_best() -> None:
    state = TrainingState()
    assert not state.record({"step": 1}, float("nan"), "max")
    assert state.record({"step": 2}, 0.1, "max")
    assert not state.record({"step": 3}, float("nan"), "max")
    assert not state.record({"step": 4}, 0.1, "max")
    assert state.best is not None
    assert state.best["step"] == 2
    assert state.waited == 2


def test_means_are_weighted_by_samples() -> None:
    state = TrainingState()
    state.add({"loss": 1.0}, 3)
    state.add({"loss": 5.0}, 1)
    assert state.take_means() == {"loss": 2.0}
    assert state.take_means() == {}


def test_another_monitored_value_starts_a_new_best() -> None:
    state = TrainingState()
    assert state.record({"step": 1}, 22.0, "max", "psnr")
    assert not state.record({"step": 2}, 21.0, "max", "psnr")
    assert state.record({"step": 3}, 0.8, "max", "ssim")
    assert not state.record({"step": 4}, 0.7, "max", "ssim")
    assert state.best is not None
    assert (state.best["value"], state.best["monitor"], state.waited) == (0.8, "ssim", 1)
