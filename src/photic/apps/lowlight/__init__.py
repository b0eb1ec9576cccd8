"""Low-light photographs and videos: brightened, denoised and coloured by trained enhancers.

>>> from photic.apps.lowlight import enhance
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photic.apps.lowlight.enhancing import enhance, enhance_photo, load_enhancer
    from photic.apps.lowlight.photo import Photo, read_photo, write_photo

__all__ = ["Photo", "enhance", "enhance_photo", "load_enhancer", "read_photo", "write_photo"]

_PLACES = {
    "Photo": "photo",
    "enhance": "enhancing",
    "enhance_photo": "enhancing",
    "load_enhancer": "enhancing",
    "read_photo": "photo",
    "write_photo": "photo",
}


def __getattr__(name: str) -> Any:
    """Import on use: the command line lists this application without importing torch."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
