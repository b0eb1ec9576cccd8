"""Photic: train, evaluate, compare and run neural networks that turn sensor measurements into images and decisions.

Everything is imported on first use, so ``import photic`` costs nothing.

>>> import photic
>>> config = photic.recipe("severstal", {"loss.gamma": 3.0})
>>> config.loss.gamma
3.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photic import core, data, losses, metrics, models, tasks
    from photic.core import registry as _registry
    from photic.inference.predictor import load
    from photic.inference.serve.server import serve
    from photic.workflows.bundle import bundle
    from photic.workflows.compare import compare
    from photic.workflows.config import TrainConfig
    from photic.workflows.evaluate import evaluate
    from photic.workflows.export import export
    from photic.workflows.predict import predict
    from photic.workflows.recipes import list_recipes, recipe
    from photic.workflows.report import write_report
    from photic.workflows.shelf import shelf
    from photic.workflows.train import resume, train

    __version__: str
    create_model = _registry.models.get
    create_loss = _registry.losses.get
    create_metric = _registry.metrics.get
    create_augmentation = _registry.augmentations.get
    create_dataset = _registry.datasets.get
    create_task = _registry.tasks.get
    create_optimizer = _registry.optimizers.get
    create_schedule = _registry.schedules.get
    list_models = _registry.models.names
    list_losses = _registry.losses.names
    list_metrics = _registry.metrics.names
    list_augmentations = _registry.augmentations.names
    list_datasets = _registry.datasets.names
    list_tasks = _registry.tasks.names
    list_optimizers = _registry.optimizers.names
    list_schedules = _registry.schedules.names

_HOMES = {
    "TrainConfig": "photic.workflows.config",
    "bundle": "photic.workflows.bundle",
    "compare": "photic.workflows.compare",
    "evaluate": "photic.workflows.evaluate",
    "export": "photic.workflows.export",
    "list_recipes": "photic.workflows.recipes",
    "load": "photic.inference.predictor",
    "predict": "photic.workflows.predict",
    "recipe": "photic.workflows.recipes",
    "resume": "photic.workflows.train",
    "serve": "photic.inference.serve.server",
    "shelf": "photic.workflows.shelf",
    "train": "photic.workflows.train",
    "write_report": "photic.workflows.report",
}
_PACKAGES = ("core", "data", "losses", "metrics", "models", "tasks")
_KINDS = {
    "model": "models",
    "loss": "losses",
    "metric": "metrics",
    "augmentation": "augmentations",
    "dataset": "datasets",
    "task": "tasks",
    "optimizer": "optimizers",
    "schedule": "schedules",
}

__all__ = [
    "TrainConfig",
    "__version__",
    "bundle",
    "compare",
    "core",
    "create_augmentation",
    "create_dataset",
    "create_loss",
    "create_metric",
    "create_model",
    "create_optimizer",
    "create_schedule",
    "create_task",
    "data",
    "evaluate",
    "export",
    "list_augmentations",
    "list_datasets",
    "list_losses",
    "list_metrics",
    "list_models",
    "list_optimizers",
    "list_recipes",
    "list_schedules",
    "list_tasks",
    "load",
    "losses",
    "metrics",
    "models",
    "predict",
    "recipe",
    "resume",
    "serve",
    "shelf",
    "tasks",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    import importlib

    value: Any
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _PACKAGES:
        return importlib.import_module(f"photic.{name}")
    elif name in __all__ and name.startswith(("create_", "list_")):
        from photic.core.registry import registry_of

        verb, _, word = name.partition("_")
        value = registry_of(_KINDS[word]).get if verb == "create" else registry_of(word).names
    elif name == "__version__":
        from importlib.metadata import version

        value = version("photic")
    else:
        raise AttributeError(f"module 'photic' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
