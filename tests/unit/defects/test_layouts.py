"""Each layout is read as it is meant, and every fault is named with its file, row or class."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photic.apps.defects.datasets import ClassFoldersConfig, LabelCsvConfig, SeverstalConfig, VocConfig, detect_layout
from photic.apps.defects.rle import fill
from photic.core.errors import DataError

TWO = ("defect_1", "defect_2")


def read_kaggle(root, **fields):
    return SeverstalConfig(root=root, classes=TWO, **fields).read_table()


def messages(table):
    return [problem.message for problem in table.problems]


def only_problem(table) -> str:
    assert len(table.problems) == 1, messages(table)
    with pytest.raises(DataError) as error:
        table.refuse_problems()
    return str(error.value)


# --- Kaggle ---------------------------------------------------------------------------------------


def test_kaggle_pictures_absent_from_the_table_are_clean(kaggle, files):
    table = read_kaggle(kaggle)
    assert table.problems == ()
    assert table.names == tuple(f"train_images/{row:02d}.png" for row in range(40))
    assert table.labels.tolist() == [files.labels_of(row) for row in range(40)]


def test_kaggle_masks_and_objects_are_read(kaggle, files):
    table = read_kaggle(kaggle)
    for (row, column), runs in table.runs.items():
        mask = files.mask_of(row, column)
        assert np.array_equal(fill(runs, *files.size), mask)
        assert table.area_px(row, column) == mask.sum()
    assert len(table.runs) == table.labels.sum()
    assert np.array_equal(table.objects > 0, table.labels > 0)
    assert table.objects.max() == 2


def test_kaggle_one_column_variant_says_the_same(kaggle, files):
    two_columns = read_kaggle(kaggle)
    _, *rows = files.read_csv(kaggle / "train.csv")
    masks = {(image, class_id): text for image, class_id, text in rows}
    every = [[f"{row:02d}.png_{c}", masks.get((f"{row:02d}.png", str(c)), "")] for row in range(40) for c in (1, 2)]
    files.write_csv(kaggle / "train.csv", [["ImageId_ClassId", "EncodedPixels"], *every])
    table = read_kaggle(kaggle)
    assert table.problems == ()
    assert np.array_equal(table.labels, two_columns.labels)
    assert table.runs.keys() == two_columns.runs.keys()


def test_a_label_table_wins_for_labels_and_file_names(labelled, files):
    (labelled / "train_images" / "00.png").rename(labelled / "train_images" / "other.png")
    files.change_row(labelled / "labels.csv", 0, file="train_images/other.png")
    files.change_row(labelled / "labels.csv", 3, defect_1=1)  # no mask in train.csv, which alone would call it clean
    table = read_kaggle(labelled)
    assert table.problems == ()
    assert table.names[0] == "train_images/other.png"
    assert (0, 0) in table.runs
    assert table.labels[3].tolist() == [1, 0]
    assert table.objects is None
    assert "1 of 41 positive labels have no mask in train.csv" in table.notes[0]


def test_a_label_table_needs_neither_masks_nor_a_file_column(labelled, files):
    (labelled / "train.csv").unlink()
    header, *rows = files.read_csv(labelled / "labels.csv")
    files.write_csv(labelled / "labels.csv", [[header[0], *header[2:]], *([row[0], *row[2:]] for row in rows)])
    table = read_kaggle(labelled)
    assert table.problems == ()
    assert table.names[5] == "train_images/05.png"
    assert not table.runs


def test_a_run_outside_the_picture_is_named(kaggle, files):
    files.change_row(kaggle / "train.csv", 0, EncodedPixels="380 9")
    message = only_problem(read_kaggle(kaggle))
    assert "train.csv line 2: mask of class 1 on '00.png': run 1 (start 380, length 9)" in message
    assert "outside the picture of 16 x 24 = 384 pixels" in message


@pytest.mark.parametrize("class_id", ["0", "3", "-1", "x", "1.0", ""])
def test_a_class_out_of_range_is_named(kaggle, files, class_id):
    files.change_row(kaggle / "train.csv", 0, ClassId=class_id)
    message = only_problem(read_kaggle(kaggle))
    assert f"train.csv line 2: class {class_id!r} of '00.png'; expected a whole number from 1 to 2" in message


def test_a_duplicated_mask_row_is_named_with_the_first(kaggle, files):
    files.add_row(kaggle / "train.csv", "00.png", 2, "1 1")
    message = only_problem(read_kaggle(kaggle))
    assert "train.csv line 42: class 2 of '00.png' has a row already, on line 3" in message


def test_an_empty_mask_does_not_become_a_clean_label(kaggle, files):
    files.change_row(kaggle / "train.csv", 0, EncodedPixels="")
    table = read_kaggle(kaggle)
    assert "line 2: mask of class 1 on '00.png': no runs" in only_problem(table)
    assert table.labels[0].tolist() == [1, 1]


def test_a_mask_for_a_missing_picture_is_named(kaggle):
    (kaggle / "train_images" / "01.png").unlink()
    assert "train.csv line 4: there is no picture '01.png'" in only_problem(read_kaggle(kaggle))


def test_a_label_for_a_missing_picture_is_named(labelled):
    (labelled / "train_images" / "03.png").unlink()
    message = only_problem(read_kaggle(labelled))
    assert "03.png: no such file, but" in message
    assert "labels.csv has a row for it; add the picture or remove the row" in message


def test_a_picture_without_label_row_is_an_error_unless_left_out(labelled, files):
    files.write_picture(labelled / "train_images" / "new.png", 99)
    assert "new.png: no row in" in only_problem(read_kaggle(labelled))
    table = read_kaggle(labelled, unlabelled="ignore")
    assert table.problems == ()
    assert len(table.names) == 40


def test_pictures_for_prediction_beside_the_labelled_ones_are_no_problem(labelled, files):
    files.write_picture(labelled / "test_images" / "new.png", 99)
    assert read_kaggle(labelled).problems == ()


def test_a_duplicated_label_row_is_named_with_the_first(labelled, files):
    files.add_row(labelled / "labels.csv", "04.png", "train_images/04.png", 0, 0)
    assert "labels.csv line 42: '04.png' has a row already, on line 6" in only_problem(read_kaggle(labelled))


def test_a_label_that_is_neither_0_nor_1_is_named(labelled, files):
    files.change_row(labelled / "labels.csv", 7, defect_2="yes")
    assert "labels.csv line 9: defect_2 of '07.png' is 'yes'; expected 0 or 1" in only_problem(read_kaggle(labelled))


def test_a_mask_that_contradicts_the_label_table_is_named(labelled, files):
    files.change_row(labelled / "labels.csv", 1, defect_1=0)
    message = only_problem(read_kaggle(labelled))
    assert "train.csv line 4: a mask of class 1 on '01.png', which the label table calls free of it" in message


def test_masks_of_pictures_outside_the_label_table_are_noted(labelled, files):
    files.add_row(labelled / "train.csv", "elsewhere.png", 1, "1 2")
    table = read_kaggle(labelled)
    assert table.problems == ()
    assert table.notes == ("1 rows of train.csv belong to pictures that the label table does not list; they are left out",)


def test_a_class_column_that_the_classes_lack_is_no_silent_loss(labelled):
    with pytest.raises(DataError, match=r"column 'defect_2' is no class \(classes: defect_1\); set data.classes="):
        SeverstalConfig(root=labelled, classes=("defect_1",)).read_table()


def test_an_unreadable_header_is_named_and_no_label_is_lost(kaggle):
    (kaggle / "train_images" / "05.png").write_bytes(b"no picture")
    table = read_kaggle(kaggle)
    assert "05.png: not a picture" in only_problem(table)
    assert table.labels[5].tolist() == [1, 0]


def test_many_problems_are_counted_and_the_first_shown(kaggle, files):
    for row in range(8):
        files.change_row(kaggle / "train.csv", row, ClassId=9)
    table = read_kaggle(kaggle)
    with pytest.raises(DataError, match=r"8 problems:\n.*line 2.*(\n.*){4}\n  \.\.\. and 3 more\n`photic data check defects"):
        table.refuse_problems()


def test_a_missing_column_is_answered_with_the_nearest(kaggle, files):
    header, *rows = files.read_csv(kaggle / "train.csv")
    files.write_csv(kaggle / "train.csv", [["ImageID", *header[1:]], *rows])
    with pytest.raises(DataError, match=r"train.csv: no column 'ImageId'; did you mean 'ImageID'\?"):
        read_kaggle(kaggle)


def test_a_row_with_too_many_cells_is_named(kaggle, files):
    files.add_row(kaggle / "train.csv", "39.png", 1, "1 2", "left over")
    with pytest.raises(DataError, match=r"train.csv line 42: more cells than the header has columns \(3\)"):
        read_kaggle(kaggle)


def test_a_table_that_is_not_text_or_empty_is_refused(kaggle, files):
    (kaggle / "train.csv").write_bytes(b"\xff\xfe\x00ImageId")
    with pytest.raises(DataError, match="train.csv: cannot be read as CSV text"):
        read_kaggle(kaggle)
    (kaggle / "train.csv").write_text("")
    with pytest.raises(DataError, match="train.csv: empty"):
        read_kaggle(kaggle)
    (kaggle / "train.csv").write_text("ImageId,ClassId,EncodedPixels\n")
    with pytest.raises(DataError, match="train.csv: a header but no rows"):
        read_kaggle(kaggle)


def test_a_folder_without_tables_or_pictures_says_what_was_expected(kaggle, tmp_path):
    for path in (kaggle / "train_images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="train_images: no pictures; expected those that"):
        read_kaggle(kaggle)
    (kaggle / "train.csv").unlink()
    with pytest.raises(DataError, match="neither train.csv nor labels.csv; expected train_images/ with train.csv"):
        read_kaggle(kaggle)


# --- plain CSV ------------------------------------------------------------------------------------


@pytest.fixture
def csv_root(tmp_path, files):
    root = tmp_path / "plain"
    rows = []
    for row in range(40):
        files.write_picture(root / "pictures" / "x" / f"{row:02d}.png", row)
        rows.append([f"x/{row:02d}.png", 200, *files.labels_of(row), ["train", "train", "val", "test"][row // 4 % 4]])
    files.write_csv(root / "labels.csv", [["file", "w", "crack", "stain", "part"], *rows])
    return root


def test_label_csv_finds_its_class_columns_and_says_what_it_left_out(csv_root, files):
    table = LabelCsvConfig(root=csv_root, images="pictures").read_table()
    assert table.problems == ()
    assert table.classes == ("crack", "stain")
    assert table.labels.tolist() == [files.labels_of(row) for row in range(40)]
    assert table.names[0] == "x/00.png"
    assert table.notes == ("columns of labels.csv that are not 0/1 are left out: w, part",)


def test_label_csv_takes_named_columns_in_their_order(csv_root):
    table = LabelCsvConfig(root=csv_root, images="pictures", class_columns=("stain",)).read_table()
    assert table.classes == ("stain",)
    with pytest.raises(DataError, match=r"no column 'stian'; did you mean 'stain'\?"):
        LabelCsvConfig(root=csv_root, images="pictures", class_columns=("stian",)).read_table()


def test_a_slip_in_a_class_column_does_not_make_the_class_vanish(csv_root, files):
    files.change_row(csv_root / "labels.csv", 3, stain="O")
    with pytest.raises(DataError, match="labels.csv line 5: column 'stain' holds 0 and 1 in some rows, but 'O' here"):
        LabelCsvConfig(root=csv_root, images="pictures").read_table()
    table = LabelCsvConfig(root=csv_root, images="pictures", class_columns=("crack", "stain")).read_table()
    assert "line 5: stain of 'x/03.png' is 'O'" in only_problem(table)


def test_label_csv_names_duplicates_missing_and_unlabelled_pictures(csv_root, files):
    files.add_row(csv_root / "labels.csv", "x/00.png", 200, 1, 1, "train")
    files.add_row(csv_root / "labels.csv", "x/gone.png", 200, 1, 1, "train")
    files.write_picture(csv_root / "pictures" / "x" / "new.png", 99)
    found = messages(LabelCsvConfig(root=csv_root, images="pictures").read_table())
    assert len(found) == 3
    assert "line 42: 'x/00.png' has a row already, on line 2" in found[0]
    assert "gone.png: no such file, but" in found[1]
    assert "new.png: no row in" in found[2]


def test_label_csv_with_the_wrong_picture_folder_says_which_field_to_set(csv_root):
    with pytest.raises(DataError, match=r"none of the 40 files named in column 'file' exists below .*; set data.images"):
        LabelCsvConfig(root=csv_root).read_table()


def test_label_csv_without_classes_lists_its_columns(csv_root, files):
    rows = [row[:2] for row in files.read_csv(csv_root / "labels.csv")]
    files.write_csv(csv_root / "labels.csv", rows)
    with pytest.raises(DataError, match=r"no column holds only 0 and 1 \(columns: w\)"):
        LabelCsvConfig(root=csv_root, images="pictures").read_table()


def test_label_csv_reads_the_split_that_comes_with_the_data(csv_root, files):
    config = LabelCsvConfig(root=csv_root, images="pictures", split_column="part", split_strategy="fixed")
    prepared = config.prepare(seed=0)
    assert {phase: len(names) for phase, names in prepared.names.items()} == {"train": 24, "val": 8, "test": 8}
    assert prepared.names["val"][0] == "x/08.png"
    files.change_row(csv_root / "labels.csv", 0, part="training")
    assert "line 2: part of 'x/00.png' is 'training'; expected train, val, test" in only_problem(config.read_table())


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path, files):
    root = tmp_path / "sorted"
    for row in range(30):
        files.write_picture(root / ["crack", "good", "stain"][row % 3] / f"{row:02d}.png", row)
    return root


def test_class_folders_give_one_class_per_picture(folders):
    table = ClassFoldersConfig(root=folders).read_table()
    assert table.problems == ()
    assert table.classes == ("crack", "good", "stain")
    assert table.labels.sum(axis=0).tolist() == [10, 10, 10]
    assert table.names[0] == "crack/00.png"


def test_the_clean_folder_is_no_class(folders):
    table = ClassFoldersConfig(root=folders, clean_folder="good").read_table()
    assert table.classes == ("crack", "stain")
    assert (table.labels.sum(axis=1) == 0).sum() == 10
    with pytest.raises(DataError, match=r"no folder 'god' \(data.clean_folder\); did you mean 'good'\?"):
        ClassFoldersConfig(root=folders, clean_folder="god").read_table()


def test_class_folders_name_empty_folders_and_loose_pictures(folders, files):
    (folders / "dent").mkdir()
    files.write_picture(folders / "loose.png", 1)
    found = messages(ClassFoldersConfig(root=folders).read_table())
    assert len(found) == 2
    assert "loose.png: lies beside the class folders" in found[0]
    assert "dent: no pictures in this class folder" in found[1]


def test_folders_without_any_picture_are_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(DataError, match="no pictures in any of the folders b; expected a folder per class"):
        ClassFoldersConfig(root=tmp_path / "a").read_table()


# --- VOC ------------------------------------------------------------------------------------------


def test_voc_classes_are_those_of_the_objects(voc_root, files):
    table = VocConfig(root=voc_root).read_table()
    assert table.problems == ()
    assert table.classes == ("crack", "stain")
    assert table.names[:2] == ("train/images/a/p00.jpg", "train/images/a/p02.jpg")
    order = [int(name[-6:-4]) for name in table.names]
    assert table.labels.tolist() == [files.labels_of(row) for row in order]
    assert table.objects.sum(axis=0).tolist() == [20, 40]
    assert not table.runs


def test_voc_boxes_become_masks_on_request(voc_root, files):
    table = VocConfig(root=voc_root, box_masks=True).read_table()
    mask = fill(table.runs[0, 1], *files.size)
    expected = np.zeros(files.size, dtype=bool)
    expected[2:9, 4:12] = True
    expected[9:16, 19:24] = True
    assert np.array_equal(mask, expected)


def test_voc_faults_are_named_with_file_and_object(voc_root, files):
    notes = voc_root / "train" / "annotations"
    files.write_annotation(notes / "p00.xml", [("crack", 1, 1, 25, 4)])
    files.write_annotation(notes / "p02.xml", [("crack", 9, 1, 3, 4)])
    files.write_annotation(notes / "gone.xml", [("crack", 1, 1, 3, 4)])
    (notes / "p04.xml").write_text("<annotation>")
    (notes / "p06.xml").unlink()
    found = "\n".join(messages(VocConfig(root=voc_root).read_table()))
    assert "p00.xml: object 1 (crack): box x 1..25, y 1..4 is reversed or reaches outside the picture of 16 x 24" in found
    assert "p02.xml: object 1 (crack): box x 9..3" in found
    assert "gone.xml: there is no picture 'gone'" in found
    assert "p04.xml: not XML that can be read" in found
    assert "p06.jpg: no XML file of that name" in found


def test_voc_objects_of_unknown_classes_are_named(voc_root, files):
    files.write_annotation(voc_root / "train" / "annotations" / "p00.xml", [("stains", 1, 1, 5, 4)])
    table = VocConfig(root=voc_root, classes=("crack", "stain")).read_table()
    assert "p00.xml: object 1 is a 'stains'; did you mean 'stain'? (classes: crack, stain)" in only_problem(table)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<object><bndbox/></object>", "object 1 has no name"),
        ("<object><name>crack</name></object>", r"object 1 \(crack\): box .* is not four numbers"),
        ("<object><name>crack</name><bndbox><xmin>a</xmin></bndbox></object>", "is not four numbers"),
    ],
)
def test_voc_objects_without_name_or_box_are_refused(voc_root, xml, message):
    (voc_root / "train" / "annotations" / "p00.xml").write_text(f"<annotation>{xml}</annotation>")
    table = VocConfig(root=voc_root).read_table()
    with pytest.raises(DataError, match=message):
        table.refuse_problems()


def test_voc_pictures_of_one_name_in_two_sets_keep_their_own_annotation(voc_root, files):
    files.write_picture(voc_root / "valid" / "images" / "p00.jpg", 77)
    files.write_annotation(voc_root / "valid" / "annotations" / "p00.xml", [("crack", 1, 1, 3, 4)])
    table = VocConfig(root=voc_root).read_table()
    assert table.problems == ()
    assert table.labels[table.names.index("valid/images/p00.jpg")].tolist() == [1, 0]
    assert table.labels[table.names.index("train/images/a/p00.jpg")].tolist() == [1, 1]


# --- which layout ---------------------------------------------------------------------------------


def test_layouts_are_told_apart(labelled, voc_root, csv_root, folders, tmp_path):
    assert detect_layout(labelled) == "severstal"
    assert detect_layout(voc_root) == "voc"
    assert detect_layout(csv_root) == "label_csv"
    assert detect_layout(folders) == "class_folders"
    (tmp_path / "nothing").mkdir()
    assert detect_layout(tmp_path / "nothing") is None


def test_the_wrong_layout_is_answered_with_the_right_one(voc_root, labelled):
    with pytest.raises(DataError, match="This folder looks like 'voc': set data.name=voc"):
        SeverstalConfig(root=voc_root).read_table()
    with pytest.raises(DataError, match="This folder looks like 'severstal'"):
        VocConfig(root=labelled).read_table()


def test_a_missing_root_says_how_to_set_it_and_what_is_looked_for(tmp_path, files):
    with pytest.raises(DataError, match=r"data.root is not set; set data.root=FOLDER \(severstal expects train_images/ with train.csv"):
        SeverstalConfig().prepare(0)
    with pytest.raises(DataError, match=r"data.root=.*/absent: no such folder \(from .*\); voc expects a folder 'annotations'"):
        VocConfig(root=tmp_path / "absent").prepare(0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: this folder is empty; class_folders expects a folder per class"):
        ClassFoldersConfig(root=tmp_path / "empty").prepare(0)
    (tmp_path / "file").write_text(json.dumps({}))
    with pytest.raises(DataError, match="file: is a file"):
        LabelCsvConfig(root=tmp_path / "file").prepare(0)
