"""Enhancement: with true pictures, without, and both in one batch; rates of parts; values of pictures."""

import math

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError
from photic.core.registry import losses, models, tasks
from photic.data.base import PreparedData
from photic.functional.overview import overview
from photic.tasks.pictures import side_by_side

METRICS = ("psnr", "ssim", "saturation", "psnr_gt_mean")
PAIRED = {"terms": {"reconstruction": {"name": "l1"}, "ssim": {"name": "ssim_loss", "weight": 0.2}}}
MIXED = {
    "terms": {
        "reconstruction": {"name": "l1"},
        "exposure": {"name": "exposure"},
        "spatial": {"name": "spatial_consistency"},
        "diversity": {"name": "colour_diversity"},
    }
}


def data(**extras):
    return PreparedData(splits={}, names={}, extras={"has_targets": True, **extras})


def make(model="glance", loss=PAIRED, prepared=None, model_fields=None, **fields):
    torch.manual_seed(0)
    config = tasks.configure("enhancement", **{"metrics": METRICS, **fields})
    network = models.configure(model, **({"width": 8} if model == "glance" else {}) | (model_fields or {}))
    return config.build(network, losses.configure("sum", **loss), data() if prepared is None else prepared)


def batch(known=(True, True, True), size=(32, 48)):
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(len(known), 3, *size, generator=generator)
    known = torch.tensor(known)
    return {
        "measurement": target * 0.1,
        "target": torch.where(known[:, None, None, None], target, torch.zeros(())),
        "has_target": known,
        "overview": overview(target * 0.1),
        "index": torch.arange(len(known)),
        "name": [f"p{i}" for i in range(len(known))],
    }


def test_loss_is_the_sum_of_its_terms_and_the_prediction_is_what_is_deployed():
    task, given = make(), batch()
    result = task.step(given, "train")
    assert set(result.terms) == {"reconstruction", "ssim"}
    torch.testing.assert_close(result.loss, sum(result.terms.values()))
    assert result.prediction.min() >= 0
    assert result.prediction.max() <= 1
    torch.testing.assert_close(result.prediction, task.predict(given))
    torch.testing.assert_close(result.prediction, task.deployable()(given["measurement"], given["overview"]))
    result.loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in task.parameters())


def test_a_batch_without_flags_counts_as_paired_and_its_overview_is_its_own():
    task, given = make().eval(), batch()
    bare = {name: given[name] for name in ("measurement", "target", "index")}
    torch.testing.assert_close(task.step(bare, "val").loss, task.step(given, "val").loss)


def test_each_term_sees_the_pictures_it_may_see():
    task = make(loss=MIXED)
    mixed = batch((True, False, True, False))
    terms = task.step(mixed, "train").terms
    picture = task.graph.enhanced(mixed["measurement"], mixed["overview"]).picture
    known = mixed["has_target"]
    parts = task.criterion.named_parts()
    torch.testing.assert_close(terms["reconstruction"], 0.5 * parts["reconstruction"](picture[known], mixed["target"][known]))
    torch.testing.assert_close(terms["exposure"], 0.5 * parts["exposure"](picture[~known], None))
    torch.testing.assert_close(terms["spatial"], parts["spatial"](picture, mixed["measurement"]))
    torch.testing.assert_close(terms["diversity"], parts["diversity"](picture, None))


