"""Losses on multi-label logits against formulas written out label by label."""

import csv
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from photic.core.errors import ConfigError, DataError
from photic.losses import AsymmetricLoss, BCEWithLogitsLoss, FocalLoss, get_registry

LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]])
ALL_LABELS = Path(__file__).parents[4] / "shared" / "data" / "defects" / "severstal" / "all_labels.csv"


def batch(num=5, classes=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num, classes, generator=generator, dtype=dtype)
    return logits, (torch.rand(num, classes, generator=generator) < 0.4).to(dtype)


def focal_slow(logits, target, alpha, gamma):
    """Return the focal loss of each label, one at a time, in Python floats."""
    rows = []
    for row, labels in zip(logits.tolist(), target.tolist(), strict=True):
        values = []
        for c, (x, y) in enumerate(zip(row, labels, strict=True)):
            p = 1 / (1 + math.exp(-x))
            p_t = p if y == 1 else 1 - p
            alpha_t = 1.0 if alpha is None else (alpha[c] if y == 1 else 1 - alpha[c])
            values.append(-alpha_t * (1 - p_t) ** gamma * math.log(p_t))
        rows.append(values)
    return torch.tensor(rows, dtype=torch.float64)


def asymmetric_slow(logits, target, gamma_neg, gamma_pos, clip):
    rows = []
    for row, labels in zip(logits.tolist(), target.tolist(), strict=True):
        values = []
        for x, y in zip(row, labels, strict=True):
            p = 1 / (1 + math.exp(-x))
            p_m = max(p - clip, 0.0)
            values.append(-((1 - p) ** gamma_pos) * math.log(p) if y == 1 else -(p_m**gamma_neg) * math.log(1 - p_m))
        rows.append(values)
    return torch.tensor(rows, dtype=torch.float64)


# Focal --------------------------------------------------------------------------------------------------------------


