"""Networks, by field name; ``get_registry()`` lists and builds them."""

from __future__ import annotations

from photic.core.registry import Registry
from photic.core.registry import models as _registry


def get_registry() -> Registry:
    """Return the registry of networks: ``.get(name, **fields)``, ``.list_models(pattern)``, ``.register(name, cls)``."""
    return _registry
