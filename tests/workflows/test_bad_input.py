"""Everything a user can get wrong with data, through the command line: one message that says what, where, and what to do."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from photic.apps.defects.generate import generate
from photic.cli.main import main

NUM = 40
TRAIN = ("train", "recipe=severstal", "model=tiny", "training.num_epochs=1", "trainer.accelerator=cpu", "--quiet")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strips as JPEG in Kaggle layout, labels.csv beside train.csv."""
    root = tmp_path_factory.mktemp("data") / "strips"
    generate(root, NUM, height=32, width=64)
    for picture in sorted((root / "train_images").glob("*.png")):
        Image.open(picture).save(picture.with_suffix(".jpg"), quality=90)
        picture.unlink()
    for table in (root / "train.csv", root / "labels.csv"):
        table.write_text(table.read_text().replace(".png", ".jpg"))
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "strips"))


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail; return its message."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(words) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        assert not (tmp_path / "runs").exists(), "nothing was started, so nothing may be left"
        lines = captured.err.splitlines()
        assert lines[0].startswith("photic: error: ")
        assert sum(line.startswith("photic: error: ") for line in lines) == 1
        return captured.err.removeprefix("photic: error: ").strip()

    return run


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as handle:
        return list(csv.reader(handle))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def a_picture(root: Path) -> Path:
    return root / "train_images" / "strip_00007.jpg"


