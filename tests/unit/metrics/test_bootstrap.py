import math
import time

import numpy as np
import pytest
import sklearn.metrics as sk

from photic import metrics
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.metrics.bootstrap import PredictionPair


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


def pair_of(names, seed, shift=0.2):
    generator = np.random.default_rng(seed)
    labels = np.array([np.random.default_rng(name).random(3) < [0.5, 0.4, 0.6] for name in names])
    first, second = (np.clip(generator.normal(0.35, 0.2, labels.shape) + up * labels, 0, 1).round(2) for up in (0.1, shift))
    return PredictionPair(names, first, second, labels, first_thresholds=[0.5, 0.4, 0.3], second_thresholds=0.45)


def test_the_mean_over_pairs_equals_a_loop_that_draws_a_shared_sample_for_all_of_them():
    pairs = [pair_of(list(range(40)), 1), pair_of(list(range(25, 60)), 2)]  # 15 samples are in both
    found = metrics.mean_difference(pairs, num_resamples=40, seed=3, level=0.9)
    expected = {name: [] for name in found}
    for drawn in numpy_generator(3, "bootstrap").integers(60, size=(40, 60)):
        of_pairs = []
        for pair in pairs:
            rows = [list(pair.names).index(name) for name in drawn if name in pair.names]
            y = pair.labels[rows]
            assert y.any(axis=0).all()
            sides = []
            for p, limit in ((pair.first[rows], pair.first_thresholds), (pair.second[rows], pair.second_thresholds)):
                each = [sk.average_precision_score(y[:, c], p[:, c]) for c in range(3)]
                sides.append([np.mean(each), sk.f1_score(y, p >= np.asarray(limit), average="macro", zero_division=0), *each])
            of_pairs.append(np.subtract(sides[1], sides[0]))
        for name, value in zip(expected, np.mean(of_pairs, axis=0), strict=True):
            expected[name].append(value)
    for name, values in expected.items():
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])), abs=1e-12)
        assert found[name]["num_valid"] == 40


def test_the_mean_over_one_pair_is_the_paired_bootstrap():
    pair = pair_of(list(range(30)), 5)
    thresholds = {"first_thresholds": pair.first_thresholds, "second_thresholds": pair.second_thresholds}
    alone = metrics.paired_bootstrap(pair.first, pair.second, pair.labels, **thresholds, num_resamples=50)
    assert metrics.mean_difference([pair], num_resamples=50) == alone


def test_the_mean_over_the_same_pair_twice_is_that_of_the_pair():
    pair = pair_of(list(range(30)), 5)
    once, twice = (metrics.mean_difference([pair] * times, num_resamples=50) for times in (1, 2))
    for name, entry in once.items():
        assert twice[name] == pytest.approx(entry)


def test_pairs_of_other_samples_narrow_the_interval():
    pairs = [pair_of(list(range(40 * i, 40 * i + 40)), i) for i in range(4)]
    found = [metrics.mean_difference(some, num_resamples=500)["macro_ap"] for some in (*([pair] for pair in pairs), pairs)]
    *single, together = found
    typical = np.sqrt(np.mean([(one["high"] - one["low"]) ** 2 for one in single]))
    assert 1.8 < typical / (together["high"] - together["low"]) < 2.2  # a factor of 2 is expected


def test_a_class_that_one_pair_does_not_have_is_averaged_over_the_others():
    pairs = [pair_of(list(range(30)), 1), pair_of(list(range(30, 60)), 2)]
    pairs[1].labels[:, 2] = False
    found = metrics.mean_difference(pairs, num_resamples=30)
    alone = [metrics.mean_difference([pair], num_resamples=30) for pair in pairs]
    assert found["ap/2"]["value"] == alone[0]["ap/2"]["value"]
    assert math.isnan(alone[1]["ap/2"]["value"])
    assert found["macro_ap"]["value"] == pytest.approx((alone[0]["macro_ap"]["value"] + alone[1]["macro_ap"]["value"]) / 2)
    assert found["macro_ap"]["num_valid"] == 30


def test_pairs_that_do_not_fit_together_are_refused():
    pair = pair_of(list(range(10)), 0)
    with pytest.raises(DataError, match="at least one pair"):
        metrics.mean_difference([])
    with pytest.raises(DataError, match="named twice"):
        metrics.mean_difference([PredictionPair([0] * 10, pair.first, pair.second, pair.labels)])
    with pytest.raises(DataError, match="a name for each sample and the same classes"):
        metrics.mean_difference([pair, PredictionPair(range(10), pair.first[:, :2], pair.second[:, :2], pair.labels[:, :2])])
    with pytest.raises(DataError, match="a name for each sample"):
        metrics.mean_difference([PredictionPair(range(9), pair.first, pair.second, pair.labels)])
