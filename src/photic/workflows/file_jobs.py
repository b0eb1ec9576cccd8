"""Files in, files out: what every command does that makes a file of each of many files, whatever it makes.

One file is in memory at a time, or one in each of several processes. What is wrong with a file is told at the end and the others are made;
a disk that is full is nobody's fault and ends the work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from photic.core.errors import RunInterrupted
from photic.inference.file_model import Answer, FileModel, FileOptions, options_of
from photic.inference.memory import keep_freed_memory
from photic.inference.outcome import Outcome
from photic.inference.targets import Kinds, Target, plan, refuse_existing
from photic.workflows.file_making import Advance, Make, Opener, tried
from photic.workflows.file_workers import in_processes
from photic.workflows.progress import counting

Files = Callable[[Target], Sequence[Path]]
"""What is written for a file, the result itself first."""


def only_the_result(target: Target) -> Sequence[Path]:
    """Return the file that is written for a target, where it is one."""
    return (target.output,)


def run(
    title: str,
    targets: Sequence[Target],
    opened: Opener,
    *,
    files: Files = only_the_result,
    workers: int = 1,
    skip_existing: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Make something of each file.

    Args:
        title: of the bar.
        targets: files and their results.
        opened: what makes them.
        files: what is written for each.
        workers: processes that make files at the same time; 1 makes them in this one. Results do not depend on it.
        skip_existing: leave results that are there.
        force: replace results that are there.
        quiet: no bar.

    Raises:
        ConfigError: a result is there already, and nobody said what shall become of it; nothing is made then. Or an option is impossible.
        StorageError: a result cannot be written.
        RunInterrupted: somebody asked to stop (Ctrl-C).
    """
    outcome = Outcome()
    waiting = [target for target in targets if not (skip_existing and files(target)[0].exists())]
    outcome.left = len(targets) - len(waiting)
    if not force:
        refuse_existing([files(target)[0] for target in waiting])
        refuse_existing([path for target in waiting for path in files(target)[1:]], what="--force replaces them")
    if not waiting:
        return outcome
    keep_freed_memory()
    single = len(waiting) == 1
    with counting(title, 100 if single else len(waiting), "%" if single else "files", quiet=quiet) as advance:
        whole = 100.0 if single else 1.0
        try:
            if single or workers == 1:
                make = opened()
                found = [tried(make, target, lambda share: advance(whole * share)) for target in waiting]
            else:
                found = in_processes(waiting, opened, min(workers, len(waiting)), advance)
        except KeyboardInterrupt:
            raise RunInterrupted("interrupted; what was made is whole, and the same command with --skip-existing goes on") from None
    for target, made in zip(waiting, found, strict=True):
        if isinstance(made, Answer):
            outcome.answers.append((target.source, made))
        else:
            outcome.failed.append((target.source, made))
    return outcome


# --- with a model --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelOpener:
    """Makes a model ready for making files of files."""

    load: Callable[[], FileModel]
    options: FileOptions
    max_pixels: int
    force: bool

    def __call__(self) -> Make:
        """Load the model."""
        return self.using(self.load())

    def using(self, model: FileModel) -> Make:
        """Take a model that is loaded already."""
        model.max_pixels = self.max_pixels
        return partial(_applied, model, self.options, self.force)


def _applied(model: FileModel, options: FileOptions, force: bool, target: Target, advance: Advance) -> Answer:
    return model.apply(target.source, target.output, options, force=force, advance=advance)


def predict_files(title: str, load: Callable[[], FileModel], given: argparse.Namespace) -> Outcome:
    """Apply a model to the files that a command was given, and say on the terminal what became of them.

    Args:
        title: of the bar.
        load: loads the model; picklable.
        given: the command's arguments: those of :func:`photic.inference.targets.add_inputs` and ``add_file_options``, and the model's
            options by the names of their fields; ``format`` is the ending of results, without its dot.

    Raises:
        ConfigError: arguments that cannot be followed.
        DataError: the inputs name nothing to read.
    """
    model = load()
    options = options_of(model.options_type, vars(given), "predict")
    targets = plan(given.inputs, given.output, kinds_of(model, getattr(given, "format", None)))
    model.check(options, {target.output.suffix.lower() for target in targets})
    opener = ModelOpener(load, options, 1_000_000 * given.max_megapixels, given.force)
    started = time.perf_counter()
    written = {target.output: model.files_of(target.source, target.output) for target in targets}
    opened: Opener = partial(opener.using, model) if given.workers == 1 or len(targets) == 1 else opener
    del model  # the other processes have theirs
    outcome = run(
        title,
        targets,
        opened,
        files=lambda target: written[target.output],
        workers=given.workers,
        skip_existing=given.skip_existing,
        force=given.force,
        quiet=given.quiet,
    )
    print(outcome.summary(time.perf_counter() - started))
    return outcome


def kinds_of(model: FileModel, form: str | None = None) -> Kinds:
    """Return what a model reads and what it writes.

    Args:
        model: the model.
        form: ending of results, without its dot, where it is one that the result of a file may have; None leaves it to the model.
    """

    def ending(source: Path) -> str:
        chosen = f".{form}"
        return chosen if form is not None and chosen in model.writable_of(source) else model.ending(source)

    endings: Collection[str] = frozenset(model.endings)
    return Kinds(
        readable=lambda name: name.suffix.lower() in endings,
        ending=ending,
        writable=model.writable_of,
        mark=model.mark,
        nothing=f"no {model.what}",
        called=lambda source: "results",
    )
