"""What every recipe keeps to: it is valid, and Python and the command line make the same of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from photic.cli.main import main
from photic.core.errors import PhoticError
from photic.core.registry import registry_of
from photic.workflows.config import TrainConfig
from photic.workflows.recipes import component_kinds, list_recipes, recipe, recipe_entries

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, faster
SWAPS = [{section: name} for section, kind in component_kinds().items() for name in registry_of(kind).names()]
CHANGES: list[dict[str, Any]] = [
    {},
    {"seed": 7, "label": "a b", "experiment": "x-1"},
    {"training.num_epochs": 2, "training.early_stopping_patience": None, "training.ema_decay": 0.99},
    {"optimizer.lr": 1e-5, "schedule.name": "warmup_cosine", "schedule.warmup_epochs": 0.5},
    {"loss.type": "focal_loss", "loss.gamma": 3, "experiment.seed": 3},
    {"loss.name": "sum", "loss.terms": {"a": {"name": "focal", "gamma": 1.5}, "b": {"name": "bce_with_logits", "weight": 0.5}}},
    {"data.batch_size": 3, "data.augment.horizontal_flip": False, "data.augment.gaussian_noise": True},
    {"data.augment": {}, "trainer.accelerator": "cpu", "trainer.num_threads": 1},
    {"task.metrics": ["average_precision"]},
    {"loss.gama": 2},
    {"model.name": "nothing"},
    {"training.num_epochs": "many"},
    {"data.batch_size": 0},
]

RECIPES = list_recipes()
every_recipe = pytest.mark.parametrize("name", RECIPES)
# Every recipe with every change, and with every component in turn: a quarter of those pairs by default, so that each component meets
# some recipes and each recipe some components of every kind; the rest are slow for their number.
PAIRS = [
    pytest.param(name, changes, id=f"{name}-{changes}", marks=[] if quick else [pytest.mark.slow])
    for row, name in enumerate(RECIPES)
    for changes, quick in [*((changes, True) for changes in CHANGES), *((swap, (row + i) % 4 == 0) for i, swap in enumerate(SWAPS))]
]


def word(value: Any) -> str:
    """Write a value as on a command line."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(word, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if isinstance(value, str) and " " in value else str(value)


@every_recipe
def test_a_recipe_is_valid_as_it_stands_and_says_what_it_is(name: str) -> None:
    (entry,) = recipe_entries(name)
    config = recipe(name)
    assert len(entry.summary) > 20
    assert config.recipe == name
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert recipe(entry.file).to_dict() == {**config.to_dict(), "recipe": str(entry.file)}


@pytest.mark.parametrize(("name", "changes"), PAIRS)
def test_python_and_the_command_line_make_the_same_of_it(name: str, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The same configuration, or the same message."""
    status = main(["train", f"recipe={name}", *(f"{key}={word(value)}" for key, value in changes.items()), "--cfg", "job"])
    captured = capsys.readouterr()
    try:
        expected = recipe(name, changes)
    except PhoticError as error:
        assert status == 2
        assert captured.err == f"photic: error: {error}\n"
    else:
        assert status == 0
        printed = yaml.load(captured.out, LOADER)
        assert printed == expected.to_dict()
        assert TrainConfig.from_dict(printed) == expected


@every_recipe
def test_its_own_components_named_again_change_nothing(name: str) -> None:
    config = recipe(name)
    again = {section: getattr(config, section).registry_name for section in component_kinds()}
    assert recipe(name, again) == config


@every_recipe
def test_a_sweep_is_the_same_as_each_of_its_jobs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    losses = ("bce_with_logits", "focal", "asymmetric")
    assert main(["train", "-m", f"recipe={name}", f"loss={','.join(losses)}", "seed=0,1", "--cfg", "job"]) == 0
    found = list(yaml.load_all(capsys.readouterr().out, LOADER))
    assert found == [recipe(name, {"loss": loss, "seed": seed}).to_dict() for loss in losses for seed in (0, 1)]
