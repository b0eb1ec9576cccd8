"""Recipes, and how overrides are laid over them."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photic.core.errors import ConfigError, UnknownNameError
from photic.workflows import recipes
from photic.workflows.recipes import load_recipe, merge, normalised, read_yaml, resolve

FOCAL = {"loss": {"name": "focal", "alpha": "dynamic", "gamma": 2.0}}


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- merging -------------------------------------------------------------------------------------------------------------------------


def test_values_merge_key_by_key() -> None:
    assert merge({"training": {"num_epochs": 100, "ema_decay": None}}, {"training": {"num_epochs": 3}}) == {
        "training": {"num_epochs": 3, "ema_decay": None}
    }


def test_neither_base_nor_overrides_are_changed() -> None:
    base, changes = {"loss": {"name": "focal", "alpha": [1, 2]}}, {"loss": {"gamma": 3.0}, "~loss.alpha": None}
    merged = merge(base, changes)
    merged["loss"]["gamma"] = 9.0
    assert base == {"loss": {"name": "focal", "alpha": [1, 2]}}
    assert changes == {"loss": {"gamma": 3.0}, "~loss.alpha": None}


def test_another_name_drops_the_old_components_values() -> None:
    assert merge(FOCAL, {"loss.name": "bce_with_logits"}) == {"loss": {"name": "bce_with_logits"}}


def test_the_same_name_keeps_the_values() -> None:
    assert merge(FOCAL, {"loss.name": "focal"}) == FOCAL


def test_a_synonym_of_the_same_name_keeps_the_values() -> None:
    assert merge(FOCAL, {"loss.name": "focal_loss"}) == FOCAL
    assert merge({"loss": {"name": "focal_loss", "gamma": 1.0}}, {"loss": "focal"}) == {"loss": {"name": "focal", "gamma": 1.0}}


def test_switching_keeps_the_fields_given_with_the_new_name() -> None:
    assert merge(FOCAL, {"loss": {"name": "bce_with_logits", "weight": 0.5}}) == {"loss": {"name": "bce_with_logits", "weight": 0.5}}


@pytest.mark.parametrize("order", list(itertools.permutations([("loss.gamma", 3.0), ("loss.name", "focal"), ("loss.alpha", None)])))
def test_the_order_of_name_and_fields_does_not_matter(order: tuple[tuple[str, object], ...]) -> None:
    base = {"loss": {"name": "bce_with_logits", "weight": 2.0}}
    assert merge(base, order) == {"loss": {"name": "focal", "gamma": 3.0, "alpha": None}}


@pytest.mark.parametrize("order", list(itertools.permutations([("loss.gamma", 3.0), ("loss", "focal_loss")])))
def test_a_word_for_a_component_is_its_name_whatever_the_order(order: tuple[tuple[str, object], ...]) -> None:
    assert merge({"loss": {"name": "asymmetric", "clip": 0.1}}, order) == {"loss": {"name": "focal", "gamma": 3.0}}


def test_fields_without_a_name_wait_for_the_name_of_a_later_layer() -> None:
    user = merge({}, {"loss": {"gamma": 3.0}})
    assert merge(user, {"loss.name": "focal"}) == {"loss": {"gamma": 3.0, "name": "focal"}}


def test_the_last_of_two_values_counts() -> None:
    assert merge({}, [("seed", 1), ("seed", 2)]) == {"seed": 2}


def test_synonyms_mean_the_same_setting() -> None:
    assert merge(FOCAL, {"loss.type": "focal_loss", "experiment.seed": 7}) == {**FOCAL, "seed": 7}
    assert merge({}, {"loss": {"type": "focal"}, "experiment": {"seed": 7}}) == {"loss": {"name": "focal"}, "seed": 7}


def test_a_setting_and_its_synonym_must_agree() -> None:
    with pytest.raises(ConfigError, match=r"experiment.seed=1 and seed=2 are the same setting"):
        merge({}, {"experiment.seed": 1, "seed": 2})


def test_null_is_a_value() -> None:
    assert merge(FOCAL, {"loss.alpha": None})["loss"]["alpha"] is None


def test_removal_takes_the_recipes_value_away() -> None:
    assert merge(FOCAL, {"~loss.alpha": None}) == {"loss": {"name": "focal", "gamma": 2.0}}
    assert merge(FOCAL, [("~loss", None), ("loss.name", "focal")]) == {"loss": {"name": "focal"}}


def test_removal_of_what_is_not_there_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"~loss.alhpa: there is nothing to remove; did you mean 'alpha'\?"):
        merge(FOCAL, {"~loss.alhpa": None})


def test_removal_with_a_value_removes_that_value_only() -> None:
    assert merge(FOCAL, {"~loss.gamma": 2.0}) == {"loss": {"name": "focal", "alpha": "dynamic"}}
    with pytest.raises(ConfigError, match=r"nothing removed, the value is 2.0"):
        merge(FOCAL, {"~loss.gamma": 3.0})


def test_an_empty_mapping_empties() -> None:
    base = {"data": {"name": "severstal", "augment": {"horizontal_flip": {"probability": 0.5}}}}
    assert merge(base, {"data.augment": {}}) == {"data": {"name": "severstal", "augment": {}}}
    assert merge(base, [("data.augment", {}), ("data.augment.vertical_flip", True)]) == {
        "data": {"name": "severstal", "augment": {"vertical_flip": True}}
    }


def test_named_components_switch_off_and_on() -> None:
    base = {"data": {"name": "severstal", "augment": {"rotation": {"degrees": 15.0}, "vertical_flip": False}}}
    augment = merge(base, {"data.augment.rotation": False, "data.augment.vertical_flip": True})["data"]["augment"]
    assert augment == {"rotation": False, "vertical_flip": True}
    assert merge(base, {"data.augment.rotation": True}) == base | {"data": {"name": "severstal", "augment": base["data"]["augment"]}}


def test_a_named_component_of_another_kind_drops_the_old_values() -> None:
    base = {"data": {"name": "severstal", "augment": {"first": {"name": "rotation", "degrees": 15.0}}}}
    changed = merge(base, {"data.augment.first.name": "noise", "data.augment.first.probability": 1.0})
    assert changed["data"]["augment"] == {"first": {"name": "noise", "probability": 1.0}}


@pytest.mark.parametrize("key", ["", ".", "loss.", ".gamma", "~"])
def test_a_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="expected a key such as loss.gamma"):
        merge({}, {key: 1})


_KEYS = st.sampled_from(["seed", "training", "notes", "a", "b"])
_TREES = st.recursive(
    st.integers() | st.none() | st.booleans(), lambda inner: st.dictionaries(_KEYS, inner, min_size=1, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


@given(_TREES, _TREES)
def test_dotted_and_nested_overrides_are_the_same_act(base: dict, changes: dict) -> None:
    assert merge(base, changes) == merge(base, _flat(changes))


@given(_TREES, _TREES)
def test_merging_twice_changes_nothing_more(base: dict, changes: dict) -> None:
    once = merge(base, changes)
    assert merge(once, changes) == once
    assert merge({}, once) == once


def test_normalised_overrides_are_nested_and_canonical() -> None:
    assert normalised({"loss.type": "focal_loss", "loss.gamma": 1.0, "model": "tiny"}) == {
        "loss": {"name": "focal", "gamma": 1.0},
        "model": {"name": "tiny"},
    }
    with pytest.raises(ConfigError, match="cannot be removed here"):
        normalised({"~training.ema_decay": None})


# --- files ---------------------------------------------------------------------------------------------------------------------------


def test_every_recipe_has_a_summary_and_loads() -> None:
    entries = recipes.recipe_entries()
    assert {"severstal", "neu_det"} <= {entry.name for entry in entries}
    for entry in entries:
        assert entry.summary
        assert load_recipe(entry.name)["task"]["name"]


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'seversal'; did you mean 'severstal'"):
        load_recipe("seversal")


def test_a_recipe_may_be_a_file_based_on_another(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.yaml", "# Mine\nbase: severstal\nloss: {name: bce_with_logits}\nexperiment: mine\n")
    loaded = load_recipe(mine)
    assert loaded["loss"] == {"name": "bce_with_logits"}
    assert loaded["model"] == load_recipe("severstal")["model"]
    assert "base" not in loaded
    write(tmp_path, "second.yaml", "base: mine.yaml\nseed: 5\n")
    assert load_recipe(tmp_path / "second.yaml") == {**loaded, "seed": 5}


def test_recipes_based_on_each_other_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "base: b.yaml\n")
    write(tmp_path, "b.yaml", "base: a.yaml\n")
    with pytest.raises(ConfigError, match=r"circle: a.yaml -> b.yaml -> a.yaml"):
        load_recipe(tmp_path / "a.yaml")


def test_numbers_in_yaml_are_numbers(tmp_path: Path) -> None:
    file = write(tmp_path, "n.yaml", "optimizer: {lr: 1e-3, a: 1.5e3, b: -2E+4, c: 0x10, d: 1e, e: .5e-1}\n")
    assert read_yaml(file)["optimizer"] == {"lr": 0.001, "a": 1500.0, "b": -20000.0, "c": 16, "d": "1e", "e": 0.05}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss: {name: a}\nloss: {name: b}\n", "'loss' stands twice"),
        ("- a\n", "expected sections"),
        ("", "expected sections"),
        ("a: [1\n", "no valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "no valid YAML"),
    ],
)
def test_a_bad_recipe_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, "bad.yaml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(file)
    assert "bad.yaml" in str(caught.value)


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read \(No such file"):
        load_recipe(tmp_path / "none.yaml")


def test_two_plugins_with_the_same_recipe_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = recipes.installed_plugins()
    monkeypatch.setattr(recipes, "installed_plugins", lambda: {**plugins, "twin": plugins["defects"]})
    with pytest.raises(ConfigError, match="exists twice"):
        recipes.recipe_entries()


# --- resolving -----------------------------------------------------------------------------------------------------------------------


def test_layers_are_recipe_then_user_then_overrides() -> None:
    plain = resolve("severstal", {"seed": 3}, config={"seed": 2, "loss": {"gamma": 1.0}})
    assert (plain["recipe"], plain["seed"], plain["loss"]["gamma"], plain["loss"]["alpha"]) == ("severstal", 3, 1.0, "dynamic")


def test_the_recipe_may_come_from_any_layer_and_the_override_wins() -> None:
    assert resolve(None, {"recipe": "neu_det"}, config={"recipe": "severstal"})["data"]["name"] == "voc"
    assert resolve(None, {}, config={"recipe": "severstal"})["recipe"] == "severstal"
    assert resolve(None, {"seed": 1}) == {"seed": 1}


def test_two_recipes_are_an_error() -> None:
    with pytest.raises(ConfigError, match="both 'severstal' and 'neu_det'"):
        resolve("severstal", {"recipe": "neu_det"})
    with pytest.raises(ConfigError, match="expected the name of a recipe"):
        resolve(None, {"recipe": {"name": "severstal"}})


def test_terms_of_a_composite_loss_are_components_too() -> None:
    base = {"loss": {"name": "sum", "terms": {"a": {"name": "focal", "gamma": 2.0}, "bce_with_logits": {"weight": 0.5}}}}
    changed = merge(base, [("loss.terms.a", {"name": "asymmetric"}), ("loss.terms.c", {"name": "focal_loss", "gamma": 9})])
    assert changed["loss"]["terms"] == {"a": {"name": "asymmetric"}, "bce_with_logits": {"weight": 0.5}, "c": {"name": "focal", "gamma": 9}}
    assert merge(base, {"loss.terms.bce_with_logits": False})["loss"]["terms"]["bce_with_logits"] is False
    assert merge(base, {"loss.terms.a": "bce_with_logits"})["loss"]["terms"]["a"] == {"name": "bce_with_logits"}
