"""Files that are either whole or absent: written to a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from photic.core.errors import ConfigError, PhoticError, StorageError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is fsynced and takes the name ``path``.

    If the block raises, the temporary file is removed and whatever was at ``path`` stays.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def saved(path: Path | str, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when all went well; for writers that write as they go.

    Raises:
        ConfigError: there is such a file already, and it is not forced.
        StorageError: the file cannot be written; what was there before is unchanged.
    """
    path = Path(path)
    if path.is_dir() or (path.exists() and not force):
        raise ConfigError(f"{path}: is there already; give another name, or force (--force) to replace it")
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except PhoticError:
        raise
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; what was there before is unchanged. "
            "Free some space, or make the folder writable, then try again"
        ) from error


@contextmanager
def atomic_folder(folder: Path | str) -> Iterator[Path]:
    """Give a new folder beside ``folder``, which must not be there or be empty; on success it takes that name, with all that is in it.

    If the block raises, it is removed.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if folder.is_dir():
            folder.rmdir()  # an empty one; Windows renames to no name that is there
        temporary.replace(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path | str, text: str) -> Path:
    """Write text as UTF-8, whole or not at all.

    Raises:
        StorageError: the file cannot be written (disk full, no permission); what was there before is unchanged.
    """
    with _explained(path), atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: Path | str, value: Any) -> Path:
    """Write indented JSON, whole or not at all."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: Path | str, line: str) -> None:
    """Append one line and flush it to disk; a line cut short by a crash stays the last one and is never joined.

    Raises:
        StorageError: the line cannot be written (disk full, no permission).
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, line)


def _append(path: Path, line: str) -> None:
    with open(path, "ab+") as handle:
        if handle.tell() > 0:
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                handle.write(b"\n")
        handle.write(line.rstrip("\n").encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())


def remove_leftovers(folder: Path | str) -> int:
    """Remove temporary files that a killed process left behind; return how many."""
    leftovers = list(Path(folder).glob(".*.tmp"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _explained(path: Path | str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; what was there before is unchanged. "
            "Free some space, or make the folder writable, then try again (`photic train --resume RUN` goes on with a run)"
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle for a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
