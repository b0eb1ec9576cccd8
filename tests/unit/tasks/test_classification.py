"""Multi-label classification: what a task takes from the data, and features that are computed once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import photic
from photic.core.errors import ConfigError
from photic.data.base import PreparedData

SMALL = {"data.num_samples": 120, "data.height": 32, "data.width": 64}
PROBE = {"model.name": "feature_probe", "model.backbone": "test_efficientnet", "model.pretrained": False, "data.augment": {}}


def built(overrides: dict[str, Any]) -> tuple[Any, PreparedData]:
    config = photic.recipe("quick_strips", {**SMALL, **overrides})
    data = config.data.prepare(config.seed)
    return config.task.build(config.model, config.loss, data), data


def batch_of(data: PreparedData, phase: str, positions: list[int]) -> dict[str, torch.Tensor]:
    samples = [data.splits[phase].sample(position, 0) for position in positions]
    return {
        "measurement": torch.stack([sample["measurement"] for sample in samples]),
        "target": torch.stack([sample["target"] for sample in samples]),
        "index": torch.tensor([sample["index"] for sample in samples]),
    }


def test_dynamic_alpha_comes_from_the_whole_training_split() -> None:
    task, data = built({"loss.name": "focal", "loss.alpha": "dynamic"})
    labels = data.labels["train"]
    expected = 1 - torch.tensor(labels.sum(axis=0) / len(labels))
    torch.testing.assert_close(task.criterion.alpha_per_class.double(), expected.double(), atol=1e-6, rtol=0)


def test_cached_features_give_the_graphs_logits_and_train_only_the_head() -> None:
    task, data = built({**PROBE, "task.cache_features": True})
    for phase in ("train", "val", "test"):
        batch = batch_of(data, phase, [0, 1, 2])
        for _ in range(2):  # the second time from memory
            torch.testing.assert_close(task.step(batch, phase).prediction, task.deployable()(batch["measurement"]), atol=1e-5, rtol=1e-4)
    task.step(batch_of(data, "train", [0, 3]), "train").loss.backward()
    moved = [name for name, parameter in task.named_parameters() if parameter.grad is not None]
    assert moved == ["graph.network.head.weight", "graph.network.head.bias"]
    assert sum(len(group["params"]) for group in task.parameter_groups(1e-3, 0.0)) == 2


def test_features_are_not_cached_where_that_would_be_wrong() -> None:
    augmented = {"data.augment": {"horizontal_flip": {"probability": 0.5}}}
    with pytest.raises(ConfigError, match=r"cache_features: .*data\.augment changes the pictures"):
        built({**PROBE, **augmented, "task.cache_features": True})
    with pytest.raises(ConfigError, match="'tiny' learns its features"):
        built({"data.augment": {}, "task.cache_features": True})


def test_outputs_that_contradict_the_data_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.model\.num_classes: 7 does not fit the data, which have 4 classes"):
        built({"model.num_classes": 7})


def test_a_loss_that_takes_no_logits_and_a_network_that_is_no_classifier_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"config\.loss\.name: 'poisson_nll' acts on diffraction, not on logits"):
        built({"loss.name": "poisson_nll"})
    with pytest.raises(ConfigError, match=r"config\.model\.name: 'cnn' is no classifier"):
        built({"model.name": "cnn"})
