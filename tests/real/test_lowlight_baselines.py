"""Classical enhancers on the real pairs."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from photic.apps.lowlight.baselines import fitted, untrained
from photic.data.images import read_image
from photic.functional.ssim import psnr, ssim


@pytest.mark.real
def test_the_marks_of_published_tables_are_reached_on_real_pairs(real_data):
    """Every fifth pair measured, the others fitted to; noise as the camera made it."""
    folder = real_data / "lowlight" / "lol"
    with (folder / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = [tuple(read_image(folder / row[side]).astype(np.float32) / 255 for side in ("low", "high")) for row in rows[::2]]
    measured = pairs[::6]
    scores = {}
    for one in untrained() + fitted(pairs[number] for number in range(len(pairs)) if number % 6):
        values = []
        for dark, true in measured:
            x, y = (torch.from_numpy(picture.transpose(2, 0, 1).copy())[None] for picture in (one(dark), true))
            values.append((float(psnr(x, y, 1.0)), float(ssim(x, y, 1.0))))
        scores[one.name] = np.mean(values, axis=0)
    assert scores["identity"][0] < scores["gamma"][0] < scores["fitted tone curve"][0]
    assert scores["fitted tone curve"][0] > 17.5
    assert scores["histogram match + NLM"][1] > 0.72
    assert scores["histogram match + NLM"][1] > scores["fitted tone curve"][1] > scores["identity"][1]
