"""The task of raw denoising: what is compared where, masks, values per ISO, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets, losses, models, tasks
from photic.data.loader import evaluation_batches
from photic.functional.raw_colour import REC2020_TO_SRGB, camera_to_rec2020
from photic.tasks.raw_denoising import developed

SMALL = {"num_samples": 6, "size_px": 48, "crop_px": 32, "eval_crop_px": 48}


@pytest.fixture(scope="module")
def data():
    return datasets.config_class("raw_generated")(**SMALL).prepare(0)


@pytest.fixture(scope="module")
def batch(data):
    return next(iter(evaluation_batches(data.splits["val"], 2, 0)))


def build(data, model="standard", loss="l1", **fields):
    torch.manual_seed(0)
    model_config = models.config_class(model)(**({"size": "tiny"} if model == "standard" else {}))
    return tasks.config_class("raw_denoising")(metrics=("psnr",), **fields).build(model_config, losses.config_class(loss)(), data)


def test_developed_pictures_are_balanced_in_srgb(batch):
    shown = developed(batch["target"], batch)
    matrix = REC2020_TO_SRGB @ camera_to_rec2020(batch["xyz_to_camera"][0].double().numpy(), batch["balance"][0].double().numpy())
    linear = np.clip(np.einsum("ij,jhw->ihw", matrix, batch["target"][0].double().numpy()), 0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(shown[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("space", ["camera", "rec2020"])
@pytest.mark.parametrize("transfer", ["none", "gamma22", "pq"])
def test_loss_and_gradient_in_every_space_and_through_every_transfer(data, batch, space, transfer):
    task = build(data, space=space, transfer=transfer)
    result = task.step(batch, "train")
    result.loss.backward()
    gradients = [parameter.grad for parameter in task.parameters()]
    assert torch.isfinite(result.loss) and all(torch.isfinite(one).all() for one in gradients)
    assert sum(float(one.abs().sum()) for one in gradients) > 0
    assert result.reduced is None


def test_masked_pixels_are_excluded_not_zeroed(data, batch):
    task = build(data)
    half = batch["mask"].clone()
    half[..., 24:] = 0
    wrong = batch["target"].clone()
    wrong[..., 24:] = 7.0
    with torch.no_grad():
        known = task.step({**batch, "mask": half}, "val")
        spoilt = task.step({**batch, "mask": half, "target": wrong}, "val")
        left = task.judged(task.predict(batch), batch)[..., :24] - task.judged(batch["target"], batch)[..., :24]
    assert known.loss.item() == pytest.approx(spoilt.loss.item(), abs=1e-7)
    assert known.loss.item() == pytest.approx(left.abs().mean().item(), rel=1e-4)  # by the number of valid pixels
    shown, true = (developed(part, batch)[..., :24] for part in (task.predict(batch).detach(), batch["target"]))
    expected = -10 * (shown - true).square().mean(dim=(1, 2, 3)).log10()
    torch.testing.assert_close(known.reduced[0][:, 0].float(), expected, atol=1e-3, rtol=0)
    assert torch.equal(known.reduced[0], spoilt.reduced[0])


def test_values_are_kept_for_each_picture_with_its_iso(data, batch):
    task = build(data)
    with torch.no_grad():
        table, _ = task.step(batch, "val").kept()
    assert table.shape == (2, 2) and table[:, 1].tolist() == batch["iso"].tolist()
    metrics = task.make_metrics()
    assert set(metrics) == {"psnr", "psnr_iso400", "psnr_iso12800"}
    for metric in metrics.values():
        metric.update(table, torch.zeros_like(table))
    each = {round(iso): value for value, iso in table.tolist()}
    assert metrics["psnr_iso400"].compute()["psnr_iso400"] == pytest.approx(each[400])
    report = task.report(table.numpy(), np.zeros(table.shape))
    assert report["iso"]["12800"]["psnr"] == pytest.approx(each[12800])
    header, rows = task.table(["a", "b"], table.numpy(), np.zeros(table.shape))
    assert header == ["file", "psnr", "iso"] and rows[0][0] == "a"


def test_sizes_are_never_scaled_to_fit(data, batch):
    task = build(data)
    with pytest.raises(DataError, match="the target is"):
        task.step({**batch, "target": batch["target"][..., ::2, ::2]}, "train")


def test_networks_of_other_tasks_and_measurements_are_refused(data):
    with pytest.raises(ConfigError, match="does not denoise raw pictures"):
        tasks.config_class("raw_denoising")().build(models.config_class("glance")(), losses.config_class("l1")(), data)
    with pytest.raises(ConfigError, match="takes rgb, the data give mosaic"):
        tasks.config_class("raw_denoising")().build(models.config_class("standard")(measurement="rgb"), losses.config_class("l1")(), data)
    with pytest.raises(ConfigError, match="not on pictures"):
        tasks.config_class("raw_denoising")().build(models.config_class("standard")(), losses.config_class("focal")(), data)
    with pytest.raises(ConfigError, match="does not judge pictures"):
        tasks.config_class("raw_denoising")(metrics=("roc_auc",)).build(
            models.config_class("standard")(), losses.config_class("l1")(), data
        )


def test_biases_are_not_decayed(data):
    task = build(data)
    groups = task.parameter_groups(1e-3, 0.1)
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in task.parameters())
    assert all(p.ndim <= 1 for group in groups if group["weight_decay"] == 0 for p in group["params"])
