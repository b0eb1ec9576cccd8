"""What must not be imported to answer quickly, and what ``import photic`` offers."""

import json
import subprocess
import sys

import pytest

import photic
from photic.core.registry import kinds, registry_of

HEAVY = ("torch", "numpy", "hydra", "omegaconf", "lightning", "yaml", "PIL", "sklearn")


def imported_by(code: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words",
    [
        [], ["--help"], ["--version"], ["list", "models"], ["list", "recipes"],
        ["list", "augmentations", "--json", "--schema"],
        ["list", "models", "convnext_tiny_cbam", "--schema"], ["train", "--help"], ["predict", "--help"], ["data"],
        ["bundle", "--help"], ["info", "--help"],
        ["demo", "--help"], ["trian"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_help_and_listings_import_nothing_heavy(words: list[str]) -> None:
    assert not imported_by(f"from photic.cli.main import main; main({words!r})") & set(HEAVY)


def test_import_photic_is_light() -> None:
    assert not imported_by("import photic; dir(photic); photic.list_models(); photic.list_recipes(); photic.__version__") & set(HEAVY)


def test_predicting_needs_no_hydra() -> None:
    assert "hydra" not in imported_by("from photic.cli.main import main; main(['predict', 'nowhere', 'x.png', '-o', 'out.csv'])")


def test_every_registry_has_its_create_and_list() -> None:
    for kind in kinds():
        registry = registry_of(kind)
        assert getattr(photic, f"create_{registry.singular}") == registry.get
        assert getattr(photic, f"list_{kind}") == registry.names


def test_every_public_name_is_there() -> None:
    assert dir(photic) == sorted(photic.__all__)
    for name in photic.__all__:
        assert getattr(photic, name) is not None, name
    assert photic.models.get_registry() is registry_of("models")
    assert photic.losses.get_registry() is registry_of("losses")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'photic' has no attribute 'trian'"):
        photic.trian  # noqa: B018


def test_running_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "photic", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"photic {photic.__version__}\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    done = subprocess.run(f"{sys.executable} -m photic list models --schema | true", shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
