"""Ptychography on the command line, from a scan to an object: train, predict, evaluate, bundle, resume; and what can be wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from photic.apps.ptycho.raw import save_raw_npz
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.simulate import generated_scan
from photic.cli.main import main

N = 32
SMALL = [
    "recipe=ptycho_pinn", "model.width_factor=0.125", "training.num_epochs=2", "data.batch_size=8", "data.probe_iterations=3",
    "trainer.num_threads=1", "trainer.accelerator=cpu", "--quiet",
]  # fmt: skip
PICTURES = ("amplitude", "phase", "coverage", "positions", "probe")


def call(*words: Any) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scan to train on, one to test on, and a run."""
    folder = tmp_path_factory.mktemp("ptycho")
    scan = generated_scan(size_px=N, num_positions=120, step_px=3.0, probe_diameter_px=12.0, photons=1e5)
    order = np.argsort(scan.ycoords)
    save_raw_npz(folder / "train.npz", scan.take(np.sort(order[:80])))
    save_raw_npz(folder / "test.npz", scan.take(np.sort(order[80:])))
    assert call("train", *SMALL, f"data.path={folder}/train.npz", f"data.test_path={folder}/test.npz", f"output_dir={folder}/runs") == 0
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    (path,) = (path.parent for path in folder.glob("runs/*/*/results.json"))
    return path


@pytest.fixture(scope="module")
def bundle(folder: Path, run: Path) -> Path:
    path = folder / "model.photic"
    assert call("bundle", run, "-o", path) == 0
    return path


