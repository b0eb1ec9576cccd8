"""What a prediction of many files has done so far, kept beside its output until that is whole; whatever ends the process, it goes on.

One line for each batch, in the order in which batches were made. A line counts when it is whole, so a process that is killed loses the
batch it was at. What the network gets together decides how its sums are rounded, so whoever goes on must make the same batches again: a
line also says what put its files into one.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from photic.core.errors import ConfigError, StorageError

if sys.platform != "win32":
    import fcntl

FORMAT = 1
_BEGINNING = b'{"journal": '
_SYNC_S = 1.0
_MEANINGS = {
    "journal": "the form of this file",
    "photic": "Photic's version",
    "model": "the model",
    "device": "the device (--device)",
    "format": "the form of the output (--format)",
    "batch_size": "the size of batches (--batch-size)",
    "maps": "whether maps are drawn (--maps)",
    "files": "the list of files, or a file on it",
}


@dataclass(frozen=True)
class Entry:
    """What became of a file."""

    place: int
    """In the list of files."""
    kind: tuple[int, ...] | None
    """What it shared with the others of its batch; None where it could not be read."""
    text: str
    """What it has in the output; empty where it was left out."""
    reason: str | None = None
    """Why it was left out."""
    num_maps: int = 0
    """Pictures with maps that were written for it."""


def journal_of(output: Path) -> Path:
    """Return where the journal of an output lies."""
    return output.with_name(f"{output.name}.partial")


def digest_of(files: Sequence[Path]) -> str:
    """Return what changes with a list of files: their names, order, sizes and times."""
    digest = hashlib.sha256()
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116 - of a hundred thousand files
            facts = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            facts = "absent"
        digest.update(f"{file}\0{facts}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class Journal:
    """A journal that is open; others cannot open it meanwhile.

    Args:
        path: the file.
        stamp: what must be the same for whoever goes on: model, files, settings.
        goes_on: go on with what is there; otherwise begin anew.

    Raises:
        ConfigError: somebody is at it, or what is there was made with another stamp.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any], *, goes_on: bool) -> None:
        self.path = path
        self._where: dict[int, tuple[int, int]] = {}  # of a file: offset of its line, and its place in that
        self._kinds: dict[int, tuple[int, ...] | None] = {}
        self._cached: tuple[int, list[Entry]] = (-1, [])
        self._synced = time.monotonic()
        self.skipped: list[tuple[int, str]] = []
        self.num_maps = 0
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = open(path, "a+b")  # noqa: SIM115 - closed by whoever closes the journal
        try:
            self._lock()
            self._begin({"journal": FORMAT, **stamp}, goes_on)
        except BaseException:
            with suppress(OSError):  # of a full disk, which is said already
                self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._where)

    def kind_of(self, place: int) -> tuple[int, ...] | None:
        """Return what a file that is done shared with its batch; None where it could not be read."""
        return self._kinds[place]

    def __contains__(self, place: object) -> bool:
        return place in self._where

    def add(self, entries: Sequence[Entry]) -> None:
        """Keep what became of a batch of files, all of them or none.

        Raises:
            StorageError: it cannot be written.
        """
        line = [[one.place, one.kind, one.text, one.reason, one.num_maps] for one in entries]
        with _explained(self.path):
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced > _SYNC_S:  # against power cuts; the system keeps the rest of what a killed process wrote
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        self._remember(offset, entries)

    def texts(self, num_files: int) -> Iterator[str]:
        """Yield what each file has in the output, in their order, read from the disk."""
        for place in range(num_files):
            offset, number = self._where[place]
            if self._cached[0] != offset:
                self._file.seek(offset)
                self._cached = (offset, _entries(json.loads(self._file.readline())))
            yield self._cached[1][number].text

    def remove(self) -> None:
        """Remove it, as the output is whole."""
        with suppress(OSError):  # what could not be written has been said, and the journal goes
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        if sys.platform == "win32":  # there two predictions of one output are not noticed
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{self.path}: another prediction is writing this output; wait for it, or give another name with -o"
            ) from error

    def _begin(self, stamp: Mapping[str, Any], goes_on: bool) -> None:
        self._file.seek(0)
        first = self._file.readline()
        if first and not first.startswith(_BEGINNING):
            raise ConfigError(
                f"{self.path}: is no journal of a prediction, for which this name is needed; move it, or choose another output"
            )
        if not goes_on or not first.endswith(b"\n"):  # where nothing is whole, nothing is lost
            self._file.truncate(0)
            with _explained(self.path):
                self._file.write(json.dumps(stamp).encode() + b"\n")
                self._file.flush()
            return
        try:
            found = json.loads(first)
        except ValueError:
            found = {}
        changed = [meaning for name, meaning in _MEANINGS.items() if found.get(name) != stamp.get(name)]
        if changed:
            raise ConfigError(
                f"{self.path}: was begun with something else: {', '.join(changed)}; repeat the command as it was, or begin anew (--force)"
            )
        self._read()

    def _read(self) -> None:
        """Read what is done; cut off a last line that is not whole."""
        while True:
            offset = self._file.tell()
            line = self._file.readline()
            if not line:
                return
            try:
                entries = _entries(json.loads(line)) if line.endswith(b"\n") else None
            except (ValueError, TypeError, IndexError):
                entries = None
            if entries is None:
                self._file.truncate(offset)
                return
            self._remember(offset, entries)

    def _remember(self, offset: int, entries: Iterable[Entry]) -> None:
        for number, one in enumerate(entries):
            self._where[one.place] = (offset, number)
            self._kinds[one.place] = one.kind
            self.num_maps += one.num_maps
            if one.reason is not None:
                self.skipped.append((one.place, one.reason))


def _entries(line: Any) -> list[Entry]:
    return [Entry(place, None if kind is None else tuple(kind), text, reason, maps) for place, kind, text, reason, maps in line]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}. Free some space, or make the folder writable; then the same command "
            "with --skip-existing goes on"
        ) from error
