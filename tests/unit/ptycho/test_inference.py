"""Prediction of a whole scan: every position stitched where it lies, weighted by the probe, judged by the forward model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.ptycho import Reconstruction
from photic.apps.ptycho.grouping import group_indices
from photic.apps.ptycho.inference import network_of, predict_scan, probe_for, r_amp_of, residuals, with_r_amp
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.simulate import generated_scan
from photic.core.errors import ConfigError, DataError
from photic.functional.patches import merge_groups
from photic.tasks.ptychography import PtychographyTask

N = 16


@pytest.fixture(scope="module")
def task(trained: Any) -> PtychographyTask:
    return network_of(trained._trained())


@pytest.fixture(scope="module")
def task_on_groups(trained_on_groups: Any) -> PtychographyTask:
    return network_of(trained_on_groups._trained())


def truth_of(scan: RawNPZData, **changes: Any) -> Reconstruction:
    """Return the true object as if it had been reconstructed; one more pixel to the right and below, as positions between pixels need."""
    assert scan.objectGuess is not None
    known: dict[str, Any] = {
        "object": np.pad(scan.objectGuess, ((0, 1), (0, 1)), mode="edge"),
        "coverage": None,
        "origin_px": (0.0, 0.0),
        "positions_px": scan.positions_px,
        "probe": scan.probe_modes,
    }
    return Reconstruction(**{**known, **changes})


def slow_stitch(patches: np.ndarray, positions: np.ndarray, weights: np.ndarray, origin: Any, shape: Any) -> tuple[np.ndarray, np.ndarray]:
    """Spread every pixel of every patch over the four pixels it lies between, weighted; divide."""
    total, weight = np.zeros(shape, complex), np.zeros(shape)
    for patch, (x, y) in zip(patches, positions, strict=True):
        for i in range(N):
            for j in range(N):
                row, column = y - N // 2 + i - origin[1], x - N // 2 + j - origin[0]
                r, c = int(np.floor(row)), int(np.floor(column))
                for a in (0, 1):
                    for b in (0, 1):
                        share = (1 - abs(row - r - a)) * (1 - abs(column - c - b)) * weights[i, j]
                        if share > 0:
                            total[r + a, c + b] += share * patch[i, j]
                            weight[r + a, c + b] += share
    return total, weight


# --- stitching -----------------------------------------------------------------------------------


def test_the_object_is_the_weighted_mean_of_the_patches_of_every_position(task: PtychographyTask, scan: RawNPZData) -> None:
    part = scan.take(np.arange(0, 60, 4))
    made = predict_scan(task, part, patches=True)
    assert made.patches is not None and made.coverage is not None
    weights = (np.abs(part.probe_modes.astype(complex)) ** 2).sum(axis=0)
    total, weight = slow_stitch(made.patches.astype(complex), part.positions_px, weights, made.origin_px, made.stitched().shape)
    np.testing.assert_allclose(made.coverage, weight, rtol=1e-4, atol=1e-5 * weight.max())
    seen = weight > 1e-3 * weight.max()
    np.testing.assert_allclose(made.stitched()[seen], (total[seen] / weight[seen]), atol=2e-4)
    never = weight == 0
    assert never.any()
    assert (made.stitched()[never] == 1).all()


def test_every_position_is_predicted_in_the_order_of_the_scan(task: PtychographyTask, scan: RawNPZData) -> None:
    made = predict_scan(task, scan, patches=True, batch_size=7)
    np.testing.assert_array_equal(made.positions_px, scan.positions_px)
    assert made.patches is not None and made.patches.shape == (60, N, N)
    for row in (0, 17, 59):
        with torch.inference_mode():
            expected = task.deployable()(torch.from_numpy(scan.diffraction[[row]])[:, None])[0, 0]
        np.testing.assert_allclose(made.patches[row], expected, atol=1e-5)


def test_the_canvas_covers_extreme_positions(task: PtychographyTask, scan: RawNPZData) -> None:
    """A patch far out, at negative coordinates and between pixels, loses nothing."""
    x, y = scan.xcoords.copy(), scan.ycoords.copy()
    x[0], y[0] = -37.25, y.max() + 50.75
    x[1], y[1] = x.max() + 41.5, -80.0
    far = dataclasses.replace(scan, xcoords=x, ycoords=y, objectGuess=None)
    made = predict_scan(task, far)
    assert made.coverage is not None
    energy = float((np.abs(scan.probe_modes.astype(complex)) ** 2).sum())
    assert float(made.coverage.sum(dtype=np.float64)) == pytest.approx(60 * energy, rel=1e-5)  # not a pixel is dropped
    x0, y0 = made.origin_px
    for row in (0, 1):
        r, c = int(np.floor(y[row] - y0)), int(np.floor(x[row] - x0))
        around = made.coverage[r : r + 2, c : c + 2]
        assert around.min() > 0.5 * np.abs(scan.probe_modes).max() ** 2 / 2
    height, width = made.stitched().shape
    assert x0 <= x.min() - N / 2 and x0 + width >= x.max() + N / 2
    assert y0 <= y.min() - N / 2 and y0 + height >= y.max() + N / 2
    assert width <= np.ptp(x) + N + 4  # bounded
    assert height <= np.ptp(y) + N + 4


def test_moving_the_whole_scan_moves_the_origin_alone(task: PtychographyTask, scan: RawNPZData) -> None:
    moved = dataclasses.replace(scan, xcoords=scan.xcoords - 300, ycoords=scan.ycoords + 1000, objectGuess=None)
    here, there = predict_scan(task, scan), predict_scan(task, moved)
    np.testing.assert_allclose(here.stitched(), there.stitched(), atol=1e-4)
    assert there.origin_px == (here.origin_px[0] - 300, here.origin_px[1] + 1000)
    assert there.r_amp == pytest.approx(here.r_amp, rel=1e-4)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_result_does_not_depend_on_the_batch_size(
    gridsize: int, task: PtychographyTask, task_on_groups: PtychographyTask, scan: RawNPZData
) -> None:
    chosen = task if gridsize == 1 else task_on_groups
    made = [predict_scan(chosen, scan, batch_size=size, neighbor_count=6) for size in (1, 13, 64)]
    for other in made[1:]:
        np.testing.assert_allclose(other.stitched(), made[0].stitched(), atol=1e-4)
        np.testing.assert_allclose(other.coverage, made[0].coverage, rtol=1e-4, atol=1e-3)
        assert other.r_amp == pytest.approx(made[0].r_amp, rel=1e-5)


def test_every_position_is_a_seed_of_a_group_and_only_its_own_patch_is_kept(task_on_groups: PtychographyTask, scan: RawNPZData) -> None:
    made = predict_scan(task_on_groups, scan, neighbor_count=6, patches=True, stitching=False)
    assert made.object is None
    assert made.patches is not None and made.patches.shape == (60, N, N)
    assert np.isfinite(made.patches).all()
    assert (np.abs(made.patches).reshape(60, -1).max(axis=1) > 0).all()


def test_patches_of_a_group_agree_before_one_is_kept_as_in_training(task_on_groups: PtychographyTask, scan: RawNPZData) -> None:
    """Training judges the patches of a group only after they were averaged where they overlap: one alone is hardly constrained."""
    made = predict_scan(task_on_groups, scan, neighbor_count=6, patches=True, stitching=False, seed=3)
    assert made.patches is not None
    groups = group_indices(scan.positions_px, scan.scan_index, gridsize=2, neighbor_count=6, seed=3)
    with torch.inference_mode():
        found = task_on_groups.deployable()(torch.from_numpy(np.asarray(scan.diffraction[groups[7:8]])))
        places = torch.from_numpy(scan.positions_px[groups[7:8]])
        agreed = merge_groups(found, (places - places.mean(dim=1, keepdim=True)).float(), task_on_groups.network.support())
    np.testing.assert_allclose(made.patches[7], agreed[0, 0].numpy(), atol=1e-4)
    assert np.abs(made.patches[7] - found[0, 0].numpy()).max() > 1e-3


def test_groups_at_inference_are_drawn_by_the_seed(task_on_groups: PtychographyTask, scan: RawNPZData) -> None:
    one, same, other = (predict_scan(task_on_groups, scan, neighbor_count=8, seed=seed).stitched() for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_stitching_there_are_patches_and_no_object(task: PtychographyTask, scan: RawNPZData) -> None:
    made = predict_scan(task, scan, stitching=False)
    assert isinstance(made, Reconstruction)
    assert made.object is None and made.coverage is None and made.r_amp is None
    assert made.patches is not None
    np.testing.assert_array_equal(made.positions_px, scan.positions_px)
    stitched = predict_scan(task, scan)
    assert stitched.patches is None  # memory does not grow with the scan unless asked for


def test_patterns_are_read_batch_by_batch(task: PtychographyTask, scan: RawNPZData) -> None:
    from photic.apps.ptycho.patterns import Patterns

    read: list[int] = []

    class Watched(Patterns):
        shape = scan.diffraction.shape

        def gather(self, rows: Any) -> Any:
            read.append(len(rows))
            return scan.diffraction.gather(rows)

    predict_scan(task, dataclasses.replace(scan, diffraction=Watched()), batch_size=8)
    assert max(read) <= 8
    assert sum(read) == 120  # once for the network, once for R_amp


def test_progress_counts_every_pattern(task: PtychographyTask, scan: RawNPZData) -> None:
    done: list[int] = []
    predict_scan(task, scan, batch_size=16, advance=done.append)
    assert sum(done) == 60
    assert max(done) <= 16


def test_four_times_the_photons_are_another_input(task: PtychographyTask, scan: RawNPZData) -> None:
    """The scan is normalised by the training set's number: the network must see that there is more light."""
    seen: list[torch.Tensor] = []
    hook = task.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    try:
        predict_scan(task, scan, measure=False, batch_size=60)
        predict_scan(task, dataclasses.replace(scan, diffraction=2 * scan.diffraction[:]), measure=False, batch_size=60)
    finally:
        hook.remove()
    torch.testing.assert_close(seen[1], 2 * seen[0])
    expected = torch.from_numpy(scan.diffraction[:])[:, None] * task.graph.normalisation
    torch.testing.assert_close(seen[0], expected)


