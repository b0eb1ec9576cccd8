"""Metrics of pictures against scikit-image and torchmetrics, and that they are means over pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2hsv, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from photic.core.errors import ConfigError, DataError
from photic.core.registry import metrics
from photic.metrics.pictures import PSNR, VALUES, DeltaE, PictureMetric, picture_values

ALIGNED = [name for name in VALUES if name.endswith("_gt_mean")]


def pictures(num=3, size=(40, 48)):
    """Predictions of very different quality, a little outside of [0, 1], and true pictures."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [0.5 + 0.3 * np.sin(x / (5 + c)) * np.cos(y / 7) + 0.1 * np.sin((x + y) / 3) for c in range(3)]
    true = np.clip(np.stack([waves] * num) + 0.1 * rng.random((num, 3, 1, 1)), 0, 1)
    noise = np.array([0.02, 0.1, 0.3, 0.05])[:num, None, None, None]
    found = true * np.linspace(0.5, 1.1, num)[:, None, None, None] + noise * rng.normal(size=true.shape)
    return torch.from_numpy(found).float(), torch.from_numpy(true).float()


def aligned(prediction, target):
    """The convention of published tables, written out: one factor from the grey means, then clipped."""
    grey = [np.tensordot([0.299, 0.587, 0.114], part, 1).mean() for part in (prediction, target)]
    return np.clip(prediction * grey[1] / grey[0], 0, 1)


def established(name, prediction, target):
    """The value of one picture ``(3, H, W)``, float64, from other libraries."""
    prediction, target = np.clip(prediction.double().numpy(), 0, 1), target.double().numpy()
    if name in ALIGNED:
        prediction, name = aligned(prediction, target), name.removesuffix("_gt_mean")
    last = [np.moveaxis(part, 0, -1) for part in (prediction, target)]
    if name == "psnr":
        return peak_signal_noise_ratio(target, prediction, data_range=1.0)
    if name == "ssim":
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        return structural_similarity(*last, channel_axis=-1, **options)
    if name == "ms_ssim":
        both = [torch.from_numpy(part)[None] for part in (prediction, target)]
        return float(multiscale_structural_similarity_index_measure(*both, data_range=1.0))
    if name == "delta_e":
        return deltaE_ciede2000(*map(rgb2lab, last)).mean()
    return rgb2hsv(last[0])[..., 1].mean()


@pytest.mark.parametrize("name", [name for name in VALUES if "ms_ssim" not in name])
def test_each_value_is_that_of_an_established_implementation(name):
    prediction, target = pictures()
    expected = [established(name, *pair) for pair in zip(prediction, target, strict=True)]
    tolerance = {"delta_e": 0.01, "psnr": 1e-3}.get(name.removesuffix("_gt_mean"), 1e-4)
    found = picture_values(prediction, target, [name])[name]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=tolerance)
    assert len({round(value, 3) for value in expected}) == 3


@pytest.mark.parametrize("name", ["ms_ssim", "ms_ssim_gt_mean"])
def test_ms_ssim_is_that_of_torchmetrics(name):
    prediction, target = pictures(2, (180, 184))
    expected = [established(name, *pair) for pair in zip(prediction, target, strict=True)]
    # torchmetrics pads the border of each window where this one leaves it out, as the paper does.
    np.testing.assert_allclose(picture_values(prediction, target, [name])[name].numpy(), expected, atol=0.01)


@pytest.mark.parametrize("name", VALUES)
def test_a_metric_is_the_mean_of_the_values_of_pictures_and_not_a_value_of_the_batch(name):
    prediction, target = pictures(3, (176, 176) if "ms_ssim" in name else (24, 32))
    values = picture_values(prediction, target, [name])[name]
    metric = metrics.get(name)
    metric.update(prediction[:2], target[:2])
    metric.update(prediction[2:], target[2:])
    assert metric.compute() == {name: pytest.approx(values.double().mean().item(), rel=1e-6)}
    for row in range(3):
        alone = picture_values(prediction[row : row + 1], target[row : row + 1], [name])[name]
        assert alone.item() == pytest.approx(values[row].item(), rel=1e-5)
    if name == "psnr":
        whole = 10 * math.log10(1 / float((prediction.clamp(0, 1) - target).square().mean()))
        assert abs(whole - metric.compute()["psnr"]) > 0.3


