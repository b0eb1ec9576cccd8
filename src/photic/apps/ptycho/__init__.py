"""Ptychography: from a raw scan to a stitched complex object, learned and iterative.

>>> from photic.apps.ptycho import PtychoModel, load_raw_npz, group_raw_npz, RawNPZData
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photic.apps.ptycho.grouping import group_raw_npz
    from photic.apps.ptycho.model import PtychoModel
    from photic.apps.ptycho.raw import RawNPZData, load_raw_npz, save_raw_npz
    from photic.apps.ptycho.reconstruction import Reconstruction

__all__ = ["PtychoModel", "RawNPZData", "Reconstruction", "group_raw_npz", "load_raw_npz", "save_raw_npz"]

_PLACES = {
    "PtychoModel": "model",
    "RawNPZData": "raw",
    "Reconstruction": "reconstruction",
    "group_raw_npz": "grouping",
    "load_raw_npz": "raw",
    "save_raw_npz": "raw",
}


def __getattr__(name: str) -> Any:
    """Import on use: the command line lists this application without importing torch."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
