"""What `photic evaluate` prints of tasks that are no classification."""

from __future__ import annotations

from pathlib import Path

from photic.workflows.evaluate import EvaluateResult


def test_every_number_of_a_report_stands_on_a_line_with_its_place() -> None:
    values = {"loss": 2.5, "bpp": 0.25, "quality": {"1": {"bpp": 0.125}}, "note": "text", "pictures": 6}
    lines = EvaluateResult(Path("run"), "test", 6, values, Path("out.json")).table().splitlines()
    assert lines[0] == "run: test, 6 pictures, loss 2.5000"
    assert [line.rsplit(maxsplit=1) for line in lines[2:]] == [
        ["loss", "2.5000"],
        ["bpp", "0.2500"],
        ["quality 1 bpp", "0.1250"],
        ["pictures", "6"],
    ]
