"""SSIM, MS-SSIM and PSNR against scikit-image, torchmetrics and a slow float64 reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from photic.core.errors import ConfigError, DataError
from photic.functional.ssim import MS_SSIM_WEIGHTS, min_side, ms_ssim, psnr, ssim

rng = np.random.default_rng(0)


def pair(*shape, noise=0.1, offset=0.0):
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    base = np.broadcast_to(0.5 + 0.3 * np.sin(x / 5) * np.cos(y / 7), shape) + offset
    return base + noise * rng.normal(size=shape), base + 0.3 * noise * rng.normal(size=shape)


def skimage_ssim(a, b, data_range):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": data_range}
    return float(np.mean([structural_similarity(x, y, **options) for x, y in zip(a, b, strict=True)]))


@pytest.mark.parametrize("shape", [(3, 1, 20, 31), (2, 4, 16, 16), (1, 3, 11, 40)])
@pytest.mark.parametrize("data_range", [0.3, 1.0, 7.0])
def test_ssim_equals_scikit_image(shape, data_range):
    a, b = pair(*shape)
    expected = [skimage_ssim(x, y, data_range) for x, y in zip(a, b, strict=True)]
    found = ssim(torch.tensor(a), torch.tensor(b), data_range, reduction="none")
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-9)
    assert float(ssim(torch.tensor(a), torch.tensor(b), data_range)) == pytest.approx(np.mean(expected), abs=1e-9)
    single = ssim(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32), data_range, reduction="none")
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=2e-5)


def test_ssim_equals_its_definition_written_out():
    a, b = pair(1, 1, 13, 14)
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    values = []
    for top, left in itertools.product(range(3), range(4)):
        x, y = (p[0, 0, top : top + 11, left : left + 11] for p in (a, b))
        mx, my = (kernel * x).sum(), (kernel * y).sum()
        vx, vy, cov = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum(), (kernel * (x - mx) * (y - my)).sum()
        c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
        values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    assert float(ssim(torch.tensor(a), torch.tensor(b), 2.0)) == pytest.approx(np.mean(values), abs=1e-12)


def test_bright_pictures_lose_no_digits_in_float32():
    a, b = pair(1, 1, 32, 32, noise=0.05, offset=300.0)
    expected = skimage_ssim(a[0], b[0], 1.0)
    found = float(ssim(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32), 1.0))
    assert found == pytest.approx(expected, abs=1e-3)


def test_one_range_for_each_picture():
    a, b = (torch.tensor(p) for p in pair(2, 1, 16, 16))
    ranges = torch.tensor([0.5, 3.0])
    for function in (ssim, psnr):
        found = function(a, b, ranges, reduction="none")
        each = [float(function(a[i : i + 1], b[i : i + 1], float(ranges[i]))) for i in range(2)]
        np.testing.assert_allclose(found.numpy(), each, rtol=1e-9)


def slow_ms_ssim(x, y, data_range):
    """Contrast of five scales and luminance of the last, float64, each part as in the papers."""
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            x, y = (sum(p[i : p.shape[0] // 2 * 2 : 2, j : p.shape[1] // 2 * 2 : 2] for i in (0, 1) for j in (0, 1)) / 4 for p in (x, y))
        mx, my, xx, yy, xy = (convolve2d(p, kernel, mode="valid") for p in (x, y, x * x, y * y, x * y))
        value = np.mean((2 * (xy - mx * my) + (0.03 * data_range) ** 2) / (xx - mx**2 + yy - my**2 + (0.03 * data_range) ** 2))
        if scale == 4:
            value = skimage_ssim(x[None], y[None], data_range)
        product *= max(value, 0) ** weight
    return product


@pytest.mark.parametrize("shape", [(2, 1, 180, 176), (1, 1, 201, 190)])
def test_ms_ssim_equals_a_slow_reference_and_nearly_torchmetrics(shape):
    a, b = pair(*shape, noise=0.3)
    found = ms_ssim(torch.tensor(a), torch.tensor(b), 1.0, reduction="none")
    np.testing.assert_allclose(found.numpy(), [slow_ms_ssim(x[0], y[0], 1.0) for x, y in zip(a, b, strict=True)], atol=1e-9)
    # torchmetrics lets windows that reach over the border count at the coarsest scale.
    near = multiscale_structural_similarity_index_measure(torch.tensor(a), torch.tensor(b), data_range=1.0, reduction="none")
    np.testing.assert_allclose(found.numpy(), near.numpy(), atol=2e-3)


def test_channels_are_pictures_of_their_own():
    a, b = (torch.tensor(p) for p in pair(1, 3, 48, 44))
    for function, settings in ((ssim, {}), (ms_ssim, {"num_scales": 2})):
        each = [float(function(a[:, c : c + 1], b[:, c : c + 1], 1.0, **settings)) for c in range(3)]
        assert float(function(a, b, 1.0, **settings)) == pytest.approx(np.mean(each), abs=1e-12)


def test_fewer_scales_use_the_first_weights_made_to_sum_to_one():
    a, b = (torch.tensor(p) for p in pair(1, 1, 44, 50))
    assert float(ms_ssim(a, b, 1.0, num_scales=1)) == pytest.approx(float(ssim(a, b, 1.0)), abs=1e-12)
    weights = np.array(MS_SSIM_WEIGHTS[:3]) / sum(MS_SSIM_WEIGHTS[:3])
    assert float(ms_ssim(a, b, 1.0, num_scales=3)) == pytest.approx(float(ms_ssim(a, b, 1.0, weights=tuple(weights))), abs=1e-12)
    assert sum(MS_SSIM_WEIGHTS) == pytest.approx(1.0, abs=2e-4)


def test_a_picture_too_small_for_five_scales_is_refused_with_the_number_that_fits():
    a, b = (torch.tensor(p) for p in pair(1, 1, 175, 300))
    with pytest.raises(DataError, match=r"at least 176 x 176 .* 5 scale.*175 x 300; use num_scales=4"):
        ms_ssim(a, b, 1.0)
    assert min_side() == 176 and 0 < float(ms_ssim(a, b, 1.0, num_scales=4)) < 1
    with pytest.raises(DataError, match="smaller window"):
        ssim(a[..., :10], b[..., :10], 1.0)


def test_psnr_equals_scikit_image_and_is_infinite_for_equal_pictures():
    a, b = pair(2, 3, 9, 8)
    expected = [peak_signal_noise_ratio(x, y, data_range=0.7) for x, y in zip(b, a, strict=True)]
    np.testing.assert_allclose(psnr(torch.tensor(a), torch.tensor(b), 0.7, reduction="none").numpy(), expected, rtol=1e-12)
    assert math.isinf(float(psnr(torch.tensor(a), torch.tensor(a), 0.7)))


def test_gradients_are_exact_and_climbing_them_restores_a_picture():
    a, b = (torch.tensor(p) for p in pair(1, 2, 13, 12))
    small = {"window": 5, "num_scales": 2}
    for function in (lambda x: ssim(x, b, 1.0, window=5), lambda x: ms_ssim(x, b, 1.0, **small), lambda x: psnr(x, b, 1.0)):
        assert torch.autograd.gradcheck(function, (a.clone().requires_grad_(),))
    picture = a.clone().requires_grad_()
    optimizer = torch.optim.Adam([picture], 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        (1 - ssim(picture, b, 1.0)).backward()
        optimizer.step()
    assert float(ssim(picture.detach(), b, 1.0)) > 0.98 > float(ssim(a, b, 1.0))


def test_reversed_structure_is_negative_and_leaves_ms_ssim_a_finite_gradient():
    _, b = (torch.tensor(p) for p in pair(1, 1, 24, 24, noise=0.01))
    a = (2 * b.mean() - b).requires_grad_()
    assert float(ssim(a.detach(), b, 1.0)) < 0
    value = ms_ssim(a, b, 1.0, num_scales=2)
    value.backward()
    assert 0 < float(value.detach()) < 0.1 and bool(a.grad.isfinite().all())


def test_equal_pictures_have_finite_gradients():
    _, b = (torch.tensor(p) for p in pair(1, 1, 24, 24))
    a = b.clone().requires_grad_()
    ms_ssim(a, b, 1.0, num_scales=2).backward()
    assert bool(a.grad.isfinite().all()) and float(a.grad.abs().max()) < 1e-9


def test_half_precision_and_autocast_are_computed_in_float32():
    a, b = (torch.tensor(p) for p in pair(1, 1, 24, 24))
    full = float(ssim(a, b, 1.0))
    half = ssim(a.to(torch.bfloat16), b.to(torch.bfloat16), 1.0)
    assert half.dtype == torch.float32 and float(half) == pytest.approx(full, abs=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(ssim(a.float(), b.float(), 1.0)) == pytest.approx(full, abs=1e-5)


@pytest.mark.parametrize("function", [ssim, psnr, ms_ssim])
def test_wrong_input_is_refused(function):
    a, b = (torch.tensor(p) for p in pair(1, 1, 180, 180))
    for x, y in ((a, b[..., :-1]), (a[0], b[0]), (a[:0], b[:0])):
        with pytest.raises(DataError, match=r"\(B, C, H, W\)"):
            function(x, y, 1.0)
    with pytest.raises(DataError, match="amplitude and phase"):
        function(a + 0j, b, 1.0)
    for data_range in (0.0, -1.0, float("nan"), torch.ones(2)):
        with pytest.raises(ConfigError, match="data_range"):
            function(a, b, data_range)
    with pytest.raises(ConfigError, match="reduction"):
        function(a, b, 1.0, reduction="sum")


def test_wrong_settings_are_refused():
    a, b = (torch.tensor(p) for p in pair(1, 1, 30, 30))
    for settings, word in (({"window": 10}, "window"), ({"window": 0}, "window"), ({"sigma": 0.0}, "sigma")):
        with pytest.raises(ConfigError, match=word):
            ssim(a, b, 1.0, **settings)
    for settings in ({"num_scales": 0}, {"num_scales": 6}, {"weights": ()}, {"weights": (1, 0)}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            ms_ssim(a, b, 1.0, **settings)
