"""The errors Photic raises on purpose.

Every message says what was wrong, where (file, key, shape), what was expected, and what to do.
Anything that is not a :class:`PhoticError` is a bug in Photic.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PhoticError(Exception):
    """Base class of every error that Photic raises on purpose."""


class ConfigError(PhoticError, ValueError):
    """A configuration is wrong: unknown field, wrong type, value out of range, impossible combination."""


class UnknownNameError(PhoticError, LookupError):
    """A name is not in its registry; the message offers the nearest ones."""


class DataError(PhoticError, ValueError):
    """A data set or an input file is unusable: missing, unreadable, inconsistent, out of range."""


class CheckpointError(PhoticError):
    """A checkpoint cannot be read or does not fit the network that should receive it."""


class StorageError(PhoticError, OSError):
    """A file cannot be written: the disk is full, read-only or somebody else's; what was at its place before is kept."""


class BitstreamError(PhoticError):
    """A compressed file is truncated, damaged or foreign."""


class RunInterrupted(PhoticError):  # noqa: N818 - no error: somebody asked for it
    """Training, or work on many files, was asked to stop and did so at a safe place; it can be gone on with."""


class TrainingError(PhoticError):
    """Training cannot go on: a loss or a gradient turned non-finite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known names nearest to ``name``, or ``""`` if none is near.

    >>> nearest("gama", ["gamma", "alpha"])
    "; did you mean 'gamma'?"
    """
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not matches:
        return ""
    return "; did you mean " + " or ".join(f"'{match}'" for match in matches) + "?"
