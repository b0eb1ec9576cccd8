"""``photic train``: jobs, their order, failures and the table at the end; training itself is replaced."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from photic.cli.main import main
from photic.core.errors import DataError, RunInterrupted
from photic.workflows.recipes import recipe

BASE = ("recipe=quick_strips", "training.num_epochs=1")


class FakeTraining:
    def __init__(self) -> None:
        self.configs: list[Any] = []
        self.resumed: list[Any] = []
        self.failures: dict[int, BaseException] = {}

    def train(self, config: Any, *, quiet: bool = False) -> Any:
        self.configs.append(config)
        number = len(self.configs)
        if number in self.failures:
            raise self.failures[number]
        return self._result(f"runs/{number}", number / 10)

    def resume(self, run: Path, overrides: Any = None, *, quiet: bool = False) -> Any:
        self.resumed.append((run, overrides))
        return self._result(str(run), 0.5)

    @staticmethod
    def _result(run: str, value: float) -> Any:
        results = {"best": {"monitor": "macro_ap", "value": value}}
        return SimpleNamespace(run=Path(run), results=results, summary=lambda: f"trained {run}")


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setitem(sys.modules, "photic.workflows.train", SimpleNamespace(train=fake.train, resume=fake.resume))
    return fake


def test_a_recipe_with_overrides_is_trained(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BASE, "seed=3"]) == 0
    assert training.configs == [recipe("quick_strips", {"training.num_epochs": 1, "seed": 3})]
    assert capsys.readouterr().out == "trained runs/1\n"


def test_flags_may_stand_between_overrides(training: FakeTraining) -> None:
    assert main(["train", BASE[0], "-m", "seed=1,2", "--quiet", BASE[1]]) == 0
    assert [config.seed for config in training.configs] == [1, 2]
    assert {config.training.num_epochs for config in training.configs} == {1}


def test_a_sweep_runs_in_order_and_ends_with_a_table(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *BASE, "seed=0,1", "loss.name=bce_with_logits,focal", "loss.weight=1.0"]) == 0
    assert [(config.seed, config.loss.registry_name) for config in training.configs] == [
        (0, "bce_with_logits"), (0, "focal"), (1, "bce_with_logits"), (1, "focal"),
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "\n[2/4] seed=0 loss.name=focal\ntrained runs/2\n" in out
    assert [line.split() for line in out.splitlines()[-4:]] == [
        [str(n), f"seed={seed}", f"loss.name={loss}", "completed", "macro_ap", f"0.{n}000", f"runs/{n}"]
        for n, (seed, loss) in enumerate([(0, "bce_with_logits"), (0, "focal"), (1, "bce_with_logits"), (1, "focal")], 1)
    ]


@pytest.mark.parametrize("error", [DataError("strip 7 is unreadable"), RuntimeError("out of memory")])
def test_a_failed_job_does_not_end_the_others(training: FakeTraining, capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    training.failures[2] = error
    assert main(["train", "-m", *BASE, "seed=0,1,2"]) == 1
    assert len(training.configs) == 3
    captured = capsys.readouterr()
    assert f"photic: error: [2/3] {error}" in captured.err
    assert captured.err.endswith("photic: error: 1 of 3 jobs failed: [2] seed=1\n")
    assert [line.split()[2] for line in captured.out.splitlines()[-3:]] == ["completed", "failed", "completed"]
    assert ("Traceback" in captured.err) == isinstance(error, RuntimeError)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunInterrupted("runs/2: stopped at step 1 of 9")])
def test_ctrl_c_ends_the_whole_sweep(training: FakeTraining, capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    training.failures[2] = error
    assert main(["train", "-m", *BASE, "seed=0,1,2"]) == 130
    assert len(training.configs) == 2
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[-3:]] == ["completed", "interrupted", "not"]


SWEEP = ("loss.weight=4.0,2.0,1.0", "training.start_from=previous")


def test_each_job_of_a_sweep_may_start_from_the_one_before_it(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *BASE, *SWEEP]) == 0
    assert [config.training.start_from for config in training.configs] == [None, "runs/1", "runs/2"]
    out = capsys.readouterr().out
    assert "[1/3] loss.weight=4.0\nstarts from random weights\n" in out
    assert "[3/3] loss.weight=1.0\nstarts from runs/2\n" in out


def test_where_an_earlier_sweep_goes_on_the_last_one_begins_anew(training: FakeTraining) -> None:
    assert main(["train", "-m", *BASE, "seed=0,1", *SWEEP]) == 0
    assert [config.training.start_from for config in training.configs] == [None, "runs/1", "runs/2", None, "runs/4", "runs/5"]


def test_a_job_starts_from_the_last_one_that_completed(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    training.failures[2] = DataError("strip 7 is unreadable")
    assert main(["train", "-m", *BASE, *SWEEP]) == 1
    assert [config.training.start_from for config in training.configs] == [None, "runs/1", "runs/1"]


def test_where_none_completed_a_job_does_not_start_from_random_weights(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    training.failures[1] = DataError("strip 7 is unreadable")
    assert main(["train", "-m", *BASE, "seed=0,1", *SWEEP]) == 1
    assert [(config.seed, config.training.start_from) for config in training.configs] == [
        (0, None),
        (1, None),
        (1, "runs/2"),
        (1, "runs/3"),
    ]
    captured = capsys.readouterr()
    assert captured.err.count("none of the jobs before it along this sweep has completed") == 2
    assert "3 of 6 jobs failed" in captured.err


@pytest.mark.parametrize("sweep", [(), ("seed=3",)], ids=["nothing", "one value"])
def test_without_a_sweep_there_is_no_job_before(training: FakeTraining, capsys: pytest.CaptureFixture[str], sweep: tuple[str, ...]) -> None:
    assert main(["train", "-m", *BASE, *sweep, "training.start_from=previous"]) == 2
    assert "config.training.start_from: 'previous' is the job before it in a sweep, so it needs one" in capsys.readouterr().err
    assert training.configs == []


def test_weights_that_are_not_there_are_found_before_any_job_runs(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *BASE, "training.start_from=null,rawdenois"]) == 2
    assert "job 'training.start_from=rawdenois': rawdenois: no such bundle, run or checkpoint; did you mean 'rawdenoise'?" in (
        capsys.readouterr().err
    )
    assert training.configs == []


def test_a_typo_in_one_job_is_found_before_any_job_runs(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *BASE, "loss.name=focal,bce_with_logits", "loss.gamma=1.0"]) == 2
    assert training.configs == []
    err = capsys.readouterr().err
    assert "job 'loss.name=bce_with_logits': config.loss: unknown field 'gamma'" in err


def test_a_sweep_without_multirun_is_an_error(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BASE, "seed=0,1"]) == 2
    assert "override 'seed=0,1' is a sweep of 2 values; add -m" in capsys.readouterr().err
    assert training.configs == []


def test_cfg_prints_every_setting_and_does_not_train(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BASE, "--cfg", "job", "loss.type=focal_loss", "optimizer.lr=1e-5"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    config = recipe("quick_strips", {"training.num_epochs": 1, "loss.name": "focal", "optimizer.lr": 1e-5})
    assert printed == config.to_dict()
    assert printed["trainer"]["accelerator"] == "auto"
    assert training.configs == []


def test_what_cfg_prints_can_be_trained_as_it_stands(training: FakeTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BASE, "label='a b'", "--cfg", "job"]) == 0
    (tmp_path / "kept.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["train", "--config-dir", str(tmp_path), "--config-name", "kept"]) == 0
    assert training.configs == [recipe("quick_strips", {"training.num_epochs": 1, "label": "a b"})]


def test_cfg_of_a_sweep_prints_one_document_a_job(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *BASE, "seed=4,5", "-c", "job"]) == 0
    out = capsys.readouterr().out
    assert [document["seed"] for document in yaml.safe_load_all(out)] == [4, 5]
    assert "# [2/2] seed=5" in out


def test_resume_takes_a_run_and_overrides(training: FakeTraining) -> None:
    assert main(["train", "--resume", "runs/x/1", "training.num_epochs=9"]) == 0
    assert training.resumed == [(Path("runs/x/1"), {"training.num_epochs": 9})]


def test_nothing_to_train_is_an_error_that_lists_recipes(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "recipe=NAME (recipes: " in capsys.readouterr().err


def test_a_typo_is_answered_with_the_nearest_field(training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BASE, "loss=focal", "loss.gama=2"]) == 2
    assert "photic: error: config.loss: unknown field 'gama'; did you mean 'gamma'?" in capsys.readouterr().err
