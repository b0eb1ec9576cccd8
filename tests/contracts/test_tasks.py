"""What every registered task keeps to: one graph that trains, is measured and is deployed."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch

from photic.core.registry import tasks
from photic.data.base import PreparedData
from photic.data.loader import evaluation_batches
from photic.losses.base import LossConfig
from photic.metrics.base import Metric
from photic.metrics.comparison import ComparisonSpec
from photic.models.base import ModelConfig
from photic.models.compression import Coded
from photic.tasks.base import Task, TaskConfig
from photic.tasks.compression import CompressionTask
from photic.workflows.config import TrainConfig
from photic.workflows.recipes import recipe

CLASSIFICATION = {"data.num_samples": 60, "data.height": 32, "data.width": 64, "loss": {"name": "focal", "alpha": "dynamic"}}
# A recipe whose data are generated, shrunk, for tasks that are no classification of pictures; such a task adds its own.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "compression": (
        "quick_compress",
        {
            "data.num_samples": 20,
            "data.size_px": 64,
            "data.eval_crop_px": 64,
            "model": {"width": 8, "num_latents": 8, "hyper_widths": [8, 8], "num_qualities": 1, "start": "random"},
        },
    ),
    "enhancement": ("quick_lowlight", {"data.num_samples": 20, "data.size_px": 48, "data.crop_px": 32}),
    "raw_denoising": ("quick_raw", {"data.num_samples": 20, "data.size_px": 48, "data.crop_px": 32, "data.eval_crop_px": 48}),
    "ptychography": ("quick_ptycho", {"data.num_samples": 120, "data.gridsize": 2, "model.width_factor": 0.125}),
}


@pytest.fixture(scope="module", params=tasks.names())
def config(request: pytest.FixtureRequest) -> TrainConfig:
    name = request.param
    chosen, overrides = OTHERS.get(name, ("quick_strips", CLASSIFICATION))
    made = recipe(chosen, {**overrides, "task.name": name})
    assert made.task.registry_name == name
    return made


@pytest.fixture(scope="module")
def data(config: TrainConfig) -> PreparedData:
    return config.data.prepare(0)


@pytest.fixture
def task(config: TrainConfig, data: PreparedData) -> Task:
    torch.manual_seed(0)
    made = config.task.build(config.model, config.loss, data)
    if isinstance(made, CompressionTask):  # a fresh network rounds all it has to say to 0, behind which nothing has a gradient
        with torch.no_grad():
            for layers in (made.network.encoder, made.network.bit_estimator.analysis):
                layers[-1].weight.mul_(30)  # type: ignore[union-attr, index]
    return made


@pytest.fixture(scope="module")
def batch(data: PreparedData) -> dict[str, Any]:
    return next(iter(evaluation_batches(data.splits["val"], 6, 0)))


def given(task: Task, batch: dict[str, Any], rows: slice = slice(None)) -> dict[str, Any]:
    """Return what the deployed graph needs of a batch: the arguments without a default, which are the batch's keys."""
    needed = [name for name, one in inspect.signature(task.deployable().forward).parameters.items() if one.default is one.empty]
    return {name: batch["measurement" if number == 0 else name][rows] for number, name in enumerate(needed)}


def pictured(deployed: Any) -> torch.Tensor:
    """Return what is predicted, of what the deployed graph gives: that alone, or with the bits that it takes."""
    picture: torch.Tensor = deployed.picture if isinstance(deployed, Coded) else deployed
    return picture


