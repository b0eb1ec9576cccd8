"""`photic data generate lowlight`: what it draws is what the rest reads."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.lowlight.check import main as check
from photic.apps.lowlight.generate import generate, main
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import DataError
from photic.data.images import read_image


def test_pairs_are_those_of_the_drawing_functions_and_pass_the_check(tmp_path, capsys):
    assert main([str(tmp_path / "pairs"), "--num", "3", "--height", "48", "--width", "64", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert "3 pairs of 48 x 64 pixels in low/ and high/, seed 5" in out
    for index in range(3):
        for side, drawn in zip(("low", "high"), draw_pair(5, index, 48, 64), strict=True):
            np.testing.assert_array_equal(read_image(tmp_path / "pairs" / side / f"scene_{index:04d}.png"), drawn)
    assert check([str(tmp_path / "pairs")]) == 0


def test_force_replaces_what_was_generated_and_nothing_else(tmp_path):
    generate(tmp_path, 3, height=32, width=32)
    (tmp_path / "low" / "mine.png").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty; choose another folder, or add --force"):
        generate(tmp_path, 1, height=32, width=32)
    generate(tmp_path, 1, height=32, width=32, force=True)
    assert sorted(path.name for path in (tmp_path / "low").iterdir()) == ["mine.png", "scene_0000.png"]
    assert sorted(path.name for path in (tmp_path / "high").iterdir()) == ["scene_0000.png"]


@pytest.mark.parametrize("wrong", [{"num": 0}, {"height": 16}, {"width": 31}], ids=str)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(DataError, match="cannot draw"):
        generate(tmp_path / "new", **{"num": 2, "height": 32, "width": 32, **wrong})
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="file: a file; expected a folder to write to"):
        generate(tmp_path / "file", 1)
