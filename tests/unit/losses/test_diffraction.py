"""Losses of phase retrieval against formulas written out pixel by pixel in Python floats."""

import cmath
import math

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.losses import AmplitudeMAELoss, ComplexMAELoss, PoissonNLLLoss, SumLoss, TotalVariationLoss, get_registry

SHAPE = (2, 3, 6, 6)
MASK = torch.from_numpy(np.random.default_rng(7).random((6, 6)) < 0.7)
ON_AMPLITUDES = ["poisson_nll", "amplitude_mae"]
ON_PATCHES = ["complex_mae", "total_variation"]


def amplitudes(seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.sqrt(rng.poisson(3.0, SHAPE)) + (0.1 if seed else 0.0)).to(dtype)


def patches(seed, dtype=torch.complex128):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(1, 0.3, SHAPE) * np.exp(1j * rng.normal(0, 1, SHAPE))).to(dtype)


def inputs(name, dtype=torch.float64):
    if name in ON_AMPLITUDES:
        return amplitudes(1, dtype), amplitudes(0, dtype)
    kind = {torch.float64: torch.complex128, torch.float32: torch.complex64}[dtype]
    return patches(1, kind), patches(2, kind)


def pixels(mask):
    counted = torch.ones(SHAPE, dtype=torch.bool) if mask is None else mask.bool().expand(SHAPE)
    return [tuple(int(i) for i in place) for place in torch.nonzero(counted)]


def poisson_slow(prediction, target, mask, eps=1e-6):
    loss, observed = 0.0, 0.0
    for place in pixels(mask):
        n, rate = target[place].item() ** 2, prediction[place].item() ** 2 + eps
        loss += rate - n * math.log(rate)
        observed += n
    return (loss / len(pixels(mask))) / (observed / len(pixels(mask)))


def amplitude_slow(prediction, target, mask):
    errors = [abs(prediction[place].item() - target[place].item()) for place in pixels(mask)]
    return math.fsum(errors) / math.fsum(target[place].item() for place in pixels(mask))


def complex_slow(prediction, target, mask):
    errors = [abs(prediction[place].item() - target[place].item()) for place in pixels(mask)]
    return math.fsum(errors) / math.fsum(abs(target[place].item()) for place in pixels(mask))


def variation_slow(prediction, _, mask):
    counted, differences = set(pixels(mask)), []
    for b, c, y, x in counted:
        neighbours = {(b, c, y + 1, x), (b, c, y, x + 1)} & counted
        differences.extend(abs(prediction[there].item() - prediction[b, c, y, x].item()) for there in neighbours)
    return math.fsum(differences) / len(differences)


SLOW = {"poisson_nll": poisson_slow, "amplitude_mae": amplitude_slow, "complex_mae": complex_slow, "total_variation": variation_slow}
every_loss = pytest.mark.parametrize("name", SLOW)


@every_loss
@pytest.mark.parametrize("mask", [None, MASK, MASK.float(), MASK.expand(2, 1, 6, 6), torch.arange(2).view(2, 1, 1, 1)])
def test_it_equals_the_formula_pixel_by_pixel(name, mask):
    prediction, target = inputs(name)
    assert get_registry().get(name)(prediction, target, mask).item() == pytest.approx(SLOW[name](prediction, target, mask), rel=1e-12)


@every_loss
def test_single_precision_agrees_with_double(name):
    prediction, target = inputs(name, torch.float32)
    value = get_registry().get(name)(prediction, target, MASK)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(SLOW[name](prediction, target, MASK), rel=1e-5)


@every_loss
def test_its_gradient_agrees_with_finite_differences(name):
    prediction, target = inputs(name)
    loss = get_registry().get(name)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, MASK), prediction.requires_grad_())


@every_loss
@pytest.mark.parametrize("rubbish", [1e30, float("nan"), float("inf")])
def test_masked_pixels_have_exactly_no_influence(name, rubbish):
    loss = get_registry().get(name)
    values, gradients = [], []
    for filling in (0.0, rubbish):
        prediction, target = (part.masked_fill(~MASK, filling) for part in inputs(name))
        prediction.requires_grad_()
        values.append(loss(prediction, target, MASK))
        gradients.append(torch.autograd.grad(values[-1], prediction)[0])
    assert torch.equal(values[0], values[1])
    assert torch.equal(gradients[0], gradients[1])
    assert (gradients[1][..., ~MASK] == 0).all()
    assert (gradients[1][..., MASK] != 0).any()


