"""What every registered dataset keeps to once it is prepared: pictures with labels, scans, dark and true pictures, raw pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.lowlight.datasets import LowLightDataConfig
from photic.apps.ptycho.datasets import GroupedScanConfig
from photic.apps.ptycho.raw import save_raw_npz
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.rawnind.pairs.index import Crop, PairEntry, PairIndex, write_index
from photic.apps.rawnind.pairs.pair_datasets import RawPairsConfig
from photic.apps.rawnind.pairs.tiles import write_tile
from photic.apps.rawnind.synthetic.synthetic_data import SyntheticRawConfig
from photic.core.errors import ConfigError
from photic.core.registry import datasets
from photic.core.schema import field_types
from photic.data.base import PHASES, DataConfig, PreparedData
from photic.data.loader import evaluation_batches

NUM, HEIGHT, WIDTH = 120, 32, 64
NUM_RAW = 24
SIZE_PX = 16


def labels_of(row: int) -> list[int]:
    """Two classes: the first in half of the pictures, the second in a third."""
    return [int(row % 2 == 0), int(row % 3 == 0)]


def write_picture(path: Path, row: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(row).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)).save(path)


def write_rows(path: Path, rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def kaggle(root: Path) -> dict[str, Any]:
    rows: list[list[Any]] = [["ImageId", "ClassId", "EncodedPixels"]]
    for row in range(NUM):
        write_picture(root / "train_images" / f"{row:03d}.png", row)
        rows += [[f"{row:03d}.png", number, f"{1 + 40 * number} 9"] for number in (1, 2) if labels_of(row)[number - 1]]
    write_rows(root / "train.csv", rows)
    return {"classes": ["defect_1", "defect_2"]}


def table(root: Path) -> dict[str, Any]:
    for row in range(NUM):
        write_picture(root / f"{row:03d}.png", row)
    write_rows(root / "labels.csv", [["file", "scratch", "dent"], *([f"{row:03d}.png", *labels_of(row)] for row in range(NUM))])
    return {}


def folders(root: Path) -> dict[str, Any]:
    for row in range(NUM):
        write_picture(root / ("scratch", "dent", "good")[row % 3] / f"{row:03d}.png", row)
    return {"clean_folder": "good"}


def annotations(root: Path) -> dict[str, Any]:
    (root / "annotations").mkdir(parents=True)
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>17</ymax></bndbox>"
    for row in range(NUM):
        write_picture(root / "images" / f"{row:03d}.png", row)
        names = [name for name, present in zip(("scratch", "dent"), labels_of(row), strict=True) if present]
        objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in names)
        (root / "annotations" / f"{row:03d}.xml").write_text(f"<annotation><filename>{row:03d}.png</filename>{objects}</annotation>")
    return {}


def scans(root: Path) -> dict[str, Any]:
    """Write one scan in two files, and a third to test on."""
    scan = generated_scan(num_positions=NUM, size_px=SIZE_PX, probe_diameter_px=7.0, step_px=2.0)
    parts = {"a": slice(0, 50), "b": slice(50, 100), "test": slice(100, NUM)}
    files = {name: str(save_raw_npz(root / f"{name}.npz", scan.take(np.arange(NUM)[rows]))) for name, rows in parts.items()}
    return {"path": [files["a"], files["b"]], "test_path": files["test"]}


def pairs(root: Path) -> dict[str, Any]:
    """Write dark and true pictures of noise, in colour."""
    from PIL import Image

    for row in range(NUM):
        bright = np.random.default_rng(row).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for kind, picture in (("low", bright // 4 + 1), ("high", bright)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / kind / f"{row:03d}.png")
    return {}


def prepared_raws(root: Path) -> dict[str, Any]:
    """Write an index with a tile per pair of raw pictures, two pairs per scene."""
    entries = []
    for row in range(NUM_RAW):
        rng, crop = np.random.default_rng(row), Crop((0, 0), 1.0, f"{row}_gt.npy", f"{row}_rgb.npy", f"{row}_noisy.npy", f"{row}_mask.npy")
        for path, shape in ((crop.gt_path, (4, 24, 32)), (crop.gt_rgb_path, (3, 48, 64)), (crop.noisy_path, (4, 24, 32))):
            write_tile(root / path, rng.uniform(0, 1, shape).astype(np.float32))
        write_tile(root / crop.mask_path, np.ones((24, 32), bool))
        common = {"shift": (0, 0), "loss": 0.0, "mask_path": "", "mask_mean": 1.0, "is_bayer": True, "rgb_xyz_matrix": None}
        gains = {"overexposure": 1.0, "raw_gain": 2.0, "rgb_gain": 2.0, "iso": 800.0, "size": (24, 32), "crops": (crop,)}
        entries.append(PairEntry(name=f"{row}", image_set=f"{row // 2}", gt_path="", noisy_path=f"{row}", **common, **gains))
    write_index(root / "index.yaml", PairIndex(".", {}, tuple(entries), (), root))
    return {}


def photographs(root: Path) -> dict[str, Any]:
    """Write clean photographs, each of another scene."""
    for row in range(NUM_RAW):
        write_picture(root / f"{'abcdefghijklmnopqrstuvwxyz'[row]}.png", row)
    return {}


def noisy_photographs(root: Path) -> dict[str, Any]:
    """Write noisy and clean photographs, two pairs per scene."""
    for row in range(NUM_RAW):
        for seed, word in enumerate(("real", "mean")):
            write_picture(root / f"Camera_4_100_{800 * (1 + row % 2)}_thing{row // 2}_{row}_{word}.png", 2 * row + seed)
    return {}


# How to lay out a small set for each dataset that reads files: writes into a folder and returns the fields it needs.
# A new dataset that reads files adds its own.
FILES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "severstal": kaggle,
    "label_csv": table,
    "class_folders": folders,
    "voc": annotations,
    "ptycho_scan": scans,
    "lowlight_pairs": pairs,
    "rawnind_pairs": prepared_raws,
    "raw_rgb_pairs": noisy_photographs,
    "raw_synthetic": photographs,
}
SMALL = {
    "num_samples": NUM, "height": HEIGHT, "width": WIDTH, "size_px": SIZE_PX, "probe_diameter_px": 7.0, "step_px": 2.0,
    "test_fraction": 0.2, "crop_px": 8,
}  # fmt: skip
NAMES = datasets.names()
SCANS = [name for name in NAMES if issubclass(datasets.config_class(name), GroupedScanConfig)]
PAIRS = [name for name in NAMES if issubclass(datasets.config_class(name), LowLightDataConfig)]
RAWS = [name for name in NAMES if issubclass(datasets.config_class(name), SyntheticRawConfig | RawPairsConfig)]
SMALL_RAWS = {
    "crop_px": 16, "eval_crop_px": 32, "size_px": 32, "num_samples": NUM_RAW, "crops_per_picture": 1, "val_fraction": 0.2,
    "test_fraction": 0.2,
}  # fmt: skip
PICTURES = [name for name in NAMES if name not in (*SCANS, *PAIRS, *RAWS)]
every_set_of_raws = pytest.mark.parametrize("fields", RAWS, indirect=True, scope="module")
every_set_of_pairs = pytest.mark.parametrize("fields", PAIRS, indirect=True, scope="module")
every_scan = pytest.mark.parametrize("fields", SCANS, indirect=True, scope="module")
every_set_of_pictures = pytest.mark.parametrize("fields", PICTURES, indirect=True, scope="module")


@pytest.fixture(scope="module", params=NAMES)
def fields(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Name and fields of a small set."""
    name = request.param
    known = field_types(datasets.config_class(name))
    chosen: dict[str, Any] = {key: value for key, value in (SMALL_RAWS if name in RAWS else SMALL).items() if key in known}
    if {"root", "path"} & set(known):
        assert name in FILES, f"{name} reads files: add a function to FILES that lays out a small set"
        root = tmp_path_factory.mktemp(name)
        chosen.update(FILES[name](root), **({"root": str(root)} if "root" in known else {}))
    return {"name": name, **chosen}


