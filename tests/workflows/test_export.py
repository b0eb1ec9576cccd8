"""From a trained model to a file that runs without Photic: the same answers, stated differences, or nothing at all."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import photic
from photic.cli.main import main
from photic.core.errors import ConfigError, PhoticError, UnknownNameError
from photic.core.files import sha256_of
from photic.inference.bundle import NoLossConfig, write_bundle
from photic.inference.card import card
from photic.inference.description import describe
from photic.inference.export import onnx_model
from photic.inference.predictor import load
from photic.models.glance import GlanceConfig
from photic.models.tiny import TinyClassifier
from photic.tasks.enhancement import EnhancementConfig
from photic.tasks.interface import GraphInterface

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"
CLASSES = ("scratch", "pit", "patch")
SIZE = (40, 64)


def bundled(path: Path, task: Any, config: dict[str, Any]) -> Path:
    facts = {"photic": "0", "created": "today", **describe(config, {}, path.stem)}
    return write_bundle(path, task, {**facts, "card": card(facts | task.description(), task.usage)})


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of resized pictures as a bundle, with weights that say something."""
    config = photic.recipe("quick_strips", {"model.width": 16})
    torch.manual_seed(0)
    task = config.task.build(config.model, config.loss, {"classes": CLASSES, "thresholds": [0.4, 0.5, 0.6]}).eval()
    with torch.no_grad():
        for parameter in task.graph.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    plain = config.to_dict()
    plain["data"]["image_size"] = list(SIZE)
    return bundled(tmp_path_factory.mktemp("models") / "line.photic", task, plain)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (80, 128, 3), dtype=np.uint8)).resize((100, 50)).save(path)
    return paths


