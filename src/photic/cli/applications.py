"""Commands whose work depends on what a model was trained for: the application that brings the task does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from photic.cli.parser import Section, columns
from photic.core.plugins import Command, Plugin, installed_plugins, load_reference, named_model

Verb = Literal["predict", "evaluate"]


def command_of(verb: Verb, arguments: Sequence[str]) -> Callable[[list[str]], int] | None:
    """Return the application's function for the model among the arguments; None where the general command serves.

    Args:
        verb: the command.
        arguments: what comes after it; the first path that is a model, or name of a model of the shelf, decides.
    """
    known = {task: command for plugin in installed_plugins().values() for task, command in _of(plugin, verb).items()}
    for word in [word for word in arguments if not word.startswith("-")] if known else []:
        path = Path(word) if Path(word).exists() else named_model(word)
        if path is not None:
            from photic.workflows.info import task_of

            task = task_of(path)
            if task is not None:
                found: Callable[[list[str]], int] | None = load_reference(known[task].target) if task in known else None
                return found
    return None


def sections_of(verb: Verb) -> list[Section]:
    """Return the part of a help page that says what the command does with other models."""
    rows = [(task, command.summary) for plugin in installed_plugins().values() for task, command in _of(plugin, verb).items()]
    if not rows:
        return []
    return [(f"for models of other tasks (`photic {verb} MODEL --help` explains)", "\n".join(columns(rows, wrapped=1)))]


def _of(plugin: Plugin, verb: Verb) -> dict[str, Command]:
    return plugin.predictors if verb == "predict" else plugin.evaluators
