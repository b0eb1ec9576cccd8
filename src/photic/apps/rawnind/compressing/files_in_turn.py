"""One file after the other, with a bar: what goes wrong with one of them is kept for the summary, and the others are done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from photic.core.errors import BitstreamError, DataError, StorageError
from photic.inference.outcome import Outcome, about
from photic.inference.targets import Target
from photic.workflows.progress import counting

Advance = Callable[[int], None]
"""Called with the number of pixels done, each time some are."""


def in_turn(
    title: str,
    targets: Sequence[Target],
    make: Callable[[Target, Advance], None],
    outcome: Outcome,
    *,
    megapixels: Callable[[Path], float],
    quiet: bool,
) -> None:
    """Make something of each file.

    Args:
        title: of the bar.
        targets: the files.
        make: does it for one of them; a DataError or BitstreamError counts against that file alone.
        outcome: gets what was made, what failed, and what was warned of.
        megapixels: of a file: how long the bar is where there is only one.
        quiet: no bar.
    """

    def tried(target: Target, advance: Advance) -> None:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", UserWarning)
            try:
                make(target, advance)
                outcome.made.append(target.output)
            except StorageError:
                raise  # a full disk is no property of the file
            except (DataError, BitstreamError) as error:
                outcome.failed.append((target.source, str(error)))
        texts = dict.fromkeys(str(warning.message) for warning in raised if warning.category is UserWarning)
        outcome.notes += [about(target.source, text) for text in texts]

    if len(targets) == 1:
        with counting(title, max(1, round(_length(targets[0].source, megapixels))), "megapixels", quiet=quiet) as advance:
            tried(targets[0], lambda pixels: advance(pixels / 1e6))  # type: ignore[arg-type]  # rich counts fractions, too
        return
    with counting(title, len(targets), "files", quiet=quiet) as advance:
        for target in targets:
            tried(target, lambda pixels: None)
            advance(1)


def _length(source: Path, megapixels: Callable[[Path], float]) -> float:
    """Return how much there is to do; a file that cannot be read counts as one, and is named when it is."""
    try:
        return megapixels(source)
    except (DataError, BitstreamError):
        return 1.0
