"""Slanted edges: the generator against area sampling, the measured MTF against blurs that are known, demosaicers against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from photic.core.errors import DataError
from photic.functional.cfa import BAYER, cfa_planes, mosaic_of
from photic.functional.demosaic import malvar
from photic.functional.edge_response import edge_mtf, edge_response, mtf50, slanted_edge
from photic.functional.menon import menon

FREQUENCIES = np.linspace(0, 1, 100001)


def true_mtf50(angle, blur):
    return FREQUENCIES[np.argmax(edge_mtf(FREQUENCIES, angle, blur) < 0.5)]


@pytest.mark.parametrize(("angle", "blur"), [(5, 0.0), (20, 0.0), (70, 0.0), (12, 0.4)])
def test_the_edge_is_what_square_pixels_see(angle, blur):
    """Against 64 x 64 points per pixel of a step, blurred where there is a blur."""
    size, fine = (8, 9), 64
    y, x = np.mgrid[: size[0] * fine, : size[1] * fine]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    distance = ((x + 0.5) / fine - size[1] / 2) * c + ((y + 0.5) / fine - size[0] / 2) * s
    values = (distance > 0).astype(float) if not blur else np.vectorize(lambda d: 0.5 * (1 + math.erf(d / blur / math.sqrt(2))))(distance)
    expected = 0.1 + 0.7 * values.reshape(size[0], fine, size[1], fine).mean(axis=(1, 3))
    np.testing.assert_allclose(slanted_edge(size, angle, blur), expected, atol=6e-3 if not blur else 2e-4)


@pytest.mark.parametrize("angle", [3, 5, 8, 15, 30, 60, 85])
@pytest.mark.parametrize("blur", [0.3, 0.5, 0.8, 1.2])
def test_the_measured_mtf_is_that_of_the_blur(angle, blur):
    found = edge_response(slanted_edge((120, 120), angle, blur))
    assert found.mtf50 == pytest.approx(true_mtf50(angle, blur), rel=0.015)
    kept = found.frequency <= 0.5
    np.testing.assert_allclose(found.mtf[kept], edge_mtf(found.frequency[kept], angle, blur), atol=0.012)
    assert found.angle_deg == pytest.approx(min(angle, 90 - angle), abs=0.02)
    assert found.contrast == pytest.approx(0.7, rel=0.01)


def test_a_pixel_alone_and_a_blur_of_pixels():
    assert mtf50(slanted_edge((128, 128), 5, 0)) == pytest.approx(true_mtf50(5, 0), rel=0.01)  # 0.604
    # The Gaussian of scipy is sampled, so its own transform is the truth, along rows, which are within 5 degrees of across.
    edge = slanted_edge((128, 128), 5, 0.4)
    for sigma in (0.7, 1.0):
        taps = gaussian_filter(np.eye(1, 31, 15)[0], sigma)
        transform = np.abs((taps * np.exp(-2j * np.pi * FREQUENCIES[:60001:50, None] * (np.arange(31) - 15))).sum(1))
        product = transform * edge_mtf(FREQUENCIES[:60001:50], 5, 0.4)
        expected = FREQUENCIES[:60001:50][np.argmax(product < 0.5)]
        assert mtf50(gaussian_filter(edge, sigma, mode="nearest")) == pytest.approx(expected, rel=0.02)


def test_side_direction_scale_and_offset_make_no_difference():
    edge = slanted_edge((80, 70), 6, 0.5)
    reference = mtf50(edge)
    for other in (edge[:, ::-1], edge[::-1], 1 - edge, edge.T, 1000 * edge - 17, edge.astype(np.float32)):
        assert mtf50(other) == pytest.approx(reference, rel=2e-3)


def test_noise_moves_it_little():
    edge = slanted_edge((120, 80), 5, 0.5)
    noisy = edge + 0.01 * np.random.default_rng(0).normal(size=edge.shape)
    assert mtf50(noisy) == pytest.approx(mtf50(edge), rel=0.06)


def test_demosaicers_in_the_order_the_design_has_them():
    """Half resolution is soft; the directional one keeps more than convolutions do."""
    edge = torch.tensor(slanted_edge((128, 128), 5, 0.4))
    planes = cfa_planes(BAYER["RGGB"], 128, 128)[None].double()
    mosaic = mosaic_of(edge.expand(1, 3, 128, 128), planes)
    directional, linear = (mtf50(function(mosaic, planes)[0, 1, 8:-8, 8:-8]) for function in (menon, malvar))
    half = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(edge[None, None], 2), scale_factor=2, mode="bilinear")
    soft = mtf50(half[0, 0, 8:-8, 8:-8])
    assert soft < 0.2 and directional > 0.33 and directional > 0.9 * mtf50(edge)
    assert directional >= 0.98 * linear


def test_what_is_no_slanted_edge_is_refused():
    with pytest.raises(DataError, match=r"at least 16 x 16"):
        mtf50(np.zeros((12, 40)))
    with pytest.raises(DataError, match=r"got \(3, 32, 32\)"):
        mtf50(np.zeros((3, 32, 32)))
    with pytest.raises(DataError, match="bright and a dark side"):
        mtf50(np.full((32, 32), 0.5))
    with pytest.raises(DataError, match="finite"):
        mtf50(np.full((32, 32), np.nan))
    straight = np.zeros((32, 32))
    straight[:, 16:] = 1
    with pytest.raises(DataError, match="1 to 44 degrees"):
        mtf50(straight)
    aside = slanted_edge((40, 80), 5, 0.5)[:, 36:]
    with pytest.raises(DataError, match="5 pixels away"):
        mtf50(aside)
    for settings in ({"angle_deg": 0}, {"angle_deg": 90}, {"blur_px": -1}):
        with pytest.raises(DataError, match="slanted_edge"):
            slanted_edge((8, 8), **settings)