def configured(fields: dict[str, Any], **more: Any) -> DataConfig:
    chosen = {**fields, **more}
    config = datasets.configure(chosen.pop("name"), **chosen)
    assert isinstance(config, DataConfig)
    return config


@pytest.fixture(scope="module")
def data(fields: dict[str, Any]) -> PreparedData:
    return configured(fields).prepare(0)


def all_names(data: PreparedData) -> list[str]:
    return [name for phase in PHASES for name in data.names[phase]]


def test_preparing_twice_gives_the_same(fields: dict[str, Any], data: PreparedData) -> None:
    again = configured(fields).prepare(0)
    assert again.fingerprint == data.fingerprint
    assert len(data.fingerprint) == 64
    assert again.names == data.names
    assert again.classes == data.classes
    for phase in PHASES:
        if data.labels:
            np.testing.assert_array_equal(again.labels[phase], data.labels[phase])
        assert torch.equal(again.splits[phase].sample(0, 0)["measurement"], data.splits[phase].sample(0, 0)["measurement"])


def test_another_seed_splits_otherwise(fields: dict[str, Any], data: PreparedData) -> None:
    other = configured(fields).prepare(1)
    if fields["name"] in (*PAIRS, *RAWS):  # runs of several seeds are measured on the same pictures; a seed of its own draws the split
        assert (other.names, other.fingerprint) == (data.names, data.fingerprint)
        other = configured(fields, split_seed=1).prepare(0)
    assert other.names != data.names
    if {"root", "path"} & set(fields):  # what lies on disk has not changed
        assert other.fingerprint == data.fingerprint