@every_loss
def test_a_full_mask_changes_nothing(name):
    prediction, target = inputs(name)
    loss = get_registry().get(name)
    torch.testing.assert_close(loss(prediction, target, torch.ones(6, 6)), loss(prediction, target), rtol=1e-14, atol=0)


@every_loss
def test_it_is_finite_with_finite_gradients_where_everything_predicted_is_zero(name):
    prediction, target = inputs(name)
    prediction = torch.zeros_like(prediction).requires_grad_()
    value = get_registry().get(name)(prediction, target)
    (gradient,) = torch.autograd.grad(value, prediction)
    assert torch.isfinite(value)
    assert torch.isfinite(torch.view_as_real(gradient) if gradient.is_complex() else gradient).all()


@pytest.mark.parametrize("name", ON_AMPLITUDES)
def test_autocast_and_half_precision_inputs_leave_the_arithmetic_in_single_precision(name):
    """The difference of lambda and n log lambda near its minimum is lost in bf16."""
    prediction, target = (part.bfloat16() for part in inputs(name))
    loss = get_registry().get(name)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(prediction, target, MASK)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(SLOW[name](prediction.double(), target.double(), MASK), rel=1e-5)


def test_poisson_likelihood_is_best_where_the_model_gives_the_measurement():
    measured = amplitudes(1).requires_grad_()
    loss = PoissonNLLLoss(eps=1e-12)
    (gradient,) = torch.autograd.grad(loss(measured, measured.detach()), measured)
    assert gradient.abs().max() < 1e-9
    best = loss(measured, measured)
    assert loss(1.05 * measured, measured) > best
    assert loss(0.95 * measured, measured) > best


def test_one_factor_on_all_intensities_shifts_the_likelihood_by_its_logarithm():
    prediction, target = amplitudes(1), amplitudes(0)
    small, large = PoissonNLLLoss(1e-6)(prediction, target), PoissonNLLLoss(9e-6)(3 * prediction, 3 * target)
    assert (small - large).item() == pytest.approx(math.log(9))


def test_the_relative_errors_do_not_depend_on_the_scale_and_a_global_phase_counts():
    torch.testing.assert_close(AmplitudeMAELoss()(5 * amplitudes(1), 5 * amplitudes(0)), AmplitudeMAELoss()(amplitudes(1), amplitudes(0)))
    true = patches(2)
    assert ComplexMAELoss()(true * cmath.exp(0.1j), true).item() == pytest.approx(abs(cmath.exp(0.1j) - 1))


def test_total_variation_looks_at_the_prediction_alone():
    loss, prediction = TotalVariationLoss(), patches(1)
    assert torch.equal(loss(prediction, None), loss(prediction, patches(2)))
    assert loss(torch.full(SHAPE, 2 + 1j), None) == 0


@every_loss
def test_it_says_what_it_acts_on(name):
    assert get_registry().get(name).acts_on == ("diffraction" if name in ON_AMPLITUDES else "object")
    assert get_registry().get("focal").acts_on == "logits"


@pytest.mark.parametrize("name", [*ON_AMPLITUDES, "complex_mae"])
def test_other_shapes_are_refused_with_both(name):
    prediction, target = inputs(name)
    with pytest.raises(DataError, match=rf"{name}: .*\(2, 3, 6, 6\) and \(2, 3, 6, 5\)"):
        get_registry().get(name)(prediction, target[..., :5])
    with pytest.raises(DataError, match=rf"{name}: .*\(B, C, N, N\), got \(6, 6\) and \(6, 6\)"):
        get_registry().get(name)(prediction[0, 0], target[0, 0])


@every_loss
def test_masks_of_another_shape_or_without_a_pixel_are_refused(name):
    prediction, target = inputs(name)
    with pytest.raises(DataError, match=rf"{name}: .*broadcasts to \(2, 3, 6, 6\), such as \(N, N\), got \(5, 6\)"):
        get_registry().get(name)(prediction, target, torch.ones(5, 6))
    with pytest.raises(DataError, match=rf"{name}: the mask leaves out every pixel"):
        get_registry().get(name)(prediction, target, torch.zeros(6, 6))


