"""How raw pictures of one scene lie on each other: shift, sign, gain, what is left, what is turned, masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.fft import fft2, fftfreq, ifft2
from scipy.ndimage import gaussian_filter, rotate

from photic.apps.rawnind.pairs.alignment import align_pair, overlap
from photic.apps.rawnind.pairs.gain import matching_gain, without_borders
from photic.apps.rawnind.pairs.masks import exposure_shares, loss_mask, overexposure_bound
from photic.core.errors import DataError
from photic.functional.registration import correlation_peaks

from .raws_on_disk import drawn_light

HEIGHT, WIDTH = 144, 176
MARGIN = 24


def scene(seed: int = 0) -> np.ndarray:
    """Return a green plane with more around it than is used."""
    return drawn_light(seed, HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN)[..., 1].astype(np.float32)


def cut(picture: np.ndarray, dy: int = 0, dx: int = 0) -> np.ndarray:
    return np.ascontiguousarray(picture[MARGIN + dy : MARGIN + dy + HEIGHT, MARGIN + dx : MARGIN + dx + WIDTH])


def all_valid() -> np.ndarray:
    return np.ones((HEIGHT, WIDTH), bool)


@pytest.mark.parametrize("shift", [(0, 0), (-1, -2), (3, -7), (-11, 5)])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_shift_is_found_with_the_sign_that_is_stated(shift, noise):
    whole = scene()
    # other[y + dy, x + dx] shows what anchor[y, x] does: its window begins as much earlier.
    anchor, other = cut(whole), cut(whole, -shift[0], -shift[1]) / 4
    other = other + (noise / 4 * np.random.default_rng(1).normal(size=other.shape)).astype(np.float32)
    found = align_pair(anchor, other, all_valid(), all_valid(), max_shift_px=20)
    assert found.shift == shift
    ours, theirs = overlap(anchor.shape, found.shift)
    if not noise:
        np.testing.assert_allclose(anchor[ours], 4 * other[theirs], rtol=1e-5)
        assert found.gain == pytest.approx(4, rel=1e-5)
        assert found.residual_px == pytest.approx((0, 0), abs=1e-3)
        assert found.drift_px < 1e-3
        assert found.psnr > 90
    else:
        assert found.gain == pytest.approx(4, rel=0.02)
        assert found.residual_px == pytest.approx((0, 0), abs=0.1)
        assert found.psnr == pytest.approx(20, abs=0.5)  # noise of 0.1 in the scale of the brighter picture
        assert found.coarse_psnr > 20 + 20 * math.log10(8) + 5  # the noise that means keep is taken off


def moved(picture: np.ndarray, down: float, right: float) -> np.ndarray:
    factor = np.exp(-2j * np.pi * (fftfreq(picture.shape[0])[:, None] * down + fftfreq(picture.shape[1])[None] * right))
    return ifft2(fft2(picture) * factor).real.astype(np.float32)


@pytest.mark.parametrize(("down", "right"), [(-1.4, -2.0), (0.3, 0.25), (2.0, -0.4)])
def test_what_whole_pixels_leave_is_said_the_same_way_round(down, right):
    whole = scene()
    found = align_pair(cut(whole), cut(moved(whole, down, right)), all_valid(), all_valid())
    assert found.shift == (round(down), round(right))
    assert found.shift[0] + found.residual_px[0] == pytest.approx(down, abs=0.06)
    assert found.shift[1] + found.residual_px[1] == pytest.approx(right, abs=0.06)
    assert found.drift_px < 0.1


def test_a_turned_camera_shows_as_drift():
    whole = scene()
    turned = rotate(whole, 1.5, reshape=False, order=3, mode="wrap").astype(np.float32)
    assert align_pair(cut(whole), cut(turned), all_valid(), all_valid()).drift_px > 1


def test_another_scene_does_not_agree_however_it_is_laid():
    assert align_pair(cut(scene(0)), cut(scene(5)), all_valid(), all_valid()).coarse_psnr < 28


def test_clipped_parts_do_not_count():
    whole = scene()
    anchor, other = cut(whole), np.minimum(cut(whole, -2, 1) * 2.5, 1).astype(np.float32)
    valid = other < 0.99
    assert 0.3 < valid.mean() < 0.95
    found = align_pair(anchor, other, all_valid(), valid)
    assert found.shift == (2, -1)
    assert found.gain == pytest.approx(1 / 2.5, rel=1e-4)
    assert found.psnr > 80


def test_what_cannot_be_aligned_is_refused():
    plane = cut(scene())
    with pytest.raises(DataError, match="two pictures of one size"):
        align_pair(plane, plane[:-1], all_valid(), all_valid())
    with pytest.raises(DataError, match="no pixel is valid"):
        align_pair(plane, plane, all_valid(), ~all_valid())
    flat = np.full_like(plane, 0.5)
    found = align_pair(flat, flat / 2, all_valid(), all_valid())
    assert found.shift == (0, 0)
    assert math.isnan(found.residual_px[0])


def test_peaks_of_the_correlation_are_whole_shifts_of_the_content():
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(33, 40))
    for down, right in ((0, 0), (5, -3), (-16, 20)):
        peaks = correlation_peaks(picture, np.roll(picture, (down, right), (0, 1)), num=2)
        assert peaks[0] == (right if right < 20 else -20, down)  # half of an even side has no sign
        assert len(set(peaks)) == 2
    limited = correlation_peaks(picture, np.roll(picture, (5, 0), (0, 1)), num=500, max_shift_px=2)
    assert max(max(map(abs, peak)) for peak in limited) == 2
    assert len(limited) == 25


# --- gain -----------------------------------------------------------------------------------------


def test_the_gain_is_that_of_valid_pixels_alone():
    rng = np.random.default_rng(0)
    anchor = rng.uniform(0.1, 0.9, (4, 20, 30)).astype(np.float32)
    other = anchor / 3
    valid = np.ones((20, 30), bool)
    valid[:5] = False
    wrong = anchor.copy()
    wrong[:, :5] = 1.0
    assert matching_gain(wrong, other, valid) == pytest.approx(3, rel=1e-6)
    assert matching_gain(wrong, other) > 3.1


@pytest.mark.parametrize(
    ("anchor", "other", "valid", "words"),
    [
        (np.ones((2, 2)), np.ones((2, 2)), np.zeros((2, 2), bool), "no pixel is valid"),
        (np.ones((2, 2)), np.zeros((2, 2)), None, r"means over 4 valid pixels are 1 \(anchor\) and 0 \(other\)"),
        (-np.ones((2, 2)), np.ones((2, 2)), None, "above black"),
        (np.ones((2, 2)), np.ones((2, 3)), None, "one shape"),
        (np.full((2, 2), np.nan), np.ones((2, 2)), None, "above black"),
    ],
)
def test_a_gain_that_is_none_is_refused(anchor, other, valid, words):
    with pytest.raises(DataError, match=words):
        matching_gain(anchor, other, valid)


def test_black_borders_are_found_and_dark_pictures_kept():
    packed = np.full((4, 40, 50), 0.3, np.float32)
    packed[:, :3] = 0.001
    packed[:, :, -4:] = 0
    inside = without_borders(packed)
    assert inside[3:, :-4].all()
    assert inside.sum() == 37 * 46
    assert without_borders(np.zeros((4, 20, 20), np.float32)).all()
    assert without_borders(np.full((4, 20, 20), 0.001, np.float32)).all()


# --- masks ----------------------------------------------------------------------------------------


def slow_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the sum over three colours of |gamma - gamma|, in float64, power alone."""
    total = np.zeros(first.shape[1:])
    for pick in ([0], [1, 2], [3]):
        a, b = (picture[pick].astype(np.float64).mean(axis=0) for picture in (first, second))
        total += np.abs(a ** (1 / 2.2) - b ** (1 / 2.2))
    return total


