"""Hydra's grammar, sweeps, the user's own YAML, and references between values."""

from pathlib import Path
from typing import Any

import pytest

from photic.cli.compose import Job, UserConfig, changes_of, configuration, jobs, resolved
from photic.cli.parser import shown
from photic.core.errors import ConfigError, UnknownNameError
from photic.core.registry import registry_of
from photic.workflows.recipes import recipe, recipe_entries, resolve


def only(*overrides: str, user: UserConfig | None = None) -> Job:
    (job,) = jobs(overrides, user=user)
    return job


def plain(*overrides: str, user: UserConfig | None = None) -> dict[str, Any]:
    return resolved(only(*overrides, user=user), user)


def titles(*overrides: str) -> list[str]:
    return [job.title for job in jobs(overrides, multirun=True)]


# --- grammar -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("loss.gamma=2", "loss.gamma", 2),
        ("optimizer.lr=1e-3", "optimizer.lr", 0.001),
        ("data.cache=true", "data.cache", True),
        ("loss.alpha=null", "loss.alpha", None),
        ("label='a, b=c'", "label", "a, b=c"),
        ('label="it\'s"', "label", "it's"),
        ("label=", "label", ""),
        ("data.root=../shared/data", "data.root", "../shared/data"),
        ("data.root=/a folder/b", "data.root", "/a folder/b"),
        ("model.cbam_stages=[3,4]", "model.cbam_stages", [3, 4]),
        ("loss={name: focal, gamma: 1}", "loss", {"name": "focal", "gamma": 1}),
        ("loss.terms={a:{name:'focal',gamma:9}}", "loss.terms", {"a": {"name": "focal", "gamma": 9}}),
        ("+loss.gamma=2", "loss.gamma", 2),
        ("++loss.gamma=2", "loss.gamma", 2),
        ("~loss.gamma", "~loss.gamma", None),
        ("~loss.gamma=2.0", "~loss.gamma", 2.0),
        ("data/augment=null", "data.augment", None),
        ("label='1'", "label", "1"),
        ("label=${seed}", "label", "${seed}"),
    ],
)
def test_an_override_means_what_hydra_says(text: str, key: str, value: Any) -> None:
    assert changes_of([text]) == [(key, value)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("severstal", r"override 'severstal': expected key=value; did you mean recipe=severstal\?"),
        ("loss.alpha", r"expected key=value; did you mean ~loss.alpha or loss.alpha=value\?"),
        ("label=a=b", r"""if the value is meant as text, quote it: 'label="a=b"'"""),
        ("label=f(x", r"""quote it: 'label="f\(x"'"""),
        ("label=é", r"""quote it: 'label="é"'"""),
        ("data.root=~/data", r"""quote it: 'data.root="~/data"'"""),
        ("model.cbam_stages=[3,4", r"a list is written model.cbam_stages=\[a,b\]"),
        ("loss={name:focal", r"a mapping loss=\{a:1,b:2\}"),
        ("a[0]=3", r"'a\[0\]' is no key"),
        ("=3", r"no key before '='"),
        ("model@other=tiny", r"packages \(@other\)"),
        ("hydra.run.dir=x", r"Photic runs jobs itself"),
        ("seed=0,1,2", r"is a sweep of 3 values; add -m .* write seed=\[0,1,2\] for a list"),
        ("seed=choice(1)", r"is a sweep of 1 values; add -m"),
        ("seed=interval(0,1)", r"an interval has no list of values"),
    ],
)
def test_a_malformed_override_is_named_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        jobs(["recipe=severstal", text])


def test_the_quoting_that_a_message_proposes_works() -> None:
    for value in ("a=b", "f(x", "é", "~/data", 'say "hi"', r"C:\new (1)", "x#y"):
        with pytest.raises(ConfigError) as caught:
            jobs([f"label={value}"])
        import shlex

        (proposed,) = shlex.split(str(caught.value).partition("quote it: ")[2])
        assert changes_of([proposed]) == [("label", value)]


def test_values_are_shown_as_they_would_be_typed() -> None:
    assert shown({"a": [1, 2.5, None, True, "x"], "b": {}}) == "{a:[1,2.5,null,true,x],b:{}}"


# --- sweeps --------------------------------------------------------------------------------------------------------------------------