def test_the_splits_are_disjoint_complete_and_none_is_empty(fields: dict[str, Any], data: PreparedData) -> None:
    names = all_names(data)
    if fields["name"] in RAWS:  # a picture comes at several ISO values, named after an @, and in several crops
        parts = [{name.partition("@")[0] for name in data.names[phase]} for phase in PHASES]
        assert sum(map(len, parts)) == len(set().union(*parts)) == NUM_RAW
        assert len(data.splits["train"]) % len(data.names["train"]) == 0
    else:
        assert len(names) == len(set(names)) == NUM
    assert set(data.splits) == set(data.names) == set(PHASES)
    for phase in PHASES:
        assert len(data.splits[phase]) >= len(data.names[phase]) > 0
        assert len(data.splits[phase]) == len(data.names[phase]) or (phase == "train" and fields["name"] in RAWS)


def test_samples_have_what_every_loop_needs(fields: dict[str, Any], data: PreparedData) -> None:
    for phase in PHASES:
        for position in range(len(data.splits[phase])):
            sample = data.splits[phase].sample(position, 0)
            assert {"measurement", "target", "index"} <= set(sample)
            assert isinstance(sample["index"], int)
            assert sample["measurement"].dtype == torch.float32
            assert torch.isfinite(sample["measurement"]).all()
            assert sample["measurement"].min() >= (-1 if fields["name"] in RAWS else 0)  # noise goes below black


@every_set_of_pictures
def test_every_picture_is_in_one_split_with_its_labels(data: PreparedData) -> None:
    assert set(data.labels) == set(PHASES)
    rows = [int(data.splits[phase].sample(position, 0)["index"]) for phase in PHASES for position in range(len(data.splits[phase]))]
    assert sorted(rows) == list(range(NUM))
    for phase in PHASES:
        assert len(data.labels[phase]) == len(data.splits[phase])


@every_set_of_pictures
def test_samples_are_what_is_promised_and_carry_their_own_label(data: PreparedData) -> None:
    for phase in PHASES:
        for position in range(len(data.splits[phase])):
            sample = data.splits[phase].sample(position, 0)
            assert set(sample) == {"measurement", "target", "index"}
            assert sample["measurement"].shape == (3, HEIGHT, WIDTH)
            assert sample["measurement"].dtype == torch.float32
            assert sample["measurement"].min() >= 0
            assert sample["measurement"].max() <= 1
            assert sample["measurement"].max() > 0.2  # scaled once, not twice
            assert sample["target"].shape == (len(data.classes),)
            assert sample["target"].dtype == torch.float32
            assert sample["target"].tolist() == data.labels[phase][position].tolist()
            assert isinstance(sample["index"], int)


@every_set_of_pictures
def test_labels_are_binary_and_every_class_is_learnable_and_countable(data: PreparedData) -> None:
    assert len(data.classes) == len(set(data.classes)) >= 2
    for phase in PHASES:
        assert set(np.unique(data.labels[phase])) <= {0, 1}
        if data.objects:
            np.testing.assert_array_equal(np.asarray(data.objects[phase]) > 0, np.asarray(data.labels[phase]) > 0)
    positives = data.labels["train"].sum(axis=0)
    assert (positives > 0).all()
    assert (positives < len(data.labels["train"])).all()


@every_set_of_pictures
def test_only_the_training_split_is_augmented_and_by_the_draw_alone(fields: dict[str, Any], data: PreparedData) -> None:
    flipped = configured(fields, augment={"horizontal_flip": {"probability": 1.0}}).prepare(0)
    half = configured(fields, augment={"horizontal_flip": {"probability": 0.5}}).prepare(0)
    for phase in PHASES:
        plain = data.splits[phase].sample(2, 0)["measurement"]
        expected = plain.flip(-1) if phase == "train" else plain
        for draw in range(6):
            assert torch.equal(data.splits[phase].sample(2, draw)["measurement"], plain)
            assert torch.equal(flipped.splits[phase].sample(2, draw)["measurement"], expected)
        fates = [bool(torch.equal(half.splits[phase].sample(2, draw)["measurement"], plain)) for draw in range(24)]
        assert set(fates) == ({True, False} if phase == "train" else {True})
        assert fates == [bool(torch.equal(half.splits[phase].sample(2, draw)["measurement"], plain)) for draw in range(24)]
    assert flipped.names == data.names
    assert flipped.fingerprint == data.fingerprint


