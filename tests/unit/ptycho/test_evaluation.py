"""Comparison of objects: what ptychography cannot know costs nothing, real errors cost what scikit-image says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from photic.apps.ptycho.evaluation import compare_objects
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.core.errors import DataError
from photic.functional.registration import fourier_shift

SHAPE = (80, 90)


def smooth(seed, sigma=2.0, shape=SHAPE):
    made = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return made / made.std()


def specimen(seed=0, contrast=0.4, shape=SHAPE):
    return (1 + 0.1 * smooth(seed, shape=shape)) * np.exp(1j * contrast * smooth(seed + 1, shape=shape))


def result(picture, origin=(0.0, 0.0), coverage=None, **more):
    values = {"coverage": coverage, "positions_px": np.zeros((0, 2)), "probe": None, "method": "iterative"}
    return Reconstruction(object=picture, origin_px=origin, **(values | more))


def ambiguous(picture, shift=(0.6, -1.3), slopes=(0.03, -0.05), scale=0.4, phase=2.0):
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return scale * np.exp(1j * (phase + slopes[0] * columns + slopes[1] * rows)) * fourier_shift(picture, shift)


def noisy(picture, level=0.05, seed=9):
    rng = np.random.default_rng(seed)
    return picture + level * (rng.normal(size=picture.shape) + 1j * rng.normal(size=picture.shape))


def test_shift_ramp_offset_and_scale_cost_nothing():
    truth = specimen()
    found = compare_objects(result(ambiguous(truth)), truth)
    for part in (found.amplitude, found.phase):
        assert part.ssim > 0.999 and part.psnr_db > 45 and part.ms_ssim is None
    np.testing.assert_allclose(found.alignment.shift_px, (-0.6, 1.3), atol=0.01)
    np.testing.assert_allclose(found.alignment.ramp_rad, (-0.03, 0.05), atol=1e-4)
    assert abs(found.alignment.scale) == pytest.approx(2.5, rel=1e-3)


def test_the_numbers_are_those_of_scikit_image_on_the_aligned_pictures():
    truth = specimen()
    found = compare_objects(result(noisy(truth)), truth)
    amplitudes = np.abs(found.reference), np.abs(found.aligned)
    middle = np.angle(found.reference).mean()
    phases = np.angle(found.reference) - middle, np.angle(found.aligned) - middle
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for part, (known, made) in ((found.amplitude, amplitudes), (found.phase, phases)):
        data_range = float(known.max() - known.min())
        assert part.data_range == pytest.approx(data_range, rel=1e-6)
        assert part.mae == pytest.approx(np.abs(known - made).mean(), rel=1e-4)
        assert part.psnr_db == pytest.approx(peak_signal_noise_ratio(known, made, data_range=data_range), abs=1e-3)
        assert part.ssim == pytest.approx(structural_similarity(known, made, data_range=data_range, **options), abs=1e-4)
        assert 0.2 < part.ssim < 0.99


def test_the_peak_is_the_range_of_the_reference_and_not_255():
    truth = specimen()
    found = compare_objects(result(noisy(truth)), truth)
    error = np.sqrt(np.mean((np.abs(found.aligned) - np.abs(found.reference)) ** 2))
    inflated = 20 * np.log10(255 / error)
    assert found.amplitude.psnr_db == pytest.approx(20 * np.log10(found.amplitude.data_range / error), abs=1e-3)
    assert found.amplitude.data_range < 1 and found.amplitude.psnr_db < inflated - 40


def test_the_phase_is_not_squeezed_into_the_whole_circle():
    truth = specimen(contrast=0.05)
    found = compare_objects(result(noisy(truth, 0.03)), truth)
    squeezed = [(np.angle(p) + np.pi) / (2 * np.pi) for p in (found.reference, found.aligned)]
    inflated = structural_similarity(*squeezed, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert inflated > 0.95 and found.phase.ssim < 0.8


def test_numbers_do_not_depend_on_the_offset_of_the_phase():
    truth = specimen(contrast=0.8)
    made = noisy(truth)
    expected = compare_objects(result(made), truth).to_dict()
    for phase in (1.0, 3.0, np.pi):
        found = compare_objects(result(made), truth * np.exp(1j * phase)).to_dict()
        for part in ("amplitude", "phase"):
            assert found[part].pop("ms_ssim") is None
            assert found[part] == pytest.approx({key: value for key, value in expected[part].items() if key != "ms_ssim"}, rel=1e-3)


def test_phases_beyond_a_turn_are_compared_without_cuts():
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = specimen() * np.exp(1j * 9 * np.exp(-((rows - 40) ** 2 + (columns - 45) ** 2) / 600))
    found = compare_objects(result(noisy(truth, 0.02)), truth)
    assert found.phase.data_range > 2 * np.pi and found.phase.ssim > 0.95 and found.phase.mae < 0.05


def test_a_reference_with_vortices_is_warned_about():
    y, x = np.mgrid[-30:30, -30:30] + 0.5
    truth = specimen(shape=(60, 60)) * np.exp(1j * np.arctan2(y, x))
    with pytest.warns(UserWarning, match="unwrapped"):
        compare_objects(result(truth), truth)


def test_origins_put_both_on_one_grid():
    truth = specimen()
    made = result(noisy(truth)[10:70, 20:85], origin=(20, 10))
    expected = compare_objects(made, truth)
    assert expected.region == (22, 12, 83, 68)
    assert expected.amplitude.ssim > 0.5 and np.abs(expected.alignment.shift_px).max() < 0.1
    other = compare_objects(made, result(truth, origin=(0, 0)), reference_name="x")
    assert other.reference_name == "x" and other.amplitude == expected.amplitude
    moved = compare_objects(result(made.object, origin=(120, -90)), result(truth, origin=(100, -100)))
    assert moved.region == (122, -88, 183, -32) and moved.amplitude == expected.amplitude
    fraction = compare_objects(result(made.object, origin=(20.4, 10.2)), truth)
    assert fraction.amplitude.ssim == pytest.approx(expected.amplitude.ssim)


def test_only_what_both_cover_well_is_compared():
    truth = specimen()
    coverage = np.full(SHAPE, 1e-4)
    coverage[15:60, 20:80] = 1.0
    made = noisy(truth, 0.02)
    made[coverage < 1] = 50
    found = compare_objects(result(made, coverage=coverage), truth)
    assert found.region == (22, 17, 78, 58)
    assert found.amplitude.ssim > 0.8
    elsewhere = np.zeros(SHAPE)
    elsewhere[40:, 40:] = 1
    both = compare_objects(result(made, coverage=coverage), result(truth, coverage=elsewhere, method="other"))
    assert both.region == (42, 42, 78, 58) and both.reference_name == "other"


def test_a_region_given_is_used_as_it_is():
    truth = specimen()
    found = compare_objects(result(truth[5:, 5:], origin=(5, 5)), truth, region=(10, 20, 50, 45))
    assert found.region == (10, 20, 50, 45) and found.aligned.shape == found.reference.shape == (25, 40)
    np.testing.assert_allclose(found.reference, truth[20:45, 10:50], atol=1e-6)
    for bad in ((0, 20, 50, 45), (10, 20, 91, 45), (10, 20, 15, 45), (50, 20, 10, 45)):
        with pytest.raises(DataError, match="region"):
            compare_objects(result(truth[5:, 5:], origin=(5, 5)), truth, region=bad)


def test_large_regions_have_ms_ssim_too():
    shape = (190, 186)
    truth = specimen(shape=shape)
    found = compare_objects(result(noisy(truth, 0.1)), truth)
    assert 0.5 < found.amplitude.ms_ssim < 0.9999 and 0.5 < found.phase.ms_ssim < 0.9999


def test_ring_correlation_of_two_halves_gives_a_resolution_in_metres():
    truth = specimen(shape=(128, 128))
    halves = [result(noisy(ambiguous(truth, phase=seed), 0.02, seed), pixel_size_m=1e-8) for seed in (1, 2)]
    found = compare_objects(*halves)
    assert 4 < found.resolution_px["0.5"] < 20 and found.resolution_px["1/7"] < found.resolution_px["0.5"]
    assert found.to_dict()["frc_period_m"]["0.5"] == pytest.approx(1e-8 * found.resolution_px["0.5"])
    assert "nm at 0.5" in found.table()


def test_equal_objects_are_equal_and_json_can_say_so():
    truth = specimen().astype(np.complex64)
    found = compare_objects(result(truth), truth)
    assert found.amplitude.ssim == pytest.approx(1) and found.resolution_px == {"0.5": None, "1/7": None}
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["amplitude"]["ms_ssim"] is None and content["reference"] == "truth" and content["frc_period_px"]["0.5"] is None
    exact = type(found.amplitude)(mae=0.0, psnr_db=math.inf, ssim=1.0, ms_ssim=None, data_range=1.0)
    assert exact.to_dict()["psnr_db"] is None


def test_the_table_says_what_was_compared():
    truth = specimen()
    text = compare_objects(result(noisy(truth)), truth).table()
    assert "iterative against truth, 86 x 76 pixels from (2, 2)" in text
    assert ("needs 161 px" in text and "no crossing" in text) or "px at 0.5" in text
    for word in ("amplitude", "phase (rad)", "MAE", "PSNR (dB)", "SSIM", "MS-SSIM", "FRC", "full period", "shift of"):
        assert word in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_figures_show_both_and_their_errors():
    truth = specimen()
    made = compare_objects(result(noisy(truth), pixel_size_m=1e-8), truth).figures()
    assert set(made) == {"comparison", "frc"}
    titles = [axes.get_title(loc="left") for axes in made["comparison"].axes]
    assert {"truth", "iterative"} <= set(titles)
    same = compare_objects(result(noisy(truth)), result(truth)).figures()["comparison"]
    assert {"iterative", "iterative (compared)"} <= {axes.get_title(loc="left") for axes in same.axes}


PATCHES = Reconstruction(object=None, coverage=None, patches=np.ones((1, 8, 8)), origin_px=(0, 0), positions_px=np.ones((1, 2)), probe=None)


@pytest.mark.parametrize(
    ("reconstruction", "reference", "words"),
    [
        (result(specimen(), origin=(500, 0)), specimen(), "do not overlap"),
        (result(specimen()), np.ones(SHAPE, complex), "flat"),
        (result(specimen()[:12, :12]), specimen(), "at least 11 x 11"),
        (result(specimen()), specimen()[0], r"'object'.*\(H, W\)"),
        (PATCHES, specimen(), "patches only"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(reconstruction, reference, words):
    with pytest.raises(DataError, match=words):
        compare_objects(reconstruction, reference)


@pytest.mark.real
def test_a_real_object_against_itself_shifted_turned_and_scaled(real_data):
    with np.load(real_data / "ptycho" / "run1084_sim_1e6.npz", allow_pickle=False) as file:
        truth, x, y = file["objectGuess"], file["xcoords"], file["ycoords"]
    scanned = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
    made = result(ambiguous(truth, (1.7, -2.4), (0.02, 0.01), 3.0, -1.0))
    found = compare_objects(made, truth, region=scanned)
    assert found.amplitude.ssim > 0.999 and found.phase.ssim > 0.999
    np.testing.assert_allclose(found.alignment.shift_px, (-1.7, 2.4), atol=0.01)
