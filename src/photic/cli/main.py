"""The command ``photic``: finds the command asked for, and turns errors into one readable line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from photic.core.errors import PhoticError, RunInterrupted, UnknownNameError, nearest
from photic.core.plugins import Command, installed_plugins, load_reference

COMMANDS = {
    "train": Command(summary="Train from a recipe, your own YAML, or a stopped run", target="photic.cli.commands.train:main"),
    "evaluate": Command(summary="Measure a run on one of its splits, or on other data", target="photic.cli.commands.evaluate:main"),
    "predict": Command(summary="Apply a bundle or a run to files, folders or globs", target="photic.cli.commands.predict:main"),
    "serve": Command(summary="Answer over HTTP: a file in, a file or JSON out", target="photic.cli.commands.serve:main"),
    "export": Command(summary="Write a model for another runtime, checked there", target="photic.cli.commands.export:main"),
    "bundle": Command(summary="Put a finished run into one file that can be used anywhere", target="photic.cli.commands.bundle:main"),
    "info": Command(summary="Say what a bundle, a run or a compressed picture is", target="photic.cli.commands.info:main"),
    "models": Command(summary="List trained models, and keep one under a name", target="photic.cli.commands.models:main"),
    "compare": Command(summary="Put runs side by side", target="photic.cli.commands.compare:main"),
    "report": Command(summary="Write the page of a run: one HTML file for screen and paper", target="photic.cli.commands.report:main"),
    "list": Command(summary="Show models, losses, recipes, ... and their options", target="photic.cli.commands.listing:main"),
    "data": Command(summary="Check or generate data of an application", target="photic.cli.commands.data:main"),
    "demo": Command(summary="Run the main jobs on generated data and write a report", target="photic.cli.commands.demo:main"),
}
EXAMPLES = (
    ("photic demo", "everything once, on generated data, in about a minute"),
    ("photic train recipe=severstal data.root=DATA loss.name=focal loss.gamma=2.0", "train from a recipe, with changes"),
    ("photic train -m recipe=severstal seed=0,1,2 loss.name=bce_with_logits,focal", "six trainings, one after another"),
    ("photic list models convnext_tiny_cbam --schema", "all options of a network"),
)
INTERRUPTED = 130
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def run() -> int:
    """Run the command line of this process; the console script ``photic``.

    Of the processes that ``torchrun`` starts, the first one speaks for all: it is told what goes wrong in any of them.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0":
        return main(sys.argv[1:])
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return main(sys.argv[1:])


def main(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status.

    0: done. 1: some of several jobs failed. 2: wrong use, configuration or data, with one line on
    stderr (``PHOTIC_TRACEBACK=1`` adds the traceback). 130: interrupted.
    """
    try:
        return _dispatch(list(arguments))
    except RunInterrupted as error:
        print(f"photic: {error}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print("photic: interrupted", file=sys.stderr)
        return INTERRUPTED
    except PhoticError as error:
        if os.environ.get("PHOTIC_TRACEBACK", "0") not in ("", "0"):
            import traceback

            traceback.print_exc()
        print(f"photic: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        print(f"photic: error: {place}{error.strerror}; free some space (`photic train --resume RUN` goes on with a run)", file=sys.stderr)
        return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if arguments[1:] and arguments[0] == "help":
            return _dispatch([arguments[1], "--help"])
        print(help_page())
        return 0
    name, *rest = arguments
    if name == "--version":
        from importlib.metadata import version

        print(f"photic {version('photic')}")
        return 0
    commands = {**COMMANDS, **plugin_commands()} if name not in COMMANDS else COMMANDS
    if name not in commands:
        raise UnknownNameError(f"unknown command '{name}'{nearest(name, commands)} (`photic --help` shows all: {', '.join(commands)})")
    try:
        status: int = load_reference(commands[name].target)(rest)
        sys.stdout.flush()
    except SystemExit as exit_:  # argparse's way of ending --help
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
            return 1
        return exit_.code or 0
    return status


def plugin_commands() -> dict[str, Command]:
    """Return the top-level commands that plug-ins add.

    Raises:
        PhoticError: a plug-in's command has the name of another command.
    """
    found: dict[str, Command] = {}
    for plugin in installed_plugins().values():
        for name, command in plugin.commands.items():
            if name in COMMANDS or name in found:
                raise PhoticError(
                    f"plug-in '{plugin.name}' ({plugin.package}) adds a command '{name}', which exists already; rename it there"
                )
            found[name] = command
    return found


def help_page() -> str:
    """Return the text of ``photic --help``."""
    from photic.cli.parser import columns, examples, paragraph, section

    groups = {
        "train and use": ("train", "evaluate", "predict", "compare", "report", "bundle", "export", "serve"),
        "look around": ("info", "models", "list", "data", "demo"),
    }
    parts = [
        "usage: photic COMMAND ...",
        paragraph("Train, evaluate, compare and run neural networks that turn sensor measurements into images and decisions."),
    ]
    known = {heading: [(name, COMMANDS[name].summary) for name in names] for heading, names in groups.items()}
    known["from plug-ins"] = [(name, command.summary) for name, command in sorted(plugin_commands().items())]
    known["options"] = [("--help, --version", "`photic COMMAND --help` explains a command, with examples")]
    width = max(len(name) for rows in known.values() for name, _ in rows)
    parts += [
        section(heading, "\n".join(columns([(name.ljust(width), text) for name, text in rows], wrapped=1)))
        for heading, rows in known.items()
        if rows
    ]
    parts.append(section("examples", "\n".join(examples(EXAMPLES))))
    return "\n\n".join(parts)
