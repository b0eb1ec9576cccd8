"""Results that evaluations leave in folders: JSON with the version of their format, read with one kind of message for all that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from photic.core.errors import DataError

T = TypeVar("T")


def read_results(path: Path, version: int, what: str, again: str, make: Callable[[dict[str, Any]], T]) -> T:
    """Return what a function makes of a JSON file of results.

    Args:
        path: the file.
        version: its ``format`` must be this.
        what: what it should hold, for the message: ``evaluation of pictures``.
        again: what to do about it: ``evaluate again``.
        make: makes the value of the content; whatever it misses there is said of the file.

    Raises:
        DataError: there is no such file, it is damaged, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != version:
            raise DataError(f"{path}: written by another version of Photic (format {content['format']}); {again}")
        return make(content)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"{path}: holds no {what} ({type(error).__name__}: {error}); {again}") from error
