"""Which picture belongs to which: every layout, every way of naming, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photic.apps.lowlight.pairing import key_of, read_pairs, table_fingerprint
from photic.apps.lowlight.scenes import join_scenes, scene_numbers, split_by_scene
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import DataError
from photic.data.images import write_image


def lay_out(root: Path, *files: str, size: tuple[int, int] = (12, 16)) -> Path:
    """Write a picture of its own at each path."""
    for number, file in enumerate(files):
        write_image(root / file, np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8))
    return root


def pairs_of(root: Path, pairing: str = "flexible") -> dict[str, tuple[str, str | None]]:
    table = read_pairs(root, pairing)  # type: ignore[arg-type]
    files = {}
    for pair in table.pairs:
        high = None if pair.high is None else pair.high.relative_to(root).as_posix()
        files[pair.name] = (pair.low.relative_to(root).as_posix(), high)
    return files


@pytest.mark.parametrize(
    ("low", "high"), [("low", "high"), ("Low", "Normal"), ("train_data", "train_gt"), ("input", "target"), ("LQ", "GT"), ("dark", "bright")]
)
@pytest.mark.parametrize("pairing", ["strict", "flexible"])
def test_pairs_of_folders(tmp_path: Path, low: str, high: str, pairing: str) -> None:
    lay_out(tmp_path, f"{low}/2.png", f"{high}/2.png", f"{low}/10.png", f"{high}/10.bmp")
    assert pairs_of(tmp_path, pairing) == {"10": (f"{low}/10.png", f"{high}/10.bmp"), "2": (f"{low}/2.png", f"{high}/2.png")}


def test_lol_v1_keeps_its_test_part(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"{part}/{kind}/{n}.png" for part, n in (("our485", 2), ("our485", 5), ("eval15", 1)) for kind in ("low", "high")))
    table = read_pairs(tmp_path)
    assert [(pair.name, pair.phase) for pair in table.pairs] == [("eval15/1", "test"), ("our485/2", "train"), ("our485/5", "train")]
    assert [(pair.name, pair.phase) for pair in read_pairs(tmp_path / "our485").pairs] == [("2", None), ("5", None)]


@pytest.mark.parametrize("root", ["", "Real_captured"])
def test_lol_v2(tmp_path: Path, root: str) -> None:
    for part in ("Train", "Test"):
        lay_out(
            tmp_path / "Real_captured" / part, "Low/low00001.png", "Normal/normal00001.png", "Low/low00010.png", "Normal/normal00010.png"
        )
    if not root:
        lay_out(tmp_path / "Synthetic" / "Train", "Low/r1.png", "Normal/r1.png")
    table = read_pairs(tmp_path / root)
    prefix = "" if root else "Real_captured/"
    expected = {f"{prefix}{part}/low000{n}": part.lower() for part in ("Train", "Test") for n in ("01", "10")}
    if not root:
        expected["Synthetic/Train/r1"] = "train"
    assert {pair.name: pair.phase for pair in table.pairs} == expected
    assert all(pair.high is not None and pair.high.stem.removeprefix("normal") == pair.low.stem.removeprefix("low") for pair in table.pairs)


def test_halves_of_one_set(tmp_path: Path) -> None:
    lay_out(tmp_path, "train_data/1.png", "train_gt/1.png", "test_data/1.png", "test_gt/1.png")
    assert {pair.name: pair.phase for pair in read_pairs(tmp_path).pairs} == {"train_data/1": "train", "test_data/1": "test"}


def test_several_short_exposures_belong_to_one_long_one_of_their_scene(tmp_path: Path) -> None:
    shorts = ("00001_00_0.04s", "00001_01_0.04s", "00001_00_0.1s", "00010_00_0.04s")
    lay_out(tmp_path, *(f"short/{name}.png" for name in shorts), "long/00001_00_10s.png", "long/00010_00_30s.png")
    table = read_pairs(tmp_path)
    assert {pair.name: (pair.high.stem if pair.high else None, pair.scene) for pair in table.pairs} == {
        name: ("00010_00_30s", "00010") if name.startswith("00010") else ("00001_00_10s", "00001") for name in shorts
    }
    assert len(set(scene_numbers(table))) == 2 and all(pair.scene_given for pair in table.pairs)
    lay_out(tmp_path, "long/00001_00_30s.png")
    with pytest.raises(DataError, match=r"scene 00001 has 2 long exposures \(00001_00_10s, 00001_00_30s\); expected one"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("low", "high"),
    [("a_low", "a_gt"), ("a-DARK", "A-normal"), ("12low", "12high"), ("low_12", "normal_12"), ("a", "a_gt"), ("sub/a_low", "sub/a_high")],
)
def test_flexible_pairing_leaves_out_words_that_say_which_of_the_two_it_is(tmp_path: Path, low: str, high: str) -> None:
    lay_out(tmp_path, f"low/{low}.png", f"high/{high}.png", "low/other.png", "high/other.png")
    assert pairs_of(tmp_path)[low] == (f"low/{low}.png", f"high/{high}.png")
    assert low not in {pair.name for pair in read_pairs(tmp_path, "strict").pairs}
    assert len(read_pairs(tmp_path, "strict").problems) == 2


def test_words_inside_words_and_numbers_stay() -> None:
    assert [key_of(name) for name in ("slow", "below_2", "highway", "1", "10", "low", "lowland_3")] == [
        "slow", "below_2", "highway", "1", "10", "low", "lowland_3",
    ]  # fmt: skip


@pytest.mark.parametrize("pairing", ["strict", "flexible"])
def test_a_number_is_never_paired_with_one_that_begins_alike(tmp_path: Path, pairing: str) -> None:
    lay_out(tmp_path, "low/1.png", "low/2.png", "high/10.png", "high/2.png", "high/11_1.png")
    table = read_pairs(tmp_path, pairing)  # type: ignore[arg-type]
    assert [pair.name for pair in table.pairs] == ["2"]
    assert [problem.message for problem in table.problems] == [
        "low/1.png: no true picture of that name in high/",
        "high/10.png: no dark picture of that name in low/",
        "high/11_1.png: no dark picture of that name in low/",
    ]
    with pytest.raises(DataError, match=r"3 problems with the pictures.*\n  low/1\.png: no true picture(.|\n)*data\.faulty=skip"):
        table.refuse_problems()


def test_ambiguous_names_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/a.png", "low/a_low.png", "high/a.png")
    with pytest.raises(DataError, match=r"ambiguous: a, a_low there, a in .*high; rename them, .*or write a pairs\.csv"):
        read_pairs(tmp_path)
    assert pairs_of(tmp_path, "strict") == {"a": ("low/a.png", "high/a.png")}
    lay_out(tmp_path, "low/a.bmp")
    with pytest.raises(DataError, match=r"a\.png: a\.bmp beside it has the same name|a\.bmp: a\.png beside"):
        read_pairs(tmp_path, "strict")


def test_exact_names_come_first(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/a.png", "low/a_low.png", "high/a.png", "high/a_low.png")
    assert pairs_of(tmp_path) == {"a": ("low/a.png", "high/a.png"), "a_low": ("low/a_low.png", "high/a_low.png")}


def test_a_table_comes_before_everything(tmp_path: Path) -> None:
    lay_out(tmp_path, "x/1.png", "y/one.png", "x/2.png", "low/z.png", "high/z.png")
    (tmp_path / "pairs.csv").write_text("name,low,high,scene,more\nb,x/1.png,y/one.png,7,0\na,x/2.png,y/one.png,7,0\n")
    table = read_pairs(tmp_path)
    assert [(pair.name, pair.scene, pair.scene_given) for pair in table.pairs] == [("b", "7", True), ("a", "7", True)]
    assert pairs_of(tmp_path, "none") == {"b": ("x/1.png", None), "a": ("x/2.png", None)}
    (tmp_path / "pairs.csv").write_text("name,low,high\na,x/1.png,y/one.png\nb,x/3.png,y/one.png\nc,x/2.png,\n")
    table = read_pairs(tmp_path)
    assert [problem.kind for problem in table.problems] == ["missing file", "unpaired"]
    assert "line 3: no such file" in table.problems[0].message
    for text, message in (
        ("name,dark\n", "no column low, high"),
        ("name,low,high\n", "no rows"),
        ("name,low,high\na,x/1.png,y/one.png\na,x/2.png,y/one.png\n", "line 3: the name 'a' is in line 2 already"),
        ("name,low,high\n,x/1.png,y/one.png\n", "line 2: name and low must not be empty"),
    ):
        (tmp_path / "pairs.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read_pairs(tmp_path)


def test_dark_pictures_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/1.png", "high/1.png", "low/2.png")
    assert pairs_of(tmp_path, "none") == {"1": ("low/1.png", None), "2": ("low/2.png", None)}
    assert set(pairs_of(tmp_path / "low", "none")) == {"1", "2"}


def test_a_wrong_root_lists_what_was_looked_for_and_offers_the_right_one(tmp_path: Path) -> None:
    lay_out(tmp_path, "set/low/1.png", "set/high/1.png")
    with pytest.raises(DataError, match=r"found; did you mean data\.root=.*set\?; looked for:(.|\n)*LOL-v2(.|\n)*pairing=none"):
        read_pairs(tmp_path)
    with pytest.raises(DataError, match=r"did you mean data\.root=.*set\?"):
        read_pairs(tmp_path / "set" / "low")
    with pytest.raises(DataError, match=r"no such folder \(from .*expected one of:(.|\n)*low/ and high/"):
        read_pairs(tmp_path / "nothing")
    lay_out(tmp_path, "bad/low/1.png", "bad/high/2.png")
    with pytest.raises(DataError, match=r"no picture of .*low has a partner in .*high"):
        read_pairs(tmp_path / "bad", "strict")


def scene_folder(root: Path, num_scenes: int = 8, exposures: int = 2) -> Path:
    """Lay out scenes that were each photographed several times, the truth of each time a bit brighter."""
    for scene in range(num_scenes):
        low, high = draw_pair(0, scene, 48, 72)
        for time in range(exposures):
            write_image(root / "low" / f"{scene * exposures + time:03d}.png", low)
            write_image(root / "high" / f"{scene * exposures + time:03d}.png", np.clip(high * (1 - 0.15 * time), 0, 255).astype(np.uint8))
    return root


def test_pictures_that_are_nearly_the_same_are_one_scene(tmp_path: Path) -> None:
    table = join_scenes(read_pairs(scene_folder(tmp_path)))
    assert scene_numbers(table) == [row // 2 for row in range(16)]
    assert any("8 scenes were joined" in note for note in table.notes)
    assert scene_numbers(join_scenes(read_pairs(tmp_path), compare=False)) == list(range(16))


def test_identical_truths_are_one_scene_even_if_nobody_compares(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"low/{n}.png" for n in range(4)), *(f"high/{n}.png" for n in range(4)))
    (tmp_path / "high/3.png").write_bytes((tmp_path / "high/1.png").read_bytes())
    assert scene_numbers(join_scenes(read_pairs(tmp_path), compare=False)) == [0, 1, 2, 1]


def test_no_scene_is_on_two_sides_and_the_seed_decides(tmp_path: Path) -> None:
    table = join_scenes(read_pairs(scene_folder(tmp_path)))
    scenes = np.array(scene_numbers(table))
    drawn = set()
    for seed in range(5):
        indices, notes = split_by_scene(table, 0.25, 0.125, seed)
        assert list(indices) == ["train", "val", "test"]
        assert sorted(np.concatenate(list(indices.values()))) == list(range(16))
        assert [len(rows) for rows in indices.values()] == [10, 4, 2]
        parts = [set(scenes[rows]) for rows in indices.values()]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        again, _ = split_by_scene(table, 0.25, 0.125, seed)
        assert all(np.array_equal(again[phase], rows) for phase, rows in indices.items())
        assert "pictures of one scene stay in one split" in notes[-1]
        drawn.add(tuple(indices["val"]))
    assert len(drawn) > 1
    assert list(split_by_scene(table, 0.25)[0]) == ["train", "val"]


def test_parts_given_by_the_folders_are_kept(tmp_path: Path) -> None:
    files = [f"{part}/{kind}/{part}{n}.png" for part in ("train", "val") for n in range(5) for kind in ("low", "high")]
    table = read_pairs(lay_out(tmp_path, *files))
    indices, notes = split_by_scene(table, 0.4, 0.2)
    assert [table.pairs[row].name.split("/")[0] for row in indices["val"]] == ["val"] * 5
    assert [len(indices[phase]) for phase in ("train", "test")] == [4, 1]
    assert notes == ("val: the part of that name in the folders (5 pictures)",)
    (tmp_path / "val/high/val1.png").write_bytes((tmp_path / "train/high/train2.png").read_bytes())
    with pytest.raises(DataError, match=r"one scene lies in two parts that the folders give: train/train2 \(train\), val/val1 \(val\)"):
        split_by_scene(join_scenes(read_pairs(tmp_path)), 0.4)


def test_shares_are_those_of_the_pool_wherever_the_given_part_stands(tmp_path: Path) -> None:
    names = [f"eval15/{kind}/{n}.png" for n in range(30) for kind in ("low", "high")]
    table = read_pairs(lay_out(tmp_path, *names, *(f"our485/{kind}/{n}.png" for n in range(20) for kind in ("low", "high"))))
    for seed in range(5):
        indices, _ = split_by_scene(table, 0.25, 0.0, seed)
        assert {phase: len(rows) for phase, rows in indices.items()} == {"train": 15, "val": 5, "test": 30}
        assert all(table.pairs[row].name.startswith("our485") for row in np.concatenate([indices["train"], indices["val"]]))


def test_too_few_scenes_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/1.png", "high/1.png")
    with pytest.raises(DataError, match="1 scene cannot be split into train, val without a scene on two sides"):
        split_by_scene(read_pairs(tmp_path), 0.2)


def test_the_fingerprint_changes_with_the_data_alone(tmp_path: Path) -> None:
    files = ("low/1.png", "high/1.png", "low/2.png", "high/2.png")
    first = table_fingerprint(read_pairs(lay_out(tmp_path / "a", *files)))
    assert first == table_fingerprint(read_pairs(lay_out(tmp_path / "b", *files)))
    assert len(first) == 64
    (tmp_path / "b/low/1.png").write_bytes((tmp_path / "b/low/1.png").read_bytes() + b"more")
    assert first != table_fingerprint(read_pairs(tmp_path / "b"))
