"""A run that is killed and resumed ends with the same bits as one that is not, whenever it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("resume_driver.py")

# 84 training strips in batches of 12: 7 batches an epoch; two batches a step: 4 steps, the last one of a single batch.
# Validation after steps 2 and 4 of each epoch, that is after batches 4, 7, 11, 14, 18, 21.
SETTINGS = {
    "data.num_samples": 120,
    "data.height": 32,
    "data.width": 64,
    "data.batch_size": 12,
    "training.num_epochs": 3,
    "training.gradient_accumulation": 2,
    "training.ema_decay": 0.9,
    "training.validate_every_steps": 2,
    "training.checkpoint_every_steps": 1,
    "training.early_stopping_patience": None,
}
KILLS = [
    ["batch:1"],  # before anything was saved
    ["batch:6"],  # one batch before the first epoch's end
    ["batch:7"],  # at its end, before validation
    ["batch:8"],  # one batch after it
    ["validation:1"],  # in the validation in the middle of the first epoch
    ["validation:5"],  # in the validation at an epoch's end
    ["write:2"],  # in the middle of writing a checkpoint
    ["write:3"],
    ["saved:2"],  # between writing best and last, or right after last
    ["saved:3"],
    ["batch:10", "batch:14", "write:2", "validation:2"],  # again and again
    ["batch:21"],  # the very last batch
]


def run_driver(folder: Path, overrides: dict, kills: list[list[str]]) -> list[str]:
    order = {"folder": str(folder), "overrides": overrides, "kills": kills}
    done = subprocess.run([sys.executable, DRIVER], input=json.dumps(order), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, num_workers: int) -> None:
    kills = KILLS if num_workers == 0 else [KILLS[i] for i in (1, 2, 3, 10)]  # around an epoch's end, where workers differ
    assert run_driver(tmp_path, {**SETTINGS, "data.num_workers": num_workers}, kills) == []


def test_dropout_and_batch_statistics_resume_exactly_too(tmp_path: Path) -> None:
    network = {"model.name": "timm", "model.backbone": "test_efficientnet", "model.pretrained": False, "model.drop_rate": 0.3}
    plain = {"training.gradient_accumulation": 1, "training.ema_decay": None, "schedule.name": "patience", "schedule.patience": 1}
    settings = {**SETTINGS, **network, **plain}
    assert run_driver(tmp_path, settings, [["batch:6"], ["batch:8", "validation:3"]]) == []
