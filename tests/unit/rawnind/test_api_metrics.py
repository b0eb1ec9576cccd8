"""`compute_image_metrics` against NumPy and established implementations, masked and not; and schedules that count steps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from photic.apps.rawnind import compute_image_metrics
from photic.core.errors import ConfigError, DataError
from photic.core.registry import schedules

RNG = np.random.default_rng(0)
TRUE = RNG.random((2, 3, 176, 180)).astype(np.float32)
MADE = (TRUE + 0.1 * RNG.normal(size=TRUE.shape)).astype(np.float32)  # beyond [0, 1] here and there: nothing is clamped


def test_they_are_the_established_ones():
    found = compute_image_metrics(MADE, TRUE)
    assert list(found) == ["mse", "ms_ssim", "psnr"]
    pairs = list(zip(MADE, TRUE, strict=True))
    assert found["mse"] == pytest.approx(np.mean([mean_squared_error(made, true) for made, true in pairs]), rel=1e-5)
    assert found["psnr"] == pytest.approx(np.mean([peak_signal_noise_ratio(true, made, data_range=1) for made, true in pairs]), rel=1e-5)
    theirs = ms_ssim(torch.from_numpy(MADE), torch.from_numpy(TRUE), data_range=1.0)
    assert found["ms_ssim"] == pytest.approx(float(theirs), abs=1e-5)


def test_tensors_arrays_single_pictures_and_batches_are_alike():
    whole = compute_image_metrics(torch.from_numpy(MADE), torch.from_numpy(TRUE), ("mse", "psnr"))
    single = [compute_image_metrics(made, true, ["mse", "psnr"]) for made, true in zip(MADE, TRUE, strict=True)]
    for name in ("mse", "psnr"):
        assert whole[name] == pytest.approx(np.mean([found[name] for found in single]), rel=1e-9)


def test_psnr_of_identical_pictures_is_infinite():
    for picture in (TRUE[0], 3 * MADE[0] - 1, np.zeros((3, 161, 161), np.float32)):
        found = compute_image_metrics(picture, picture.copy())
        assert found["psnr"] == math.inf
        assert found["mse"] == 0
        assert found["ms_ssim"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(176, 180), (1, 176, 180), (2, 1, 176, 180), (2, 176, 180), (2, 3, 176, 180)], ids=str)
@pytest.mark.parametrize("kind", [bool, np.float32], ids=["bool", "float"])
def test_only_what_the_mask_leaves_counts(shape, kind):
    mask = RNG.random(shape) < 0.6
    wide = np.broadcast_to(mask[:, None] if shape == (2, 176, 180) else mask, TRUE.shape)
    broken = np.where(wide, MADE, np.nan)  # would make everything NaN, if it were multiplied by zero
    found = compute_image_metrics(broken, TRUE, ("mse", "psnr"), mask=mask.astype(kind))
    each = [np.square(made[own].astype(np.float64) - true[own]).mean() for made, true, own in zip(MADE, TRUE, wide, strict=True)]
    assert found["mse"] == pytest.approx(np.mean(each), rel=1e-5)
    assert found["psnr"] == pytest.approx(np.mean(-10 * np.log10(each)), rel=1e-5)


def test_masked_regions_do_not_show_in_ms_ssim_either():
    mask = np.ones((176, 180), bool)
    mask[60:90, 50:100] = False
    spoilt = np.where(mask, MADE, 7.0).astype(np.float32)
    found, expected = (compute_image_metrics(made, TRUE, ["ms_ssim"], mask=mask)["ms_ssim"] for made in (spoilt, MADE))
    assert found == pytest.approx(expected, abs=1e-6)


def test_other_registered_metrics_of_pictures_are_known_by_name():
    assert set(compute_image_metrics(MADE, TRUE, ["ssim", "delta_e"])) == {"ssim", "delta_e"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metrics": ["msssim"]}, ConfigError, "unknown.*'msssim'.*did you mean.*'ms_ssim'"),
        ({"metrics": "psnr"}, ConfigError, "expected several names"),
        ({"metrics": ["f1"]}, ConfigError, "'f1' does not judge pictures"),
        ({"ground_truth": TRUE[..., :90]}, DataError, "one shape.*nothing is scaled"),
        ({"predicted": TRUE.astype(np.uint8)}, DataError, "predicted: expected .* of floats"),
        ({"mask": np.zeros((176, 180))}, DataError, "mask: leaves nothing of picture 0"),
        ({"mask": np.ones((4, 176, 180))}, DataError, "mask: expected"),
        ({"predicted": TRUE[..., :160], "ground_truth": TRUE[..., :160]}, DataError, "ms_ssim: needs more than 160 pixels"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_is_refused_says_why(arguments, error, message):
    with pytest.raises(error, match=message):
        compute_image_metrics(**{"predicted": MADE, "ground_truth": TRUE, **arguments})


def factors_of(values: list[float], patience: int, every: int = 1, mode: str = "min") -> list[float]:
    schedule = schedules.get("patience_steps", 1, 1000, patience_steps=patience, factor=0.5)
    found = []
    for number, value in enumerate(values):
        restored = schedules.get("patience_steps", 1, 1000, patience_steps=patience, factor=0.5)
        restored.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
        schedule = restored
        schedule.observe_at(number * every, value, mode)
        found.append(schedule.factor(number * every))
    return found


def test_the_rate_falls_once_per_so_many_steps_without_improvement():
    assert factors_of([1, 1, 1, 1, 1, 1, 1], patience=3) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert factors_of([1, 1, 0.9, 1, 1, 0.8, 1], patience=3) == [1] * 7  # each improvement begins anew
    assert factors_of([1, 2, 2, 2], patience=2, mode="max") == [1, 1, 1, 0.5]
    assert factors_of([1, math.nan, math.nan, 0.5], patience=2) == [1, 1, 0.5, 0.5]  # NaN improves nothing


def test_a_validation_lowers_the_rate_once_however_long_ago_the_last_one_was():
    assert factors_of([1, 1, 1], patience=2, every=100) == [1, 0.5, 0.25]