@pytest.mark.parametrize("known", [(True, True), (False, False), (True, False)])
def test_every_kind_of_batch_gives_every_term_with_a_gradient_path_and_a_finite_step(known):
    task = make(loss=MIXED)
    result = task.step(batch(known), "train")
    assert list(result.terms) == list(MIXED["terms"])
    assert all(term.requires_grad for term in result.terms.values())
    result.loss.backward()
    reached = [p for p in task.network.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert reached
    assert math.isfinite(sum(float(p.grad.abs().sum()) for p in reached))


def test_what_an_unknown_target_holds_makes_no_difference():
    task, given = make(loss=MIXED).eval(), batch((True, False))
    other = {**given, "target": given["target"].clone()}
    other["target"][1] = 0.7
    torch.testing.assert_close(task.step(other, "val").loss, task.step(given, "val").loss)


def test_values_of_pictures_are_those_of_the_metrics_and_empty_without_a_target():
    from photic.core.registry import metrics

    task, given = make().eval(), batch((True, False))
    with torch.no_grad():
        result = task.step(given, "val")
    values, _ = result.kept()
    assert values.shape == (2, len(METRICS))
    picture = result.prediction[:1]
    for place, name in enumerate(METRICS):
        torch.testing.assert_close(values[:1, place], metrics.get(name).values(picture, given["target"][:1]))
    assert values[1].isnan().tolist() == [True, True, False, True]
    header, rows = task.table(["a", "b"], values.numpy(), values.numpy())
    assert header == ["file", *METRICS]
    assert rows[1][1] == ""
    assert float(rows[1][3]) == pytest.approx(float(values[1, 2]), rel=1e-4)
    report = task.report(values.numpy(), values.numpy())
    assert report["psnr"] == pytest.approx(float(values[0, 0]))
    assert report["pictures"] == 2


def test_training_steps_do_not_pay_for_metrics():
    assert make().step(batch(), "train").reduced is None


def test_pale_pictures_are_flagged():
    task = make()
    values = np.array([[20, 0.8, 0.35, 22], [20, 0.8, 0.08, 22], [20, 0.8, 0.03, 22], [20, 0.8, 0.3, 22]], dtype=np.float32)
    report = task.report(values, values)
    assert (report["LOW_COLOR"], report["LOW_COLOR_critical"], report["saturation_wanted"]) == (2, 1, 0.30)
    found = {}
    for metric in task.make_metrics().values():
        metric.update(torch.from_numpy(values), torch.zeros(4, 4))
        found |= metric.compute()
    assert found["low_colour"] == 0.5
    assert found["critical_colour"] == 0.25
    assert found["psnr"] == 20


def test_comparison_offers_every_metric_and_says_which_is_aligned():
    spec = make().comparison
    assert [value.column for value in spec.values] == list(METRICS)
    assert "GT mean" in spec.values[3].label
    assert all(value.higher_is_better for value in spec.values)


def test_parts_have_their_own_rates_and_biases_are_not_decayed():
    task = make("remdinet", model_fields={"backbone": "test_efficientnet", "semantic_dim": 8}, part_lr_factors={"other": 0.2})
    groups = {group["name"]: group for group in task.parameter_groups(1e-4, 0.01)}
    assert {name.removesuffix("_plain") for name in groups} == {"curve", "mask", "other"}
    assert groups["curve"]["lr"] == groups["mask"]["lr"] == 1e-4
    assert groups["other"]["lr"] == pytest.approx(2e-5)
    assert groups["other"]["weight_decay"] == 0.01
    assert groups["other_plain"]["weight_decay"] == 0
    counted = sum(len(group["params"]) for group in groups.values())
    assert counted == sum(p.requires_grad for p in task.parameters())


def test_a_rate_for_a_part_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"part_lr_factors: 'glance' has no part mask; it has: network"):
        make(part_lr_factors={"mask": 0.1})


def test_losses_that_cannot_be_are_refused_when_the_task_is_made():
    with pytest.raises(ConfigError, match=r"'mask' acts on the network's mask, which 'GlanceNet' does not have.*loss\.terms\.mask=null"):
        make(loss={"terms": {"reconstruction": {"name": "l1"}, "mask": {"name": "mask_mean"}}})
    with pytest.raises(ConfigError, match="'focal' acts on logits, not on pictures"):
        make(loss={"terms": {"focal": {"name": "focal", "num_classes": 3}}})
    with pytest.raises(
        ConfigError, match=r"'reconstruction' compares with true pictures, and the data have none; use the losses of recipe=zero_dce"
    ):
        make(prepared=data(has_targets=False))
    with pytest.raises(ConfigError, match="'average_precision' does not judge pictures"):
        make(metrics=("average_precision",))
    with pytest.raises(ConfigError, match="'tiny' does not enhance pictures"):
        make("tiny", model_fields={"num_classes": 3})


def test_a_scheduled_sum_skips_terms_of_weight_zero_and_wants_a_weight_for_each():
    task, given = make(loss=MIXED), batch()
    task.criterion.reweigh({"reconstruction": 2.0, "exposure": 0.0, "spatial": 0.0, "diversity": 0.5, "unused": 1.0})
    terms = task.step(given, "train").terms
    assert list(terms) == ["reconstruction", "diversity"]
    plain = make(loss=MIXED).step(given, "train").terms
    torch.testing.assert_close(terms["reconstruction"], 2 * plain["reconstruction"])
    torch.testing.assert_close(terms["diversity"], 0.5 * plain["diversity"])
    with pytest.raises(ConfigError, match=r"the schedule has no weight for spatial \(it has: reconstruction, exposure, diversity\)"):
        task.criterion.reweigh({"reconstruction": 1.0, "exposure": 1.0, "diversity": 1.0})
    with pytest.raises(ConfigError, match="all terms of the loss .* have weight 0 at this step"):
        task.criterion.reweigh(dict.fromkeys(MIXED["terms"], 0.0))
    with pytest.raises(ConfigError, match="'l1' is a single loss; use loss.name=sum"):
        losses.get("l1").reweigh({"reconstruction": 1.0})


def test_previews_lay_before_after_truth_side_by_side():
    result = make().step(batch(), "val")
    sheet = result.preview()
    assert sheet.shape == (3 * 32 + 2 * 4, 3 * 48 + 2 * 4, 3)
    assert sheet.dtype == np.uint8
    assert side_by_side([np.zeros((1, 3, 700, 900))] * 3).shape[0] <= 320
