"""Small runs on generated strips, shared by the workflow tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = {
    "data.num_samples": 120,
    "data.height": 32,
    "data.width": 64,
    "data.batch_size": 8,
    "training.num_epochs": 2,
    "trainer.num_threads": 1,
}


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a maker of small configurations: ``small_config({"loss.name": "focal"})``."""
    import photic

    folder = tmp_path_factory.mktemp("runs")

    def make(overrides: dict[str, Any] | None = None, recipe: str = "quick_strips") -> Any:
        return photic.recipe(recipe, {**SMALL, "output_dir": str(folder), **(overrides or {})})

    return make


@pytest.fixture(scope="session")
def finished_run(small_config: Callable[..., Any]) -> Path:
    """Return the folder of a finished small run."""
    import photic

    return photic.train(small_config(), quiet=True).run