def test_ssim_is_of_windows_and_not_of_means_of_the_whole():
    target = pictures(1)[1]
    order = torch.randperm(target[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    shuffled = target.flatten(2)[..., order].view(target.shape)
    assert picture_values(shuffled, target, ["ssim"])["ssim"].item() < 0.1


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms_ssim", "delta_e"])
def test_alignment_is_a_setting_and_a_name_of_its_own(name):
    size = (176, 176) if name == "ms_ssim" else (24, 32)
    prediction, target = pictures(2, size)
    by_setting, by_name, plain = metrics.get(name, gt_mean=True), metrics.get(f"{name}_gt_mean"), metrics.get(name)
    for metric in (by_setting, by_name, plain):
        metric.update(0.4 * prediction, target)
    assert by_setting.compute() == by_name.compute()
    assert list(by_name.compute()) == [by_name.value_name] == [f"{name}_gt_mean"]
    sign = 1 if plain.higher_is_better else -1
    assert sign * by_name.compute()[f"{name}_gt_mean"] > sign * plain.compute()[name]
    assert (by_name.label, plain.label) == (f"{plain.label}, GT mean", plain.label)
    with pytest.raises(ConfigError, match="gt_mean"):
        metrics.get(f"{name}_gt_mean", gt_mean=False)


def test_what_lies_outside_of_a_file_is_clamped_and_nan_is_not_hidden():
    prediction, target = pictures(1)
    wild = torch.where(target > 0.5, target + 3, target - 3)
    assert picture_values(wild, target, ["psnr"]) == picture_values(wild.clamp(0, 1), target, ["psnr"])
    prediction[0, 0, 3, 3] = float("nan")
    for name, value in picture_values(prediction, target, small="leave_out").items():
        assert torch.isnan(value).all(), name


def test_equal_pictures_are_perfect_and_black_ones_finite():
    _, target = pictures(2, (176, 180))
    same = picture_values(target, target)
    assert same["psnr"].isinf().all()
    for name, perfect in {"ssim": 1, "ms_ssim": 1, "delta_e": 0}.items():
        torch.testing.assert_close(same[name], torch.full((2,), float(perfect)), atol=1e-5, rtol=0)
    for prediction, true in ((torch.zeros_like(target), target), (target, torch.zeros_like(target))):
        assert all(torch.isfinite(value).all() for name, value in picture_values(prediction, true).items() if name != "psnr_gt_mean")
    assert picture_values(torch.zeros_like(target), target)["psnr_gt_mean"].isfinite().all()


def test_small_pictures_have_no_ms_ssim_and_never_a_zero():
    prediction, target = pictures(1, (160, 400))
    assert list(picture_values(prediction, target, small="leave_out")) == [name for name in VALUES if "ms_ssim" not in name]
    with pytest.raises(DataError, match=r"ms_ssim: needs pictures of at least 161 x 161 pixels, got 160 x 400"):
        picture_values(prediction, target)
    with pytest.raises(DataError, match=r"ms_ssim_gt_mean: needs pictures of at least 161 x 161"):
        metrics.get("ms_ssim_gt_mean").update(prediction, target)
    with pytest.raises(DataError, match=r"ssim: needs pictures of at least 11 x 11 pixels, got 8 x 40"):
        picture_values(prediction[:, :, :8, :40], target[:, :, :8, :40], ["ssim"])
    tiny = picture_values(torch.full((1, 3, 1, 1), 0.4), torch.full((1, 3, 1, 1), 0.5), ["psnr", "delta_e", "saturation"])
    assert tiny["psnr"].item() == pytest.approx(20, abs=1e-4)


def test_names_and_order_are_as_asked_for():
    prediction, target = pictures(1)
    assert list(picture_values(prediction, target, ["saturation", "psnr"])) == ["saturation", "psnr"]
    assert set(VALUES) == {"psnr", "ssim", "ms_ssim", "delta_e", "saturation", *ALIGNED}
    assert len(ALIGNED) == 4
    with pytest.raises(ConfigError, match=r"unknown values lpips; known: psnr, ssim"):
        picture_values(prediction, target, ["lpips"])
    with pytest.raises(ConfigError, match=r"small: expected 'leave_out' or 'raise', got 'zero'"):
        picture_values(prediction, target, small="zero")


def test_saturation_needs_no_true_picture_and_the_others_do():
    prediction, _ = pictures(1)
    for name in VALUES:
        metric = metrics.get(name)
        assert isinstance(metric, PictureMetric)
        assert metric.needs_target == (name != "saturation")
        if metric.needs_target:
            with pytest.raises(DataError, match=rf"{name}: expected .* got \(1, 3, 40, 48\) and None"):
                metric.values(prediction)
        else:
            assert metric.values(prediction).shape == (1,)


@pytest.mark.parametrize("name", VALUES)
def test_other_shapes_and_kinds_are_refused(name):
    good = torch.rand(1, 3, 40, 40)
    for wrong in (good[0], good[:, :1], good[:0], (255 * good).to(torch.uint8)):
        with pytest.raises(DataError, match=rf"{name}: expected"):
            metrics.get(name).update(wrong, wrong)
    if name != "saturation":
        with pytest.raises(DataError, match=r"\(1, 3, 40, 40\) and \(1, 3, 40, 39\)"):
            metrics.get(name).update(good, good[..., 1:])


def test_nothing_seen_is_no_number_and_no_gradient_is_kept():
    assert math.isnan(metrics.get("psnr").compute()["psnr"])
    prediction, target = pictures(1)
    assert not metrics.get("delta_e").values(prediction.requires_grad_(), target).requires_grad


def test_masked_pixels_are_left_out_where_a_metric_can_and_refused_where_not():
    torch.manual_seed(0)
    prediction, target = torch.rand(1, 3, 20, 30), torch.rand(1, 3, 20, 30)
    mask = torch.ones(1, 1, 20, 30)
    mask[..., 15:] = 0
    found = PSNR().values(prediction, target, mask)
    torch.testing.assert_close(found, PSNR().values(prediction[..., :15], target[..., :15]))
    torch.testing.assert_close(PSNR().values(prediction, target, torch.ones_like(mask)), PSNR().values(prediction, target))
    for metric in (DeltaE(), PSNR(gt_mean=True)):
        with pytest.raises(DataError, match="cannot leave masked pixels out"):
            metric.values(prediction, target, mask)
