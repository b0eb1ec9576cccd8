"""Which files a command reads and where each result goes: single files, folders with the folders in them, globs."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from photic.core.arguments import whole_number
from photic.core.errors import ConfigError, DataError

_SHOWN = 3
LIST = "-"
"""The input that stands for a list of files on standard input."""


@dataclass(frozen=True)
class Target:
    """A file to read and the file that comes of it."""

    source: Path
    output: Path


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """What a command reads and what it makes of it."""

    readable: Callable[[Path], bool]
    """Whether a file of a folder or a glob is one to read, by its name; files that are named one by one are taken as they are."""
    ending: Callable[[Path], str]
    """The ending, with its dot, that the result of a file gets where the command decides."""
    writable: Callable[[Path], Sequence[str]]
    """Endings, with their dots, that the result of a file may have."""
    mark: str
    """What is put behind a name where the result lies beside its source, for example ``_enhanced``."""
    nothing: str = "no pictures"
    """What is missing where nothing is found."""
    called: Callable[[Path], str] = lambda source: "pictures"
    """What results of a file are, in the plural."""


MODEL = "a bundle (.photic), a run, a checkpoint, or the name of a model of the shelf (`photic models`)"
"""What commands take as a model, for their help."""


def add_inputs(parser: argparse.ArgumentParser, what: str) -> None:
    """Add what is read and where results go.

    Args:
        parser: of the command.
        what: what a file of the input is.
    """
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help=f"{what}, folder or glob; - reads a list of files from standard input, one a line"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="file (for one input file) or folder to write to")


def add_file_options(parser: argparse.ArgumentParser, max_pixels: int, what: str = "pictures", *, device: bool = True) -> None:
    """Add the options of commands that make files of files: a limit of size, the device, what becomes of results that are there.

    Args:
        parser: of the command.
        max_pixels: largest picture where nothing else is said.
        what: what is refused above that.
        device: whether it computes on a device of one's choice.
    """
    largest = max_pixels // 1_000_000
    parser.add_argument(
        "--max-megapixels", type=whole_number(1), default=largest, metavar="N", help=f"larger {what} are refused (default: {largest})"
    )
    if device:
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="files made at the same time, each in a process of its own with its own memory; results are the same (default: 1)",
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave results that are there, make the others")
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def plan(inputs: Sequence[str], output: Path | None, kinds: Kinds) -> list[Target]:
    """Return what is to be made of the inputs, each file once, in order.

    Args:
        inputs: files, folders (with the folders in them) and globs; ``-`` takes the lines of standard input as files.
        output: for one file, the file to write or a folder; for anything else a folder, in which files of an input folder keep their
            places. None puts ``NAME_mark`` beside each file, ``FOLDER_mark`` beside a folder.
        kinds: what is read and what is made.

    Raises:
        ConfigError: an output that cannot be, or two files that would become one.
        DataError: an input that is not there, or holds nothing to read.
    """
    targets: dict[Path, Target] = {}
    for given in inputs:
        path = Path(given)
        single = len(inputs) == 1 and path.is_file() and given != LIST
        for source, relative in _files(given, output, kinds):
            made = relative.with_suffix(kinds.ending(source))
            if output is None:
                place = _beside(path, source, relative, made, kinds.mark)
            elif single and _is_file_name(output, source, kinds):
                place = output
            else:
                place = output / made
            targets.setdefault(Path(os.path.abspath(source)), Target(source, place))  # noqa: PTH100 - links stay what they are
    if not targets:
        raise DataError(f"nothing to do: the inputs hold {kinds.nothing}")
    if output is not None and (len(inputs) > 1 or inputs[0] == LIST or not Path(inputs[0]).is_file()):
        if output.is_file():
            raise ConfigError(f"{output}: is a file; for several {kinds.called(output)} give a folder with -o")
        if (
            output.suffix.lower() in {ending for target in targets.values() for ending in kinds.writable(target.source)}
            and not output.is_dir()
        ):
            raise ConfigError(f"{output}: is the name of a single file; for several {kinds.called(output)} give a folder with -o")
    _refuse_clashes(list(targets.values()))
    return list(targets.values())


def listed() -> list[Path]:
    """Return the files whose names stand on standard input, one a line, or each ended by a NUL, as ``find -print0`` writes them.

    Names are taken as they are, blanks and all. Whether there are such files is found out when they are read.

    Raises:
        DataError: the list is empty.
    """
    content = getattr(sys.stdin, "buffer", sys.stdin).read()
    text = os.fsdecode(content) if isinstance(content, bytes) else content
    names = text.split("\0") if "\0" in text else [line.removesuffix("\r") for line in text.split("\n")]
    found = [Path(name) for name in names if name.strip()]
    if not found:
        raise DataError("the list on standard input is empty; give names of files, one a line")
    return found


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


def _files(given: str, output: Path | None, kinds: Kinds) -> list[tuple[Path, Path]]:
    """Return the files that an input names, each with its place in the output folder."""
    if given == LIST:
        return [(file, Path(file.name)) for file in listed()]
    path = Path(given)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        own = None if output is None else output.resolve()
        if own == path.resolve():
            raise ConfigError(f"{output}: is the folder of the pictures itself; give another one with -o, so that no original is lost")
        found = [file for file in path.rglob("*") if _counts(file.relative_to(path), kinds) and file.is_file()]
        # What an earlier run put into a folder below is no input.
        found = [file for file in found if own is None or not file.resolve().is_relative_to(own)]
        if not found:
            raise DataError(f"{path}: {kinds.nothing} in this folder and those below; give another one, or name files one by one")
        return [(file, file.relative_to(path)) for file in sorted(found)]
    if glob.has_magic(given):
        matches = [Path(name) for name in glob.glob(given, recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute patterns
        found = sorted(file for file in matches if _counts(Path(file.name), kinds) and file.is_file())
        if not found:
            raise DataError(f"{given}: {kinds.nothing} among what matches this pattern")
        return [(file, Path(file.name)) for file in found]
    raise DataError(f"{given}: no such file or folder")


def _counts(name: Path, kinds: Kinds) -> bool:
    return kinds.readable(name) and not any(part.startswith(".") for part in name.parts)


def _beside(given: Path, source: Path, relative: Path, made: Path, mark: str) -> Path:
    if given.is_dir():
        whole = given.resolve()
        return given.parent / f"{whole.name}{mark}" / made if given.name else whole.with_name(whole.name + mark) / made
    return source.with_name(f"{made.stem}{mark}{made.suffix}")


def _is_file_name(output: Path, source: Path, kinds: Kinds) -> bool:
    """Say whether an output for one file is a file rather than a folder to put it into."""
    if output.is_dir() or not output.suffix:
        return False
    endings = kinds.writable(source)
    if not endings:  # results are folders
        return False
    if output.suffix.lower() not in endings:
        raise ConfigError(
            f"{output}: cannot write {kinds.called(source)} with the ending '{output.suffix}'; use one of {', '.join(endings)}"
        )
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
