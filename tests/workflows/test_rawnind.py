"""Raw denoising from end to end: train, resume, bundle, predict, evaluate, the catalogue of commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photic.apps.rawnind.denoising import denoise, load_denoiser, network_of
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.cli.main import main as photic
from photic.core.checkpoint import read_checkpoint
from photic.functional.cfa import BAYER
from photic.functional.raw_colour import XYZ_TO_SRGB
from photic.workflows.recipes import recipe
from photic.workflows.train import resume, train

BALANCE = np.array([2.0, 1.0, 1.5])
SMALL = {
    "data.num_samples": 10,
    "data.size_px": 64,
    "data.crop_px": 48,
    "data.eval_crop_px": 64,
    "data.crops_per_picture": 2,
    "data.val_fraction": 0.2,
    "data.test_fraction": 0.2,
    "training.num_epochs": 3,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run of three short epochs on drawn scenes, and what it was made from."""
    config = recipe("quick_raw", {**SMALL, "output_dir": str(tmp_path_factory.mktemp("runs"))})
    return train(config, quiet=True).run, config


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Return a raw file whose mosaic begins with green and blue, with an odd width."""
    scene = (draw_scene(3, 1, 90, 111) / BALANCE).astype(np.float32)
    rows, columns = np.mgrid[:90, :111]
    seen = np.take_along_axis(scene, np.array(BAYER["GBRG"])[rows % 2, columns % 2][..., None], axis=2)[..., 0]
    noisy = seen + np.sqrt(2e-3 * seen + 1e-5) * np.random.default_rng(0).normal(size=seen.shape)
    path = tmp_path_factory.mktemp("photo") / "photo.dng"
    picture = RawPicture(noisy.astype(np.float32), BAYER["GBRG"], xyz_to_camera=XYZ_TO_SRGB / BALANCE[:, None], white_balance=BALANCE)
    write_mosaic_dng(path, picture)
    return path


def test_training_learns_something_and_keeps_values_of_each_iso_value(trained):
    run, _ = trained
    results = json.loads((run / "results.json").read_text())
    assert results["status"] == "completed"
    losses = [entry["train"]["loss"] for entry in results["history"]]
    assert losses[-1] < losses[0]
    assert set(results["test"]["iso"]) == {"400", "12800"}
    assert (run / "report.html").is_file()
    assert "ISO 12800" in (run / "report.html").read_text()


def test_an_interrupted_training_goes_on_to_the_same_weights(trained, tmp_path):
    run, config = trained
    short = train(config.replace(output_dir=str(tmp_path), training=config.training.replace(max_steps=2)), quiet=True).run
    resume(short, {"training.max_steps": None}, quiet=True)
    whole, again = (read_checkpoint(folder / "checkpoints" / "last.safetensors").weights for folder in (run, short))
    assert whole.keys() == again.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values.numpy(), again[name].numpy(), err_msg=name)


def test_a_bundle_denoises_a_raw_file_as_its_run_does(trained, photo, tmp_path, capsys):
    run, _ = trained
    bundle = tmp_path / "model.photic"
    assert photic(["bundle", str(run), "-o", str(bundle)]) == 0
    for name, model in (("run", run), ("bundle", bundle)):
        words = [
            "predict",
            str(model),
            str(photo),
            "-o",
            str(tmp_path / f"{name}.dng"),
            "--noise",
            "2e-3,1e-5",
            "--quiet",
            "--device",
            "cpu",
        ]
        assert photic(words) == 0
    values = [read_raw(tmp_path / f"{name}.dng").values for name in ("run", "bundle")]
    np.testing.assert_array_equal(*values)
    picture = read_raw(photo)
    expected = denoise(network_of(load_denoiser(bundle, "cpu")), picture, (2e-3, 1e-5))
    np.testing.assert_allclose(values[0], expected.clip(-0.001, 1), atol=2e-4)
    assert "raw files" in bundle.read_bytes()[:20000].decode("utf-8", "replace")


def test_the_run_is_evaluated_against_classical_methods(trained, capsys):
    run, _ = trained
    assert photic(["evaluate", str(run), "--split", "test", "--quiet", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    for word in ("standard tiny", "Menon", "NLM", "ISO 12800"):
        assert word in text
    assert (run / "evaluations" / "test" / "sheet_iso_12800.png").is_file()
    assert "Test pictures" in (run / "report.html").read_text()
