"""The two data commands."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from photic.apps.defects import check, generate
from photic.apps.defects.datasets import SeverstalConfig
from photic.apps.defects.rle import fill
from photic.apps.defects.synthetic import CLASSES, draw_strip
from photic.core.errors import ConfigError, DataError
from photic.data.images import read_image

SMALL = ["--height", "32", "--width", "96"]


def run_check(*arguments, capsys):
    status = check.main([str(argument) for argument in arguments])
    return status, re.sub(r"[ \t]+", " ", capsys.readouterr().out)


# --- generate -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "strips"
    assert generate.main([str(root), "--num", "60", "--num-test", "3", "--seed", "4", *SMALL]) == 0
    return root


def test_generated_strips_read_back_with_the_same_pixels_labels_and_masks(strips):
    table = SeverstalConfig(root=strips).read_table()
    assert table.problems == ()
    assert len(table.names) == 60
    for row in range(60):
        strip = draw_strip(4, row, 32, 96)
        assert np.array_equal(read_image(table.path(row))[..., 0], strip.picture)
        assert table.labels[row].tolist() == strip.labels.tolist()
        for column in range(len(CLASSES)):
            runs = table.runs.get((row, column))
            mask = np.zeros((32, 96), dtype=bool) if runs is None else fill(runs, 32, 96)
            assert np.array_equal(mask, strip.masks[column])


def test_generated_tables_agree_with_each_other(strips, tmp_path):
    """Without labels.csv the masks alone give the same labels."""
    with_labels = SeverstalConfig(root=strips).read_table()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "train_images").symlink_to(strips / "train_images")
    (bare / "train.csv").symlink_to(strips / "train.csv")
    without = SeverstalConfig(root=bare).read_table()
    assert without.names == with_labels.names
    assert np.array_equal(without.labels, with_labels.labels)
    assert np.array_equal(without.objects, with_labels.objects)


def test_unlabelled_strips_lie_apart(strips):
    assert sorted(path.name for path in (strips / "test_images").iterdir()) == [f"strip_{index:05d}.png" for index in (60, 61, 62)]


def test_a_folder_in_use_is_not_written_to_without_force(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match=r"not empty; choose another folder, or add --force"):
        generate.main([str(tmp_path), "--num", "2", *SMALL])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_force_replaces_what_was_generated_and_nothing_else(tmp_path):
    generate.generate(tmp_path, 5, 2, height=32, width=96)
    (tmp_path / "mine.txt").write_text("keep")
    assert generate.main([str(tmp_path), "--num", "3", "--num-test", "0", "--force", *SMALL]) == 0
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert len(list((tmp_path / "train_images").iterdir())) == 3
    assert list((tmp_path / "test_images").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num", "0"], "cannot draw 0 labelled"),
        (["--num-test", "-1"], "and -1 unlabelled"),
        (["--height", "8"], "8 x 96 pixels are too small"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(DataError, match=message):
        generate.main([str(tmp_path / "new"), *SMALL, *arguments])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [check, generate])
def test_help_ends_with_examples(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(["--help"])
    assert exit_.value.code == 0
    assert "examples:\n  photic data" in capsys.readouterr().out


# --- check ----------------------------------------------------------------------------------------


def test_a_sound_set_is_described_and_passes(strips, capsys):
    status, text = run_check(strips, capsys=capsys)
    labels = SeverstalConfig(root=strips).read_table().labels
    assert status == 0
    assert "layout severstal" in text
    assert "60 pictures (60 of 32x96)" in text
    for column in range(len(CLASSES)):
        count = int(labels[:, column].sum())
        assert f"defect_{column + 1} {count} {count / 60:.1%} {count}" in text
    assert f"pictures by number of classes: {int((labels.sum(axis=1) == 0).sum())} with none" in text
    assert text.rstrip().endswith("no problems")


def test_all_problems_are_listed_not_only_the_first(labelled, files, capsys):
    images = labelled / "train_images"
    (images / "07.png").write_bytes((images / "07.png").read_bytes()[:-40])  # header sound, pixels cut short
    (images / "11.png").write_bytes(b"no picture")
    (images / "13.png").unlink()
    files.write_picture(images / "new.png", 99)
    files.add_row(labelled / "labels.csv", "04.png", "train_images/04.png", 1, 1)
    files.change_row(labelled / "train.csv", 0, EncodedPixels="380 9")
    files.write_picture(images / "15.png", 15, (20, 24))
    status, text = run_check(labelled, "classes=[defect_1, defect_2]", capsys=capsys)
    assert status == 1
    for part in (
        "07.png: damaged or truncated picture",
        "11.png: not a picture",
        "13.png: no such file, but",
        "new.png: no row in",
        "line 42: '04.png' has a row already",
        "line 2: mask of class 1 on '00.png'",
        "pictures of 2 sizes",
        "unreadable picture (2)",
    ):
        assert part in text
    assert text.rstrip().endswith("7 problems")


def test_files_of_other_kinds_are_not_passed_over_in_silence(labelled, tmp_path, capsys):
    (labelled / "train_images" / "more.gif").write_bytes(b"")
    status, text = run_check(labelled, "classes=[defect_1, defect_2]", "--json", tmp_path / "out.json", capsys=capsys)
    assert status == 0
    assert "files of other kinds were passed over: 1 .gif (for example train_images/more.gif)" in text
    assert any("more.gif" in note for note in json.loads((tmp_path / "out.json").read_text())["notes"])


def test_the_findings_are_written_for_machines(labelled, tmp_path, capsys):
    status, _ = run_check(labelled, "classes=[defect_1, defect_2]", "--json", tmp_path / "out.json", capsys=capsys)
    found = json.loads((tmp_path / "out.json").read_text())
    assert status == 0
    assert found["schema"] == 1
    assert found["layout"] == "severstal"
    assert found["pictures"] == 40
    assert found["shapes"] == {"16x24": 40}
    assert [row["images"] for row in found["classes"]] == [20, 20]
    assert found["classes"][0]["objects"] == 40
    assert found["pictures_by_number_of_classes"] == {"0": 10, "1": 20, "2": 10}
    assert found["problems"] == []


def test_near_duplicates_are_shown_and_different_labels_pointed_out(labelled, files, capsys):
    files.write_picture(labelled / "train_images" / "01.png", 0)
    status, text = run_check(labelled, "classes=[defect_1, defect_2]", capsys=capsys)
    assert status == 0
    assert "near-duplicates: 2 pictures in 1 groups" in text
    assert "train_images/00.png, train_images/01.png" in text
    assert "1 groups of near-duplicates have different labels" in text


def test_a_class_that_never_occurs_is_a_problem(strips, capsys):
    status, text = run_check(strips, "--layout", "severstal", "labels_file=absent.csv", "classes=[a, b, c, d, e]", capsys=capsys)
    assert status == 1
    assert "class 'e': no positive sample among 60" in text


def test_layout_and_fields_can_be_given(voc_root, capsys):
    status, text = run_check(voc_root, "--layout", "voc", "data.box_masks=true", capsys=capsys)
    assert status == 0
    assert "stain 20 50.0% 20 40" in text


def test_a_folder_of_no_known_layout_lists_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no known layout.*\n  severstal: train_images/ with(.*\n)*  class_folders: a folder per class"):
        check.main([str(tmp_path)])
    with pytest.raises(DataError, match="no such folder"):
        check.main([str(tmp_path / "absent")])


def test_a_wrong_field_is_answered_with_the_nearest(labelled):
    with pytest.raises(ConfigError, match="unknown field 'image'; did you mean 'images'"):
        check.main([str(labelled), "image=pictures"])
    with pytest.raises(ConfigError, match="'images': expected FIELD=VALUE"):
        check.main([str(labelled), "images"])
