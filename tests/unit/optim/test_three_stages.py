"""The three-stage schedule: weights of the loss's terms, and rates of groups, as functions of the step."""

import math
from itertools import pairwise

import pytest

from photic.core.errors import ConfigError
from photic.optim.three_stages import NEVER_RAMPED, ThreeStagesConfig

PER_EPOCH, STEPS = 4, 400 * 4  # 400 epochs: 40, 260 and 100
CONFIG = ThreeStagesConfig()
SCHEDULE = CONFIG.build(PER_EPOCH, STEPS)


def stage_weights(stage):
    return {name: values[stage] for name, values in CONFIG.table().items()}


def test_stages_begin_where_the_shares_say():
    assert SCHEDULE.starts == (0, 160, 1200)
    assert [SCHEDULE.stage(step) for step in (0, 159, 160, 1199, 1200, 1599)] == [0, 0, 1, 1, 2, 2]


def test_the_default_weights_are_those_of_the_page():
    order = ("reconstruction", "exposure", "edge", "ssim", "colour", "diversity", "mask", "perceptual")
    table = [[CONFIG.table()[name][stage] for name in order] for stage in range(3)]
    assert table == [
        [1.2, 0, 0, 0.80, 0.20, 0.30, 0, 0],
        [1.2, 0.07, 0.12, 0.65, 0.07, 0.07, 0.03, 0],
        [1.1, 0.04, 0.15, 0.55, 0.08, 0.08, 0.05, 0.03],
    ]


@pytest.mark.parametrize(("step", "stage"), [(80, 0), (159, 0), (160 + 80, 1), (1199, 1), (1200 + 80, 2), (1599, 2)])
def test_after_ramp_and_mix_the_weights_are_those_of_the_stage(step, stage):
    assert SCHEDULE.weights(step) == pytest.approx(stage_weights(stage))


def test_reconstruction_and_ssim_are_never_below_their_stage_at_any_step():
    rising = ThreeStagesConfig(reconstruction=(0.5, 1.0, 2.0), ssim=(0.1, 0.9, 0.2)).build(PER_EPOCH, STEPS)
    for schedule in (SCHEDULE, rising):
        for step in range(STEPS):
            for name in NEVER_RAMPED:
                assert schedule.weights(step)[name] >= schedule.config.table()[name][schedule.stage(step)] - 1e-12


def test_auxiliary_terms_come_in_along_half_a_cosine_over_20_epochs():
    for epoch in (0, 5, 10, 15, 20):
        assert SCHEDULE.weights(epoch * PER_EPOCH)["diversity"] == pytest.approx(0.3 * 0.5 * (1 - math.cos(math.pi * epoch / 20)))
    edges = [SCHEDULE.weights(160 + step)["edge"] for step in range(81)]
    assert edges[0] == 0
    assert edges == sorted(edges)
    assert edges[-1] == 0.12


def test_the_loss_of_the_stage_before_fades_over_15_then_5_epochs():
    assert SCHEDULE.weights(160)["ssim"] == pytest.approx(0.80)
    assert SCHEDULE.weights(160 + 30)["ssim"] == pytest.approx((0.80 + 0.65) / 2)
    assert SCHEDULE.weights(160 + 60)["ssim"] == pytest.approx(0.65)
    assert SCHEDULE.weights(1200 + 10)["reconstruction"] == pytest.approx(1.15)
    assert SCHEDULE.weights(1200 + 20)["reconstruction"] == pytest.approx(1.1)


def test_no_weight_jumps():
    for name in CONFIG.table():
        values = [SCHEDULE.weights(step)[name] for step in range(STEPS)]
        assert max(abs(b - a) for a, b in pairwise(values)) < 0.02


def test_the_mask_stands_still_then_learns_at_exactly_2e_5_until_the_third_stage():
    rates = [SCHEDULE.rate(step, "mask", 1e-4) for step in range(STEPS)]
    assert set(rates[:160]) == {1e-4}
    assert set(rates[160:220]) == {0.0}
    assert set(rates[220:1200]) == {2e-5}
    assert rates[1200:] == pytest.approx([4e-6] * 400)
    assert [SCHEDULE.rate(step, "mask_plain", 1e-4) for step in range(STEPS)] == rates


def test_other_groups_keep_their_rate_and_take_a_fifth_in_the_third_stage():
    assert SCHEDULE.rate(1199, "curve", 1e-4) == 1e-4
    assert SCHEDULE.rate(1599, "curve", 1e-4) == pytest.approx(2e-5)
    assert SCHEDULE.rate(1599, "other", 2e-5) == pytest.approx(4e-6)


def test_short_stages_clamp_ramps_mixes_and_the_unfreezing():
    short = CONFIG.build(PER_EPOCH, 40)  # 10 epochs: 1, 6.5, 2.5
    assert short.starts == (0, 4, 30)
    assert short.unfreezes_at == 30
    assert short.rate(29, "mask", 1e-4) == 0
    assert short.rate(30, "mask", 1e-4) == pytest.approx(4e-6)
    assert short.weights(4)["diversity"] == pytest.approx(0.3)
    assert short.weights(4)["ssim"] == pytest.approx(0.8)
    assert short.weights(30)["edge"] == pytest.approx(0.12)
    assert short.weights(39)["edge"] <= 0.15


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_trial_of_a_few_steps_works(steps):
    schedule = CONFIG.build(PER_EPOCH, steps)
    for step in range(steps):
        assert schedule.weights(step)["reconstruction"] >= 1.1
        assert schedule.rate(step, "other", 1.0) > 0


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ConfigError, match=r"three_stages\.fractions: expected shares that sum to 1, got \[0\.2, 0\.2, 0\.2\]"):
        ThreeStagesConfig(fractions=(0.2, 0.2, 0.2))