def test_what_was_used_is_written_down(task: PtychographyTask, scan: RawNPZData) -> None:
    named = dataclasses.replace(scan, source="a.npz", metadata={"physics_parameters": {"pixel_size_m": 2e-8}})
    made = predict_scan(task, named)
    assert made.source == "a.npz"
    assert made.pixel_size_m == 2e-8
    assert made.metadata["patterns"] == 60
    assert made.metadata["gridsize"] == 1
    assert made.r_amp is not None and 0 < made.r_amp < 1
    np.testing.assert_array_equal(made.probe, scan.probe_modes)


def test_scans_that_do_not_fit_are_refused(task: PtychographyTask, task_on_groups: PtychographyTask, scan: RawNPZData) -> None:
    big = generated_scan(size_px=32, num_positions=20)
    with pytest.raises(DataError, match="patterns of 32 x 32 pixels, but the network was trained on 16 x 16"):
        predict_scan(task, big)
    with pytest.raises(DataError, match="fewer than the C = 4"):
        predict_scan(task_on_groups, scan.take(np.arange(3)))


# --- whose probe ---------------------------------------------------------------------------------


def test_the_probe_is_the_scans_unless_training_refined_it(task: PtychographyTask, trained_with_probe: Any, scan: RawNPZData) -> None:
    other = dataclasses.replace(scan, probeGuess=scan.probe_modes[0] * 1j)
    np.testing.assert_array_equal(probe_for(task, other), other.probe_modes)
    np.testing.assert_array_equal(probe_for(task, other, "scan"), other.probe_modes)
    np.testing.assert_allclose(probe_for(task, other, "model"), scan.probe_modes, rtol=1e-5)
    refined = network_of(trained_with_probe._trained())
    assert refined.refined_probe
    assert not np.allclose(probe_for(refined, other), other.probe_modes)
    np.testing.assert_array_equal(probe_for(refined, other), probe_for(refined, scan, "model"))
    np.testing.assert_array_equal(probe_for(refined, other, "scan"), other.probe_modes)
    given = scan.probe_modes * 0.5
    np.testing.assert_array_equal(predict_scan(task, scan, probe=given).probe, given)