def same(one: Reconstruction, other: Reconstruction) -> None:
    for name in ("object", "coverage", "positions_px", "probe"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (one.r_amp, one.origin_px) == (other.r_amp, other.origin_px)


# --- the good case -------------------------------------------------------------------------------


def test_training_leaves_a_whole_run(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["status"] == "completed"
    assert len(results["history"]) == 2
    assert results["best"]["monitor"] == "r_amp"
    assert 0 < results["test"]["r_amp"] < 1
    assert list((run / "samples").glob("*.png"))
    assert len((run / "predictions" / "test.csv").read_text().splitlines()) == 1 + 40


def test_predict_writes_the_object_in_two_formats_and_its_pictures(run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert call("predict", run, folder / "test.npz", "-o", tmp_path / "out", "--quiet") == 0
    said = capsys.readouterr().out
    assert re.search(r"40 patterns in [\d.]+ s, stitching and R_amp included \(\d+ per second\)", said)
    made = Reconstruction.load(tmp_path / "out" / "object.npz")
    assert re.search(rf"R_amp {made.r_amp:.4f}", said)
    same(made, Reconstruction.load(tmp_path / "out" / "object.h5"))
    with np.load(tmp_path / "out" / "object.npz", allow_pickle=False) as plain:
        assert plain["object"].dtype == np.complex64
        assert plain["object"].shape == plain["coverage"].shape
    with h5py.File(tmp_path / "out" / "object.h5") as file:
        np.testing.assert_array_equal(file["object"][:], made.object)
    for name in PICTURES:
        path = tmp_path / "out" / f"{name}.png"
        assert str(path) in said
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100
    assert made.num_positions == 40
    assert str(folder / "test.npz") in made.source


def test_predict_refuses_to_replace_results_unless_forced(run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "object.npz").write_bytes(b"precious")
    assert call("predict", run, folder / "test.npz", "-o", tmp_path, "--quiet") == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "object.npz").read_bytes() == b"precious"
    assert call("predict", run, folder / "test.npz", "-o", tmp_path, "--quiet", "--force") == 0
    Reconstruction.load(tmp_path / "object.npz")


def test_refinement_continues_from_the_networks_object(run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert call("predict", run, folder / "test.npz", "-o", tmp_path / "plain", "--quiet") == 0
    assert call("predict", run, folder / "test.npz", "-o", tmp_path / "fine", "--refine", 6, "--refine-probe", "--patches", "--quiet") == 0
    plain, fine = (Reconstruction.load(tmp_path / name / "object.npz") for name in ("plain", "fine"))
    assert fine.r_amp is not None and plain.r_amp is not None
    assert fine.r_amp < plain.r_amp
    assert len(fine.history) == 6
    assert fine.method == "cnn + 6 iterations"
    assert fine.patches is not None and fine.patches.shape == (40, N, N)
    assert (tmp_path / "fine" / "convergence.png").exists()
    assert capsys.readouterr().out.count("R_amp ") >= 3


def test_several_files_are_one_scan(run: Path, folder: Path, tmp_path: Path) -> None:
    assert call("predict", run, folder / "train.npz", folder / "test.npz", "-o", tmp_path / "out", "--quiet") == 0
    assert Reconstruction.load(tmp_path / "out" / "object.npz").num_positions == 120


def test_evaluate_prints_and_draws_r_amp_ring_correlation_and_the_comparison_with_the_truth(
    run: Path, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    assert call("evaluate", run, f"data.path={folder}/test.npz", "-o", tmp_path / "out", "--quiet") == 0
    said = capsys.readouterr().out
    assert "R_amp" in said
    assert "FRC" in said
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 0 < found["r_amp"] < 1
    assert found["patterns"] == 40
    assert found["r_amp_of_patterns"]["5 %"] <= found["r_amp_of_patterns"]["median"] <= found["r_amp_of_patterns"]["95 %"]
    assert found["against"] is not None  # the file has an objectGuess
    for name in ("r_amp", "frc", "comparison", "frc_reference"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            picture.load()
    made = Reconstruction.load(tmp_path / "out" / "reconstruction" / "object.npz")
    assert made.r_amp == pytest.approx(found["r_amp"], rel=1e-6)


def test_evaluate_takes_the_test_scan_of_the_run_by_itself_and_another_reconstruction_as_reference(
    run: Path, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    assert call("predict", run, folder / "test.npz", "-o", tmp_path / "out", "--quiet") == 0
    assert call("evaluate", run, "--reference", tmp_path / "out" / "object.npz", "--quiet") == 0
    assert "test.npz" in capsys.readouterr().out
    (place,) = (run / "evaluations").iterdir()
    found = json.loads((place / "results.json").read_text())
    assert found["patterns"] == 40
    against = json.dumps(found["against"])
    assert "NaN" not in against


def test_a_bundle_predicts_the_same_bits_as_its_run_and_says_what_it_is(
    bundle: Path, run: Path, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    for model, name in ((run, "run"), (bundle, "bundle")):
        assert call("predict", model, folder / "test.npz", "-o", tmp_path / name, "--quiet") == 0
    same(*(Reconstruction.load(tmp_path / name / "object.npz") for name in ("run", "bundle")))
    capsys.readouterr()
    for model in (bundle, run):
        assert call("info", model) == 0
        said = capsys.readouterr().out
        assert "ptychography" in said
        assert "diffraction patterns of 32 x 32 px" in said
        assert "r_amp" in said
        assert "pictures" not in said  # it does not take any
    assert call("evaluate", bundle, f"data.path={folder}/test.npz", "-o", tmp_path / "evaluated", "--quiet") == 0
    assert call("evaluate", bundle, "--quiet") == 2
    assert "data.path=FILE" in capsys.readouterr().err


def test_predicting_imports_neither_lightning_nor_hydra(bundle: Path, folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from photic.cli.main import main; status = main(sys.argv[1:]); "
        "print([name for name in sys.modules if name.split('.')[0] in ('lightning', 'hydra', 'omegaconf', 'tensorboard')]); "
        "sys.exit(status)"
    )
    words = ["predict", str(bundle), str(folder / "test.npz"), "-o", str(tmp_path / "out"), "--quiet"]
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_mask_on_the_command_line_is_used_in_training_prediction_and_evaluation(folder: Path, tmp_path: Path, run: Path) -> None:
    mask = np.ones((N, N), bool)
    mask[N // 2, N // 2] = False
    np.save(tmp_path / "mask.npy", mask)
    for options, name in (([], "plain"), (["--mask", tmp_path / "mask.npy"], "masked")):
        assert call("predict", run, folder / "test.npz", "-o", tmp_path / name, "--quiet", *options) == 0
    plain, masked = (Reconstruction.load(tmp_path / name / "object.npz") for name in ("plain", "masked"))
    assert plain.r_amp != masked.r_amp
    words = [f"data.path={folder}/test.npz", f"data.mask={tmp_path}/mask.npy"]
    assert call("evaluate", run, *words, "-o", tmp_path / "evaluated", "--quiet") == 0
    found = json.loads((tmp_path / "evaluated" / "results.json").read_text())
    assert found["r_amp"] == pytest.approx(masked.r_amp, rel=1e-5)


def test_a_probe_on_another_scale_is_scaled_in_training_and_in_use(folder: Path, tmp_path: Path) -> None:
    """A probe of energy 1, as many files have it: what training scaled, prediction scales, too."""
    with np.load(folder / "train.npz", allow_pickle=False) as plain:
        arrays = dict(plain)
    arrays["probeGuess"] = arrays["probeGuess"] / 300
    np.savez(tmp_path / "scan.npz", **arrays)
    words = [word for word in SMALL if "probe_iterations" not in word]
    words += ["data.probe_iterations=0", "data.probe_scale=measured"]
    assert call("train", *words, f"data.path={tmp_path}/scan.npz", f"output_dir={tmp_path}/runs") == 0
    (run,) = (path.parent for path in tmp_path.glob("runs/*/*/results.json"))
    assert call("predict", run, tmp_path / "scan.npz", "-o", tmp_path / "out", "--quiet") == 0
    made = Reconstruction.load(tmp_path / "out" / "object.npz")
    assert made.r_amp is not None
    assert made.r_amp < 0.4


# --- interrupted ---------------------------------------------------------------------------------


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """With everything that can be trained beside the network."""
    settings = {
        "data.num_samples": 90, "data.size_px": 16, "data.step_px": 2.0, "data.probe_diameter_px": 7.0, "data.gridsize": 2,
        "data.neighbor_count": 6, "data.batch_size": 12, "data.probe_iterations": 2, "model.width_factor": 0.125,
        "task.num_modes": 2, "task.train_probe": True, "task.train_intensity_scale": True, "task.refine_positions": True,
        "training.num_epochs": 3, "training.ema_decay": 0.9, "training.checkpoint_every_steps": 1,
    }  # fmt: skip
    kills = [["batch:3"], ["batch:8"], ["validation:1", "write:2"], ["saved:3"]]
    order = {"recipe": "quick_ptycho", "folder": str(tmp_path), "overrides": settings, "kills": kills}
    driver = Path(__file__).with_name("resume_driver.py")
    done = subprocess.run([sys.executable, driver], input=json.dumps(order), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == []


# --- bad input -----------------------------------------------------------------------------------


@pytest.fixture
def spoiled(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of scan files with changes: an array instead, None to leave a key out."""

    def make(**changes: Any) -> Path:
        with np.load(folder / "train.npz", allow_pickle=False) as plain:
            arrays = {**plain, **changes}
        path = tmp_path / "scan.npz"
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return make


@pytest.fixture
def refused(run: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Give a scan to commands that must refuse it in one line and write nothing; return the messages."""
    monkeypatch.chdir(tmp_path)

    def check(path: Path, *, commands: tuple[str, ...] = ("train", "predict", "evaluate", "reconstruct"), options: Any = ()) -> str:
        lines = {
            "train": ["train", *SMALL, f"data.path={path}", *options],
            "predict": ["predict", run, path, "-o", "out", "--quiet"],
            "evaluate": ["evaluate", run, f"data.path={path}", "-o", "out", "--quiet"],
            "reconstruct": ["reconstruct", path, "-o", "out", "--iterations", 2],
        }
        before, messages = set(tmp_path.iterdir()), set()
        for command in commands:
            capsys.readouterr()
            assert call(*lines[command]) == 2, command
            captured = capsys.readouterr()
            assert "Traceback" not in captured.err
            found = [line for line in captured.err.splitlines() if line.startswith("photic: error: ")]
            assert len(found) == 1, captured.err
            assert set(tmp_path.iterdir()) == before, f"{command} left something behind"
            messages.add(found[0].removeprefix("photic: error: "))
        return "\n".join(sorted(messages))

    return check


@pytest.mark.parametrize("key", ["xcoords", "ycoords", "diffraction", "probeGuess"])
def test_a_missing_key_is_named(key: str, spoiled: Any, refused: Any) -> None:
    message = refused(spoiled(**{key: None}))
    assert "scan.npz" in message
    assert key in message
    assert len(message.splitlines()) == 1  # every command says the same


def test_swapped_axes(spoiled: Any, refused: Any, folder: Path) -> None:
    amplitudes = np.load(folder / "train.npz", allow_pickle=False)["diffraction"]
    message = refused(spoiled(diffraction=np.swapaxes(amplitudes, 0, 1)))
    assert "(32, 80, 32)" in message
    assert "expected (80, N, N)" in message
    assert "axes swapped" in message


@pytest.mark.parametrize(("value", "word"), [(-1.0, "negative"), (np.nan, "non-finite"), (np.inf, "non-finite")])
def test_negative_and_non_finite_values(value: float, word: str, spoiled: Any, refused: Any, folder: Path) -> None:
    amplitudes = np.load(folder / "train.npz", allow_pickle=False)["diffraction"]
    amplitudes[3, 4, 5] = value
    message = refused(spoiled(diffraction=amplitudes))
    assert word in message
    assert "pattern 3 at pixel [4, 5]" in message
    assert "diffraction" in message


def test_counts_declared_as_amplitudes_are_warned_of(spoiled: Any, run: Path, folder: Path, tmp_path: Path) -> None:
    amplitudes = np.load(folder / "train.npz", allow_pickle=False)["diffraction"]
    path = spoiled(diffraction=np.round(amplitudes**2).astype(np.uint32))
    with pytest.warns(UserWarning, match="whole numbers"):
        call("predict", run, path, "-o", tmp_path / "out", "--quiet")
    assert call("predict", run, path, "--domain", "counts", "-o", tmp_path / "right", "--quiet") == 0
    with pytest.warns(UserWarning, match="squares are whole numbers"):
        call("predict", run, folder / "train.npz", "--domain", "counts", "-o", tmp_path / "wrong", "--quiet")


@pytest.mark.parametrize("shape", [(16, 16), (32, 16), (2, 2, 32, 32), (0, 32, 32), (32,)])
def test_probes_of_wrong_size_or_rank(shape: tuple[int, ...], spoiled: Any, refused: Any) -> None:
    message = refused(spoiled(probeGuess=np.ones(shape, np.complex64)))
    assert "probeGuess" in message
    assert str(shape) in message
    assert "expected (32, 32)" in message


def test_positions_outside_the_object(spoiled: Any, refused: Any, folder: Path) -> None:
    x = np.load(folder / "train.npz", allow_pickle=False)["xcoords"]
    message = refused(spoiled(xcoords=x + 40))
    assert "objectGuess" in message
    assert "<= x <=" in message
    x[7] = np.nan
    message = refused(spoiled(xcoords=x))
    assert "xcoords" in message
    assert "row 7" in message


def test_duplicate_positions_are_warned_of(spoiled: Any, run: Path, folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "train.npz", allow_pickle=False) as plain:
        x, y = plain["xcoords"], plain["ycoords"]
    x[1], y[1] = x[0], y[0]
    with pytest.warns(UserWarning, match="1 of 80 positions occur twice"):
        call("predict", run, spoiled(xcoords=x, ycoords=y), "-o", tmp_path / "out", "--quiet")


def test_fewer_neighbours_or_patterns_than_a_group(refused: Any, folder: Path, tmp_path: Path) -> None:
    message = refused(folder / "train.npz", commands=("train",), options=("data.gridsize=2", "data.neighbor_count=3"))
    assert "neighbor_count" in message
    assert "expected K >= C, got 3" in message
    from photic.apps.ptycho.raw import load_raw_npz

    few = save_raw_npz(tmp_path / "few.npz", load_raw_npz(folder / "train.npz").take(np.arange(3)))
    message = refused(few, commands=("train",), options=("data.gridsize=2",))
    assert "few.npz" in message
    assert "too few" in message


def test_pickled_and_object_content_is_refused_and_not_executed(spoiled: Any, refused: Any, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    for changes in (
        {"_metadata": np.array({"a": Bomb()}, dtype=object)},
        {"scan_index": np.array([Bomb()] * 80, dtype=object)},
        {"diffraction": np.array([Bomb()] * 80, dtype=object)},
    ):
        message = refused(spoiled(**changes))
        assert next(iter(changes)) in message
        assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files(share: float, spoiled: Any, refused: Any) -> None:
    path = spoiled()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "scan.npz" in refused(path)


def test_sides_that_a_network_cannot_halve(folder: Path, tmp_path: Path, refused: Any) -> None:
    odd = save_raw_npz(tmp_path / "odd.npz", generated_scan(size_px=20, num_positions=40, probe_diameter_px=8.0))
    message = refused(odd, commands=("train",))
    assert "20 is not divisible by 8" in message
    assert "16 and 24" in message
    message = refused(odd, commands=("predict", "evaluate"))
    assert "patterns of 20 x 20 pixels, but the network was trained on 32 x 32" in message


def test_missing_files_and_folders(tmp_path: Path, refused: Any) -> None:
    assert "nowhere.npz" in refused(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no archive")
    assert "text.npz" in refused(tmp_path / "text.npz")


def test_supervision_without_truth_and_probes_out_of_scale(spoiled: Any, refused: Any, folder: Path) -> None:
    message = refused(spoiled(objectGuess=None), commands=("train",), options=("data.supervised=true", "loss.name=complex_mae"))
    assert "no objectGuess" in message
    probe = np.load(folder / "train.npz", allow_pickle=False)["probeGuess"]
    assert "data.probe_scale=measured" in refused(spoiled(probeGuess=probe / 300), commands=("train",))
    message = refused(folder / "train.npz", commands=("train",), options=("loss.name=bce_with_logits",))
    assert "acts on logits" in message


def test_unknown_changes_and_options_are_refused(run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert call("evaluate", run, "data.root=x", "--quiet") == 2
    assert "only the scan can be changed" in capsys.readouterr().err
    assert call("evaluate", run, "data.domain=photons", f"data.path={folder}/test.npz", "--quiet") == 2
    assert "expected amplitude or counts" in capsys.readouterr().err
    for words in (["--refine", "-1"], ["--refine", "many"], ["--batch-size", "0"], ["--probe", "mine"]):
        assert call("predict", run, folder / "test.npz", "-o", tmp_path / "out", *words) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
