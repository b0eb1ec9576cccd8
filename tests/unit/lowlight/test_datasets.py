"""Pairs as training data: what a sample is, what is cut and turned alike, what stays whole, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.lowlight import samples
from photic.apps.lowlight.datasets import LowLightGeneratedConfig, LowLightPairsConfig
from photic.apps.lowlight.samples import PairCrops, PairFiles, WholePairs
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import ConfigError, DataError
from photic.data.base import PreparedData
from photic.data.images import to_measurement, write_image
from photic.data.loader import ExactLoader, evaluation_batches
from photic.data.photo.files import Photo, write_photo
from photic.functional.overview import overview

SIZE = (40, 56)
NUM = 12


def marked(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture each of whose pixels tells its number and its place."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([np.full(size, 10 * number), 4 * rows, 4 * columns], axis=2).astype(np.uint8)


def folder_of(root: Path, num: int = NUM, sizes: dict[int, tuple[int, int]] | None = None) -> Path:
    for number in range(num):
        high = marked(number, (sizes or {}).get(number, SIZE))
        write_image(root / "low" / f"{number:02d}.png", high // 2)
        write_image(root / "high" / f"{number:02d}.png", high)
    return root


def prepared(root: Path, seed: int = 0, **fields: Any) -> PreparedData:
    chosen: dict[str, Any] = {"crop_px": 16, "val_fraction": 0.25, "group_near_duplicates": False} | fields
    return LowLightPairsConfig(root=root, **chosen).prepare(seed)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("pairs"))


def test_a_sample_is_what_is_promised(root: Path) -> None:
    data = prepared(root)
    assert {phase: len(part) for phase, part in data.splits.items()} == {"train": 9, "val": 3}
    for phase, size in (("train", (16, 16)), ("val", SIZE)):
        for position in range(len(data.splits[phase])):
            sample = data.splits[phase].sample(position, 5)
            assert set(sample) == {"measurement", "target", "has_target", "overview", "index", "name"}
            assert sample["measurement"].shape == sample["target"].shape == (3, *size)
            assert sample["measurement"].dtype == sample["target"].dtype == sample["overview"].dtype == torch.float32
            assert sample["overview"].shape == (3, 64, 64)
            assert sample["has_target"].dtype == torch.bool and bool(sample["has_target"])
            assert sample["name"] == f"{sample['index']:02d}" == data.names[phase][position]
    assert data.extras == {"num_pairs": 12, "num_unpaired": 0, "has_targets": True, "crop_px": 16}


def test_validation_sees_whole_unchanged_pictures(root: Path) -> None:
    data = prepared(root)
    for position, name in enumerate(data.names["val"]):
        sample = data.splits["val"].sample(position, 7)
        assert torch.equal(sample["target"], to_measurement(marked(int(name))))
        assert torch.equal(sample["measurement"], to_measurement(marked(int(name)) // 2))
        torch.testing.assert_close(sample["overview"], overview(sample["measurement"]))


def test_crop_and_truth_are_cut_and_turned_alike_and_the_overview_with_them(root: Path) -> None:
    data, ways, places = prepared(root), set(), set()
    for draw in range(60):
        for position, name in enumerate(data.names["train"][:3]):
            sample = data.splits["train"].sample(position, draw)
            target = (sample["target"] * 255).round().to(torch.int64)
            assert torch.equal((sample["measurement"] * 255).round().to(torch.int64), target // 2)
            assert (target[0] == 10 * int(name)).all()
            rows, columns = target[1] // 4, target[2] // 4  # where each pixel was
            down = int(rows[1, 0] - rows[0, 0]), int(columns[1, 0] - columns[0, 0])
            across = int(rows[0, 1] - rows[0, 0]), int(columns[0, 1] - columns[0, 0])
            assert sorted([sum(map(abs, down)), sum(map(abs, across))]) == [1, 1]
            ways.add((down, across))
            places.add((int(rows.min()), int(columns.min())))
            # The overview, turned alike, brightens along the same axes of the picture, in the same directions.
            small = sample["overview"]
            for channel, steps in ((1, (down[0], across[0])), (2, (down[1], across[1]))):
                ahead = small[channel, -8:].mean() - small[channel, :8].mean(), small[channel, :, -8:].mean() - small[channel, :, :8].mean()
                assert tuple(np.sign(np.round([float(value) for value in ahead], 2))) == steps
    assert len(ways) == 8
    assert len(places) > 50


def test_switches_of_flips_and_rotations(root: Path) -> None:
    data = prepared(root, flips=False, rotations=False)
    for draw in range(10):
        target = (data.splits["train"].sample(0, draw)["target"] * 255).round().to(torch.int64)
        assert int(target[1, 1, 0] - target[1, 0, 0]) == 4 and int(target[2, 0, 1] - target[2, 0, 0]) == 4


def test_samples_are_addressed_and_workers_change_nothing(root: Path) -> None:
    first, again, other = (prepared(root, seed=seed).splits["train"] for seed in (0, 0, 1))
    places = [(position, draw) for position in range(4) for draw in range(3)]
    forwards = [first.sample(*place)["measurement"] for place in places]
    backwards = [again.sample(*place)["measurement"] for place in reversed(places)]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert not all(torch.equal(a, other.sample(*place)["measurement"]) for a, place in zip(forwards, places, strict=True))
    streams = []
    for workers, start in ((0, 0), (2, 0), (0, 3)):
        loader = ExactLoader(prepared(root).splits["train"], batch_size=4, seed=0, num_workers=workers)
        loader.load_state_dict({"position": start})
        stream = iter(loader)
        streams.append([next(stream) for _ in range(6 - start)])
        loader.close()
    for number in range(6):
        assert torch.equal(streams[0][number]["measurement"], streams[1][number]["measurement"])
        assert streams[0][number]["name"] == streams[1][number]["name"]
    for number in range(3, 6):
        assert torch.equal(streams[0][number]["target"], streams[2][number - 3]["target"])


def test_the_runs_seed_does_not_move_the_split_and_the_split_seed_does(root: Path) -> None:
    assert prepared(root, seed=0).names == prepared(root, seed=1).names
    assert prepared(root, split_seed=1).names != prepared(root).names
    assert prepared(root, split_seed=1).fingerprint == prepared(root).fingerprint


def test_a_saved_split_is_used_again(root: Path, tmp_path: Path) -> None:
    data = prepared(root, split_seed=3, test_fraction=0.25)
    assert [len(data.names[phase]) for phase in ("train", "val", "test")] == [6, 3, 3]
    (tmp_path / "split.json").write_text(json.dumps(dict(data.names)))
    assert prepared(root, split_file=tmp_path / "split.json").names == data.names


def test_a_picture_comes_several_times_an_epoch_each_time_otherwise(root: Path) -> None:
    data = prepared(root, crops_per_picture=3)
    train = data.splits["train"]
    assert len(train) == 27 and len(data.names["train"]) == 9
    assert train.sample(2, 0)["name"] == train.sample(11, 0)["name"]
    assert not torch.equal(train.sample(2, 0)["measurement"], train.sample(11, 0)["measurement"])


def test_crops_are_never_larger_than_the_smallest_training_picture(tmp_path: Path) -> None:
    folder_of(tmp_path, sizes=dict.fromkeys(range(NUM), (30, 60)))
    data = prepared(tmp_path, crop_px=256)
    assert data.extras["crop_px"] == 24
    assert data.splits["train"].sample(0, 0)["target"].shape == (3, 24, 24)
    assert data.notes == ("training crops are 24 pixels wide instead of 256: the shortest side of the training pictures is 30",)


def test_pictures_of_several_sizes_stack_as_crops_and_come_one_by_one_whole(tmp_path: Path) -> None:
    folder_of(tmp_path, sizes={number: (40 + 4 * number, 56) for number in range(NUM)})
    config = LowLightPairsConfig(root=tmp_path, crop_px=32, val_fraction=0.25, group_near_duplicates=False)
    assert config.eval_batch_size == 1
    data = config.prepare(0)
    assert next(iter(ExactLoader(data.splits["train"], batch_size=4, seed=0)))["measurement"].shape == (4, 3, 32, 32)
    shapes = {tuple(batch["measurement"].shape) for batch in evaluation_batches(data.splits["val"], 1)}
    assert len(shapes) == 3
    with pytest.raises(DataError, match=r"'measurement' has different shapes(.|\n)*data\.eval_batch_size=1"):
        list(evaluation_batches(data.splits["val"], 3))
    whole = prepared(tmp_path, crop_px=None)
    assert whole.splits["train"].sample(0, 0)["target"].shape[2] == 56
    with pytest.raises(DataError, match=r"data\.batch_size=1"):
        next(iter(ExactLoader(whole.splits["train"], batch_size=4, seed=0)))


def test_crops_are_refused_by_evaluation(root: Path) -> None:
    with pytest.raises(ConfigError, match="the samples are augmented"):
        evaluation_batches(prepared(root).splits["train"], 1)
    plain = prepared(root).splits["train"].samples
    assert isinstance(plain, WholePairs) and plain.sample(0)["target"].shape == (3, *SIZE)


def test_dark_pictures_without_truth_are_mixed_into_training_alone(root: Path, tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / f"dark{number}.png", marked(number, (36, 60)) // 3)
    data = prepared(root, unpaired_root=tmp_path)
    assert len(data.names["train"]) == 14 and len(data.names["val"]) == 3
    assert data.names["train"][-5:] == [f"unpaired/dark{number}" for number in range(5)]
    assert (data.extras["num_pairs"], data.extras["num_unpaired"], data.extras["has_targets"]) == (12, 5, True)
    assert "5 dark pictures without truth are mixed into training" in data.notes
    batches = iter(ExactLoader(data.splits["train"], batch_size=7, seed=0))
    seen = []
    for _ in range(2):
        batch = next(batches)
        assert batch["has_target"].tolist() == [not name.startswith("unpaired/") for name in batch["name"]]
        assert not batch["target"][~batch["has_target"]].any() and batch["target"][batch["has_target"]].any()
        seen += batch["has_target"].tolist()
    assert seen.count(False) == 5
    (tmp_path / "split.json").write_text(json.dumps(dict(data.names)))
    assert prepared(root, unpaired_root=tmp_path, split_file=tmp_path / "split.json").names == data.names
    with pytest.raises(DataError, match=r"data\.unpaired_root: .*no such folder"):
        prepared(root, unpaired_root=tmp_path / "nothing")


def test_dark_pictures_alone_have_no_targets_anywhere(root: Path) -> None:
    data = prepared(root / "low", pairing="none")
    assert data.extras["has_targets"] is False and data.extras["num_pairs"] == 0 and data.extras["num_unpaired"] == 12
    sample = data.splits["val"].sample(0, 0)
    assert not sample["has_target"] and not sample["target"].any() and sample["measurement"].any()


def test_faulty_files_are_refused_or_left_out_and_counted(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "high/03.png").unlink()
    (tmp_path / "low/04.png").write_bytes((tmp_path / "low/04.png").read_bytes()[:20])
    write_image(tmp_path / "high/05.png", marked(5, (40, 50)))
    with pytest.raises(DataError) as caught:
        prepared(tmp_path)
    message = str(caught.value)
    assert "3 problems with the pictures" in message
    assert "low/03.png: no true picture of that name in high/" in message
    assert "04.png" in message and "damaged or truncated" in message
    assert f"pair '05': {tmp_path / 'low/05.png'} is 56 x 40 pixels, {tmp_path / 'high/05.png'} is 50 x 40; a pair needs one" in message
    data = prepared(tmp_path, faulty="skip")
    assert sum(map(len, data.names.values())) == 9
    assert "3 faulty files or pairs were left out" in data.notes


def test_a_file_that_breaks_later_is_named(tmp_path: Path) -> None:
    data = prepared(folder_of(tmp_path))
    name = data.names["val"][0]
    file = tmp_path / "low" / f"{name}.png"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=f"{name}.png: damaged or truncated"):
        data.splits["val"].sample(0, 0)


def test_deep_pictures_keep_what_8_bits_would_lose(tmp_path: Path) -> None:
    dark = (np.arange(SIZE[0] * SIZE[1] * 3) % 400).reshape(*SIZE, 3).astype(np.uint16)  # less than two levels of 8 bits
    for number in range(6):
        write_photo(tmp_path / "low" / f"{number}.png", Photo(dark))
        write_photo(tmp_path / "high" / f"{number}.tif", Photo(dark * 100 + np.uint16(number)))
    sample = prepared(tmp_path, val_fraction=0.3).splits["val"].sample(0, 0)
    assert torch.equal(sample["measurement"], torch.from_numpy(dark.astype(np.float32).transpose(2, 0, 1) / 65535))
    assert len(sample["measurement"].unique()) == 400


def test_decoded_pictures_are_kept_within_the_budget(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    read = samples.read_photo
    monkeypatch.setattr(samples, "read_photo", lambda path: decoded.append(path.name) or read(path))
    table, _ = LowLightPairsConfig(root=root).read_table()
    pair_mb = 2 * SIZE[0] * SIZE[1] * 3 / 2**20
    for budget, kept in ((1000.0, NUM), (0.0, 0), (3.5 * pair_mb, 3)):
        decoded.clear()
        files = PairFiles(table.pairs, budget)
        pictures = [files.pictures(row) for _ in range(3) for row in range(NUM)]
        assert len(decoded) == 2 * (NUM + 2 * (NUM - kept))
        assert all(np.array_equal(pictures[row][0], pictures[row + NUM][0]) for row in range(NUM))
        decoded.clear()
        overviews = [files.overview(row) for _ in range(3) for row in range(NUM)]
        assert len(decoded) == 2 * (NUM - kept)  # an overview is made once
        assert overviews[0] is overviews[NUM]


def test_settings_out_of_range_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"lowlight_pairs\.val_fraction: 0\.6 and test_fraction 0\.4 leave no training"):
        LowLightPairsConfig(root=root, val_fraction=0.6, test_fraction=0.4)
    with pytest.raises(ConfigError, match="crop_px"):
        LowLightPairsConfig(root=root, crop_px=4)
    with pytest.raises(DataError, match=r"data\.root is not set"):
        LowLightPairsConfig().prepare(0)


def test_generated_pairs_are_dark_noisy_versions_of_their_truth() -> None:
    data = LowLightGeneratedConfig(num_samples=12, size_px=48, crop_px=32, val_fraction=0.25).prepare(0)
    assert isinstance(data.splits["train"], PairCrops)
    assert LowLightGeneratedConfig(num_samples=12, size_px=48, crop_px=32, val_fraction=0.25).prepare(5).names == data.names
    assert LowLightGeneratedConfig(num_samples=12, size_px=48, crop_px=32, seed=1).prepare(0).fingerprint != data.fingerprint
    for position in range(3):
        sample = data.splits["val"].sample(position, 0)
        assert sample["measurement"].mean() < 0.4 * sample["target"].mean()
        assert torch.equal(sample["measurement"], sample["measurement"].mul(255).round().div(255))  # 8 bits


def test_drawn_pairs_depend_on_their_address_alone_and_grow_noisier_in_the_dark() -> None:
    pairs = [draw_pair(0, index, 64, 64) for index in range(20)]
    assert all(np.array_equal(a, b) for a, b in zip(pairs[7], draw_pair(0, 7, 64, 64), strict=True))
    assert not np.array_equal(pairs[7][1], pairs[8][1])
    assert not np.array_equal(draw_pair(1, 7, 64, 64)[1], pairs[7][1])
    low, high = (np.stack([pair[side] for pair in pairs]).astype(float) for side in (0, 1))
    assert 5 < low.mean() < 40
    assert 80 < high.mean() < 170
    assert (high.max(axis=-1) - high.min(axis=-1)).mean() > 25  # coloured
    assert draw_pair(0, 0, 20, 70)[0].shape == (20, 70, 3)
