"""The report, the curves and the thresholds against scikit-learn, torchmetrics and brute force."""

import json
import math

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photic import metrics
from photic.core.errors import DataError


def draw(num=200, classes=4, seed=0, decimals=2):
    """Probabilities with many ties, of rare and frequent classes."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((num, classes)) < [0.1, 0.05, 0.5, 0.2][:classes]).astype(int)
    labels[0], labels[1] = 1, 0  # every class has both sides
    return np.clip(generator.normal(0.35, 0.2, labels.shape) + 0.3 * labels, 0, 1).round(decimals), labels


@st.composite
def small_sets(draw_from):
    num = draw_from(st.integers(2, 12))
    grid = st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0])
    probabilities = draw_from(st.lists(st.lists(grid, min_size=2, max_size=2), min_size=num, max_size=num))
    labels = draw_from(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=num, max_size=num))
    return np.array(probabilities), np.array(labels)


# Report -------------------------------------------------------------------------------------------------------------


def test_report_equals_scikit_learn_per_class_macro_and_micro():
    probabilities, labels = draw()
    thresholds = np.array([0.5, 0.3, 0.6, 0.45])
    called = probabilities >= thresholds
    report = metrics.multilabel_report(probabilities, labels, thresholds)
    for average in ("macro", "micro"):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(labels, called, average=average)
        expected = {
            "ap": sk.average_precision_score(labels, probabilities, average=average),
            "auc": sk.roc_auc_score(labels, probabilities, average=average),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
        assert report[average] == pytest.approx(expected, abs=1e-12)
    for c in range(4):
        assert report["per_class"][c]["ap"] == pytest.approx(sk.average_precision_score(labels[:, c], probabilities[:, c]), abs=1e-12)
        assert report["per_class"][c]["f1"] == pytest.approx(sk.f1_score(labels[:, c], called[:, c]), abs=1e-12)
        assert report["per_class"][c]["support"] == labels[:, c].sum()
    assert report["undefined"] == report["notes"] == []


def test_report_equals_torchmetrics():
    from torchmetrics.functional.classification import multilabel_auroc, multilabel_average_precision, multilabel_f1_score

    probabilities, labels = draw(seed=1)
    scores, target = torch.from_numpy(probabilities).float(), torch.from_numpy(labels)
    report = metrics.multilabel_report(scores, target, 0.405)  # between the two decimals: >= and > agree
    assert report["macro"]["ap"] == pytest.approx(multilabel_average_precision(scores, target, 4).item(), abs=1e-5)
    assert report["macro"]["auc"] == pytest.approx(multilabel_auroc(scores, target, 4).item(), abs=1e-5)
    assert report["macro"]["f1"] == pytest.approx(multilabel_f1_score(scores, target, 4, threshold=0.405).item(), abs=1e-5)
    assert report["micro"]["f1"] == pytest.approx(multilabel_f1_score(scores, target, 4, threshold=0.405, average="micro").item(), abs=1e-5)


@given(small_sets())
@settings(max_examples=60, deadline=None)
def test_areas_equal_scikit_learn_on_small_sets_full_of_ties(data):
    probabilities, labels = data
    report = metrics.multilabel_report(probabilities, labels)
    for c in range(2):
        row, y = report["per_class"][c], labels[:, c]
        if y.any():
            assert row["ap"] == pytest.approx(sk.average_precision_score(y, probabilities[:, c]), abs=1e-12)
        else:
            assert math.isnan(row["ap"])
        if y.any() and not y.all():
            assert row["auc"] == pytest.approx(sk.roc_auc_score(y, probabilities[:, c]), abs=1e-12)
        else:
            assert math.isnan(row["auc"])


def test_arrays_tensors_and_lists_give_the_same_report():
    probabilities, labels = draw(num=20)
    expected = metrics.multilabel_report(probabilities, labels)
    assert metrics.multilabel_report(torch.from_numpy(probabilities), torch.from_numpy(labels).float()) == expected
    assert metrics.multilabel_report(probabilities.tolist(), labels.tolist()) == expected
    assert metrics.multilabel_report(torch.from_numpy(probabilities).bfloat16(), labels)["macro"]["ap"] > 0


def test_classes_are_called_by_index_or_by_the_given_names_and_the_report_is_json():
    probabilities, labels = draw(num=20)
    named = metrics.multilabel_report(probabilities, labels, classes=("a", "b", "c", "d"))
    assert list(named["per_class"]) == ["a", "b", "c", "d"]
    assert list(metrics.multilabel_report(probabilities, labels)["per_class"]) == [0, 1, 2, 3]
    assert json.loads(json.dumps(named)) == named
    with pytest.raises(DataError, match="expected 4 different names"):
        metrics.multilabel_report(probabilities, labels, classes=("a", "b"))


def test_a_class_without_positives_is_left_out_of_the_macro_mean_and_named():
    probabilities, labels = draw()
    labels[:, 1] = 0
    probabilities[:, 1] = 0.1  # never called either
    report = metrics.multilabel_report(probabilities, labels, classes="abcd")
    others = [0, 2, 3]
    assert report["macro"]["ap"] == pytest.approx(sk.average_precision_score(labels[:, others], probabilities[:, others]))
    assert report["macro"]["f1"] == pytest.approx(np.mean([report["per_class"][key]["f1"] for key in "acd"]))
    assert all(math.isnan(report["per_class"]["b"][name]) for name in ("ap", "auc", "precision", "recall", "f1"))
    assert report["undefined"] == [{"class": "b", "values": ["ap", "auc", "precision", "recall", "f1"], "reason": "no positive sample"}]


def test_false_calls_of_an_absent_class_count_against_it():
    report = metrics.multilabel_report([[0.9, 0.9], [0.2, 0.1]], [[1, 0], [0, 0]])
    assert report["per_class"][1]["precision"] == 0.0
    assert report["per_class"][1]["f1"] == 0.0
    assert report["macro"]["f1"] == 0.5
    assert math.isnan(report["per_class"][1]["recall"])


def test_a_class_that_is_never_called_has_precision_and_f1_zero():
    report = metrics.multilabel_report([[0.2], [0.1]], [[1], [0]])
    assert (report["per_class"][0]["precision"], report["per_class"][0]["recall"], report["per_class"][0]["f1"]) == (0.0, 0.0, 0.0)


def test_a_class_without_negatives_has_no_auc():
    report = metrics.multilabel_report([[0.2], [0.9]], [[1], [1]])
    assert report["per_class"][0]["ap"] == 1.0
    assert report["undefined"] == [{"class": 0, "values": ["auc"], "reason": "no negative sample"}]


def test_a_probability_equal_to_the_threshold_counts_as_present():
    assert metrics.multilabel_report([[0.5], [0.4]], [[1], [0]])["macro"]["f1"] == 1.0


@pytest.mark.parametrize(
    ("probabilities", "labels", "thresholds", "message"),
    [
        ([[0.2, 1.2]], [[0, 1]], 0.5, r"1\.2 at sample 0, class 1.*apply the sigmoid"),
        ([[0.2, float("nan")]], [[0, 1]], 0.5, r"nan at sample 0, class 1"),
        ([[0.2, 0.3]], [[0, 2]], 0.5, r"labels: 2 at sample 0, class 1.*0 or 1"),
        ([[0.2, 0.3]], [[0, 1, 1]], 0.5, r"\(1, 2\) and \(1, 3\)"),
        ([0.2, 0.3], [0, 1], 0.5, r"\(N, C\).*\(2,\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), 0.5, "at least one sample"),
        ([[0.2, 0.3]], [[0, 1]], [0.5, 0.5, 0.5], "one number or 2"),
        ([[0.2, 0.3]], [[0, 1]], [0.5, 1.5], "from 0 to 1"),
    ],
)
def test_unusable_input_is_refused_with_its_place(probabilities, labels, thresholds, message):
    with pytest.raises(DataError, match=message):
        metrics.multilabel_report(probabilities, labels, thresholds)


@pytest.mark.parametrize("dtype", [bool, int])
def test_decisions_in_place_of_probabilities_are_refused(dtype):
    probabilities, labels = draw()
    with pytest.raises(DataError, match="decisions: thresholds are applied here"):
        metrics.multilabel_report((probabilities >= 0.5).astype(dtype), labels)


def test_decisions_written_as_floats_are_pointed_out():
    probabilities, labels = draw()
    assert "look like decisions" in metrics.multilabel_report((probabilities >= 0.5).astype(float), labels)["notes"][0]


# Confusion, curves, calibration -------------------------------------------------------------------------------------


def test_confusion_equals_scikit_learn():
    probabilities, labels = draw()
    expected = sk.multilabel_confusion_matrix(labels, probabilities >= np.array([0.5, 0.3, 0.6, 0.4]))
    np.testing.assert_array_equal(metrics.confusion_2x2(probabilities, labels, [0.5, 0.3, 0.6, 0.4]), expected)


def test_precision_recall_curve_equals_scikit_learn_up_to_its_added_end_point():
    probabilities, labels = draw()
    curve = metrics.precision_recall_curve(probabilities[:, 0], labels[:, 0])
    precision, recall, thresholds = sk.precision_recall_curve(labels[:, 0], probabilities[:, 0])
    np.testing.assert_allclose(curve.precision, precision[:-1])
    np.testing.assert_allclose(curve.recall, recall[:-1])
    np.testing.assert_allclose(curve.thresholds, thresholds)


def test_roc_curve_equals_scikit_learn():
    probabilities, labels = draw()
    curve = metrics.roc_curve(probabilities[:, 0], labels[:, 0])
    fpr, tpr, thresholds = sk.roc_curve(labels[:, 0], probabilities[:, 0], drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, fpr)
    np.testing.assert_allclose(curve.true_positive_rate, tpr)
    np.testing.assert_allclose(curve.thresholds, thresholds)


def test_curves_of_a_class_without_positives_are_nan_and_warn_nobody():
    assert np.isnan(metrics.precision_recall_curve([0.1, 0.4], [0, 0]).recall).all()
    assert np.isnan(metrics.roc_curve([0.1, 0.4], [0, 0]).true_positive_rate).all()


def test_curves_want_one_class():
    with pytest.raises(DataError, match=r"one class, \(N,\).*\(200, 4\)"):
        metrics.roc_curve(*draw())


def test_reliability_and_calibration_error_equal_a_loop_over_bins():
    probabilities, labels = draw(decimals=3)
    p, y = probabilities[:, 0], labels[:, 0]
    curve = metrics.reliability_curve(p, y, num_bins=10)
    error = 0.0
    for b in range(10):
        inside = (p >= b / 10) & ((p < (b + 1) / 10) | (b == 9))
        assert curve.count[b] == inside.sum()
        if inside.any():
            assert curve.confidence[b] == pytest.approx(p[inside].mean())
            assert curve.frequency[b] == pytest.approx(y[inside].mean())
            error += inside.mean() * abs(p[inside].mean() - y[inside].mean())
        else:
            assert math.isnan(curve.confidence[b])
    assert metrics.expected_calibration_error(probabilities, labels, num_bins=10)[0] == pytest.approx(error)


def test_calibration_error_equals_torchmetrics():
    """torchmetrics measures the probability of presence as well when its bins start at 0."""
    from torchmetrics.functional.classification import binary_calibration_error

    generator = np.random.default_rng(0)
    p = generator.random(500) * 0.5 + 0.5
    y = (generator.random(500) < p).astype(int)
    expected = binary_calibration_error(torch.from_numpy(p), torch.from_numpy(y), n_bins=15).item()
    assert metrics.expected_calibration_error(p[:, None], y[:, None])[0] == pytest.approx(expected, abs=1e-6)


def test_a_calibrated_prediction_has_a_small_error_and_an_overconfident_one_a_large_one():
    generator = np.random.default_rng(0)
    p = generator.random((20000, 1))
    y = (generator.random((20000, 1)) < p).astype(int)
    assert metrics.expected_calibration_error(p, y)[0] < 0.02
    assert metrics.expected_calibration_error((p > 0.5) * 0.98 + 0.01, y)[0] > 0.2


# Thresholds ---------------------------------------------------------------------------------------------------------


@given(small_sets())
@settings(max_examples=100, deadline=None)
def test_tuned_thresholds_are_as_good_as_the_best_of_a_fine_grid(data):
    probabilities, labels = data
    tuned = metrics.tune_thresholds(probabilities, labels)
    for c in range(2):
        y, p = labels[:, c], probabilities[:, c]
        assert 0 <= tuned[c] <= 1
        if not y.any():
            assert tuned[c] == 0.5
            continue
        grid = [_f1(y, p >= threshold) for threshold in np.linspace(0, 1, 201)]
        assert _f1(y, p >= tuned[c]) == pytest.approx(max(grid), abs=1e-12)


def _f1(labels, called):
    return 2 * (labels & called).sum() / (labels.sum() + called.sum())


@pytest.mark.parametrize(
    ("probabilities", "labels", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], 0.25),  # the middle of the gap
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5),  # 0.5 where it decides alike
        ([0.1, 0.6, 0.7, 0.9], [0, 0, 1, 1], 0.65),
        ([0.1, 0.2, 0.3], [0, 0, 0], 0.5),  # no positives: nothing to tune
        ([0.8, 0.9], [1, 1], 0.5),  # everything is positive
        ([0.2, 0.4], [1, 1], 0.1),  # everything, below 0.5
        ([0.0, 0.0], [1, 0], 0.0),  # nothing to tell apart
        ([0.9, 0.6, 0.3], [1, 0, 1], 0.15),  # calling all is best: F1 0.8
        ([0.9, 0.6, 0.55, 0.4], [1, 0, 0, 1], 0.75),  # calling one or all gives F1 2/3: of 0.75 and 0.2 the nearer to 0.5
    ],
)
def test_the_place_of_a_tuned_threshold(probabilities, labels, expected):
    tuned = metrics.tune_thresholds(np.array(probabilities)[:, None], np.array(labels)[:, None])
    assert tuned[0] == pytest.approx(expected)


def test_neighbouring_floats_are_still_told_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    tuned = metrics.tune_thresholds([[low], [high]], [[0], [1]])
    assert metrics.multilabel_report([[low], [high]], [[0], [1]], tuned)["macro"]["f1"] == 1.0


def test_tuning_each_class_alone_gives_the_same_thresholds():
    probabilities, labels = draw()
    alone = [metrics.tune_thresholds(probabilities[:, [c]], labels[:, [c]])[0] for c in range(4)]
    assert metrics.tune_thresholds(probabilities, labels).tolist() == alone
