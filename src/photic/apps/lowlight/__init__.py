"""Low-light photographs and videos: brightened, denoised and coloured by trained enhancers.

>>> from photic.apps.lowlight import enhance
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photic.apps.lowlight.enhancing import enhance, enhance_photo, load_enhancer
    from photic.data.photo.files import Photo, read_photo, write_photo

__all__ = ["Photo", "enhance", "enhance_photo", "load_enhancer", "read_photo", "write_photo"]

_PLACES = {
    "Photo": "photic.data.photo.files",
    "enhance": "photic.apps.lowlight.enhancing",
    "enhance_photo": "photic.apps.lowlight.enhancing",
    "load_enhancer": "photic.apps.lowlight.enhancing",
    "read_photo": "photic.data.photo.files",
    "write_photo": "photic.data.photo.files",
}


def __getattr__(name: str) -> Any:
    """Import on use: the command line lists this application without importing torch."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
