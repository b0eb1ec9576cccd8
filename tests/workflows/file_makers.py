"""What makes files in processes of their own, for tests; imported there by its plain name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import saved
from photic.inference.answer import Answer
from photic.inference.targets import Target
from photic.workflows.file_making import Advance, Make


def copier() -> Make:
    """Return what copies files and does what their content says; each names the process that made it."""
    return copied


def copied(target: Target, advance: Advance) -> Answer:
    text = target.source.read_text()
    advance(0.25)
    if text == "bad":
        raise DataError(f"{target.source}: is bad")
    if text == "full":
        raise StorageError(f"{target.output}: the disk is full")
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "bug":
        raise ZeroDivisionError("a mistake of ours")
    with saved(target.output) as temporary:
        temporary.write_text(text)
        if text == "slow":
            (target.source.parent / f"pid_{os.getpid()}").touch()
            for _ in range(40):
                time.sleep(0.1)
    advance(0.5)
    return Answer((target.output,), {"pid": os.getpid()}, (f"copied {target.source.name}",))


def refusing() -> Make:
    raise ConfigError("options: cannot be followed")


def targets(folder: Path, *texts: str) -> list[Target]:
    made = []
    for number, text in enumerate(texts):
        source = folder / "in" / f"{number}.txt"
        source.parent.mkdir(exist_ok=True)
        source.write_text(text)
        made.append(Target(source, folder / "out" / source.name))
    return made
