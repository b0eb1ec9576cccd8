"""Losses of pictures, blend masks and curve maps against formulas written out in NumPy, pixel by pixel or region by region."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.losses import get_registry
from photic.losses.base import Compared

from .slow_pictures import (
    charbonnier_slow,
    consistency_slow,
    constancy_slow,
    control_slow,
    diversity_slow,
    exposure_slow,
    l1_slow,
    local_mean_slow,
    mask_mean_slow,
    mse_slow,
    penalty_slow,
    smoothness_slow,
    sobel_slow,
    spatial_slow,
    ssim_slow,
)

SHAPE = (2, 3, 16, 20)
MASK = torch.from_numpy(np.random.default_rng(7).random((2, 1, 16, 20)) < 0.9)


def make(name, **fields):
    return get_registry().get(name, **fields)


def picture(seed, shape=SHAPE, dtype=torch.float64):
    """Random pictures, darker on one side, so that patches differ."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random(shape) * np.linspace(0.1, 1, shape[-1])).to(dtype)


def inputs(name, dtype=torch.float64):
    if name == "mask_mean":
        return picture(1, (2, 1, 16, 20), dtype), None
    if name in ("curve_penalty", "illumination_smoothness"):
        return 2 * picture(1, (2, 6, 16, 20), dtype) - 1, None
    return picture(1, dtype=dtype), picture(2, dtype=dtype) if name in COMPARING else None


PIXELWISE = {
    "l1": l1_slow,
    "mse": mse_slow,
    "charbonnier": charbonnier_slow,
    "local_mean": local_mean_slow,
    "sobel_edge": sobel_slow,
    "colour_consistency": consistency_slow,
}
COMPARING = (*PIXELWISE, "ssim_loss", "spatial_consistency")
SLOW = PIXELWISE | {
    "ssim_loss": ssim_slow,
    "spatial_consistency": spatial_slow,
    "colour_diversity": diversity_slow,
    "exposure": exposure_slow,
    "exposure_control": control_slow,
    "colour_constancy": constancy_slow,
    "mask_mean": mask_mean_slow,
    "curve_penalty": penalty_slow,
    "illumination_smoothness": smoothness_slow,
}
every_loss = pytest.mark.parametrize("name", SLOW)
pixelwise = pytest.mark.parametrize("name", PIXELWISE)


@every_loss
def test_it_equals_the_formula_written_out(name):
    prediction, target = inputs(name)
    expected = SLOW[name](prediction.numpy(), None if target is None else target.numpy())
    assert make(name)(prediction, target).item() == pytest.approx(expected, rel=1e-9)
    half = make(name)(*(None if part is None else part.float() for part in (prediction, target)))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected, rel=1e-4)


@pixelwise
@pytest.mark.parametrize("mask", [MASK, MASK.float(), MASK.expand(SHAPE), MASK[:1], torch.arange(2).view(2, 1, 1, 1)])
def test_a_mask_leaves_out_what_it_says(name, mask):
    prediction, target = inputs(name)
    expected = SLOW[name](prediction.numpy(), target.numpy(), mask)
    assert make(name)(prediction, target, mask).item() == pytest.approx(expected, rel=1e-9)


@pixelwise
@pytest.mark.parametrize("rubbish", [1e30, float("nan"), float("inf")])
def test_masked_pixels_have_exactly_no_influence(name, rubbish):
    values, gradients = [], []
    for filling in (0.0, rubbish):
        prediction, target = (part.masked_fill(~MASK, filling) for part in inputs(name))
        prediction.requires_grad_()
        values.append(make(name)(prediction, target, MASK))
        gradients.append(torch.autograd.grad(values[-1], prediction)[0])
    assert torch.equal(values[0], values[1])
    assert torch.equal(gradients[0], gradients[1])
    assert gradients[1].masked_select(~MASK).eq(0).all()
    assert gradients[1].ne(0).any()


@every_loss
def test_its_gradient_agrees_with_finite_differences_and_is_not_zero(name):
    prediction, target = (None if part is None else part[:1, :, :12, :13] for part in inputs(name))
    loss = make(name)
    prediction = prediction.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), prediction)
    (gradient,) = torch.autograd.grad(loss(prediction, target), prediction)
    assert (gradient != 0).any(dim=1).float().mean() > 0.9


