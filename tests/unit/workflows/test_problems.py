"""Problems of a data set, printed by kind."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich.console import Console

from photic.workflows.problems import show_problems


@dataclass(frozen=True)
class Found:
    kind: str
    message: str


def printed(*problems: Found, most: int | None = None) -> list[str]:
    text = io.StringIO()
    show_problems(problems, Console(file=text, width=40), most=most)
    return text.getvalue().splitlines()


def test_there_may_be_none() -> None:
    assert printed() == ["no problems"]


def test_the_most_frequent_kind_comes_first_whatever_the_order() -> None:
    long = "a message that is longer than the console is wide, [not markup]"
    found = printed(Found("unpaired", "a.png"), Found("unreadable", long), Found("unpaired", "b.png"))
    assert found == ["unpaired (2)", "  a.png", "  b.png", "unreadable (1)", f"  {long}", "3 problems"]
    assert printed(Found("unpaired", "a.png"))[-1] == "1 problem"


def test_many_of_a_kind_are_counted() -> None:
    found = printed(*(Found("unpaired", f"{number}.png") for number in range(5)), Found("unreadable", "x.png"), most=2)
    assert found == ["unpaired (5)", "  0.png", "  1.png", "  ... and 3 more", "unreadable (1)", "  x.png", "6 problems"]
    assert len(printed(*(Found("unpaired", "x.png") for _ in range(2)), most=2)) == 4
