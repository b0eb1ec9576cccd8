"""How the user calls Photic, for commands that are printed to be copied."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def program() -> str:
    """Return ``photic``, or the path that works here if the name alone does not (a ``.venv`` that is not activated).

    >>> program().endswith("photic")
    True
    """
    own = Path(sys.executable).with_name("photic")
    found = shutil.which("photic")
    if not own.exists() or (found is not None and Path(found).resolve() == own.resolve()):
        return "photic"
    here = Path.cwd()
    return str(own.relative_to(here)) if own.is_relative_to(here) else str(own)
