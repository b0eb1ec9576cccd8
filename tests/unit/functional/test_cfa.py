"""Colour filter arrays: phases, planes, packing, and borders that keep them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photic.core.errors import DataError
from photic.functional.borders import mirrored, to_multiple
from photic.functional.cfa import (
    BAYER,
    RGGB,
    XTRANS,
    cfa_planes,
    check_pattern,
    is_bayer,
    lead_to_canonical,
    mosaic_of,
    pack,
    rggb_offset,
    shifted,
    unpack,
)

PATTERNS = {**BAYER, "X-Trans": XTRANS}


@pytest.mark.parametrize("name", PATTERNS)
def test_planes_say_for_each_pixel_which_colour_it_sees(name):
    pattern = PATTERNS[name]
    planes = cfa_planes(pattern, 13, 15)
    assert planes.shape == (3, 13, 15)
    for y in range(13):
        for x in range(15):
            colour = pattern[y % len(pattern)][x % len(pattern[0])]
            assert planes[:, y, x].tolist() == [float(colour == c) for c in range(3)]


def test_bayer_has_two_greens_in_four_and_xtrans_twenty_in_thirty_six():
    assert all(cfa_planes(pattern, 2, 2).sum(dim=(1, 2)).tolist() == [1, 2, 1] for pattern in BAYER.values())
    assert cfa_planes(XTRANS, 6, 6).sum(dim=(1, 2)).tolist() == [8, 20, 8]
    # every row and column of X-Trans has all three colours
    assert cfa_planes(XTRANS, 6, 6).amax(dim=1).min() == 1 and cfa_planes(XTRANS, 6, 6).amax(dim=2).min() == 1


@pytest.mark.parametrize("name", BAYER)
def test_cropping_by_the_offset_gives_red_green_green_blue(name):
    mosaic = torch.arange(10 * 12).view(1, 10, 12)
    rows, columns = rggb_offset(BAYER[name])
    planes = cfa_planes(BAYER[name], 10, 12)[:, rows:, columns:]
    assert torch.equal(planes, cfa_planes(RGGB, 10 - rows, 12 - columns))
    even = mosaic[:, rows : rows + 8, columns : columns + 10]
    assert torch.equal(pack(even)[0], even[0, ::2, ::2]) and torch.equal(pack(even)[3], even[0, 1::2, 1::2])


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (3, 5), (4, 2)])
def test_continuing_by_the_lead_gives_the_pattern_that_networks_know(name, shift):
    pattern = shifted(PATTERNS[name], *shift)
    rows, columns = lead_to_canonical(pattern)
    known = XTRANS if name == "X-Trans" else RGGB
    assert torch.equal(cfa_planes(known, 14 + rows, 15 + columns)[:, rows:, columns:], cfa_planes(pattern, 14, 15))
    if name != "X-Trans":  # mirroring about a pixel keeps Bayer's phase
        planes = mirrored(cfa_planes(pattern, 14, 15)[None], top=rows, left=columns)[0]
        assert torch.equal(planes, cfa_planes(RGGB, 14 + rows, 15 + columns))


@given(st.integers(1, 5), st.integers(1, 6))
def test_packing_and_unpacking_are_inverse(height, width):
    mosaic = torch.rand(2, 1, 2 * height, 2 * width)
    assert torch.equal(unpack(pack(mosaic)), mosaic)


def test_a_mosaic_has_the_samples_of_its_picture():
    picture = torch.rand(3, 12, 12)
    for pattern in PATTERNS.values():
        colours = np.array([[pattern[y % len(pattern)][x % len(pattern)] for x in range(12)] for y in range(12)])
        expected = np.take_along_axis(picture.numpy(), colours[None], axis=0)
        np.testing.assert_array_equal(mosaic_of(picture, cfa_planes(pattern, 12, 12)).numpy(), expected)


def test_what_is_no_pattern_is_refused():
    for wrong in (((0, 1), (1,)), ((0, 1), (1, 1)), ((0, 1), (3, 2))):
        with pytest.raises(DataError, match="expected rows of one length"):
            check_pattern(wrong)
    assert not is_bayer(XTRANS)
    with pytest.raises(DataError, match="four Bayer orders"):
        rggb_offset(XTRANS)
    with pytest.raises(DataError, match="Bayer or an X-Trans"):
        lead_to_canonical(((0, 1), (2, 1)))
    with pytest.raises(DataError, match="even sides"):
        pack(torch.zeros(1, 3, 4))
    with pytest.raises(DataError, match="four planes"):
        unpack(torch.zeros(3, 4, 4))


@given(st.integers(1, 7), st.integers(1, 7), st.tuples(*[st.integers(0, 20)] * 4))
def test_mirroring_continues_pictures_of_any_size(height, width, sides):
    top, bottom, left, right = sides
    picture = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    made = mirrored(picture, top=top, bottom=bottom, left=left, right=right)
    assert made.shape[-2:] == (height + top + bottom, width + left + right)
    assert torch.equal(made[..., top : top + height, left : left + width], picture)
    if height > 1 and width > 1:  # about the outermost pixels, as often as needed
        rows = np.pad(np.arange(height), (top, bottom), mode="reflect")
        columns = np.pad(np.arange(width), (left, right), mode="reflect")
        np.testing.assert_array_equal(made[0, 0].numpy(), picture[0, 0].numpy()[rows][:, columns])


def test_sides_become_multiples():
    assert to_multiple(torch.zeros(1, 3, 17, 1), 16).shape == (1, 3, 32, 16)
    assert to_multiple(torch.zeros(1, 3, 16, 32), 16).shape == (1, 3, 16, 32)
