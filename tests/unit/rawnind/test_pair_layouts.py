"""Which raw files are found, what their places and names say, which pairs they form, and the index of pairs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import yaml

from photic.apps.rawnind.pairs.index import Crop, PairEntry, PairIndex, Rejected, read_index, write_index
from photic.apps.rawnind.pairs.layouts import Found, FoundPicture, find_pictures, read_scenes, scene_in_name
from photic.apps.rawnind.pairs.pair_splits import split_scenes
from photic.apps.rawnind.pairs.pairing import choose_anchor, plan_pairs, same_scene
from photic.apps.rawnind.pairs.pictures import PictureFacts
from photic.core.errors import DataError

SHA = "sha1=" + "0" * 40


def lay(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"raw")


def said(found: Found) -> dict[str, tuple[str | None, str | None, bool]]:
    return {picture.name: (picture.scene, picture.role, picture.test_reserve) for picture in found.pictures}


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        (f"Bayer_7D-1_GT_ISO100_{SHA}", ("7D-1", "gt", False)),
        (f"Bayer_another_hole_in_the_wall_ISO2000_{SHA}", ("another_hole_in_the_wall", "noisy", False)),
        (f"X-Trans_yellowrock_ISO800_{SHA}", ("yellowrock", "noisy", False)),
        (f"Bayer_UNK_TEST_LucieB_board_GT_ISOUnknown_{SHA}", ("LucieB_board", "gt", True)),
        (f"Bayer_Iain01_ISOHi 3200_{SHA}", ("Iain01", "noisy", False)),
        ("IMG_0848", None),
        ("Bayer_7D-1_GT_ISO100", None),
    ],
)
def test_names_of_rawnind_are_read(stem, expected):
    assert scene_in_name(stem) == expected


def test_a_folder_of_rawnind_is_read_by_its_names(tmp_path):
    lay(tmp_path, f"Bayer_a_GT_ISO50_{SHA}.arw", f"Bayer_a_ISO6400_{SHA}.arw", f"Bayer_TEST_b_GT_ISO50_{SHA}.arw", "readme.txt")
    found = find_pictures(tmp_path)
    assert said(found) == {
        f"Bayer_TEST_b_GT_ISO50_{SHA}.arw": ("b", "gt", True),
        f"Bayer_a_GT_ISO50_{SHA}.arw": ("a", "gt", False),
        f"Bayer_a_ISO6400_{SHA}.arw": ("a", "noisy", False),
    }
    assert [picture.iso for picture in found.pictures] == [50, 50, 6400]


def test_folders_per_scene_with_and_without_truth(tmp_path):
    lay(
        tmp_path,
        "Bayer/castle/gt/1.CR2",
        "Bayer/castle/2.CR2",
        "X-Trans/door/gt/1.raf",
        "trip/a.dng",
        "trip/b.dng",
        ".trash/c.dng",
        "loose.dng",
    )
    found = find_pictures(tmp_path)
    assert said(found) == {
        "Bayer/castle/gt/1.CR2": ("castle", "gt", False),
        "Bayer/castle/2.CR2": ("castle", "noisy", False),
        "X-Trans/door/gt/1.raf": ("door", "gt", False),
        "trip/a.dng": ("trip", None, False),
        "trip/b.dng": ("trip", None, False),
        "loose.dng": (None, None, False),
    }
    assert said(find_pictures(tmp_path / "Bayer" / "castle")) == {"gt/1.CR2": ("castle", "gt", False), "2.CR2": ("castle", "noisy", False)}
    assert "loose.dng" in said(find_pictures(tmp_path, without=tmp_path / "trip"))
    assert "trip/a.dng" not in said(find_pictures(tmp_path, without=tmp_path / "trip"))


def test_a_flat_folder_says_nothing_and_an_empty_one_is_refused(tmp_path):
    lay(tmp_path, "a.dng", "b.NEF")
    assert find_pictures(tmp_path).layout == "a flat folder"
    with pytest.raises(DataError, match="no such folder"):
        find_pictures(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no raw files"):
        find_pictures(tmp_path / "empty")


def test_rawnind_s_own_list_comes_first(tmp_path):
    lay(tmp_path, "sub/x.arw", "y.arw", "z.arw")
    content = {"Bayer": {"scene one": {
        "clean_images": [{"filename": "x.arw"}], "noisy_images": [{"filename": "y.arw"}, {"filename": "absent.arw"}], "test_reserve": True,
    }}}  # fmt: skip
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(content))
    found = find_pictures(tmp_path)
    assert said(found) == {"sub/x.arw": ("scene one", "gt", True), "y.arw": ("scene one", "noisy", True), "z.arw": (None, None, False)}
    assert len(found.notes) == 2
    packed = tmp_path / "list.yaml.gz"
    packed.write_bytes(gzip.compress(yaml.safe_dump(content).encode()))
    assert set(read_scenes(packed)) == {"x.arw", "y.arw", "absent.arw"}


@pytest.mark.parametrize("text", ["[1, 2]", "{Bayer: [1]}", "{Bayer: {a: {clean_images: [x]}}}", "{}", "a: [", "\x00"])
def test_a_list_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "dataset.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"dataset\.yaml"):
        read_scenes(path)


# --- pairs ----------------------------------------------------------------------------------------


def facts(name: str, **changes) -> PictureFacts:
    given = {
        "camera": "Photic Test",
        "pattern": "01/12",
        "size": (100, 150),
        "iso": 100.0,
        "exposure_s": 0.01,
        "aperture": 4.0,
        "level": 0.2,
    }
    return PictureFacts(name=name, **{**given, **changes})


def plan(*pictures: tuple[FoundPicture, PictureFacts]):
    found = Found(Path("root"), "made", tuple(picture for picture, _ in pictures))
    return plan_pairs(found, {picture.name: known for picture, known in pictures})


def picture(name: str, scene: str | None = "s", role=None, **changes) -> tuple[FoundPicture, PictureFacts]:
    return FoundPicture(Path("root") / name, name, scene, role), facts(name, **changes)


def test_the_anchor_is_the_best_exposed_that_hardly_clips():
    short, right, long = picture("1", exposure_s=0.001), picture("2", exposure_s=0.01), picture("3", exposure_s=0.1, over_share=0.59)
    made = plan(short, right, long)
    assert [(pair.name, pair.anchor.name, pair.other.name) for pair in made.pairs] == [("s/1", "2", "1"), ("s/3", "2", "3")]
    known = {found.name: one for found, one in (short, right, long)}
    assert choose_anchor([long[0]], known).name == "3"
    # A longer exposure at a wider aperture counts by its light; a high ISO value adds none.
    wide = picture("4", exposure_s=0.008, aperture=2.0, iso=100.0)
    assert plan(short, right, wide).pairs[0].anchor.name == "4"
    # Without exposure data: the lowest ISO value, then the brightest.
    bare = [picture(str(iso), exposure_s=None, iso=iso) for iso in (3200.0, 50.0, 800.0)]
    assert plan(*bare).pairs[0].anchor.name == "50.0"


def test_clean_pictures_are_anchors_and_further_ones_are_paired_too():
    made = plan(picture("n", role="noisy", exposure_s=1.0), picture("g1", role="gt"), picture("g2", role="gt", exposure_s=0.02))
    assert {(pair.anchor.name, pair.other.name) for pair in made.pairs} == {("g2", "g1"), ("g2", "n")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": "Other"}, "has camera Other, its anchor b Photic Test"),
        ({"pattern": "12/01"}, "colour filter array 12/01"),
        ({"size": (100, 148)}, "size in packed pixels 100 x 148"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(change, words):
    made = plan(picture("a", exposure_s=0.001, **change), picture("b"))
    assert not made.pairs
    assert [(one.noisy_path, one.gt_path, one.kind) for one in made.rejected] == [("a", "b", "different cameras")]
    assert words in made.rejected[0].reason


def test_pictures_alone_and_unusable_ones_are_listed():
    made = plan(picture("a"), picture("b", problem="holds nothing", problem_kind="unreadable"), picture("c", scene="t"))
    assert {(one.noisy_path, one.kind) for one in made.rejected} == {("a", "alone"), ("b", "unreadable"), ("c", "alone")}


def test_scenes_nobody_named_are_found_by_what_they_show():
    rng = np.random.default_rng(0)
    first, second = (tuple(row / np.linalg.norm(row)) for row in rng.normal(size=(2, 2048)))
    made = plan(
        picture("a", scene=None, signature=first), picture("b", scene=None, signature=second, exposure_s=1.0),
        picture("c", scene=None, signature=first, exposure_s=0.1), picture("d", scene=None, signature=second),
    )  # fmt: skip
    assert {(pair.scene, pair.anchor.name, pair.other.name) for pair in made.pairs} == {("c", "c", "a"), ("b", "b", "d")}


def test_a_shaken_hand_does_not_part_a_scene():
    picture_of = np.random.default_rng(0).normal(size=(40, 72))
    rows = [picture_of[4 + dy : 36 + dy, 4 + dx : 68 + dx].ravel() for dy, dx in ((0, 0), (3, -4), (-4, 2))]
    rows.append(np.random.default_rng(1).normal(size=2048))
    signatures = np.array([row / np.linalg.norm(row) for row in rows], np.float32)
    assert same_scene(signatures) == [0, 0, 0, 3]


def test_files_of_one_name_make_pairs_of_different_names():
    made = plan(picture("x/a.dng", exposure_s=1.0), picture("x/b.dng"), picture("y/b.nef"))
    assert [pair.name for pair in made.pairs] == ["s/b", "s/b_"]
    assert {pair.scene for pair in made.pairs} == {"s"}


# --- splits ---------------------------------------------------------------------------------------


def test_no_scene_is_on_two_sides_and_reserved_ones_are_the_test():
    scenes = [f"s{number // 3}" for number in range(60)]
    rows, notes = split_scenes(scenes, [False] * 60, val_fraction=0.2, test_fraction=0.2, seed=0, where="x")
    assert sorted(row for part in rows.values() for row in part) == list(range(60))
    parts = [{scenes[row] for row in part} for part in rows.values()]
    assert all(not a & b for i, a in enumerate(parts) for b in parts[i + 1 :])
    assert [len(rows[phase]) for phase in ("train", "val", "test")] == [36, 12, 12]
    assert not notes
    reserved = [scene == "s7" for scene in scenes]
    rows, notes = split_scenes(scenes, reserved, val_fraction=0.2, test_fraction=0.2, seed=0, where="x")
    assert rows["test"] == [21, 22, 23]
    assert len(rows["train"]) + len(rows["val"]) == 57
    assert "kept" in notes[0]
    with pytest.raises(DataError, match="1 scene cannot be split"):
        split_scenes(["a", "a"], [False] * 2, val_fraction=0.2, test_fraction=0.0, seed=0, where="x")


# --- index ----------------------------------------------------------------------------------------


def entry(**changes) -> PairEntry:
    given = {
        "name": "s/n", "image_set": "s", "gt_path": "gt.dng", "noisy_path": "n.dng", "shift": (-1, 2), "loss": 0.01, "mask_path": "m.png",
        "mask_mean": 0.9, "is_bayer": True, "rgb_xyz_matrix": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), "overexposure": 0.99,
        "raw_gain": 3.9, "rgb_gain": 4.0, "iso": 800.0, "size": (100, 150), "noise": (1e-3, 1.5e-7), "subpixel_residual": (-0.4, 0.0),
        "white_balance": (2.0, 1.0, 1.5), "crops": (Crop((0, 768), 0.8, "a", "b", "c", "d"),),
    }  # fmt: skip
    return PairEntry(**{**given, **changes})


def test_an_index_comes_back_as_it_was_and_states_its_convention(tmp_path):
    index = PairIndex("..", {"tile_px": 8}, (entry(), entry(name="s/o", rgb_xyz_matrix=None, noise=None)),
                      (Rejected("x", None, None, "clipped", "Überbelichtet: 62 %", {"shift": [1, 2]}),), tmp_path)  # fmt: skip
    path = write_index(tmp_path / "index.yaml", index)
    assert read_index(path) == read_index(tmp_path) == index
    text = path.read_text(encoding="utf-8")
    assert "other[y + dy, x + dx] <-> anchor[y, x]" in " ".join(text.split())
    assert yaml.safe_load(text)["pairs"][0]["crops"][0]["position"] == [0, 768]
    assert write_index(tmp_path / "again.yaml", index).read_bytes() == path.read_bytes()
    assert index.original("gt.dng") == tmp_path / ".." / "gt.dng"


def test_rawnind_s_own_pairs_are_read_with_shifts_turned_round(tmp_path):
    theirs = {
        "gt_fpath": "gt/g.cr2", "f_fpath": f"Bayer_TEST_c_ISO800_{SHA}.cr2", "image_set": "c", "best_alignment": [4, -2],
        "best_alignment_loss": 0.03, "crops": [], "is_bayer": True, "mask_fpath": "masks/c.png", "mask_mean": 0.99,
        "overexposure_lb": 0.93, "raw_gain": 2.0, "rgb_gain": 2.1, "rgb_xyz_matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
    }  # fmt: skip
    path = tmp_path / "pairs.yaml"
    path.write_text(yaml.safe_dump([theirs, theirs | {"is_bayer": False}]))
    first, second = read_index(path).pairs
    assert (first.shift, second.shift) == ((-2, 1), (-4, 2))
    assert (first.gt_path, first.image_set, first.test_reserve) == ("c/gt/g.cr2", "c", True)
    assert len(first.rgb_xyz_matrix) == 3
    path.write_text(yaml.safe_dump([theirs | {"best_alignment": [1, 0]}]))
    with pytest.raises(DataError, match="phase of the mosaic"):
        read_index(path)
    path.write_text(yaml.safe_dump([{"gt_fpath": "x"}]))
    with pytest.raises(DataError, match="missing: best_alignment, f_fpath, image_set"):
        read_index(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format: something else", "no index of raw pairs"),
        ("format: photic raw pairs\nversion: 99", "version 99"),
        ("format: photic raw pairs\nversion: 1\npairs: [{name: x}]\nrejected: []\nsource: .\nsettings: {}", "damaged"),
        ("a: [", "no YAML"),
        ("!!python/object/apply:os.system [echo]", "no YAML"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, text, words):
    (tmp_path / "index.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        read_index(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_index(tmp_path / "absent.yaml")