def test_sweeps_expand_to_every_combination_the_last_one_fastest() -> None:
    assert titles("recipe=severstal", "seed=0,1,2", "loss.name=bce_with_logits,focal") == [
        "seed=0 loss.name=bce_with_logits", "seed=0 loss.name=focal",
        "seed=1 loss.name=bce_with_logits", "seed=1 loss.name=focal",
        "seed=2 loss.name=bce_with_logits", "seed=2 loss.name=focal",
    ]  # fmt: skip


def test_the_jobs_of_a_sweep_are_those_of_hydras_own_sweeper() -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    texts = ["recipe=neu_det", "seed=range(0,3)", "loss.gamma=1.0,2.5", "model=tiny,timm", "label='a b',c", "data.cache=true"]
    (expected,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(texts), None)
    ours = [[(change.key, change.value) for change in job.changes] for job in jobs(texts, multirun=True)]
    assert ours == [changes_of(words) for words in expected]


def test_ranges_lists_and_globs_sweep_too() -> None:
    assert titles("seed=range(0,6,2)") == ["seed=0", "seed=2", "seed=4"]
    assert titles("model.cbam_stages=[3],[3,4]") == ["model.cbam_stages=[3]", "model.cbam_stages=[3,4]"]
    losses = registry_of("losses").names()
    assert titles("loss.name=glob(*,exclude=[a*,b*])") == [f"loss.name={name}" for name in losses if name[0] not in "ab"]
    assert titles("recipe=glob(neu*)", "seed=0,1") == ["seed=0", "seed=1"]
    assert titles("optimizer=glob(*)") == [f"optimizer={name}" for name in registry_of("optimizers").names()]


def test_a_glob_needs_names_to_choose_from() -> None:
    with pytest.raises(ConfigError, match="glob\\(\\) chooses among registered names"):
        jobs(["label=glob(*)"], multirun=True)
    with pytest.raises(ConfigError, match="there is no value in this sweep"):
        jobs(["model=glob(zzz*)"], multirun=True)


def test_a_job_without_sweeps_is_one_job_without_a_title() -> None:
    assert titles("recipe=severstal", "seed=1") == [""]


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert titles("seed=0,1", "label=x", "seed=5") == [""]
    assert changes_of(["seed=1", "seed=2"]) == [("seed", 2)]


# --- recipe and overrides, here and in Python --------------------------------------------------------------------------------------

OVERRIDES: list[tuple[list[str], dict[str, Any]]] = [
    ([], {}),
    (["seed=7"], {"seed": 7}),
    (["experiment.seed=7"], {"experiment.seed": 7}),
    (["loss.type=focal_loss", "loss.gamma=3"], {"loss.type": "focal_loss", "loss.gamma": 3}),
    (["loss.gamma=3", "loss.name=focal"], {"loss": {"name": "focal", "gamma": 3}}),
    (["loss=bce_with_logits"], {"loss": {"name": "bce_with_logits"}}),
    (["loss={name:asymmetric,weight:0.5}"], {"loss": {"name": "asymmetric", "weight": 0.5}}),
    (["model=tiny"], {"model": "tiny"}),
    (["model.name=convnext_tiny_cbam", "model.cbam_stages=[4]", "model.pretrained=false"],
     {"model": {"name": "convnext_tiny_cbam", "cbam_stages": [4], "pretrained": False}}),
    (["schedule.name=constant", "optimizer=sgd"], {"schedule.name": "constant", "optimizer": {"name": "sgd"}}),
    (["training.num_epochs=1", "training.early_stopping_patience=null"], {"training": {"num_epochs": 1, "early_stopping_patience": None}}),
    (["~optimizer.lr"], {"~optimizer.lr": None}),
    (["data.batch_size=4", "data.augment.vertical_flip=false"], {"data": {"batch_size": 4, "augment": {"vertical_flip": False}}}),
    (["data.augment={}", "data.augment.horizontal_flip=true"], {"data.augment": {}, "data.augment.horizontal_flip": True}),
    (["label='a b'", "output_dir=/tmp/x"], {"label": "a b", "output_dir": "/tmp/x"}),
]  # fmt: skip


# The first recipe of each application, and one with everything; every recipe is held to the same in tests/contracts/test_recipes.py.
REPRESENTATIVES = sorted({"severstal", *{entry.plugin: entry.name for entry in reversed(recipe_entries())}.values()})