@given(gamma=st.floats(0, 5), alpha=st.none() | st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_focal_equals_the_formula_label_by_label(gamma, alpha, seed):
    logits, target = batch(seed=seed)
    loss = FocalLoss(num_classes=3, alpha=alpha, gamma=gamma, reduction="none")
    torch.testing.assert_close(loss(logits, target), focal_slow(logits, target, alpha, gamma), atol=1e-7, rtol=1e-6)


def test_focal_without_alpha_and_focus_is_binary_cross_entropy():
    logits, target = batch()
    expected = F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(FocalLoss(num_classes=3, alpha=None, gamma=0.0)(logits, target), expected)


def test_alpha_weighs_positives_and_its_complement_negatives():
    alpha = FocalLoss(num_classes=1, alpha=0.9, gamma=0.0)
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    assert alpha(zero, one).item() == pytest.approx(0.9 * math.log(2))
    assert alpha(zero, zero).item() == pytest.approx(0.1 * math.log(2))


def test_labels_between_0_and_1_mix_both_sides():
    logits, target = batch()
    loss = FocalLoss(num_classes=3, alpha=[0.2, 0.5, 0.9], reduction="none")
    mixed = loss(logits, torch.full_like(target, 0.3))
    torch.testing.assert_close(mixed, 0.3 * loss(logits, torch.ones_like(target)) + 0.7 * loss(logits, torch.zeros_like(target)))


def test_dynamic_alpha_is_one_minus_the_share_of_images_in_the_whole_split():
    loss = FocalLoss(num_classes=3, alpha="dynamic").fit(LABELS)
    assert loss.get_params()["alpha_per_class"] == pytest.approx([1 - 3 / 4, 1 - 1 / 4, 1 - 1 / 4])


def test_dynamic_alpha_by_objects_is_one_minus_the_share_of_all_objects():
    objects = torch.tensor([[5, 0, 0], [1, 2, 0], [0, 0, 1], [1, 0, 0]])
    loss = FocalLoss(num_classes=3, alpha="dynamic", basis="object").fit(LABELS, objects)
    assert loss.get_params()["alpha_per_class"] == pytest.approx([1 - 7 / 10, 1 - 2 / 10, 1 - 1 / 10])


def test_dynamic_alpha_before_fit_is_an_error_that_names_the_call():
    with pytest.raises(ConfigError, match=r"focal\.alpha.*fit\(labels\).*whole training split"):
        FocalLoss(num_classes=3, alpha="dynamic")(*batch())


def test_dynamic_alpha_depends_on_fit_and_never_on_a_batch():
    loss = FocalLoss(num_classes=3, alpha="dynamic").fit(LABELS)
    before = loss.alpha_per_class.clone()
    loss.train()(*batch(seed=4))
    assert torch.equal(loss.alpha_per_class, before)


@pytest.mark.parametrize("num_classes", [3, None])
def test_fitted_alpha_travels_with_the_state_and_an_unfitted_state_stays_unfitted(num_classes):
    fitted = FocalLoss(num_classes=3, alpha="dynamic").fit(LABELS)
    loaded = FocalLoss(num_classes=num_classes, alpha="dynamic")
    loaded.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(loaded(*batch()), fitted(*batch()))
    assert loaded.get_params()["alpha_per_class"] == fitted.get_params()["alpha_per_class"]
    again = FocalLoss(num_classes=3, alpha="dynamic")
    again.load_state_dict(FocalLoss(num_classes=3, alpha="dynamic").state_dict())
    with pytest.raises(ConfigError, match="fit"):
        again(*batch())


def test_object_basis_without_object_counts_is_an_error():
    with pytest.raises(DataError, match=r"basis=object needs the number of objects"):
        FocalLoss(num_classes=3, alpha="dynamic", basis="object").fit(LABELS)


@pytest.mark.parametrize("name", ["focal", "bce_with_logits"])
def test_a_class_that_is_never_or_always_there_cannot_be_weighed(name):
    loss = get_registry().get(name, num_classes=3, **({"alpha": "dynamic"} if name == "focal" else {"pos_weight": "dynamic"}))
    absent, always = LABELS.clone(), LABELS.clone()
    absent[:, 1], always[:, 2] = 0, 1
    with pytest.raises(DataError, match="no training image is of class 1"):
        loss.fit(absent)
    with pytest.raises(DataError, match="every training image is of class 2"):
        loss.fit(always)


def test_fit_refuses_labels_of_another_shape_or_kind():
    loss = FocalLoss(num_classes=4, alpha="dynamic")
    with pytest.raises(DataError, match=r"expected labels \(N, 4\).*got \(4, 3\)"):
        loss.fit(LABELS)
    with pytest.raises(DataError, match="0 and 1 only"):
        FocalLoss(num_classes=3, alpha="dynamic").fit(LABELS * 2)


def test_params_are_the_settings():
    loss = FocalLoss(num_classes=4, alpha="dynamic", gamma=2.0)
    assert loss.get_params() == {
        "num_classes": 4,
        "alpha": "dynamic",
        "gamma": 2.0,
        "reduction": "mean",
        "basis": "image",
        "alpha_per_class": None,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": [0.5, 0.5]}, "expected 3 values"),
        ({"alpha": 1.5}, "alpha"),
        ({"alpha": "dynamik"}, "dynamic"),
        ({"gamma": -1.0}, "gamma"),
        ({"reduction": "average"}, "reduction"),
        ({"basis": "pixel"}, "basis"),
    ],
)
def test_impossible_focal_settings_are_refused_by_class_and_by_name(fields, message):
    with pytest.raises(ConfigError, match=message):
        FocalLoss(num_classes=3, **fields)
    with pytest.raises(ConfigError, match=message):
        get_registry().get("focal", num_classes=3, **fields)