def test_of_several_probes_none_is_guessed(scan: RawNPZData) -> None:
    class Graph:
        probes = torch.zeros(2, 1, N, N, dtype=torch.complex64)

    class Known:
        graph = Graph()
        refined_probe = True
        scaled_probe = False

    np.testing.assert_array_equal(probe_for(Known(), scan), scan.probe_modes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="trained with 2 probes"):
        probe_for(Known(), scan, "model")  # type: ignore[arg-type]


# --- R_amp ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_modes", [1, 3])
def test_the_true_object_explains_a_scan_without_noise(num_modes: int) -> None:
    scan = generated_scan(size_px=N, num_positions=40, step_px=2.0, probe_diameter_px=7.0, photons=None, num_modes=num_modes)
    assert r_amp_of(truth_of(scan), scan) < 1e-4
    assert scan.objectGuess is not None
    assert r_amp_of(truth_of(scan, object=np.pad(scan.objectGuess.conj(), ((0, 1), (0, 1)), mode="edge")), scan) > 0.1
    swapped = dataclasses.replace(scan, xcoords=scan.ycoords, ycoords=scan.xcoords)
    assert r_amp_of(truth_of(scan, positions_px=swapped.positions_px), swapped) > 0.05


def test_the_origin_says_where_the_object_lies() -> None:
    scan = generated_scan(size_px=N, num_positions=40, step_px=2.0, probe_diameter_px=7.0, photons=None)
    moved = dataclasses.replace(scan, xcoords=scan.xcoords - 7, ycoords=scan.ycoords + 11, objectGuess=None)
    assert r_amp_of(truth_of(scan, origin_px=(-7.0, 11.0), positions_px=moved.positions_px), moved) < 1e-4