@pytest.mark.parametrize("name", REPRESENTATIVES)
@pytest.mark.parametrize(("words", "mapping"), OVERRIDES, ids=range(len(OVERRIDES)))
def test_command_line_and_python_resolve_to_the_same_configuration(name: str, words: list[str], mapping: dict[str, Any]) -> None:
    from photic.workflows.config import TrainConfig

    if any(word.startswith("data.augment") for word in words) and "augment" not in _data_fields(name):
        with pytest.raises(ConfigError) as here_refused:
            recipe(name, mapping)
        with pytest.raises(ConfigError) as there_refused:
            configuration(only(f"recipe={name}", *words))
        assert str(here_refused.value) == str(there_refused.value)
        return
    job = only(f"recipe={name}", *words)
    assert resolved(job) == resolve(name, mapping)
    root = {"data.root": "somewhere"} if "root" in _data_fields(name) else {}
    there = only(f"recipe={name}", *words, *(f"{key}={value}" for key, value in root.items()))
    here = recipe(name, {**mapping, **root})
    assert configuration(there) == here
    assert TrainConfig.from_dict(here.to_dict()) == here


def _data_fields(name: str) -> list[str]:
    data = resolve(name)["data"]["name"]
    entry = registry_of("datasets").entries(data)[0]
    return [field.name for field in entry.fields()]


def test_nothing_to_train_lists_the_recipes() -> None:
    with pytest.raises(ConfigError, match=r"nothing to train: start from a recipe with recipe=NAME \(recipes: .*severstal"):
        plain("seed=1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss.gama=2"], r"config.loss: unknown field 'gama'; did you mean 'gamma'\?"),
        (["loss.gamma=much"], r"config.loss.gamma: expected float, got 'much'"),
        (["loss.gamma=-1"], r"config.loss.gamma: expected a value >= 0, got -1"),
        (["los.gamma=1"], r"config: unknown field 'los'; did you mean 'loss'\?"),
        (["loss.name=bce_with_logits", "loss.gamma=1"], r"config.loss: unknown field 'gamma'"),
        (["training.num_epochs=1.5"], r"config.training.num_epochs: expected int, got 1.5"),
        (["model=convnext_tiny_cbm"], r"config.model.name: unknown model 'convnext_tiny_cbm'; did you mean 'convnext_tiny_cbam'"),
        (["recipe=seversal"], r"unknown recipe 'seversal'; did you mean 'severstal'"),
        (["data.augment.rotatoin.degrees=3"], r"unknown augmentation 'rotatoin'; did you mean 'rotation'\?"),
        (["seed.x=3"], r"config.seed: expected int"),
    ],
)
def test_a_mistake_is_answered_by_the_schema(words: list[str], message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        configuration(only("recipe=severstal", "data.root=x", *words))


# --- the user's own YAML -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "mine.yaml").write_text(
        "defaults:\n  - recipe: severstal\n  - loss: bce_with_logits\n  - _self_\n\n"
        "experiment: mine\nlabel: ${model.name}-${seed}\ntraining:\n  num_epochs: 7\n  gradient_accumulation: 2\noptimizer:\n  lr: 5e-4\n",
        encoding="utf-8",
    )
    (tmp_path / "bare.yaml").write_text("recipe: neu_det\nseed: 11\n", encoding="utf-8")
    (tmp_path / "mandatory.yaml").write_text("defaults:\n  - model: ???\n  - _self_\nrecipe: severstal\n", encoding="utf-8")
    (tmp_path / "model" / "stage4.yaml").write_text("name: convnext_tiny_cbam\npretrained: false\ncbam_stages: [4]\n", encoding="utf-8")
    (tmp_path / "model" / "late.yaml").write_text("name: convnext_tiny_cbam\npretrained: false\n", encoding="utf-8")
    return tmp_path


def test_user_yaml_with_a_defaults_list_lies_between_recipe_and_overrides(conf: Path) -> None:
    values = plain("training.num_epochs=9", user=UserConfig(conf, "mine"))
    assert values["recipe"] == "severstal"
    assert values["experiment"] == "mine"
    assert values["loss"] == {"name": "bce_with_logits"}
    assert values["training"] == {"num_epochs": 9, "gradient_accumulation": 2, "early_stopping_patience": 15}
    assert values["optimizer"] == {"name": "adamw", "lr": 0.0005, "weight_decay": 0.0001}
    assert values["model"]["name"] == "convnext_tiny_cbam"