@every_set_of_pictures
def test_its_saved_split_can_be_used_again(fields: dict[str, Any], data: PreparedData, tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    file.write_text(json.dumps({phase: data.names[phase] for phase in PHASES}))
    again = configured(fields, split_file=str(file)).prepare(0)
    assert again.names == data.names
    for phase in PHASES:
        np.testing.assert_array_equal(again.labels[phase], data.labels[phase])


@every_set_of_pictures
def test_every_fold_tests_other_pictures_and_together_all(fields: dict[str, Any]) -> None:
    tested: list[str] = []
    for fold in range(3):
        folded = configured(fields, num_folds=3, fold=fold).prepare(0)
        assert sorted(all_names(folded)) == sorted(set(all_names(folded)))
        assert len(all_names(folded)) == NUM
        tested += folded.names["test"]
    assert len(tested) == len(set(tested)) == NUM


@every_set_of_pictures
def test_it_forms_batches_in_order_and_keeps_every_sample(data: PreparedData) -> None:
    batches = list(evaluation_batches(data.splits["val"], 4, 0))
    assert torch.cat([batch["target"] for batch in batches]).tolist() == data.labels["val"].tolist()
    assert batches[0]["measurement"].shape == (4, 3, HEIGHT, WIDTH)


@every_scan
def test_every_pattern_begins_a_group_in_one_split(data: PreparedData) -> None:
    rows = [data.splits[phase].sample(position, 0)["rows"] for phase in PHASES for position in range(len(data.splits[phase]))]
    assert sorted(torch.stack(rows)[:, 0].tolist()) == list(range(NUM))


@every_scan
@pytest.mark.parametrize("gridsize", [1, 2])
def test_samples_of_scans_are_what_is_promised(fields: dict[str, Any], gridsize: int) -> None:
    data, groups = configured(fields, gridsize=gridsize).prepare(0), gridsize**2
    for phase in PHASES:
        for position in range(len(data.splits[phase])):
            sample = data.splits[phase].sample(position, 0)
            assert set(sample) == {"measurement", "target", "offsets", "rows", "scan", "index"}
            assert sample["measurement"].shape == (groups, SIZE_PX, SIZE_PX)
            assert torch.equal(sample["target"], sample["measurement"])
            assert sample["offsets"].shape == (groups, 2)
            torch.testing.assert_close(sample["offsets"].mean(dim=0), torch.zeros(2), atol=1e-4, rtol=0)
            assert sample["rows"].dtype == torch.int64
            assert sample["scan"] < len(data.extras["probes"])


@every_scan
def test_scans_tell_the_task_what_it_must_know(data: PreparedData) -> None:
    facts = data.extras
    assert (facts["size_px"], facts["num_patterns"], facts["num_positions"]) == (SIZE_PX, 1, NUM)
    assert facts["probes"].dtype == torch.complex64
    assert facts["probes"].shape[2:] == facts["mask"].shape == (SIZE_PX, SIZE_PX)
    energies = [float(data.splits["train"].sample(i, 0)["measurement"].square().sum()) for i in range(len(data.splits["train"]))]
    assert facts["normalisation"] ** 2 * np.mean(energies) == pytest.approx(SIZE_PX**2 / 4, rel=1e-4)


@every_scan
def test_scans_form_batches_in_order_and_keep_every_group(data: PreparedData) -> None:
    batches = list(evaluation_batches(data.splits["val"], 4, 0))
    rows = torch.cat([batch["rows"] for batch in batches])[:, 0].tolist()
    assert rows == [int(data.splits["val"].sample(i, 0)["rows"][0]) for i in range(len(data.splits["val"]))]
    assert batches[0]["measurement"].shape == (4, 1, SIZE_PX, SIZE_PX)


@every_set_of_pairs
def test_pairs_are_whole_where_they_are_measured_and_cut_alike_where_they_train(fields: dict[str, Any], data: PreparedData) -> None:
    size = (SIZE_PX, SIZE_PX) if "size_px" in fields else (HEIGHT, WIDTH)
    for phase in PHASES:
        sides = (8, 8) if phase == "train" else size
        for position in range(len(data.splits[phase])):
            sample = data.splits[phase].sample(position, 3)
            assert set(sample) == {"measurement", "target", "has_target", "overview", "index", "name"}
            assert sample["measurement"].shape == sample["target"].shape == (3, *sides)
            assert sample["overview"].shape == (3, 64, 64)
            assert sample["target"].dtype == sample["overview"].dtype == torch.float32
            assert sample["measurement"].max() <= 1 and sample["target"].max() <= 1
            assert sample["has_target"].dtype == torch.bool and bool(sample["has_target"])
            assert sample["name"] == data.names[phase][position]
            assert sample["measurement"].mean() < sample["target"].mean()
    assert (data.extras["num_pairs"], data.extras["num_unpaired"], data.extras["has_targets"]) == (NUM, 0, True)
    assert data.extras["crop_px"] == 8


@every_set_of_pairs
def test_pairs_are_augmented_in_training_alone_and_by_the_draw_alone(fields: dict[str, Any], data: PreparedData) -> None:
    again = configured(fields).prepare(0)
    for phase in PHASES:
        drawn = [data.splits[phase].sample(2, draw) for draw in range(6)]
        repeated = [again.splits[phase].sample(2, draw) for draw in reversed(range(6))]
        assert all(torch.equal(a["target"], b["target"]) for a, b in zip(drawn, reversed(repeated), strict=True))
        assert (len({sample["target"].numpy().tobytes() for sample in drawn}) > 1) == (phase == "train")
    with pytest.raises(ConfigError, match="augmented"):
        evaluation_batches(data.splits["train"], 1)


@every_set_of_pairs
def test_a_saved_split_of_pairs_can_be_used_again(fields: dict[str, Any], data: PreparedData, tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    file.write_text(json.dumps({phase: data.names[phase] for phase in PHASES}))
    assert configured(fields, split_file=str(file), split_seed=7).prepare(0).names == data.names


@every_set_of_raws
def test_raw_pictures_are_what_the_task_takes(fields: dict[str, Any], data: PreparedData) -> None:
    assert {"measurement", "iso"} <= set(data.extras)
    kinds = ("mosaic", "rgb") if "measurement" in field_types(datasets.config_class(fields["name"])) else ("rgb",)
    for kind in kinds:
        given = configured(fields, **({"measurement": kind} if len(kinds) > 1 else {})).prepare(0)
        assert given.extras["measurement"] == kind
        for phase in PHASES:
            for position in range(min(3, len(given.splits[phase]))):
                check_raw_sample(given.splits[phase].sample(position, 1), kind, 16 if phase == "train" else None)


def check_raw_sample(sample: dict[str, Any], measurement: str, side: int | None) -> None:
    height, width = sample["target"].shape[1:]
    assert side in (None, height) and side in (None, width) and height % 2 == width % 2 == 0
    assert sample["target"].shape == sample["planes"].shape == (3, height, width)
    assert sample["measurement"].shape == ((1 if measurement == "mosaic" else 3), height, width)
    assert sample["mask"].shape == (1, height, width) and set(sample["mask"].unique().tolist()) <= {0.0, 1.0}
    assert (sample["planes"].sum(0) == (1 if measurement == "mosaic" else 3)).all()
    assert sample["noise"].shape == (2,) and (sample["noise"] >= 0).all()
    assert sample["balance"].shape == (3,) and float(sample["balance"][1]) == pytest.approx(1)
    assert sample["xyz_to_camera"].shape == (3, 3) and torch.linalg.matrix_rank(sample["xyz_to_camera"]) == 3
    assert sample["iso"].shape == () and isinstance(sample["name"], str)
    assert all(value.dtype == torch.float32 for value in sample.values() if isinstance(value, torch.Tensor))


@every_set_of_raws
def test_raw_pictures_are_varied_in_training_alone_and_by_the_draw_alone(fields: dict[str, Any], data: PreparedData) -> None:
    again = configured(fields).prepare(0)
    for phase in PHASES:
        drawn = [data.splits[phase].sample(1, draw) for draw in range(5)]
        repeated = [again.splits[phase].sample(1, draw) for draw in reversed(range(5))]
        for first, second in zip(drawn, reversed(repeated), strict=True):
            assert torch.equal(first["measurement"], second["measurement"]) and torch.equal(first["target"], second["target"])
        assert (len({sample["measurement"].numpy().tobytes() for sample in drawn}) > 1) == (phase == "train")
    with pytest.raises(ConfigError, match="augmented"):
        evaluation_batches(data.splits["train"], 1)


def test_loader_settings_come_back(fields: dict[str, Any]) -> None:
    config = configured(fields, batch_size=3, eval_batch_size=5, num_workers=1, drop_last=True)
    assert type(config).from_dict(config.to_dict()) == config
    assert (config.batch_size, config.eval_batch_size, config.num_workers, config.drop_last) == (3, 5, 1, True)
