"""Colour against scikit-image and published pairs, and its gradients where the textbook formulas have none."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2hsv, rgb2lab

from photic.core.errors import DataError
from photic.functional.colour import (
    align_mean,
    delta_e_2000,
    hue_vector,
    linear_to_srgb,
    luma,
    saturation,
    srgb_to_lab,
    srgb_to_linear,
)

rng = np.random.default_rng(0)
LEVELS = st.floats(0, 1, width=32)
COLOURS = st.tuples(LEVELS, LEVELS, LEVELS)
CORNERS = [(0, 0, 0), (0.5, 0.5, 0.5), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
NEAR_BLACK = [(1e-8, 1e-8, 1e-8), (1e-6, 0, 0), (0, 1e-20, 0), (1 / 255, 1 / 255, 0), (-0.02, -0.01, -0.02), (0.2, 0.2, 0.2 + 1e-7)]


def picture(*colours, dtype=torch.float32):
    """One colour per column, ``(1, 3, 1, N)``."""
    return torch.tensor(colours, dtype=dtype).T[None, :, None, :]


def channels_last(image):
    return image[0].permute(1, 2, 0).double().numpy()


def random_picture(dtype=torch.float64):
    levels = torch.from_numpy(rng.integers(0, 256, (1, 3, 40, 50)) / 255).to(dtype)
    return torch.cat([levels, levels[:, :, :5] / 20, picture(*(CORNERS * 6)[:50], dtype=dtype)], dim=2)


FUNCTIONS = {
    "luma": luma,
    "saturation": saturation,
    "hue_vector": hue_vector,
    "unit_hue": lambda image: hue_vector(image, 0.01),
    "srgb_to_linear": srgb_to_linear,
    "linear_to_srgb": linear_to_srgb,
    "srgb_to_lab": srgb_to_lab,
    "delta_e": lambda image: delta_e_2000(srgb_to_lab(image), srgb_to_lab(image.flip(3))),
    "delta_e_to_itself": lambda image: delta_e_2000(srgb_to_lab(image), srgb_to_lab(image.detach())),
    "delta_e_to_grey": lambda image: delta_e_2000(srgb_to_lab(image), srgb_to_lab(torch.full_like(image, 0.5))),
    "align_mean": lambda image: align_mean(image, torch.full_like(image, 0.5)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_finite_at_black_grey_white_and_beyond(name):
    for colours in (CORNERS, NEAR_BLACK, [(0, 0, 0)], [(1, 1, 1)], [(0.5, 0.5, 0.5)]):
        image = picture(*colours).requires_grad_()
        value = FUNCTIONS[name](image)
        (gradient,) = torch.autograd.grad(value.sum(), image)
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all(), (colours, gradient)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "delta_e_to_itself"])
def test_its_gradient_agrees_with_finite_differences(name):
    image = (0.2 + 0.6 * torch.rand(1, 3, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(FUNCTIONS[name], image)


def test_luma_is_the_weighted_sum():
    image = random_picture()
    np.testing.assert_allclose(luma(image)[0, 0].numpy(), channels_last(image) @ [0.299, 0.587, 0.114], atol=1e-12)
    assert luma(image).shape == (1, 1, 46, 50)


def test_saturation_is_that_of_hsv():
    image = random_picture()
    expected = rgb2hsv(channels_last(image))[..., 1]
    bright = image.amax(dim=1)[0].numpy() > 0.05
    found = saturation(image)[0, 0].numpy()
    np.testing.assert_allclose(found[bright], expected[bright], atol=1e-5)
    np.testing.assert_allclose(found, expected, atol=0.3)  # fainter than a 20th of an 8-bit level it fades out
    assert saturation(picture((0, 0, 0), (0.3, 0.3, 0.3))).eq(0).all()
    np.testing.assert_allclose(saturation(picture((1 / 255, 0, 0))).item(), 1, atol=1e-3)


def test_hue_lies_near_that_of_the_hexagon_and_on_it_every_thirty_degrees():
    image = random_picture()
    along, across = hue_vector(image)[0].numpy()
    colourful = rgb2hsv(channels_last(image))[..., 1] > 0.01
    apart = np.angle(np.exp(1j * (np.arctan2(across, along) - 2 * np.pi * rgb2hsv(channels_last(image))[..., 0])))
    assert np.abs(apart[colourful & (image.amax(dim=1)[0].numpy() > 0.01)]).max() < math.radians(1.2)
    for twelfth in range(12):
        x, y = hue_vector(picture(colorsys.hsv_to_rgb(twelfth / 12, 0.8, 0.9))).flatten().tolist()
        assert math.atan2(y, x) % math.tau == pytest.approx(math.tau * twelfth / 12, abs=1e-6)


def test_hues_either_side_of_red_are_near_each_other_and_greys_have_none():
    one, other = (hue_vector(picture(colorsys.hsv_to_rgb(hue, 0.5, 0.5)), 1e-3).flatten() for hue in (0.01, 0.99))
    assert (one - other).norm() < 0.15
    assert one.norm() == pytest.approx(1, abs=1e-4)
    assert hue_vector(picture((0.3, 0.3, 0.3)), 1e-3).abs().max() < 1e-6


def test_light_is_that_of_the_standard_and_comes_back():
    steps = torch.linspace(-0.2, 1.2, 300, dtype=torch.float64)
    np.testing.assert_allclose(srgb_to_linear(torch.tensor(0.5)).item(), 0.21404114, atol=1e-7)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(steps)), steps, atol=1e-6, rtol=0)
    assert (srgb_to_linear(steps).diff() > 0).all()


def test_lab_is_that_of_scikit_image_and_greys_have_exactly_no_colour():
    image = random_picture()
    np.testing.assert_allclose(channels_last(srgb_to_lab(image)), rgb2lab(channels_last(image)), atol=0.01)
    np.testing.assert_allclose(channels_last(srgb_to_lab(image.float())), rgb2lab(channels_last(image)), atol=0.01)
    greys = srgb_to_lab(torch.linspace(0, 1, 20, dtype=torch.float64).expand(1, 3, 1, 20))
    assert greys[:, 1:].abs().max() < 1e-9
    assert greys[0, 0, 0, -1].item() == pytest.approx(100, abs=1e-9)


# Sharma, Wu and Dalal 2005, table 1: those pairs that try out the hue mean, the rotation term and greys, and their differences.
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
    ((50, -1.1848, -84.8006), (50, 0, -82.7485), 1.0),
    ((50, -0.9009, -85.5211), (50, 0, -82.7485), 1.0),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((50, 2.5, 0), (50, 3.1736, 0.5854), 1.0),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "published"), PAIRS)
def test_colour_differences_are_the_published_ones(one, other, published):
    assert float(deltaE_ciede2000(np.array(one), np.array(other))) == pytest.approx(published, abs=1e-4)
    for dtype, tolerance in ((torch.float64, 1e-4), (torch.float32, 1e-3)):
        found = delta_e_2000(picture(one, dtype=dtype), picture(other, dtype=dtype))
        assert found.item() == pytest.approx(published, abs=tolerance)


def test_colour_differences_are_those_of_scikit_image_on_pictures():
    one, other = random_picture(), random_picture()
    first, second = rgb2lab(channels_last(one)), rgb2lab(channels_last(other))
    expected = deltaE_ciede2000(first, second)
    lab = [torch.from_numpy(np.moveaxis(part, -1, 0))[None] for part in (first, second)]
    np.testing.assert_allclose(delta_e_2000(*lab)[0, 0].numpy(), expected, atol=1e-5)
    # From the pictures: the formula jumps where hues are opposite, so that the last digit of the white point decides there.
    hues = np.angle((first[..., 1] + 1j * first[..., 2]) * (second[..., 1] - 1j * second[..., 2]))
    smooth = np.abs(hues) < np.radians(179)
    found = delta_e_2000(srgb_to_lab(one.float()), srgb_to_lab(other.float()))[0, 0].numpy()
    np.testing.assert_allclose(found[smooth], expected[smooth], atol=0.02)
    assert smooth.mean() > 0.95


@given(COLOURS, COLOURS)
@example((0.0, 0.046875, 0.046875), (0.046875, 0.0, 0.0))  # exactly opposite hues, where the formula jumps
def test_colour_differences_are_symmetric_never_negative_and_zero_between_equals(one, other):
    a, b = srgb_to_lab(picture(one)), srgb_to_lab(picture(other))
    assert delta_e_2000(a, b).item() == pytest.approx(delta_e_2000(b, a).item(), abs=1e-3)
    assert delta_e_2000(a, b).item() >= -1e-6
    assert delta_e_2000(a, a).item() == 0


@given(COLOURS, st.floats(0.25, 1, width=32))
def test_saturation_and_hue_do_not_depend_on_exposure(colour, factor):
    full = picture(colour)
    if full.amax() < 0.1:
        return
    assert saturation(full).item() == pytest.approx(saturation(factor * full).item(), abs=1e-4)
    torch.testing.assert_close(hue_vector(factor * full), factor * hue_vector(full))


@given(COLOURS)
def test_ranges(colour):
    image = picture(colour)
    assert 0 <= saturation(image).item() <= 1
    assert -1e-6 <= luma(image).item() <= 1 + 1e-6
    assert 0 <= srgb_to_lab(image)[0, 0].item() <= 100.001
    assert hue_vector(image, 0.01).norm().item() <= 1


def test_aligned_pictures_have_the_mean_luma_of_the_true_ones_unless_clipped():
    generator = torch.Generator().manual_seed(0)
    dark, true = 0.2 * torch.rand(3, 3, 8, 9, generator=generator), 0.5 * torch.rand(3, 3, 8, 9, generator=generator)
    aligned = align_mean(dark, true)
    torch.testing.assert_close(luma(aligned).mean(dim=(1, 2, 3)), luma(true).mean(dim=(1, 2, 3)))
    # One factor for a picture, that of the grey means, as the tables do it, and not one for each channel.
    for picture_, target, found in zip(dark.double().numpy(), true.double().numpy(), aligned, strict=True):
        grey = [np.tensordot([0.299, 0.587, 0.114], part, 1).mean() for part in (target, picture_)]
        np.testing.assert_allclose(found.numpy(), np.clip(picture_ * grey[0] / grey[1], 0, 1), atol=1e-6)
    bright = align_mean(torch.cat([torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)], dim=3), torch.ones(1, 3, 4, 8))
    assert (bright.min(), bright.max()) == (0, 1)
    assert align_mean(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).eq(0).all()


def test_what_is_no_picture_is_refused():
    for function in (luma, saturation, hue_vector, srgb_to_lab):
        with pytest.raises(DataError, match=rf"{function.__name__}: expected pictures \(B, 3, H, W\) .* \(1, 1, 4, 4\)"):
            function(torch.zeros(1, 1, 4, 4))
    for function in (delta_e_2000, align_mean):
        with pytest.raises(DataError, match=r"\(1, 3, 4, 4\) and \(1, 3, 4, 5\)"):
            function(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))
