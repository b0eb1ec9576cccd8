"""Low light on the command line: check, train, resume, evaluate, compare, bundle, predict; and what can be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photic.apps.lowlight.synthetic import draw_pair
from photic.cli.main import main

SMALL = [
    "recipe=lowlight_compact", "model.width=8", "task.metrics=[psnr,ssim,saturation,psnr_gt_mean]", "data.crop_px=48", "data.batch_size=4",
    "data.crops_per_picture=2", "training.num_epochs=2", "trainer.num_threads=1", "trainer.accelerator=cpu", "--quiet",
]  # fmt: skip
SIDE = 72


def call(*words: Any) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve drawn pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    for part in ("low", "high"):
        (folder / part).mkdir()
    for number in range(12):
        for part, picture in zip(("low", "high"), draw_pair(0, number, SIDE, SIDE), strict=True):
            Image.fromarray(picture).save(folder / part / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def run(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert call("train", *SMALL, f"data.root={pairs}", f"output_dir={folder}") == 0
    (path,) = (path.parent for path in folder.glob("*/*/results.json"))
    return path


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "model.photic"
    assert call("bundle", run, "-o", path, "--terms", "drawn; free to use") == 0
    return path


def test_a_run_keeps_what_was_measured_and_a_page(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    values = results["best"]["val"]
    assert {"psnr", "ssim", "saturation", "psnr_gt_mean", "low_colour", "critical_colour", "loss"} <= set(values)
    assert values["psnr_gt_mean"] > values["psnr"] - 0.5
    assert results["comparison"]["kind"] == "enhancement"
    assert (run / "report.html").stat().st_size > 10_000


def test_a_run_goes_on_where_it_stopped(pairs: Path, tmp_path: Path) -> None:
    settings = [*SMALL, f"data.root={pairs}", f"output_dir={tmp_path}", "training.num_epochs=1"]
    assert call("train", *settings) == 0
    (run,) = (path.parent for path in tmp_path.glob("*/*/results.json"))
    assert call("train", "--resume", run, "training.num_epochs=2", "data.cache_mb=1", "--quiet") == 0
    assert len(json.loads((run / "results.json").read_text())["history"]) == 2


def test_evaluation_holds_the_network_against_classical_methods(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", run, "-o", tmp_path / "found", "--quiet") == 0
    out = capsys.readouterr().out
    for name in ("identity", "gamma", "clahe", "log"):
        assert name in out.lower()
    assert (tmp_path / "found" / "results.json").is_file()
    assert list((tmp_path / "found").glob("*.csv"))
    assert list((tmp_path / "found").glob("*.png"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_bundle_enhances_a_picture_and_keeps_its_size(bundle: Path, pairs: Path, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"photo.{suffix}"
    Image.open(pairs / "low" / "00.png").save(source)
    assert call("predict", bundle, source, "-o", tmp_path / f"out.{suffix}", "--quiet") == 0
    before, after = (np.asarray(Image.open(path).convert("RGB")).astype(float) for path in (source, tmp_path / f"out.{suffix}"))
    assert after.shape == before.shape
    assert after.mean() > 2 * before.mean()


def test_run_and_bundle_give_the_same_picture(run: Path, bundle: Path, pairs: Path, tmp_path: Path) -> None:
    for name, model in (("run", run), ("bundle", bundle)):
        assert call("predict", model, pairs / "low" / "03.png", "-o", tmp_path / f"{name}.png", "--quiet") == 0
    assert (tmp_path / "run.png").read_bytes() == (tmp_path / "bundle.png").read_bytes()


def test_strength_zero_gives_the_picture_back_and_half_lies_between(bundle: Path, pairs: Path, tmp_path: Path) -> None:
    found = {}
    for strength in ("0", "0.5", "1"):
        assert call("predict", bundle, pairs / "low" / "01.png", "-o", tmp_path / f"{strength}.png", "--strength", strength, "--quiet") == 0
        found[strength] = np.asarray(Image.open(tmp_path / f"{strength}.png")).astype(float)
    assert np.array_equal(found["0"], np.asarray(Image.open(pairs / "low" / "01.png")))
    assert found["0"].mean() < found["0.5"].mean() < found["1"].mean()


def test_a_folder_keeps_its_names_reports_bad_files_and_is_not_overwritten(
    bundle: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        Image.open(pairs / "low" / "02.png").save(photos / name)
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:200])
    assert call("predict", bundle, photos, "-o", tmp_path / "out", "--quiet") == 1
    captured = capsys.readouterr()
    assert "broken.png" in captured.out + captured.err
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == ["a.png", "deep/b.png"]
    before = (tmp_path / "out" / "a.png").read_bytes()
    assert call("predict", bundle, photos / "a.png", "-o", tmp_path / "out" / "a.png", "--quiet") == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.png").read_bytes() == before


def test_a_bundle_says_what_it_is_and_was_measured_on(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("info", bundle, "--card") == 0
    card = capsys.readouterr().out
    assert "photic predict FILE photo.jpg" in card
    assert re.search(r"On 2 validation pictures .* slightly too good", card)
    assert "| PSNR" in card
    assert "drawn; free to use" in card


def test_runs_of_two_losses_are_compared(run: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", *SMALL, f"data.root={pairs}", f"output_dir={run.parents[1]}", "loss.terms.ssim=null") == 0
    capsys.readouterr()
    assert call("compare", *sorted(path.parent for path in run.parent.glob("*/results.json"))) == 0
    out = capsys.readouterr().out
    assert "PSNR" in out
    assert "loss.terms.ssim" in out


def test_pictures_without_truth_train_zero_dce(pairs: Path, tmp_path: Path) -> None:
    settings = [
        "recipe=zero_dce",
        "model.width=4",
        f"data.root={pairs / 'low'}",
        "data.pairing=none",
        "data.crop_px=48",
        "data.batch_size=4",
    ]
    settings += ["data.crops_per_picture=1", "training.num_epochs=1", "trainer.num_threads=1", "trainer.accelerator=cpu"]
    metrics = "task.metrics=[saturation]"
    assert call("train", *settings, metrics, f"output_dir={tmp_path}", "--quiet") == 0
    (results,) = tmp_path.glob("*/*/results.json")
    assert json.loads(results.read_text())["best"]["val"]["saturation"] > 0


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run_and_read(*words: Any) -> str:
        assert call(*words) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return error

    return run_and_read


def test_what_cannot_be_is_refused_in_words(refused: Callable[..., str], run: Path, bundle: Path, pairs: Path, tmp_path: Path) -> None:
    picture = pairs / "low" / "00.png"
    assert "strength" in refused("predict", bundle, picture, "-o", tmp_path / "o.png", "--strength", "7")
    assert "no such" in refused("predict", bundle, tmp_path / "none.png", "-o", tmp_path / "o.png")
    assert "161" in refused("train", *SMALL, f"data.root={pairs}", f"output_dir={tmp_path}", "loss.terms.ssim={name:ms_ssim_loss}")
    assert "true pictures" in refused("train", *SMALL, f"data.root={pairs / 'low'}", "data.pairing=none", f"output_dir={tmp_path}")
    assert "data.root" in refused("train", *SMALL, f"output_dir={tmp_path}")
    assert not (tmp_path / "o.png").exists()


def test_a_misspelt_model_and_a_file_for_several_pictures_are_refused(
    refused: Callable[..., str], bundle: Path, pairs: Path, tmp_path: Path
) -> None:
    picture, other = pairs / "low" / "00.png", pairs / "low" / "01.png"
    assert "did you mean 'lowlight'" in refused("predict", "lowlght", picture, "-o", tmp_path / "o.png")
    assert "name of a single file" in refused("predict", bundle, picture, other, "-o", tmp_path / "both.png")
    assert not list(tmp_path.glob("*.png"))


def test_pictures_that_break_when_decoded_are_skipped_on_request(pairs: Path, tmp_path: Path) -> None:
    for part in ("low", "high"):
        (tmp_path / "bad" / part).mkdir(parents=True)
        for path in sorted((pairs / part).iterdir()):
            (tmp_path / "bad" / part / path.name).write_bytes(path.read_bytes())
    whole = (pairs / "low" / "05.png").read_bytes()
    (tmp_path / "bad" / "low" / "05.png").write_bytes(whole[: len(whole) // 2])
    assert call("train", *SMALL, f"data.root={tmp_path / 'bad'}", "data.faulty=skip", "training.max_steps=1", f"output_dir={tmp_path}") == 0
    (results,) = tmp_path.glob("*/*/results.json")
    data = json.loads(results.read_text())["data"]
    assert sum(data["counts"].values()) == 11
    assert any("left out" in note for note in data["notes"])
