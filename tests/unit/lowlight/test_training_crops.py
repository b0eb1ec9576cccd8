"""What training does to crops so that little data teach no wrong things: parts of overviews, greys, one exposure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.apps.lowlight.datasets import LowLightGeneratedConfig
from photic.apps.lowlight.samples import level_of
from photic.core.errors import DataError

SIDE = 48


def training(**fields):
    config = LowLightGeneratedConfig(num_samples=12, size_px=SIDE, crop_px=32, **fields)
    return config.prepare(0).splits["train"]


def test_overviews_are_of_the_whole_picture_unless_parts_are_asked_for():
    plain, parts = training(), training(overview_share=0.4)
    for position in range(4):
        whole, some, again = plain.sample(position, 1), parts.sample(position, 1), parts.sample(position, 1)
        assert torch.equal(whole["measurement"], some["measurement"])  # nothing else changes
        assert torch.equal(whole["target"], some["target"])
        assert not torch.equal(whole["overview"], some["overview"])
        assert torch.equal(some["overview"], again["overview"])
        assert some["overview"].shape == whole["overview"].shape
    assert not torch.equal(parts.sample(0, 1)["overview"], parts.sample(0, 2)["overview"])


def test_the_share_of_grey_crops_is_what_was_asked_for_and_all_three_pictures_agree():
    crops = training(grey_share=0.3)
    samples = [crops.sample(position, draw) for position in range(len(crops)) for draw in range(40)]
    grey = [bool((s["target"].amax(0) == s["target"].amin(0)).all()) for s in samples]
    assert np.mean(grey) == pytest.approx(0.3, abs=0.06)
    for sample, is_grey in zip(samples, grey, strict=True):
        for name in ("measurement", "overview"):
            assert bool((sample[name].amax(0) == sample[name].amin(0)).all()) == is_grey


def test_one_exposure_for_all_scales_the_true_pictures_of_training_alone():
    own, common = training(), training(exposure="common")
    levels = {position: float(own.samples.sample(position)["target"].mean()) for position in range(len(own.samples))}
    wanted = float(np.median(list(levels.values())))
    for position, level in levels.items():
        plain, scaled = training().sample(position, 3), common.sample(position, 3)
        torch.testing.assert_close(scaled["target"], (plain["target"] * (wanted / level)).clamp(max=1), atol=1e-4, rtol=1e-3)
        assert torch.equal(plain["measurement"], scaled["measurement"])
    prepared = LowLightGeneratedConfig(num_samples=12, size_px=SIDE, crop_px=32, exposure="common").prepare(0)
    untouched = LowLightGeneratedConfig(num_samples=12, size_px=SIDE, crop_px=32).prepare(0)
    assert torch.equal(prepared.splits["val"].sample(0, 0)["target"], untouched.splits["val"].sample(0, 0)["target"])


def test_the_level_of_a_picture_is_its_mean_whatever_its_numbers():
    grey = np.full((4, 4, 3), 0.25)
    assert level_of(grey.astype(np.float32), "a") == 0.25
    assert level_of(np.full((4, 4, 3), 51, np.uint8), "a") == pytest.approx(0.2)
    assert level_of(np.full((4, 4, 3), 13107, np.uint16), "a") == pytest.approx(0.2)
    with pytest.raises(DataError, match="pair 'a': has no true picture"):
        level_of(None, "a")