def test_pixels_that_show_something_else_do_not_count():
    anchor = np.random.default_rng(0).uniform(0.2, 0.4, (4, 60, 80)).astype(np.float32)
    other = anchor * 1.02
    other[:, 20:30, 30:45] = 0.9
    valid = np.ones((60, 80), bool)
    valid[50:, :10] = False
    found = loss_mask(anchor, other, valid)
    difference = slow_difference(anchor, other)
    assert found.bound == pytest.approx(min(0.4, np.quantile(difference[valid], 0.9999)), abs=1e-5)
    assert found.window_cells == 1
    assert not found.mask[20:30, 30:45].any()
    assert not found.mask[50:, :10].any()
    assert found.mask[:18, 2:-2].all()
    # A single pixel that agrees among others that do not is opened away.
    other[:, 25, 35] = anchor[:, 25, 35]
    assert not loss_mask(anchor, other, valid).mask[25, 35]


def test_identical_pictures_count_everywhere():
    anchor = np.random.default_rng(0).uniform(0.2, 0.4, (4, 40, 40)).astype(np.float32)
    found = loss_mask(anchor, anchor.copy(), np.ones((40, 40), bool))
    assert found.bound == 0.4
    assert found.mask[1:-1, 1:-1].all()


def test_noise_alone_is_not_masked_but_content_under_it_is():
    rng = np.random.default_rng(0)
    anchor = np.full((4, 120, 160), 0.2, np.float32)
    other = (anchor + 0.12 * rng.normal(size=anchor.shape)).astype(np.float32)
    other[:, 40:80, 60:100] += 0.5
    found = loss_mask(anchor, other, np.ones((120, 160), bool))
    assert found.window_cells > 1
    assert found.mask[:30].mean() > 0.97
    assert not found.mask[45:75, 65:95].any()


def test_masks_need_something_to_compare():
    plane = np.ones((4, 8, 8), np.float32)
    with pytest.raises(DataError, match="no pixel is valid"):
        loss_mask(plane, plane, np.zeros((8, 8), bool))
    with pytest.raises(DataError, match="packed pictures"):
        loss_mask(plane, plane, np.ones((16, 16), bool))  # a mask of sensor pixels is no mask of packed ones


def test_where_a_picture_clips_is_seen_in_it():
    rng = np.random.default_rng(0)
    packed = gaussian_filter(rng.uniform(0, 2, (4, 50, 50)), (0, 1, 1)).astype(np.float32)
    assert overexposure_bound(np.minimum(packed, 0.9)) == pytest.approx(0.99 * 0.9, abs=1e-6)
    assert overexposure_bound(np.minimum(packed, 1.06)) == 0.99
    assert overexposure_bound(packed * 0.3) == 0.99  # nothing clips
    low = np.minimum(packed, np.array([1.0, 0.8, 1.0, 1.0], np.float32)[:, None, None])
    assert overexposure_bound(low) == pytest.approx(0.99 * 0.8, abs=1e-6)
    over, black = exposure_shares(np.array([[[0.0, 0.5], [1.0, 1.0]]], np.float32), 0.99)
    assert (over, black) == (0.5, 0.25)
