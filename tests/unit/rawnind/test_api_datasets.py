"""Data sets from Python: batches, splits by scene, what is refused, over prepared pairs, photographs and clean pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photic.apps.rawnind import (
    DatasetConfig,
    TrainingConfig,
    create_datasets,
    create_denoiser_trainer,
    create_test_dataset,
    create_training_dataset,
    create_validation_dataset,
    prepare_dataset_splits,
    validate_dataset_format,
)
from photic.apps.rawnind.pairs.index import Crop, PairEntry, PairIndex, write_index
from photic.apps.rawnind.pairs.tiles import write_tile
from photic.core.errors import ConfigError, DataError

from .api_batches import MATRIX, in_rec2020, packed
from .raws_on_disk import drawn_light

KEYS = {"clean_images", "noisy_images", "masks", "image_paths", "rgb_xyz_matrices"}
SIDE = 28  # packed pixels of a tile


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return prepared pairs of four scenes, without noise: what went in can be told from what comes out."""
    folder = tmp_path_factory.mktemp("pairs")
    entries = []
    for number in range(4):
        light = drawn_light(number, 2 * SIDE, 2 * SIDE).transpose(2, 0, 1).astype(np.float32)
        noisy = packed(torch.from_numpy(light)[None])[0].numpy() / 2
        mask = np.ones((SIDE, SIDE), bool)
        mask[:3] = False
        names = {kind: f"tiles/{number}_{kind}.npy" for kind in ("gt", "gt_rgb", "noisy", "mask")}
        gt = packed(torch.from_numpy(light)[None])[0].numpy()
        for kind, values in (("gt", gt), ("gt_rgb", light), ("noisy", noisy)):
            write_tile(folder / names[kind], values.astype(np.float16))
        write_tile(folder / names["mask"], mask)
        crop = Crop(position=(0, 0), valid_share=float(mask.mean()), **{f"{kind}_path": path for kind, path in names.items()})
        entries.append(
            PairEntry(
                name=f"scene{number}/noisy", image_set=f"scene{number}", gt_path=f"scene{number}/gt.dng", noisy_path=f"scene{number}/n.dng",
                shift=(0, 0), loss=0.0, mask_path=names["mask"], mask_mean=float(mask.mean()), is_bayer=True,
                rgb_xyz_matrix=tuple(map(tuple, MATRIX.tolist())), overexposure=0.99, raw_gain=2.0, rgb_gain=2.0, iso=800.0,
                size=(SIDE, SIDE), noise=(1e-3, 1e-6), crops=(crop,),
            )
        )  # fmt: skip
    write_index(folder / "index.yaml", PairIndex("..", {}, tuple(entries)))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("tree", "house", "car", "dog"):
        clean = (255 * drawn_light(len(name), 40, 44)).astype(np.uint8)
        Image.fromarray(clean).save(folder / f"{name}_mean.png")
        Image.fromarray(255 - clean).save(folder / f"{name}_real.png")
    return folder


def config(root: Path, **fields) -> DatasetConfig:
    return DatasetConfig(**{"root": root, "crop_size": 32, "batch_size": 2, "num_crops_per_image": 3, "val_fraction": 0.25, **fields})


def test_bayer_batches_are_packed_and_their_targets_linear_rec2020(pairs):
    sets = create_datasets(config(pairs, test_fraction=0.25))
    assert {name: len(batches) for name, batches in sets.items()} == {"train": 3, "val": 1, "test": 1}  # 2 scenes x 3 crops by twos
    for batch in sets["train"]:
        assert set(batch) >= KEYS
        assert batch["noisy_images"].shape == (2, 4, 16, 16)
        assert batch["clean_images"].shape == (2, 3, 32, 32)
        assert batch["masks"].shape == (2, 1, 32, 32)
        assert batch["rgb_xyz_matrices"].shape == (2, 3, 3)
        assert len(batch["image_paths"]) == 2
        # Without noise a clean picture, seen by the camera, is the noisy one: same place, colours and exposure.
        camera = torch.einsum("bij,bjhw->bihw", torch.linalg.inv(to_rec2020(batch["rgb_xyz_matrices"])), batch["clean_images"].double())
        torch.testing.assert_close(packed(camera).float(), batch["noisy_images"], atol=2e-3, rtol=0)


def to_rec2020(matrices: torch.Tensor) -> torch.Tensor:
    units = torch.eye(3).view(1, 3, 3, 1).expand(len(matrices), 3, 3, 1)
    return in_rec2020(units, matrices)[..., 0]


def test_exposure_is_matched_as_it_is_told(pairs):
    means = {}
    for how in ("output", "input", "never"):
        (batch,) = create_validation_dataset(config(pairs, match_gain=how))
        means[how] = float(batch["noisy_images"].mean()), float(batch["clean_images"].mean())
    assert means["input"] == pytest.approx((2 * means["output"][0], 2 * means["output"][1]), rel=1e-3)
    assert means["never"] == pytest.approx((means["output"][0], means["input"][1]), rel=1e-3)


def test_rgb_of_raw_pairs_and_of_photographs(pairs, photos):
    (batch,) = create_validation_dataset(config(pairs, input_channels=3))
    assert batch["noisy_images"].shape == batch["clean_images"].shape == (1, 3, 2 * SIDE, 2 * SIDE)
    for given in create_training_dataset(config(photos, dataset_type="rgb_pairs", cache=True)):
        assert given["noisy_images"].shape == given["clean_images"].shape == (2, 3, 32, 32)
        assert float(given["masks"].min()) == 1
    (whole,) = create_validation_dataset(config(photos, dataset_type="rgb_pairs"))
    assert whole["clean_images"].shape == (1, 3, 40, 44)
    with pytest.raises(ConfigError, match="bayer_pairs gives 4"):
        config(pairs, dataset_type="bayer_pairs", input_channels=3)


