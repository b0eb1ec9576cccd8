"""Pictures of the site: made by the commands of the pages that show them; kept in ``build/docs`` until these change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from PIL import Image
from snippets import Picture, Snippet, pictures_of, snippets_of

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / "build" / "docs"
_HEIGHT_PX, _GAP_PX = 320, 8


def made(docs: Path, wanted: Collection[str]) -> dict[str, Path]:
    """Return the file of each picture that pages show, by its path in the site; those that pages have no commands for are left out.

    Args:
        docs: folder of the pages.
        wanted: paths in the site.
    """
    pages = {page: [one for one in pictures_of(page) if one.target in wanted] for page in sorted(docs.glob("*.md"))}
    folders = {page: CACHE / f"{page.stem}-{_stamp(page, pictures)}" for page, pictures in pages.items() if pictures}
    missing = [page for page, folder in folders.items() if not all((folder / one.target).exists() for one in pages[page])]
    if missing:
        _make(missing, docs, pages, folders)
    return {one.target: folder / one.target for page, folder in folders.items() for one in pages[page]}


def _stamp(page: Path, pictures: Sequence[Picture]) -> str:
    """Return what changes with the commands of a page up to its last picture."""
    lines = "\n".join(page.read_text(encoding="utf-8").splitlines()[: pictures[-1].line + 1])
    return hashlib.sha256((lines + Path(__file__).read_text(encoding="utf-8")).encode()).hexdigest()[:16]


def _make(missing: Sequence[Path], docs: Path, pages: Mapping[Path, Sequence[Picture]], folders: Mapping[Path, Path]) -> None:
    """Run what stands on pages up to their last pictures, and keep the pictures."""
    steps = {page: _steps(page, docs, pages[page][-1].line) for page in missing}
    with tempfile.TemporaryDirectory() as place:
        works = {page: Path(place) / page.stem for page in missing}
        requests = [json.dumps({"folder": str(works[page]), "snippets": list(map(dataclasses.asdict, steps[page]))}) for page in missing]
        runner = Path(__file__).with_name("runner.py")
        done = subprocess.run([sys.executable, str(runner)], input="\n".join(requests) + "\n", capture_output=True, text=True, check=False)
        for page, line in zip(missing, done.stdout.splitlines(), strict=True):
            answers = json.loads(line)["answers"]
            if len(answers) < len(steps[page]) or answers[-1]["status"] != steps[page][-1].directive.status:
                raise RuntimeError(f"{page}: its commands make no pictures\n{answers[-1]['output'] if answers else ''}{done.stderr}")
            shutil.rmtree(folders[page], ignore_errors=True)
            for picture in pages[page]:
                found = [path for source in picture.sources for path in sorted(works[page].glob(source))]
                if not found:
                    raise RuntimeError(f"{page}:{picture.line}: its commands wrote no {', '.join(picture.sources)}")
                _side_by_side(found, folders[page] / picture.target)


def _steps(page: Path, docs: Path, line: int) -> list[Snippet]:
    """Return what runs on a page before a line."""
    found = [one for one in snippets_of(page, docs.parent) if one.line < line]
    return [one for one in found if not (one.directive.reason or one.directive.slow or one.directive.real)]


def _side_by_side(sources: list[Path], target: Path) -> None:
    """Put pictures of any size beside each other, at one height."""
    parts = []
    for source in sources:
        with Image.open(source) as image:
            plain = image.convert("RGB")
        height = min(_HEIGHT_PX, plain.height * 4)
        parts.append(plain.resize((round(plain.width * height / plain.height), height), Image.Resampling.LANCZOS))
    height = max(part.height for part in parts)
    whole = Image.new("RGB", (sum(part.width for part in parts) + _GAP_PX * (len(parts) - 1), height), "white")
    left = 0
    for part in parts:
        whole.paste(part, (left, (height - part.height) // 2))
        left += part.width + _GAP_PX
    target.parent.mkdir(parents=True, exist_ok=True)
    whole.save(target, optimize=True)
