"""What ``photic data check`` found wrong, printed by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.text import Text


class ProblemLike(Protocol):
    """Something that makes data unusable as they are."""

    @property
    def kind(self) -> str:
        """Return a short name of what is wrong."""
        ...

    @property
    def message(self) -> str:
        """Return where it is, what was expected and what to do."""
        ...


def show_problems(problems: Sequence[ProblemLike], console: Console, *, most: int | None = None) -> None:
    """Print problems by kind, the most frequent first, and their number; or that there are none.

    Args:
        problems: what was found, in any order.
        console: where to print.
        most: how many of a kind to print; the rest is counted. None prints all.
    """
    if not problems:
        console.print(Text("no problems", style="bold green"))
        return
    for kind, count in Counter(problem.kind for problem in problems).most_common():
        console.print(Text(f"{kind} ({count})", style="bold red"))
        messages = [problem.message for problem in problems if problem.kind == kind]
        for message in messages[:most]:
            console.print(Text(f"  {message}"), soft_wrap=True)
        if most is not None and count > most:
            console.print(f"  ... and {count - most} more", highlight=False)
    console.print(Text(f"{len(problems)} problem{'s' * (len(problems) != 1)}", style="bold red"))
