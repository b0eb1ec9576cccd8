"""Metrics, by kind; ``get_registry()`` lists and builds them."""

from __future__ import annotations

from photic.core.registry import Registry, lazy_attributes
from photic.core.registry import metrics as _registry

__getattr__ = lazy_attributes(__name__, {"multilabel_report": "photic.metrics.multilabel"})


def get_registry() -> Registry:
    """Return the registry of metrics: ``.get(name, **fields)``, ``.list_metrics(pattern)``, ``.register(name, cls)``."""
    return _registry
