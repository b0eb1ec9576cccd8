"""A bundle of every application: it says all that is needed, predicts its run's predictions to the byte, and executes nothing."""

from __future__ import annotations

import getpass
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import photic
from photic.apps.defects.generate import generate as generate_strips
from photic.apps.lowlight.generate import generate as generate_lowlight
from photic.apps.ptycho.raw import save_raw_npz
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.rawnind.synthetic.generate import generate as generate_raw
from photic.cli.main import main
from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.container import read_header
from photic.core.plugins import shipped_models
from photic.inference.predictor import load
from photic.tasks.interface import GraphInterface
from photic.tracking.run import Run
from photic.workflows.info import info

SIDE = 32


@dataclass(frozen=True)
class Case:
    """An application with a small network, a real kind of file, and what its bundles must say."""

    recipe: str
    overrides: dict[str, Any]
    data: dict[str, Any]
    """What a task is told of the data."""
    measurement: Callable[[Path], Path]
    """Makes a file to predict in a folder."""
    command: list[str]
    """`photic` with MODEL, FILE and OUT for what they are."""
    says: tuple[str, ...]
    """Places of the description that must say something."""
    test: dict[str, Any]
    """What was measured."""
    comparison: bool = True


def strips(folder: Path) -> Path:
    generate_strips(folder / "strips", 1, 1, height=48, width=96)
    return next((folder / "strips" / "test_images").iterdir())


def dark(folder: Path) -> Path:
    generate_lowlight(folder / "dark", num=2, height=64, width=80)
    return next(path for path in (folder / "dark").rglob("*.png") if "low" in str(path.parent) or "dark" in path.parent.name)


def raw(folder: Path) -> Path:
    generate_raw(folder / "raw", num=1, height=96, width=112, iso=[1600])
    return next(path for path in (folder / "raw").rglob("*.dng") if path.parent.name != "gt")


def scan(folder: Path) -> Path:
    return save_raw_npz(folder / "scan.npz", generated_scan(size_px=SIDE, num_positions=12, seed=0))


PTYCHOGRAPHY = {"size_px": SIDE, "num_patterns": 4, "num_scans": 1, "num_modes": 2, "num_positions": 12, "normalisation": 0.01,
                "refined_probe": False, "scaled_probe": True, "scans": ["a.npz"]}  # fmt: skip
RAW = ("processing.before.values", "processing.before.mosaics", "processing.noise.variance", "noise_model.trained_for_iso", "measurement")
TILING = ("processing.tiling.align_px", "processing.tiling.padded_to_multiple_px")
MACRO = {"ap": 0.5, "auc": 0.6, "precision": 0.7, "recall": 0.8, "f1": 0.9}
AT = {"macro": MACRO, "micro": MACRO, "per_class": dict.fromkeys(("a", "b", "c", "d"), MACRO)}
CASES = {
    "defects": Case(
        "quick_strips",
        {"model.width": 4},
        {"classes": ["a", "b", "c", "d"], "thresholds": [0.2, 0.3, 0.4, 0.5]},
        strips,
        ["predict", "MODEL", "FILE", "-o", "OUT/out.csv"],
        ("classes", "thresholds", "processing.before.mean", "processing.before.std", "processing.after.decision"),
        {"at_tuned": AT, "at_0.5": AT},
        comparison=False,
    ),
    "lowlight": Case(
        "quick_lowlight",
        {"model.width": 8},
        {},
        dark,
        ["predict", "MODEL", "FILE", "-o", "OUT/out.png"],
        ("processing.before.overview_px", "processing.before.decision", "processing.after.values", "processing.tiling.margin_px", *TILING),
        {"psnr": 20.0, "ssim": 0.7},
    ),
    "raw denoising": Case(
        "quick_raw",
        {"model.size": "tiny"},
        {"measurement": "mosaic", "iso": [100.0, 6400.0]},
        raw,
        ["predict", "MODEL", "FILE", "-o", "OUT/out.dng"],
        (*RAW, "iso", "processing.tiling.margin_px", *TILING),
        {"psnr": 30.0, "iso": {"100": {"psnr": 33.0}, "6400": {"psnr": 27.0}}},
    ),
    "compression": Case(
        "quick_compress",
        {"model.width": 4, "model.num_latents": 4, "model.hyper_widths": [4, 4]},
        {"measurement": "mosaic", "iso": [100.0, 6400.0]},
        raw,
        ["compress", "FILE", "--model", "MODEL", "-o", "OUT/out.phc"],
        (*RAW, "num_qualities", "processing.tiling.latent_px", "processing.tiling.encoder_margin_px", *TILING),
        {"psnr": 30.0, "bpp_actual": 0.5, "quality": {"1": {"psnr": 28.0, "bpp_actual": 0.2}}},
    ),
    "ptychography": Case(
        "quick_ptycho",
        {"model.width_factor": 0.125, "data.gridsize": 2},
        {"ptychography": PTYCHOGRAPHY},
        scan,
        ["predict", "MODEL", "FILE", "-o", "OUT"],
        ("ptychography.normalisation", "ptychography.gridsize", "ptychography.intensity_scale", "ptychography.scaled_probe",
         "processing.before.groups", "processing.after.stitching", "processing.after.probe"),
        {"r_amp": 0.1},
    ),
}  # fmt: skip
EVERYWHERE = (
    "name", "card", "config.task.name", "config.model.name", "interface.inputs", "interface.outputs", "input", "data.terms", "data.counts",
    "data.fingerprint", "metrics.test", "training.settings.loss", "parameters.total", "environment.packages", "photic", "created",
)  # fmt: skip


