"""A classifier as a file model: the values of a picture, in batches and alone, and what is refused."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import photic
from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import ConfigError, DataError
from photic.inference.classification_file import ClassificationFiles, ClassificationOptions
from photic.inference.file_model import FileOptions, open_file_model
from photic.inference.predictor import load


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = photic.recipe("quick_strips", {"model.width": 8})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": CLASSES}).eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    description = {"config": config.to_dict(), "classes": list(CLASSES), "thresholds": [0.0, 1.0, 0.0, 1.0]}
    return write_checkpoint(path, Checkpoint(weights=task.state_dict(), description=description))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> ClassificationFiles:
    made = open_file_model(checkpoint, "cpu")
    assert isinstance(made, ClassificationFiles)
    return made


@pytest.fixture
def strips(tmp_path: Path) -> list[Path]:
    paths = []
    for index in range(5):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(draw_strip(1, index, 32, 64).picture).save(paths[-1])
    return paths


def test_values_are_those_of_the_predictor(model: ClassificationFiles, checkpoint: Path, strips: list[Path]) -> None:
    answer = model.apply(strips[0], None, ClassificationOptions())
    expected = load(checkpoint, "cpu").predict(strips[0])[0]
    assert answer.files == ()
    assert (answer.values["height"], answer.values["width"]) == (32, 64)
    assert np.allclose(list(answer.values["probabilities"].values()), expected, atol=1e-6)
    assert list(answer.values["probabilities"]) == list(CLASSES)
    assert list(answer.values["thresholds"].values()) == [0.0, 1.0, 0.0, 1.0]
    assert list(answer.values["decisions"].values()) == [True, False, True, False]
    assert "maps" not in answer.values


def test_a_batch_gives_what_each_picture_gives_alone(model: ClassificationFiles, strips: list[Path]) -> None:
    options = ClassificationOptions()
    items = [model.read(path, options) for path in strips]
    assert len({model.kind(item) for item in items}) == 1
    together = model.answers(items, options)
    for item, answer in zip(items, together, strict=True):
        alone = model.answers([item], options)[0]
        assert answer.values["decisions"] == alone.values["decisions"]
        difference = np.subtract(list(answer.values["probabilities"].values()), list(alone.values["probabilities"].values()))
        assert np.abs(difference).max() < 2e-6


def test_pictures_of_other_sizes_are_of_another_kind(model: ClassificationFiles, strips: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.fromarray(draw_strip(1, 9, 48, 64).picture).save(other)
    options = ClassificationOptions()
    assert model.kind(model.read(other, options)) != model.kind(model.read(strips[0], options))


def test_maps_are_a_picture_of_the_classes_decided_present(model: ClassificationFiles, strips: list[Path]) -> None:
    text = model.apply(strips[0], None, ClassificationOptions(maps=True)).values["maps"]
    head, _, content = text.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as drawn:
        assert drawn.height > 3 * 32  # the picture, and one panel for each of two classes


def test_files_that_are_none_of_its_inputs_are_refused(model: ClassificationFiles, tmp_path: Path) -> None:
    text, five = tmp_path / "text.png", tmp_path / "five.tif"
    text.write_text("no picture")
    import tifffile

    tifffile.imwrite(five, np.zeros((5, 8, 8), np.float32), photometric="minisblack", planarconfig="separate")
    for path in (text, five, tmp_path / "absent.png"):
        with pytest.raises(DataError, match=path.name):
            model.read(path, ClassificationOptions())


def test_large_pictures_are_refused_by_their_header(model: ClassificationFiles, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (3000, 2000)).save(path)
    limited = ClassificationFiles(model.model)
    limited.max_pixels = 1_000_000
    with pytest.raises(DataError, match="3000 x 2000 pixels are 6 megapixels, more than the limit of 1"):
        limited.read(path, ClassificationOptions())


def test_options_of_another_model_are_refused(model: ClassificationFiles, strips: list[Path]) -> None:
    with pytest.raises(ConfigError, match="ClassificationOptions"):
        model.apply(strips[0], None, FileOptions())
