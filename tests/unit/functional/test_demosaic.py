"""Demosaicing by convolutions: samples kept, flat colours exact, all phases alike, against a slow reference, X-Trans too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes, mosaic_of, shifted
from photic.functional.demosaic import MALVAR_REACH_PX, NORMALISED_REACH_PX, malvar, normalised_convolution

rng = np.random.default_rng(0)
CASES = [(malvar, pattern) for pattern in BAYER.values()] + [(normalised_convolution, pattern) for pattern in (*BAYER.values(), XTRANS)]


def reach_of(function):
    return MALVAR_REACH_PX if function is malvar else NORMALISED_REACH_PX


def slow_malvar(mosaic, pattern):
    """The paper's four cases, each neighbour by hand, inner pixels only, float64."""
    height, width = mosaic.shape
    made = np.full((3, height, width), np.nan)
    colour = lambda y, x: pattern[y % 2][x % 2]  # noqa: E731
    for y in range(2, height - 2):
        for x in range(2, width - 2):
            m = lambda dy, dx, y=y, x=x: mosaic[y + dy, x + dx]  # noqa: E731
            own = colour(y, x)
            made[own, y, x] = m(0, 0)
            cross = m(0, -1) + m(0, 1) + m(-1, 0) + m(1, 0)
            far = m(0, -2) + m(0, 2) + m(-2, 0) + m(2, 0)
            corners = m(-1, -1) + m(-1, 1) + m(1, -1) + m(1, 1)
            if own != 1:
                made[1, y, x] = cross / 4 + 0.5 * (m(0, 0) - far / 4)
                made[2 - own, y, x] = corners / 4 + 0.75 * (m(0, 0) - far / 4)
                continue
            beside, above = colour(y, x + 1), colour(y + 1, x)
            rows, columns = m(0, -2) + m(0, 2), m(-2, 0) + m(2, 0)
            made[beside, y, x] = (m(0, -1) + m(0, 1)) / 2 + (5 * m(0, 0) - rows - corners + columns / 2) / 8
            made[above, y, x] = (m(-1, 0) + m(1, 0)) / 2 + (5 * m(0, 0) - columns - corners + rows / 2) / 8
    return made


def slow_normalised(mosaic, pattern):
    """Weighted means of the samples around, pixel by pixel, inner pixels only, float64."""
    height, width = mosaic.shape
    colour = np.array([[pattern[y % len(pattern)][x % len(pattern[0])] for x in range(width)] for y in range(height)])

    def mean(values, known, y, x, kernel):
        reach = len(kernel) // 2
        window = (slice(y - reach, y + reach + 1), slice(x - reach, x + reach + 1))
        weights = np.outer(kernel, kernel) * known[window]
        return (weights * values[window]).sum() / weights.sum() if weights.sum() > 0 else mean(values, known, y, x, (1, 3, 6, 7, 6, 3, 1))

    made = np.full((3, height, width), np.nan)
    green = np.full((height, width), np.nan)
    for y in range(3, height - 3):
        for x in range(3, width - 3):
            green[y, x] = mosaic[y, x] if colour[y, x] == 1 else mean(mosaic, colour == 1, y, x, (1, 2, 1))
    made[1] = green
    for c in (0, 2):
        for y in range(6, height - 6):
            for x in range(6, width - 6):
                own = colour[y, x] == c
                made[c, y, x] = mosaic[y, x] if own else green[y, x] + mean(mosaic - green, colour == c, y, x, (1, 4, 6, 4, 1))
    return made


@pytest.mark.parametrize("name", BAYER)
def test_malvar_equals_a_slow_reference(name):
    mosaic = rng.normal(size=(14, 13))
    found = malvar(torch.tensor(mosaic)[None, None], cfa_planes(BAYER[name], 14, 13)[None])[0].numpy()
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], slow_malvar(mosaic, BAYER[name])[:, 2:-2, 2:-2], atol=1e-12)


