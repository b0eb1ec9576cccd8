"""Arguments and help pages of the commands: flags anywhere, examples always, text wrapped to the terminal."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from photic.core.errors import ConfigError, nearest

Section = tuple[str, str]
"""Heading and text of a part of a help page; the text is printed as it stands."""


INDENT = "  "


class Parser(argparse.ArgumentParser):
    """An argument parser that answers mistakes with a suggestion and ends its help with examples.

    Args:
        command: words after ``photic``.
        description: what the command does.
        examples: command lines, each with a few words on what it does.
        sections: makes further parts of the help page, when it is asked for.
    """

    def __init__(
        self,
        command: str,
        description: str,
        examples: Iterable[tuple[str, str]],
        sections: Callable[[], Sequence[Section]] = tuple,
        usage: str | None = None,
    ) -> None:
        super().__init__(
            prog=f"photic {command}",
            usage=f"photic {command} {usage}" if usage else None,
            description=description,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=terminal_width()),
        )
        self._examples = list(examples)
        self._sections = sections

    def format_help(self) -> str:
        """Return the help page."""
        parts = [super().format_help().rstrip()]
        parts += [section(heading, text) for heading, text in self._sections()]
        parts.append(section("examples", "\n".join(examples(self._examples))))
        return "\n\n".join(parts) + "\n"

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        known = [option for action in self._actions for option in action.option_strings]
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        hint = nearest(unknown.group(1).partition("=")[0], known) if unknown else ""
        raise ConfigError(f"{message}{hint} (`{self.prog} --help` explains)")


def terminal_width() -> int:
    """Return the width that text is wrapped to."""
    return max(60, min(shutil.get_terminal_size().columns, 120))


def paragraph(text: str) -> str:
    """Return text wrapped to the terminal."""
    return textwrap.fill(text, terminal_width())


def section(heading: str, text: str) -> str:
    """Return a heading with indented text."""
    return f"{heading}:\n{textwrap.indent(text, INDENT)}"


def examples(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Return example command lines, each under what it does."""
    return [part for command, meaning in lines for part in (f"# {meaning}", command)]


def columns(rows: Sequence[Sequence[str]], *, wrapped: int | None = None) -> list[str]:
    """Return rows as aligned columns.

    Args:
        rows: cells, the same number in each row.
        wrapped: the column that takes the width left over (in a section's indentation) and is wrapped to it; None wraps nothing.
    """
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    if wrapped is not None:
        others = sum(width + 2 for i, width in enumerate(widths) if i != wrapped)
        widths[wrapped] = min(widths[wrapped], max(30, terminal_width() - len(INDENT) - others))
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, widths[i]) if i == wrapped else [cell] for i, cell in enumerate(row)]
        height = max(1, *map(len, cells))
        for level in range(height):
            parts = [(cell[level] if level < len(cell) else "").ljust(width) for cell, width in zip(cells, widths, strict=True)]
            lines.append("  ".join(parts).rstrip())
    return lines


def shown(value: Any) -> str:
    """Write a value as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(shown, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{shown(item)}" for key, item in value.items()) + "}"
    return str(value)
