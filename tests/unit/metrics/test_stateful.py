import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.metrics import expected_calibration_error, get_registry, multilabel_report

generator = torch.Generator().manual_seed(0)
LABELS = (torch.rand(60, 3, generator=generator) < 0.4).float()
PROBABILITIES = torch.rand(60, 3, generator=generator)
KEYS = {"average_precision": "ap", "roc_auc": "auc", "f1": "f1", "precision": "precision", "recall": "recall"}


def feed(metric, sizes):
    for prediction, target in zip(PROBABILITIES.split(sizes), LABELS.split(sizes), strict=True):
        metric.update(prediction, target)
    return metric.compute()


@pytest.mark.parametrize("name", KEYS)
def test_values_are_those_of_the_report_whatever_the_batches(name):
    key = KEYS[name]
    report = multilabel_report(PROBABILITIES, LABELS)
    expected = {f"macro_{key}": report["macro"][key], f"micro_{key}": report["micro"][key]}
    expected |= {f"{key}/{c}": report["per_class"][c][key] for c in range(3)}
    for sizes in ([60], [1, 30, 29]):
        assert feed(get_registry().get(name), sizes) == pytest.approx(expected)


def test_average_precision_of_the_set_is_not_the_mean_over_batches():
    metric = get_registry().get("average_precision")
    whole = feed(metric, [20, 20, 20])["macro_ap"]
    parts = []
    for prediction, target in zip(PROBABILITIES.split(20), LABELS.split(20), strict=True):
        metric.reset()
        metric.update(prediction, target)
        parts.append(metric.compute()["macro_ap"])
    assert whole != pytest.approx(np.mean(parts), abs=1e-3)


def test_calibration_error_is_per_class_macro_and_micro_and_lower_is_better():
    metric = get_registry().get("calibration_error", num_bins=5)
    each = expected_calibration_error(PROBABILITIES, LABELS, 5)
    pooled = expected_calibration_error(PROBABILITIES.reshape(-1, 1), LABELS.reshape(-1, 1), 5)[0]
    assert not metric.higher_is_better
    assert feed(metric, [60]) == pytest.approx({"macro_ece": each.mean(), "micro_ece": pooled, **{f"ece/{c}": each[c] for c in range(3)}})


def test_the_threshold_acts():
    assert feed(get_registry().get("recall", threshold=0.0), [60])["macro_recall"] == 1.0
    assert feed(get_registry().get("recall", threshold=1.0), [60])["macro_recall"] == 0.0


def test_reset_forgets_and_an_empty_metric_says_so():
    metric = get_registry().get("f1")
    feed(metric, [60])
    metric.reset()
    with pytest.raises(DataError, match="no batch was seen"):
        metric.compute()


def test_undefined_values_are_nan():
    metric = get_registry().get("average_precision")
    metric.update(torch.tensor([[0.2, 0.4]]), torch.tensor([[1.0, 0.0]]))
    values = metric.compute()
    assert values["macro_ap"] == values["ap/0"] == 1.0
    assert math.isnan(values["ap/1"])


def test_logits_are_refused():
    metric = get_registry().get("f1")
    metric.update(torch.tensor([[3.0, -2.0]]), torch.tensor([[1.0, 0.0]]))
    with pytest.raises(DataError, match="sigmoid"):
        metric.compute()


def test_importing_the_package_imports_neither_numpy_nor_torch():
    code = (
        "import sys, photic.metrics, photic.losses, photic.models; sys.exit(bool({'numpy', 'torch', 'sklearn', 'timm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
