"""The iterative baseline on the real Siemens star and on simulated patterns of a real object."""

import numpy as np
import pytest

from photic.apps.ptycho.evaluation import compare_objects
from photic.apps.ptycho.raw import load_raw_npz
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.solver_options import SolverConfig

pytestmark = pytest.mark.real


def test_the_siemens_star_from_two_files_in_a_few_iterations(real_data):
    files = [real_data / "ptycho" / f"siemens_{part}.npz" for part in ("train", "test")]
    made = reconstruct(files, SolverConfig(iterations=5), device="cpu")
    assert made.num_positions == 516
    assert made.metadata["likelihood"] == "amplitude"
    assert made.r_amp < 0.155  # noise alone is about 0.15
    # A phase object of two levels: bars and gaps.
    lit = made.well_covered(0.5)
    phase = np.angle(made.object[lit] * np.exp(-1j * np.angle(made.object[lit].mean())))
    assert np.percentile(phase, 95) - np.percentile(phase, 5) > 0.6


def test_swapped_axes_do_not_fit(real_data):
    scan = load_raw_npz(real_data / "ptycho" / "siemens_train.npz").take(np.arange(0, 258, 2))
    config = SolverConfig(iterations=3)
    right = reconstruct(scan, config, device="cpu")
    swapped = type(scan)(scan.ycoords, scan.xcoords, scan.diffraction, scan.probeGuess)
    assert reconstruct(swapped, config, device="cpu").r_amp > 1.15 * right.r_amp


def test_few_photons_give_a_good_object_with_a_fixed_probe(real_data):
    scan = load_raw_npz(real_data / "ptycho" / "run1084_sim_1e4.npz")
    made = reconstruct(scan, SolverConfig(iterations=8, refine_probe=False), device="cpu")
    assert made.metadata["likelihood"] == "poisson"
    compared = compare_objects(made, scan.objectGuess)
    assert compared.amplitude.ssim > 0.75
    assert compared.phase.ssim > 0.85
