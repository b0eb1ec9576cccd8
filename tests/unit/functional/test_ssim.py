"""SSIM, MS-SSIM and PSNR against scikit-image, torchmetrics and a slow float64 reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import pytorch_msssim
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
    """Contrast of five scales and luminance of the last, float64, as in the papers; an odd side begins with a zero when it is halved."""
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            x, y = (np.pad(p, [(side % 2, 0) for side in p.shape]) for p in (x, y))
            x, y = (sum(p[i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4 for p in (x, y))
        mx, my, xx, yy, xy = (convolve2d(p, kernel, mode="valid") for p in (x, y, x * x, y * y, x * y))
        value = np.mean((2 * (xy - mx * my) + (0.03 * data_range) ** 2) / (xx - mx**2 + yy - my**2 + (0.03 * data_range) ** 2))
        if scale == 4:
            value = skimage_ssim(x[None], y[None], data_range)
        product *= max(value, 0) ** weight
    return product


@pytest.mark.parametrize("shape", [(2, 1, 180, 176), (1, 1, 201, 190), (1, 1, 161, 170)])
def test_ms_ssim_equals_a_slow_reference_and_nearly_torchmetrics(shape):
    a, b = pair(*shape, noise=0.3)
    found = ms_ssim(torch.tensor(a), torch.tensor(b), 1.0, reduction="none")
    np.testing.assert_allclose(found.numpy(), [slow_ms_ssim(x[0], y[0], 1.0) for x, y in zip(a, b, strict=True)], atol=1e-9)
    if shape[-1] % 16 == 0:  # torchmetrics leaves odd rows out, and lets windows that reach over the border count at the coarsest scale
        near = multiscale_structural_similarity_index_measure(torch.tensor(a), torch.tensor(b), data_range=1.0, reduction="none")
        np.testing.assert_allclose(found.numpy(), near.numpy(), atol=2e-3)


@pytest.mark.parametrize(("size", "noise"), [((161, 161), 0.02), ((176, 200), 0.3), ((199, 183), 0.1)])
def test_ms_ssim_and_ssim_are_those_of_pytorch_msssim_at_odd_sizes_too(size, noise):
    a, b = (np.clip(p, 0, 1) for p in pair(2, 3, *size, noise=noise))
    for dtype in (torch.float64, torch.float32):
        x, y = torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)
        for ours, theirs in ((ms_ssim, pytorch_msssim.ms_ssim), (ssim, pytorch_msssim.ssim)):
            expected = theirs(x, y, data_range=1.0, size_average=False)  # whose window is float32 in any case
            np.testing.assert_allclose(ours(x, y, 1.0, reduction="none").numpy(), expected.numpy(), rtol=0, atol=1e-5)


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
    a, b = (torch.tensor(p) for p in pair(1, 1, 160, 300))
    with pytest.raises(DataError, match=r"at least 161 x 161 .* 5 scale.*160 x 300; use num_scales=4"):
        ms_ssim(a, b, 1.0)
    assert min_side() == 161 and 0 < float(ms_ssim(a, b, 1.0, num_scales=4)) < 1
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


MASKED = [(psnr, {}), (ssim, {}), (ms_ssim, {"num_scales": 3}), (ms_ssim, {})]


@pytest.mark.parametrize(("function", "settings"), MASKED)
def test_what_is_masked_has_no_gradient_and_is_never_looked_at(function, settings):
    side = 166 if not settings and function is ms_ssim else 53
    a, b = (torch.tensor(p) for p in pair(2, 2, side, side + 4))
    mask = (torch.rand(2, 1, side, side + 4, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    mask[:, :, 10:30, 20:45] = 0
    x = a.clone().requires_grad_()
    value = function(x, b, 1.0, mask=mask, reduction="none", **settings)
    value.sum().backward()
    assert (x.grad[mask.expand_as(x) == 0] == 0).all() and bool(x.grad.isfinite().all())
    assert (x.grad[mask.expand_as(x) > 0] != 0).float().mean() > 0.99
    for rubbish in (7.0, float("nan"), float("inf")):
        c, d = (p.masked_fill(mask == 0, rubbish) for p in (a, b))
        assert torch.equal(function(c, d, 1.0, mask=mask, reduction="none", **settings), value.detach())


@pytest.mark.parametrize(("function", "settings"), MASKED)
def test_a_mask_that_leaves_all_changes_nothing_and_pictures_without_any_pixel_are_left_out(function, settings):
    side = 166 if not settings and function is ms_ssim else 53
    a, b = (torch.tensor(p) for p in pair(3, 2, side, side))
    each = function(a, b, 1.0, reduction="none", **settings)
    assert torch.equal(function(a, b, 1.0, mask=torch.ones(side, side), reduction="none", **settings), each)
    mask = torch.ones(3, 1, 1, 1)
    mask[1] = 0
    found = function(a, b, 1.0, mask=mask, reduction="none", **settings)
    torch.testing.assert_close(found[[0, 2]], each[[0, 2]], rtol=0, atol=1e-12)
    assert bool(found[1].isnan())
    torch.testing.assert_close(function(a, b, 1.0, mask=mask, **settings), each[[0, 2]].mean(), rtol=0, atol=1e-12)
    with pytest.raises(DataError, match="leaves out every pixel"):
        function(a, b, 1.0, mask=torch.zeros(side, side), **settings)
    with pytest.raises(DataError, match="broadcasts"):
        function(a, b, 1.0, mask=torch.ones(5, side), **settings)


def test_masked_psnr_divides_by_what_counts():
    a, b = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    a[..., :4] = 0.1
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6] = 1  # half of it is off by 0.1
    assert float(psnr(a, b, 1.0, mask=mask)) == pytest.approx(10 * math.log10(1 / 0.005), abs=1e-4)


def test_masked_ssim_equals_windows_of_counted_pixels_written_out():
    a, b = pair(1, 1, 14, 13)
    mask = np.random.default_rng(1).random((14, 13)) < 0.6
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    total = share = 0.0
    for top, left in itertools.product(range(4), range(3)):
        window = (slice(top, top + 11), slice(left, left + 11))
        weights = kernel * mask[window]
        w, x, y = weights.sum(), a[0, 0][window], b[0, 0][window]
        mx, my = (weights * x).sum() / w, (weights * y).sum() / w
        vx, vy, cov = ((weights * p).sum() / w for p in ((x - mx) ** 2, (y - my) ** 2, (x - mx) * (y - my)))
        total += w * (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        share += w
    found = ssim(torch.tensor(a), torch.tensor(b), 1.0, mask=torch.tensor(mask))
    assert float(found) == pytest.approx(total / share, abs=1e-12)


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
