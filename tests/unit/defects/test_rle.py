"""Run-length masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from photic.apps.defects.rle import decode, encode, num_objects, num_objects_in_runs, parse_runs
from photic.core.errors import DataError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))


def slow_decode(text: str, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for pixel in range(start - 1, start - 1 + length):
            mask[pixel % height, pixel // height] = True
    return mask


@st.composite
def shortest_texts(draw):
    """Texts whose runs neither touch nor overlap."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    edges = draw(st.lists(st.integers(0, height * width), unique=True).map(sorted))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return " ".join(f"{start + 1} {stop - start}" for start, stop in pairs), height, width


@given(masks)
def test_a_mask_survives_encoding_and_decoding(mask):
    assert np.array_equal(decode(encode(mask), *mask.shape), mask)


@given(shortest_texts())
def test_a_text_survives_decoding_and_encoding(case):
    text, height, width = case
    mask = decode(text, height, width)
    assert np.array_equal(mask, slow_decode(text, height, width))
    assert encode(mask) == text


def test_pixels_are_counted_from_one_down_the_columns():
    mask = decode("4 2", height=3, width=2)
    assert mask.tolist() == [[False, True], [False, True], [False, False]]


def test_runs_that_touch_are_one_mask():
    assert encode(decode("1 2 3 4", 4, 4)) == "1 6"


@given(masks)
def test_objects_are_counted_like_scipy_with_corners_connected(mask):
    assert num_objects(mask) == ndimage.label(mask, np.ones((3, 3)))[1]


@given(masks)
def test_objects_of_single_pixel_runs_are_counted_alike(mask):
    pixels = np.flatnonzero(mask.T.ravel())
    assert num_objects_in_runs(np.stack([pixels, np.ones_like(pixels)], axis=1), mask.shape[0]) == num_objects(mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "3 numbers, expected pairs of start and length: the last start, 3"),
        ("1 2 x 4", "run 2: 'x' is not a whole number"),
        ("1 2.5", "run 1: '2.5' is not a whole number"),
        ("1 99999999999999999999", "run 1: '99999999999999999999' is not a whole number"),
        ("0 2", r"run 1 \(start 0, length 2\) starts before the first pixel"),
        ("-3 2", r"run 1 \(start -3, length 2\) starts before"),
        ("1 2 5 0", r"run 2 \(start 5, length 0\) is shorter than 1 pixel"),
        ("1 -2", r"run 1 \(start 1, length -2\) is shorter"),
        ("11 3", r"run 1 \(start 11, length 3\) reaches outside the picture of 3 x 4 = 12 pixels"),
        ("13 1", r"run 1 \(start 13, length 1\) reaches outside"),
        ("2 9223372036854775807", "reaches outside"),
        ("1 3 3 1", r"run 2 \(start 3, length 1\) overlaps the run before it"),
        ("7 1 2 1", r"run 2 \(start 2, length 1\) overlaps the run before it or is out of order"),
    ],
)
def test_a_bad_text_names_the_run_and_what_is_wrong(text, message):
    with pytest.raises(DataError, match=message):
        parse_runs(text, 3, 4)


def test_the_last_pixel_is_inside():
    assert decode("12 1", 3, 4)[2, 3]
