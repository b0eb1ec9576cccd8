"""Views that cut and turn two pictures alike."""

from __future__ import annotations

import numpy as np
import pytest

from photic.core.errors import DataError
from photic.data.augment.paired import View, random_view

PICTURE = np.arange(30 * 40).reshape(30, 40)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_view_is_cut_then_mirrored_then_turned(turns: int, mirrored: bool) -> None:
    cut = PICTURE[3:11, 5:21]
    expected = np.rot90(cut[:, ::-1] if mirrored else cut, turns)
    assert np.array_equal(View(3, 5, 8, 16, mirrored, turns).of(PICTURE), expected)


def test_places_and_ways_to_lie_are_all_drawn_alike() -> None:
    views = [random_view(np.random.default_rng(seed), (30, 40), 28) for seed in range(3000)]
    assert {(view.height, view.width) for view in views} == {(28, 28)}
    for values, count in (([view.top for view in views], 3), ([view.left for view in views], 13)):
        shares = np.bincount(values, minlength=count) / len(views)
        assert len(shares) == count  # every place, the last one too, and none beyond
        assert shares == pytest.approx(np.full(count, 1 / count), abs=0.03)
    assert np.bincount([view.quarter_turns for view in views]) / len(views) == pytest.approx(np.full(4, 0.25), abs=0.03)
    assert np.mean([view.mirrored for view in views]) == pytest.approx(0.5, abs=0.03)


def test_switching_one_off_changes_nothing_else() -> None:
    full, plain = (random_view(np.random.default_rng(3), (30, 40), 8, flips=on, rotations=on) for on in (True, False))
    assert (plain.top, plain.left, plain.mirrored, plain.quarter_turns) == (full.top, full.left, False, 0)


def test_whole_pictures_keep_their_shape() -> None:
    views = [random_view(np.random.default_rng(seed), (30, 40), None) for seed in range(50)]
    assert {view.quarter_turns for view in views} == {0, 2}
    assert all(view.of(PICTURE).shape == (30, 40) for view in views)
    assert {random_view(np.random.default_rng(seed), (30, 30), None).quarter_turns for seed in range(50)} == {0, 1, 2, 3}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="a crop of 32 x 32 pixels does not fit into a picture of 30 x 40"):
        random_view(np.random.default_rng(0), (30, 40), 32)
    with pytest.raises(DataError, match="reaches beyond a picture of 30 x 40"):
        View(10, 0, 21, 4).of(PICTURE)