def test_references_are_resolved_last_and_see_overrides_and_defaults(conf: Path) -> None:
    user = UserConfig(conf, "mine")
    assert plain("seed=3", "model=tiny", user=user)["label"] == "tiny-3"
    assert plain(user=user)["label"] == "convnext_tiny_cbam-42"
    assert plain("recipe=severstal", "label=g${loss.gamma}-${training.ema_decay}-${loss.weight}")["label"] == "g2.0-None-1.0"
    assert plain("recipe=severstal", "optimizer.lr=${schedule.warmup_epochs}")["optimizer"]["lr"] == 5


def test_a_reference_may_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPS", "/strips")
    assert plain("recipe=severstal", "data.root=${oc.env:STRIPS}")["data"]["root"] == "/strips"


def test_a_reference_that_leads_nowhere_names_its_place() -> None:
    with pytest.raises(ConfigError, match=r"config.label: .*'sed' not found"):
        plain("recipe=severstal", "label=${sed}")


def test_the_users_own_group_choices_work_in_the_defaults_list_and_without(conf: Path) -> None:
    for user in (UserConfig(conf, "mine"), UserConfig(conf, "bare")):
        assert plain("model=stage4", user=user)["model"] == {"name": "convnext_tiny_cbam", "pretrained": False, "cbam_stages": [4]} | (
            {"num_classes": 4} if user.name == "mine" else {}
        )
    assert plain("recipe=neu_det", "model=stage4", "model.cbam_stages=[3]", user=UserConfig(conf))["model"] == {
        "name": "convnext_tiny_cbam", "pretrained": False, "cbam_stages": [3],
    }  # fmt: skip


def test_a_mandatory_choice_may_be_the_users_or_a_registered_one(conf: Path) -> None:
    user = UserConfig(conf, "mandatory")
    assert plain("model=late", user=user)["model"]["pretrained"] is False
    assert plain("model=tiny", user=user)["model"] == {"name": "tiny"}
    with pytest.raises(ConfigError, match="--config-name mandatory: .*You must specify 'model'"):
        plain(user=user)


def test_an_override_chooses_another_recipe_than_the_yaml(conf: Path) -> None:
    values = plain("recipe=severstal", user=UserConfig(conf, "bare"))
    assert (values["recipe"], values["seed"], values["data"]["name"]) == ("severstal", 11, "severstal")


def test_a_sweep_may_run_over_the_users_own_choices(conf: Path) -> None:
    user = UserConfig(conf, "bare")
    sweep = jobs(["model=stage4,late,tiny"], multirun=True, user=user)
    assert [resolved(job, user)["model"].get("cbam_stages", resolved(job, user)["model"]["name"]) for job in sweep] == [
        [4],
        "convnext_tiny_cbam",
        "tiny",
    ]


def test_sweeper_params_of_the_yaml_count_as_overrides(conf: Path) -> None:
    (conf / "swept.yaml").write_text(
        "recipe: severstal\nhydra:\n  sweeper:\n    params:\n      seed: 0,1\n      label: x\n", encoding="utf-8"
    )
    user = UserConfig(conf, "swept")
    assert [job.title for job in jobs(["loss=focal,asymmetric"], multirun=True, user=user)] == [
        "seed=0 loss=focal", "seed=0 loss=asymmetric", "seed=1 loss=focal", "seed=1 loss=asymmetric",
    ]  # fmt: skip
    assert [job.title for job in jobs(["seed=5,6"], multirun=True, user=user)] == ["seed=5", "seed=6"]


def test_a_value_left_open_must_be_set(conf: Path) -> None:
    (conf / "open.yaml").write_text("recipe: severstal\nlabel: ???\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config.label: has no value yet \(\?\?\?\); set label=..."):
        plain(user=UserConfig(conf, "open"))
    assert plain("label=x", user=UserConfig(conf, "open"))["label"] == "x"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none", None, r"--config-name none: no none.yaml in .* \(files there: bare, mandatory, mine\)"),
        ("broken", "a: [1\n", r"--config-name broken: .*line 2"),
        ("lost", "defaults:\n  - model: nothing\n", r"--config-name lost: .*nothing"),
        ("typo", "recipe: severstal\nlos: {gamma: 1}\n", r"unknown field 'los'; did you mean 'loss'"),
    ],
)
def test_a_bad_user_yaml_is_named(conf: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (conf / f"{name}.yaml").write_text(text, encoding="utf-8")
    user = UserConfig(conf, name)
    with pytest.raises(ConfigError, match=message):
        configuration(only("data.root=x", user=user), user)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config-dir .*/none: no such folder"):
        plain(user=UserConfig(tmp_path / "none", "x"))
