"""What every registered metric keeps to."""

import dataclasses
import inspect

import pytest
import torch
import torchvision

from photic.core import index
from photic.core.registry import metrics
from photic.core.schema import field_types
from photic.metrics import get_registry
from photic.metrics.base import Metric
from photic.metrics.pictures import VALUES as PICTURE_VALUES

# A known name builds this very class. A metric that is added needs no line here: it is found and held to everything below.
CLASSES = {
    "average_precision": "AveragePrecision",
    "calibration_error": "CalibrationError",
    "delta_e": "DeltaE",
    "delta_e_gt_mean": "DeltaE",
    "f1": "F1",
    "lpips": "LPIPS",
    "ms_ssim": "MSSSIM",
    "ms_ssim_gt_mean": "MSSSIM",
    "precision": "Precision",
    "psnr": "PSNR",
    "psnr_gt_mean": "PSNR",
    "r_amp": "RAmp",
    "recall": "Recall",
    "roc_auc": "RocAuc",
    "saturation": "Saturation",
    "ssim": "SSIM",
    "ssim_gt_mean": "SSIM",
}
VALUES = {"average_precision": "ap", "calibration_error": "ece", "f1": "f1", "precision": "precision", "recall": "recall", "roc_auc": "auc"}
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]]).float()
GOOD = 0.1 + 0.8 * LABELS
BAD = 1 - GOOD
TOTALS = torch.tensor([10.0, 20.0, 5.0, 8.0, 40.0])
# Metrics of something else than probabilities and labels: the name of their value, and what a task feeds them with (its kept results):
# a good prediction, a bad one, targets. A new metric of that kind adds its own.
OTHERS = {"r_amp": ("r_amp", 0.1 * TOTALS, 0.9 * TOTALS, TOTALS)}


def pictures(side_px):
    """Return five pictures each: good ones, bad ones (grey and noisy), true ones."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0.2, 0.8, side_px)
    base = torch.stack([ramp.expand(side_px, side_px), ramp.expand(side_px, side_px).T, 1 - ramp.expand(side_px, side_px)])
    true = base * torch.linspace(0.5, 1, 5).view(5, 1, 1, 1) + 0.02 * torch.rand(5, 3, side_px, side_px, generator=generator)
    noise = torch.randn(true.shape, generator=generator)
    return (true + 0.01 * noise).clamp(0, 1), (true.mean(dim=1, keepdim=True) + 0.02 * noise).clamp(0, 1), true


SMALL, LARGE = pictures(32), pictures(176)
OTHERS |= {name: (name, *(LARGE if name.startswith("ms_ssim") else SMALL)) for name in PICTURE_VALUES} | {"lpips": ("lpips", *SMALL)}
NAMES = get_registry().list_metrics()
of_labels = pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHERS], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def weights_of_lpips(tmp_path_factory):
    """A file in the place where torch keeps downloaded weights: random ones, since none are installed with Photic."""
    home = tmp_path_factory.mktemp("torch")
    file = home / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        network = torchvision.models.alexnet(weights=None).state_dict()
        torch.save({name: value for name, value in network.items() if name.startswith("features.")}, file)
        yield


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def key_of(name):
    """Return the metric's main value: `macro_ap`, `r_amp`."""
    if name in OTHERS:
        return OTHERS[name][0]
    return f"macro_{VALUES[name]}" if name in VALUES else next(iter(measured(name, GOOD)))


def fed(name):
    """Return a good prediction, a bad one, and targets."""
    return OTHERS[name][1:] if name in OTHERS else (GOOD, BAD, LABELS)


def measured(name, prediction, target=None):
    metric = get_registry().get(name)
    metric.update(prediction, fed(name)[2] if target is None else target)
    return metric.compute()


def test_none_of_the_known_metrics_has_vanished():
    assert set(CLASSES) <= set(get_registry().list_metrics())


def test_it_builds_the_expected_class(name):
    metric = get_registry().get(name)
    assert type(metric).__name__ == CLASSES.get(name, type(metric).__name__)
    assert isinstance(metric, Metric)


def test_its_config_round_trips(name):
    config = metrics.configure(name)
    assert type(config).from_dict(config.to_dict()) == config


def test_its_values_are_named_floats(name):
    values = measured(name, fed(name)[0])
    assert next(iter(values)) == key_of(name)
    assert all(type(value) is float for value in values.values())


@of_labels
def test_its_values_are_named_macro_micro_and_by_class(name):
    key = key_of(name).removeprefix("macro_")
    assert list(measured(name, GOOD)) == [f"macro_{key}", f"micro_{key}", *(f"{key}/{c}" for c in range(3))]


def test_a_good_prediction_is_better_than_a_bad_one(name):
    key, sign = key_of(name), 1 if get_registry().get(name).higher_is_better else -1
    good, bad, _ = fed(name)
    assert sign * measured(name, good)[key] > sign * measured(name, bad)[key]


def test_the_order_and_the_size_of_batches_do_not_matter(name):
    good, _, target = fed(name)
    whole = measured(name, good)
    metric = get_registry().get(name)
    for rows in ([4], [2, 0], [1, 3]):
        metric.update(good[rows], target[rows])
    assert metric.compute() == pytest.approx(whole)


def test_reset_forgets(name):
    good, bad, target = fed(name)
    metric = get_registry().get(name)
    metric.update(bad, target)
    metric.reset()
    metric.update(good, target)
    assert metric.compute() == measured(name, good)


def test_computing_twice_gives_the_same_and_changes_nothing(name):
    good, _, target = fed(name)
    metric = get_registry().get(name)
    metric.update(good, target)
    assert metric.compute() == metric.compute()


def test_what_it_was_fed_can_be_changed_afterwards(name):
    good, _, target = fed(name)
    metric, prediction = get_registry().get(name), good.clone()
    metric.update(prediction, target)
    prediction.zero_()
    assert metric.compute() == measured(name, good)


def test_half_precision_predictions_work(name):
    good, key = fed(name)[0], key_of(name)
    assert measured(name, good.bfloat16())[key] == pytest.approx(measured(name, good)[key], abs=0.01, rel=1e-3)


def test_the_source_index_says_what_the_imported_class_says(name):
    (entry,) = get_registry().entries(name)
    config = metrics.config_class(name)
    assert (entry.module, entry.qualname) == (config.__module__, config.__qualname__)
    assert entry.summary == index.first_line(inspect.getdoc(config))
    fields = {field.name: field for field in dataclasses.fields(config)}
    listed = {info.name: info for info in entry.fields()}
    assert list(listed) == list(fields)
    for key, info in listed.items():
        assert info.doc, f"{key} has no docstring"
        assert info.default == fields[key].default
        metadata = getattr(field_types(config)[key], "__metadata__", ())
        assert info.range == " and ".join(str(extra) for extra in metadata if type(extra).__name__ == "Range")
