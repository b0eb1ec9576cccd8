"""The search for the quality that makes a file of a given size."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.rawnind.compressing.rate_target import MOST_CODINGS, WITHIN, search


def sizes_of(seed):
    """Return made sizes by quality: a head and a part that grows, faster or slower toward the end."""
    rng = np.random.default_rng(seed)
    head, first, slope, bend = rng.uniform(0, 5000), rng.uniform(500, 50_000), rng.uniform(0.2, 1.0), rng.uniform(-0.02, 0.05)
    return lambda quality: bytes(int(head + first * 2 ** (slope * (quality - 1) + bend * (quality - 1) ** 2)))


@pytest.mark.parametrize("seed", range(40))
def test_any_size_in_reach_is_met_from_below_in_few_codings(seed):
    coded = sizes_of(seed)
    least, most = len(coded(1.0)), len(coded(8.0))
    target = least + (most - least) * np.random.default_rng(seed + 1000).random() ** 2
    found = search(coded, 1.0, 8.0, target)
    assert found.reached
    assert not found.beyond
    assert target * (1 - WITHIN) <= len(found.coding.data) <= target
    assert found.coding.data == coded(found.coding.quality)
    assert found.coding.quality == round(found.coding.quality, 3)
    assert len(found.sizes) <= MOST_CODINGS


def test_sizes_out_of_reach_take_the_nearest_end_and_say_the_range():
    coded = sizes_of(3)
    ends = len(coded(1.0)), len(coded(8.0))
    for target, quality in ((ends[0] / 2, 1.0), (ends[1] * 2, 8.0)):
        found = search(coded, 1.0, 8.0, target)
        assert (found.beyond, found.reached, found.coding.quality) == (True, False, quality)
        assert (found.sizes[0], found.sizes[-1]) == ((1.0, ends[0]), (8.0, ends[1]))


def test_sizes_in_steps_end_at_the_step_below():
    def coded(quality):
        return bytes(1000 if quality < 4.4 else 3000)

    found = search(coded, 1.0, 8.0, 2000)
    assert (found.reached, found.beyond) == (False, False)
    assert len(found.coding.data) == 1000
    assert len(found.sizes) <= MOST_CODINGS
