"""``photic reconstruct`` and the function behind it, on generated scans."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from photic.apps.ptycho import reconstruct as command
from photic.apps.ptycho.evaluation import compare_objects
from photic.apps.ptycho.raw import load_raw_npz, save_raw_npz
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.ptycho.solver_options import SolverConfig
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def scan():
    return generated_scan(num_positions=64, photons=1e5, seed=3)


@pytest.fixture(scope="module")
def file(scan, tmp_path_factory):
    return save_raw_npz(tmp_path_factory.mktemp("scan") / "scan.npz", scan)


def run(*words):
    return photic(["reconstruct", *map(str, words), "--quiet", "--device", "cpu"])


def test_a_file_becomes_an_object_with_its_pictures(file, scan, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run(file, "--fix-probe", "--iterations", 30, "-o", folder) == 0
    said = capsys.readouterr().out
    assert "64 patterns of 32 x 32, 30 iterations, likelihood amplitude" in said
    (r_amp,) = re.findall(r"^R_amp (0\.\d{4})$", said, re.MULTILINE)
    before, after = (float(text) for text in re.findall(r"^CPU seconds (\d+\.\d\d)", said, re.MULTILINE))
    assert 0 < before <= after
    assert re.search(r"^seconds \d+\.\d\d$", said, re.MULTILINE)
    for name in ("object.npz", "object.h5", "amplitude.png", "phase.png", "coverage.png", "positions.png", "probe.png", "convergence.png"):
        assert (folder / name).stat().st_size > 500
        assert name in said
    made = Reconstruction.load(folder / "object.npz")
    assert f"{made.r_amp:.4f}" == r_amp
    assert len(made.history) == 30
    assert made.source == str(file)
    assert made.metadata["solver"]["iterations"] == 30
    assert made.metadata["solver"]["refine_probe"] is False
    assert made.metadata["seconds"] > 0
    assert made.metadata["cpu_seconds"] > 0
    compared = compare_objects(made, scan.objectGuess)
    assert compared.phase.ssim > 0.8
    np.testing.assert_array_equal(Reconstruction.load(folder / "object.h5").object, made.object)


def test_every_option_reaches_the_solver(file, tmp_path):
    mask = np.ones((32, 32))
    mask[3, 4] = 0
    np.save(tmp_path / "mask.npy", mask)
    folder = tmp_path / "out"
    method = ["--batch-size", "5", "--likelihood", "poisson", "--interpolation", "bilinear", "--object-step", "0.5", "--seed", "7"]
    refined = ["--refine-probe", "--modes", "2", "--probe-step", "0.25", "--refine-positions", "--position-limit", "0.5"]
    assert run(file, "--iterations", "2", *method, *refined, "--mask", tmp_path / "mask.npy", "-o", folder) == 0
    made = Reconstruction.load(folder / "object.npz")
    expected = SolverConfig(
        iterations=2, batch_size=5, likelihood="poisson", interpolation="bilinear", refine_probe=True, num_modes=2, refine_positions=True,
        position_limit_px=0.5, object_step=0.5, probe_step=0.25, seed=7,
    )  # fmt: skip
    assert made.metadata["solver"] == expected.to_dict()
    assert made.probe.shape == (2, 32, 32)
    assert 0 < np.abs(made.positions_px - load_raw_npz(file).positions_px).max() < 1
    again = reconstruct(dataclasses.replace(load_raw_npz(file), mask=mask.astype(bool)), expected, device="cpu")
    np.testing.assert_array_equal(again.object, made.object)


def test_a_scan_in_two_files_is_one(scan, tmp_path):
    parts = [np.arange(0, 64, 3), np.setdiff1d(np.arange(64), np.arange(0, 64, 3))]
    files = [save_raw_npz(tmp_path / f"{len(rows)}.npz", scan.take(rows)) for rows in parts]
    config = SolverConfig(iterations=2)
    joined = reconstruct(files, config, device="cpu")
    rows = np.concatenate(parts)
    np.testing.assert_array_equal(joined.object, reconstruct(scan.take(rows), config, device="cpu").object)
    np.testing.assert_array_equal(joined.positions_px, scan.positions_px[rows])
    assert joined.source == f"{files[0]}, {files[1]}"


def test_files_with_different_probes_are_not_one_scan(scan, tmp_path):
    save_raw_npz(tmp_path / "a.npz", scan)
    save_raw_npz(tmp_path / "b.npz", dataclasses.replace(scan, probeGuess=2 * scan.probeGuess))
    with pytest.raises(DataError, match=r"a\.npz and .*b\.npz: 'probeGuess' differs"):
        reconstruct([tmp_path / "a.npz", tmp_path / "b.npz"], device="cpu")


def test_it_goes_on_from_a_result(file, tmp_path):
    assert run(file, "--fix-probe", "--iterations", 10, "-o", tmp_path / "first") == 0
    first = Reconstruction.load(tmp_path / "first" / "object.npz")
    assert run(file, "--fix-probe", "--iterations", 10, "--start", tmp_path / "first" / "object.npz", "-o", tmp_path / "second") == 0
    second = Reconstruction.load(tmp_path / "second" / "object.npz")
    assert second.method == "10 iterations + 10 iterations"
    assert second.r_amp < first.r_amp
    assert second.history[0] < first.history[2]


def test_a_preview_is_drawn_while_it_runs(file, tmp_path, monkeypatch):
    drawn = []
    draw = command._draw

    def counted(step, *arguments):
        draw(step, *arguments)
        drawn.append((step.iteration, (tmp_path / "out" / "preview.png").stat().st_size))

    monkeypatch.setattr(command, "_draw", counted)
    assert run(file, "--iterations", 5, "--preview-every", 2, "-o", tmp_path / "out") == 0
    assert [row[0] for row in drawn] == [2, 4]
    assert min(row[1] for row in drawn) > 500


def test_the_bar_shows_r_amp_and_ends_full(file, tmp_path, capsys):
    assert photic(["reconstruct", str(file), "--iterations", "3", "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert re.search(r"R_amp 0\.\d{4}", shown)


def test_results_are_not_replaced_unless_forced(file, tmp_path, capsys):
    assert run(file, "--iterations", 1, "-o", tmp_path) == 0
    before = (tmp_path / "object.npz").read_bytes()
    assert run(file, "--iterations", 2, "-o", tmp_path) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "object.npz").read_bytes() == before
    assert run(file, "--iterations", 2, "-o", tmp_path, "--force") == 0
    assert (tmp_path / "object.npz").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{missing}", "-o", "{out}"], "no such file"),
        (["{file}", "-o", "{out}", "--iterations", "0"], r"reconstruct\.iterations: expected a value >= 1, got 0"),
        (["{file}", "-o", "{out}", "--batch-size", "0"], r"reconstruct\.batch_size: expected a value >= 1"),
        (["{file}", "-o", "{out}", "--modes", "2", "--fix-probe"], "further modes have to be found"),
        (["{file}", "-o", "{out}", "--device", "abacus"], "device 'abacus' is not available here"),
        (["{file}", "-o", "{out}", "--start", "{file}"], "expected"),
        (["{text}", "-o", "{out}"], "no reader|is no|cannot be read|unknown"),
        (["{small}", "-o", "{out}"], r"probeGuess.*\(16, 16\)"),
        (["{file}", "-o", "{out}", "--mask", "{mask}"], "mask"),
    ],
)
def test_bad_input_is_one_clear_line(file, tmp_path, capsys, words, message):
    scan = load_raw_npz(file)
    (tmp_path / "text.npz").write_text("not a scan")
    np.save(tmp_path / "mask.npy", np.ones((8, 8)))
    arrays = {"xcoords": scan.xcoords, "ycoords": scan.ycoords, "diffraction": np.asarray(scan.diffraction)}
    np.savez(tmp_path / "small.npz", **arrays, probeGuess=np.ones((16, 16), complex))
    places = {
        "{missing}": tmp_path / "none.npz", "{file}": file, "{out}": tmp_path / "out", "{text}": tmp_path / "text.npz",
        "{small}": tmp_path / "small.npz", "{mask}": tmp_path / "mask.npy",
    }  # fmt: skip
    device = [] if "--device" in words else ["--device", "cpu"]
    assert photic(["reconstruct", *(str(places.get(word, word)) for word in words), "--quiet", *device]) == 2
    error = capsys.readouterr().err
    assert error.startswith("photic: error: ")
    assert re.search(message, error)
    assert not (tmp_path / "out").exists()


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match="use cpu or auto"):
        command.usable_device("cuda:99")


def test_it_takes_as_many_threads_as_told_and_one_otherwise(file, tmp_path, monkeypatch):
    before = torch.get_num_threads()
    try:
        assert run(file, "--iterations", 1, "--threads", 2, "-o", tmp_path / "two") == 0
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert run(file, "--iterations", 1, "-o", tmp_path / "environment") == 0
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert run(file, "--iterations", 1, "-o", tmp_path / "one") == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_help_names_the_options(capsys):
    assert photic(["reconstruct", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("--fix-probe", "--modes", "--refine-positions", "--preview-every", "examples:"):
        assert word in said
