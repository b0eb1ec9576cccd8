"""Metrics, by kind; ``get_registry()`` lists and builds them."""

from __future__ import annotations

from photic.core.registry import Registry, lazy_attributes
from photic.core.registry import metrics as _registry

__getattr__ = lazy_attributes(
    __name__,
    {
        "multilabel_report": "photic.metrics.multilabel",
        "confusion_2x2": "photic.metrics.multilabel",
        "tune_thresholds": "photic.metrics.multilabel",
        "bootstrap_intervals": "photic.metrics.bootstrap",
        "mean_difference": "photic.metrics.bootstrap",
        "paired_bootstrap": "photic.metrics.bootstrap",
        "expected_calibration_error": "photic.metrics.ranking",
        "precision_recall_curve": "photic.metrics.ranking",
        "reliability_curve": "photic.metrics.ranking",
        "roc_curve": "photic.metrics.ranking",
        "picture_values": "photic.metrics.pictures",
    },
)


def get_registry() -> Registry:
    """Return the registry of metrics: ``.get(name, **fields)``, ``.list_metrics(pattern)``, ``.register(name, cls)``."""
    return _registry
