"""``photic report`` and ``photic.write_report``: the page of any run, from what is in its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import photic
from photic.cli.main import main
from photic.core.errors import ConfigError, DataError
from photic.tracking.run import Run

from ..pages import check

EVIL = "<img src=x onerror=alert(1)>\"'&"


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of copies of a finished run without some files, with other results and other settings."""

    def make(*removed: str, config: dict[str, dict[str, Any]] | None = None, **results: Any) -> Path:
        run = shutil.copytree(finished_run, tmp_path / "experiment" / "run")
        for name in removed:
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
        if results:
            kept = json.loads((run / "results.json").read_text())
            (run / "results.json").write_text(json.dumps(kept | results))
        if config:
            kept = yaml.safe_load((run / "config.yaml").read_text())
            (run / "config.yaml").write_text(
                yaml.safe_dump({name: {**kept[name], **config.get(name, {})} if name in config else kept[name] for name in kept})
            )
        return run

    return make


@pytest.fixture
def foreign(copy: Callable[..., Path]) -> Callable[..., Path]:
    """Return a maker of runs on a data set of a package that is not installed."""

    def make(*removed: str, **results: Any) -> Path:
        return copy(*removed, config={"data": {"name": "lab_dots"}}, **{"requires": ["my-lab 1.2"], **results})

    return make


def written(run: Path, tmp_path: Path) -> str:
    return photic.write_report(run, tmp_path / "page.html").report.read_text(encoding="utf-8")


def test_the_page_of_a_run_is_made_anew_in_its_folder(copy: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = copy()
    (run / "report.html").write_text("of yesterday")
    assert main(["report", str(run)]) == 0
    assert f"report  {run / 'report.html'}" in capsys.readouterr().out
    page = check((run / "report.html").read_text(encoding="utf-8"))
    assert "Macro-AP" in page.text and "Activation maps are left out" not in page.text
    assert "Labelled and called together" in page.text


def test_the_same_run_gives_the_same_page(foreign: Callable[..., Path], tmp_path: Path) -> None:
    run = foreign()
    pages = [photic.write_report(run, tmp_path / f"{name}.html").report.read_bytes() for name in "ab"]
    assert pages[0] == pages[1]
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "b.html", "experiment"}


def test_what_is_there_is_replaced_only_by_force(foreign: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, target = foreign(), tmp_path / "page.html"
    target.write_text("mine")
    assert main(["report", str(run), "-o", str(target)]) == 2
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main(["report", str(run), "-o", str(target), "--force"]) == 0
    check(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "words"), [("folder", "is a folder"), ("page.pdf", r"ends in \.html"), ("page", r"ends in \.html")])
def test_a_target_that_is_no_page_is_refused(copy: Callable[..., Path], tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=words):
        photic.write_report(copy(), tmp_path / name, force=True)


def test_folders_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="not a run folder"):
            photic.write_report(place, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_bundle_has_no_page_and_it_is_said_what_has(
    copy: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = photic.bundle(copy(), tmp_path / "model.photic").bundle
    for model in (bundle, Run(tmp_path / "experiment" / "run").checkpoint("best"), "lowlight"):
        assert main(["report", str(model), "-o", str(tmp_path / "page.html")]) == 2
        error = capsys.readouterr().err
        assert "photic report RUN" in error and f"photic info {model}" in error
    assert not (tmp_path / "page.html").exists()


def test_an_interrupted_run_has_a_page_with_how_to_go_on(copy: Callable[..., Path], tmp_path: Path) -> None:
    run = copy("predictions", status="interrupted", error="stopped by the user or the system", test={}, finished=None)
    page = check(written(run, tmp_path))
    assert "This run is not finished" in page.text and f"train --resume {run}" in page.text
    assert "photic bundle" not in page.text  # which an unfinished run refuses


def test_a_run_that_failed_at_once_has_a_page_with_its_error(copy: Callable[..., Path], tmp_path: Path) -> None:
    run = copy("predictions", "checkpoints/best.safetensors", "results.json")
    (run / "results.json").write_text(json.dumps({"schema": 1, "status": "failed", "error": EVIL}))
    page = check(written(run, tmp_path))
    assert EVIL in page.text and "This run failed" in page.text and "nothing to judge" in page.text


def test_without_results_there_still_is_a_page(copy: Callable[..., Path], tmp_path: Path) -> None:
    check(written(copy("results.json", "predictions"), tmp_path))


def test_where_the_data_have_changed_it_is_said_what_is_left_out(copy: Callable[..., Path], tmp_path: Path) -> None:
    page = check(written(copy(config={"data": {"num_samples": 60}}), tmp_path))
    assert "Pictures and activation maps are left out" in page.text
    assert "Macro-AP" in page.text  # the numbers are there without


def test_damaged_results_are_named(copy: Callable[..., Path], tmp_path: Path) -> None:
    run = copy()
    (run / "results.json").write_text("{")
    with pytest.raises(DataError, match=r"results\.json"):
        photic.write_report(run, tmp_path / "page.html")


def test_data_of_a_package_that_is_not_here_get_a_general_page(foreign: Callable[..., Path], tmp_path: Path) -> None:
    spec = {"kind": "x", "samples": "dots", "values": [{"name": "p", "label": "certainty", "column": "p"}], "predict": "DOTS -o out.csv"}
    run = foreign(comparison=spec)
    (run / "predictions" / "test.csv").write_text("file,p\na,0.5\nb,0.25\nc,\nd,word\n")
    made = photic.write_report(run, tmp_path / "page.html")
    assert made.application is None and "general page" in made.summary()
    page = check(made.report.read_text(encoding="utf-8"))
    assert "'lab_dots' is not known here" in page.text and "pip install my-lab" in page.text
    assert {"Values", "Training", "What was trained", "Settings and environment", "Next steps"} <= {words for _, words in page.headings}
    assert "certainty" in page.text and "DOTS -o out.csv" in page.text
    best = Run(run).results["best"]["val"]
    assert all(f"{value:.4f}" in page.text for name, value in best.items() if name in ("loss", "macro_ap"))
    assert "Loss" in page.text and "macro_auc" in page.text


def test_hostile_names_stay_words(foreign: Callable[..., Path], tmp_path: Path) -> None:
    values = {"epoch": 1.0, "step": 6, "lr": 0.1, "train": {EVIL: 1.0, "loss": 1.0}, "val": {EVIL: 0.5, "loss": 1.0}, "seconds": 1.0}
    run = foreign(
        history=[values], best={**values, "monitor": EVIL, "value": 0.5}, recipe=EVIL, test={EVIL: {EVIL: 1.0}},
        names={"model": EVIL, "data": EVIL}, data={"notes": [EVIL], "root": EVIL}, environment={"command": EVIL, "packages": {EVIL: EVIL}},
    )  # fmt: skip
    page = check(written(run, tmp_path))
    assert page.text.count(EVIL) >= 8


def test_a_page_can_be_shown_at_once(
    foreign: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The browser is the one thing here that tests cannot have; everything of ours is real."""
    opened: list[str] = []

    def browser(address: str) -> bool:
        opened.append(address)
        return len(opened) > 1

    monkeypatch.setattr("webbrowser.open", browser)
    run = foreign()
    for words in ("no browser was found", ""):
        assert main(["report", str(run), "--open"]) == 0
        assert (words in capsys.readouterr().out) and opened[-1] == (run / "report.html").resolve().as_uri()


def test_the_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    assert "photic report runs/severstal/ID -o defects.html --open" in capsys.readouterr().out
