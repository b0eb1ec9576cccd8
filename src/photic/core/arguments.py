"""What the arguments of commands are checked with, the command line's own and those of applications."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(least: int = 0) -> Callable[[str], int]:
    """Return what argparse takes as the type of a whole number from ``least`` on.

    >>> whole_number(1)("3")
    3
    """

    def parsed(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got '{text}'")
        return int(text)

    return parsed
