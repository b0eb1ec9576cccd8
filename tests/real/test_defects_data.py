"""The defects application's readers on the real sets."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

from photic.apps.defects import check
from photic.apps.defects.datasets import ClassFoldersConfig, LabelCsvConfig, SeverstalConfig, VocConfig
from photic.apps.defects.rle import encode, fill, num_objects, parse_runs
from photic.data.base import PHASES
from photic.data.images import list_images
from photic.data.near_duplicates import near_duplicate_groups

pytestmark = pytest.mark.real


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def severstal(real_data):
    return real_data / "defects" / "severstal"


@pytest.fixture(scope="module")
def neu(real_data):
    return real_data / "defects" / "neu_det"


def test_the_105_strips_have_the_labels_of_the_label_table(severstal):
    table = SeverstalConfig(root=severstal).read_table()
    expected = rows_of(severstal / "labels.csv")
    assert table.problems == ()
    assert len(table.names) == len(expected) == 105
    assert table.names == tuple(row["file"] for row in expected)
    assert sum(name.endswith(".png") for name in table.names) == 12
    assert table.labels.tolist() == [[int(row[name]) for name in table.classes] for row in expected]
    assert set(table.sizes) == {(256, 1600)}
    assert len(table.runs) == 75
    assert table.unmasked() == 15


def test_areas_and_objects_of_the_masks_equal_the_complete_table(severstal):
    table = SeverstalConfig(root=severstal).read_table()
    complete = {row["image_id"]: row for row in rows_of(severstal / "all_labels.csv")}
    ids = [row["image_id"] for row in rows_of(severstal / "labels.csv")]
    for (row, column), runs in table.runs.items():
        mask = fill(runs, 256, 1600)
        known = complete[ids[row]]
        assert int(mask.sum()) == table.area_px(row, column) == int(known[f"area_{column + 1}"])
        assert num_objects(mask) == int(known[f"n_objects_{column + 1}"])


def test_the_run_lengths_survive_decoding_and_encoding(severstal):
    for row in rows_of(severstal / "train.csv"):
        mask = fill(parse_runs(row["EncodedPixels"], 256, 1600), 256, 1600)
        assert encode(mask) == row["EncodedPixels"]


def test_the_strips_are_read_at_their_native_size_in_every_split(severstal):
    prepared = SeverstalConfig(root=severstal).prepare(seed=0)
    assert [len(prepared.names[phase]) for phase in PHASES] == [73, 16, 16]
    for phase in PHASES:
        sample = prepared.splits[phase].sample(0, 0)
        assert sample["measurement"].shape == (3, 256, 1600)
        assert 0 <= sample["measurement"].min() < sample["measurement"].max() <= 1
    assert prepared.objects == {}
    assert any("15 of 90 positive labels have no mask" in note for note in prepared.notes)


def test_neu_det_annotations_folders_and_csv_agree(neu):
    from_xml = VocConfig(root=neu).read_table()
    from_csv = LabelCsvConfig(root=neu, images="NEU-DET").read_table()
    folders = ClassFoldersConfig(root=neu / "NEU-DET" / "train" / "images").read_table()
    assert from_xml.problems == from_csv.problems == folders.problems == ()
    assert from_xml.classes == from_csv.classes == folders.classes
    assert len(from_xml.names) == 720
    by_name = {name: from_csv.labels[row].tolist() for row, name in enumerate(from_csv.names)}
    assert {name.removeprefix("NEU-DET/"): from_xml.labels[row].tolist() for row, name in enumerate(from_xml.names)} == by_name
    assert folders.labels.sum(axis=0).tolist() == [120] * 6
    assert from_xml.labels.sum() > 720  # some pictures carry more than the class of their folder


def test_neu_det_is_stratified_within_a_sample(neu):
    prepared = VocConfig(root=neu).prepare(seed=0)
    total = sum(prepared.labels[phase].sum(axis=0, dtype=int) for phase in PHASES)
    for phase, share in zip(PHASES, (0.7, 0.15, 0.15), strict=True):
        assert np.abs(prepared.labels[phase].sum(axis=0, dtype=int) - share * total).max() < 1


@pytest.mark.parametrize("folder", ["severstal", "neu_det"])
def test_different_real_pictures_are_not_taken_for_near_duplicates(real_data, folder):
    paths = list_images(real_data / "defects" / folder)
    start = time.perf_counter()
    groups = near_duplicate_groups(paths)
    assert groups.max() + 1 == len(paths) > 100
    assert (time.perf_counter() - start) / len(paths) < 0.02


@pytest.mark.parametrize("folder", ["severstal", "neu_det"])
def test_check_finds_no_problem_in_the_real_sets(real_data, folder, capsys):
    assert check.main([str(real_data / "defects" / folder)]) == 0
    assert "no problems" in capsys.readouterr().out