def test_residuals_are_those_of_each_pattern_and_add_up() -> None:
    scan = generated_scan(size_px=N, num_positions=40, step_px=2.0, probe_diameter_px=7.0, photons=2e4)
    difference, total = residuals(truth_of(scan), scan, batch_size=7)
    assert difference.shape == total.shape == (40,)
    np.testing.assert_allclose(total, scan.diffraction[:].sum(axis=(1, 2)), rtol=1e-5)
    assert r_amp_of(truth_of(scan), scan) == pytest.approx(difference.sum() / total.sum(), rel=1e-6)
    assert with_r_amp(truth_of(scan), scan).r_amp == pytest.approx(difference.sum() / total.sum(), rel=1e-6)
    assert 0.05 < difference.sum() / total.sum() < 0.6  # noise


def test_object_and_probe_of_a_result_are_all_it_takes_to_model_the_measurement(trained_with_probe: Any, scan: RawNPZData) -> None:
    """A trained intensity scale is in the probe, so that whoever goes on from the result need not know of it."""
    task = network_of(trained_with_probe._trained())
    scale = float(task.graph.intensity_scale.detach())
    assert scale != 1
    made = predict_scan(task, scan)
    assert r_amp_of(made, scan) == pytest.approx(made.r_amp, rel=1e-6)
    np.testing.assert_allclose(made.probe, scale * probe_for(task, scan), rtol=1e-5)


def test_masked_pixels_do_not_count_in_r_amp() -> None:
    mask = np.ones((N, N), bool)
    mask[N // 2 - 2 : N // 2 + 2, N // 2 - 2 : N // 2 + 2] = False
    scan = generated_scan(size_px=N, num_positions=40, step_px=2.0, probe_diameter_px=7.0, photons=None, mask=mask)
    assert r_amp_of(truth_of(scan), scan) < 1e-4


def test_residuals_are_at_the_positions_of_the_scan_even_of_another_one_as_long() -> None:
    """Two scans of the same specimen, of the same length: the reconstruction of one is held against the other where that one lies."""
    whole = generated_scan(size_px=N, num_positions=60, step_px=2.0, probe_diameter_px=7.0, photons=None)
    first, second = whole.take(np.arange(0, 60, 2)), whole.take(np.arange(1, 60, 2))
    assert r_amp_of(truth_of(first), second) < 1e-4
    wrong = dataclasses.replace(second, xcoords=second.xcoords + 1.5)
    assert r_amp_of(truth_of(whole), wrong) > 0.02
    assert r_amp_of(truth_of(whole), wrong, positions_px=second.positions_px) < 1e-4


def test_a_scan_beyond_the_object_is_refused() -> None:
    scan = generated_scan(size_px=N, num_positions=40, step_px=2.0, probe_diameter_px=7.0)
    with pytest.raises(DataError, match="reach beyond a canvas"):
        r_amp_of(truth_of(scan, origin_px=(20.0, 0.0)), scan)


def test_without_object_or_probe_there_is_no_forward_model(scan: RawNPZData, task: PtychographyTask) -> None:
    with pytest.raises(DataError, match="holds no probe"):
        r_amp_of(truth_of(scan, probe=None), scan)
    with pytest.raises(DataError, match="stitching=True"):
        r_amp_of(predict_scan(task, scan, stitching=False), scan)
