"""Directional demosaicing: against a slow reference, exact where it must be, better than convolutions at edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes, mosaic_of, shifted
from photic.functional.demosaic import malvar
from photic.functional.menon import MENON_REACH_PX, menon


def photograph(height=64, width=72, seed=0):
    """Smooth shading, slanted edges, stripes and a disc, in colours that change together but not alike; float64 ``(1, 3, H, W)``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    brightness = 0.4 + 0.15 * np.sin(x / 17) * np.cos(y / 13)
    brightness += 0.25 / (1 + np.exp(-(x * 0.95 + y * 0.3 - 45) / 0.5)) - 0.2 / (1 + np.exp(-(y - 0.2 * x - 18) / 0.4))
    brightness += 0.1 * np.sin(2 * np.pi * x / 4.3) * (y > 40) + 0.1 * np.sin(2 * np.pi * y / 3.7) * (x < 20)
    brightness += 0.2 / (1 + np.exp((np.hypot(x - 50, y - 20) - 9) / 0.4))
    tint = rng.uniform(0.7, 1.2, (3, 1, 1)) + 0.08 * np.stack([np.sin(x / 23), np.cos(y / 19), np.sin((x + y) / 29)])
    return torch.tensor(np.clip(brightness * tint, 0.02, 0.98))[None]


def psnr(a, b, border=8):
    inner = (slice(None), slice(None), slice(border, -border), slice(border, -border))
    return float(-10 * torch.log10((a[inner] - b[inner]).square().mean()))


def slow_menon(mosaic, pattern):
    """The same idea pixel by pixel, inner pixels only where all neighbours exist (others hold NaN), float64."""
    height, width = mosaic.shape
    colour = np.array([[pattern[y % 2][x % 2] for x in range(width)] for y in range(height)])
    nan = np.full((height, width), np.nan)
    at = lambda a, y, x: a[y, x] if 0 <= y < height and 0 <= x < width else np.nan  # noqa: E731
    ways = ((0, 1), (1, 0))
    both = []
    for dy, dx in ways:
        green = nan.copy()
        for y in range(height):
            for x in range(width):
                m = [at(mosaic, y + k * dy, x + k * dx) for k in (-2, -1, 0, 1, 2)]
                green[y, x] = mosaic[y, x] if colour[y, x] == 1 else (m[1] + m[3]) / 2 + (2 * m[2] - m[0] - m[4]) / 4
        both.append(green)
    green, rows = nan.copy(), np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            cost = []
            for (dy, dx), made in zip(ways, both, strict=True):
                difference = lambda a, b, made=made: at(mosaic, a, b) - at(made, a, b)  # noqa: E731
                total = 0.0
                for k, weight in ((-2, 1), (-1, 1), (0, 3), (1, 1), (2, 1)):  # lines beside the pixel's own
                    cy, cx = y + k * dx, x + k * dy
                    for start in (-1,) if abs(k) == 1 else (-2, 0):
                        a = difference(cy + start * dy, cx + start * dx)
                        b = difference(cy + (start + 2) * dy, cx + (start + 2) * dx)
                        total += weight * abs(b - a)
                cost.append(total)
            rows[y, x] = cost[1] >= cost[0]
            green[y, x] = both[0 if rows[y, x] else 1][y, x] if np.isfinite(cost).all() or colour[y, x] == 1 else np.nan
    red, blue = (np.where(colour == c, mosaic, np.nan) for c in (0, 2))

    def fill_greens():
        for c, made in ((0, red), (2, blue)):
            for y in range(height):
                for x in range(width):
                    if colour[y, x] == 1:
                        beside = x + 1 < width and colour[y, x + 1] == c
                        places = ((y, x - 1), (y, x + 1)) if beside else ((y - 1, x), (y + 1, x))
                        made[y, x] = green[y, x] + np.mean([at(mosaic, *p) - at(green, *p) for p in places])

    def line(y, x, steps):
        return [(y + k * (not rows[y, x]), x + k * rows[y, x]) for k in steps]

    fill_greens()
    first = red - blue
    for y in range(height):
        for x in range(width):
            mean = np.mean([at(first, *p) for p in line(y, x, (-1, 1))])
            if colour[y, x] == 2:
                red[y, x] = mosaic[y, x] + mean
            elif colour[y, x] == 0:
                blue[y, x] = mosaic[y, x] - mean
    before = green.copy()
    for c, made in ((0, red), (2, blue)):
        for y in range(height):
            for x in range(width):
                if colour[y, x] == c:
                    green[y, x] = mosaic[y, x] - np.mean([at(made, *p) - at(before, *p) for p in line(y, x, (-1, 0, 1))])
    fill_greens()
    second = red - blue
    for y in range(height):
        for x in range(width):
            mean = np.mean([at(second, *p) for p in line(y, x, (-1, 0, 1))])
            if colour[y, x] == 2:
                red[y, x] = mosaic[y, x] + mean
            elif colour[y, x] == 0:
                blue[y, x] = mosaic[y, x] - mean
    return np.stack([red, green, blue])