@every_loss
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, -0.02])
def test_values_and_gradients_are_finite_for_black_grey_and_white(name, level):
    start, target = inputs(name, torch.float32)
    for truth in (target, None if target is None else torch.zeros_like(target), None if target is None else torch.ones_like(target)):
        prediction = torch.full_like(start, level).requires_grad_()
        value = make(name)(prediction, truth)
        (gradient,) = torch.autograd.grad(value, prediction)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@every_loss
def test_a_nan_is_never_hidden(name):
    prediction, target = inputs(name, torch.float32)
    prediction[0, 0, 5, 5] = float("nan")
    assert torch.isnan(make(name)(prediction, target))


@every_loss
def test_half_precision_is_computed_in_single_precision_under_autocast_too(name):
    prediction, target = (None if part is None else part.bfloat16() for part in inputs(name))
    with torch.autocast("cpu", torch.bfloat16):
        value = make(name)(prediction, target)
    assert value.dtype == torch.float32
    exact = SLOW[name](prediction.double().numpy(), None if target is None else target.double().numpy())
    assert value.item() == pytest.approx(exact, rel=1e-4)


@every_loss
def test_other_shapes_and_kinds_of_numbers_are_refused(name):
    prediction, target = inputs(name, torch.float32)
    for wrong in (prediction[0], prediction.long(), prediction[:, :0], prediction[:0]):
        with pytest.raises(DataError, match=f"{name}: expected .*got") as caught:
            make(name)(wrong, None if target is None else wrong)
        assert str(tuple(wrong.shape)) in str(caught.value)
    if target is not None:
        with pytest.raises(DataError, match=r"\(2, 3, 16, 20\) and \(2, 3, 16, 19\)"):
            make(name)(prediction, target[..., 1:])
        with pytest.raises(DataError, match=r"got \(2, 3, 16, 20\) and None"):
            make(name)(prediction, None)


@every_loss
def test_a_mask_that_does_not_fit_or_leaves_nothing_is_refused(name):
    prediction, target = inputs(name, torch.float32)
    if name in PIXELWISE or name == "ssim_loss":
        with pytest.raises(DataError, match=rf"{name}: expected a mask that broadcasts to \(2, 3, 16, 20\).* got \(2, 2, 16, 20\)"):
            make(name)(prediction, target, torch.ones(2, 2, 16, 20))
        with pytest.raises(DataError, match=f"{name}: the mask leaves out every pixel"):
            make(name)(prediction, target, torch.zeros(2, 1, 16, 20))
    else:
        with pytest.raises(ConfigError, match=f"{name}: takes no mask"):
            make(name)(prediction, target, torch.ones(2, 1, 16, 20))


@pytest.mark.parametrize("mask", [None, MASK])
def test_means_of_blocks_are_between_those_of_the_whole_and_pixels(mask):
    prediction, target = inputs("mse")
    means = [make("local_mean", block_px=side)(prediction, target, mask).item() for side in (1, 2, 4, 8, 32)]
    assert means == sorted(means, reverse=True)
    assert means[0] == pytest.approx(make("mse")(prediction, target, mask).item())
    seen = np.ones(SHAPE) if mask is None else np.broadcast_to(mask.numpy(), SHAPE)
    apart = np.average((prediction - target).numpy(), axis=(2, 3), weights=seen)
    assert means[-1] == pytest.approx(np.average(apart**2, weights=seen.sum(axis=(2, 3))))


@pytest.mark.parametrize("mask", [None, MASK])
def test_means_that_nobody_can_tell_apart_are_free(mask):
    prediction, target = inputs("local_mean")
    loss = make("local_mean", block_px=4, tolerance=0.05)
    expected = local_mean_slow(prediction.numpy(), target.numpy(), mask, side=4, tolerance=0.05)
    assert 0 < expected == pytest.approx(loss(prediction, target, mask).item(), rel=1e-9)
    near = (target + 0.049).requires_grad_()
    assert loss(near, target, mask).item() == 0
    assert torch.autograd.gradcheck(lambda p: loss(p, target, mask), prediction.requires_grad_())


