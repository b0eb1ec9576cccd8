"""The low-light application's readers on the real pairs."""

from __future__ import annotations

import csv
import json
import shutil
import time

import numpy as np
import pytest

from photic.apps.lowlight import check
from photic.apps.lowlight.alignment import agreement
from photic.apps.lowlight.datasets import LowLightPairsConfig
from photic.apps.lowlight.scenes import scene_numbers
from photic.data.images import write_image
from photic.data.loader import ExactLoader, evaluation_batches
from photic.data.photo.files import read_photo

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "lowlight" / "lol"


@pytest.fixture(scope="module")
def rows(folder):
    with (folder / "pairs.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_pairs_are_split_by_scene_and_validated_whole(folder, rows):
    data = LowLightPairsConfig(root=folder).prepare(0)
    assert {phase: len(names) for phase, names in data.names.items()} == {"train": 80, "val": 15}
    assert sorted(data.names["train"] + data.names["val"]) == sorted(row["name"] for row in rows)
    scenes = {row["name"]: row["scene"] for row in rows}
    assert not {scenes[name] for name in data.names["train"]} & {scenes[name] for name in data.names["val"]}
    assert data.names == LowLightPairsConfig(root=folder).prepare(3).names
    for batch in evaluation_batches(data.splits["val"], 1):
        assert batch["measurement"].shape == batch["target"].shape == (1, 3, 400, 600)
        row = next(row for row in rows if row["name"] == batch["name"][0])
        assert float(batch["measurement"].mean() * 255) == pytest.approx(float(row["low_mean"]), abs=1e-2)
        assert float(batch["target"].mean() * 255) == pytest.approx(float(row["high_mean"]), abs=1e-2)


def test_crops_cost_little_once_pictures_are_decoded(folder):
    batches = iter(ExactLoader(LowLightPairsConfig(root=folder).prepare(0).splits["train"], batch_size=8, seed=0))
    for _ in range(10):
        next(batches)
    start = time.perf_counter()
    for _ in range(10):
        assert next(batches)["measurement"].shape == (8, 3, 256, 256)
    assert time.perf_counter() - start < 2.0  # 10 to 20 ms per batch, against 150 with decoding


def test_without_the_tables_scenes_what_looks_alike_is_one_scene(folder, tmp_path):
    for kind in ("low", "high"):
        (tmp_path / kind).symlink_to(folder / kind)
    table, _ = LowLightPairsConfig(root=tmp_path).read_table()
    from photic.apps.lowlight.scenes import join_scenes

    joined = join_scenes(table)
    groups = {}
    for pair, scene in zip(joined.pairs, scene_numbers(joined), strict=True):
        groups.setdefault(scene, []).append(pair.name)
    assert [names for names in groups.values() if len(names) > 1] == [["475", "476"]]  # a few things on the table were moved


def test_check_finds_no_false_alarm_and_every_shifted_pair(folder, rows, tmp_path, capsys):
    names = [row["name"] for row in rows][::8]
    for kind in ("low", "high"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for name in names:
            shutil.copy(folder / kind / f"{name}.webp", tmp_path / "set" / kind)
    assert check.main([str(tmp_path / "set"), "--quiet"]) == 0
    assert "no problems" in capsys.readouterr().out
    shifted = {}
    for number, name in enumerate(names[:4]):
        shifted[name] = [(3, 0), (0, -4), (-6, 5), (20, -11)][number]
        high = read_photo(tmp_path / "set/high" / f"{name}.webp").pixels
        (tmp_path / "set/high" / f"{name}.webp").unlink()
        write_image(tmp_path / "set/high" / f"{name}.png", np.roll(high, shifted[name][::-1], (0, 1)))
    assert check.main([str(tmp_path / "set"), "--quiet", "--json", str(tmp_path / "check.json")]) == 1
    report = json.loads((tmp_path / "check.json").read_text())
    assert [problem["kind"] for problem in report["problems"]] == ["misaligned"] * 4
    for pair in report["pairs"]:
        expected = shifted.get(pair["name"], (0, 0))
        assert np.hypot(pair["shift_px"][0] - expected[0], pair["shift_px"][1] - expected[1]) < 1.1


def test_no_real_pair_is_called_misaligned(folder, rows):
    for row in rows[1::4]:
        found = agreement(read_photo(folder / row["low"]).pixels, read_photo(folder / row["high"]).pixels)
        assert found.distance_px < 1.1 and found.correlation > 0.5
