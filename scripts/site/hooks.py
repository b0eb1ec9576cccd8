"""What MkDocs calls while it builds the site: pages made of the program and of files at the root, pictures made by the pages' commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import api
import catalogue
import commands
import pictures
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent.parent
AT_THE_ROOT = {"architecture": "ARCHITECTURE.md", "contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Pages of the section Project: the files that developers look for at the root."""
MADE: dict[str, Callable[[], dict[str, str]]] = {"api": api.pages, "catalogue": catalogue.pages, "commands": commands.pages}
"""Folders of generated pages: path below the folder to Markdown."""
_PICTURE = re.compile(r"!\[[^\]]*\]\((pictures/[\w.-]+)\)")
_RUNS = re.compile(r"^<!-- (?:runs|picture): .*?-->\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the generated pages, and put them where the navigation names their folder."""
    made = {f"{folder}/{name}": text for folder, pages in MADE.items() for name, text in pages().items()}
    made |= {f"project/{name}.md": _from_root(file) for name, file in AT_THE_ROOT.items()}
    config.extra["made_pages"] = made
    config.nav = _expanded(config.nav, made)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the pictures that pages show."""
    for name, text in config.extra["made_pages"].items():
        files.append(File.generated(config, name, content=text))
    shown = {found for path in sorted(Path(config.docs_dir).glob("*.md")) for found in _PICTURE.findall(path.read_text(encoding="utf-8"))}
    for name, path in pictures.made(Path(config.docs_dir), shown).items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave out the comments that are meant for the tests; links to files outside the site say the file's name instead."""
    return _LINK.sub(_inside, _RUNS.sub("", markdown))


def _inside(match: re.Match[str]) -> str:
    target, anchor = match.group(1), match.group(2) or ""
    if not target.startswith("../"):
        return match.group(0)
    known = {file: f"project/{name}.md" for name, file in AT_THE_ROOT.items()}
    name = target.removeprefix("../")
    return f"]({known[name]}{anchor})" if name in known else match.group(0)


def _from_root(name: str) -> str:
    """Return a file of the root as a page of the folder ``project``."""
    beside = {file: f"{page}.md" for page, file in AT_THE_ROOT.items()}

    def link(match: re.Match[str]) -> str:
        target, anchor = match.group(1), match.group(2) or ""
        if target in beside:
            return f"]({beside[target]}{anchor})"
        return f"](../{target.removeprefix('docs/')}{anchor})" if target.startswith("docs/") else match.group(0)

    return _LINK.sub(link, (ROOT / name).read_text(encoding="utf-8"))


def _expanded(nav: Any, made: dict[str, str]) -> Any:
    """Put the pages of a generated folder where its name stands, the index first."""
    if isinstance(nav, list):
        return [_expanded(entry, made) for entry in nav]
    if isinstance(nav, dict):
        return {title: _expanded(entry, made) for title, entry in nav.items()}
    if nav not in MADE:
        return nav
    return sorted((name for name in made if name.startswith(f"{nav}/")), key=lambda name: (not name.endswith("/index.md"), name))
