"""Clean pictures turned back into raw: what is seen, by which camera, with which noise; splits; exactness."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from photic.apps.rawnind.noise_profiles import read_profiles
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.clean import clean_files, half_size, read_clean, scene_of
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.noise_levels import iso_of, noise_at, random_noise, shot_at
from photic.apps.rawnind.synthetic.synthesis import MeasuredNoise, random_camera, seen
from photic.apps.rawnind.synthetic.synthetic_data import RawGeneratedConfig, RawSyntheticConfig
from photic.core.errors import ConfigError, DataError
from photic.core.seeding import numpy_generator, torch_generator
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes
from photic.functional.raw_colour import SRGB_TO_REC2020, camera_to_rec2020
from photic.physics.sensor_noise import SensorNoise

QUIET = SensorNoise(shot=0, read=0)


@pytest.mark.parametrize("measurement, xtrans, pattern", [("mosaic", False, RGGB), ("mosaic", True, XTRANS), ("rgb", False, None)])
def test_a_sensor_sees_one_colour_per_pixel_of_the_clean_picture(measurement, xtrans, pattern):
    clean = draw_scene(0, 0, 24, 36)
    sample = seen(clean, np.eye(3), np.ones(3), QUIET, torch_generator(0, "x"), measurement=measurement, xtrans=xtrans)
    np.testing.assert_array_equal(sample["target"].numpy(), np.moveaxis(clean, -1, 0))
    if pattern is None:
        assert torch.equal(sample["measurement"], sample["target"])
        assert torch.equal(sample["planes"], torch.ones(3, 24, 36))
    else:
        assert torch.equal(sample["planes"], cfa_planes(pattern, 24, 36))
        assert torch.equal(sample["measurement"], (sample["target"] * sample["planes"]).sum(0, keepdim=True))


def test_what_the_network_is_told_about_the_noise_is_true():
    noise = SensorNoise(shot=4e-3, read=2e-5, row=3e-3)
    clean = np.full((400, 400, 3), 0.25, np.float32)
    sample = seen(clean, np.eye(3), np.ones(3), noise, torch_generator(0, "x"), measurement="mosaic")
    shot, read = sample["noise"].tolist()
    assert (sample["measurement"] - 0.25).var().item() == pytest.approx(shot * 0.25 + read, rel=0.03)


def test_made_up_cameras_see_grey_as_grey_after_white_balance():
    for index in range(20):
        camera = random_camera(numpy_generator(0, "camera", index))
        grey = camera.from_srgb @ np.ones(3)
        np.testing.assert_allclose(grey * camera.white_balance, np.ones(3), atol=1e-12)
        assert (camera.from_srgb >= 0).all()  # what is in [0, 1] stays there
        # the matrix that raw files carry brings the colours back, with the white balance and without
        for balance in (None, camera.white_balance):
            np.testing.assert_allclose(camera_to_rec2020(camera.xyz_to_camera, balance) @ camera.from_srgb, SRGB_TO_REC2020, atol=1e-9)


def test_noise_grows_with_iso():
    levels = [noise_at(iso) for iso in (100, 400, 1600, 25600)]
    assert [level.shot for level in levels] == pytest.approx([shot_at(100), 4 * shot_at(100), 16 * shot_at(100), 256 * shot_at(100)])
    assert all(one.read < other.read for one, other in pairwise(levels))
    drawn = [random_noise(numpy_generator(0, "n", i), (100, 6400)) for i in range(300)]
    assert all(100 * 0.99 <= iso_of(one.shot) <= 6400 * 1.01 for one in drawn)
    halves = sum(iso_of(one.shot) < 800 for one in drawn)
    assert 110 < halves < 190  # evenly by the logarithm


def test_half_size_makes_one_pixel_of_each_cell_at_every_phase():
    rng = np.random.default_rng(0)
    for name, pattern in BAYER.items():
        raw = RawPicture(values=rng.random((11, 13), dtype=np.float32), pattern=pattern)
        cells = raw.in_rggb_order().values
        made = half_size(raw)
        assert made.shape == (cells.shape[0] // 2, cells.shape[1] // 2, 3), name
        np.testing.assert_allclose(made[0, 0], [cells[0, 0], (cells[0, 1] + cells[1, 0]) / 2, cells[1, 1]])
    with pytest.raises(DataError, match="Bayer"):
        half_size(RawPicture(values=np.zeros((12, 12), np.float32), pattern=XTRANS))


def test_photographs_become_linear_and_jpeg_is_averaged_down(tmp_path):
    Image.new("RGB", (40, 30), (188, 188, 188)).save(tmp_path / "a.png")
    Image.new("RGB", (40, 30), (188, 188, 188)).save(tmp_path / "b.jpg", quality=95)
    lossless, lossy = read_clean(tmp_path / "a.png"), read_clean(tmp_path / "b.jpg", reduce_photos=2)
    assert lossless.values.shape == (30, 40, 3) and lossy.values.shape == (15, 20, 3)
    assert float(lossless.values[0, 0, 0]) == pytest.approx(0.5029, abs=1e-3)
    assert float(lossy.values[7, 7, 1]) == pytest.approx(0.5029, abs=5e-3)
    with pytest.raises(DataError, match="too few"):
        read_clean(tmp_path / "b.jpg", reduce_photos=16)


def test_places_may_be_folders_files_and_globs(tmp_path):
    for name in ("x_1_mean.jpg", "x_1_real.jpg", "y.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in clean_files([tmp_path])] == ["x_1_mean.jpg", "x_1_real.jpg", "y.png"]
    assert [path.name for path in clean_files([tmp_path / "*_mean.jpg", tmp_path / "y.png"])] == ["x_1_mean.jpg", "y.png"]
    with pytest.raises(DataError, match="no raw files or photographs"):
        clean_files([tmp_path / "*.gif"])


def test_pictures_of_one_scene_stay_in_one_split(tmp_path):
    rng = np.random.default_rng(0)
    for scene in range(8):
        for number in range(3):
            Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(tmp_path / f"s{'abcdefgh'[scene]}_{number}_mean.png")
    data = RawSyntheticConfig(root=tmp_path, crop_px=16, eval_crop_px=16, val_fraction=0.25, test_fraction=0.25).prepare(0)
    scenes = {phase: {scene_of(tmp_path / name.split("@")[0]) for name in names} for phase, names in data.names.items()}
    assert set(scenes) == {"train", "val", "test"}
    assert not (scenes["train"] & scenes["val"] or scenes["train"] & scenes["test"] or scenes["val"] & scenes["test"])
    assert len(data.splits["val"]) == len(data.names["val"])


@pytest.fixture(scope="module")
def generated():
    return RawGeneratedConfig(num_samples=6, size_px=48, crop_px=32, eval_crop_px=40, val_iso=(100.0, 6400.0)).prepare(3)


def test_training_samples_depend_on_seed_and_draw_alone(generated):
    train = generated.splits["train"]
    one, again, other = train.sample(2, 5), train.sample(2, 5), train.sample(2, 6)
    for key in ("measurement", "target", "noise", "balance", "xyz_to_camera", "iso"):
        assert torch.equal(one[key], again[key])
    assert not torch.equal(one["measurement"], other["measurement"])
    assert one["measurement"].shape == (1, 32, 32) and one["target"].shape == (3, 32, 32)


def test_validation_sees_every_picture_at_every_iso_value_whatever_the_run_s_seed(generated):
    val = generated.splits["val"]
    assert {round(float(val.sample(i)["iso"])) for i in range(len(val))} == {100, 6400}
    assert torch.equal(val.sample(0)["target"], val.sample(1)["target"])  # one picture, one camera, two ISO values
    again = RawGeneratedConfig(num_samples=6, size_px=48, crop_px=32, eval_crop_px=40, val_iso=(100.0, 6400.0)).prepare(4)
    assert torch.equal(val.sample(1)["measurement"], again.splits["val"].sample(1)["measurement"])
    assert again.fingerprint == generated.fingerprint


def test_told_noise_is_wrong_by_as_much_as_asked():
    config = RawGeneratedConfig(num_samples=4, size_px=32, crop_px=16, iso_min=800, iso_max=800, row_noise=0, noise_error=0.3)
    train = config.prepare(0).splits["train"]
    told = np.log([train.sample(i % len(train), i)["noise"][0].item() / shot_at(800) for i in range(200)]) / 2
    assert told.std() == pytest.approx(0.3, rel=0.2)


def test_nothing_is_above_white():
    train = RawGeneratedConfig(num_samples=4, size_px=32, crop_px=32, exposure_min_ev=2, exposure_max_ev=3).prepare(0).splits["train"]
    sample = train.sample(0, 0)
    assert sample["target"].max() == 1 and sample["measurement"].max() <= 1


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"crop_px": 65}, "even sides"),
        ({"iso_min": 800.0, "iso_max": 400.0}, "iso_min"),
        ({"val_iso": ()}, "one or more ISO"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "leave no training"),
        ({"measurement": "rgb", "xtrans_share": 0.5}, "without a mosaic"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(RawGeneratedConfig(), **fields)


def test_missing_data_say_what_to_set(tmp_path):
    with pytest.raises(DataError, match=r"data\.root is not set"):
        RawSyntheticConfig().prepare(0)
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"smaller data\.crop_px"):
        RawSyntheticConfig(root=tmp_path).prepare(0)
    with pytest.raises(ConfigError, match="do not fit"):
        RawGeneratedConfig(size_px=32, crop_px=64).prepare(0)
    Image.new("RGB", (200, 200)).save(tmp_path / "only.png")
    with pytest.raises(DataError, match="add pictures"):
        RawSyntheticConfig(root=tmp_path / "only.png").prepare(0)


def test_noise_of_measured_cameras_is_drawn_within_what_was_measured(tmp_path):
    profiles = [{"iso": iso, "a": [iso * 1e-7] * 3, "b": [iso**2 * 1e-12] * 3} for iso in (100, 400, 1600)]
    models = [{"model": "One", "profiles": profiles}, {"model": "Two", "profiles": profiles[:1]}]
    path = tmp_path / "noise.json"
    path.write_text(json.dumps({"noiseprofiles": [{"maker": "Acme", "models": models}]}))
    source = MeasuredNoise(path, ["Acme One"], (200, 6400))
    drawn = [source.draw(numpy_generator(0, "x", i)) for i in range(50)]
    assert all(200 <= iso <= 1600 for _, iso in drawn) and max(iso for _, iso in drawn) > 1000
    for noise, iso in drawn:
        assert (noise.shot, noise.read) == pytest.approx(read_profiles(path).profile("Acme One", iso).at_sensor())
    with pytest.raises(DataError, match="Acme One"):
        MeasuredNoise(path, ["Acme Ones"], (200, 6400))
    with pytest.raises(DataError, match="none of 1 cameras was measured"):
        MeasuredNoise(path, ["Acme Two"], (200, 6400))
    for name in ("a", "b", "c"):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{name}.png")
    with pytest.raises(ConfigError, match=r"data\.noise_profiles, which is not set"):
        RawSyntheticConfig(root=tmp_path, profile_cameras=("Acme One",), crop_px=16).prepare(0)