def test_a_mask_without_a_whole_neighbourhood_leaves_no_edge():
    chequered = (torch.arange(16)[:, None] + torch.arange(20)) % 2
    with pytest.raises(DataError, match="sobel_edge: the mask leaves no neighbourhood"):
        make("sobel_edge")(*inputs("sobel_edge"), chequered.expand(2, 1, 16, 20))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("charbonnier", {"eps": 0.0}),
        ("local_mean", {"block_px": 0}),
        ("local_mean", {"tolerance": -0.1}),
        ("ms_ssim_loss", {"num_scales": 6}),
        ("exposure", {"level": 0.0}),
        ("exposure", {"patch_px": 0}),
        ("exposure_control", {"level": 1.5}),
        ("spatial_consistency", {"region_px": 0}),
        ("mask_mean", {"target": 1.1}),
        ("colour_consistency", {"hue_weight": -1.0}),
        ("colour_consistency", {"hue_weight": 0.0, "saturation_weight": 0.0, "chromaticity_weight": 0.0}),
    ],
)
def test_settings_out_of_range_are_refused_by_config_and_class(name, fields):
    with pytest.raises(ConfigError, match=name):
        make(name, **fields)
    with pytest.raises(ConfigError, match=name):
        type(make(name))(**fields)


def test_ms_ssim_of_small_crops_is_refused_with_their_size_and_a_way_out_and_never_zero():
    small = torch.rand(1, 3, 160, 200)
    with pytest.raises(
        DataError, match=r"5 scale\(s\) need pictures of at least 161 x 161 pixels, got 160 x 200; use larger crops.*num_scales=4"
    ):
        make("ms_ssim_loss")(small, small)
    with pytest.raises(DataError, match=r"1 scale\(s\) need pictures of at least 11 x 11 pixels, got 8 x 8; use larger crops$"):
        make("ms_ssim_loss", num_scales=1)(small[..., :8, :8], small[..., :8, :8])
    other = torch.rand(1, 3, 160, 200).requires_grad_()
    value = make("ms_ssim_loss", num_scales=4)(other, small)
    assert 0.3 < value.item() < 1
    assert torch.autograd.grad(value, other)[0].ne(0).float().mean() > 0.99


def test_ssim_is_of_windows_and_not_of_means_of_the_whole():
    """Two pictures of one mean and one variance, with nothing else in common."""
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(1, 3, 32, 32)
    shuffled = x.flatten()[torch.randperm(x.numel(), generator=torch.Generator().manual_seed(1))].view(x.shape)
    assert make("ssim_loss")(shuffled, x).item() > 0.9
    assert make("ssim_loss")(x, x).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match=r"ssim_loss: expected pictures of at least 11 x 11 pixels, got 10 x 32"):
        make("ssim_loss")(x[:, :, :10], x[:, :, :10])


def test_exposure_pushes_up_what_is_dark_and_leaves_the_rest_alone():
    loss = make("exposure")
    picture_ = torch.cat([torch.full((1, 3, 16, 16), 0.1), torch.full((1, 3, 16, 16), 0.8)], dim=3).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(picture_, None), picture_)
    assert (gradient[..., :16] < 0).all()
    assert (gradient[..., 16:] == 0).all()
    values = [loss(torch.full((1, 3, 16, 16), level), None).item() for level in (0.0, 0.2, 0.4, 0.45, 0.9)]
    assert values == sorted(values, reverse=True)
    assert values[-2:] == [pytest.approx(0, abs=1e-9), 0]
    assert (loss.needs_target, loss.only_without_target, loss.judges) == (False, True, "unknown")


def test_only_exposure_is_left_out_where_there_is_a_true_picture():
    alone = [name for name in SLOW if make(name).only_without_target]
    assert alone == ["exposure"]
    assert make("exposure").terms_on({"picture:unknown": Compared(torch.zeros(1, 3, 16, 16))})["exposure"] > 0


