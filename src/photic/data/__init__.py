"""Splits, augmentations, loaders and readers, by kind."""

from __future__ import annotations

from photic.core.registry import Registry, lazy_attributes
from photic.core.registry import datasets as _registry

__getattr__ = lazy_attributes(
    __name__,
    {
        "StratifiedSplitter": "photic.data.split",
        "split_deviation": "photic.data.split",
        "ExactLoader": "photic.data.loader",
        "evaluation_batches": "photic.data.loader",
        "list_images": "photic.data.images",
        "read_image": "photic.data.images",
    },
)


def get_registry() -> Registry:
    """Return the registry of datasets: ``.get(name, **fields)``, ``.list_datasets(pattern)``, ``.register(name, cls)``."""
    return _registry
