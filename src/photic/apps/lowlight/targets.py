"""Which files ``photic predict`` reads and where each result goes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from photic.apps.lowlight import video
from photic.core.errors import ConfigError, DataError
from photic.data.images import SUFFIXES as PICTURE_SUFFIXES
from photic.data.images import list_images

WRITABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
"""Endings of pictures that can be written; what has another becomes .png."""
MARK = "_enhanced"
_SHOWN = 3


@dataclass(frozen=True)
class Target:
    """A file to enhance and the file that comes of it."""

    source: Path
    output: Path

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return video.is_video(self.source)

    @property
    def comparison(self) -> Path:
        """Where a picture of before and after goes."""
        return self.output.with_name(f"{self.output.stem}_compare.jpg")


def plan(inputs: Sequence[str], output: Path | None, form: str | None = None) -> list[Target]:
    """Return what is to be made of the inputs, each file once, in order.

    Args:
        inputs: files, folders (with the folders in them) and globs.
        output: for one file, the file to write or a folder; for anything else a folder, in which files of an input folder keep their
            places. None puts ``NAME_enhanced`` beside each file, ``FOLDER_enhanced`` beside a folder.
        form: ending that pictures get, without the dot; None keeps their own.

    Raises:
        ConfigError: an output that cannot be, or two files that would become one.
        DataError: an input that is not there, or names no pictures and no videos.
    """
    targets: dict[Path, Target] = {}
    for given in inputs:
        path = Path(given)
        single = len(inputs) == 1 and path.is_file()
        for source, relative in _files(given, output):
            made = _renamed(relative, source, form)
            if output is None:
                place = _beside(path, source, relative, made)
            elif single and _is_file_name(output, source):
                place = output
            else:
                place = output / made
            targets.setdefault(source, Target(source, place))
    if not targets:
        raise DataError("nothing to enhance: the inputs hold no pictures and no videos")
    if output is not None and (len(inputs) > 1 or not Path(inputs[0]).is_file()):
        if output.is_file():
            raise ConfigError(f"{output}: is a file; for several pictures give a folder with -o")
        if output.suffix.lower() in (*WRITABLE, *video.CODECS) and not output.is_dir():
            raise ConfigError(f"{output}: is the name of a single file; for several pictures give a folder with -o")
    _refuse_clashes(list(targets.values()))
    return list(targets.values())


def _files(given: str, output: Path | None) -> list[tuple[Path, Path]]:
    """Return the files that an input names, each with its place in the output folder."""
    path = Path(given)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        own = None if output is None else output.resolve()
        if own == path.resolve():
            raise ConfigError(f"{output}: is the folder of the pictures itself; give another one with -o, so that no original is lost")
        found = [file for file in path.rglob("*") if _counts(file.relative_to(path)) and file.is_file()]
        # What an earlier run put into a folder below is no input.
        found = [file for file in found if own is None or not file.resolve().is_relative_to(own)]
        if not found:
            list_images(path)  # says that there are no pictures, and what was looked for
        return [(file, file.relative_to(path)) for file in sorted(found)]
    if glob.has_magic(given):
        matches = [Path(name) for name in glob.glob(given, recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute patterns
        found = sorted(file for file in matches if _counts(Path(file.name)) and file.is_file())
        if not found:
            raise DataError(f"{given}: no picture and no video matches this pattern")
        return [(file, Path(file.name)) for file in found]
    raise DataError(f"{given}: no such file or folder")


def _counts(name: Path) -> bool:
    known = name.suffix.lower() in PICTURE_SUFFIXES or video.is_video(name)
    return known and not any(part.startswith(".") for part in name.parts)


def _renamed(relative: Path, source: Path, form: str | None) -> Path:
    """Return a place with the ending that the result will have."""
    if video.is_video(source):
        return relative.with_suffix(video.output_suffix(source))
    if form is not None:
        return relative.with_suffix(f".{form}")
    return relative if relative.suffix.lower() in WRITABLE else relative.with_suffix(".png")


def _beside(given: Path, source: Path, relative: Path, made: Path) -> Path:
    if given.is_dir():
        whole = given.resolve()
        return given.parent / f"{whole.name}{MARK}" / made if given.name else whole.with_name(whole.name + MARK) / made
    return source.with_name(f"{made.stem}{MARK}{made.suffix}")


def _is_file_name(output: Path, source: Path) -> bool:
    """Say whether an output for one file is a file rather than a folder to put it into."""
    if output.is_dir():
        return False
    if not output.suffix:
        return False
    endings: Sequence[str] = tuple(video.CODECS) if video.is_video(source) else WRITABLE
    if output.suffix.lower() not in endings:
        kind = "videos" if video.is_video(source) else "pictures"
        raise ConfigError(f"{output}: cannot write {kind} with the ending '{output.suffix}'; use one of {', '.join(endings)}")
    return True


def _refuse_clashes(targets: Sequence[Target]) -> None:
    seen: dict[Path, Target] = {}
    sources = {target.source.resolve() for target in targets}
    for target in targets:
        place = target.output.resolve()
        if place in seen:
            raise ConfigError(
                f"{seen[place].source} and {target.source} would both become {target.output}; give folders instead of single files, or "
                "rename one"
            )
        if place in sources:
            raise ConfigError(f"{target.output}: is one of the inputs; give another name or folder with -o, so that no original is lost")
        seen[place] = target


def refuse_existing(paths: Sequence[Path], *, what: str = "--force replaces them, --skip-existing leaves them") -> None:
    """Refuse outputs that are there already.

    Raises:
        ConfigError: some are.
    """
    there = [path for path in paths if path.exists()]
    if there:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        verb = "is" if len(there) == 1 else "are"
        raise ConfigError(f"{', '.join(map(str, there[:_SHOWN]))}{more} {verb} there already; {what}, or choose another name with -o")