# --- options -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss.gama=2"], r"config\.loss: unknown field 'gama'; did you mean 'gamma'\? \(fields: .*gamma"),
        (["data.batchsize=2"], r"config\.data: unknown field 'batchsize'; did you mean 'batch_size' or"),
        (["data.augment.rotation.degree=2"], r"config\.data\.augment\.rotation: unknown field 'degree'; did you mean 'degrees'\?"),
        (["trainng.num_epochs=2"], r"config: unknown field 'trainng'; did you mean 'training' or 'trainer'\?"),
        (["--qiuet"], r"unrecognized arguments: --qiuet; did you mean '--quiet'\? \(`photic train --help` explains\)"),
        (["model=tinny"], r"config\.model\.name: unknown model 'tinny'; did you mean 'tiny'\? \(`photic list models` shows all"),
        (["data.augment.flip=true"], r"config\.data\.augment\.flip\.name: unknown augmentation 'flip'.*`photic list augmentations`"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_unknown_option_is_answered_with_the_one_meant(refused: Callable[..., str], words: list[str], message: str) -> None:
    assert re.match(message, refused(*TRAIN, "data.root=x", *words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.batch_size=four"], "config.data.batch_size: expected int, got 'four' (str)"),
        (["data.batch_size=0"], "config.data.batch_size: expected a value >= 1, got 0"),
        (["data.cache=1"], "config.data.cache: expected true or false, got 1 (int)"),
        (["loss.alpha=often"], "config.loss.alpha: expected 'dynamic' or float or a list of float or null, got 'often' (str)"),
        (["optimizer.lr=-1"], "config.optimizer.lr: expected a value > 0, got -1"),
        (["loss.gamma=nan"], "config.loss.gamma: expected a value >= 0, got nan"),
        (["data.image_size=[32]"], "config.data.image_size: expected 2 values, got 1: [32] (list)"),
        (["trainer.accelerator=tpu"], "config.trainer.accelerator: expected one of 'auto', 'cpu', 'gpu', 'mps', got 'tpu' (str)"),
        (["data.split_strategy=stratified_70_20"], "config.data.split_strategy: unknown strategy 'stratified_70_20'; did you mean"),
        (["model.width=big"], "config.model.width: expected int, got 'big' (str)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_value_is_named_with_its_path_and_what_was_expected(refused: Callable[..., str], words: list[str], message: str) -> None:
    assert refused(*TRAIN, "data.root=x", *words).startswith(message)


# --- folders -------------------------------------------------------------------------------------------------------------------------


def test_a_root_that_was_not_given_is_asked_for(refused: Callable[..., str]) -> None:
    assert refused(*TRAIN).startswith("data.root is not set; set data.root=FOLDER (severstal expects train_images/ with train.csv")


def test_a_missing_root_names_the_folder_and_where_it_was_looked_for(refused: Callable[..., str], tmp_path: Path) -> None:
    message = refused(*TRAIN, "data.root=strips")
    assert message.startswith(f"data.root=strips: no such folder (from {tmp_path}); severstal expects train_images/ with train.csv")


def test_a_file_as_root_is_said_to_be_one(refused: Callable[..., str], root: Path) -> None:
    assert f"data.root={root / 'train.csv'}: is a file" in refused(*TRAIN, f"data.root={root / 'train.csv'}")


def test_an_empty_folder_says_what_belongs_there(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refused(*TRAIN, "data.root=empty").startswith("data.root=empty: this folder is empty; severstal expects train_images/ with")


def test_a_folder_without_the_tables_says_which_it_expects(refused: Callable[..., str], root: Path) -> None:
    for table in ("train.csv", "labels.csv"):
        (root / table).unlink()
    assert f"{root}: neither train.csv nor labels.csv; expected train_images/ with" in refused(*TRAIN, f"data.root={root}")


def test_a_folder_of_another_layout_is_answered_with_its_name(refused: Callable[..., str], root: Path) -> None:
    message = refused(*TRAIN, "data=voc", f"data.root={root}")
    assert message.endswith("This folder looks like 'severstal': set data.name=severstal")


# --- pictures ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.98], ids="{} of it".format)
@pytest.mark.parametrize("grouping", ["true", "false"])
def test_a_jpeg_that_is_cut_short_is_found_before_training_begins(
    refused: Callable[..., str], root: Path, kept: float, grouping: str
) -> None:
    os.truncate(a_picture(root), int(kept * a_picture(root).stat().st_size))
    message = refused(*TRAIN, f"data.root={root}", f"data.group_near_duplicates={grouping}")
    assert message.startswith(f"{a_picture(root)}: ")
    assert re.search(r"damaged or truncated picture|not a picture that can be read", message)
    assert message.endswith("replace the file or take it out of the data set")


def test_a_png_that_is_cut_short_is_found_too(refused: Callable[..., str], root: Path) -> None:
    picture = a_picture(root)
    Image.open(picture).save(picture, format="PNG")  # a .png under a .jpg name, as the real set has them
    os.truncate(picture, picture.stat().st_size // 2)
    assert refused(*TRAIN, f"data.root={root}").startswith(f"{picture}: damaged or truncated picture")


def test_a_text_file_under_a_pictures_name_is_no_picture(refused: Callable[..., str], root: Path) -> None:
    a_picture(root).write_text("see the other folder")
    message = refused(*TRAIN, f"data.root={root}")
    assert message == (f"{a_picture(root)}: not a picture that can be read (20 bytes); replace the file or take it out of the data set")


def test_many_damaged_pictures_are_shown_together(refused: Callable[..., str], root: Path) -> None:
    for number in range(8):
        (root / "train_images" / f"strip_{number:05d}.jpg").write_bytes(b"")
    message = refused(*TRAIN, f"data.root={root}")
    assert message.startswith(f"{root}: 8 problems:\n  {root}/train_images/strip_00000.jpg: not a picture")
    assert message.endswith(f"... and 3 more\n`photic data check defects {root}` lists all of them")


def test_mixed_sizes_are_counted_and_answered_with_the_setting(refused: Callable[..., str], root: Path) -> None:
    Image.new("L", (80, 32)).save(a_picture(root))
    assert refused(*TRAIN, f"data.root={root}") == (
        f"{root}: pictures of 2 sizes: {NUM - 1} of 32x64, 1 of 32x80 (for example train_images/{a_picture(root).name}); "
        "a batch needs one size. Set data.image_size=[32,64] to resize them, or take the others out"
    )


# --- labels --------------------------------------------------------------------------------------------------------------------------


def test_a_label_for_a_missing_picture_names_both_files(refused: Callable[..., str], root: Path) -> None:
    a_picture(root).unlink()
    assert refused(*TRAIN, f"data.root={root}") == (
        f"{a_picture(root)}: no such file, but {root / 'labels.csv'} has a row for it; add the picture or remove the row"
    )


def test_a_mask_for_a_missing_picture_names_file_and_line(refused: Callable[..., str], root: Path) -> None:
    (root / "labels.csv").unlink()
    row = next(number for number, cells in enumerate(rows_of(root / "train.csv")) if number)
    name = rows_of(root / "train.csv")[row][0]
    (root / "train_images" / name).unlink()
    assert refused(*TRAIN, f"data.root={root}") == (
        f"{root / 'train.csv'} line 2: there is no picture '{name}'; add the file or remove the row"
    )


def test_a_picture_without_a_label_row_is_not_taken_for_clean(refused: Callable[..., str], root: Path) -> None:
    write_rows(root / "labels.csv", [cells for cells in rows_of(root / "labels.csv") if cells[0] != a_picture(root).name])
    assert refused(*TRAIN, f"data.root={root}") == (
        f"{a_picture(root)}: no row in {root / 'labels.csv'}; add a row for it, or set data.unlabelled=ignore to leave such pictures out"
    )


def spoil_mask(root: Path, column: int, text: str) -> str:
    """Change a cell of the first mask; return the picture's name."""
    rows = rows_of(root / "train.csv")
    rows[1][column] = text
    write_rows(root / "train.csv", rows)
    return rows[1][0]


def test_a_run_outside_the_picture_names_line_picture_and_size(refused: Callable[..., str], root: Path) -> None:
    name = spoil_mask(root, 2, "5 3 2040 20")
    message = refused(*TRAIN, f"data.root={root}")
    assert message.startswith(f"{root / 'train.csv'} line 2: mask of class ")
    assert f"on '{name}': run 2 (start 2040, length 20) reaches outside the picture of 32 x 64 = 2048 pixels" in message
    assert message.endswith("Correct or remove the row")


@pytest.mark.parametrize("text", ["5", "5 x", "0 3", "5 -3", "9 4 5 2"])
def test_runs_that_are_no_mask_are_refused_with_the_line(refused: Callable[..., str], root: Path, text: str) -> None:
    spoil_mask(root, 2, text)
    message = refused(*TRAIN, f"data.root={root}")
    assert message.startswith(f"{root / 'train.csv'} line 2: mask of class ")
    assert message.endswith("Correct or remove the row")


@pytest.mark.parametrize("class_id", ["0", "5", "-1", "two", "1.5", ""])
def test_a_class_out_of_range_names_line_and_range(refused: Callable[..., str], root: Path, class_id: str) -> None:
    name = spoil_mask(root, 1, class_id)
    assert refused(*TRAIN, f"data.root={root}") == (
        f"{root / 'train.csv'} line 2: class {class_id!r} of '{name}'; expected a whole number from 1 to 4. "
        "Correct the row, or name all classes with data.classes=[...]"
    )


def test_a_label_that_is_neither_0_nor_1_names_line_and_class(refused: Callable[..., str], root: Path) -> None:
    rows = rows_of(root / "labels.csv")
    rows[3][2] = "2"
    write_rows(root / "labels.csv", rows)
    message = refused(*TRAIN, f"data.root={root}")
    assert message.startswith(f"{root / 'labels.csv'} line 4: defect_1 of '{rows[3][0]}' is '2'; expected 0 or 1")


def test_a_doubled_row_names_both_lines(refused: Callable[..., str], root: Path) -> None:
    rows = rows_of(root / "labels.csv")
    write_rows(root / "labels.csv", [*rows, rows[1]])
    message = refused(*TRAIN, f"data.root={root}")
    assert message == f"{root / 'labels.csv'} line {NUM + 2}: '{rows[1][0]}' has a row already, on line 2; keep one"


# --- splits --------------------------------------------------------------------------------------------------------------------------


def relabel(root: Path, labels: Callable[[int], list[int]]) -> None:
    (root / "train.csv").unlink()
    header, *rows = rows_of(root / "labels.csv")
    write_rows(root / "labels.csv", [header, *([*cells[:2], *map(str, map(int, labels(row)))] for row, cells in enumerate(rows))])


def test_a_class_without_a_positive_or_a_negative_is_refused(refused: Callable[..., str], root: Path) -> None:
    relabel(root, lambda row: [row % 2, 0, row % 3 == 0, 1])
    message = refused(*TRAIN, f"data.root={root}")
    assert message == (
        f"class 'defect_2': no positive sample among {NUM}; a classifier needs both kinds. "
        "Add such samples, or leave the class out of the data set"
    )


def test_a_training_split_without_a_positive_of_a_class_is_refused(refused: Callable[..., str], root: Path) -> None:
    relabel(root, lambda row: [row % 2, row % 3 == 0, row % 5 == 0, row == 0])
    split = root.parent / "split.json"
    names = [cells[1] for cells in rows_of(root / "labels.csv")[1:]]
    parts = {"train": names[1:30], "val": names[30:35], "test": [names[0], *names[35:]]}
    split.write_text(str(parts).replace("'", '"'))
    message = refused(*TRAIN, f"data.root={root}", f"data.split_file={split}")
    assert message.startswith(f"the train split has 0 positives of class 'defect_4' among 29 pictures (1 among all {NUM})")
    assert "data.split_strategy" in message


def test_a_validation_split_of_one_kind_is_refused(refused: Callable[..., str], root: Path) -> None:
    relabel(root, lambda row: [row % 2] * 4)
    split = root.parent / "split.json"
    names = [cells[1] for cells in rows_of(root / "labels.csv")[1:]]
    parts = {"train": names[:30], "val": names[30::2], "test": names[31::2]}
    split.write_text(str(parts).replace("'", '"'))
    message = refused(*TRAIN, f"data.root={root}", f"data.split_file={split}")
    assert message.startswith("the val split has one kind of picture only: each class is in all or none of its 5 pictures")
    assert "data.split_strategy=stratified_A_B_C" in message


def test_a_saved_split_of_other_data_names_what_is_missing(refused: Callable[..., str], root: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text('{"train": ["elsewhere.jpg"], "val": [], "test": []}')
    message = refused(*TRAIN, f"data.root={root}", f"data.split_file={split}")
    assert message.startswith(f"data.split_file={split}: 'elsewhere.jpg' (train) is not in the data")


# --- the machine ---------------------------------------------------------------------------------------------------------------------


def test_an_output_folder_that_cannot_be_made_is_named(refused: Callable[..., str], root: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    message = refused(*TRAIN, f"data.root={root}", "output_dir=taken")
    assert message.startswith("config.output_dir: cannot make a run folder in taken/severstal: ")
    assert message.endswith("choose another output_dir")


def test_a_device_that_is_not_there_is_refused_before_a_run_is_begun(refused: Callable[..., str], root: Path) -> None:
    import torch

    missing = "mps" if torch.cuda.is_available() else "gpu"
    message = refused(*TRAIN, f"data.root={root}", f"trainer.accelerator={missing}")
    assert message.startswith(f"config.trainer.accelerator: '{missing}' is not available on this machine")
    assert "auto" in message
