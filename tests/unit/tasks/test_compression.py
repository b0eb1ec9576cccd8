"""The task of compression: what is traded, per which pixel, masks, optimizer groups, estimated and actual bits, refusals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError, TrainingError
from photic.core.registry import datasets, losses, models, tasks
from photic.data.loader import evaluation_batches
from photic.engine.steps import build_optimizer, evaluate, optimize
from photic.functional.transfer import encode
from photic.inference.bundle import NoLossConfig
from photic.optim.optimizers import AdamWConfig
from photic.optim.schedules import ConstantConfig
from photic.tasks.raw_denoising import developed, in_space

SMALL = {"num_samples": 6, "size_px": 64, "crop_px": 64, "eval_crop_px": 64}
NETWORK = {"width": 6, "num_latents": 8, "num_strides": 2, "hyper_widths": (6, 6), "companding": "root"}
RATES = {"gains": 1.0, "encoder": 1.0, "decoder": 1.0, "hyper": 1.0, "entropy": 10.0, "auxiliary": 10.0}


@pytest.fixture(scope="module")
def data():
    return datasets.configure("raw_generated", **SMALL).prepare(0)


@pytest.fixture(scope="module")
def batch(data):
    return next(iter(evaluation_batches(data.splits["train"].samples, 4, 0)))


def build(data, network=None, loss=None, **fields):
    torch.manual_seed(0)
    model = models.configure("hyperprior", **{**NETWORK, **(network or {})})
    chosen = {"distortion": {"name": "mse"}, "lmbda": 200.0, **(loss or {})}
    task = tasks.configure("compression", **{"metrics": ("psnr",), **fields}).build(
        model, losses.configure("rate_distortion", **chosen), data
    )
    with torch.no_grad():  # latents of some steps, so that there is something to code
        last = list(task.network.encoder.parameters())[-2:]
        for parameter in last:
            parameter.mul_(30)
    return task


@pytest.fixture
def task(data):
    return build(data, {"num_qualities": 3}, {"lmbda_lowest": 2.0})


def coded_of(task, batch, quality=None):
    return task.graph(batch["measurement"], batch["planes"], batch["noise"], batch["balance"], quality)


@pytest.mark.parametrize("space", ["camera", "rec2020"])
@pytest.mark.parametrize("transfer", ["none", "gamma22", "pq"])
def test_it_trades_what_losses_see_for_all_bits_per_pixel(data, batch, space, transfer):
    task = build(data, {"num_qualities": 3}, {"lmbda_lowest": 2.0}, space=space, transfer=transfer).eval()
    quality = torch.tensor([1.0, 3.0, 2.0, 3.0])
    with torch.no_grad():
        result = task.step({**batch, "quality": quality}, "val")
        coded = coded_of(task, batch, quality)
    seen, true = (encode(in_space(part, batch, space), transfer) for part in (coded.picture, batch["target"]))
    distortion = rate = 0.0
    for row, level in enumerate((0.0, 1.0, 0.5, 1.0)):
        distortion += 2.0 * 100.0**level * float((seen[row] - true[row]).double().square().mean()) / 4
        rate += float(coded.bits["latents"][row] + coded.bits["hyper"][row]) / (64 * 64) / 4
    assert float(result.terms["distortion"]) == pytest.approx(distortion, rel=1e-4)
    assert float(result.terms["rate"]) == pytest.approx(rate, rel=1e-5)
    assert float(result.loss) == pytest.approx(distortion + rate, rel=1e-4)
    assert rate > 0.05


@pytest.mark.parametrize("measurement", ["mosaic", "rgb"])
def test_bits_count_per_sensor_pixel_of_the_picture_as_it_is(measurement):
    data = datasets.configure("raw_generated", **SMALL, measurement=measurement).prepare(0)
    batch = next(iter(evaluation_batches(data.splits["val"], 1, 0)))
    cut = {name: batch[name][..., :50, :44] for name in ("measurement", "planes", "target", "mask")}
    task = build(data, {"measurement": measurement, "num_strides": 2}).eval()
    with torch.no_grad():
        result = task.step({**batch, **cut}, "val")
        bits = sum(float(part) for part in coded_of(task, {**batch, **cut}).bits.values())
    assert float(result.terms["rate"]) == pytest.approx(bits / (50 * 44), rel=1e-5)  # not of the padded picture, not of three colours
    assert result.kept()[0][0, task.columns.index("bpp")].item() == pytest.approx(bits / (50 * 44), rel=1e-5)


@pytest.mark.parametrize("garbage", [7.0, math.nan])
def test_masked_pixels_are_excluded_from_distortion_and_values(task, batch, garbage):
    half = torch.ones_like(batch["mask"])
    half[..., 24:] = 0
    wrong = torch.where(half.bool(), batch["target"], garbage)
    quality = torch.tensor([1.0, 3.0, 2.0, 3.0])
    found = []
    for target in (batch["target"], wrong):
        given = {**batch, "mask": half, "target": target, "quality": quality}
        torch.manual_seed(4)
        loss = task.train().step(given, "train").loss
        gradients = torch.autograd.grad(loss, [p for p in task.parameters() if p.requires_grad])
        with torch.no_grad():
            found.append((loss.detach(), gradients, task.eval().step(given, "val")))
    (loss, gradients, known), (spoilt_loss, spoilt_gradients, spoilt) = found
    assert torch.isfinite(loss)
    assert torch.equal(loss, spoilt_loss)
    assert all(torch.equal(a, b) for a, b in zip(gradients, spoilt_gradients, strict=True))
    assert torch.equal(known.loss, spoilt.loss)
    assert torch.equal(known.kept()[0].nan_to_num(), spoilt.kept()[0].nan_to_num())
    with torch.no_grad():
        picture = coded_of(task, batch, quality).picture
        whole = task.step({**batch, "quality": quality}, "val")
    shown, true = (developed(part, batch)[..., :24] for part in (picture, batch["target"]))
    expected = -10 * (shown - true).square().mean(dim=(1, 2, 3)).log10()
    torch.testing.assert_close(known.kept()[0][:, 0].float(), expected, atol=1e-3, rtol=0)
    assert torch.equal(known.terms["rate"], whole.terms["rate"])  # the bits of masked pixels are in the file, too


def test_each_group_learns_at_its_rate_and_moves_in_one_step(task, batch):
    groups = {group["name"]: group for group in task.parameter_groups(1e-3, 0.1)}
    assert {name.removesuffix("_plain") for name in groups} == set(RATES)
    for name, group in groups.items():
        assert group["lr"] == pytest.approx(1e-3 * RATES[name.removesuffix("_plain")]), name
        convolutions = all(parameter.ndim == 4 for parameter in group["params"])
        assert group["weight_decay"] == (0.1 if convolutions else 0.0), name
    optimizer = build_optimizer(task, AdamWConfig(lr=1e-3, weight_decay=0.0))
    before = [parameter.detach().clone() for parameter in task.parameters()]
    places = {id(parameter): place for place, parameter in enumerate(task.parameters())}
    optimize(task.train(), batch, optimizer, ConstantConfig().build(1, 1), step=0, clip_norm=None)
    after = list(task.parameters())
    for name, group in groups.items():
        steps = [(after[places[id(p)]] - before[places[id(p)]]).abs().max().item() for p in group["params"]]
        assert max(steps) > 0.5 * group["lr"], name  # the first step of Adam is about the learning rate
        assert max(steps) <= 1.01 * group["lr"], name


def test_the_multiplier_of_densities_can_be_set(data):
    task = build(data, entropy_lr_multiplier=3.0)
    rates = {group["name"]: group["lr"] for group in task.parameter_groups(0.1, 0.0)}
    assert (rates["entropy_plain"], rates["auxiliary_plain"], rates["encoder"]) == pytest.approx((0.3, 0.3, 0.1))


def test_the_quantiles_term_moves_quantiles_alone_and_nothing_else_moves_them(task, batch):
    result = task.train().step(batch, "train")
    assert set(result.terms) == {"distortion", "rate", "quantiles"}
    quantiles = {id(parameter) for parameter in task.network.parameter_parts()["auxiliary"]}
    parameters = [p for p in task.parameters() if p.requires_grad]
    own = torch.autograd.grad(result.terms["quantiles"], parameters, retain_graph=True, allow_unused=True)
    others = torch.autograd.grad(result.terms["distortion"] + result.terms["rate"], parameters, allow_unused=True)
    for parameter, moved, moved_by_others in zip(parameters, own, others, strict=True):
        if id(parameter) in quantiles:
            assert moved.abs().max() > 0
            assert moved_by_others is None
        else:
            assert moved is None
            assert moved_by_others is not None


def test_evaluation_has_no_quantiles_in_its_loss(task, batch):
    for phase in ("val", "test"):
        with torch.no_grad():
            assert set(task.eval().step(batch, phase).terms) == {"distortion", "rate"}


def test_validation_reports_estimated_and_actual_bits_that_agree(task, batch):
    with torch.no_grad():
        table, _ = task.eval().step(batch, "val").kept()
    estimated, actual = (table[:, task.columns.index(name)] for name in ("bpp", "bpp_actual"))
    assert estimated.min() > 0.05
    more = 8 * 16 / 64**2  # two streams, whose state is some bytes
    assert ((actual - estimated).abs() <= 0.02 * estimated + more).all(), (actual, estimated)
    coded = coded_of(task, batch, table[:, -1].float())
    encoded = task.network.bit_estimator.coder().encode(coded.analysed[1], 32)
    assert actual[1].item() * 64**2 == 8 * (len(encoded.side) + sum(map(len, encoded.tiles)))


def test_values_are_means_over_iso_values_and_levels(task, data):
    values = evaluate(task, evaluation_batches(data.splits["val"], 1, 0))
    names = ("psnr", "bpp", "bpp_actual")
    parts = [f"_iso{iso}" for iso in (400, 12800)] + [f"_q{level}" for level in (1, 2, 3)]
    assert set(values) == {"loss", "distortion", "rate", *names, *(name + part for name in names for part in parts)}
    assert values["loss"] == pytest.approx(values["distortion"] + values["rate"])
    assert values["bpp"] == pytest.approx((values["bpp_iso400"] + values["bpp_iso12800"]) / 2)


@pytest.mark.parametrize(("num_qualities", "num_iso"), [(4, 2), (8, 5), (3, 2), (6, 4), (1, 3), (4, 1)])
def test_each_iso_value_meets_each_level(data, num_qualities, num_iso):
    task = build(data, {"num_qualities": num_qualities})
    task.iso = tuple(100.0 * 2**place for place in range(num_iso))
    rows = 3 * num_qualities * num_iso
    given = {"index": torch.arange(rows), "target": torch.empty(rows)}
    levels = task._qualities(given, "val").tolist()
    assert len({(row % num_iso, level) for row, level in enumerate(levels)}) == num_qualities * num_iso
    assert {levels.count(level) for level in set(levels)} == {3 * num_iso}
    assert set(levels) == set(range(1, num_qualities + 1))


def test_levels_are_drawn_in_training_and_given_ones_are_taken(task, batch):
    torch.manual_seed(0)
    drawn = torch.cat([task._qualities(batch, "train") for _ in range(30)])
    assert set(drawn.tolist()) == {1.0, 2.0, 3.0}
    assert task._qualities({**batch, "quality": torch.tensor([1.5, 2, 3, 1])}, "train").tolist() == [1.5, 2, 3, 1]
    with torch.no_grad():
        low, high = (task.eval().step({**batch, "quality": torch.full((4,), level)}, "val").terms["rate"] for level in (1.0, 3.0))
    assert low < high
    with pytest.raises(DataError, match="levels from 1 to 3"):
        task.step({**batch, "quality": torch.full((4,), 4.0)}, "val")


def test_report_and_table_hold_every_picture(task, data):
    task.eval()
    with torch.no_grad():
        kept = torch.cat([task.step(one, "val").kept()[0] for one in evaluation_batches(data.splits["val"], 1, 0)]).numpy()
    names = data.names["val"]
    header, rows = task.table(names, kept, np.zeros_like(kept))
    assert header == ["file", "psnr", "bpp", "bpp_actual", "iso", "quality"]
    assert [row[0] for row in rows] == names
    report = json.loads(json.dumps(task.report(kept, np.zeros_like(kept))))
    assert report["pictures"] == len(names)
    assert report["bpp_actual"] == pytest.approx(kept[:, 2].mean())
    for place, key in ((3, "iso"), (4, "quality")):
        for value, found in report[key].items():
            own = kept[kept[:, place] == float(value)]
            assert found["psnr"] == pytest.approx(own[:, 0].mean())
            assert found["bpp"] == pytest.approx(own[:, 1].mean())
    compared = [value.name for value in task.comparison.values]
    assert compared == ["psnr", "bpp_actual"]
    assert not task.comparison.values[-1].higher_is_better


def test_pictures_without_an_iso_value_are_counted_all_the_same(data, batch):
    task = build(data).eval()
    task.iso = ()
    unknown = {name: value for name, value in batch.items() if name not in ("iso", "index", "mask")}
    with torch.no_grad():
        table, _ = task.step(unknown, "val").kept()
    assert table[:, task.columns.index("iso")].isnan().all()
    report = task.report(table.numpy(), np.zeros(table.shape))
    assert report["iso"] == {}
    assert list(report["quality"]) == ["1"]
    _, rows = task.table(list("abcd"), table.numpy(), np.zeros(table.shape))
    assert rows[0][-2] == ""


def test_a_loss_that_is_no_number_stops_training_before_the_weights_are_touched(task, batch):
    optimizer = build_optimizer(task, AdamWConfig(lr=1e-3, weight_decay=0.0))
    before = {name: value.clone() for name, value in task.state_dict().items()}
    broken = {**batch, "measurement": torch.where(batch["planes"][:, :1] > 0, math.nan, batch["measurement"])}
    with pytest.raises(TrainingError, match="loss term 'distortion' turned nan at batch 7 .*the batch itself holds non-finite values"):
        optimize(task.train(), broken, optimizer, ConstantConfig().build(1, 1), step=7, clip_norm=1.0)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_sizes_are_never_scaled_to_fit(task, batch):
    with pytest.raises(DataError, match="the target is"):
        task.step({**batch, "target": batch["target"][..., ::2, ::2]}, "train")


def test_networks_data_and_losses_of_other_kinds_are_refused(data):
    compression, trade_off = tasks.configure("compression", metrics=("psnr",)), losses.configure("rate_distortion")
    with pytest.raises(ConfigError, match="'standard' does not compress raw pictures"):
        compression.build(models.configure("standard"), trade_off, data)
    with pytest.raises(ConfigError, match="takes rgb, the data give mosaic"):
        compression.build(models.configure("hyperprior", **NETWORK, measurement="rgb"), trade_off, data)
    with pytest.raises(ConfigError, match=r"loss\.name=rate_distortion; got 'mse', which can be its distortion"):
        compression.build(models.configure("hyperprior", **NETWORK), losses.configure("mse"), data)
    with pytest.raises(ConfigError, match="does not judge pictures"):
        tasks.configure("compression", metrics=("roc_auc",)).build(models.configure("hyperprior", **NETWORK), trade_off, data)


def test_a_description_builds_the_task_without_data_and_without_a_loss(task, batch):
    description = json.loads(json.dumps(task.description()))
    assert (description["measurement"], description["num_qualities"], description["iso"]) == ("mosaic", 3, [400.0, 12800.0])
    model = models.configure("hyperprior", **NETWORK, num_qualities=3)
    other = tasks.configure("compression", metrics=("psnr",)).build(model, NoLossConfig(), description).eval()
    other.graph.load_state_dict(task.eval().graph.state_dict())
    with torch.no_grad():
        assert torch.equal(other.predict(batch), task.predict(batch))
