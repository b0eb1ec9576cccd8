import math
import time

import numpy as np
import pytest
import sklearn.metrics as sk

from photic import metrics
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator


def draw(num=300, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random((num, 3)) < [0.3, 0.1, 0.5]).astype(int)
    return np.clip(generator.normal(0.35, 0.2, labels.shape) + 0.25 * labels, 0, 1).round(2), labels


def test_intervals_equal_a_loop_that_resamples_and_asks_scikit_learn():
    probabilities, labels = draw(num=80)
    thresholds = np.array([0.5, 0.4, 0.6])
    found = metrics.bootstrap_intervals(probabilities, labels, thresholds, num_resamples=60, seed=3, level=0.9)
    rows = numpy_generator(3, "bootstrap").integers(80, size=(60, 80))
    expected = {name: [] for name in found}
    for row in rows:
        p, y = probabilities[row], labels[row]
        assert y.any(axis=0).all()
        each = [sk.average_precision_score(y[:, c], p[:, c]) for c in range(3)]
        expected["macro_ap"].append(np.mean(each))
        expected["macro_f1"].append(sk.f1_score(y, p >= thresholds, average="macro", zero_division=0))
        for c in range(3):
            expected[f"ap/{c}"].append(each[c])
    for name, values in expected.items():
        low, high = np.quantile(values, [0.05, 0.95])
        assert (found[name]["low"], found[name]["high"]) == pytest.approx((low, high), abs=1e-12)
        assert found[name]["num_valid"] == 60


def test_values_are_those_of_the_report():
    probabilities, labels = draw()
    intervals = metrics.bootstrap_intervals(probabilities, labels, 0.5, num_resamples=20, classes="abc")
    report = metrics.multilabel_report(probabilities, labels, 0.5, classes="abc")
    assert intervals["macro_ap"]["value"] == pytest.approx(report["macro"]["ap"])
    assert intervals["macro_f1"]["value"] == pytest.approx(report["macro"]["f1"])
    assert intervals["ap/b"]["value"] == pytest.approx(report["per_class"]["b"]["ap"])
    for entry in intervals.values():
        assert entry["low"] < entry["value"] < entry["high"]


def test_the_seed_decides_and_more_samples_narrow_the_interval():
    few, many = draw(num=100), draw(num=1600)
    same = [metrics.bootstrap_intervals(*few, seed=1, num_resamples=200) for _ in range(2)]
    assert same[0] == same[1]
    assert metrics.bootstrap_intervals(*few, seed=2, num_resamples=200) != same[0]
    width = [metrics.bootstrap_intervals(*data)["macro_ap"] for data in (few, many)]
    assert 2 < (width[0]["high"] - width[0]["low"]) / (width[1]["high"] - width[1]["low"]) < 8  # a factor of 4 is expected


def test_resamples_without_a_rare_class_are_left_out_and_counted():
    probabilities, labels = draw(num=50)
    labels[:, 1] = 0
    labels[7, 1] = 1
    found = metrics.bootstrap_intervals(probabilities, labels, num_resamples=2000)
    rows = numpy_generator(0, "bootstrap").integers(50, size=(2000, 50))
    with_the_positive = int((rows == 7).any(axis=1).sum())
    assert 1100 < with_the_positive < 1400  # 63 % are expected
    assert found["ap/1"]["num_valid"] == with_the_positive
    assert found["macro_ap"]["num_valid"] == found["macro_f1"]["num_valid"] == found["ap/1"]["num_valid"]
    assert found["ap/0"]["num_valid"] == 2000


def test_a_class_without_positives_has_no_interval_and_does_not_spoil_the_macro_values():
    probabilities, labels = draw(num=60)
    labels[:, 1] = 0
    found = metrics.bootstrap_intervals(probabilities, labels, num_resamples=50)
    assert math.isnan(found["ap/1"]["low"])
    assert found["ap/1"]["num_valid"] == 0
    assert found["macro_ap"]["num_valid"] == 50
    assert found["macro_ap"]["value"] == pytest.approx(metrics.multilabel_report(probabilities, labels)["macro"]["ap"])


def test_two_thousand_samples_and_a_thousand_resamples_take_seconds():
    generator = np.random.default_rng(0)
    labels = (generator.random((2000, 4)) < 0.2).astype(int)
    started = time.perf_counter()
    metrics.bootstrap_intervals(generator.random((2000, 4)), labels)
    assert time.perf_counter() - started < 10


def test_a_prediction_does_not_differ_from_itself_or_from_its_own_ranking():
    probabilities, labels = draw()
    for twin in (probabilities, probabilities / 2):
        found = metrics.paired_bootstrap(
            probabilities, twin, labels, second_thresholds=0.25 if twin is not probabilities else 0.5, num_resamples=50
        )
        for entry in found.values():
            assert (entry["value"], entry["low"], entry["high"], entry["share_above_zero"]) == (0, 0, 0, 0.5)


def test_the_paired_difference_is_second_minus_first_on_the_same_resamples():
    probabilities, labels = draw()
    generator = np.random.default_rng(1)
    worse = np.clip(probabilities + generator.normal(0, 0.3, probabilities.shape), 0, 1)
    found = metrics.paired_bootstrap(worse, probabilities, labels)["macro_ap"]
    single = [metrics.bootstrap_intervals(p, labels)["macro_ap"] for p in (worse, probabilities)]
    assert found["value"] == pytest.approx(single[1]["value"] - single[0]["value"])
    assert found["low"] > 0
    assert found["share_above_zero"] > 0.97
    back = metrics.paired_bootstrap(probabilities, worse, labels)["macro_ap"]
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))


def test_impossible_settings_are_refused():
    with pytest.raises(DataError, match="num_resamples"):
        metrics.bootstrap_intervals(*draw(), num_resamples=0)
    with pytest.raises(DataError, match="level"):
        metrics.bootstrap_intervals(*draw(), level=1.0)
    probabilities, labels = draw()
    with pytest.raises(DataError, match="shape"):
        metrics.paired_bootstrap(probabilities, probabilities[:10], labels)
