"""Making something of one file: what makes it, and whose fault it is where nothing comes of it."""

from __future__ import annotations

from collections.abc import Callable

from photic.core.errors import BitstreamError, DataError, StorageError
from photic.inference.answer import Answer, with_warnings
from photic.inference.targets import Target

Advance = Callable[[float], None]
"""Told from time to time which share of a file's work has been done since; they sum to at most 1."""
Make = Callable[[Target, Advance], Answer]
"""Makes the result of a file, whole or not at all."""
Opener = Callable[[], Make]
"""Makes ready for making; called once in every process that makes files, so it must be picklable."""


def tried(make: Make, target: Target, advance: Advance) -> Answer | str:
    """Return what came of a file, or why nothing did, where that lies in the file.

    Args:
        make: makes it.
        target: the file.
        advance: told the shares of its work; in the end they sum to 1.

    Raises:
        PhoticError: it lies elsewhere.
    """
    told = 0.0

    def counted(share: float) -> None:
        nonlocal told
        share = min(share, 1 - told)
        told += share
        advance(share)

    try:
        return with_warnings(lambda: make(target, counted))
    except StorageError:
        raise  # a full disk is no property of the file
    except (DataError, BitstreamError) as error:
        return str(error)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"):  # torch's, which need not be imported
            raise
        return f"{target.source}: there is not enough memory for it ({str(error) or 'none left'}); smaller tiles take less (--tile)"
    finally:
        advance(1 - told)
