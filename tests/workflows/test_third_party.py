"""A package from outside, really installed through its entry point: what it brings is listed, trained, measured and applied.

Nothing in Photic names it, and Photic's own environment is left alone: the package is installed into a folder that
only the commands of this test see.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from .sessions import Answer, session

PACKAGE = Path(__file__).parent / "tiny_lab_photic"


def write_wheel(folder: Path) -> Path:
    """Write what a build of the package gives: its files, and metadata with the entry point (no build backend is at hand offline)."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    files = sorted(path for path in (PACKAGE / "tiny_lab").rglob("*") if path.suffix in (".py", ".yaml"))
    points = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in project["entry-points"].items())
    requires = "".join(f"Requires-Dist: {text}\n" for text in project["dependencies"])
    content = {
        **{path.relative_to(PACKAGE).as_posix(): path.read_text() for path in files},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = "".join(f"{name},sha256={digest(text)},{len(text.encode())}\n" for name, text in content.items()) + f"{info}/RECORD,,\n"
    wheel = folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return wheel


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def install(wheel: Path, target: Path) -> None:
    """Install a wheel into a folder, without network."""
    if find_spec("pip") is not None:
        installer = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    else:
        installer = ["uv", "pip", "install", "--quiet", "--offline", "--python", sys.executable]
    done = subprocess.run(
        [*installer, "--no-index", "--no-deps", "--target", str(target), str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with the package installed in ``site``."""
    folder = tmp_path_factory.mktemp("outside")
    install(write_wheel(folder), folder / "site")
    return folder


BROUGHT = [
    ("models", "lab_net", "tiny_lab.networks"),
    ("losses", "lab_loss", "tiny_lab.losses"),
    ("datasets", "lab_dots", "tiny_lab.data"),
    ("metrics", "lab_hits", "tiny_lab.metrics"),
    ("recipes", "lab_dots", "tiny_lab"),
    ("plugins", "tiny_lab", "tiny_lab"),
]
MISTAKES = [
    (["model.filter=3"], "config.model: unknown field 'filter'; did you mean 'filters'?"),
    (["model.filters=0"], "config.model.filters: expected a value >= 1 and <= 64, got 0"),
    (["loss.sharpnes=1"], "config.loss: unknown field 'sharpnes'; did you mean 'sharpness'?"),
    (["loss.sharpness=very"], "config.loss.sharpness: expected float, got 'very' (str)"),
    (["loss.sharpness=-1"], "config.loss.sharpness: expected a value > 0, got -1"),
    (["data=lab_dot"], "config.data.name: unknown dataset 'lab_dot'; did you mean 'lab_dots'?"),
]
SHORT = ["recipe=lab_dots", "training.num_epochs=1", "--quiet"]
INSTALLED = {
    **{f"list {kind}": ["list", kind, "--json"] for kind, _, _ in BROUGHT},
    **{f"list {kind} {name}": ["list", kind, name] for kind, name, _ in BROUGHT},
    "schema of lab_net": ["list", "models", "lab_net", "--schema"],
    "schema of lab_loss": ["list", "losses", "lab_loss", "--schema", "--json"],
    "help": ["--help"],
    "train": ["train", "recipe=lab_dots", "--quiet"],
    "train longer": ["train", *SHORT, "output_dir=longer"],
    "sweep": ["train", "-m", *SHORT, "output_dir=mixed", "model.name=tiny,labnet", "loss.name=focal,lab_loss"],
    "sum": ["train", *SHORT, "output_dir=mixed", "loss=sum", "loss.terms={a:{name:lab_loss,sharpness:3.0},b:{name:focal}}"],
    "evaluate": ["evaluate", "runs/lab/*"],
    "resume": ["train", "--resume", "longer/lab/*", "training.num_epochs=2", "--quiet"],
    "predict": ["predict", "runs/lab/*", "pictures", "-o", "out.csv", "--quiet"],
    "bundle": ["bundle", "runs/lab/*", "-o", "lab.photic"],
    "predict with the bundle": ["predict", "lab.photic", "pictures", "-o", "out.lab", "--format", "lab", "--quiet"],
}
"""Command lines where the package is installed, all of which succeed."""
MISSING = {
    "predict": ["predict", "runs/lab/*", "pictures", "-o", "never.csv"],
    "predict with the bundle": ["predict", "lab.photic", "pictures", "-o", "never.csv"],
    "evaluate": ["evaluate", "runs/lab/*"],
    "resume": ["train", "--resume", "runs/lab/*", "training.num_epochs=9"],
    "train": ["train", "recipe=lab_dots"],
}
"""Command lines that need it, where it is not installed."""
Said = dict[str, Answer]


@pytest.fixture(scope="module")
def said(place: Path) -> Said:
    """What is said where the package is installed."""
    import numpy as np
    from PIL import Image

    (place / "pictures").mkdir()
    for number in range(3):
        dots = np.full((24, 24), 128, np.uint8)
        dots[5:8, 5:8] = 255 if number else 0
        Image.fromarray(dots).save(place / "pictures" / f"{number}.png")
    mistakes = {f"mistake {message}": ["train", "recipe=lab_dots", *words] for words, message in MISTAKES}
    return session({**INSTALLED, **mistakes}, place, place / "site")


@pytest.fixture(scope="module")
def trained(place: Path, said: Said) -> Path:
    """A run of their recipe."""
    (run,) = (place / "runs" / "lab").iterdir()
    return run


@pytest.fixture(scope="module")
def said_without(place: Path, said: Said) -> Said:
    """What is said where it is not installed, about what was made where it is."""
    return session({**MISSING, **{f"list {kind}": ["list", kind] for kind, _, _ in BROUGHT}}, place, None)


def test_every_command_line_succeeds(said: Said) -> None:
    assert {name: said[name].err for name in INSTALLED if said[name].status != 0} == {}


@pytest.mark.parametrize(("kind", "name", "module"), BROUGHT, ids=[kind for kind, _, _ in BROUGHT])
def test_what_it_brings_is_listed_with_its_module(said: Said, said_without: Said, kind: str, name: str, module: str) -> None:
    found = json.loads(said[f"list {kind}"].out)
    assert [row["module"] for row in found if row["name"] == name] == [module]
    assert len(found) > 1
    (line,) = [line for line in said[f"list {kind} {name}"].out.splitlines() if line.split()[0] == name]
    assert line.split()[-1] == module
    assert said_without[f"list {kind}"].status == 0
    assert name not in said_without[f"list {kind}"].out


def test_its_schemas_show_fields_types_ranges_defaults_and_source(said: Said) -> None:
    text = said["schema of lab_net"].out
    assert "lab_net (also: labnet)" in text
    assert "class: tiny_lab.networks.LabNetConfig" in text
    assert 'source: Tiny Lab 2026, "All you need is one convolution".' in text
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("filters"))
    assert row == ["filters", "int", ">=", "1", "and", "<=", "64", "8"]
    assert "Number of filters." in text


def test_a_plain_class_shows_the_arguments_it_takes(said: Said) -> None:
    """Its config is made from its signature: the catalogue must show the same fields without importing it."""
    (found,) = json.loads(said["schema of lab_loss"].out)
    assert {field["name"]: (field["type"], field["range"], field["default"], field["doc"]) for field in found["fields"]} == {
        "weight": ("float", ">= 0", 1.0, "Factor of this loss in the total."),
        "sharpness": ("float", "> 0", 1.0, "factor on the logits, which are saturated sooner where it is large."),
    }


def test_its_recipe_trains_with_its_network_loss_data_and_metric(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["status"] == "completed"
    assert results["names"] == {"task": "multilabel_classification", "model": "lab_net", "loss": "lab_loss", "data": "lab_dots"}
    assert results["config"]["loss"] == {"name": "lab_loss", "weight": 1.0, "sharpness": 2.0}
    assert results["best"]["monitor"] == "lab_hits"
    assert results["best"]["value"] > 0.8
    assert results["classes"] == ["bright", "dark"]
    assert results["requires"] == ["tiny-lab-photic 0.3.1"]


def test_its_pieces_go_together_with_photics_own(place: Path, said: Said) -> None:
    found = [json.loads(path.read_text()) for path in (place / "mixed").glob("*/*/results.json")]
    assert {results["status"] for results in found} == {"completed"}
    assert {results["names"]["data"] for results in found} == {"lab_dots"}
    assert sorted((results["names"]["model"], results["names"]["loss"]) for results in found) == [
        ("lab_net", "focal"), ("lab_net", "lab_loss"), ("lab_net", "sum"), ("tiny", "focal"), ("tiny", "lab_loss"),
    ]  # fmt: skip
    assert {"a", "b"} <= next(results for results in found if results["names"]["loss"] == "sum")["history"][0]["train"].keys()


@pytest.mark.parametrize("message", [message for _, message in MISTAKES])
def test_a_mistake_in_its_settings_is_answered_like_any_other(said: Said, message: str) -> None:
    answer = said[f"mistake {message}"]
    assert answer.status == 2
    assert answer.err.startswith(f"photic: error: {message}")


def test_its_run_is_measured_resumed_bundled_and_applied(place: Path, trained: Path) -> None:
    assert "lab_hits" not in json.loads((trained / "evaluations" / "test.json").read_text())  # a metric of validation
    (longer,) = (place / "longer" / "lab").iterdir()
    assert len(json.loads((longer / "results.json").read_text())["history"]) == 2
    with open(place / "out.csv", newline="") as handle:
        assert [row["decision:bright"] for row in csv.DictReader(handle)] == ["0", "1", "1"]
    assert (place / "out.lab").read_text().splitlines()[1:] == ["1.png=bright", "2.png=bright"]


def test_its_command_is_one_of_photics(place: Path, said: Said) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "photic", "lab-hello", "world"], capture_output=True, text=True, check=False, cwd=place,
        env={**os.environ, "PYTHONPATH": str(place / "site")},
    )  # fmt: skip
    assert done.stdout == "hello world\n", done.stderr
    assert "lab-hello" in said["help"].out


def test_python_sees_it_too(place: Path) -> None:
    code = (
        "import photic; assert 'lab_net' in photic.list_models(); assert photic.recipe('lab_dots').model.filters == 6; "
        "net, loss = photic.create_model('lab_net', num_classes=2), photic.create_loss('lab_loss', sharpness=3.0); "
        "print(type(net).__module__, loss.sharpness)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=place,
        env={**os.environ, "PYTHONPATH": str(place / "site")},
    )  # fmt: skip
    assert done.stdout == "tiny_lab.networks 3.0\n", done.stderr


@pytest.mark.parametrize("name", [name for name in MISSING if name != "train"])
def test_without_the_package_the_message_says_what_is_missing_and_what_to_install(
    place: Path, said_without: Said, trained: Path, name: str
) -> None:
    run = trained.relative_to(place)
    files = {"predict": run / "checkpoints" / "best.safetensors", "predict with the bundle": "lab.photic"}
    answer = said_without[name]
    assert answer.status == 2
    assert answer.err.startswith(f"photic: error: {files.get(name, run / 'config.yaml')}: ")
    assert "unknown model 'lab_net'" in answer.err
    assert "It was made with tiny-lab-photic 0.3.1, which is not installed here: pip install tiny-lab-photic" in answer.err
    assert not (place / "never.csv").exists()


def test_without_the_package_its_recipe_is_unknown(said_without: Said) -> None:
    assert said_without["train"].status == 2
    assert "unknown recipe 'lab_dots'" in said_without["train"].err


def test_two_packages_that_bring_the_same_name_are_told_apart(place: Path, tmp_path: Path) -> None:
    """A second copy under another package name registers the same components."""
    twin = tmp_path / "twin"
    shutil.copytree(place / "site" / "tiny_lab", twin / "tiny_lab_twin")
    plugin = twin / "tiny_lab_twin" / "plugin.py"
    plugin.write_text(plugin.read_text().replace('"tiny_lab"', '"tiny_lab_twin"').replace("commands={", "data_commands={"))
    info = twin / "tiny_lab_twin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-lab-twin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[photic.plugins]\ntwin = tiny_lab_twin.plugin:plugin\n")
    done = subprocess.run(
        [sys.executable, "-m", "photic", "list", "models"], capture_output=True, text=True, check=False, cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place / "site"), str(twin)])},
    )  # fmt: skip
    assert done.returncode == 2
    assert "models: 'lab_net' is registered twice, in tiny_lab.networks and tiny_lab_twin.networks; rename one" in done.stderr


def test_a_package_that_does_not_load_is_named(place: Path, tmp_path: Path) -> None:
    (tmp_path / "broken_lab.py").write_text("import nothing_of_this_name\n")
    info = tmp_path / "broken_lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-lab\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[photic.plugins]\nbroken = broken_lab:plugin\n")
    done = subprocess.run(
        [sys.executable, "-m", "photic", "list", "models"], capture_output=True, text=True, check=False, cwd=place,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "plug-in 'broken' of package broken-lab does not load: ModuleNotFoundError" in done.stderr
    assert "fix or uninstall broken-lab" in done.stderr
