"""Prepared splits: what is in them, what never is, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from photic.apps.defects.datasets import SeverstalConfig, SyntheticStripsConfig, VocConfig
from photic.core.errors import ConfigError, DataError
from photic.core.registry import datasets
from photic.data.base import PHASES
from photic.data.images import read_image, to_measurement

FLIP = {"horizontal_flip": {"probability": 1.0}}


def config(root, **fields):
    return SeverstalConfig(root=root, classes=("defect_1", "defect_2"), **fields)


def rows_of(prepared, phase):
    return [prepared.splits[phase].sample(position, 0)["index"] for position in range(len(prepared.splits[phase]))]


def test_every_picture_is_in_exactly_one_split_with_its_own_label(labelled, files):
    prepared = config(labelled).prepare(seed=0)
    assert [len(prepared.names[phase]) for phase in PHASES] == [28, 6, 6]
    assert sorted(name for names in prepared.names.values() for name in names) == [f"train_images/{row:02d}.png" for row in range(40)]
    for phase in PHASES:
        for position, name in enumerate(prepared.names[phase]):
            sample = prepared.splits[phase].sample(position, 0)
            row = int(name[-6:-4])
            assert sample["target"].tolist() == prepared.labels[phase][position].tolist() == files.labels_of(row)
            assert sample["target"].dtype == torch.float32
            assert torch.equal(sample["measurement"], to_measurement(read_image(labelled / name)))
            assert "mask" not in sample


def test_splits_are_stratified_and_depend_on_the_seed_alone(labelled):
    first, again, other = (config(labelled).prepare(seed) for seed in (0, 0, 1))
    assert first.names == again.names != other.names
    assert first.fingerprint == again.fingerprint == other.fingerprint
    for phase, share in zip(PHASES, (0.7, 0.15, 0.15), strict=True):
        assert np.abs(first.labels[phase].sum(axis=0, dtype=int) - 20 * share).max() < 1


def test_only_the_training_split_is_augmented(labelled):
    prepared = config(labelled, augment=FLIP).prepare(seed=0)
    for phase in PHASES:
        picture = to_measurement(read_image(labelled / prepared.names[phase][0]))
        expected = picture.flip(-1) if phase == "train" else picture
        assert torch.equal(prepared.splits[phase].sample(0, 0)["measurement"], expected)


def test_an_augmentation_is_switched_off_by_null_and_false(labelled):
    for off in (None, False):
        prepared = config(labelled, augment={"horizontal_flip": off}).prepare(seed=0)
        assert torch.equal(
            prepared.splits["train"].sample(0, 0)["measurement"], to_measurement(read_image(labelled / prepared.names["train"][0]))
        )


def test_masks_reach_the_augmentations_that_want_them(labelled, monkeypatch):
    seen = []

    def spy(self, sample, rng, partner):
        seen.append(sample["mask"])
        return sample

    monkeypatch.setattr("photic.data.augment.blackout.DefectBlackout.apply", spy)
    prepared = config(labelled, augment={"defect_blackout": {"probability": 1.0}}).prepare(seed=0)
    for position in range(len(prepared.splits["train"])):
        prepared.splits["train"].sample(position, 0)
    assert [mask.flatten(1).any(dim=1).tolist() for mask in seen] == (prepared.labels["train"] > 0).tolist()
    assert seen[0].dtype == torch.bool
    assert seen[0].shape == (2, 16, 24)
    assert "mask" not in prepared.splits["val"].sample(0, 0)


def test_an_augmentation_that_needs_masks_is_refused_without_them(voc_root):
    augment = {"defect_blackout": {}}
    with pytest.raises(DataError, match=r"data.augment.defect_blackout needs masks, and this set has none.*data.box_masks=true"):
        VocConfig(root=voc_root, augment=augment, group_near_duplicates=False).prepare(0)
    VocConfig(root=voc_root, augment=augment, group_near_duplicates=False, box_masks=True).prepare(0)


def test_pictures_and_masks_are_resized_only_on_request_and_small_defects_survive(labelled):
    prepared = config(labelled, image_size=(4, 6), augment={"defect_blackout": {"probability": 1.0}}).prepare(seed=0)
    plain = prepared.splits["train"].samples
    for position in range(len(plain)):
        sample = plain.sample(position, 0)
        assert sample["measurement"].shape == (3, 4, 6)
        assert sample["mask"].shape == (2, 4, 6)
        assert sample["mask"].flatten(1).any(dim=1).tolist() == prepared.labels["train"][position].astype(bool).tolist()


def test_cached_pictures_are_the_same_and_read_once(labelled):
    prepared = config(labelled, cache=True).prepare(seed=0)
    first = prepared.splits["val"].sample(0, 0)
    shutil.rmtree(labelled / "train_images")
    assert torch.equal(prepared.splits["val"].sample(0, 1)["measurement"], first["measurement"])
    with pytest.raises(DataError, match="no such file"):
        prepared.splits["val"].sample(1, 0)


def test_sample_sets_travel_to_loader_processes(labelled):
    prepared = config(labelled, augment=FLIP).prepare(seed=0)
    copy = pickle.loads(pickle.dumps(prepared.splits["train"]))
    assert torch.equal(copy.sample(3, 5)["measurement"], prepared.splits["train"].sample(3, 5)["measurement"])


def test_a_truncated_picture_is_an_error_when_read_never_a_black_one(labelled):
    prepared = config(labelled, group_near_duplicates=False).prepare(seed=0)
    path = labelled / prepared.names["test"][0]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=rf"{path.name}: damaged or truncated"):
        prepared.splits["test"].sample(0, 0)
    assert prepared.splits["test"].sample(1, 0)["measurement"].max() > 0


def test_a_truncated_jpeg_is_refused_while_near_duplicates_are_looked_for(voc_root):
    path = next((voc_root / "train" / "images" / "a").glob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"{path.name}: damaged or truncated"):
        VocConfig(root=voc_root).prepare(0)


def test_a_picture_that_changes_its_size_after_preparation_is_refused(labelled, files):
    prepared = config(labelled).prepare(seed=0)
    files.write_picture(labelled / prepared.names["val"][0], 0, (16, 16))
    with pytest.raises(DataError, match="16x16 pixels, but 16x24 when the set was prepared"):
        prepared.splits["val"].sample(0, 0)


def test_mixed_sizes_are_refused_with_the_count_of_each(kaggle, files):
    files.write_picture(kaggle / "train_images" / "03.png", 3, (20, 24))
    with pytest.raises(DataError, match=r"2 sizes: 39 of 16x24, 1 of 20x24 .*03.png\); .*data.image_size=\[16,24\]"):
        config(kaggle).prepare(0)
    prepared = config(kaggle, image_size=(16, 24)).prepare(0)
    shapes = {prepared.splits[phase].sample(p, 0)["measurement"].shape for phase in PHASES for p in range(len(prepared.names[phase]))}
    assert shapes == {(3, 16, 24)}


def test_near_duplicates_stay_in_one_split(labelled, files):
    for row in range(0, 40, 4):  # rows 0, 4, 8, ... are one picture, slightly brighter each time
        level = np.random.default_rng(0).integers(20, 200, files.size) + row // 2
        Image.fromarray(level.astype(np.uint8)).save(labelled / "train_images" / f"{row:02d}.png")
    prepared = config(labelled).prepare(seed=0)
    where = [phase for phase in PHASES for name in prepared.names[phase] if int(name[-6:-4]) % 4 == 0]
    assert len(set(where)) == 1
    assert prepared.notes[0] == "near-duplicates stay in one split: 10 pictures in 1 groups"
    assert "positives are at most" in prepared.notes[1]
    free = config(labelled, group_near_duplicates=False).prepare(seed=0)
    assert len({phase for phase in PHASES for name in free.names[phase] if int(name[-6:-4]) % 4 == 0}) == 3


def test_objects_are_given_where_every_mask_is_known(labelled, files):
    prepared = config(labelled).prepare(seed=0)
    assert prepared.objects["train"].shape == prepared.labels["train"].shape
    header, *rows = files.read_csv(labelled / "train.csv")
    files.write_csv(labelled / "train.csv", [header, *rows[1:]])
    partial = config(labelled).prepare(seed=0)
    assert partial.objects == {}
    assert any("no mask" in note for note in partial.notes)


def test_the_fingerprint_changes_with_labels_and_files(labelled, files):
    before = config(labelled).prepare(0).fingerprint
    files.change_row(labelled / "labels.csv", 3, defect_1=1)
    relabelled = config(labelled).prepare(0).fingerprint
    files.write_picture(labelled / "train_images" / "03.png", 1003)
    with (labelled / "train_images" / "03.png").open("ab") as handle:
        handle.write(b"x")
    assert len({before, relabelled, config(labelled).prepare(0).fingerprint}) == 3


# --- saved splits and folds -----------------------------------------------------------------------


def test_a_saved_split_is_used_again_whatever_the_seed(labelled, tmp_path):
    prepared = config(labelled).prepare(seed=0)
    path = tmp_path / "split.json"
    path.write_text(json.dumps(prepared.names))
    again = config(labelled, split_file=path).prepare(seed=7)
    assert again.names == prepared.names
    assert all(np.array_equal(again.labels[phase], prepared.labels[phase]) for phase in PHASES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda split: split["val"].append("train_images/gone.png"),
            r"'train_images/gone.png' \(val\) is not in the data \(1 such names\)",
        ),
        (lambda split: split["val"].append(split["train"][0]), "is in train and again in val; a picture belongs to one split"),
        (lambda split: split.pop("test"), "expected lists of names under train, val, test"),
        (lambda split: split["val"].clear(), "the val split is empty"),
    ],
)
def test_a_saved_split_that_does_not_fit_is_refused(labelled, tmp_path, change, message):
    split = {phase: list(names) for phase, names in config(labelled).prepare(seed=0).names.items()}
    change(split)
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    with pytest.raises(DataError, match=message):
        config(labelled, split_file=path).prepare(0)


def test_pictures_outside_a_saved_split_are_left_out_and_noted(labelled, tmp_path):
    split = dict(config(labelled).prepare(seed=0).names)
    split["train"] = split["train"][1:]
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    assert "1 pictures are in no split of split.json and are left out" in config(labelled, split_file=path).prepare(0).notes


def test_a_split_file_that_is_missing_or_no_json_is_refused(labelled, tmp_path):
    with pytest.raises(DataError, match="absent.json: no such file"):
        config(labelled, split_file=tmp_path / "absent.json").prepare(0)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="bad.json: not JSON that can be read"):
        config(labelled, split_file=tmp_path / "bad.json").prepare(0)


def test_folds_test_every_picture_once_and_never_tune_on_it(labelled):
    folds = [config(labelled, num_folds=5, fold=fold).prepare(seed=0) for fold in range(5)]
    tested = [name for fold in folds for name in fold.names["test"]]
    assert sorted(tested) == [f"train_images/{row:02d}.png" for row in range(40)]
    for fold in folds:
        assert [len(fold.names[phase]) for phase in PHASES] == [24, 8, 8]
        assert len({name for names in fold.names.values() for name in names}) == 40


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fold": 1}, "severstal.fold: 1 without folds; set num_folds"),
        ({"num_folds": 5, "fold": 5}, "severstal.fold: expected 0 to 4"),
        ({"num_folds": 5, "split_file": "split.json"}, "severstal.num_folds: a split is given by split_file already"),
        ({"split_strategy": "stratifed_70_15_15"}, "unknown strategy 'stratifed_70_15_15'; did you mean 'stratified_70_15_15'"),
        ({"image_size": (0, 10)}, "severstal.image_size: expected height and width of at least 1"),
        ({"augment": {"horizontal_flop": {}}}, "unknown augmentation 'horizontal_flop'; did you mean 'horizontal_flip'"),
    ],
)
def test_impossible_settings_are_refused_before_any_file_is_read(fields, message):
    with pytest.raises((ConfigError, LookupError), match=message):
        SeverstalConfig(**fields)


def test_the_fixed_strategy_without_a_given_split_says_what_to_set(labelled):
    with pytest.raises(DataError, match="split_strategy=fixed: .* set data.split_file"):
        config(labelled, split_strategy="fixed").prepare(0)


# --- splits that cannot be learned from -------------------------------------------------------------


def test_a_class_without_positives_is_refused_by_name(labelled, files):
    for row in range(40):
        files.change_row(labelled / "labels.csv", row, defect_2=0)
    (labelled / "train.csv").unlink()
    with pytest.raises(DataError, match="class 'defect_2': no positive sample among 40"):
        config(labelled).prepare(0)


def test_a_training_split_without_a_class_is_refused(labelled, tmp_path):
    split = {"train": [], "val": [], "test": []}
    for row in range(40):  # rows 1, 5, 9 ... and clean ones to train: class 2 only outside
        split["train" if row % 4 in (1, 3) else "val" if row < 20 else "test"].append(f"train_images/{row:02d}.png")
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    with pytest.raises(DataError, match=r"the train split has 0 positives of class 'defect_2' among 20 pictures \(20 among all 40\)"):
        config(labelled, split_file=path).prepare(0)


def test_a_validation_split_of_one_kind_is_refused(labelled, tmp_path):
    split = {"train": [], "val": [], "test": []}
    for row in range(40):
        split["val" if row % 4 == 3 and row < 20 else "test" if row > 30 else "train"].append(f"train_images/{row:02d}.png")
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    with pytest.raises(DataError, match="the val split has one kind of picture only"):
        config(labelled, split_file=path).prepare(0)


def test_problems_of_the_layout_stop_preparation(kaggle, files):
    files.change_row(kaggle / "train.csv", 0, EncodedPixels="380 9")
    with pytest.raises(DataError, match="line 2: mask of class 1 on '00.png': run 1"):
        config(kaggle).prepare(0)


# --- drawn strips ---------------------------------------------------------------------------------


def test_drawn_strips_are_prepared_like_any_set():
    prepared = SyntheticStripsConfig(num_samples=120, augment={"defect_blackout": {"probability": 0.5}}).prepare(seed=0)
    assert prepared.classes == ("scratches", "patches", "inclusions", "pits")
    assert [len(prepared.names[phase]) for phase in PHASES] == [84, 18, 18]
    sample = prepared.splits["train"].samples.sample(0, 0)
    assert sample["measurement"].shape == (3, 64, 400)
    assert sample["mask"].shape == (4, 64, 400)
    assert np.array_equal(prepared.objects["train"] > 0, prepared.labels["train"] > 0)
    again = SyntheticStripsConfig(num_samples=120).prepare(seed=0)
    assert again.names == prepared.names
    assert again.fingerprint == prepared.fingerprint != SyntheticStripsConfig(num_samples=120).prepare(seed=1).fingerprint


def test_the_datasets_are_registered_under_their_names():
    assert {"severstal", "label_csv", "class_folders", "voc", "synthetic_strips"} <= set(datasets.names())
    chosen = datasets.configure("severstal", root="somewhere", augment={"rotation": {"degrees": 5.0}})
    assert isinstance(chosen, SeverstalConfig)
    assert type(chosen).from_dict(chosen.to_dict()) == chosen
