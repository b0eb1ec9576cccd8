"""From a run to a bundle and to predictions: the same bits, wherever the bundle goes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import photic
from photic.apps.defects.generate import generate
from photic.cli.main import main
from photic.core.checkpoint import read_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.inference.bundle import round_to_half
from photic.inference.predictor import load
from photic.tracking.run import Run
from photic.workflows.info import info

SIZE = (32, 80)


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 48 x 128 pixels, to be resized."""
    folder = tmp_path_factory.mktemp("data") / "strips"
    generate(folder, 80, 8, height=48, width=128)
    return folder


@pytest.fixture(scope="module")
def resized_run(small_config: Callable[..., Any], strips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files, trained on resized pictures, with averaged weights."""
    config = photic.recipe(
        "demo_strips",
        {
            "data.root": str(strips),
            "data.image_size": list(SIZE),
            "model.width": 8,
            "training.num_epochs": 2,
            "training.ema_decay": 0.8,
            "trainer.num_threads": 1,
            "output_dir": str(tmp_path_factory.mktemp("runs")),
        },
    )
    return photic.train(config, quiet=True, page=False).run


@pytest.fixture(scope="module")
def bundle(resized_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photic.bundle(resized_run, tmp_path_factory.mktemp("bundle") / "model.photic", terms="generated; free to use").bundle


def table(path: Path) -> tuple[list[str], np.ndarray]:
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    columns = [column for column in rows[0] if column.startswith("probability:")]
    return [row["file"] for row in rows], np.array([[float(row[column]) for column in columns] for row in rows])


def test_predictions_on_the_test_files_are_those_of_the_run_although_pictures_are_resized(
    resized_run: Path, bundle: Path, strips: Path
) -> None:
    names, expected = table(resized_run / "predictions" / "test.csv")
    files = [next(strips.rglob(Path(name).name)) for name in names]
    for source in (resized_run, bundle):
        model = photic.load(source, "cpu")
        assert model.image_size == SIZE
        assert np.abs(model.predict(files) - expected).max() < 2e-6
    wrong = photic.load(bundle, "cpu")
    wrong.image_size = None
    assert np.abs(wrong.predict(files) - expected).max() > 1e-3


def test_the_bundle_moved_away_and_its_run_deleted_predicts_the_same_bits(
    resized_run: Path, strips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "experiment" / resized_run.name
    shutil.copytree(resized_run, copy)
    made = photic.bundle(copy, copy / "model.photic")
    files = sorted((strips / "test_images").iterdir())
    expected = photic.load(copy, "cpu").predict(files)
    photic.predict(
        copy, strips / "test_images", tmp_path / "run.jsonl", format="jsonl", maps=tmp_path / "run_maps", device="cpu", quiet=True
    )
    elsewhere = tmp_path / "elsewhere" / "renamed.photic"
    elsewhere.parent.mkdir()
    made.bundle.rename(elsewhere)
    shutil.rmtree(copy)
    monkeypatch.chdir(elsewhere.parent)
    assert np.array_equal(photic.load("renamed.photic", "cpu").predict(files), expected)
    photic.predict(
        "renamed.photic",
        strips / "test_images",
        tmp_path / "bundle.jsonl",
        format="jsonl",
        maps=tmp_path / "maps",
        device="cpu",
        quiet=True,
    )
    assert (tmp_path / "bundle.jsonl").read_bytes() == (tmp_path / "run.jsonl").read_bytes()
    first = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[0])
    assert (first["height"], first["width"]) == (48, 128)  # of the picture, not of what the network saw
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "maps").iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (tmp_path / "run_maps").iterdir()}


def test_files_of_many_sizes_share_batches_when_they_are_resized(bundle: Path, tmp_path: Path) -> None:
    model = photic.load(bundle, "cpu")
    folder = tmp_path / "mixed"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate([(48, 128), (20, 300), (100, 90), SIZE, (31, 79), (64, 160)]):
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    calls: list[tuple[int, ...]] = []
    inner = model.predict_batch

    def watched(measurement: Any) -> Any:
        calls.append(tuple(measurement.shape))
        return inner(measurement)

    model.predict_batch = watched  # type: ignore[method-assign]
    photic.predict(model, folder, tmp_path / "out.csv", batch_size=4, quiet=True)
    assert calls == [(4, 3, *SIZE), (2, 3, *SIZE)]
    model.predict_batch = inner  # type: ignore[method-assign]
    assert np.abs(table(tmp_path / "out.csv")[1] - model.predict(sorted(folder.iterdir()))).max() < 3e-6


def test_kaggle_masks_are_of_the_pictures_own_size(bundle: Path, strips: Path, tmp_path: Path) -> None:
    model = photic.load(bundle, "cpu")
    model.description["thresholds"] = [0.0] * len(model.classes)
    photic.predict(model, strips / "test_images", tmp_path / "out.csv", format="kaggle", quiet=True)
    with open(tmp_path / "out.csv", newline="") as handle:
        ends = [sum(map(int, row["EncodedPixels"].split()[-2:])) - 1 for row in csv.DictReader(handle) if row["EncodedPixels"]]
    assert SIZE[0] * SIZE[1] < max(ends) <= 48 * 128


def test_it_says_what_it_is(bundle: Path, resized_run: Path) -> None:
    results = Run(resized_run).results
    facts = info(bundle).facts
    assert facts["classes"] == results["classes"] and facts["thresholds"] == results["thresholds"]
    assert facts["metrics"]["test"] == results["test"]
    assert facts["metrics"]["val"] == results["best"]["val"]
    assert facts["data"]["fingerprint"] == results["data"]["fingerprint"]
    assert facts["data"]["counts"] == results["data"]["counts"]
    assert facts["environment"]["packages"] == results["environment"]["packages"]
    assert facts["preprocessing"] == {"image_size": list(SIZE)}
    text = facts["card"]
    for word in ("resized to 32 x 80 pixels", "generated; free to use", f"{results['thresholds'][0]:.4f}", "decay 0.8", "## Limits"):
        assert word in text
    assert str(resized_run.parent.parent) not in json.dumps(facts)


def test_the_averaged_weights_are_the_ones_deployed(resized_run: Path, bundle: Path) -> None:
    saved = read_checkpoint(resized_run / "checkpoints" / "best.safetensors", with_state=False)
    assert saved.ema is not None
    stored = read_checkpoint(bundle).weights
    assert all(bool((stored[name] == tensor).all()) for name, tensor in saved.ema.items() if name.startswith("graph."))
    assert any(bool((stored[name] != saved.weights[name]).any()) for name in saved.weights if name.startswith("graph."))


def test_only_a_finished_run_is_bundled_and_nothing_is_overwritten(resized_run: Path, bundle: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(ConfigError, match=r"model\.photic: is there already; .*--force"):
        photic.bundle(resized_run, bundle)
    assert bundle.read_bytes() == before
    with pytest.raises(ConfigError, match=r"ends in \.photic, for example model\.photic"):
        photic.bundle(resized_run, tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="is a file; give the folder of a run"):
        photic.bundle(resized_run / "checkpoints" / "last.safetensors", tmp_path / "m.photic")
    with pytest.raises(DataError, match="not a run folder"):
        photic.bundle(tmp_path, tmp_path / "m.photic")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        photic.bundle(resized_run, tmp_path / "file" / "m.photic")
    copy = tmp_path / "experiment" / "interrupted"
    shutil.copytree(resized_run, copy)
    Run(copy).save_results(status="interrupted")
    with pytest.raises(ConfigError, match=r"not finished \(status interrupted\).*photic train --resume"):
        photic.bundle(copy, tmp_path / "m.photic")
    assert not list(tmp_path.glob("*m.photic*"))


def test_a_bundle_that_does_not_read_back_is_never_written(resized_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photic.workflows.bundle.same_deployment", lambda *_: False)
    with pytest.raises(CheckpointError, match="not written: what was read back"):
        photic.bundle(resized_run, tmp_path / "m.photic")
    assert list(tmp_path.iterdir()) == []


def test_bundling_again_with_force_replaces(finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.photic"
    path.write_text("earlier")
    result = photic.bundle(finished_run, path, force=True)
    assert info(path).file is not None and info(path).file["sha256"] == result.sha256
    assert photic.load(path).image_size is None


def test_name_and_notes_go_into_the_card(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("Fails on wet strips.\n", encoding="utf-8")
    words = ["bundle", str(finished_run), "-o", str(tmp_path / "m.photic"), "--name", "strips-1", "--notes", str(tmp_path / "notes.md")]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["info", str(tmp_path / "m.photic"), "--card"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# strips-1") and "## Notes\n\nFails on wet strips." in out
    (tmp_path / "notes.md").write_bytes(b"\xff\xfe\x00")
    for notes in ("notes.md", "nothing.md"):
        words = ["bundle", str(finished_run), "-o", str(tmp_path / "n.photic"), "--notes", str(tmp_path / notes)]
        assert main(words) == 2
        assert f"{notes}: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "n.photic").exists()


def test_the_commands_from_end_to_end(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["bundle", str(finished_run), "-o", "m.photic"]) == 0
    out = capsys.readouterr().out
    assert "m.photic" in out and "terms of the training data are not stated" in out
    assert main(["bundle", str(finished_run), "-o", "m.photic"]) == 2
    assert "is there already" in capsys.readouterr().err
    for path, kind in (("m.photic", "bundle"), (finished_run, "run"), (finished_run / "checkpoints" / "best.safetensors", "checkpoint")):
        assert main(["info", str(path)]) == 0
        out = capsys.readouterr().out
        assert out.startswith(kind) and "scratches" in out and "tiny" in out
        assert max(map(len, out.splitlines())) <= 80
        assert main(["info", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["kind"] == kind and len(found["thresholds"]) == 4
        status = main(["info", str(path), "--card"])
        captured = capsys.readouterr()
        assert (status, captured.out[:2]) == (0, "# ") if kind == "bundle" else (status, captured.out) == (2, "")
    content = bytearray(Path("m.photic").read_bytes())
    content[-5] ^= 1
    Path("m.photic").write_bytes(content)
    for words in (["info", "m.photic"], ["predict", "m.photic", "x.png", "-o", "o.csv"]):
        Path("x.png").touch()
        assert main(words) == 2
        assert "content has changed" in capsys.readouterr().err
    assert main(["info", "nothing.photic"]) == 2
    assert main(["info", "nothing"]) == 2


def test_predicting_with_a_bundle_imports_no_lightning_and_info_no_torch(bundle: Path, strips: Path, tmp_path: Path) -> None:
    def imported(words: list[str]) -> set[str]:
        code = (
            "import sys; from photic.cli.main import main\n"
            f"status = main({words!r})\n"
            "print(); print(status, *sorted({name.partition('.')[0] for name in sys.modules}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        status, *names = done.stdout.splitlines()[-1].split()
        assert status == "0", done.stderr
        return set(names)

    output = tmp_path / "out.csv"
    names = imported(["predict", str(bundle), str(strips / "test_images"), "-o", str(output), "--maps", str(tmp_path / "maps"), "--quiet"])
    assert not names & {"lightning", "pytorch_lightning", "hydra", "omegaconf"}
    assert len(output.read_text().splitlines()) == 9
    assert not imported(["info", str(bundle)]) & {"torch", "numpy", "lightning"}


def test_half_rounds_learnt_weights_alone_halves_the_file_and_says_so(resized_run: Path, bundle: Path, tmp_path: Path) -> None:
    made = photic.bundle(resized_run, tmp_path / "half.photic", half=True)
    whole, half = read_checkpoint(bundle).weights, read_checkpoint(made.bundle).weights
    dtypes = {name: tensor.dtype for name, tensor in half.items()}
    learnt = [name for name, dtype in dtypes.items() if dtype == torch.float16]
    assert learnt
    assert all(dtypes[name] == whole[name].dtype for name in dtypes if name not in learnt), "statistics and constants stay"
    for name in learnt:
        torch.testing.assert_close(half[name].float(), whole[name], rtol=2**-11, atol=1e-7)
    assert "half precision" in made.card
    assert made.size_bytes < bundle.stat().st_size


def test_half_refuses_weights_that_are_too_large(finished_run: Path, tmp_path: Path) -> None:
    task = load(finished_run, "cpu").task
    with torch.no_grad():
        next(task.graph.parameters()).fill_(1e5)
    with pytest.raises(ConfigError, match="65504"):
        round_to_half(task)
