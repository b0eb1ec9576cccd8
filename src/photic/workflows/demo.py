"""The demo: every application runs its main job on generated data and writes a page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from photic.core.errors import ConfigError
from photic.core.plugins import get_plugin, installed_plugins, load_reference

_MARK = ".photic-demo"


@dataclass(frozen=True)
class DemoResult:
    """What an application's demo made."""

    report: Path
    """Self-contained HTML page."""
    headline: str
    """What was reached, in one line."""
    commands: tuple[str, ...]
    """Exact commands to go on with."""


def run_demos(names: Sequence[str], folder: Path) -> int:
    """Run the demos of the named applications, or of all, one after another; return an exit status.

    Args:
        names: applications; empty for all that have a demo.
        folder: where runs and reports go; an earlier demo's folder is replaced.

    Raises:
        ConfigError: the folder exists and was not made by a demo, or an application has no demo.
    """
    console = Console()
    plugins = [get_plugin(name) for name in names] if names else [p for p in installed_plugins().values() if p.demo is not None]
    for plugin in plugins:
        if plugin.demo is None:
            raise ConfigError(f"application '{plugin.name}' has no demo")
    _clear(folder)
    results = []
    for number, plugin in enumerate(plugins, 1):
        console.rule(f"[bold]{number}/{len(plugins)} {plugin.name}[/bold]: {plugin.summary}")
        started = time.monotonic()
        assert plugin.demo is not None
        result: DemoResult = load_reference(plugin.demo)(folder / plugin.name)
        results.append((plugin, result, time.monotonic() - started))
    console.rule("[bold]Done[/bold]")
    for plugin, result, seconds in results:
        console.print(f"{plugin.name}: {result.headline} ({seconds:.0f} s)", highlight=False)
        console.print("  go on with:", highlight=False)
        for command in result.commands:
            console.print(f"    {command}", highlight=False, soft_wrap=True)
        console.print(f"  report: {result.report.resolve()}", highlight=False, soft_wrap=True)
    return 0


def _clear(folder: Path) -> None:
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARK).is_file()):
            raise ConfigError(f"{folder}: exists and was not made by `photic demo`; choose another folder with -o")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
