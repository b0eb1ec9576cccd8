"""Formats of predictions and the sheet of activation maps."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photic.apps.defects.rle import decode
from photic.apps.defects.submission import KaggleFormat
from photic.core.errors import DataError, UnknownNameError
from photic.functional.palette import class_colour, rgb
from photic.inference.outputs import CSVFormat, JSONLinesFormat, Prediction, draw_maps, map_names, prediction_format

CLASSES = ("scratches", 'rolled, "in" scale')


def prediction(**changes: object) -> Prediction:
    activation = np.zeros((8, 12))
    activation[2:4, 3:6] = np.linspace(0.5, 1, 6).reshape(2, 3)
    values = {
        "file": Path("line 3/a,1.png"),
        "size": (8, 12),
        "probabilities": np.array([0.25, 0.875]),
        "decisions": np.array([False, True]),
        "maps": {1: activation},
    }
    return Prediction(**{**values, **changes})


def test_csv_survives_commas_and_quotes_in_names() -> None:
    writer = CSVFormat(CLASSES, (0.5, 0.5))
    (row,) = csv.DictReader(io.StringIO(writer.header() + writer.lines(prediction())))
    assert row == {
        "file": "line 3/a,1.png",
        "probability:scratches": "0.250000",
        'probability:rolled, "in" scale': "0.875000",
        "decision:scratches": "0",
        'decision:rolled, "in" scale': "1",
    }


def test_jsonl_is_one_object_on_one_line() -> None:
    line = JSONLinesFormat(CLASSES, (0.5, 0.75)).lines(prediction(file=Path("straße\n1.png")))
    assert line.endswith("\n") and line.count("\n") == 1
    content = json.loads(line)
    assert content["file"] == "straße\n1.png"
    assert content["decisions"] == {"scratches": False, 'rolled, "in" scale': True}
    assert content["thresholds"] == {"scratches": 0.5, 'rolled, "in" scale': 0.75}


def test_kaggle_encodes_the_upper_half_of_the_map_column_by_column() -> None:
    rows = list(csv.reader(io.StringIO(KaggleFormat(CLASSES, (0.5, 0.5)).lines(prediction()))))
    assert [row[0] for row in rows] == ["a,1.png_1", "a,1.png_2"]
    assert rows[0][1] == ""
    assert rows[1][1] == "27 2 35 2 43 2"  # columns 3 to 5 of 8 rows, rows 2 and 3, counted from 1
    assert (decode(rows[1][1], 8, 12) == (prediction().maps[1] >= 0.5)).all()


def test_kaggle_knows_pictures_by_name() -> None:
    KaggleFormat(CLASSES, (0.5, 0.5)).check([Path("a/1.jpg"), Path("a/2.jpg")])
    with pytest.raises(DataError, match="'1.jpg' comes 2 times"):
        KaggleFormat(CLASSES, (0.5, 0.5)).check([Path("a/1.jpg"), Path("b/1.jpg")])


def test_formats_are_found_by_name_those_of_applications_too() -> None:
    assert prediction_format("csv") is CSVFormat
    assert prediction_format("kaggle") is KaggleFormat
    with pytest.raises(UnknownNameError, match=r"unknown output format 'kagle'; did you mean 'kaggle'\? \(formats: csv, jsonl, kaggle"):
        prediction_format("kagle")


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a_b", "a.b"]), min_size=1, max_size=3).map(lambda parts: Path(*parts)), unique=True))
def test_every_file_gets_a_name_of_its_own(files: list[Path]) -> None:
    names = map_names(files)
    assert len(set(names)) == len(names) == len(files)
    assert all(name.endswith(".png") and "/" not in name for name in names)


def test_the_sheet_shows_the_picture_untouched_then_each_class_in_its_colour() -> None:
    image = np.full((8, 12, 3), 90, dtype=np.uint8)
    sheet = np.asarray(draw_maps(image, prediction(), CLASSES))
    scale = sheet.shape[1] // 12
    assert sheet.shape[1] >= 800
    panel = 8 * scale
    assert (sheet[26 : 26 + panel] == 90).all()
    shown = sheet[2 * 26 + panel :]
    assert shown.shape[0] == panel
    assert (shown[2 * scale, 5 * scale] == rgb(class_colour(1))).all()  # on the outline
    assert (shown[0, 0] == 90).all()


def test_a_native_strip_keeps_its_pixels() -> None:
    image = np.zeros((256, 1600, 3), dtype=np.uint8)
    sheet = draw_maps(image, prediction(maps={0: np.zeros((256, 1600)), 1: np.zeros((256, 1600))}), CLASSES)
    assert sheet.size == (1600, 3 * (256 + 26))
