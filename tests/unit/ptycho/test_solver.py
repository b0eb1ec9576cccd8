"""The iterative solver: its gradients against autograd and slow references, what it recovers on simulated scans, what it refuses."""

import dataclasses

import numpy as np
import pytest
import torch

from photic.apps.ptycho import solver as solver_module
from photic.apps.ptycho.patterns import as_patterns
from photic.apps.ptycho.simulate import generated_scan, simulate_scan, true_positions_px
from photic.apps.ptycho.solver import Solver, solve
from photic.apps.ptycho.solver_crops import CROPS
from photic.apps.ptycho.solver_options import SolverConfig
from photic.apps.ptycho.synthetic import draw_object, draw_probe, scan_positions
from photic.core.errors import ConfigError, DataError, TrainingError
from photic.functional.fourier import checkerboard, fft2c
from photic.physics.ptychography import Ptychography, with_modes

SIZE = 16
RNG = np.random.default_rng(3)
PLACES = np.array([[9.3, 9.7], [12.5, 10.0], [11.0, 13.75], [14.2, 12.49]])


def complex_noise(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def solved(scan, *, start=None, start_origin_px=(0.0, 0.0), probe=None, positions=None, progress=lambda step: None, **fields):
    fields = {"interpolation": "bilinear", "refine_probe": False, **fields}
    return solve(
        scan.diffraction,
        scan.positions_px if positions is None else positions,
        scan.probe_modes if probe is None else probe,
        SolverConfig(**fields),
        start=start,
        start_origin_px=start_origin_px,
        mask=scan.mask,
        progress=progress,
    )


def error_of(found, truth):
    """Mean deviation from the truth where there is light, after the best complex factor."""
    x0, y0 = found.origin_px
    known = np.zeros(found.object.shape, complex)
    top, left = max(0, y0), max(0, x0)
    part = truth[top : y0 + known.shape[0], left : x0 + known.shape[1]]
    known[top - y0 :, left - x0 :][: part.shape[0], : part.shape[1]] = part
    made, light = found.object, found.coverage * (known != 0)
    lit = light > 0.25 * light.max()
    factor = np.vdot(made[lit], known[lit]) / np.vdot(made[lit], made[lit])
    return float(np.abs(factor * made[lit] - known[lit]).mean())


@pytest.fixture(scope="module")
def scan():
    return generated_scan(num_positions=64, photons=1e5, seed=3)


# --- the gradient ---------------------------------------------------------------------------------


def slow_amplitudes(field, modes, places, interpolation):
    """The model in torch float64, without anything of the solver: positions by DFT matrices, or by the operator of the physics."""
    if interpolation == "bilinear":
        operator = Ptychography(modes, torch.from_numpy(places), (field.shape[0], field.shape[1]))
        return operator.measure(field).sqrt()
    k = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    matrix = torch.exp(-2j * torch.pi * torch.outer(k, k) / SIZE) / SIZE**0.5
    rows = []
    for x, y in places:
        column, row = round(x), round(y)
        ramp_x, ramp_y = (torch.exp(-2j * torch.pi * k * (value - round(value)) / SIZE) for value in (x, y))
        spectra = matrix @ modes @ matrix.T * ramp_y[:, None] * ramp_x
        shifted = matrix.conj() @ spectra @ matrix.conj().T
        patch = field[row - SIZE // 2 : row + SIZE // 2, column - SIZE // 2 : column + SIZE // 2]
        rows.append((matrix @ (shifted * patch) @ matrix.T).abs().square().sum(dim=0))
    return torch.stack(rows).sqrt()


@pytest.mark.parametrize("interpolation", ["fourier", "bilinear"])
@pytest.mark.parametrize("likelihood", ["amplitude", "poisson"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_what_moves_object_and_probe_is_the_gradient_of_the_likelihood(interpolation, likelihood, is_masked):
    field = torch.from_numpy(1 + 0.2 * complex_noise(26, 27)).requires_grad_()
    modes = torch.from_numpy(3 * complex_noise(2, SIZE, SIZE)).requires_grad_()
    model = slow_amplitudes(field, modes, PLACES, interpolation)
    measured = (model.detach() * torch.from_numpy(RNG.uniform(0.7, 1.4, model.shape))).round(decimals=1)
    mask = RNG.uniform(size=(SIZE, SIZE)) > 0.3 if is_masked else np.ones((SIZE, SIZE), bool)
    solver = Solver(
        measured.numpy(),
        PLACES,
        modes.detach().numpy().astype(np.complex64),
        SolverConfig(likelihood=likelihood, interpolation=interpolation, iterations=1),
        mask=mask,
    )
    counts = model.square()
    terms = (model - measured) ** 2 if likelihood == "amplitude" else (counts - measured**2 * (counts + solver.dark_counts).log()) / 2
    (terms * torch.from_numpy(mask)).sum().backward()
    with torch.no_grad():
        crop = CROPS[interpolation](field, modes * checkerboard(SIZE, SIZE), torch.from_numpy(PLACES))
        changes, _, amplitudes = solver.pulls(crop, measured)
        torch.testing.assert_close(amplitudes, model)
        torch.testing.assert_close(crop.object_gradient(changes), -field.grad / 2, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(crop.probe_gradient(changes) * checkerboard(SIZE, SIZE), -modes.grad / 2, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("interpolation", ["fourier", "bilinear"])
def test_light_is_the_power_of_the_probes_where_they_fall(interpolation):
    modes = torch.from_numpy(complex_noise(2, SIZE, SIZE))
    whole = torch.tensor([[9.0, 9.0], [12.0, 10.0]], dtype=torch.float64)
    crop = CROPS[interpolation](torch.ones(26, 27, dtype=torch.complex128), modes, whole)
    expected = np.zeros((26, 27))
    for x, y in whole.long().tolist():
        expected[y - 8 : y + 8, x - 8 : x + 8] += (np.abs(modes.numpy()) ** 2).sum(axis=0)
    np.testing.assert_allclose(crop.light().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(crop.density().numpy(), 2.0)


@pytest.mark.parametrize(("interpolation", "tolerance"), [("fourier", 1e-6), ("bilinear", 0.25)])
def test_derivatives_by_positions_are_those_of_the_amplitudes(interpolation, tolerance):
    # A smooth object, as the bilinear derivative is one over two pixels.
    rows, columns = np.mgrid[:40, :40]
    field = torch.from_numpy(1 + 0.4 * np.sin(0.4 * rows) + 0.5j * np.cos(0.3 * rows + 0.5 * columns))
    modes = torch.from_numpy(draw_probe(SIZE, 8).reshape(1, SIZE, SIZE).astype(np.complex128)) * checkerboard(SIZE, SIZE)
    places = torch.tensor([[14.25, 15.75], [20.3, 19.6]], dtype=torch.float64)

    def amplitudes(shift):
        crop = CROPS[interpolation](field, modes, places + torch.tensor(shift, dtype=torch.float64))
        return torch.fft.fft2(crop.waves(), norm="ortho").abs()[:, 0]

    crop = CROPS[interpolation](field, modes, places)
    wave = torch.fft.fft2(crop.waves(), norm="ortho")
    for axis, slope in enumerate(crop.derivatives()):
        step = np.eye(2)[axis] * 1e-4
        expected = (amplitudes(step) - amplitudes(-step)) / 2e-4
        found = ((wave.conj() * torch.fft.fft2(slope, norm="ortho")).real / wave.abs())[:, 0]
        assert (found - expected).norm() / expected.norm() < tolerance


def test_on_whole_pixels_both_interpolations_are_the_same_operator():
    field, modes = torch.from_numpy(complex_noise(26, 27)), torch.from_numpy(complex_noise(1, SIZE, SIZE))
    places = torch.tensor([[9.0, 9.0], [12.0, 10.0]], dtype=torch.float64)
    one, other = (CROPS[name](field, modes, places) for name in ("fourier", "bilinear"))
    torch.testing.assert_close(one.waves(), other.waves())
    centred = fft2c(one.patches * modes)
    torch.testing.assert_close(fft2c(one.waves()).abs(), centred.abs())


# --- what it recovers -----------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["fourier", "bilinear"])
def test_a_scan_is_reconstructed_from_a_flat_object(scan, interpolation):
    found = solved(scan, iterations=40, interpolation=interpolation)
    assert error_of(found, scan.objectGuess) < 0.05
    assert found.r_amp < 0.078  # the truth has 0.078
    assert found.r_amp == pytest.approx(found.history[-1], rel=0.02)
    assert found.history[0] > 0.12
    assert len(found.history) == 40
    np.testing.assert_array_equal(found.positions_px, scan.positions_px)
    np.testing.assert_allclose(found.probe, scan.probe_modes, rtol=1e-5, atol=1e-4)


def test_r_amp_is_that_of_the_object_returned(scan):
    found = solved(scan, iterations=3)
    size = scan.size_px
    x0, y0 = found.origin_px
    operator = Ptychography(
        torch.from_numpy(found.probe.astype(np.complex128)),
        torch.from_numpy(found.positions_px - [x0, y0]),
        (found.object.shape[0], found.object.shape[1]),
    )
    model = operator.measure(torch.from_numpy(found.object.astype(np.complex128))).sqrt().numpy()
    measured = np.asarray(scan.diffraction)
    assert found.r_amp == pytest.approx(np.abs(model - measured).sum() / measured.sum(), rel=1e-4)
    light = np.zeros(found.object.shape)
    for x, y in np.round(found.positions_px).astype(int):
        light[y - y0 - size // 2 :, x - x0 - size // 2 :][:size, :size] += (np.abs(found.probe) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.coverage, light, rtol=1e-3, atol=1e-3 * light.max())


def test_an_unknown_probe_is_found_with_the_object(scan):
    wrong = scan.probe_modes * np.exp(1j * np.linspace(-1, 1, 32) ** 2)[None, None].astype(np.complex64)
    fixed = solved(scan, probe=wrong, iterations=40)
    refined = solved(scan, probe=wrong, iterations=40, refine_probe=True)
    assert refined.r_amp < 0.077 < 1.1 * 0.077 < fixed.r_amp


def test_wrong_positions_are_found(scan):
    shaken = generated_scan(num_positions=100, photons=1e6, seed=3, position_error_px=1.0)
    known = true_positions_px(shaken)

    def deviation(places):
        difference = places - known
        return float(np.sqrt(((difference - difference.mean(axis=0)) ** 2).sum(axis=1).mean()))

    stuck = solved(shaken, iterations=50)
    moved = solved(shaken, iterations=50, refine_positions=True)
    assert deviation(shaken.positions_px) > 0.75
    assert deviation(moved.positions_px) < 0.25
    assert moved.r_amp < 0.6 * stuck.r_amp
    assert error_of(moved, shaken.objectGuess) < 0.5 * error_of(stuck, shaken.objectGuess)


def test_positions_stay_within_their_limit_of_where_they_were_given(scan):
    shaken = generated_scan(num_positions=36, photons=1e5, seed=3, position_error_px=2.0)
    moved = solved(shaken, iterations=6, refine_positions=True, position_limit_px=0.25, position_start=0)
    difference = np.abs(moved.positions_px - shaken.positions_px)
    # The limit holds before the common drift is taken off.
    assert 0.2 < difference.max() < 0.5


def test_patterns_of_two_modes_are_fitted_better_by_two_modes():
    y, x = np.mgrid[-16:16, -16:16]
    spot = draw_probe(32, 14).reshape(1, 32, 32) * np.exp(0.02j * (x**2 + y**2))
    probe = with_modes(torch.from_numpy(spot.astype(np.complex64)), 2, share=0.5).numpy()
    specimen = draw_object("cells", (64, 64), seed=3)
    places = scan_positions("spiral", (64, 64), 32, step_px=3.0, num_positions=64, seed=3)
    mixed = simulate_scan(specimen, probe, places, photons=1e7, seed=3)
    one = solved(mixed, probe=mixed.probe_modes[:1], iterations=150, refine_probe=True)
    two = solved(mixed, probe=mixed.probe_modes[:1], iterations=150, refine_probe=True, num_modes=2)
    assert two.r_amp < 0.6 * one.r_amp
    assert two.probe.shape == (2, 32, 32)
    energies = (np.abs(two.probe) ** 2).sum(axis=(1, 2))
    assert energies[0] >= energies[1] > 0.1 * energies[0]
    assert abs(np.vdot(two.probe[0], two.probe[1])) < 1e-3 * energies[0]


def test_few_photons_want_the_poisson_likelihood_and_get_it():
    dark = generated_scan(num_positions=64, photons=300, seed=3)
    poisson, amplitude = (solved(dark, iterations=30, likelihood=name) for name in ("poisson", "amplitude"))
    assert error_of(poisson, dark.objectGuess) < 0.8 * error_of(amplitude, dark.objectGuess)
    automatic = solved(dark, iterations=1)
    assert automatic.likelihood == "poisson"
    assert solved(generated_scan(num_positions=9, photons=1e5), iterations=1).likelihood == "amplitude"


def test_patterns_without_a_photon_scale_are_fitted_as_well():
    noiseless = generated_scan(num_positions=64, photons=None, seed=3)
    for likelihood in ("amplitude", "poisson"):
        assert solved(noiseless, iterations=40, likelihood=likelihood).r_amp < 0.03


def test_masked_pixels_have_no_say(scan):
    mask = np.ones((32, 32), bool)
    mask[14:18, 14:18] = False
    mask[5] = False
    stopped = dataclasses.replace(scan, mask=mask)
    broken = np.asarray(scan.diffraction).copy()
    broken[:, ~mask] = 7e3
    clean = solved(stopped, iterations=15)
    config = SolverConfig(iterations=15, interpolation="bilinear", refine_probe=False)
    dirty = solve(broken, scan.positions_px, scan.probe_modes, config, mask=mask)
    np.testing.assert_array_equal(dirty.object, clean.object)
    assert dirty.r_amp == clean.r_amp
    # The beam stop hides most of the light, but what is seen is explained.
    assert error_of(clean, scan.objectGuess) < 0.2


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_a_good_start_is_not_destroyed(scan, iterations):
    found = solved(scan, start=scan.objectGuess, iterations=iterations)
    assert error_of(found, scan.objectGuess) < 0.03
    assert found.r_amp < 0.079
    flat = solved(scan, iterations=iterations)
    assert error_of(flat, scan.objectGuess) > 3 * error_of(found, scan.objectGuess)


def test_a_start_lies_where_its_origin_says_and_may_have_another_brightness(scan):
    part = scan.objectGuess[6:40, 4:40]
    config = SolverConfig(iterations=1, refine_probe=False, interpolation="bilinear", object_step=1e-6)
    found = solve(scan.diffraction, scan.positions_px, scan.probe_modes, config, start=3 * part, start_origin_px=(4.0, 6.0))
    x0, y0 = found.origin_px
    inside = found.object[10 - y0 : 36 - y0, 10 - x0 : 36 - x0]
    ratio = inside / scan.objectGuess[10:36, 10:36]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert abs(ratio[0, 0]) == pytest.approx(1, abs=0.2)  # not 3


@pytest.mark.parametrize("refine_probe", [False, True])
def test_the_scale_of_the_probe_does_not_matter(scan, refine_probe):
    usual, bright = (
        solved(scan, probe=factor * scan.probe_modes, iterations=3, refine_probe=refine_probe) for factor in (1, np.float32(1e3))
    )
    assert bright.r_amp == pytest.approx(usual.r_amp, rel=1e-3)
    if refine_probe:
        np.testing.assert_allclose(bright.object, usual.object, rtol=1e-2, atol=1e-2)


def test_a_seed_gives_the_same_bits_and_another_one_others(scan):
    one, same, other = (solved(scan, iterations=2, refine_probe=True, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.object, same.object)
    np.testing.assert_array_equal(one.probe, same.probe)
    assert one.history == same.history
    assert not np.array_equal(one.object, other.object)


def test_patterns_that_do_not_fit_are_gathered_and_give_the_same(scan, monkeypatch):
    whole = solved(scan, iterations=2, refine_probe=True)
    monkeypatch.setattr(solver_module, "RESIDENT_BYTES", 0)
    gathered = solved(scan, iterations=2, refine_probe=True)
    np.testing.assert_array_equal(gathered.object, whole.object)
    assert gathered.history == whole.history


@pytest.mark.parametrize("fields", [{"decay": "linear"}, {"momentum": 0.0}, {"damping": 1.0}, {"batch_size": 64}, {"batch_size": 1}])
def test_other_settings_converge_too(scan, fields):
    found = solved(scan, iterations=10, **fields)
    assert found.r_amp < 0.8 * found.history[0]


def test_without_decay_the_last_batches_show(scan):
    decayed, undecayed = (solved(scan, start=scan.objectGuess, iterations=15, decay=name) for name in ("cosine", "none"))
    assert error_of(decayed, scan.objectGuess) < 0.9 * error_of(undecayed, scan.objectGuess)
    assert decayed.r_amp < undecayed.r_amp


def test_progress_sees_every_iteration(scan):
    seen = []
    found = solved(scan, iterations=3, progress=lambda step: seen.append((step.iteration, step.iterations, step.r_amp, step.object.shape)))
    assert [row[0] for row in seen] == [1, 2, 3]
    assert {row[1] for row in seen} == {3}
    assert tuple(row[2] for row in seen) == found.history
    assert seen[0][3] == found.object.shape


# --- what it refuses ------------------------------------------------------------------------------


def attempt(scan, **changes):
    arguments = {
        "patterns": scan.diffraction,
        "positions_px": scan.positions_px,
        "probe": scan.probe_modes,
        "config": SolverConfig(iterations=2),
        **changes,
    }
    return solve(**arguments)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patterns": np.ones((4, 8, 7), np.float32)}, r"patterns: expected amplitudes \(M, N, N\).*\(4, 8, 7\)"),
        ({"positions_px": np.zeros((64, 3))}, r"positions_px: expected finite \(64, 2\).*\(64, 3\)"),
        ({"positions_px": np.full((64, 2), np.nan)}, "expected finite"),
        ({"probe": np.ones((16, 16), np.complex64)}, r"probe: expected complex \(32, 32\).*\(16, 16\)"),
        ({"probe": np.ones((32, 32))}, "probe: expected complex .* float64"),
        ({"probe": np.zeros((32, 32), np.complex64)}, "throws no light"),
        ({"mask": np.zeros((32, 32), bool)}, "mask: expected bool"),
        ({"mask": np.ones((8, 8), bool)}, r"mask: expected bool \(32, 32\).*\(8, 8\)"),
        ({"patterns": np.zeros((64, 32, 32), np.float32)}, "nothing was counted"),
        ({"start": np.ones((8, 8))}, "start: expected a finite complex object"),
        ({"start": np.ones((8, 8), np.complex64), "start_origin_px": (0.5, 0.0)}, "expected whole pixels"),
        ({"start": np.ones((8, 8), np.complex64), "start_origin_px": (500.0, 0.0)}, "does not touch the scan"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(scan, changes, words):
    with pytest.raises(DataError, match=words):
        attempt(scan, **changes)


def test_modes_that_cannot_be_had_are_refused(scan):
    with pytest.raises(ConfigError, match=r"further modes have to be found.*refine_probe"):
        attempt(scan, config=SolverConfig(iterations=2, num_modes=2, refine_probe=False))
    with pytest.raises(ConfigError, match="the probe has 2, 1 asked for"):
        attempt(scan, probe=np.concatenate([scan.probe_modes] * 2), config=SolverConfig(iterations=2, num_modes=1))


@pytest.mark.parametrize(
    "fields",
    [
        {"iterations": 0},
        {"batch_size": 0},
        {"object_step": 0.0},
        {"damping": 0.0},
        {"momentum": 1.0},
        {"likelihood": "gauss"},
        {"iterations": 5, "probe_start": 5},
        {"iterations": 5, "refine_positions": True, "position_start": 9},
    ],
)
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(ConfigError, match="SolverConfig"):
        SolverConfig(**fields)


def test_few_iterations_begin_with_everything_at_once():
    config = SolverConfig(iterations=1, refine_positions=True)
    assert (config.first_probe_iteration, config.first_position_iteration) == (0, 0)
    config = SolverConfig(iterations=40, refine_positions=True)
    assert (config.first_probe_iteration, config.first_position_iteration) == (1, 3)


def test_a_reconstruction_that_diverges_says_so(scan):
    with pytest.raises(TrainingError, match=r"diverged in iteration \d+; halve object_step"):
        solved(scan, iterations=200, object_step=2.0, momentum=0.95, decay="none", refine_probe=True, probe_step=2.0, damping=0.01)


def test_bad_values_are_named_when_they_are_read(scan):
    values = np.asarray(scan.diffraction).copy()
    values[5, 1, 2] = -1
    with pytest.raises(DataError, match=r"negative value -1 in pattern 5 at pixel \[1, 2\]"):
        attempt(scan, patterns=as_patterns(values))


def test_refining_the_probe_does_not_let_its_energy_drift_into_the_object(scan):
    """Only their product is measured: without a rule one grows while the other shrinks."""
    wrong = scan.probe_modes * np.exp(0.5j * RNG.random(scan.probe_modes.shape)).astype(np.complex64)
    found = solved(scan, probe=wrong, iterations=40, refine_probe=True, probe_start=0)
    counts = float(np.mean(np.sum(np.asarray(scan.diffraction, dtype=np.float64) ** 2, axis=(1, 2))))
    assert np.sum(np.abs(found.probe.astype(np.complex128)) ** 2) == pytest.approx(counts, rel=1e-3)
    truth = np.abs(scan.objectGuess).mean() * np.sqrt(np.sum(np.abs(scan.probe_modes) ** 2) / counts)
    seen = found.coverage > 0.2 * found.coverage.max()
    assert np.abs(found.object)[seen].mean() == pytest.approx(truth, rel=0.1)
