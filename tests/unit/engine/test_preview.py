"""Pictures of validation samples are written every so many validations, by tasks that can draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import photic

TINY = {
    "data.num_samples": 60,
    "data.size_px": 16,
    "data.probe_diameter_px": 7.0,
    "data.test_share": 0,
    "model.width_factor": 0.125,
    "trainer.num_threads": 1,
}


def pictures_of(folder: Path, overrides: dict[str, Any]) -> list[str]:
    run = photic.train(photic.recipe("quick_ptycho", {**TINY, "output_dir": str(folder), **overrides}), quiet=True, page=False).run
    return sorted(path.name for path in (run / "samples").glob("*")) if (run / "samples").exists() else []


# 54 training patterns in batches of 16: four steps an epoch.
@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [
        (1, 3, ["step_000004.png", "step_000008.png", "step_000012.png"]),
        (2, 5, ["step_000008.png", "step_000016.png", "step_000020.png"]),  # and always after the last validation
        (10, 2, ["step_000008.png"]),
        (None, 2, []),
    ],
)
def test_previews_come_every_n_validations_and_at_the_end(tmp_path: Path, every: int | None, epochs: int, expected: list[str]) -> None:
    assert pictures_of(tmp_path, {"training.preview_every_validations": every, "training.num_epochs": epochs}) == expected


def test_a_preview_is_a_picture_with_something_on_it(tmp_path: Path) -> None:
    pictures_of(tmp_path, {"training.num_epochs": 1})
    (path,) = tmp_path.glob("*/*/samples/*.png")
    picture = np.asarray(Image.open(path))
    assert picture.ndim == 3
    assert picture.dtype == np.uint8
    assert picture.std() > 20


def test_a_task_that_cannot_draw_is_trained_all_the_same(tmp_path: Path) -> None:
    small = {"data.num_samples": 120, "data.height": 32, "data.width": 64, "training.num_epochs": 1, "output_dir": str(tmp_path)}
    run = photic.train(photic.recipe("quick_strips", {**small, "training.preview_every_validations": 1}), quiet=True, page=False).run
    assert not (run / "samples").exists()


def test_drawing_changes_nothing_about_training(tmp_path: Path) -> None:
    histories = []
    for every in (1, None):
        overrides = {"training.preview_every_validations": every, "training.num_epochs": 2, "output_dir": str(tmp_path)}
        history = photic.train(photic.recipe("quick_ptycho", {**TINY, **overrides}), quiet=True, page=False).results["history"]
        histories.append([{key: value for key, value in entry.items() if key != "seconds"} for entry in history])
    assert histories[0] == histories[1]
