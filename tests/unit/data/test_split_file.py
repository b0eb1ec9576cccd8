"""Saved splits: which rows they mean, and every way in which one does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from photic.core.errors import DataError
from photic.data.split_file import read_split

NAMES = ["a", "b", "c", "d"]
TWO = ("train", "val")


def write(folder: Path, content: Any) -> Path:
    path = folder / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_names_become_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows, notes = read_split(write(tmp_path, {"test": ["b"], "train": ["d", "a"], "val": ["c"]}), NAMES)
    assert {phase: part.tolist() for phase, part in rows.items()} == {"train": [3, 0], "val": [2], "test": [1]}
    assert list(rows) == ["train", "val", "test"]
    assert notes == ()


def test_a_part_may_be_missing_or_empty_where_it_is_not_required(tmp_path: Path) -> None:
    for more in ({}, {"test": []}):
        rows, notes = read_split(write(tmp_path, {"train": ["a"], "val": ["b"], **more}), NAMES, required=TWO)
        assert list(rows) == ["train", "val"]
        assert notes == ("2 pictures are in no split of split.json and are left out",)


def test_foreign_names_are_none_of_its_business(tmp_path: Path) -> None:
    path = write(tmp_path, {"train": ["a", "other/x"], "val": ["b"]})
    assert read_split(path, NAMES, required=TWO, foreign="other/")[0]["train"].tolist() == [0]
    with pytest.raises(DataError, match=r"'other/x' \(train\) is not in the data \(1 such names\)"):
        read_split(path, NAMES, required=TWO)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected lists of names under train, val and perhaps test"),
        ({"train": ["a"]}, "expected lists of names under train, val and perhaps test"),
        ({"train": ["a"], "val": "b"}, "expected lists of names"),
        ({"train": ["a"], "val": [["b"]]}, "expected lists of names"),
        ({"train": ["a"], "val": ["b"], "rest": []}, "expected lists of names"),
        ({"train": ["a", "y"], "val": ["z"]}, r"'y' \(train\) is not in the data \(2 such names\); use the data the split was made for"),
        ({"train": ["a"], "val": ["a"]}, "'a' is in train and again in val; a picture belongs to one split"),
        ({"train": ["a"], "val": []}, "the val split is empty"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        read_split(path, NAMES, required=TWO)
    assert str(caught.value).startswith(f"data.split_file={path}: ")


def test_all_three_parts_are_required_unless_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected lists of names under train, val, test, as"):
        read_split(write(tmp_path, {"train": ["a"], "val": ["b"]}), NAMES)
    with pytest.raises(DataError, match="the test split is empty"):
        read_split(write(tmp_path, {"train": ["a"], "val": ["b"], "test": []}), NAMES)
    with pytest.raises(DataError, match="no such file; expected the split.json of a run"):
        read_split(tmp_path / "none.json", NAMES)
