"""The site builds without a warning, has a place for everything, and asks nothing of any other machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from photic.core.catalogue import catalogue_of, kinds
from photic.workflows.recipes import list_recipes

from .conftest import ROOT

REMOTE = re.compile(r"""(?:<(?:script|img|link|iframe|source)[^>]*\s(?:src|href)=["']?|url\(["']?|@import ["']?)(https?:)?//[^"')\s>]+""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_there(site: Path) -> None:
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {path.stem for path in site.glob("*.html")}
    for name in ("architecture", "contributing", "changelog"):
        assert (site / "project" / f"{name}.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds())
def test_everything_registered_is_in_the_catalogue(site: Path, kind: str) -> None:
    text = (site / "catalogue" / f"{kind}.html").read_text()
    entries = [entry for entry in catalogue_of(kind).entries() if entry.module.startswith("photic.")]
    assert [entry.name for entry in entries if f'<h2 id="{entry.name}">' not in text] == []
    assert [field.name for entry in entries for field in entry.fields() if f"<code>{field.name}</code>" not in text] == []


@pytest.mark.slow
def test_every_recipe_and_every_command_is_there(site: Path) -> None:
    text = (site / "catalogue" / "recipes.html").read_text()
    assert [name for name in list_recipes() if f'<h2 id="{name}">' not in text] == []
    index = (site / "commands" / "index.html").read_text()
    done = subprocess.run([sys.executable, "-m", "photic", "--help"], capture_output=True, text=True, check=True)
    names = re.findall(r"^  ([a-z][a-z-]+)  ", done.stdout, re.MULTILINE)
    assert len(names) > 10
    assert [name for name in names if f"photic {name}</code>" not in index or not (site / "commands" / f"{name}.html").exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "names"),
    [("workflows", ["photic.workflows.train.train", "photic.workflows.compare.compare", "photic.workflows.recipes.recipe"]),
     ("losses", ["photic.losses.focal.FocalLoss"]), ("core", ["photic.core.plugins.Plugin", "photic.core.schema.Config"]),
     ("apps_ptycho", ["photic.apps.ptycho.model.PtychoModel"]), ("apps_rawnind", ["photic.apps.rawnind.api.compressor.create_compressor"])],
)  # fmt: skip
def test_the_python_interface_is_written_out(site: Path, page: str, names: list[str]) -> None:
    text = (site / "api" / f"{page}.html").read_text()
    assert [name for name in names if f'id="{name}"' not in text] == []
    assert ":func:`" not in text
    assert ":class:`" not in text


@pytest.mark.slow
def test_nothing_comes_from_another_machine(site: Path) -> None:
    found = {
        (path.relative_to(site).as_posix(), match.group(0))
        for path in site.rglob("*")
        if path.suffix in (".html", ".css")
        for match in REMOTE.finditer(path.read_text(encoding="utf-8"))
        if "rel=canonical" not in match.group(0)
    }
    assert found == set()


@pytest.mark.slow
def test_search_finds_what_is_there(site: Path) -> None:
    text = (site / "search" / "search_index.js").read_text()
    index = json.loads(text.removeprefix("var __index = ").rstrip(";\n"))
    titles = {entry["title"] for entry in index["docs"]}
    assert {"Install", "Sweeps", "lowlight_compact"} <= titles


@pytest.mark.slow
def test_the_pictures_on_the_first_page_were_made(site: Path) -> None:
    shown = re.findall(r'src="(pictures/[\w.]+)"', (site / "index.html").read_text())
    assert len(shown) == 4
    assert all((site / name).stat().st_size > 1000 for name in shown)