def test_circular_hue_knows_no_edge_at_red():
    def red(hue):
        return torch.tensor(colorsys.hsv_to_rgb(hue % 1, 0.6, 0.7)).view(1, 3, 1, 1).expand(1, 3, 4, 4)

    loss = make("colour_consistency", chromaticity_weight=0.0, saturation_weight=0.0, hue_weight=1.0)
    steps = [loss(red(-0.02 + shift), red(-0.02)).item() for shift in (0, 0.01, 0.04, 0.08, 0.2, 0.5)]
    assert steps == sorted(steps)
    assert loss(red(0.01), red(-0.01)).item() == pytest.approx(loss(red(0.34), red(0.32)).item(), rel=0.1)
    assert steps[-1] == pytest.approx(2 * 0.42, rel=0.1)  # opposite hues: twice the chroma


def test_colour_consistency_does_not_mind_exposure():
    bright = 0.3 + 0.6 * picture(3)
    assert make("colour_consistency")(0.5 * bright, bright).item() < 0.02  # the true chroma weighs, the hue is the same
    assert make("colour_consistency")(bright.mean(dim=1, keepdim=True).expand(SHAPE), bright).item() > 0.2


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_colour_diversity_has_a_way_out_of_grey_that_casts_no_colour(level):
    """The reference returned a constant for grey pictures: no gradient, so they stayed grey."""
    grey = torch.full((1, 3, 8, 8), level).requires_grad_()
    loss = make("colour_diversity")
    value = loss(grey, None)
    (gradient,) = torch.autograd.grad(value, grey)
    assert value.item() == pytest.approx(1, abs=1e-6)
    assert (gradient != 0).any(dim=1).all()
    assert gradient.sum(dim=(2, 3)).abs().max() < 1e-6  # no channel is preferred on the whole
    assert loss((grey - 0.1 * gradient / gradient.abs().max()).detach(), None) < value


def test_every_term_depends_on_the_prediction_everywhere_it_should():
    """A loss that is a constant has no graph: each must be reached by the gradient of a network's last layer."""
    for name in SLOW:
        prediction, target = inputs(name, torch.float32)
        bias = torch.zeros(1, prediction.shape[1], 1, 1, requires_grad=True)
        value = make(name)(prediction + bias * prediction, target)
        assert value.requires_grad
        assert torch.autograd.grad(value, bias)[0].abs().max() > 0, name


def test_partial_regions_at_the_edge_count_as_means_of_what_they_have():
    odd = picture(4, (1, 3, 18, 37))
    for name in ("exposure", "exposure_control"):
        assert make(name)(odd, None).item() == pytest.approx(SLOW[name](odd.numpy()), rel=1e-9)
    dark = 0.2 * picture(5, (1, 3, 18, 37))
    assert make("spatial_consistency")(odd, dark).item() == pytest.approx(spatial_slow(odd.numpy(), dark.numpy()), rel=1e-9)
    for size in ((1, 1), (5, 7)):
        tiny = torch.full((1, 3, *size), 0.25)
        assert make("exposure")(tiny, None).item() == pytest.approx(0.04, rel=1e-5)
    with pytest.raises(DataError, match="spatial_consistency: expected pictures of at least two regions"):
        make("spatial_consistency")(tiny[..., :4, :4], tiny[..., :4, :4])


def test_brightening_by_one_offset_keeps_contrast_and_flattening_does_not():
    dark = 0.3 * picture(6)
    loss = make("spatial_consistency")
    assert loss(dark + 0.4, dark).item() == pytest.approx(0, abs=1e-12)
    assert loss(torch.full_like(dark, 0.5), dark).item() > 1e-4
    assert loss.acts_on == "brightening"


def test_curve_maps_come_in_threes_and_have_neighbours():
    for name in ("curve_penalty", "illumination_smoothness"):
        with pytest.raises(DataError, match=rf"{name}: expected curve maps \(B, 3 n, H, W\).*\(1, 4, 8, 8\)"):
            make(name)(torch.zeros(1, 4, 8, 8), None)
    with pytest.raises(DataError, match="at least 2 x 2"):
        make("illumination_smoothness")(torch.zeros(1, 3, 1, 8), None)
    assert make("illumination_smoothness")(torch.full((1, 24, 8, 8), 0.7), None).item() == 0
