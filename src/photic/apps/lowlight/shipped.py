"""Models that come with Photic, by name."""

from __future__ import annotations

from pathlib import Path

from photic.core.errors import DataError, nearest

FOLDER = Path(__file__).parent / "weights"
"""Where their bundles lie; their licence is there, too, and is not the code's."""


def shipped_models() -> dict[str, Path]:
    """Return name to bundle."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.photic"))}


def model_source(model: Path | str) -> Path:
    """Return the path that a model's name or path means; what exists as a path is taken as one.

    Raises:
        DataError: neither a path nor a name.
    """
    path = Path(model)
    if path.exists():
        return path
    known = shipped_models()
    if str(model) in known:
        return known[str(model)]
    names = f"models that come with Photic: {', '.join(known)}" if known else "no models come with this installation"
    raise DataError(f"{model}: no such bundle, run or checkpoint{nearest(str(model), known)} ({names})")
