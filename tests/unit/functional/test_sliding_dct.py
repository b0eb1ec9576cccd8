"""Denoising in the cosine transforms of overlapping blocks: against a slow reference, exact where nothing is to be done."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from photic.core.errors import ConfigError, DataError
from photic.functional.sliding_dct import SLIDING_DCT_REACH_PX, sliding_dct


def slow(noisy, sigma, threshold=2.7, block=8, stride=2):
    """Both passes block by block, float64; ``(H, W)``, mirrored by 7 pixels at the borders."""
    edge = block - 1
    rest = [-(side + 2 * edge - block) % stride for side in noisy.shape]
    around = np.pad(noisy, [(edge, edge + rest[0]), (edge, edge + rest[1])], mode="reflect")

    def one_pass(pilot):
        total, weight = np.zeros_like(around), np.zeros_like(around)
        for y in range(0, around.shape[0] - block + 1, stride):
            for x in range(0, around.shape[1] - block + 1, stride):
                window = (slice(y, y + block), slice(x, x + block))
                values = dctn(around[window], norm="ortho")
                if pilot is None:
                    gain = (np.abs(values) > threshold * sigma).astype(float)
                else:
                    energy = dctn(pilot[window], norm="ortho") ** 2
                    gain = energy / (energy + sigma**2)
                gain[0, 0] = 1
                trust = 1 / max((gain**2).sum(), 1)
                total[window] += trust * idctn(values * gain, norm="ortho")
                weight[window] += trust
        return total / weight

    return one_pass(one_pass(None))[edge : edge + noisy.shape[0], edge : edge + noisy.shape[1]]


@pytest.mark.parametrize("shape", [(20, 23), (9, 16)])
def test_it_equals_a_slow_reference(shape):
    rng = np.random.default_rng(0)
    noisy = np.add.outer(np.arange(shape[0]) > 5, np.linspace(0, 3, shape[1])) + 0.3 * rng.normal(size=shape)
    found = sliding_dct(torch.tensor(noisy)[None, None], 0.3)[0, 0].numpy()
    np.testing.assert_allclose(found, slow(noisy, 0.3), atol=1e-10)


def test_noise_goes_and_edges_stay():
    rng = np.random.default_rng(1)
    clean = np.zeros((64, 64))
    clean[20:44, 12:50] = 10
    clean += np.linspace(0, 5, 64)
    found = sliding_dct(torch.tensor(clean + rng.normal(size=(64, 64)))[None, None])[0, 0].numpy()
    assert np.sqrt(np.mean((found - clean) ** 2)) < 0.4
    assert found[32, 12:50].mean() - found[32, :12].mean() > 9


def test_a_picture_without_noise_hardly_changes_and_flat_ones_not_at_all():
    y, x = np.mgrid[:40, :48]
    clean = torch.tensor(100 * np.sin(x / 5) * np.cos(y / 7))[None, None]
    assert float((sliding_dct(clean, 1.0) - clean).abs().mean()) < 0.3
    flat = torch.full((1, 2, 16, 16), 0.3)
    torch.testing.assert_close(sliding_dct(flat, 1.0), flat, rtol=1e-5, atol=0)


def test_channels_and_pictures_are_each_for_themselves_and_it_looks_no_further_than_it_says():
    noisy = torch.randn(2, 3, 50, 54, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = sliding_dct(noisy)
    torch.testing.assert_close(whole[1:, 2:], sliding_dct(noisy[1:, 2:]))
    reach = SLIDING_DCT_REACH_PX
    crop = sliding_dct(noisy[..., 4:48, 6:52])  # by even numbers: blocks fall at the same places
    torch.testing.assert_close(crop[..., reach:-reach, reach:-reach], whole[..., 4 + reach : 48 - reach, 6 + reach : 52 - reach])


def test_what_is_not_possible_is_refused():
    for settings in ({"sigma": 0}, {"threshold": -1}, {"stride_px": 3}, {"stride_px": 0}):
        with pytest.raises(ConfigError, match="sliding_dct"):
            sliding_dct(torch.zeros(1, 1, 16, 16), **settings)
    for wrong in (torch.zeros(1, 1, 7, 16), torch.zeros(16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.int32)):
        with pytest.raises(DataError, match=r"\(B, C, H, W\)"):
            sliding_dct(wrong)
