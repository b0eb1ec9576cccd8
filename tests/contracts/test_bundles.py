"""Every registered classifier goes into a bundle and comes out the same."""

from pathlib import Path

import pytest
import torch

from photic.core.errors import CheckpointError
from photic.core.registry import models
from photic.core.schema import field_types
from photic.inference.bundle import same_deployment, write_bundle
from photic.inference.card import card
from photic.inference.description import describe
from photic.inference.predictor import load
from photic.losses.bce import BCEWithLogitsConfig
from photic.models import get_registry
from photic.models.base import ClassifierConfig
from photic.tasks.classification import MultilabelClassificationConfig

CLASSIFIERS = [name for name in get_registry().list_models() if issubclass(models.config_class(name), ClassifierConfig)]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_round_trips_through_a_bundle(name: str, tmp_path: Path) -> None:
    model = models.configure(name, **({"pretrained": False} if "pretrained" in field_types(models.config_class(name)) else {}))
    task_config = MultilabelClassificationConfig()
    torch.manual_seed(0)
    task = task_config.build(model, BCEWithLogitsConfig(), {"classes": ["a", "b", "c"], "thresholds": [0.2, 0.5, 0.8]}).eval()
    config = {"task": task_config.to_dict(), "model": model.to_dict(), "data": {"name": "voc", "image_size": [64, 96]}}
    facts = {"photic": "0", "created": "today", **describe(config, {}, f"contract/{name}")}
    path = write_bundle(tmp_path / "m.photic", task, {**facts, "card": card(facts | task.description())})
    torch.manual_seed(99)
    loaded = load(path, "cpu")
    assert type(loaded.task.network) is type(task.network)
    assert (loaded.classes, loaded.thresholds, loaded.image_size) == (("a", "b", "c"), (0.2, 0.5, 0.8), (64, 96))
    assert same_deployment(task, loaded.task)
    picture = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.predict_batch(picture), task.deployable()(picture))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the content has changed"):
        load(path, "cpu")
