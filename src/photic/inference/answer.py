"""What comes of one file; light, so that processes that only make files need no more."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came of one file."""

    files: tuple[Path, ...] = ()
    """Files that were written, the main one first."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What was found, as JSON values: all of the answer where no file is written, else facts about it."""
    notes: tuple[str, ...] = ()
    """What the user should know, whole sentences without the file's name."""


def with_warnings(make: Callable[[], Answer]) -> Answer:
    """Return an answer with what was warned of while it was made among its notes, each once.

    Not for several threads at once: Python has one list of warnings.

    Args:
        make: makes the answer.
    """
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", UserWarning)
        answer = make()
    texts = dict.fromkeys(str(warning.message) for warning in raised if warning.category is UserWarning)
    return replace(answer, notes=(*answer.notes, *texts))
