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
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

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


# Several command lines in one process, since importing torch takes longer than each of them.
SESSION = """
import json, sys
from photic.cli.main import main

statuses = {main(words) for words in json.loads(sys.argv[1])}
sys.exit(statuses.pop() if len(statuses) == 1 else 99)
"""

Photic = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def photic(place: Path) -> Photic:
    """Run command lines where the package is installed (``installed=False``: where it is not), all with the same exit status."""

    def run(*lines: list[str], installed: bool = True, status: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if installed:
            environment["PYTHONPATH"] = str(place / "site")
        command = ["-m", "photic", *lines[0]] if len(lines) == 1 else ["-c", SESSION, json.dumps(lines)]
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False, cwd=place, env=environment, timeout=300
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def trained(place: Path, photic: Photic) -> Path:
    """A run of their recipe."""
    photic(["train", "recipe=lab_dots", "--quiet"])
    (run,) = (place / "runs" / "lab").iterdir()
    return run


@pytest.fixture(scope="module")
def pictures(place: Path) -> Path:
    import numpy as np
    from PIL import Image

    folder = place / "pictures"
    folder.mkdir()
    for number in range(3):
        dots = np.full((24, 24), 128, np.uint8)
        dots[5:8, 5:8] = 255 if number else 0
        Image.fromarray(dots).save(folder / f"{number}.png")
    return folder


def test_what_it_brings_is_listed_with_its_module(photic: Photic) -> None:
    for kind, name, module in [
        ("models", "lab_net", "tiny_lab.networks"),
        ("losses", "lab_loss", "tiny_lab.losses"),
        ("datasets", "lab_dots", "tiny_lab.data"),
        ("metrics", "lab_hits", "tiny_lab.metrics"),
        ("recipes", "lab_dots", "tiny_lab"),
        ("plugins", "tiny_lab", "tiny_lab"),
    ]:
        found = json.loads(photic(["list", kind, "--json"]).stdout)
        assert [row["module"] for row in found if row["name"] == name] == [module]
        assert len(found) > 1
        (line,) = [line for line in photic(["list", kind, name]).stdout.splitlines() if line.split()[0] == name]
        assert line.split()[-1] == module
        assert name not in photic(["list", kind], installed=False).stdout


def test_its_schemas_show_fields_types_ranges_defaults_and_source(photic: Photic) -> None:
    text = photic(["list", "models", "lab_net", "--schema"]).stdout
    assert "lab_net (also: labnet)" in text
    assert "class: tiny_lab.networks.LabNetConfig" in text
    assert 'source: Tiny Lab 2026, "All you need is one convolution".' in text
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("filters"))
    assert row == ["filters", "int", ">=", "1", "and", "<=", "64", "8"]
    assert "Number of filters." in text


def test_a_plain_class_shows_the_arguments_it_takes(photic: Photic) -> None:
    """Its config is made from its signature: the catalogue must show the same fields without importing it."""
    (found,) = json.loads(photic(["list", "losses", "lab_loss", "--schema", "--json"]).stdout)
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


def test_its_pieces_go_together_with_photics_own(place: Path, photic: Photic) -> None:
    words = ["recipe=lab_dots", "training.num_epochs=1", "output_dir=mixed", "--quiet"]
    photic(
        ["train", "-m", *words, "model.name=tiny,labnet", "loss.name=focal,lab_loss"],
        ["train", *words, "loss=sum", "loss.terms={a:{name:lab_loss,sharpness:3.0},b:{name:focal}}"],
    )
    found = [json.loads(path.read_text()) for path in (place / "mixed").glob("*/*/results.json")]
    assert {results["status"] for results in found} == {"completed"}
    assert {results["names"]["data"] for results in found} == {"lab_dots"}
    assert sorted((results["names"]["model"], results["names"]["loss"]) for results in found) == [
        ("lab_net", "focal"), ("lab_net", "lab_loss"), ("lab_net", "sum"), ("tiny", "focal"), ("tiny", "lab_loss"),
    ]  # fmt: skip
    assert {"a", "b"} <= next(results for results in found if results["names"]["loss"] == "sum")["history"][0]["train"].keys()


def test_a_mistake_in_its_settings_is_answered_like_any_other(photic: Photic) -> None:
    cases = [
        (["model.filter=3"], "config.model: unknown field 'filter'; did you mean 'filters'?"),
        (["model.filters=0"], "config.model.filters: expected a value >= 1 and <= 64, got 0"),
        (["loss.sharpnes=1"], "config.loss: unknown field 'sharpnes'; did you mean 'sharpness'?"),
        (["loss.sharpness=very"], "config.loss.sharpness: expected float, got 'very' (str)"),
        (["loss.sharpness=-1"], "config.loss.sharpness: expected a value > 0, got -1"),
        (["data=lab_dot"], "config.data.name: unknown dataset 'lab_dot'; did you mean 'lab_dots'?"),
    ]
    lines = photic(*(["train", "recipe=lab_dots", *words] for words, _ in cases), status=2).stderr.splitlines()
    for line, (_, message) in zip(lines, cases, strict=True):
        assert line.startswith(f"photic: error: {message}")


def test_its_run_is_measured_resumed_bundled_and_applied(place: Path, photic: Photic, trained: Path, pictures: Path) -> None:
    run = shutil.copytree(trained, place / "resumed")
    photic(
        ["evaluate", str(trained)],
        ["train", "--resume", str(run), "training.num_epochs=4", "--quiet"],
        ["predict", str(trained), str(pictures), "-o", "out.csv", "--quiet"],
        ["bundle", str(trained), "-o", "lab.photic"],
        ["predict", "lab.photic", str(pictures), "-o", "out.lab", "--format", "lab", "--quiet"],
    )
    assert "lab_hits" not in json.loads((trained / "evaluations" / "test.json").read_text())  # a metric of validation
    assert len(json.loads((run / "results.json").read_text())["history"]) == 4
    with open(place / "out.csv", newline="") as handle:
        assert [row["decision:bright"] for row in csv.DictReader(handle)] == ["0", "1", "1"]
    assert (place / "out.lab").read_text().splitlines()[1:] == ["1.png=bright", "2.png=bright"]


def test_its_command_is_one_of_photics(photic: Photic) -> None:
    assert photic(["lab-hello", "world"]).stdout == "hello world\n"
    assert "lab-hello" in photic(["--help"]).stdout


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


def test_without_the_package_the_message_says_what_is_missing_and_what_to_install(
    place: Path, photic: Photic, trained: Path, pictures: Path
) -> None:
    bundle = place / "unknown.photic"
    photic(["bundle", str(trained), "-o", str(bundle)])
    lines = [
        ["predict", str(trained), str(pictures), "-o", "never.csv"],
        ["predict", str(bundle), str(pictures), "-o", "never.csv"],
        ["evaluate", str(trained)],
        ["train", "--resume", str(trained), "training.num_epochs=9"],
    ]
    messages = photic(*lines, installed=False, status=2).stderr.splitlines()
    files = [trained / "checkpoints" / "best.safetensors", bundle, trained / "config.yaml", trained / "config.yaml"]
    for message, file in zip(messages, files, strict=True):
        assert message.startswith(f"photic: error: {file}: ")
        assert "unknown model 'lab_net'" in message
        assert "It was made with tiny-lab-photic 0.3.1, which is not installed here: pip install tiny-lab-photic" in message
    assert not (place / "never.csv").exists()
    assert "unknown recipe 'lab_dots'" in photic(["train", "recipe=lab_dots"], installed=False, status=2).stderr


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