def test_total_variation_needs_neighbours():
    checkerboard = (torch.arange(6).view(6, 1) + torch.arange(6)) % 2
    with pytest.raises(DataError, match="no two neighbouring pixels"):
        TotalVariationLoss()(patches(1), None, checkerboard)
    with pytest.raises(DataError, match=r"at least 2 x 2 pixels, got \(2, 3, 6, 1\)"):
        TotalVariationLoss()(patches(1)[..., :1], None)


@pytest.mark.parametrize("name", ON_AMPLITUDES)
def test_complex_amplitudes_are_refused(name):
    with pytest.raises(DataError, match=rf"{name}: expected real amplitudes, got a prediction .*complex128; pass its modulus"):
        get_registry().get(name)(patches(1), amplitudes(0))


@pytest.mark.parametrize("name", ON_PATCHES)
def test_real_patches_are_refused(name):
    with pytest.raises(DataError, match=rf"{name}: expected complex object patches .*float64"):
        get_registry().get(name)(amplitudes(1), amplitudes(0))


@pytest.mark.parametrize("name", [*ON_AMPLITUDES, "complex_mae"])
def test_a_target_of_zeros_is_refused_because_nothing_can_be_compared_with_it(name):
    prediction, target = inputs(name)
    with pytest.raises(DataError, match=rf"{name}: the target \(2, 3, 6, 6\) is zero wherever it counts"):
        get_registry().get(name)(prediction, target.masked_fill(MASK, 0), MASK)


def test_eps_has_to_be_positive():
    with pytest.raises(ConfigError, match=r"poisson_nll\.eps"):
        PoissonNLLLoss(eps=0)


# Sums of terms that act on different things -------------------------------------------------------------------------------------


def mixed(**fields):
    terms = {"data": {"name": "poisson_nll", "weight": 2.0}, "total_variation": {"weight": 0.1}}
    return get_registry().get("sum", terms=terms, **fields)


def compared():
    return {"diffraction": (amplitudes(1), amplitudes(0), MASK), "object": (patches(1), None, None)}


def test_each_term_of_a_sum_gets_what_it_acts_on():
    terms = mixed(weight=3.0).terms_on(compared())
    assert list(terms) == ["data", "total_variation"]
    torch.testing.assert_close(terms["data"], 3 * 2 * PoissonNLLLoss()(*compared()["diffraction"]))
    torch.testing.assert_close(terms["total_variation"], 3 * 0.1 * TotalVariationLoss()(*compared()["object"]))


def test_sums_inside_sums_find_theirs_too():
    inner = {"name": "sum", "weight": 0.5, "terms": {"poisson_nll": True, "amplitude_mae": True}}
    loss = get_registry().get("sum", terms={"inner": inner, "smooth": {"name": "total_variation"}}, weight=2.0)
    assert (loss.acts_on, loss.named_parts()["inner"].acts_on) == ("parts", "diffraction")
    terms = loss.terms_on(compared())
    assert list(terms) == ["inner.poisson_nll", "inner.amplitude_mae", "smooth"]
    torch.testing.assert_close(terms["inner.amplitude_mae"], AmplitudeMAELoss()(*compared()["diffraction"]))


def test_a_sum_of_one_kind_is_called_like_any_loss():
    loss = SumLoss({"a": PoissonNLLLoss(), "b": AmplitudeMAELoss()})
    prediction, target, mask = compared()["diffraction"]
    expected = PoissonNLLLoss()(prediction, target, mask) + AmplitudeMAELoss()(prediction, target, mask)
    assert loss.acts_on == "diffraction"
    torch.testing.assert_close(loss(prediction, target, mask), expected)
    torch.testing.assert_close(sum(loss.terms_on(compared()).values()), expected)


def test_a_mixed_sum_cannot_be_given_the_same_for_all():
    for call in (mixed(), mixed().terms):
        with pytest.raises(ConfigError, match=r"data on diffraction, total_variation on object.*terms_on"):
            call(amplitudes(1), amplitudes(0))


def test_a_loss_that_the_task_cannot_feed_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'focal' acts on logits.*it has: diffraction, object"):
        get_registry().get("focal").terms_on(compared())
