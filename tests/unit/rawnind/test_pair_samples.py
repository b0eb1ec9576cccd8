"""Sets of pairs: crops that keep their phase, gains, masks, splits by scene, whole pictures, photographs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from photic.apps.rawnind.pairs.index import Crop, PairEntry, PairIndex, write_index
from photic.apps.rawnind.pairs.pair_datasets import RawNindPairsConfig, RawRgbPairsConfig
from photic.apps.rawnind.pairs.pair_samples import Window
from photic.apps.rawnind.pairs.pair_splits import split_scenes
from photic.apps.rawnind.pairs.photo_pairs import find_photo_pairs, noise_of_pair, scene_and_iso
from photic.apps.rawnind.pairs.tiles import pack_mosaic, unpack_mosaic, write_tile
from photic.core.errors import ConfigError, DataError
from photic.data.loader import ExactLoader, evaluation_batches
from photic.functional.cfa import RGGB, cfa_planes, mosaic_of
from photic.functional.raw_colour import XYZ_TO_SRGB

SIDE = 40
GAIN = 3.0
MATRIX = ((0.7, -0.1, -0.05), (-0.8, 1.6, 0.26), (-0.24, 0.28, 0.8))
BALANCE = (1.8, 1.0, 1.4)


def lay(folder: Path, num_scenes: int = 6, pairs_per_scene: int = 2, *, reserved: int = 0) -> list[np.ndarray]:
    """Write a prepared folder in which every value says its place and colour, and return the clean pictures ``(3, 2 side, 2 side)``."""
    entries, clean = [], []
    for scene, number in itertools.product(range(num_scenes), range(pairs_per_scene)):
        rng = np.random.default_rng(100 * scene + number)
        picture = rng.uniform(0.1, 0.9, (3, 2 * SIDE, 2 * SIDE)).astype(np.float16).astype(np.float32)
        mosaic = mosaic_of(torch.from_numpy(picture), cfa_planes(RGGB, 2 * SIDE, 2 * SIDE))[0].numpy()
        mask = np.ones((SIDE, SIDE), bool)
        mask[: SIDE // 4] = False
        base = f"tiles/{scene}_{number}"
        crop = Crop((0, 0), 0.75, f"{base}_gt.npy", f"{base}_rgb.npy", f"{base}_noisy.npy", f"{base}_mask.npy")
        write_tile(folder / crop.gt_rgb_path, picture)
        write_tile(folder / crop.noisy_path, pack_mosaic(mosaic / GAIN))
        write_tile(folder / crop.mask_path, mask)
        entries.append(PairEntry(
            name=f"s{scene}/{number}", image_set=f"s{scene}", gt_path="g.dng", noisy_path="n.dng", shift=(0, 0), loss=0.0,
            mask_path="m.png", mask_mean=0.75, is_bayer=True, rgb_xyz_matrix=MATRIX, overexposure=0.99, raw_gain=GAIN, rgb_gain=GAIN,
            iso=100.0 * 2**number, size=(SIDE, SIDE), noise=(1e-3, 1e-6), white_balance=BALANCE, test_reserve=scene < reserved,
            crops=(crop,),
        ))  # fmt: skip
        clean.append(picture)
    write_index(folder / "index.yaml", PairIndex("..", {}, tuple(entries), (), folder))
    return clean


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    lay(root)
    return root


def config(folder: Path, **changes: Any) -> RawNindPairsConfig:
    return RawNindPairsConfig(root=folder, **{"crop_px": 16, "eval_crop_px": 32, "val_fraction": 0.2, "test_fraction": 0.2, **changes})


@pytest.mark.parametrize("lies", list(itertools.product((False, True), repeat=3)))
def test_windows_lie_as_they_are_told_and_begin_with_red(lies):
    height, width = 10, 14
    mosaic = np.arange(4 * height * width, dtype=np.float32).reshape(2 * height, 2 * width)
    planes = cfa_planes(RGGB, 2 * height, 2 * width).numpy()
    window = Window(2, 3, 4, 5, *lies)
    expected = mosaic[4 + lies[0] : 12 + lies[0], 6 + lies[1] : 16 + lies[1]]
    colours = planes[:, 4 + lies[0] : 12 + lies[0], 6 + lies[1] : 16 + lies[1]]
    for axis, flag in enumerate(lies[:2]):
        expected, colours = (np.flip(array, axis - 2) if flag else array for array in (expected, colours))
    if lies[2]:
        expected, colours = expected.T, colours.swapaxes(1, 2)
    np.testing.assert_array_equal(window.of_packed(pack_mosaic(mosaic)), expected)
    np.testing.assert_array_equal(window.of_pixels(mosaic), expected)
    np.testing.assert_array_equal(colours, cfa_planes(RGGB, *expected.shape).numpy())
    cells = np.arange(height * width).reshape(height, width)
    wide = cells.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(window.of_pixels(cells, scale=2), window.of_pixels(wide))


@pytest.mark.parametrize("gain", ["never", "input", "output"])
def test_measurement_target_and_planes_belong_together(folder, gain):
    data = config(folder, match_gain=gain).prepare(0)
    for phase in ("train", "val", "test"):
        for position, draw in itertools.product(range(min(4, len(data.splits[phase]))), range(4)):
            sample = data.splits[phase].sample(position, draw)
            side = 16 if phase == "train" else 32
            assert sample["target"].shape == sample["planes"].shape == (3, side, side)
            assert sample["measurement"].shape == sample["mask"].shape == (1, side, side)
            assert torch.equal(sample["planes"], cfa_planes(RGGB, side, side))
            seen = mosaic_of(sample["target"], sample["planes"])
            factor = 1 / GAIN if gain == "never" else 1.0
            torch.testing.assert_close(sample["measurement"], seen * factor, rtol=2e-3, atol=1e-4)
            assert sample["measurement"].max() > (0.5 if gain == "input" else 0.15)
            scale = GAIN if gain == "input" else 1.0
            torch.testing.assert_close(sample["noise"], torch.tensor([1e-3 * scale, 1e-6 * scale**2]))
            assert set(sample) == {
                "measurement",
                "planes",
                "target",
                "mask",
                "noise",
                "balance",
                "xyz_to_camera",
                "iso",
                "gain",
                "index",
                "name",
            }
            assert float(sample["gain"]) == GAIN
            torch.testing.assert_close(sample["balance"], torch.tensor(BALANCE))
            torch.testing.assert_close(sample["xyz_to_camera"], torch.tensor(MATRIX))


def test_crops_are_drawn_by_seed_and_draw_alone_and_lie_in_all_ways(folder):
    train, again = (config(folder).prepare(3).splits["train"] for _ in range(2))
    samples = [train.sample(1, draw) for draw in range(12)]
    for draw in reversed(range(12)):
        assert torch.equal(again.sample(1, draw)["target"], samples[draw]["target"])
    assert len({sample["target"].numpy().tobytes() for sample in samples}) == 12
    assert all(torch.equal(samples[0]["balance"], sample["balance"]) for sample in samples)
    plain = config(folder, flips=False).prepare(3).splits["train"].sample(1, 0)
    assert plain["target"].shape == (3, 16, 16)


def test_crops_are_taken_where_enough_counts(folder):
    train = config(folder, min_valid_share=1.0).prepare(0).splits["train"]
    shares = [float(train.sample(position, 0)["mask"].mean()) for position in range(len(train))]
    assert np.mean(np.array(shares) == 1) > 0.9
    loose = config(folder, min_valid_share=0.0).prepare(0).splits["train"]
    assert np.mean([float(loose.sample(position, 0)["mask"].mean()) < 1 for position in range(len(loose))]) > 0.2


def test_scenes_stay_together_and_names_tell_the_split(folder, tmp_path):
    data = config(folder).prepare(0)
    scenes = {phase: {name.split("/")[0] for name in names} for phase, names in data.names.items()}
    assert set().union(*scenes.values()) == {f"s{number}" for number in range(6)}
    assert sum(map(len, scenes.values())) == 6
    assert len(data.splits["train"]) == 8 * len(data.names["train"])
    assert config(folder, split_seed=1).prepare(0).names != data.names
    assert config(folder).prepare(9).names == data.names
    assert data.extras == {"measurement": "mosaic", "iso": [100.0, 200.0]}
    assert len(data.fingerprint) == 64
    kept = config(folder, test_scenes=("s3", "s5")).prepare(0)
    assert sorted(kept.names["test"]) == ["s3/0", "s3/1", "s5/0", "s5/1"]
    with pytest.raises(ConfigError, match="no scene 's9'"):
        config(folder, test_scenes=("s9",)).prepare(0)
    lay(tmp_path, 5, 1, reserved=2)
    assert sorted(config(tmp_path).prepare(0).names["test"]) == ["s0/0", "s1/0"]


def test_evaluation_takes_the_part_nearest_to_the_middle(folder):
    data = config(folder, eval_crop_px=20).prepare(0)
    batches = list(evaluation_batches(data.splits["val"], 2))
    assert batches[0]["measurement"].shape == (2, 1, 20, 20)
    whole = config(folder, eval_crop_px=2 * SIDE, match_gain="never").prepare(0).splits["val"].sample(0)["target"]
    part = config(folder, eval_crop_px=20, match_gain="never").prepare(0).splits["val"].sample(0)["target"]
    assert torch.equal(part, whole[:, 30:50, 30:50])
    large = config(folder, eval_crop_px=4 * SIDE).prepare(0).splits["val"].sample(0)
    assert large["target"].shape == (3, 2 * SIDE, 2 * SIDE)


@pytest.mark.parametrize("method", ["malvar", "menon"])
def test_a_developed_measurement_is_as_of_the_whole_picture(folder, method):
    whole = config(folder, measurement="rgb", demosaic=method, eval_crop_px=2 * SIDE).prepare(0)
    part = config(folder, measurement="rgb", demosaic=method, eval_crop_px=20).prepare(0)
    assert part.extras["measurement"] == "rgb"
    full, middle = whole.splits["val"].sample(0), part.splits["val"].sample(0)
    assert full["measurement"].shape == full["planes"].shape == (3, 2 * SIDE, 2 * SIDE)
    assert (full["planes"] == 1).all()
    torch.testing.assert_close(middle["measurement"], full["measurement"][:, 30:50, 30:50], atol=1e-6, rtol=1e-5)
    for draw in range(6):
        sample = part.splits["train"].sample(0, draw)
        known = cfa_planes(RGGB, 16, 16).bool()  # a mirrored crop begins with red, too
        torch.testing.assert_close(sample["measurement"][known], sample["target"][known], rtol=2e-3, atol=1e-4)


def test_crops_load_in_processes_as_here(folder):
    train = config(folder, crops_per_picture=1).prepare(0).splits["train"]
    here, there = (iter(ExactLoader(train, batch_size=4, seed=0, num_workers=workers)) for workers in (0, 1))
    for _ in range(2):
        assert torch.equal(next(here)["target"], next(there)["target"])


def test_what_cannot_be_used_is_said(folder, tmp_path):
    with pytest.raises(DataError, match=r"data\.root is not set"):
        RawNindPairsConfig().prepare(0)
    with pytest.raises(DataError, match="no such file; expected the index.yaml"):
        config(tmp_path).prepare(0)
    lay(tmp_path, 3, 1)
    next((tmp_path / "tiles").glob("*_mask.npy")).unlink()
    with pytest.raises(DataError, match=r"1 of 9 are missing"):
        config(tmp_path).prepare(0)
    write_index(tmp_path / "index.yaml", PairIndex("..", {}, (), (), tmp_path))
    with pytest.raises(DataError, match="no pairs with tiles"):
        config(tmp_path).prepare(0)
    with pytest.raises(ConfigError, match="even sides"):
        config(folder, crop_px=17)
    with pytest.raises(ConfigError, match="leave no training"):
        config(folder, val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(DataError, match="a tile has 80 x 80 sensor pixels, a crop of 80 needs 82"):
        config(folder, crop_px=80).prepare(0).splits["train"].sample(0, 0)
    assert config(folder, crop_px=80, flips=False).prepare(0).splits["train"].sample(0, 0)["target"].shape == (3, 80, 80)
    lay(tmp_path, 1, 4)
    with pytest.raises(DataError, match="1 scene cannot be split"):
        config(tmp_path).prepare(0)


# --- photographs ----------------------------------------------------------------------------------


def linear(values: np.ndarray) -> np.ndarray:
    x = values / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for scene, number in itertools.product(("chair", "toy", "Desk", "plant"), (1, 12)):
        rng = np.random.default_rng(len(scene) + number)
        clean = rng.integers(20, 230, (33, 48, 3)).astype(np.uint8)
        for word, picture in (("mean", clean), ("real", np.clip(clean + rng.normal(0, 4, clean.shape), 0, 255).astype(np.uint8))):
            Image.fromarray(picture).save(root / f"Camera_5-6_160_{100 * number}_{scene}_{number}_{word}.png")
    Image.fromarray(clean).save(root / "Camera_5-6_160_100_lost_1_real.png")
    Image.fromarray(clean).save(root / "sheet.png")
    return root


def photo_config(photos: Path, **changes: Any) -> RawRgbPairsConfig:
    return RawRgbPairsConfig(root=photos, **{"crop_px": 16, "val_fraction": 0.25, "test_fraction": 0.25, **changes})


def test_pairs_of_photographs_are_linear_and_split_by_scene(photos):
    data = photo_config(photos).prepare(0)
    scenes = {phase: {name.split("_")[4] for name in names} for phase, names in data.names.items()}
    assert [len(scenes[phase]) for phase in ("train", "val", "test")] == [2, 1, 1]
    assert set().union(*scenes.values()) == {"chair", "toy", "Desk", "plant"}
    assert data.extras == {"measurement": "rgb", "iso": [100.0, 1200.0]}
    assert len(data.notes) == 2
    sample = data.splits["val"].sample(0)
    assert sample["measurement"].shape == sample["target"].shape == (3, 32, 48)  # even sides
    name = data.names["val"][0]
    truth = np.asarray(Image.open(photos / f"{name}_mean.png"))[:32]
    np.testing.assert_allclose(sample["target"].numpy(), linear(truth).transpose(2, 0, 1), atol=1e-6)
    assert (sample["planes"] == 1).all() and (sample["balance"] == 1).all() and (sample["mask"] == 1).all()
    np.testing.assert_allclose(sample["xyz_to_camera"].numpy(), XYZ_TO_SRGB, atol=1e-6)
    difference = (sample["measurement"] - sample["target"]).numpy()
    a, b = sample["noise"].tolist()
    assert np.mean(difference**2) == pytest.approx(np.mean(a * sample["target"].numpy() + b), rel=0.3)
    crop = data.splits["train"].sample(0, 5)
    assert crop["measurement"].shape == (3, 16, 16)
    assert (crop["measurement"] - crop["target"]).std() < 0.1  # cut and turned alike
    assert torch.equal(crop["target"], photo_config(photos, cache_mb=0).prepare(0).splits["train"].sample(0, 5)["target"])
    assert photo_config(photos, eval_crop_px=20).prepare(0).splits["val"].sample(0)["target"].shape == (3, 20, 20)


def test_names_of_photographs_say_scene_and_iso(photos, tmp_path):
    assert scene_and_iso("NikonD800_6-3_125_5000_plant__2") == ("plant", 5000)
    assert scene_and_iso("holiday_ISO6400_3") == ("holiday_ISO6400", 6400)
    assert scene_and_iso("x") == ("x", None)
    with pytest.raises(DataError, match="no such folder"):
        find_photo_pairs(tmp_path / "absent")
    Image.new("RGB", (8, 8)).save(tmp_path / "a_real.png")
    with pytest.raises(DataError, match="no pairs among its pictures"):
        find_photo_pairs(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a_noisy.png")
    with pytest.raises(DataError, match="the noisy picture of the same pair"):
        find_photo_pairs(tmp_path)
    (tmp_path / "a_noisy.png").unlink()
    Image.new("RGB", (8, 9)).save(tmp_path / "a_mean.png")
    for scene in "bc":
        for word in ("real", "mean"):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{scene}_{word}.png")
    data = RawRgbPairsConfig(root=tmp_path, crop_px=16, test_fraction=0.0, val_fraction=0.4).prepare(0)
    with pytest.raises(DataError, match="a pair needs one size|does not fit"):
        for phase in data.splits:
            for position in range(len(data.splits[phase])):
                data.splits[phase].sample(position, 0)


def test_noise_without_a_difference_is_none():
    clean = np.full((8, 8, 3), 0.3, np.float32)
    assert noise_of_pair(clean, clean) == (0.0, 0.0)
    assert noise_of_pair(np.ones((8, 8, 3), np.float32), np.ones((8, 8, 3), np.float32)) == (0.0, 0.0)


def test_unpacking_is_the_inverse_of_packing():
    mosaic = np.random.default_rng(0).random((6, 10)).astype(np.float32)
    np.testing.assert_array_equal(unpack_mosaic(pack_mosaic(mosaic)), mosaic)


def test_all_pairs_may_be_for_the_test():
    scenes = ["a", "a", "b"]
    rows, notes = split_scenes(scenes, [False] * 3, val_fraction=0.1, test_fraction=1.0, seed=0, where="x")
    assert rows == {"test": [0, 1, 2]} and notes
    with pytest.raises(DataError, match=r"evaluate on all of them, set data\.test_fraction=1"):
        split_scenes(scenes, [False] * 3, val_fraction=0.1, test_fraction=0.1, seed=0, where="x")