def at(description: Any, place: str) -> Any:
    for key in place.split("."):
        description = description.get(key) if isinstance(description, dict) else None
    return description


@dataclass(frozen=True)
class Made:
    case: Case
    run: Path
    bundle: Path
    file: Path


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run as training leaves it, its weights not trained; its bundle; a file."""
    case, folder = CASES[request.param], tmp_path_factory.mktemp("made")
    config = photic.recipe(case.recipe, {**case.overrides, "output_dir": str(folder / "runs")})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, case.data).eval()
    if request.param == "compression":
        task.network.bit_estimator.fix()  # type: ignore[union-attr, operator]
    if request.param == "ptychography":
        task.graph.probe_parts.copy_(torch.randn_like(task.graph.probe_parts))  # type: ignore[union-attr]
    plain = {**config.to_dict(), "output_dir": "/home/somebody/runs"}
    run = Run.create({**plain, "output_dir": str(folder / "runs")})
    run.checkpoint("best").parent.mkdir(exist_ok=True)
    description = {"config": plain, **task.description()}
    write_checkpoint(run.checkpoint("best"), Checkpoint(task.state_dict(), description=description))
    run.save_results(
        status="completed",
        data={"counts": {"train": 3, "val": 2, "test": 1}, "fingerprint": "ab" * 32, "split_strategy": "by scene", "notes": ["drawn"],
              "root": "/home/somebody/data"},
        best={"epoch": 1, "step": 2, "value": 0.5, "monitor": "loss", "val": {"loss": 0.5}},
        test=case.test,
        parameters={"total": sum(parameter.numel() for parameter in task.parameters())},
        environment={"python": "3", "packages": {"torch": "2"}, "command": "photic train data.root=/home/somebody/data"},
        comparison=None if task.comparison is None else task.comparison.to_dict(),
        **task.description(),
    )  # fmt: skip
    bundle = photic.bundle(run.path, folder / "model.photic", terms="drawn; free to use").bundle
    return Made(case, run.path, bundle, case.measurement(folder))


def test_it_says_all_that_using_it_needs(made: Made) -> None:
    description = read_header(made.bundle).description
    missing = [place for place in (*EVERYWHERE, *made.case.says) if at(description, place) in (None, "", [], {})]
    assert not missing or (missing == ["input"] and made.case.recipe == "quick_strips")
    assert GraphInterface.from_json(description["interface"]) == load(made.bundle, "cpu").task.interface()
    if made.case.comparison:
        assert description["scores"][0]["name"] in made.case.test


def test_it_predicts_what_its_run_predicts_to_the_byte(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(made.bundle, "model.photic")  # away from its run
    results: list[dict[str, Any]] = []
    for source in (str(made.run), "model.photic"):
        shutil.rmtree("out", ignore_errors=True)
        Path("out").mkdir()
        words = {"MODEL": source, "FILE": str(made.file), "OUT": "out"}
        assert main([words.get(word, word.replace("OUT", "out")) for word in made.case.command] + ["--force"]) == 0
        results.append({path.name: content(path) for path in Path("out").iterdir() if path.suffix != ".h5"})
    capsys.readouterr()
    assert results[0] and results[0].keys() == results[1].keys()
    for name in results[0]:
        assert results[0][name] == results[1][name], name


def content(path: Path) -> Any:
    """Return what a file holds; of an object's archive its arrays, for it also says by which model and when it was made."""
    if path.suffix != ".npz":
        return path.read_bytes()
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name].tobytes() for name in archive.files if name != "_metadata"}