@pytest.mark.parametrize("pattern", [RGGB, BAYER["GBRG"], XTRANS, shifted(XTRANS, 2, 3)])
def test_normalised_convolution_equals_a_slow_reference(pattern):
    mosaic = rng.normal(size=(21, 22))
    found = normalised_convolution(torch.tensor(mosaic)[None, None], cfa_planes(pattern, 21, 22)[None])[0].numpy()
    np.testing.assert_allclose(found[:, 6:-6, 6:-6], slow_normalised(mosaic, pattern)[:, 6:-6, 6:-6], atol=1e-10)


@pytest.mark.parametrize(("function", "pattern"), CASES)
def test_samples_are_kept_and_flat_colours_are_exact(function, pattern):
    planes = cfa_planes(pattern, 17, 20)[None]
    mosaic = torch.tensor(rng.normal(size=(2, 1, 17, 20)), dtype=torch.float32)
    assert torch.equal(mosaic_of(function(mosaic, planes), planes), mosaic)
    grey = torch.full((1, 1, 17, 20), 0.3)
    torch.testing.assert_close(function(grey, planes), grey.expand(1, 3, 17, 20), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("function", "pattern"), CASES)
def test_a_flat_colour_that_is_not_grey_stays_what_it_is(function, pattern):
    """The mean level of every channel is unchanged, at every level from black to clipping."""
    planes = cfa_planes(pattern, 36, 36)[None]
    for level in (-0.01, 0.0, 0.02, 0.5, 1.0):
        flat = (level * torch.tensor([1.0, 0.6, 0.3])).view(1, 3, 1, 1).expand(1, 3, 36, 36)
        found = function(mosaic_of(flat, planes), planes)[..., 6:-6, 6:-6]
        torch.testing.assert_close(found.mean(dim=(2, 3)), flat[..., 0, 0], rtol=0.002, atol=1e-6)
        torch.testing.assert_close(found, flat[..., 6:-6, 6:-6], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("function", "pattern"), CASES)
def test_phases_are_one_another_shifted_and_crops_see_what_the_whole_sees(function, pattern):
    mosaic = torch.tensor(rng.normal(size=(1, 1, 40, 38)))
    planes = cfa_planes(pattern, 40, 38)[None].double()
    whole, reach = function(mosaic, planes), reach_of(function)
    for top, left in ((0, 1), (1, 0), (1, 1), (3, 5)):
        own = cfa_planes(shifted(pattern, top, left), 40 - top, 38 - left)[None].double()
        found = function(mosaic[..., top:, left:], own)
        torch.testing.assert_close(found[..., reach:, reach:], whole[..., top + reach :, left + reach :], rtol=0, atol=1e-12)


def test_orders_of_a_batch_may_differ():
    mosaic = torch.tensor(rng.normal(size=(2, 1, 12, 12)))
    planes = torch.stack([cfa_planes(BAYER[name], 12, 12).double() for name in ("GRBG", "BGGR")])
    for function in (malvar, normalised_convolution):
        both = function(mosaic, planes)
        for row in range(2):
            torch.testing.assert_close(both[row : row + 1], function(mosaic[row : row + 1], planes[row : row + 1]), rtol=0, atol=1e-12)


def test_tiny_pictures_and_wrong_shapes():
    for function in (malvar, normalised_convolution):
        for size in ((1, 1), (2, 2), (1, 7), (3, 2)):
            assert function(torch.ones(1, 1, *size), cfa_planes(RGGB, *size)[None]).isfinite().all()
        with pytest.raises(DataError, match=r"\(B, 1, H, W\).*one size"):
            function(torch.zeros(1, 1, 8, 8), cfa_planes(RGGB, 8, 6)[None])
        with pytest.raises(DataError, match="one size"):
            function(torch.zeros(1, 3, 8, 8), cfa_planes(RGGB, 8, 8)[None])
