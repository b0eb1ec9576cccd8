"""Drawn objects, probes, scans and detectors."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from photic.apps.ptycho.synthetic import (
    OBJECT_KINDS,
    PROBE_KINDS,
    complex_object,
    detector_mask,
    draw_object,
    draw_probe,
    effective_diameter_px,
    scan_positions,
)  # fmt: skip
from photic.core.errors import ConfigError

# --- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OBJECT_KINDS)
@pytest.mark.parametrize("shape", [(16, 16), (50, 90), (130, 70)])
def test_a_drawn_object_spans_its_ranges(kind, shape):
    drawn = draw_object(kind, shape, seed=3, amplitude_range=(0.2, 0.9), phase_range_rad=(-0.5, 2.0))
    assert drawn.shape == shape
    assert drawn.dtype == np.complex64
    np.testing.assert_allclose([abs(drawn).min(), abs(drawn).max()], [0.2, 0.9], rtol=1e-5)
    np.testing.assert_allclose([np.angle(drawn).min(), np.angle(drawn).max()], [-0.5, 2.0], rtol=1e-5)


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_an_object_is_a_function_of_its_seed(kind):
    first = draw_object(kind, (48, 48), seed=1)
    np.random.default_rng(0).random(5)
    np.testing.assert_array_equal(draw_object(kind, (48, 48), seed=1), first)
    assert np.abs(draw_object(kind, (48, 48), seed=2) - first).max() > 0.1


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_there_is_something_to_see_everywhere(kind):
    """Also in the amplitude and also in the phase, and they are not one picture twice."""
    drawn = draw_object(kind, (120, 120), seed=0)
    for picture in (abs(drawn), np.angle(drawn)):
        quarters = picture.reshape(2, 60, 2, 60).std(axis=(1, 3))
        assert quarters.min() > 0.03
    assert abs(np.corrcoef(abs(drawn).ravel(), np.angle(drawn).ravel())[0, 1]) < 0.99


def test_the_spokes_of_a_star_narrow_towards_its_centre():
    amplitude = abs(draw_object("star", (200, 200), seed=0)).astype(float)
    middle = (amplitude.max() + amplitude.min()) / 2
    for radius in (38, 46, 70, 86):
        angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
        ring = amplitude[np.rint(99.5 + radius * np.sin(angles)).astype(int), np.rint(99.5 + radius * np.cos(angles)).astype(int)]
        is_dark = ring < middle
        assert np.count_nonzero(is_dark != np.roll(is_dark, 1)) >= 60  # 32 spokes, but for what pixels of a slanted edge do
        assert 0.3 < is_dark.mean() < 0.7


def test_two_pictures_become_an_object():
    made = complex_object(np.array([[0.0, 0.5, 1.0]]), np.array([[1.0, 0.0, 0.5]]), amplitude_range=(1.0, 0.0), phase_range_rad=(0.0, 3.0))
    np.testing.assert_allclose(made, [[np.exp(3j), 0.5, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "stars"}, "did you mean 'star'"),
        ({"shape": (15, 40)}, "15 x 40 px: too small"),
        ({"amplitude_range": (-0.1, 1.0)}, "amplitude range"),
        ({"phase_range_rad": (0.0, np.inf)}, "phase range"),
    ],
)
def test_impossible_objects_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        draw_object(**{"kind": "cells", "shape": (32, 32), **arguments})


# --- probes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PROBE_KINDS)
def test_a_probe_has_the_diameter_energy_and_curvature_asked_for(kind):
    probe = draw_probe(64, 20, kind=kind, curvature_rad=1.5)
    assert probe.shape == (1, 64, 64)
    assert probe.dtype == np.complex64
    intensity = abs(probe[0].astype(complex)) ** 2
    np.testing.assert_allclose(intensity.sum(), 1, rtol=1e-6)
    centre = intensity[32, 32]
    assert intensity.max() == centre
    for row, column in ((32, 42), (32, 22), (22, 32), (42, 32)):
        np.testing.assert_allclose(intensity[row, column], centre / 2, rtol=1e-3)
        np.testing.assert_allclose(np.angle(probe[0, row, column] / probe[0, 32, 32]), 1.5, rtol=1e-3)
    assert intensity[:, 0].max() < 1e-2 * centre


def test_modes_are_orthogonal_and_share_the_energy():
    modes = draw_probe(32, 12, num_modes=3, mode_share=0.2).astype(complex).reshape(3, -1)
    products = modes.conj() @ modes.T
    np.testing.assert_allclose(np.diag(products).real, np.array([1, 0.2, 0.2]) / 1.4, rtol=1e-5)
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-7)


def test_the_effective_diameter_of_an_even_disc_is_its_diameter():
    axis = np.arange(64) - 32
    disc = (np.hypot(axis[:, None], axis) < 10).astype(complex)
    assert effective_diameter_px(disc) == pytest.approx(20, rel=0.02)
    assert effective_diameter_px(np.stack([disc, 0.3 * disc])) == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size_px": 31}, "even window"),
        ({"diameter_px": 1.0}, "expected 2 to 24 px"),
        ({"diameter_px": 25.0}, "expected 2 to 24 px"),
        ({"diameter_px": 12.0, "kind": "gauss"}, "expected 2 to 10.7 px"),
        ({"kind": "ring"}, "disc, gauss"),
        ({"num_modes": 0}, "1 mode or more"),
        ({"mode_share": 0.0}, "share above 0"),
        ({"curvature_rad": np.nan}, "curvature"),
    ],
)
def test_impossible_probes_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        draw_probe(**{"size_px": 32, "diameter_px": 10.0, **arguments})


# --- scans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spiral", "raster"])
@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_every_patch_lies_on_the_object(kind, margin):
    places = scan_positions(kind, (70, 90), 32, step_px=3.7, margin_px=margin, seed=2)
    assert places.dtype == np.float64
    assert (places >= 16 + margin).all()
    assert (places <= np.array([90, 70]) - 16 - margin).all()
    # All of the room is used, the centre of it is the object's, and positions lie between pixels.
    assert (np.ptp(places, axis=0) > np.array([90, 70]) - 32 - 2 * margin - 2 * 3.7).all()
    np.testing.assert_allclose((places.min(axis=0) + places.max(axis=0)) / 2, [45, 35], atol=2)
    assert np.std(places % 1) > 0.2


def test_a_spiral_has_the_asked_area_for_each_position():
    places = scan_positions("spiral", (232, 232), 32, step_px=5.0, num_positions=800)
    radius = np.linalg.norm(places - 116, axis=1)
    assert np.count_nonzero(radius < 60) == pytest.approx(np.pi * 60**2 / 25, rel=0.02)
    apart = KDTree(places).query(places, k=2)[0][:, 1]
    assert apart.min() > 0.75 * 5
    np.testing.assert_array_equal(scan_positions("spiral", (232, 232), 32, step_px=5.0, num_positions=100), places[:100])


def test_a_raster_goes_row_by_row_about_a_grid():
    still = scan_positions("raster", (60, 80), 32, step_px=4.0, jitter=0.0)
    assert len(still) == 8 * 13
    grid = still.reshape(8, 13, 2)
    np.testing.assert_allclose(np.diff(grid[..., 0], axis=1), 4)
    np.testing.assert_allclose(np.diff(grid[..., 1], axis=0), 4)
    moved = scan_positions("raster", (60, 80), 32, step_px=4.0, jitter=0.5, seed=1)
    few = scan_positions("raster", (60, 80), 32, step_px=4.0, jitter=0.0, num_positions=20)
    assert len(few) == 20
    assert len(np.unique(few[:, 1])) == 4  # a block with the object's sides, not a few long rows
    nearest = KDTree(still).query(moved)[0]
    assert 0.1 < nearest.mean() < 4
    assert len(scan_positions("raster", (60, 80), 32, step_px=4.0, jitter=0.0, num_positions=104)) == 104


def test_scans_are_functions_of_their_seed():
    for kind in ("spiral", "raster"):
        places = [scan_positions(kind, (64, 64), 32, step_px=4.0, num_positions=30, seed=seed) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(places[0], places[1])
        assert np.abs(places[0] - places[2]).max() > 0.1


@pytest.mark.parametrize("kind", ["spiral", "raster"])
def test_an_object_as_large_as_a_patch_has_one_place(kind):
    np.testing.assert_array_equal(scan_positions(kind, (32, 32), 32, step_px=3.0), [[16, 16]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (31, 64)}, "31 x 64 px: too small for patterns of 32 x 32 px; use an object of at least 32"),
        ({"shape": (33, 64), "margin_px": 1.0}, "1 px at each edge for position errors; use an object of at least 34"),
        ({"num_positions": 5000}, "5000 positions asked for, but at a step of 4 px only"),
        ({"num_positions": 0}, "1 position or more"),
        ({"step_px": 0.0}, "step above 0"),
        ({"step_px": np.nan}, "step above 0"),
        ({"jitter": 1.5}, "jitter of 0 to 1"),
        ({"kind": "spiral2"}, "did you mean 'spiral'"),
    ],
)
def test_impossible_scans_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        scan_positions(**{"kind": "raster", "shape": (64, 64), "size_px": 32, "step_px": 4.0, **arguments})


# --- detector -------------------------------------------------------------------------------------


def test_a_mask_has_a_round_stop_at_the_centre_and_dead_pixels_anywhere():
    stop = ~detector_mask(32, beam_stop_px=6)
    rows, columns = np.nonzero(stop)
    assert (rows.mean(), columns.mean()) == (16, 16)
    assert np.hypot(rows - 16, columns - 16).max() < 3
    assert stop.sum() == pytest.approx(np.pi * 9, rel=0.2)
    dead = ~detector_mask(64, dead_share=0.1, seed=4)
    assert dead.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(~detector_mask(64, dead_share=0.1, seed=4), dead)
    assert detector_mask(16).all()


@pytest.mark.parametrize("arguments", [{"beam_stop_px": 16}, {"beam_stop_px": -1}, {"dead_share": 0.6}, {"dead_share": np.nan}])
def test_impossible_detectors_are_refused(arguments):
    with pytest.raises(ConfigError, match="expected a"):
        detector_mask(16, **arguments)
