"""Files that are whole or absent and replace nothing unasked, for writers that write as they go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import atomic_path


@contextmanager
def saved(path: Path | str, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when all went well.

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
    except (StorageError, DataError, ConfigError):
        raise
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; what was there before is unchanged. "
            "Free some space, or make the folder writable, then try again"
        ) from error