def everything(data: PreparedData, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return what is kept of the validation split: predictions and targets, or what a task makes of them."""
    with torch.inference_mode():
        kept = [task.eval().step(batch, "val").kept() for batch in evaluation_batches(data.splits["val"], 4, 0)]
    return torch.cat([prediction for prediction, _ in kept]).numpy(), torch.cat([target for _, target in kept]).numpy()


def test_it_is_a_task_with_a_task_config(config: TrainConfig, task: Task) -> None:
    assert isinstance(config.task, TaskConfig)
    assert isinstance(task, Task)
    assert isinstance(config.model, ModelConfig)
    assert isinstance(config.loss, LossConfig)


def test_training_evaluation_and_deployment_predict_the_same_bits(task: Task, batch: dict[str, Any]) -> None:
    task.eval()
    with torch.inference_mode():
        deployed = pictured(task.deployable()(**given(task, batch)))
        assert torch.equal(task.predict(batch), deployed)
        for phase in ("train", "val", "test"):
            assert torch.equal(task.step(batch, phase).prediction, deployed)


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(task: Task, batch: dict[str, Any]) -> None:
    graph = task.eval().deployable()
    with torch.inference_mode():
        whole = pictured(graph(**given(task, batch)))
        for row in range(len(whole)):
            alone = pictured(graph(**given(task, batch, slice(row, row + 1))))
            torch.testing.assert_close(alone[0], whole[row], atol=1e-6, rtol=1e-5)


def test_the_deployed_graph_is_part_of_the_task_and_takes_no_loss_along(task: Task) -> None:
    graph = task.deployable()
    assert graph is task.graph
    own = {id(parameter) for parameter in task.graph.parameters()}
    assert own == {id(parameter) for parameter in task.graph.network.parameters()}  # type: ignore[union-attr]
    assert not any(name.startswith("graph.") and "criterion" in name for name in task.state_dict())


def test_the_loss_is_the_sum_of_its_named_terms_and_the_prediction_is_detached(task: Task, batch: dict[str, Any]) -> None:
    result = task.train().step(batch, "train")
    assert result.loss.shape == ()
    assert result.loss.requires_grad
    assert result.terms
    torch.testing.assert_close(torch.stack(list(result.terms.values())).sum(), result.loss)
    assert not result.prediction.requires_grad
    assert torch.equal(result.target, batch["target"])


def test_what_is_kept_has_an_entry_for_each_sample_small_enough_to_keep_for_a_whole_split(task: Task, batch: dict[str, Any]) -> None:
    """Metrics, report and table are fed with it."""
    result = task.eval().step(batch, "val")
    for part in result.kept():
        assert len(part) == len(batch["measurement"])
        assert not part.requires_grad
        assert not part.is_complex()  # goes into float arrays
        assert part[0].numel() <= 10_000


def test_previews_are_pictures(task: Task, batch: dict[str, Any]) -> None:
    preview = task.eval().step(batch, "val").preview
    if preview is not None:
        picture = preview()
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3


def test_a_finite_gradient_that_is_not_zero_reaches_every_trainable_parameter(task: Task, batch: dict[str, Any]) -> None:
    task.train().step(batch, "train").loss.backward()
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("frozen", [0, 1, 3], ids="{} frozen".format)
def test_parameter_groups_hold_each_trainable_parameter_exactly_once(task: Task, frozen: int) -> None:
    for parameter in list(task.parameters())[:frozen]:
        parameter.requires_grad_(False)
    groups = task.parameter_groups(lr=0.3, weight_decay=0.2)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(parameter) for parameter in task.parameters() if parameter.requires_grad}
    assert len(held) == len(set(held))
    assert set(held) == trainable
    assert len({group["name"] for group in groups}) == len(groups)
    for group in groups:
        assert {"name", "params", "lr", "weight_decay"} <= set(group)
        assert 0 < group["lr"] <= 0.3 * getattr(task.config, "entropy_lr_multiplier", 1.0)
        assert group["weight_decay"] in (0.0, 0.2)
        if any(parameter.ndim <= 1 for parameter in group["params"]):
            assert group["weight_decay"] == 0  # biases and normalisation


def test_a_loss_that_learns_something_is_trained_too(task: Task) -> None:
    task.criterion.register_parameter("temperature", torch.nn.Parameter(torch.ones(())))
    held = {id(parameter) for group in task.parameter_groups(0.1, 0.2) for parameter in group["params"]}
    assert id(task.criterion.temperature) in held


def test_an_optimizer_step_lowers_the_loss_of_its_batch(config: TrainConfig, task: Task, batch: dict[str, Any]) -> None:
    optimizer = config.optimizer.build(task.parameter_groups(1e-3, 0.0))
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = task.train().step(batch, "train").loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_its_description_is_json_and_builds_the_same_task_without_data(
    config: TrainConfig, data: PreparedData, task: Task, batch: dict[str, Any]
) -> None:
    task.calibrate(*everything(data, task))
    description = json.loads(json.dumps(task.description()))
    torch.manual_seed(1)
    other = config.task.build(config.model, config.loss, description)
    assert other.description() == task.description()
    assert other.state_dict().keys() == task.state_dict().keys()
    other.load_state_dict(task.state_dict())
    with torch.inference_mode():
        first, second = task.eval().step(batch, "test"), other.eval().step(batch, "test")
    assert torch.equal(first.prediction, second.prediction)
    assert torch.equal(first.loss, second.loss)  # class weights from the training split came with the weights


def test_calibration_changes_no_weight_and_no_prediction(data: PreparedData, task: Task) -> None:
    prediction, target = everything(data, task)
    before = copy.deepcopy(task.state_dict())
    task.calibrate(prediction, target)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    np.testing.assert_array_equal(everything(data, task)[0], prediction)


def test_its_metrics_are_fresh_each_time_and_cover_the_value_that_chooses_the_best(
    config: TrainConfig, data: PreparedData, task: Task
) -> None:
    prediction, target = (torch.from_numpy(values) for values in everything(data, task))
    first, second = task.make_metrics(), task.make_metrics()
    assert first.keys() == second.keys()
    values: dict[str, float] = {}
    for name, metric in first.items():
        assert isinstance(metric, Metric)
        assert metric is not second[name]
        metric.update(prediction, target)
        found = metric.compute()
        assert not found.keys() & values.keys()
        values.update(found)
    assert config.training.monitor in {"loss", *values}


def test_its_report_is_json(data: PreparedData, task: Task) -> None:
    report = task.report(*everything(data, task))
    assert report
    assert json.loads(json.dumps(report)).keys() == report.keys()


def test_its_table_has_a_row_for_each_name_in_order(data: PreparedData, task: Task) -> None:
    prediction, target = everything(data, task)
    header, rows = task.table(data.names["val"], prediction, target)
    assert header[0] == "file"
    assert len(header) == len(set(header))
    assert [row[0] for row in rows] == data.names["val"]
    assert all(len(row) == len(header) for row in rows)


def test_what_it_says_of_comparisons_is_in_its_table_and_survives_json(data: PreparedData, task: Task) -> None:
    if task.comparison is None:
        return  # a classification, which `photic compare` knows by itself
    header, rows = task.table(data.names["val"], *everything(data, task))
    assert ComparisonSpec.from_dict(json.loads(json.dumps(task.comparison.to_dict()))) == task.comparison
    for value in task.comparison.values:
        for column in value.columns:
            numbers = np.array([float(row[header.index(column)]) for row in rows])
            assert np.isfinite(numbers).all()
        if value.weight is not None:
            assert min(float(row[header.index(value.weight)]) for row in rows) >= 0