def test_clean_pictures_get_noise(photos):
    sets = create_datasets(config(photos, dataset_type="clean_only", val_crop_size=32, test_fraction=0))
    assert set(sets) == {"train", "val"}
    batch = next(iter(sets["train"]))
    assert batch["noisy_images"].shape == (2, 4, 16, 16)
    assert float(batch["noise"].min()) > 0
    assert len(sets["train"]) == 9  # 6 pictures of 3 scenes (both of a name are one) x 3 crops by twos
    with pytest.raises(DataError, match="no test split"):
        create_test_dataset(config(photos, dataset_type="clean_only", val_crop_size=32, test_fraction=0))


def test_every_pass_has_other_crops_and_a_seed_repeats_them(pairs):
    def passes(seed: int, count: int = 2) -> list[torch.Tensor]:
        batches = create_training_dataset(config(pairs, seed=seed))
        return [torch.cat([batch["noisy_images"] for batch in batches]) for _ in range(count)]

    first, second = passes(1)
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    assert torch.equal(passes(1)[1], second)
    assert not torch.equal(passes(2)[0], first)


@pytest.mark.parametrize("cache", [False, True])
def test_validation_is_the_same_every_time(pairs, cache):
    batches = create_validation_dataset(config(pairs, cache=cache))
    first, second = ([batch["noisy_images"] for batch in batches] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_no_scene_is_on_two_sides(pairs, photos):
    for made in (config(pairs, test_fraction=0.25), config(photos, dataset_type="rgb_pairs", test_fraction=0.25)):
        parts = prepare_dataset_splits(made)
        assert set(parts) == {"train", "val", "test"}
        names = [name for part in parts.values() for name in part]
        assert len(names) == len(set(names)) == 4
    scenes = {f"{scene}{place}": scene for scene in "abcdefgh" for place in range(3)}
    parts = prepare_dataset_splits(scenes, val_fraction=0.25, test_fraction=0.25, seed=3)
    sides = [{scenes[name] for name in part} for part in parts.values()]
    assert [len(side) for side in sides] == [4, 2, 2]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    with pytest.raises(DataError, match="2 scenes cannot be split"):
        prepare_dataset_splits({"a": "x", "b": "y"})


@pytest.mark.parametrize("name", ["scene2", "scene2/noisy", "scene2/n.dng"])
def test_scenes_are_reserved_for_the_test_by_their_name_or_a_pictures(pairs, name):
    made = config(pairs, test_reserve_images=[name])
    assert prepare_dataset_splits(made)["test"] == ["scene2/noisy"]
    assert [batch["image_paths"] for batch in create_test_dataset(made)] == [["scene2/noisy"]]
    with pytest.raises(ConfigError, match="no scene or picture 'scene9'"):
        create_test_dataset(config(pairs, test_reserve_images=["scene9"]))


def test_crops_are_where_enough_counts(pairs):
    shares = [
        float(batch["masks"].mean(dim=(1, 2, 3)).min())
        for batch in create_training_dataset(config(pairs, min_valid_pixels_ratio=1.0, num_crops_per_image=20))
    ]
    assert min(shares) == 1  # three packed rows of each tile do not count


def test_trainers_take_them(pairs):
    sets = create_datasets(config(pairs))
    trainer = create_denoiser_trainer(
        "bayer_to_rgb", TrainingConfig(model_architecture="unet", filter_units=2, crop_size=32, validation_interval=3)
    )
    made = trainer.train(sets["train"], sets["val"], None, 7)
    assert made["steps_completed"] == 7
    assert trainer.validate(sets["test"])["loss"] > 0


def test_a_folder_is_checked_without_training_on_it(pairs, photos, tmp_path):
    found = validate_dataset_format(config(pairs))
    assert found
    assert (found.num_pictures, found.num_scenes, found.problems) == (4, 4, ())
    assert validate_dataset_format(config(photos, dataset_type="rgb_pairs")).valid
    assert validate_dataset_format(photos, "clean_only").num_pictures == 8
    large = validate_dataset_format(config(pairs, crop_size=64))
    assert not large
    assert "a tile of 56 x 56 pixels holds no crop of 64" in large.problems[0]
    assert "no such file" in validate_dataset_format(photos).problems[0]
    assert "no such folder" in validate_dataset_format(tmp_path / "none").problems[0]
    assert "no raw files or photographs" in validate_dataset_format(tmp_path, "clean_only").problems[0]
    with pytest.raises(ConfigError, match="dataset_type: expected one of"):
        validate_dataset_format(pairs, "bayer")


def test_damage_is_found(photos, tmp_path):
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (20, 20)).save(tmp_path / "dog_mean.png")
    (tmp_path / "car_real.png").write_bytes(b"no picture")
    problems = validate_dataset_format(config(tmp_path, dataset_type="rgb_pairs")).problems
    assert len(problems) == 2
    assert any("a pair needs one size" in text for text in problems)
    assert any("car_real.png: cannot be read" in text for text in problems)


def test_a_root_is_needed():
    with pytest.raises(ConfigError, match="DatasetConfig.root: not set"):
        create_training_dataset(DatasetConfig())
    with pytest.raises(ConfigError, match="did you mean 'batch_size'"):
        create_training_dataset({"batchsize": 2})
