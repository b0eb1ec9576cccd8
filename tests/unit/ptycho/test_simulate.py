"""Simulated scans against a slow reference, their statistics, and the command."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from photic.apps.ptycho.raw import load_raw_npz, save_raw_npz
from photic.apps.ptycho.scan_preview import mean_counts, scan_coverage
from photic.apps.ptycho.simulate import generated_scan, simulate_scan, true_positions_px
from photic.apps.ptycho.simulate_command import main
from photic.apps.ptycho.synthetic import detector_mask, draw_object, draw_probe
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError, PhoticError, StorageError, UnknownNameError

SPECIMEN = draw_object("lines", (30, 36), seed=0)
PLACES = np.array([[8.0, 8.0], [11.25, 9.75], [20.9, 17.4], [28.0, 22.0], [17.5, 8.0]])


def probe_of(num_modes, size_px=16):
    rng = np.random.default_rng(5)
    return rng.standard_normal((num_modes, size_px, size_px)) + 1j * rng.standard_normal((num_modes, size_px, size_px))


def slow_counts(canvas, modes, places):
    """Bilinear interpolation pixel by pixel, the transform by its definition, modes one after another."""
    size = modes.shape[-1]
    k = np.arange(size) - size // 2
    matrix = np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)
    patterns = []
    for x, y in places:
        patch = np.zeros((size, size), complex)
        for i in range(size):
            for j in range(size):
                row, column = y - size // 2 + i, x - size // 2 + j
                for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                    for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                        weight = (1 - abs(row - r)) * (1 - abs(column - c))
                        if weight > 0:
                            patch[i, j] += weight * canvas[r, c]
        patterns.append(sum(np.abs(matrix @ (mode * patch) @ matrix.T) ** 2 for mode in modes))
    return np.stack(patterns)


def counts_of(scan):
    return np.asarray(scan.diffraction).astype(np.float64) ** 2


# --- the physics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("num_modes", [1, 3])
def test_without_noise_the_truth_reproduces_the_amplitudes(num_modes):
    modes = probe_of(num_modes)
    scan = simulate_scan(SPECIMEN, modes, PLACES, photons=None)
    np.testing.assert_allclose(counts_of(scan), slow_counts(SPECIMEN, modes, PLACES), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(scan.objectGuess, SPECIMEN)
    np.testing.assert_allclose(scan.probe_modes, modes, rtol=1e-6)
    np.testing.assert_array_equal(scan.positions_px, PLACES)
    assert scan.diffraction.dtype == np.float32
    assert scan.physics_parameters["nphotons"] == pytest.approx(counts_of(scan).sum() / len(PLACES))


def test_probe_and_truth_of_a_noisy_scan_say_what_to_expect():
    scan = simulate_scan(SPECIMEN, probe_of(2), PLACES, photons=1e8, seed=0)
    expected = slow_counts(SPECIMEN, scan.probe_modes.astype(complex), PLACES)
    assert expected.sum() / len(PLACES) == pytest.approx(1e8, rel=1e-6)
    pull = (counts_of(scan) - expected) / np.sqrt(expected)
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_modes_add_as_intensities():
    modes = probe_of(2)
    both = counts_of(simulate_scan(SPECIMEN, modes, PLACES, photons=None))
    single = [counts_of(simulate_scan(SPECIMEN, mode, PLACES, photons=None)) for mode in modes]
    np.testing.assert_allclose(both, single[0] + single[1], rtol=1e-5, atol=1e-6)
    coherent = counts_of(simulate_scan(SPECIMEN, modes.sum(axis=0), PLACES, photons=None))
    assert np.abs(both - coherent).max() > 0.1 * both.max()


def test_counts_are_poisson():
    """One place, measured 3000 times: whole numbers, whose variance is their mean, with the mean asked for."""
    same = np.repeat([[15.3, 14.8]], 3000, axis=0)
    scan = simulate_scan(SPECIMEN, draw_probe(16, 6), same, photons=500, seed=1)
    counts = counts_of(scan)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-3)
    assert counts.sum() / 3000 == pytest.approx(500, abs=5 * np.sqrt(500 / 3000))
    mean, variance = counts.mean(axis=0), counts.var(axis=0)
    bright = mean > 1
    assert bright.sum() > 20
    np.testing.assert_allclose(variance[bright] / mean[bright], 1, atol=0.2)
    assert (variance[bright] / mean[bright]).mean() == pytest.approx(1, abs=0.02)
    # Pixels are independent of one another.
    assert np.var(counts.sum(axis=(1, 2))) / 500 == pytest.approx(1, abs=0.15)


def test_the_probe_has_the_counts_of_an_empty_place():
    """|object| = 1/2 lets a quarter through, so the probe must be four times as bright."""
    scan = simulate_scan(np.full((30, 36), 0.5), probe_of(1), PLACES, photons=1000)
    assert np.sum(np.abs(scan.probeGuess) ** 2) == pytest.approx(4000, rel=1e-5)


def test_the_noise_of_a_pattern_depends_on_seed_and_number_alone():
    flat = np.ones((30, 36))
    scans = [simulate_scan(flat, probe_of(1), PLACES[:num], photons=200, seed=seed) for num, seed in ((5, 3), (2, 3), (5, 4))]
    np.testing.assert_array_equal(scans[0].diffraction[:2], scans[1].diffraction[:])
    assert np.any(scans[0].diffraction[:] != scans[2].diffraction[:])
    assert np.any(scans[0].diffraction[0] != scans[0].diffraction[1])


def test_pieces_do_not_show(monkeypatch):
    whole = simulate_scan(SPECIMEN, probe_of(2), PLACES, photons=300)
    monkeypatch.setattr("photic.apps.ptycho.simulate._CHUNK_BYTES", 16 * 2 * 16**2 * 2)
    seen = []
    pieces = simulate_scan(
        SPECIMEN, probe_of(2), PLACES, photons=300, progress=lambda count: (seen.append(number) or number for number in range(count))
    )
    assert seen == [0, 1, 2]
    np.testing.assert_array_equal(pieces.diffraction[:], whole.diffraction[:])


def test_background_mask_and_pixel_size():
    mask = detector_mask(16, beam_stop_px=4, dead_share=0.1)
    same = np.repeat([[15.0, 14.0]], 200, axis=0)
    scan = simulate_scan(SPECIMEN, draw_probe(16, 6), same, photons=100, background=2.0, mask=mask, pixel_size_m=8e-9)
    counts = counts_of(scan)
    assert not counts[:, ~mask].any()
    corner = np.zeros_like(mask)
    corner[:2] = mask[:2]
    assert counts[:, corner].mean() == pytest.approx(2, abs=0.2)
    np.testing.assert_array_equal(scan.mask, mask)
    assert scan.physics_parameters == {"nphotons": 100.0, "pixel_size_m": 8e-9}
    np.testing.assert_allclose(mean_counts(scan), counts.mean(axis=0), rtol=1e-6)


def test_recorded_positions_are_wrong_and_the_true_ones_are_kept(tmp_path):
    scan = generated_scan(num_positions=200, position_error_px=1.5, photons=None)
    truth = true_positions_px(scan)
    errors = scan.positions_px - truth
    assert 1.3 < np.abs(errors).max() <= 1.5
    assert errors.std() == pytest.approx(1.5 / np.sqrt(3), rel=0.1)
    again = load_raw_npz(save_raw_npz(tmp_path / "scan.npz", scan))
    np.testing.assert_array_equal(true_positions_px(again), truth)
    at_truth = simulate_scan(scan.objectGuess, scan.probeGuess, truth, photons=None)
    np.testing.assert_allclose(at_truth.diffraction[:], scan.diffraction[:], atol=1e-5)
    with pytest.raises(DataError, match=r"shape \(200, 2\), expected \(2, 2\)"):
        true_positions_px(again.take(np.array([0, 1])))


def test_true_positions_of_other_scans():
    exact = generated_scan(num_positions=4)
    np.testing.assert_array_equal(true_positions_px(exact), exact.positions_px)
    exact.metadata.pop("simulation")
    with pytest.raises(DataError, match="not simulated"):
        true_positions_px(exact)


def test_the_coverage_is_the_light_that_fell_on_each_pixel():
    scan = simulate_scan(SPECIMEN, probe_of(2), PLACES, photons=1000)
    covered = scan_coverage(scan, SPECIMEN.shape)
    assert covered.sum() == pytest.approx(5 * np.sum(np.abs(scan.probe_modes) ** 2), rel=1e-6)
    np.testing.assert_allclose(covered[0, :8], (np.abs(scan.probe_modes) ** 2).sum(axis=0)[0, :8], rtol=1e-5)


@pytest.mark.parametrize("kind", ["star", "cells", "lines"])
def test_a_generated_scan_is_a_function_of_its_seed(kind):
    settings = {"size_px": 32, "num_positions": 20, "photons": 1e3, "object_kind": kind, "step_px": 2.5, "probe_diameter_px": 10}
    first, same, other = (generated_scan(**settings, seed=seed) for seed in (0, 0, 1))
    for key in ("xcoords", "ycoords", "objectGuess", "probeGuess"):
        np.testing.assert_array_equal(getattr(first, key), getattr(same, key))
    np.testing.assert_array_equal(first.diffraction[:], same.diffraction[:])
    assert np.any(first.diffraction[:] != other.diffraction[:])
    assert first.metadata == same.metadata
    json.dumps(first.metadata, allow_nan=False)
    assert counts_of(first).sum() / 20 == pytest.approx(1e3, rel=0.05)


@pytest.mark.parametrize("scan", ["spiral", "raster"])
@pytest.mark.parametrize("num", [1, 2, 7, 63])
def test_a_generated_object_is_large_enough_for_any_scan(scan, num):
    made = generated_scan(size_px=16, num_positions=num, step_px=3.3, probe_diameter_px=6, scan=scan, position_error_px=0.7, num_modes=2)
    assert made.num_patterns == num
    assert made.probe_modes.shape == (2, 16, 16)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"photons": 0}, ConfigError, "photons"),
        ({"photons": np.inf}, ConfigError, "None for no noise"),
        ({"photons": np.nan}, ConfigError, "photons"),
        ({"background": -1}, ConfigError, "background"),
        ({"position_error_px": np.nan}, ConfigError, "position error"),
        ({"pixel_size_m": 0.0}, ConfigError, "pixel size"),
        ({"mask": np.ones((8, 8), bool)}, DataError, r"expected bool \(16, 16\)"),
        ({"mask": np.ones((16, 16))}, DataError, "got float64"),
        ({"object_": np.ones((30, 36, 1))}, DataError, r"shape \(30, 36, 1\)"),
        ({"object_": np.full((30, 36), np.nan)}, DataError, "finite"),
        ({"object_": np.zeros((30, 36))}, DataError, "no light"),
        ({"probe": np.ones((16, 12))}, DataError, r"got \(1, 16, 12\)"),
        ({"probe": np.ones((15, 15))}, DataError, "N even"),
        ({"probe": np.zeros((16, 16))}, DataError, "not all zero"),
        ({"probe": np.ones((2, 1, 16, 16))}, DataError, r"\(2, 1, 16, 16\)"),
        ({"positions_px": PLACES.T}, DataError, r"\(M, 2\)"),
        ({"positions_px": np.zeros((0, 2))}, DataError, "M >= 1"),
        (
            {"positions_px": [[8.0, 7.9]]},
            DataError,
            r"1 of 1 patches of 16 x 16 px reach beyond .* 30 x 36 px.*8 <= x <= 28 and 8 <= y <= 22",
        ),
        ({"position_error_px": 1.0}, DataError, "recorded positions: .*keep the true positions 1 px from there"),
    ],
)
def test_impossible_simulations_are_refused(arguments, error, message):
    given = {"object_": SPECIMEN, "probe": probe_of(1), "positions_px": PLACES, "photons": 100.0, **arguments}
    with pytest.raises(error, match=message):
        simulate_scan(**given)


def test_a_probe_with_a_trailing_axis_is_one_mode():
    probe = probe_of(1)
    np.testing.assert_array_equal(
        simulate_scan(SPECIMEN, probe[0, :, :, None], PLACES, photons=None).diffraction[:],
        simulate_scan(SPECIMEN, probe[0], PLACES, photons=None).diffraction[:],
    )


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulate")
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (56, 1))
    Image.fromarray(ramp).save(root / "ramp.png")
    Image.fromarray(ramp[:, ::-1]).save(root / "back.png")
    Image.fromarray(ramp[:20, :20]).save(root / "tiny.png")
    return root


def simulate(folder, text, *, output="scan.npz"):
    status = main(["ptycho", *shlex.split(text.replace("@", f"{folder}/")), "-o", str(folder / output), "--force"])
    assert status == 0
    return load_raw_npz(folder / output)


def test_from_a_picture_to_a_file(folder, capsys):
    raw = simulate(
        folder, "--object @ramp.png --probe disc:12 --size 32 --step 4 --positions 40 --photons 2000 --seed 3 --pixel-size-m 1e-8"
    )
    said = capsys.readouterr().out
    for words in ("40 patterns of 32 x 32 px", "56 x 64 px, amplitude 0.50 to 1.00, phase -1.00 to 1.00 rad", "1 mode", "2000 per pattern",
                  "overlap by", "data check ptycho", "reconstruct"):  # fmt: skip
        assert words in said
    level = np.linspace(0, 255, 64).astype(np.uint8) / 255
    np.testing.assert_allclose(raw.objectGuess, np.tile((0.5 + 0.5 * level) * np.exp(1j * (2 * level - 1)), (56, 1)), atol=1e-6)
    expected = slow_counts(raw.objectGuess.astype(complex), raw.probe_modes.astype(complex), raw.positions_px)
    assert expected.sum() / 40 == pytest.approx(2000, rel=1e-5)
    assert counts_of(raw).sum() == pytest.approx(80000, abs=5 * np.sqrt(80000))
    assert raw.physics_parameters == {"nphotons": 2000.0, "pixel_size_m": 1e-8}
    assert raw.metadata["simulation"]["command"].startswith("photic simulate ptycho --object")
    assert raw.metadata["simulation"]["seed"] == 3


def test_the_command_repeats_itself(folder):
    line = "--object cells --object-size 48x52 --size 32 --photons 500 --scan raster --seed 2"
    first, again = simulate(folder, line), simulate(folder, line, output="again.npz")
    assert first.objectGuess.shape == (48, 52)
    np.testing.assert_array_equal(first.diffraction[:], again.diffraction[:])


def test_ranges_and_a_second_picture(folder):
    raw = simulate(folder, "--object @ramp.png --phase-picture @back.png --amplitude-range 1 1 --phase-range 0 -2 --size 32 --photons inf")
    level = np.linspace(0, 255, 64).astype(np.uint8)[::-1] / 255
    np.testing.assert_allclose(raw.objectGuess[0], np.exp(-2j * level), atol=1e-6)
    assert raw.metadata["simulation"]["noise"] == "none"
    expected = slow_counts(raw.objectGuess.astype(complex), raw.probe_modes.astype(complex), raw.positions_px[:2])
    np.testing.assert_allclose(counts_of(raw)[:2], expected, rtol=1e-4, atol=1e-9)


def test_object_and_probe_of_a_file(folder):
    first = simulate(folder, "--object lines --object-size 60 --size 16 --probe gauss:5 --modes 2", output="first.npz")
    second = simulate(folder, "--object @first.npz --probe @first.npz --modes 3 --photons 1e6", output="second.npz")
    np.testing.assert_array_equal(second.objectGuess, first.objectGuess)
    assert second.probe_modes.shape == (3, 16, 16)
    ratio = second.probe_modes[:2] / first.probe_modes
    np.testing.assert_allclose(ratio, ratio[0, 8, 8], rtol=1e-3)


def test_what_a_detector_and_a_stage_do(folder, capsys):
    raw = simulate(
        folder, "--object star --object-size 64 --size 32 --beam-stop 3 --dead-pixels 0.05 --position-error 1 --background 0.1 --compressed"
    )
    assert not raw.mask[16, 16]
    assert np.abs(raw.positions_px - true_positions_px(raw)).max() > 0.5
    assert "wrong by up to 1 px" in capsys.readouterr().out


def test_too_many_positions_are_cut_and_little_overlap_is_said(folder, capsys, monkeypatch):
    monkeypatch.setattr("photic.apps.ptycho.simulate_command._MOST_POSITIONS", 9)
    raw = simulate(folder, "--object cells --object-size 64 --size 16 --step 6 --scan raster")
    assert raw.num_patterns == 9
    np.testing.assert_allclose(raw.positions_px.mean(axis=0), 32, atol=2)
    said = capsys.readouterr().out
    assert "9 in the middle, where 64 would fit" in said
    assert "That is little" in said


def test_pictures_on_request(folder):
    simulate(folder, "--object cells --object-size 48 --size 32 --preview @pictures --modes 2 --beam-stop 2")
    for name in ("amplitude", "phase", "probe", "positions", "mean_pattern"):
        picture = np.asarray(Image.open(folder / "pictures" / f"{name}.png").convert("L"))
        assert picture.std() > 5


def test_a_file_that_is_there_is_kept(folder):
    simulate(folder, "--object cells --object-size 40 --size 32", output="kept.npz")
    before = (folder / "kept.npz").read_bytes()
    with pytest.raises((ConfigError, StorageError), match="--force"):
        main(["ptycho", "--object", "star", "-o", str(folder / "kept.npz")])
    assert (folder / "kept.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--object cels", "no such file .*star, cells, lines; did you mean 'cells'"),
        ("--object @nothing.png", "no such file"),
        ("--object @tiny.png", "20 x 20 px: too small for patterns of 64 x 64 px"),
        ("--object @ramp.png --phase-picture @tiny.png", "20 x 20 px, .*56 x 64; expected the same size"),
        ("--object cells --phase-picture @ramp.png", "drawn with a phase of its own"),
        ("--object @ramp.png --object-size 10x10x10", "expected pixels as 256"),
        ("--object @ramp.png --object-size big", "expected pixels as 256"),
        ("--object cells --probe disk:24", r"disc:24, gauss:24"),
        ("--object cells --probe disc", r"disc:24, gauss:24"),
        ("--object cells --probe disc:wide", r"disc:24, gauss:24"),
        ("--object cells --probe disc:60", "expected 2 to 48 px"),
        ("--object cells --probe @nothing.npz", "no such file"),
        ("--object cells --size 33", "even window"),
        ("--object cells --photons 0", "photons"),
        ("--object cells --photons nan", "photons"),
        ("--object cells --step -1", "step above 0"),
        ("--object cells --positions 100000", "only .* fit"),
        ("--object cells --dead-pixels 2", "dead pixels"),
        ("--object @probe.npz", "key 'objectGuess' is missing"),
        ("--object @probe.npz --phase-range 0 1", "leave out --phase-range"),
        ("--object cells --probe @probe.npz --size 32", "has 16 x 16 px; leave out --size"),
        ("--object cells --probe @probe.npz --modes 1", "probe: has 2 modes"),
        ("--object cells --probe @bad.npz", r"key 'probeGuess' is float64 of shape \(4,\)"),
    ],
)
def test_what_cannot_be_simulated_is_said(folder, line, message, tmp_path):
    np.savez(folder / "probe.npz", probeGuess=probe_of(2))
    np.savez(folder / "bad.npz", probeGuess=np.ones(4))
    with pytest.raises(PhoticError, match=message):
        main(["ptycho", *shlex.split(line.replace("@", f"{folder}/")), "-o", str(tmp_path / "out.npz")])
    assert not list(tmp_path.iterdir())


def test_the_word_after_simulate_is_an_application(tmp_path, capsys):
    with pytest.raises(UnknownNameError, match="did you mean 'ptycho'.*there is: ptycho"):
        main(["ptyco", "--object", "cells"])
    assert main([]) == 0
    assert "photic simulate ptycho --object" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="ends in .npz"):
        main(["ptycho", "--object", "cells", "-o", str(tmp_path / "scan.h5")])


def test_the_command_is_photics(tmp_path, capsys):
    assert photic(["simulate", "ptycho", "--object", "star", "--object-size", "40", "--size", "32", "-o", str(tmp_path / "s.npz")]) == 0
    assert photic(["simulate", "--help"]) == 0
    assert photic(["simulate", "steel"]) != 0
    assert "there is: ptycho" in capsys.readouterr().err
