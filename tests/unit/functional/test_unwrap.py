"""Unwrapping of phases: known smooth phases are got back, cuts are never made."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.restoration import unwrap_phase

from photic.core.errors import DataError
from photic.functional.unwrap import has_cuts, unwrap


def wrapped(phase):
    return np.angle(np.exp(1j * phase))


@pytest.mark.parametrize("shape", [(40, 40), (33, 50), (1, 30), (30, 1)])
@pytest.mark.parametrize("height", [0.5, 8.0, 25.0])
def test_a_smooth_phase_is_got_back_up_to_one_multiple(shape, height):
    y, x = (np.linspace(-1, 1, side) for side in shape)
    phase = height * np.exp(-2 * np.add.outer(y**2, x**2)) + np.add.outer(3 * y, -5 * x)
    found = unwrap(wrapped(phase))
    turns = (found - phase) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns[0, 0]), atol=1e-9)
    assert found[shape[0] // 2, shape[1] // 2] == wrapped(phase)[shape[0] // 2, shape[1] // 2]


def test_a_phase_without_cuts_is_left_alone():
    phase = np.random.default_rng(0).uniform(-1.5, 1.5, (20, 30))
    np.testing.assert_array_equal(unwrap(phase), phase)


def test_it_equals_scikit_image_where_noise_leaves_no_vortex():
    rng = np.random.default_rng(0)
    phase = wrapped(8 * gaussian_filter(rng.normal(size=(60, 60)), 8) / 0.035 + 0.15 * rng.normal(size=(60, 60)))
    found, expected = unwrap(phase), unwrap_phase(phase)
    np.testing.assert_allclose(found - found[0, 0], expected - expected[0, 0], atol=1e-9)
    assert not has_cuts(found)


def test_a_vortex_keeps_a_cut_and_the_phase_stays_the_same_modulo_a_turn():
    y, x = np.mgrid[-10:10, -10:10] + 0.5
    phase = np.arctan2(y, x)
    found = unwrap(phase)
    assert has_cuts(found)
    np.testing.assert_allclose(wrapped(found - phase), 0, atol=1e-9)


def test_wrong_input_is_refused():
    for bad in (np.zeros(4), np.full((3, 3), np.nan)):
        with pytest.raises(DataError, match=r"\(H, W\)"):
            unwrap(bad)
