"""Prediction on files: what is written, in which order, what is refused and what is reported."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import photic
import photic.workflows.predict as predict_module
from photic.apps.defects.rle import decode
from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import ConfigError, DataError, StorageError, UnknownNameError
from photic.inference.activation import activation_maps
from photic.inference.predictor import LoadedModel, load
from photic.workflows.predict import predict

SIZES = ((32, 64), (48, 64), (32, 96))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny network, with thresholds inside the range of what it says, so that decisions differ."""
    config = photic.recipe("quick_strips", {"model.width": 8})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": CLASSES}).eval()
    pictures = torch.stack([torch.from_numpy(draw_strip(0, index, 32, 64).picture).float() / 255 for index in range(20)])
    with torch.inference_mode():
        thresholds = task.graph(pictures[:, None].expand(-1, 3, -1, -1)).quantile(0.8, dim=0).tolist()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    description = {"config": config.to_dict(), "classes": list(CLASSES), "thresholds": thresholds}
    return write_checkpoint(path, Checkpoint(weights=task.state_dict(), description=description))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LoadedModel:
    return load(checkpoint, "cpu")


@pytest.fixture
def strips(tmp_path: Path) -> Path:
    """Twelve pictures of three sizes, taking turns."""
    folder = tmp_path / "strips"
    folder.mkdir()
    for index in range(12):
        height, width = SIZES[index % 3]
        Image.fromarray(draw_strip(1, index, height, width).picture).save(folder / f"{index:02d}.png")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_csv_has_probabilities_and_decisions_at_the_stored_thresholds_in_the_order_of_the_input(
    checkpoint: Path, model: LoadedModel, strips: Path, tmp_path: Path
) -> None:
    result = predict(checkpoint, strips, tmp_path / "out.csv", device="cpu", quiet=True)
    rows = rows_of(result.output)
    files = sorted(strips.iterdir())
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert list(rows[0]) == ["file", *(f"probability:{name}" for name in CLASSES), *(f"decision:{name}" for name in CLASSES)]
    expected = model.predict(files)
    found = np.array([[float(row[f"probability:{name}"]) for name in CLASSES] for row in rows])
    assert np.abs(found - expected).max() < 2e-6
    decisions = np.array([[int(row[f"decision:{name}"]) for name in CLASSES] for row in rows])
    assert (decisions == (expected >= np.array(model.thresholds))).all()
    assert 0 < decisions.sum() < decisions.size
    assert (result.num_files, result.skipped, result.maps) == (12, [], None)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 1), (64, 4)])
def test_batches_and_threads_change_nothing(model: LoadedModel, strips: Path, tmp_path: Path, batch_size: int, workers: int) -> None:
    reference = predict(model, strips, tmp_path / "a.jsonl", format="jsonl", quiet=True).output.read_text().splitlines()
    other = predict(model, strips, tmp_path / "b.jsonl", format="jsonl", batch_size=batch_size, workers=workers, quiet=True)
    for left, right in zip(map(json.loads, reference), map(json.loads, other.output.read_text().splitlines()), strict=True):
        assert left["file"] == right["file"] and left["decisions"] == right["decisions"]
        assert list(left["probabilities"].values()) == pytest.approx(list(right["probabilities"].values()), abs=3e-6)


