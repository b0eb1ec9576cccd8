"""A bar that counts, with the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def counting(title: str, total: int, what: str, *, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """Show a bar on standard error; give a function that counts, fractions too.

    Args:
        title: what is done.
        total: how many there are.
        what: of what.
        quiet: show nothing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