@pytest.mark.real
@pytest.mark.skipif(not ALL_LABELS.is_file(), reason="no label table at ../shared/data/defects/severstal")
def test_shares_on_the_whole_severstal_table_are_the_published_ones():
    with open(ALL_LABELS, newline="") as handle:
        rows = list(csv.DictReader(handle))
    labels = torch.tensor([[int(row[f"defect_{c}"]) for c in (1, 2, 3, 4)] for row in rows])
    objects = torch.tensor([[int(row[f"n_objects_{c}"]) for c in (1, 2, 3, 4)] for row in rows])
    assert labels.shape == (12568, 4)
    by_image = FocalLoss(num_classes=4, alpha="dynamic").fit(labels).get_params()["alpha_per_class"]
    by_object = FocalLoss(num_classes=4, alpha="dynamic", basis="object").fit(labels, objects).get_params()["alpha_per_class"]
    assert [100 * (1 - a) for a in by_image] == pytest.approx([7.14, 1.97, 40.98, 6.37], abs=0.006)
    assert [100 * (1 - a) for a in by_object] == pytest.approx([15.4, 1.6, 73.4, 9.6], abs=0.06)


# Binary cross-entropy -----------------------------------------------------------------------------------------------


def test_bce_is_torchs_with_and_without_positive_weights():
    logits, target = batch()
    weights = torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(BCEWithLogitsLoss()(logits, target), F.binary_cross_entropy_with_logits(logits, target))
    weighted = BCEWithLogitsLoss(num_classes=3, pos_weight=weights.tolist(), reduction="sum")(logits, target)
    torch.testing.assert_close(weighted, F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights, reduction="sum"))


def test_dynamic_positive_weights_are_negatives_over_positives_up_to_the_cap():
    loss = BCEWithLogitsLoss(num_classes=3, pos_weight="dynamic", pos_weight_cap=2.0).fit(LABELS)
    assert loss.get_params()["pos_weight_per_class"] == pytest.approx([1 / 3, 2.0, 2.0])
    uncapped = BCEWithLogitsLoss(num_classes=3, pos_weight="dynamic").fit(LABELS)
    assert uncapped.get_params()["pos_weight_per_class"] == pytest.approx([1 / 3, 3.0, 3.0])


def test_dynamic_positive_weights_before_fit_are_an_error():
    with pytest.raises(ConfigError, match=r"pos_weight.*fit\(labels\)"):
        BCEWithLogitsLoss(pos_weight="dynamic")(*batch())


@pytest.mark.parametrize("num_classes", [3, None])
def test_fitted_positive_weights_travel_with_the_state(num_classes):
    fitted = BCEWithLogitsLoss(num_classes=3, pos_weight="dynamic").fit(LABELS)
    loaded = BCEWithLogitsLoss(num_classes=num_classes, pos_weight="dynamic")
    loaded.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(loaded(*batch()), fitted(*batch()))


# Asymmetric ---------------------------------------------------------------------------------------------------------


@given(
    gamma_neg=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    gamma_pos=st.sampled_from([0.0, 0.5, 1.0]),
    clip=st.sampled_from([0.0, 0.05, 0.3]),
    seed=st.integers(0, 50),
)
@settings(max_examples=40, deadline=None)
def test_asymmetric_equals_the_formula_label_by_label(gamma_neg, gamma_pos, clip, seed):
    logits, target = batch(seed=seed)
    loss = AsymmetricLoss(gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, reduction="none")
    torch.testing.assert_close(loss(logits, target), asymmetric_slow(logits, target, gamma_neg, gamma_pos, clip), atol=1e-7, rtol=1e-6)


def test_asymmetric_without_focus_and_clip_is_binary_cross_entropy():
    logits, target = batch()
    loss = AsymmetricLoss(gamma_neg=0.0, gamma_pos=0.0, clip=0.0)
    torch.testing.assert_close(loss(logits, target), F.binary_cross_entropy_with_logits(logits, target))


def test_negatives_below_the_clip_count_nothing_and_move_nothing():
    logits = torch.full((1, 1), -4.0, dtype=torch.float64, requires_grad=True)  # p = 0.018 < 0.05
    for gamma_neg in (0.0, 0.5, 4.0):
        loss = AsymmetricLoss(gamma_neg=gamma_neg, clip=0.05)(logits, torch.zeros(1, 1))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == 0.0
        assert gradient.item() == 0.0