def test_jsonl_says_everything_about_a_picture(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    result = predict(model, strips / "01.png", tmp_path / "out.jsonl", format="jsonl", quiet=True)
    (line,) = map(json.loads, result.output.read_text().splitlines())
    assert (line["file"], line["height"], line["width"]) == (str(strips / "01.png"), 48, 64)
    assert line["thresholds"] == dict(zip(CLASSES, model.thresholds, strict=True))
    assert line["decisions"] == {name: line["probabilities"][name] >= line["thresholds"][name] for name in CLASSES}


def test_kaggle_has_a_row_per_picture_and_class_with_the_map_above_half(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    rows = rows_of(predict(model, strips, tmp_path / "out.csv", format="kaggle", quiet=True).output)
    files = sorted(strips.iterdir())
    assert [row["ImageId_ClassId"] for row in rows] == [f"{file.name}_{number}" for file in files for number in (1, 2, 3, 4)]
    decisions = (model.predict(files) >= np.array(model.thresholds)).ravel()
    for row, decided, file in zip(rows, decisions, np.repeat(files, 4), strict=True):
        if not decided:
            assert row["EncodedPixels"] == ""
            continue
        image = np.asarray(Image.open(file).convert("RGB"))
        measurement = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        number = int(row["ImageId_ClassId"].rsplit("_", 1)[1])
        expected = activation_maps(model.task, measurement, [number - 1])[0, 0].numpy() >= 0.5
        found = decode(row["EncodedPixels"], *image.shape[:2])
        assert (found != expected).mean() < 0.01


def test_kaggle_refuses_two_pictures_of_one_name(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "03.png").write_bytes((strips / "03.png").read_bytes())
    with pytest.raises(DataError, match=r"'03.png' comes 2 times .*predict the folders one by one"):
        predict(model, [strips, other], tmp_path / "out.csv", format="kaggle", quiet=True)
    assert not (tmp_path / "out.csv").exists()


def test_maps_are_drawn_for_the_pictures_with_a_class_decided_present(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    result = predict(model, strips, tmp_path / "out.csv", maps=tmp_path / "maps", quiet=True)
    flagged = [row for row in rows_of(result.output) if any(row[f"decision:{name}"] == "1" for name in CLASSES)]
    drawn = sorted((tmp_path / "maps").iterdir())
    assert [picture.stem for picture in drawn] == [Path(row["file"]).stem for row in flagged]
    assert result.num_maps == len(drawn) < 12
    number = sum(flagged[0][f"decision:{name}"] == "1" for name in CLASSES)
    with Image.open(drawn[0]) as sheet, Image.open(flagged[0]["file"]) as picture:
        assert sheet.width >= 800
        scale = sheet.width // picture.width
        assert sheet.height == (number + 1) * (picture.height * scale + 26)


def test_maps_of_equal_names_do_not_overwrite_each_other(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in strips.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    result = predict(model, [strips, other], tmp_path / "out.csv", maps=tmp_path / "maps", quiet=True)
    assert len(list((tmp_path / "maps").iterdir())) == result.num_maps
    assert result.num_maps % 2 == 0


def test_unreadable_and_unsuitable_pictures_are_skipped_and_reported(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    whole = (strips / "04.png").read_bytes()
    (strips / "04.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (8, 8)).save(strips / "06b.png")
    result = predict(model, strips, tmp_path / "out.csv", quiet=True)
    assert [file.name for file, _ in sorted(result.skipped)] == ["04.png", "06b.png"]
    reasons = {file.name: reason for file, reason in result.skipped}
    assert "damaged or truncated" in reasons["04.png"]
    assert "too small" in reasons["06b.png"]
    assert result.num_files == 11
    assert [Path(row["file"]).stem for row in rows_of(result.output)] == [f"{i:02d}" for i in range(12) if i != 4]
    assert "2 SKIPPED" in result.summary()


def test_files_folders_globs_and_standard_input_each_file_once(
    model: LoadedModel, strips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{strips}/07.png\n\n{strips}/gone.png\n"))
    result = predict(model, [strips / "05.png", str(strips / "0[0-1].png"), "-", strips / "05.png"], tmp_path / "out.csv", quiet=True)
    assert [Path(row["file"]).name for row in rows_of(result.output)] == ["05.png", "00.png", "01.png", "07.png"]
    ((file, reason),) = result.skipped
    assert file.name == "gone.png" and "no such file" in reason


def test_nothing_is_overwritten_unless_forced(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    output, maps = tmp_path / "out.csv", tmp_path / "maps"
    predict(model, strips, output, maps=maps, quiet=True)
    before = output.read_bytes()
    with pytest.raises(ConfigError, match=r"out.csv: is there already; .*--force"):
        predict(model, strips, output, quiet=True)
    drawn = next(maps.iterdir())
    with pytest.raises(ConfigError, match=r"\.png: is there already"):
        predict(model, strips, tmp_path / "other.csv", maps=maps, quiet=True)
    assert not (tmp_path / "other.csv").exists()
    drawn.write_bytes(b"")
    predict(model, strips, output, maps=maps, force=True, quiet=True)
    assert output.read_bytes() == before and drawn.stat().st_size > 0


def test_a_failure_on_the_way_leaves_no_half_output(
    model: LoadedModel, strips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*_: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("device lost")
        return torch.zeros(4, 4)

    monkeypatch.setattr(model, "predict_batch", fail)
    (tmp_path / "out.csv").write_text("earlier")
    with pytest.raises(RuntimeError, match="device lost"):
        predict(model, strips, tmp_path / "out.csv", force=True, quiet=True)
    assert (tmp_path / "out.csv").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.partial", "strips"]
    with pytest.raises(ConfigError, match=r"interrupted; go on with it \(--force --skip-existing\)"):
        predict(model, strips, tmp_path / "out.csv", skip_existing=True, quiet=True)


def test_bad_requests_are_refused_before_anything_is_computed(model: LoadedModel, strips: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown output format 'jsnl'; did you mean 'jsonl'.*kaggle"):
        predict(model, strips, tmp_path / "out", format="jsnl", quiet=True)
    with pytest.raises(DataError, match="no such file or folder"):
        predict(model, tmp_path / "gone", tmp_path / "out.csv", quiet=True)
    with pytest.raises(ConfigError, match="is a folder; give the name of a file"):
        predict(model, strips, tmp_path, quiet=True)
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        predict(model, strips, tmp_path / "out.csv", batch_size=0, quiet=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        predict(model, strips, tmp_path / "file" / "out.csv", quiet=True)


def test_an_empty_list_on_standard_input_is_an_error(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(DataError, match="list on standard input is empty"):
        predict(model, "-", tmp_path / "out.csv", quiet=True)


def test_a_picture_of_a_rare_size_does_not_wait_for_the_end(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        Image.new("L", (48, 48) if number == 0 else (32, 32)).save(tmp_path / f"{number:02d}.png")
    reads: list[Path] = []
    batches: list[tuple[int, int]] = []
    read, infer = predict_module.read_image, model.predict_batch
    monkeypatch.setattr(predict_module, "read_image", lambda path: (reads.append(path), read(path))[1])
    monkeypatch.setattr(model, "predict_batch", lambda images: (batches.append((images.shape[-1], len(reads))), infer(images))[1])
    predict(model, tmp_path, tmp_path / "out.csv", batch_size=2, workers=0, quiet=True)
    ((_, read_before),) = [batch for batch in batches if batch[0] == 48]
    assert read_before <= 17
    assert len(reads) == 60


def test_prediction_imports_no_lightning(checkpoint: Path, strips: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from photic.workflows.predict import predict\n"
        f"predict({str(checkpoint)!r}, {str(strips)!r}, {str(tmp_path / 'out.csv')!r}, maps={str(tmp_path / 'maps')!r}, quiet=True)\n"
        "heavy = [name for name in sys.modules if name.split('.')[0] in ('lightning', 'pytorch_lightning', 'hydra')]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
