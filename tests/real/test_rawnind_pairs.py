"""Pairs of raw pictures on the real exposure bracket, RawNIND's own lists, and the real pairs of photographs."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.rawnind.pairs.dataverse import read_listing
from photic.apps.rawnind.pairs.index import read_index
from photic.apps.rawnind.pairs.layouts import read_scenes, scene_in_name
from photic.apps.rawnind.pairs.pair_datasets import RawRgbPairsConfig
from photic.apps.rawnind.pairs.preparation import prepare
from photic.apps.rawnind.pairs.tiles import open_tile

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def prepared(real_data, tmp_path_factory):
    return prepare(real_data / "raw" / "bracket", tmp_path_factory.mktemp("bracket") / "pairs")


def test_the_bracket_is_a_pure_shift_with_a_gain(prepared):
    (pair,) = prepared.index.pairs
    assert (pair.gt_path, pair.noisy_path) == ("sample1.dng", "sample2.dng")
    assert pair.shift == (-1, -2)  # other[y - 1, x - 2] <-> anchor[y, x]
    assert pair.raw_gain == pytest.approx(3.956, rel=0.005)
    assert pair.psnr >= 30.5
    assert -0.6 < pair.subpixel_residual[0] < -0.2
    assert abs(pair.subpixel_residual[1]) < 0.1
    assert pair.camera == "NIKON D5000"
    assert pair.mask_mean > 0.9
    assert len(pair.crops) == 6
    text = " ".join(prepared.path.read_text().split())
    assert "other[y + dy, x + dx] <-> anchor[y, x]" in text
    assert read_index(prepared.path).pairs == prepared.index.pairs


def test_the_clipped_picture_is_rejected_with_its_reason(prepared):
    (rejected,) = prepared.index.rejected
    assert (rejected.noisy_path, rejected.kind) == ("sample3.dng", "clipped")
    assert "only 37% of the pixels are valid" in rejected.reason
    assert "59% are over-exposed" in rejected.reason
    assert "dB" in rejected.reason


def test_its_tiles_show_the_same(prepared):
    (pair,) = prepared.index.pairs
    for crop in pair.crops[:2]:
        gt, noisy, mask = (open_tile(prepared.path.parent / path) for path in (crop.gt_path, crop.noisy_path, crop.mask_path))
        assert gt.shape == noisy.shape == (4, 1024, 1024)
        assert gt.dtype == noisy.dtype == np.float16
        difference = (gt.astype(np.float32) - pair.raw_gain * noisy.astype(np.float32))[1:3].mean(axis=0)[mask]
        assert -10 * np.log10(np.mean(difference**2)) > 30


def test_rawnind_s_lists_are_read(real_data):
    folder = real_data / "raw" / "rawnind"
    files = read_listing(folder / "dataverse_files.csv.gz")
    assert len(files) == 2845
    assert sum(one.size for one in files) == pytest.approx(120e9, rel=0.01)
    scenes = read_scenes(folder / "dataset_index.yaml.gz")
    for name, one in scenes.items():
        assert scene_in_name(name.rpartition(".")[0]) == (one.scene, one.role, one.test_reserve)
    index = read_index(folder / "RawNIND_masks_and_alignments.sample.yaml")
    assert len(index.pairs) == 57
    assert {pair.shift for pair in index.pairs} == {(0, 0), (-2, 0), (-1, 1)}
    assert all(pair.raw_gain > 0.9 and np.array(pair.rgb_xyz_matrix).shape == (3, 3) for pair in index.pairs)


def test_photographs_are_paired_and_split_by_what_they_show(real_data):
    data = RawRgbPairsConfig(root=real_data / "raw" / "srgb_pairs_polyu").prepare(0)
    assert sum(map(len, data.names.values())) == 100
    shown = {phase: {name.split("_")[4].casefold() for name in names} for phase, names in data.names.items()}
    assert not shown["train"] & shown["val"] and not shown["train"] & shown["test"] and not shown["val"] & shown["test"]
    for phase in ("val", "test"):
        sample = data.splits[phase].sample(0)
        assert sample["measurement"].shape == (3, 512, 512)
        difference = float((sample["measurement"] - sample["target"]).square().mean())
        a, b = sample["noise"].tolist()
        assert difference == pytest.approx(a * float(sample["target"].mean()) + b, rel=0.5)
