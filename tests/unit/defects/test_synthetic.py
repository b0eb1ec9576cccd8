"""The drawn strips."""

from __future__ import annotations

import time

import numpy as np
import pytest

from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.core.errors import DataError


@pytest.fixture(scope="module")
def strips():
    return [draw_strip(0, index) for index in range(400)]


def test_the_masks_are_exactly_the_changed_pixels(strips):
    for strip in strips:
        assert np.array_equal(strip.picture != strip.clean, strip.masks.any(axis=0))


@pytest.mark.parametrize("size", [(32, 64), (33, 401), (256, 1600), (300, 80)])
def test_the_masks_are_exact_at_any_size(size):
    for index in range(12):
        strip = draw_strip(5, index, *size)
        assert strip.picture.shape == size
        assert strip.masks.shape == (len(CLASSES), *size)
        assert np.array_equal(strip.picture != strip.clean, strip.masks.any(axis=0))


def test_every_changed_pixel_is_visibly_changed_and_belongs_to_one_class(strips):
    for strip in strips:
        mask = strip.masks.any(axis=0)
        change = np.abs(strip.picture.astype(int) - strip.clean)[mask]
        assert change.min(initial=255) >= 7
        assert strip.masks.sum(axis=0).max() <= 1


def test_defects_lie_on_steel_never_on_the_dark_beside_it(strips):
    dark = [strip for strip in strips if (strip.clean[:, :4] < 10).all() or (strip.clean[:, -4:] < 10).all()]
    assert len(dark) > 40
    for strip in dark:
        assert strip.clean[strip.masks.any(axis=0)].min(initial=255) > 20


def test_a_strip_depends_on_seed_and_index_alone(strips):
    again = draw_strip(0, 7)
    assert np.array_equal(again.picture, strips[7].picture)
    assert np.array_equal(again.masks, strips[7].masks)
    assert not np.array_equal(draw_strip(1, 7).picture, again.picture)
    assert not np.array_equal(draw_strip(0, 8).picture, again.picture)


def test_classes_are_as_uneven_as_on_a_real_line(strips):
    labels = np.array([strip.labels for strip in strips])
    assert 0.44 < (labels.sum(axis=1) == 0).mean() < 0.56
    shares = labels.mean(axis=0)
    assert shares.argmax() == CLASSES.index("scratches")
    assert shares.max() > 3 * shares.min() > 0
    assert (labels.sum(axis=1) == 2).any()


def test_drawing_is_fast_enough_to_train_on():
    start = time.perf_counter()
    for index in range(40):
        draw_strip(3, index)
    assert 40 / (time.perf_counter() - start) >= 100


def test_a_strip_too_small_to_draw_on_is_refused():
    with pytest.raises(DataError, match="16 x 400 pixels are too small to draw; use at least 32 x 64"):
        draw_strip(0, 0, 16, 400)