@pytest.mark.parametrize("name", BAYER)
def test_it_equals_a_slow_reference_inside(name):
    picture = photograph(30, 34) + 0.03 * torch.tensor(np.random.default_rng(1).normal(size=(1, 3, 30, 34)))
    planes = cfa_planes(BAYER[name], 30, 34)[None].double()
    mosaic = mosaic_of(picture, planes)
    expected = slow_menon(mosaic[0, 0].numpy(), BAYER[name])
    inner = (slice(None), slice(MENON_REACH_PX, -MENON_REACH_PX), slice(MENON_REACH_PX, -MENON_REACH_PX))
    assert np.isfinite(expected[inner]).all()
    np.testing.assert_allclose(menon(mosaic, planes)[0].numpy()[inner], expected[inner], atol=1e-12)


@pytest.mark.parametrize("refine", [True, False])
def test_known_samples_are_kept_to_the_bit_and_flat_colours_are_exact(refine):
    picture = photograph().float()
    for pattern in BAYER.values():
        planes = cfa_planes(pattern, 64, 72)[None]
        mosaic = mosaic_of(picture, planes)
        assert torch.equal(mosaic_of(menon(mosaic, planes, refine=refine), planes), mosaic)
        flat = torch.tensor([0.5, -0.25, 0.125]).view(1, 3, 1, 1).expand(2, 3, 9, 7)
        planes = cfa_planes(pattern, 9, 7)[None]
        assert torch.equal(menon(mosaic_of(flat, planes), planes, refine=refine), flat)


def test_all_four_orders_are_one_another_shifted():
    picture = photograph()
    reference = menon(mosaic_of(picture, cfa_planes(RGGB, 64, 72)[None].double()), cfa_planes(RGGB, 64, 72)[None])
    for top in range(2):
        for left in range(2):
            planes = cfa_planes(shifted(RGGB, top, left), 64 - top, 72 - left)[None].double()
            found = menon(mosaic_of(picture[..., top:, left:], planes), planes)
            reach = MENON_REACH_PX
            torch.testing.assert_close(found[..., reach:, reach:], reference[..., top + reach :, left + reach :], rtol=0, atol=1e-12)


def test_it_looks_no_further_than_it_says():
    picture = photograph()
    planes = cfa_planes(RGGB, 64, 72)[None].double()
    mosaic = mosaic_of(picture, planes)
    whole, reach = menon(mosaic, planes), MENON_REACH_PX
    crop = (..., slice(12, 52), slice(14, 60))
    found = menon(mosaic[crop], planes[crop])
    torch.testing.assert_close(found[..., reach:-reach, reach:-reach], whole[..., 12 + reach : 52 - reach, 14 + reach : 60 - reach])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_better_than_convolutions_on_pictures_with_edges(seed):
    picture = photograph(seed=seed)
    planes = cfa_planes(RGGB, 64, 72)[None].double()
    mosaic = mosaic_of(picture, planes)
    refined, plain, linear = (psnr(f(mosaic, planes), picture) for f in (menon, lambda m, p: menon(m, p, refine=False), malvar))
    assert refined > linear + 2 and plain > linear + 1


def test_a_smooth_picture_comes_back():
    x = np.mgrid[:48, :48][1] / 48
    picture = torch.tensor(np.stack([0.3 + 0.2 * np.sin(3 * x), 0.4 + 0.2 * np.sin(3 * x), 0.2 + 0.2 * np.sin(3 * x)]))[None]
    planes = cfa_planes(BAYER["GRBG"], 48, 48)[None].double()
    assert psnr(menon(mosaic_of(picture, planes), planes), picture) > 80


def test_a_batch_is_each_for_itself_with_planes_of_its_own():
    picture = torch.cat([photograph(24, 26), photograph(24, 26, seed=3)])
    planes = torch.stack([cfa_planes(BAYER[name], 24, 26).double() for name in ("RGGB", "BGGR")])
    mosaic = mosaic_of(picture, planes)
    both = menon(mosaic, planes)
    for row in range(2):
        assert torch.equal(both[row : row + 1], menon(mosaic[row : row + 1], planes[row : row + 1]))


def test_what_is_no_bayer_mosaic_is_refused():
    with pytest.raises(DataError, match="X-Trans"):
        menon(torch.zeros(1, 1, 12, 12), cfa_planes(XTRANS, 12, 12)[None])
    with pytest.raises(DataError, match="Bayer"):
        menon(torch.zeros(1, 1, 12, 12), torch.ones(1, 3, 12, 12))
    with pytest.raises(DataError, match=r"\(B, 1, H, W\)"):
        menon(torch.zeros(1, 3, 12, 12), cfa_planes(RGGB, 12, 12)[None])
    with pytest.raises(DataError, match="one size"):
        menon(torch.zeros(1, 1, 12, 12), cfa_planes(RGGB, 12, 10)[None])
    with pytest.raises(DataError, match="at least 2 x 2"):
        menon(torch.zeros(1, 1, 1, 12), cfa_planes(RGGB, 1, 12)[None])
