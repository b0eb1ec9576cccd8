"""Iterations through the forward model: from a network's object on, or from a flat one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from photic.apps.ptycho import Reconstruction
from photic.apps.ptycho.inference import network_of, predict_scan, r_amp_of
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.refinement import refine
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.ptycho.solver_options import SolverConfig
from photic.core.errors import ConfigError

N = 16


def iterate(scan: RawNPZData, iterations: int, **options: Any) -> Reconstruction:
    """Reconstruct from a flat object, with the probe as it is."""
    return reconstruct(scan, SolverConfig(iterations=iterations, **{"refine_probe": False, **options}), device="cpu")


@pytest.fixture(scope="module")
def made(trained: Any, scan: RawNPZData) -> Reconstruction:
    return predict_scan(network_of(trained._trained()), scan)


def test_refinement_lowers_r_amp_step_by_step_from_the_networks(made: Reconstruction, scan: RawNPZData) -> None:
    few, many = refine(made, scan, 2), refine(made, scan, 12)
    assert made.r_amp is not None and few.r_amp is not None and many.r_amp is not None
    assert many.r_amp < few.r_amp < made.r_amp
    assert len(few.history) == 2
    assert len(many.history) == 12
    assert few.method.endswith("+ 2 iterations")
    assert refine(made, scan, 1).method.endswith("+ 1 iteration")


def test_it_begins_where_the_reconstruction_ends(scan: RawNPZData) -> None:
    """From a good object one iteration is better than from a flat one."""
    good = iterate(scan, 30)
    again, flat = refine(good, scan, 1), iterate(scan, 1)
    assert again.r_amp is not None and flat.r_amp is not None
    assert again.r_amp < 0.75 * flat.r_amp
    assert good.r_amp is not None
    assert again.r_amp < 2 * good.r_amp


def test_origin_and_canvas_of_the_start_are_honoured(scan: RawNPZData) -> None:
    good = iterate(scan, 30)
    moved = dataclasses.replace(scan, xcoords=scan.xcoords - 120, ycoords=scan.ycoords + 33, objectGuess=None)
    start = dataclasses.replace(good, origin_px=(good.origin_px[0] - 120, good.origin_px[1] + 33), positions_px=moved.positions_px)
    here, there = refine(good, scan, 1), refine(start, moved, 1)
    assert there.r_amp == pytest.approx(here.r_amp, rel=0.02)


def test_the_probe_stays_unless_it_is_to_be_refined(made: Reconstruction, scan: RawNPZData) -> None:
    kept = refine(made, scan, 6)
    assert made.probe is not None and kept.probe is not None
    np.testing.assert_allclose(np.abs(kept.probe), np.abs(made.probe), rtol=1e-3, atol=1e-3 * np.abs(made.probe).max())
    free = refine(made, scan, 6, refine_probe=True)
    assert free.probe is not None
    assert not np.allclose(free.probe, made.probe, rtol=1e-3)


def test_positions_stay_unless_they_are_to_be_refined_and_then_come_nearer() -> None:
    scan = generated_scan(size_px=N, num_positions=120, step_px=1.5, probe_diameter_px=7.0, photons=1e6, position_error_px=0.8)
    true = np.array(scan.metadata["simulation"]["true_positions_px"])
    plain = iterate(scan, 30)
    np.testing.assert_allclose(plain.positions_px, scan.positions_px, atol=1e-6)
    freed = iterate(scan, 30, refine_positions=True)

    def error(found: np.ndarray) -> float:
        difference = found - true
        return float(np.sqrt(((difference - difference.mean(axis=0)) ** 2).mean()))

    assert error(freed.positions_px) < 0.8 * error(scan.positions_px)
    assert freed.r_amp is not None and plain.r_amp is not None
    assert freed.r_amp < plain.r_amp
    assert r_amp_of(freed, scan, positions_px=freed.positions_px) < r_amp_of(freed, scan)


def test_the_seed_orders_the_patterns_and_the_same_seed_gives_the_same_bits(made: Reconstruction, scan: RawNPZData) -> None:
    one, same, other = (refine(made, scan, 3, seed=seed).stitched() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_masked_pixels_do_not_pull(scan: RawNPZData) -> None:
    """What dead pixels say must not matter."""
    mask = np.ones((N, N), bool)
    mask[N // 2, N // 2] = mask[4, 9] = False
    wrong = scan.diffraction[:].copy()
    wrong[:, ~mask] = 500.0
    clean, spoiled = (dataclasses.replace(scan, diffraction=values, mask=mask) for values in (scan.diffraction[:], wrong))
    np.testing.assert_array_equal(iterate(clean, 3).stitched(), iterate(spoiled, 3).stitched())


def test_progress_counts_iterations(made: Reconstruction, scan: RawNPZData) -> None:
    done: list[int] = []
    refine(made, scan, 4, advance=done.append)
    assert done == [1, 1, 1, 1]


def test_patches_that_were_asked_for_are_those_of_the_refined_object(trained: Any, scan: RawNPZData) -> None:
    made = predict_scan(network_of(trained._trained()), scan, patches=True)
    found = refine(made, scan, 5)
    assert found.patches is not None and found.patches.shape == (60, N, N)
    x0, y0 = found.origin_px
    for row in (0, 31):
        x, y = found.positions_px[row] - np.array([x0, y0])
        r, c = y - N // 2 + 8, x - N // 2 + 8
        r0, c0 = int(np.floor(r)), int(np.floor(c))
        expected = sum((1 - abs(r - r0 - a)) * (1 - abs(c - c0 - b)) * found.stitched()[r0 + a, c0 + b] for a in (0, 1) for b in (0, 1))
        assert found.patches[row, 8, 8] == pytest.approx(expected, abs=1e-5)
    assert refine(predict_scan(network_of(trained._trained()), scan), scan, 1).patches is None


def test_what_was_done_is_written_down(made: Reconstruction, scan: RawNPZData) -> None:
    found = refine(dataclasses.replace(made, metadata={**made.metadata, "model": "m.photic"}), scan, 2, seed=5)
    assert found.metadata["model"] == "m.photic"
    assert found.metadata["solver"]["iterations"] == 2
    assert found.metadata["solver"]["seed"] == 5
    assert found.source == scan.source


def test_options_of_the_solver_are_passed_on_and_checked(made: Reconstruction, scan: RawNPZData) -> None:
    assert refine(made, scan, 1, batch_size=4).metadata["solver"]["batch_size"] == 4
    with pytest.raises(ConfigError, match="iterations"):
        iterate(scan, 0)
    with pytest.raises(ConfigError, match="batch_size"):
        iterate(scan, 1, batch_size=0)


def test_the_solver_alone_finds_the_object(scan: RawNPZData) -> None:
    found = iterate(scan, 40)
    assert found.r_amp is not None
    assert found.r_amp < 0.2  # what the noise of 1e5 photons leaves
    assert "40 iterations" in found.method
