"""Networks without parameters can be evaluated, not trained, and training says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import photic
from photic.core.errors import ConfigError


def test_identity_cannot_be_trained_and_the_message_says_why_and_what_to_do(tmp_path: Path) -> None:
    config = photic.recipe(
        "quick_raw", {"model": "identity", "data.num_samples": 6, "data.size_px": 64, "data.eval_crop_px": 32, "output_dir": str(tmp_path)}
    )
    with pytest.raises(
        ConfigError, match=r"config\.model: RawIdentity has no parameters, so there is nothing to train.*photic list models"
    ):
        photic.train(config, quiet=True)
