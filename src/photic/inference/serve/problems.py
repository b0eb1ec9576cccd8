"""What goes wrong with a request: a status, a word for programs, a sentence for people."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from photic.core.errors import BitstreamError, ConfigError, DataError, PhoticError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Problem(Exception):  # noqa: N818 - an answer, not a fault
    """An answer other than what was asked for.

    Args:
        status: HTTP status.
        code: a word that programs can rely on.
        message: what is wrong and what to do; nothing of the server's own places.
        headers: further ones of the answer.
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def body(self, **further: Any) -> dict[str, Any]:
        """Return what the client gets, as JSON values."""
        return {"error": {"code": self.code, "message": self.message, **further}}


class ClientGone(Exception):  # noqa: N818
    """The client closed the connection; there is nobody to answer."""


def problem_of(error: Exception, names: Mapping[Path, str]) -> Problem | None:
    """Return the answer for what a model raised about a file; None where it is a fault of ours.

    Args:
        error: what was raised.
        names: paths of this machine, and what the client knows them as.
    """
    message = without_paths(str(error), names)
    if isinstance(error, DataError | BitstreamError):
        return Problem(422, "unusable_file", message)
    if isinstance(error, ConfigError):
        return Problem(422, "unusable_option", message)
    if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in _FULL):
        return Problem(507, "no_space", "the server has no room for this file or its result now; try a smaller one, or later")
    if isinstance(error, MemoryError) or _lacks_gpu_memory(error):
        return Problem(507, "out_of_memory", "the server has not enough memory for this file; try a smaller one, or later")
    if isinstance(error, PhoticError):
        return Problem(422, "unusable_file", message)
    return None


def _lacks_gpu_memory(error: Exception) -> bool:
    import torch  # late: who may ask is decided before two seconds of imports

    return isinstance(error, torch.OutOfMemoryError)


def without_paths(text: str, names: Mapping[Path, str]) -> str:
    """Return a message with paths of this machine replaced by what the client knows.

    >>> without_paths("/tmp/x/upload.png: damaged", {Path("/tmp/x/upload.png"): "strip.png", Path("/tmp/x"): "the server"})
    'strip.png: damaged'
    """
    for path in sorted(names, key=lambda path: len(str(path)), reverse=True):
        text = names[path].join(re.split(rf"{re.escape(str(path))}(?![\w.-])", text))
    return text
