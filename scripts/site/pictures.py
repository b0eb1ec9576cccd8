"""Pictures of the site: made by the commands of the pages that show them; kept in ``build/docs`` until these change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from PIL import Image
from snippets import pictures_of, snippets_of

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / "build" / "docs"
_HEIGHT_PX, _GAP_PX = 320, 8


def made(docs: Path, wanted: Collection[str]) -> dict[str, Path]:
    """Return the file of each picture that pages show, by its path in the site; those that pages have no commands for are left out.

    Args:
        docs: folder of the pages.
        wanted: paths in the site.
    """
    files: dict[str, Path] = {}
    for page in sorted(docs.glob("*.md")):
        pictures = [picture for picture in pictures_of(page) if picture.target in wanted]
        if not pictures:
            continue
        folder = CACHE / f"{page.stem}-{_stamp(page)}"
        if not all((folder / picture.target).exists() for picture in pictures):
            _make(page, docs, folder)
        files |= {picture.target: folder / picture.target for picture in pictures}
    return files


def _stamp(page: Path) -> str:
    """Return what changes with the commands of a page up to its last picture."""
    last = pictures_of(page)[-1].line
    lines = "\n".join(page.read_text(encoding="utf-8").splitlines()[: last + 1])
    return hashlib.sha256((lines + Path(__file__).read_text(encoding="utf-8")).encode()).hexdigest()[:16]


def _make(page: Path, docs: Path, folder: Path) -> None:
    """Run a page's commands up to its last picture and keep the pictures."""
    pictures = pictures_of(page)
    steps = [
        dataclasses.asdict(snippet)
        for snippet in snippets_of(page, docs.parent)
        if snippet.line < pictures[-1].line and not (snippet.directive.reason or snippet.directive.slow or snippet.directive.real)
    ]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place) / "page"
        request = json.dumps({"folder": str(work), "snippets": steps})
        runner = Path(__file__).with_name("runner.py")
        done = subprocess.run([sys.executable, str(runner)], input=request + "\n", capture_output=True, text=True, check=False)
        answers = json.loads(done.stdout)["answers"] if done.returncode == 0 else []
        if len(answers) < len(steps) or answers[-1]["status"] != steps[-1]["directive"]["status"]:
            raise RuntimeError(f"{page}: its commands make no pictures\n{answers[-1]['output'] if answers else ''}{done.stderr}")
        shutil.rmtree(folder, ignore_errors=True)
        for picture in pictures:
            found = [path for source in picture.sources for path in sorted(work.glob(source))]
            if not found:
                raise RuntimeError(f"{page}:{picture.line}: its commands wrote no {', '.join(picture.sources)}")
            _side_by_side(found, folder / picture.target)


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