def test_a_networks_answers_are_the_runs_to_the_bit(made: Made) -> None:
    own, other = load(made.run, "cpu").task, load(made.bundle, "cpu").task
    inputs = own.example(seed=3)
    with torch.inference_mode():
        answers = [task.tensor_graph()(*inputs) for task in (own, other)]
    for one, two in zip(*(answer if isinstance(answer, tuple) else (answer,) for answer in answers), strict=True):
        assert torch.equal(one, two)


def test_it_tells_nothing_of_the_machine_and_its_user(made: Made) -> None:
    text = json.dumps(read_header(made.bundle).description)
    assert "somebody" not in text and str(made.run.parents[2]) not in text and "/home/" not in text and str(Path.home()) + "/" not in text
    user = getpass.getuser()
    assert user == "root" or user not in text  # root is a word of its own


def test_nothing_of_it_is_executed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a pickle was opened")

    for place, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load"), (np, "load")):
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.setattr("torch.serialization.load", refuse)
    loaded = load(made.bundle, "cpu")
    with torch.inference_mode():
        loaded.task.tensor_graph()(*loaded.task.example())
    assert info(made.bundle).card is not None


def test_card_and_page_are_of_its_own_field(made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = info(made.bundle).card or ""
    task = load(made.bundle, "cpu").task
    for heading in ("## Use", "## What goes in, what comes out", "## Around the network", "## Measured", "## Limits", "## Terms"):
        assert f"\n{heading}\n" in text
    for port in (*task.interface().inputs, *task.interface().outputs):
        assert f"| `{port.name}` |" in text
    assert all(limit in text for limit in task.limits)
    classifier = bool(getattr(task, "classes", ()))
    assert ("threshold" in text.lower()) == classifier
    assert main(["info", str(made.bundle)]) == 0
    page = capsys.readouterr().out
    for word in ("network ", "takes ", "gives ", "before ", "after ", "test ", "terms ", "use ", "SHA-256"):
        assert f"\n{word}" in page or word in page
    assert main(["info", str(made.run)]) == 0
    of_run = capsys.readouterr().out
    assert "\nbefore " in of_run and "\nafter " in of_run
    for level in ("iso", "quality"):
        if level in made.case.test:
            assert {"iso": "By ISO", "quality": "By quality level"}[level] in text
            assert all(f"{group} " in page for group in made.case.test[level])


@pytest.mark.parametrize("name", shipped_models())
def test_models_that_come_along_say_what_users_and_other_programs_need(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(shipped_models()[name], "cpu")
    with torch.inference_mode():
        loaded.task.tensor_graph()(*loaded.task.example())
    said = read_header(shipped_models()[name]).description
    assert GraphInterface.from_json(said["interface"]) == loaded.task.interface()
    assert said["data"]["terms"] and said["processing"]["tiling"] and said["name"] == name
    assert "/tmp" not in json.dumps(said), "no folder of whoever trained it"
    assert main(["info", name]) == 0
    page = capsys.readouterr().out
    assert f"bundle {name}" in page and "PSNR" in page and "photic " in page.partition("use ")[2]
    assert "takes " in page and "gives " in page
