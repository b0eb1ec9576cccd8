"""Memory of a process that computes on large arrays again and again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the process keep the memory of large arrays that are freed, for the next ones; return whether it does.

    Otherwise the C library gives each back to the system at once, and getting new pages can cost as much time as computing on them: for the
    `standard` denoiser in a virtual machine, 1.4 s of 2.8 s per megapixel, with this 0.2 s. It is for commands, which end and give
    all back; a library has no business changing it. It needs glibc; elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _MOST))
