"""Bundles that are changed at random, sealed again or not: each is refused with an error of ours or is as good as before."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import photic
from photic.cli.main import main
from photic.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from photic.core.errors import PhoticError
from photic.inference.bundle import same_deployment, told, write_bundle
from photic.inference.card import card
from photic.inference.description import describe
from photic.inference.predictor import load
from photic.workflows.info import info

HEALTH = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8))
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=6
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = photic.recipe("quick_strips", {"model.width": 4})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": ("a", "b"), "thresholds": [0.2, 0.6]}).eval()
    facts = {"photic": "0", "created": "today", **describe(config.to_dict(), {}, "test/1")}
    return write_bundle(tmp_path_factory.mktemp("bundle") / "m.photic", task, {**facts, "card": card({**facts, **told(task)})})


@pytest.fixture(scope="module")
def stored(bundle: Path) -> Checkpoint:
    return read_checkpoint(bundle)


def survives(path: Path, bundle: Path) -> bool:
    """Say whether a file is still taken for a bundle; whatever else than an error of ours comes out is a failure of the test."""
    row = photic.shelf("x", folders=[path.parent])[0]
    if row.problem is not None:
        assert "\n" not in row.problem.partition(" differ:")[0]
    json.dumps(row.to_dict(), allow_nan=False)
    try:
        facts = info(path)
    except PhoticError:
        with pytest.raises(PhoticError):
            load(path, "cpu")
        return False
    json.dumps(facts.to_dict(), allow_nan=False)
    assert row.problem is None or "not known here" in row.problem
    assert main(["info", str(path)]) == 0  # prints it, whatever it says
    try:
        return bool(same_deployment(load(path, "cpu").task, load(bundle, "cpu").task))
    except PhoticError:
        return False


@settings(max_examples=25, deadline=None, suppress_health_check=HEALTH)
@given(data=st.data())
def test_bytes_changed_taken_or_added_anywhere_are_found(bundle: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(bundle.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "append", "replace"]))
    if kind == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[place : place + data.draw(st.integers(1, len(content)))]
    elif kind == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
    elif kind == "append":
        content += data.draw(st.binary(min_size=1, max_size=9))
    else:
        content[place] = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    path = tmp_path / "x.photic"
    path.write_bytes(content)
    assert not survives(path, bundle)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of everything in JSON values."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(deeper for key, item in inside for deeper in places(item, (*place, key)))]


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(data=st.data())
def test_descriptions_that_say_something_else_break_nothing(bundle: Path, stored: Checkpoint, tmp_path: Path, data: st.DataObject) -> None:
    description = copy.deepcopy(stored.description)
    *path, last = data.draw(st.sampled_from([place for place in places(description) if place]))
    inside: Any = description
    for key in path:
        inside = inside[key]
    if isinstance(inside, dict) and data.draw(st.booleans()):
        del inside[last]
    else:
        inside[last] = data.draw(JSON)
    survives(write_checkpoint(tmp_path / "x.photic", Checkpoint(stored.weights, description=description), sealed=True), bundle)


@settings(max_examples=20, deadline=None, suppress_health_check=HEALTH)
@given(data=st.data())
def test_weights_of_another_shape_type_or_name_are_refused(bundle: Path, stored: Checkpoint, tmp_path: Path, data: st.DataObject) -> None:
    weights = dict(stored.weights)
    name = data.draw(st.sampled_from(sorted(weights)))
    kind = data.draw(st.sampled_from(["missing", "renamed", "longer", "flat", "nan", "inf", "complex"]))
    tensor = weights.pop(name)
    if kind == "renamed":
        weights[f"{name}_"] = tensor
    elif kind == "longer":
        weights[name] = torch.cat([tensor.reshape(-1), tensor.reshape(-1)[:1]])
    elif kind == "flat":
        weights[name] = tensor.reshape(1, -1) if tensor.shape != (1, tensor.numel()) else tensor.reshape(-1)
    elif kind in ("nan", "inf"):
        weights[name] = torch.full_like(tensor, float(kind)) if tensor.is_floating_point() else tensor[None]
    elif kind == "complex":
        weights[name] = tensor.to(torch.complex64)
    path = write_checkpoint(tmp_path / "x.photic", Checkpoint(weights, description=stored.description), sealed=True)
    with pytest.raises(PhoticError):
        load(path, "cpu")
