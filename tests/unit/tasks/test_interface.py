"""What a graph takes and gives, as JSON that may come from anywhere."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from photic.core.errors import DataError
from photic.tasks.interface import GraphInterface, Port

PICTURE = Port("picture", "float32", ("batch", 3, "height", "width"), "Photographs.", "share of white", (0.0, 1.0))
LEVEL = Port("level", "float32", ("batch",), "How far to go.", None, (0.0, None))
RESULT = Port("result", "float32", ("batch", 3, "height", "width"), "The same, brighter.")
INTERFACE = GraphInterface((PICTURE, LEVEL), (RESULT,))


def test_it_survives_json() -> None:
    assert GraphInterface.from_json(json.loads(json.dumps(INTERFACE.to_json()))) == INTERFACE


def test_it_needs_no_torch() -> None:
    code = "import sys, photic.tasks.interface; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_free_axes_and_lines_for_people() -> None:
    assert PICTURE.free == ("batch", "height", "width")
    assert INTERFACE.lines() == [
        "takes  picture (batch, 3, height, width) float32, 0 to 1 share of white: Photographs.",
        "takes  level (batch) float32, 0 to inf: How far to go.",
        "gives  result (batch, 3, height, width) float32: The same, brighter.",
    ]


def test_what_programs_depend_on_leaves_words_out() -> None:
    other = GraphInterface((Port(**{**vars(PICTURE), "meaning": "Pictures."}), LEVEL), (RESULT,))
    assert other != INTERFACE
    assert other.signature() == INTERFACE.signature()
    assert GraphInterface((PICTURE,), (RESULT,)).signature() != INTERFACE.signature()


def change(place: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def changed(plain: dict[str, Any]) -> Any:
        plain["inputs"][0][place] = value
        return plain

    return changed


FORGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda plain: [],
    "null": lambda plain: None,
    "a side is missing": lambda plain: {"inputs": plain["inputs"]},
    "more than it should have": lambda plain: {**plain, "run": "rm"},
    "no port": lambda plain: {**plain, "outputs": []},
    "many ports": lambda plain: {**plain, "outputs": plain["outputs"] * 1000},
    "twice one name": lambda plain: {**plain, "inputs": plain["inputs"] + plain["inputs"][:1]},
    "a port that is none": lambda plain: {**plain, "inputs": ["picture"]},
    "a field is missing": lambda plain: {**plain, "inputs": [{"name": "picture"}]},
    "a path for a name": change("name", "../../etc"),
    "a number for a name": change("name", 3),
    "a long name": change("name", "a" * 65),
    "a type that is none": change("dtype", "object"),
    "no list of types": change("dtype", ["float32"]),
    "a shape that is a word": change("shape", "batch"),
    "an axis of nothing": change("shape", ["batch", 0]),
    "an axis that is true": change("shape", [True]),
    "a huge axis": change("shape", [1 << 40]),
    "an axis with a bad name": change("shape", ["Batch size"]),
    "many axes": change("shape", ["batch"] * 9),
    "no meaning": change("meaning", ""),
    "a book": change("meaning", "x" * 501),
    "a unit that is a number": change("unit", 1),
    "half a range": change("range", [0]),
    "a range upside down": change("range", [1, 0]),
    "a range without end": change("range", [0, float("inf")]),
    "words for a range": change("range", ["0", "1"]),
    "a range that is a word": change("range", "01"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_what_is_none_is_refused_with_its_place(forge: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(DataError, match="interface"):
        GraphInterface.from_json(forge(copy.deepcopy(INTERFACE.to_json())))


@pytest.mark.parametrize("fields", [{"name": "Picture"}, {"shape": ["batch"]}, {"dtype": "complex64"}, {"range": (2.0, 1.0)}])
def test_ports_are_checked_where_they_are_made(fields: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="port"):
        Port(**{**vars(PICTURE), **fields})