@pytest.fixture(scope="module")
def exported(strips: Path, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("exported")
    return photic.export(strips, folder / "line.onnx", check=pictures[:2], golden=folder / "golden.npz", quiet=True)


def test_it_stands_beside_a_description_that_holds_for_it(exported: Any, strips: Path) -> None:
    said = json.loads(exported.sidecar.read_text())
    assert said == exported.description
    assert exported.sidecar.name == "line.onnx.json"
    content = exported.output.read_bytes()
    assert said["size_bytes"] == len(content)
    assert said["sha256"] == sha256_of(exported.output)
    task = load(strips, "cpu").task
    assert GraphInterface.from_json(said["interface"]) == task.interface()
    assert (said["classes"], said["thresholds"], said["image_size"]) == (list(CLASSES), [0.4, 0.5, 0.6], list(SIZE))
    assert said["processing"] == task.description()["processing"]
    assert said["model"]["network"] == "tiny" and said["model"]["file"] == "line.photic"
    checks = said["checked"]["on"]
    assert [check["what"] for check in checks] == ["made-up inputs of other sizes", "0.png", "1.png"]
    assert all(one["relative"] <= said["checked"]["tolerance"] == 1e-4 for check in checks for one in check["differences"])
    assert said["speed"]["ratio"] > 0
    assert "checked 1.png: largest difference probabilities" in exported.summary()


def test_no_path_of_this_machine_goes_along(exported: Any) -> None:
    for path in (exported.output, exported.sidecar):
        content = path.read_bytes()
        assert b"/site-packages/" not in content and b"src/photic" not in content and str(exported.output.parent).encode() not in content


def test_golden_inputs_and_outputs_are_those_of_the_runtime(exported: Any) -> None:
    with np.load(exported.golden, allow_pickle=False) as golden:
        assert sorted(golden.files) == ["input_picture", "output_probabilities"]
        session = onnxruntime.InferenceSession(exported.output)
        (found,) = session.run(None, {"picture": golden["input_picture"]})
        np.testing.assert_allclose(found, golden["output_probabilities"], atol=1e-5)


def snippet(title: str) -> str:
    """Return a program of the manual."""
    found = re.search(rf'```python title="{title}"\n(.*?)```', DOCS.read_text(), re.DOTALL)
    assert found is not None, f"{DOCS} has no program {title}"
    assert "photic" not in found[1].replace("Photic", ""), "it is to run without Photic"
    return found[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_classifier_of_the_manual_says_what_photic_says(
    exported: Any, strips: Path, pictures: list[Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (exported.output, exported.sidecar):
        (here / path.name).symlink_to(path)
    (here / "strips" / "test_images").mkdir(parents=True)
    for path in pictures:
        (here / "strips" / "test_images" / path.name).symlink_to(path)
    (here / "classify.py").write_text(snippet("classify.py"))
    runpy.run_path("classify.py")
    model = load(strips, "cpu")
    expected = model.predict(pictures)
    lines = capsys.readouterr().out.splitlines()
    for line, path, own in zip(lines, pictures, expected, strict=True):
        name, numbers, present = re.fullmatch(r"(\S+) (\[.*?\]) (\[.*\])", line).groups()  # type: ignore[union-attr]
        assert name == path.name
        np.testing.assert_allclose(json.loads(numbers), own, atol=2e-4)
        decided = [label for label, p, limit in zip(CLASSES, own, model.thresholds, strict=True) if p >= limit]
        assert present == str(decided)
    assert len(set(lines)) > 1


@pytest.mark.slow
def test_the_enhancer_of_the_manual_makes_what_photic_makes(here: Path) -> None:
    torch.manual_seed(0)
    config, settings = GlanceConfig(), EnhancementConfig()
    task = settings.build(config, NoLossConfig(), {}).eval()
    with torch.no_grad():
        for parameter in task.graph.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    model = bundled(here / "m.photic", task, {"task": settings.to_dict(), "model": config.to_dict(), "data": {"name": "low_light"}})
    assert main(["export", str(model), "-o", "lowlight.onnx", "--quiet"]) == 0
    (here / "brighten.py").write_text(snippet("brighten.py"))
    made = runpy.run_path("brighten.py")
    from photic.apps.lowlight import enhance

    own = enhance(np.asarray(made["night"]), model, device="cpu")
    assert np.abs(np.asarray(Image.open("bright.png")).astype(int) - own.astype(int)).max() <= 1
    assert np.asarray(own, float).mean() != np.asarray(made["night"], float).mean()


def test_a_program_for_torch_is_the_network(strips: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(strips), "--format", "torch", "-o", "line.pt2", "--quiet"]) == 0
    assert "tolerance" in capsys.readouterr().out
    program = torch.export.load(here / "line.pt2").module()
    picture = torch.rand(5, 3, 33, 70)
    with torch.inference_mode():
        expected = load(strips, "cpu").task.deployable()(picture)
    torch.testing.assert_close(program(picture), expected)
    assert json.loads((here / "line.pt2.json").read_text())["checked"]["runtime"] == "torch"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision_states_its_loss(strips: Path, pictures: list[Path], here: Path, precision: str) -> None:
    calibrate = pictures if precision == "int8" else ()
    try:
        made = photic.export(strips, "low.onnx", precision=precision, calibrate=calibrate, quiet=True)
    except ConfigError as error:
        assert re.search(r"does not pay|loses too much", str(error)) and re.search(r"\d", str(error))
        assert not any(here.iterdir())
        return
    said = made.description
    assert said["precision"] == precision and said["checked"]["tolerance"] is None
    assert "decisions changed" in said["loss"]
    assert "loss    decisions changed" in made.summary()
    picture = torch.rand(2, 3, 50, 70)
    (found,) = onnxruntime.InferenceSession("low.onnx").run(None, {"picture": picture.numpy()})
    with torch.inference_mode():
        expected = load(strips, "cpu").task.deployable()(picture).numpy()
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).mean() < 0.05


class Lying(TinyClassifier):
    """Becomes another network when it is exported."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = super().forward(image)
        return logits + 0.5 if torch.compiler.is_exporting() else logits


def test_a_graph_that_is_not_the_network_is_not_written(strips: Path, here: Path) -> None:
    model = load(strips, "cpu")
    model.task.graph.network.__class__ = Lying
    with pytest.raises(
        ConfigError, match=r"the exported graph is not what the network 'tiny' gives: probabilities 0\.\d+ .*nothing was written"
    ):
        photic.export(model, "line.pt2", format="torch", golden="golden.npz", quiet=True)
    assert not any(here.iterdir())


class Branching(TinyClassifier):
    """Looks at values."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image if float(image.mean()) > 0 else -image)


class Refusing(TinyClassifier):
    """Says why not."""

    def why_not_exported(self, output_format: str, precision: str) -> str | None:
        return f"its heart beats in {output_format}"


@pytest.mark.parametrize(("kind", "words"), [(Branching, "graph cannot be captured"), (Refusing, "its heart beats in torch")])
def test_what_cannot_be_exported_says_why(strips: Path, here: Path, kind: type, words: str) -> None:
    model = load(strips, "cpu")
    model.task.graph.network.__class__ = kind
    with pytest.raises(ConfigError, match=f"network 'tiny'.*{words}"):
        photic.export(model, "line.pt2", format="torch", quiet=True)
    assert not any(here.iterdir())


WRONG: list[tuple[list[str], str]] = [
    (["-o", "a.onnx", "--format", "onxx"], "format: expected onnx or torch, got 'onxx'; did you mean 'onnx'"),
    (["-o", "a.onnx", "--precision", "fp8"], "precision: expected fp32, fp16, int8, got 'fp8'"),
    (["-o", "a.pt2", "--format", "torch", "--precision", "fp16"], "precision=fp16: only for format=onnx"),
    (["-o", "a.pt2", "--format", "torch", "--opset", "18"], "opset=18: only for format=onnx"),
    (["-o", "a.onnx", "--opset", "7"], "opset: expected 18 to 23, got 7"),
    (["-o", "a.onnx", "--calibrate", "x.png"], "calibrate: only int8"),
    (["-o", "a.bin"], "a.bin: a file of the format onnx ends in .onnx, for example a.onnx"),
    (["-o", "a.onnx", "--golden", "g.txt"], "g.txt: golden inputs and outputs are written as .npz"),
    (["-o", "there.onnx"], "there.onnx: is there already"),
    (["-o", "beside.onnx"], "beside.onnx.json: is there already"),
    (["-o", "folder.onnx"], "folder.onnx: is a folder"),
    (["-o", "a.onnx", "--check", "no.png"], "no.png: no such file; give pictures to check with"),
    (["-o", "a.onnx", "--check", "text.png"], "text.png"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_use_is_told_at_once(strips: Path, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    (here / "there.onnx").write_text("mine")
    (here / "beside.onnx.json").write_text("mine")
    (here / "folder.onnx").mkdir()
    (here / "text.png").write_text("no picture")
    before = sorted(here.iterdir())
    assert main(["export", str(strips), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert sorted(here.iterdir()) == before
    assert (here / "there.onnx").read_text() == "mine"


def test_missing_packages_say_what_to_install(strips: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "PACKAGES", ("onnx", "onnx_that_nobody_has"))
    with pytest.raises(ConfigError, match=r'onnx_that_nobody_has is not installed; pip install "photic\[export\]"'):
        photic.export(strips, "a.onnx", quiet=True)


def test_unfinished_runs_and_what_is_no_model_are_refused(here: Path) -> None:
    with pytest.raises(UnknownNameError, match="nosuch"):
        photic.export("nosuch", "a.onnx", quiet=True)
    (here / "notes.txt").write_text("no model")
    with pytest.raises(PhoticError, match=r"notes\.txt"):
        photic.export("notes.txt", "a.onnx", quiet=True)
    run = here / "runs" / "some" / "20260101-000000"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(json.dumps(photic.recipe("quick_strips").to_dict()))
    (run / "results.json").write_text(json.dumps({"schema": 1, "status": "interrupted"}))
    with pytest.raises(ConfigError, match=r"not finished \(status interrupted\).*photic train --resume"):
        photic.export(run, "a.onnx", quiet=True)
