"""Bundles: nothing that predictions depend on gets lost, and what is not a whole bundle is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import photic
from photic.core.checkpoint import Checkpoint, read_checkpoint, read_weights, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError
from photic.data.images import resize_picture, to_measurement
from photic.inference.activation import activation_maps
from photic.inference.bundle import same_deployment, write_bundle
from photic.inference.card import card
from photic.inference.description import describe
from photic.inference.predictor import LoadedModel, load
from photic.tasks.base import Task
from photic.tasks.interface import GraphInterface

CLASSES = ("scratch", "pit|<b>", "patch")
THRESHOLDS = [0.1, 0.52, 0.9]


def made_task(overrides: dict[str, Any] | None = None) -> tuple[Task, dict[str, Any]]:
    config = photic.recipe("quick_strips", {"model.width": 4, **(overrides or {})})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": CLASSES, "thresholds": THRESHOLDS}).eval()
    plain = config.to_dict()
    return task, plain


def described(task: Task, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    facts = {"photic": "0", "created": "today", **describe(config, {}, "test/1")}
    return {**facts, "card": card(facts | task.description()), **changes}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    task, config = made_task()
    return write_bundle(tmp_path / "m.photic", task, described(task, config))


def test_weights_thresholds_and_names_come_back_and_predict_the_same_bits(bundle: Path) -> None:
    task, _ = made_task()
    model = load(bundle, "cpu")
    assert isinstance(model, LoadedModel)
    assert (model.classes, model.thresholds) == (CLASSES, tuple(THRESHOLDS))
    assert model.image_size is None
    assert same_deployment(task, model.task)
    image = np.random.default_rng(0).integers(0, 256, (33, 70, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = task.deployable()(to_measurement(image)[None]).numpy()
    assert np.array_equal(model.predict(image), expected)


def test_it_holds_the_averaged_weights_of_the_graph_and_no_loss(tmp_path: Path) -> None:
    task, config = made_task({"loss.name": "focal", "loss.alpha": "dynamic"})
    path = write_bundle(tmp_path / "m.photic", task, described(task, config))
    stored = read_checkpoint(path)
    assert stored.ema is None and stored.state == {}
    assert set(stored.weights) == {f"graph.{name}" for name in (*task.graph.state_dict(), "mean", "std")}
    with pytest.raises(ConfigError, match="holds no loss; evaluate the run"):
        load(path, "cpu").task.step({"measurement": torch.zeros(1, 3, 32, 32), "target": torch.zeros(1, 3)}, "test")


def test_normalisation_is_that_of_training_whatever_the_network_says_now(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from photic.models.tiny import TinyClassifier

    image = np.full((32, 32, 3), 200, dtype=np.uint8)
    before = load(bundle, "cpu").predict(image)
    monkeypatch.setattr(TinyClassifier, "mean", (0.1, 0.2, 0.3))
    assert np.array_equal(load(bundle, "cpu").predict(image), before)


def test_pictures_are_resized_as_in_training(tmp_path: Path) -> None:
    task, config = made_task()
    config["data"]["image_size"] = [24, 48]
    model = load(write_bundle(tmp_path / "m.photic", task, described(task, config)), "cpu")
    assert model.image_size == (24, 48)
    image = np.random.default_rng(0).integers(0, 256, (50, 61, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = task.deployable()(to_measurement(resize_picture(image, (24, 48)))[None]).numpy()
        unresized = task.deployable()(to_measurement(image)[None]).numpy()
    assert np.array_equal(model.predict(image), expected)
    assert not np.allclose(expected, unresized, atol=1e-4)
    maps = model.activation_maps(image, [2, 0])
    assert maps.shape == (2, 50, 61)
    assert maps.min() >= 0 and maps.max() == pytest.approx(1)
    seen = activation_maps(task, to_measurement(resize_picture(image, (24, 48)))[None], [2, 0])[0]
    back = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (24, 48), mode="area")[0]
    for one, other in zip(seen, back, strict=True):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.99


def test_maps_of_pictures_left_as_they_are_are_those_of_the_network(bundle: Path) -> None:
    model = load(bundle, "cpu")
    image = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    assert np.array_equal(model.activation_maps(image), activation_maps(model.task, to_measurement(image)[None])[0].numpy())
    assert model.activation_maps(image, []).shape == (0, 40, 56)


def test_it_serves_as_starting_weights(bundle: Path) -> None:
    task, _ = made_task()
    weights = read_weights(bundle)
    assert weights.keys() == task.network.state_dict().keys()


def test_no_machine_path_and_no_starting_weights_go_into_it(tmp_path: Path) -> None:
    config = photic.recipe(
        "severstal",
        {
            "data.root": "/home/somebody/strips",
            "model.weights": "/secret/w.safetensors",
            "output_dir": "/somewhere/runs",
            "loss.name": "bce",
        },
    ).to_dict()
    results = {"environment": {"python": "3.12", "command": "photic train data.root=/home/somebody/strips"}}
    facts = describe(config, results, "severstal/1")
    assert "somebody" not in str(facts) and "secret" not in str(facts) and "somewhere" not in str(facts)
    assert facts["config"]["model"]["weights"] is None and facts["config"]["model"]["pretrained"] is False
    assert facts["training"]["settings"]["model"]["pretrained"] is True
    assert facts["training"]["settings"]["data"]["root"] == "strips"
    assert facts["environment"] == {"python": "3.12"}


def test_names_cannot_break_the_card(bundle: Path) -> None:
    text = load(bundle, "cpu").description["card"]
    assert "pit\\|\\<b>" in text
    assert "Not measured" in text


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path("exploded").touch, ())


@pytest.mark.parametrize("writer", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["evil.photic", "evil.pth"])
def test_a_pickle_is_refused_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if writer == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weights": Bomb()}, path)
    with pytest.raises(CheckpointError, match="refused"):
        load(path)
    assert not Path("exploded").exists()


def test_a_changed_bit_anywhere_is_refused(bundle: Path) -> None:
    content = bundle.read_bytes()
    generator = np.random.default_rng(0)
    for place in [*generator.integers(0, len(content), 60).tolist(), content.index(b"photic_sha256"), len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(generator.integers(8))
        bundle.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load(bundle, "cpu")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_bundle_is_refused(bundle: Path, share: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        load(bundle, "cpu")


def test_an_unsealed_or_newer_bundle_is_refused(tmp_path: Path) -> None:
    task, config = made_task()
    weights = {f"graph.{name}": tensor for name, tensor in task.graph.state_dict().items()}
    description = {**described(task, config), **task.description(), "bundle": 1}
    path = write_checkpoint(tmp_path / "m.photic", Checkpoint(weights, description=description))
    with pytest.raises(CheckpointError, match="its checksum is missing"):
        load(path, "cpu")
    path = write_checkpoint(tmp_path / "n.photic", Checkpoint(weights, description={**description, "bundle": 2}), sealed=True)
    with pytest.raises(CheckpointError, match=r"newer Photic \(bundle format 2, this one reads 1\); upgrade"):
        load(path, "cpu")
    path = write_checkpoint(tmp_path / "o.photic", Checkpoint(weights, description=description), sealed=True)
    with pytest.raises(CheckpointError, match=r"expected the constant mean of shape \(1, 3, 1, 1\)"):
        load(path, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preprocessing": {}}, r"missing or wrong: preprocessing\.image_size"),
        ({"preprocessing": {"image_size": [10**9, 10**9]}}, r"preprocessing\.image_size"),
        ({"preprocessing": {"image_size": "big"}}, r"preprocessing\.image_size"),
        ({"config": 3}, r"missing or wrong: config"),
        ({"training": {}}, r"training\.recipe, .*training\.best"),
        ({"bundle": "x"}, "missing or wrong: bundle"),
        ({"classes": ["a"]}, "missing or wrong: thresholds"),
        ({"thresholds": [0.1, float("nan"), 0.2]}, "missing or wrong: thresholds"),
        (
            {"config": {"task": {"name": "multilabel_classification"}, "model": {"name": "tinny"}}},
            "cannot be built here: .*did you mean 'tiny'",
        ),
        ({"config": {"task": {"name": "multilabel_classification"}, "model": {"name": "tiny", "width": 8}}}, "the weights do not fit"),
        ({"config": {"task": {"name": "multilabel_classification"}, "model": {"name": "tiny", "wdith": 8}}}, "did you mean 'width'"),
        ({"config": {"task": {"name": "os"}, "model": {"name": "tiny"}}}, "cannot be built here"),
    ],
)
def test_a_bundle_that_says_nonsense_is_refused_by_what_is_wrong(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    task, config = made_task()
    weights = {f"graph.{name}": tensor for name, tensor in (task.graph.state_dict() | dict(task.graph.named_buffers())).items()}
    description = {**described(task, config), **task.description(), "bundle": 1, **change}
    path = write_checkpoint(tmp_path / "m.photic", Checkpoint(weights, description=description), sealed=True)
    with pytest.raises(CheckpointError, match=message):
        load(path, "cpu")


def test_missing_files_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        load(tmp_path / "gone.photic")
    (tmp_path / "picture.png").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        load(tmp_path / "picture.png")


def test_it_says_what_goes_in_and_what_comes_out(bundle: Path) -> None:
    task, _ = made_task()
    assert GraphInterface.from_json(load(bundle, "cpu").description["interface"]) == task.interface()
    assert task.interface().outputs[0].shape == ("batch", len(CLASSES))


def rewritten(bundle: Path, path: Path, **changes: Any) -> Path:
    stored = read_checkpoint(bundle)
    facts = {key: value for key, value in {**stored.description, **changes}.items() if value is not None or key not in changes}
    return write_checkpoint(path, Checkpoint(weights=stored.weights, description=facts), sealed=True)


def test_bundles_of_the_first_days_do_not_say_it_and_are_read_all_the_same(bundle: Path, tmp_path: Path) -> None:
    old = rewritten(bundle, tmp_path / "old.photic", interface=None)
    assert same_deployment(load(old, "cpu").task, load(bundle, "cpu").task)


@pytest.mark.parametrize("forged", [[], {"inputs": [], "outputs": []}, {"inputs": [{"name": "../x"}], "outputs": []}], ids=str)
def test_what_goes_in_and_comes_out_cannot_be_forged(bundle: Path, tmp_path: Path, forged: Any) -> None:
    with pytest.raises(CheckpointError, match="missing or wrong: interface"):
        load(rewritten(bundle, tmp_path / "forged.photic", interface=forged), "cpu")


def test_a_bundle_that_says_other_tensors_than_its_network_has_is_refused(bundle: Path, tmp_path: Path) -> None:
    task, _ = made_task()
    said = task.interface().to_json()
    said["inputs"][0]["shape"][1] = 1
    with pytest.raises(CheckpointError, match="interface.*picture"):
        load(rewritten(bundle, tmp_path / "other.photic", interface=said), "cpu")