@pytest.mark.parametrize("fields", [{"gamma_neg": -1.0}, {"gamma_pos": -1.0}, {"clip": 1.0}, {"reduction": "average"}])
def test_impossible_asymmetric_settings_are_refused_by_class_and_by_name(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        AsymmetricLoss(**fields)
    with pytest.raises(ConfigError, match=next(iter(fields))):
        get_registry().get("asymmetric", **fields)


# All ----------------------------------------------------------------------------------------------------------------

LOSSES = {
    "bce": BCEWithLogitsLoss(),
    "bce_weighted": BCEWithLogitsLoss(num_classes=3, pos_weight=[1.0, 3.0, 9.0]),
    "focal": FocalLoss(num_classes=3, alpha=[0.1, 0.5, 0.9], gamma=2.0),
    "focal_root": FocalLoss(num_classes=3, alpha=0.25, gamma=0.5),
    "asymmetric": AsymmetricLoss(),
    "asymmetric_root": AsymmetricLoss(gamma_neg=0.5, gamma_pos=0.5, clip=0.1),
    "asymmetric_unclipped": AsymmetricLoss(clip=0.0),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


@every_loss
def test_gradients_agree_with_finite_differences(loss):
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_value_and_gradient_are_finite_for_extreme_logits(loss, dtype):
    logits = torch.tensor([[100.0, -100.0, 0.0], [-100.0, 100.0, 1e-3]], dtype=dtype, requires_grad=True)
    for target in (torch.zeros(2, 3), torch.ones(2, 3)):
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@every_loss
def test_half_precision_logits_are_computed_in_float32(loss):
    logits, target = batch(dtype=torch.float32)
    half = logits.bfloat16()
    torch.testing.assert_close(loss(half, target), loss(half.float(), target), rtol=0, atol=0)


@every_loss
def test_a_mask_leaves_labels_out_even_where_they_are_unknown(loss):
    logits, target = batch()
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]])
    unknown = target.masked_fill(mask == 0, float("nan"))
    logits.requires_grad_()
    value = loss(logits, unknown, mask)
    single = [
        loss.value(torch.where(torch.arange(3) == c, logits[b : b + 1], 0.0), target[b : b + 1] * 1.0, (torch.arange(3) == c)[None])
        for b in range(5)
        for c in range(3)
        if mask[b, c]
    ]
    torch.testing.assert_close(value, torch.stack(single).mean())
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[mask == 0] == 0).all()
    torch.testing.assert_close(loss(logits, target, torch.ones_like(mask)), loss(logits, target))


@every_loss
def test_a_mask_that_leaves_nothing_is_an_error_and_not_zero(loss):
    logits, target = batch()
    with pytest.raises(DataError, match="leaves out every label"):
        loss(logits, target, torch.zeros(5, 3))


@every_loss
def test_shapes_that_do_not_fit_are_refused_and_named(loss):
    with pytest.raises(DataError, match=r"\(5, 3\) and \(5, 2\)"):
        loss(torch.zeros(5, 3), torch.zeros(5, 2))
    with pytest.raises(DataError, match=r"\(5, 3\).*\(3, 5\)"):
        loss(torch.zeros(5, 3), torch.zeros(5, 3), torch.ones(3, 5))


def test_logits_of_another_class_count_are_refused():
    with pytest.raises(DataError, match="made for 4 classes"):
        FocalLoss(num_classes=4)(*batch())


@pytest.mark.parametrize("name", ["focal", "bce_with_logits", "asymmetric"])
def test_the_weight_of_the_config_is_applied_once_to_value_and_terms(name):
    logits, target = batch()
    plain, tripled = (get_registry().get(name, num_classes=3, weight=weight) for weight in (1.0, 3.0))
    torch.testing.assert_close(tripled(logits, target), 3 * plain(logits, target))
    terms = tripled.terms(logits, target)
    assert list(terms) == [name]
    torch.testing.assert_close(terms[name], 3 * plain(logits, target))
    torch.testing.assert_close(tripled.value(logits, target), plain(logits, target))


def test_synonyms_mean_the_same_loss():
    assert type(get_registry().get("focal_loss")) is FocalLoss
    assert type(get_registry().get("bce")) is BCEWithLogitsLoss
    assert "focal" in get_registry().list_losses()
    assert "focal_loss" not in get_registry().list_losses()
